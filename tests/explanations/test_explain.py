"""One image from Python."""

import numpy as np
import pytest
from tiny_transformers import contents, explain_images, images_of, random_images, transformer, write_small

from classlens.catalog.methods import METHODS
from classlens.explanations.explain import explain
from classlens.explanations.gradient import gradient


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("method", [method for method in METHODS if method != "probe"])
@pytest.mark.parametrize("name", ["distilled", "EVA"])
def test_any_method_on_any_model(name, method):
    model = transformer(name).train()
    model.blocks[0].attn.fused_attn = False
    explanation = explain(model, random_images(1)[0], class_index=4, method=method)
    assert explanation.heatmap().shape == (4, 4)
    assert np.isfinite(explanation.importance).all()
    assert explanation.importance.std() > 0
    assert (explanation.maps is not None) == METHODS[method].has_maps
    if METHODS[method].has_maps:
        assert explanation.maps.shape == (2, 3, 16)
        assert explanation.maps.sum((0, 1)) == pytest.approx(explanation.importance, rel=1e-4, abs=1e-6)
    assert model.training
    assert [block.attn.fused_attn for block in model.blocks] == [False, True]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_it_is_what_files_hold(tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "LayerScale", [5, 1])
    explain_images(pixels, weights, tmp_path / "out.h5", explain=gradient, **network)
    image = images_of(pixels)[0][1]
    found = explain(model, image, 1)
    assert found.importance == pytest.approx(contents(tmp_path / "out.h5")[0]["importance"][1], rel=1e-4, abs=1e-6)
    assert not np.allclose(explain(model, image, 2).importance, found.importance, rtol=1e-3)

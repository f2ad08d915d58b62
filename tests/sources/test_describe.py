"""What planning is told of sources whose images are no squares or have any size."""

import pytest
import torch
from test_certificate import PICTURES, VIT, saved
from test_huggingface import CASES

from classlens.data.geometry import sides
from classlens.models.build import create
from classlens.sources.bring import certified
from classlens.sources.describe import described

WRAPPED = CASES[-1]
SIDES = [[32, 48], [48, 32]]


@pytest.mark.parametrize("size", SIDES)
def test_a_rectangle_is_described_built_and_certified(size, tmp_path):
    saved(tmp_path, VIT, None)
    facts = described(f"source:{tmp_path}", {"img_size": size})
    assert (facts["grid"], list(facts["transform"]["size"])) == ([size[0] // 8, size[1] // 8], size)
    _, model, told = certified(str(tmp_path), PICTURES, facts["transform"])
    assert model(torch.zeros(1, 3, *size)).shape == (1, 5)
    assert told["certified"]


@pytest.mark.parametrize("of_timm", [False, True])
@pytest.mark.parametrize("size", [*SIDES, 32, None])
def test_a_model_of_any_size_is_described_at_that_of_its_images(size, of_timm, tmp_path):
    name, config, inside = WRAPPED
    more = {**inside["model_args"], "dynamic_img_size": True}
    if of_timm:
        from timm.models import save_for_hf

        save_for_hf(create(inside["architecture"], {**more, "num_classes": 5}), tmp_path, model_args=more)
    else:
        saved(tmp_path, (name, config, {**inside, "model_args": more}), None)
    facts = described(f"source:{tmp_path}", {}, size)
    rows, columns = size if isinstance(size, list) else (32, 32)
    assert facts["grid"] == [rows // 16, columns // 16]
    architecture, options = facts["built_as"]
    assert create(architecture, options, device="meta").patch_embed.img_size == (rows, columns)
    assert sides(facts["transform"]["size"]) == (rows, columns)

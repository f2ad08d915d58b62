"""Explanations by models with reset blocks."""

import h5py
import numpy as np
import pytest
from safetensors.torch import save_file
from tiny_transformers import images_of, transformer, write_small

from classlens.errors import InputError
from classlens.explanations.explain import explain_inputs
from classlens.explanations.legrad import legrad
from classlens.explanations.lrp import attn_lrp
from classlens.passes.randomisation import cascade, randomised_explanations


def test_steps_of_the_cascade():
    assert cascade(2) == [1, 2]
    assert cascade(6) == [1, 2, 3, 4, 5, 6]
    assert cascade(12) == [2, 4, 6, 8, 10, 12]
    assert cascade(32) == [5, 11, 16, 21, 27, 32]


@pytest.mark.parametrize("explain", [attn_lrp, legrad])
def test_blocks_are_reset_from_the_last_on(explain, tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "LayerScale", [5, 1, 3])
    control = transformer("LayerScale", seed=9)
    save_file({key: value.clone() for key, value in control.state_dict().items()}, tmp_path / "control.safetensors")
    output = tmp_path / "out.h5"
    arguments = {"explain": explain, "images": [0, 2], **network}
    randomised_explanations(
        str(pixels), str(weights), [str(tmp_path / "control.safetensors")], str(output), **arguments
    )
    images = images_of(pixels)[0][[0, 2]]
    with h5py.File(output) as file:
        assert file["images"][:].tolist() == [0, 2]
        assert file["blocks"][:].tolist() == [1, 2]
        assert file["cascade"].shape == (2, 2, 16)
        found = [*file["cascade"][:].swapaxes(0, 1), file["control"][:]]
    for block, importance in zip((1, 0), found[:2], strict=True):
        model.blocks[block].load_state_dict(control.blocks[block].state_dict())
        _assert_explained(model, images, explain.__name__, importance)
    _assert_explained(control, images, explain.__name__, found[2])
    assert not np.allclose(found[1], found[2])  # embeddings, norm and head are left in the one


def _assert_explained(model, images, method, importance):
    expected = np.stack([one.importance for one in explain_inputs(model, images, np.array([5, 3]), method)])
    assert importance == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_without_a_random_twin(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [5])
    message = r"out\.h5: needs the model's random control model; set the model's random_twin"
    with pytest.raises(InputError, match=message):
        randomised_explanations(pixels, weights, [], tmp_path / "out.h5", explain=legrad, images=[0], **network)

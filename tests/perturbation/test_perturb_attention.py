"""Attention perturbations against the golden numbers, explicit weights, and what they promise."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_transformers import random_images, restricted, run_golden, transformer, write_small

from classlens.catalog.kinds import ATTENTION_KINDS, applicable_attention_kinds
from classlens.errors import InputError
from classlens.inference.attention import patch_attention
from classlens.inference.tokens import TokenModel
from classlens.passes.attention_perturbation import AttentionPerturbation, PerturbAttention
from classlens.passes.run import run_pass


@pytest.mark.parametrize("kind", ["self_only", "no_cls"])
def test_golden(kind, golden, tmp_path):
    output = tmp_path / "perturbed.h5"
    assert run_golden(output, of=PerturbAttention, kind=kind) == {"device": "cpu"}
    with h5py.File(output) as file:
        assert file["rank"].dtype == np.uint16
        assert file["correct"].dtype == np.bool_
        assert set(file["rank"].attrs) == {"description", "unit"}
        assert dict(file.attrs) == {"num_classes": 1000, "num_prefix_tokens": 1, "has_class_token": True}
        assert (file["rank"][:] != golden[f"perturbation/attention_{kind}/rank"]).sum() <= 5
        assert np.array_equal(file["correct"], golden[f"perturbation/attention_{kind}/correct"])


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize("name", ["distilled", "BEiT"])
@torch.inference_mode()
def test_explicit_weights_say_the_same(name, kind):
    model, images, classes = transformer(name), random_images(), torch.tensor([0, 3, 6])
    perturbed = AttentionPerturbation(model, kind)
    tokens = TokenModel(model)

    def explicit(_block, attention):
        return restricted([kind], attention.weights(), tokens.prefix) @ attention.value

    with patch_attention(model, perturbed._attend):
        found = tokens.residual(tokens.embed(images))
    with patch_attention(model, explicit):
        expected = tokens.residual(tokens.embed(images))
        logits = model(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, tokens.residual(tokens.embed(images)), rtol=1e-2)
    rank, correct = perturbed(images, classes)
    assert rank.shape == found.shape[:2]
    assert torch.equal(correct, logits.argmax(-1) == classes)


SELF_ONLY = {name: AttentionPerturbation(transformer(name), "self_only") for name in ("plain", "EVA", "averages")}


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(sorted(SELF_ONLY)), st.integers(0, 15), st.integers(0, 1000))
def test_with_self_only_an_image_token_depends_on_no_other_token(name, patch, seed):
    perturbed = SELF_ONLY[name]
    tokens, image = perturbed.tokens, random_images(1)
    other = random_images(1, seed=seed + 10)
    row, column = divmod(patch, 4)
    here = (slice(None), slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
    other[here] = image[here]
    with torch.inference_mode(), patch_attention(tokens.model, perturbed._attend):
        first, second = (tokens.residual(tokens.embed(pixels)) for pixels in (image, other))
    token = tokens.prefix + patch
    # Products of matrices may round a row differently in another place of the batch; these are in the same place.
    torch.testing.assert_close(first[:, token], second[:, token], rtol=1e-5, atol=1e-6)
    neighbour = tokens.prefix + (patch + 1) % 16
    assert not torch.allclose(first[:, neighbour], second[:, neighbour], rtol=1e-2)
    if tokens.prefix:
        assert not torch.allclose(first[:, 0], second[:, 0], rtol=1e-3)


def test_models_without_class_token():
    model = transformer("averages")
    assert applicable_attention_kinds(has_class_token=False) == ("self_only",)
    rank, _ = AttentionPerturbation(model, "self_only")(random_images(), torch.tensor([1, 2, 3]))
    assert rank.shape == (3, 16)
    for kind in ("no_cls", "no_cls_renormalised"):
        with pytest.raises(InputError, match=rf"'{kind}' does not apply to vit: .*\[CLS\].* take self_only"):
            AttentionPerturbation(model, kind, "vit")


@pytest.mark.parametrize(("value", "message"), [(0.0, "all logits"), (float("nan"), "not finite")])
def test_broken_heads_are_an_error(value, message, tmp_path):
    def broken(model):
        model.head.weight.fill_(value)
        model.head.bias.zero_()

    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1], broken)
    with pytest.raises(InputError, match=message):
        run_pass(pixels, weights, tmp_path / "out.h5", of=PerturbAttention, kind="no_cls", **network)

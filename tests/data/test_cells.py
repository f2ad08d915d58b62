"""Tokens of images that patches do not divide: labels, scores and importance speak of the same pixels as timm."""

import numpy as np
import pytest
import torch
from timm import create_model

from classlens.data.cells import cells
from classlens.data.labels import majority
from classlens.data.mask import CLASS, CONTEXT
from classlens.errors import InputError
from classlens.explanations.pixels import token_sums
from classlens.measures.segmentation_scores import score_images
from classlens.models.describe import describe

TINY = {"depth": 1, "embed_dim": 24, "num_heads": 3, "num_classes": 2}


def seen_by_timm(size, patch):
    """Return which pixels (H, W) move which token (P), by gradients of timm's own patch embedding."""
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", img_size=size, patch_size=patch, **TINY)
    image = torch.zeros(1, 3, size, size, requires_grad=True)
    tokens = model.patch_embed(image)[0].sum(1)
    moves = [torch.autograd.grad(token, image, retain_graph=True)[0][0].abs().sum(0) > 0 for token in tokens]
    return model, torch.stack(moves).numpy()


@pytest.mark.parametrize(("size", "patch"), [(31, 16), (32, 16), (23, 7)])
def test_pixels_of_tokens_are_those_that_move_them(size, patch):
    model, moves = seen_by_timm(size, patch)
    facts = describe("vit_tiny_patch16_224", {"img_size": size, "patch_size": patch, **TINY})
    numbers = np.arange(size * size).reshape(1, size, size)
    for pixels, moved in zip(cells(numbers, facts["grid"], facts["patch"])[0], moves, strict=True):
        assert set(pixels) == set(numbers[0][moved])
    masks = np.random.default_rng(0).choice([CONTEXT, CLASS], (3, size, size)).astype(np.uint8)
    label, fraction = majority(masks, facts["grid"], facts["patch"])
    expected = np.array([[mask[moved].mean() for moved in moves] for mask in masks])
    assert fraction == pytest.approx(expected)
    assert np.array_equal(label, expected >= 0.5)
    sums = token_sums(model, torch.from_numpy(np.repeat(masks[:, None], 3, 1)).float())
    assert sums.numpy() == pytest.approx(3 * expected * patch**2)
    # A map that is one at the tokens with class pixels is right where these are, by a count of pixels.
    scores = score_images((expected > 0).astype(float) + 1e-3 * expected, masks, facts["grid"], facts["patch"])
    called = [moves[row > row.mean()].any(0) for row in (expected > 0).astype(float) + 1e-3 * expected]
    inside = moves.any(0)
    agreed = [(call == mask)[inside].mean() for call, mask in zip(called, masks, strict=True)]
    assert scores[:, 1] == pytest.approx(agreed)


def test_pointing_looks_at_the_middle_of_a_patch():
    mask = np.zeros((1, 50, 50), np.uint8)
    mask[0, 16 + 8, 32 + 8] = CLASS  # the middle of token (1, 2) at patches of 16, of another one at 50 / 3
    importance = np.eye(9)[[5]]
    assert score_images(importance, mask, (3, 3), (16, 16))[0, 0] == 1


@pytest.mark.parametrize("options", [{"dynamic_img_size": True}, {"dynamic_img_size": True, "dynamic_img_pad": True}])
def test_padded_inputs_are_refused_by_name(options):
    with pytest.raises(InputError, match="take an img_size that patches divide"):
        describe("vit_tiny_patch16_224", {"img_size": 50, **TINY, **options})
    assert describe("vit_tiny_patch16_224", {"img_size": 48, **TINY, **options})["grid"] == [3, 3]

"""Attention weights, of all tokens and of one."""

import numpy as np
import pytest
import torch
from refusals import refused
from tiny_transformers import EVERY, attention_by_timm, random_images, transformer

from classlens import Lens
from classlens.inference.attention import patch_attention


@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_weights_and_one_row_of_them_are_the_models(name):
    """As timm itself computes the weights, unfused: with registers, rotary and relative positions, pools."""
    model, images, ours = transformer(name).eval(), random_images(3), []
    view = Lens(model, batch_size=2)(images)
    rows = {(block, token): view.attention(block, token) for block, token in ((0, 0), (1, 0), (1, -1))}

    def attend(block, attention):
        assert block == len(ours)
        ours.append(attention.weights())
        return ours[-1] @ attention.value

    with patch_attention(model, attend):
        caught = model(images)
    expected = attention_by_timm(model)
    torch.testing.assert_close(caught, model(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    for (block, token), found in rows.items():
        np.testing.assert_allclose(found, expected[block][:, :, token], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_what_is_not_there():
    lens = Lens(transformer("plain"))
    view = lens(random_images(1))
    refused("there is no block 2", lambda: view.attention(2))
    refused("there is no token 17", lambda: view.attention(0, 17))
    with lens.ablate(heads=[(0, 1)]):
        perturbed = lens(random_images(1))
    refused("attention weights are of the model itself", lambda: perturbed.attention(0))

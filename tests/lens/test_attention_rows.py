"""Attention weights of one token."""

import numpy as np
import pytest
from tiny_transformers import EVERY, attention_by_timm, random_images, transformer

from classlens import Lens
from classlens.errors import InputError


@pytest.mark.parametrize("name", EVERY)
def test_one_row_is_the_models(name):
    """As timm itself computes the weights, unfused: with registers, rotary and relative positions, pools."""
    images = random_images(3)
    view = Lens(transformer(name), batch_size=2)(images)
    model = transformer(name).eval()
    expected = attention_by_timm(model)
    model(images)
    for block, token in ((0, 0), (1, 0), (1, -1)):
        found = view.attention(block, token)
        np.testing.assert_allclose(found, expected[block][:, :, token].detach().numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_what_is_not_there():
    lens = Lens(transformer("plain"))
    view = lens(random_images(1))
    with pytest.raises(InputError, match="there is no block 2"):
        view.attention(2)
    with pytest.raises(InputError, match="there is no token 17"):
        view.attention(0, 17)
    with lens.ablate(heads=[(0, 1)]):
        perturbed = lens(random_images(1))
    with pytest.raises(InputError, match="attention weights are of the model itself"):
        perturbed.attention(0)

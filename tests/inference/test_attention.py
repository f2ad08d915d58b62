"""Catching attention: it is the model's own, and leaves no trace."""

import pytest
import torch
from tiny_transformers import FAMILIES, attention_by_timm, random_images, transformer

from classlens.inference.attention import patch_attention


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_the_models_own(name):
    """timm's unfused attention passes its weights through `attn_drop`; these are to be found again."""
    model, images = transformer(name), random_images()
    ours = []

    def attend(block, attention):
        assert block == len(ours)
        ours.append(attention.weights())
        return ours[-1] @ attention.value

    with torch.no_grad():
        with patch_attention(model, attend):
            caught = model(images)
        theirs = attention_by_timm(model)
        plain = model(images)
    torch.testing.assert_close(caught, plain, rtol=1e-4, atol=1e-5)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)
        assert mine.std() > 0.01  # attention is not uniform, so that the comparison says something


def test_attention_is_caught_where_the_user_switched_fused_attention_off():
    model, images = transformer("plain"), random_images()
    for block in model.blocks:
        block.attn.fused_attn = False
    seen = []
    with torch.no_grad(), patch_attention(model, lambda block, attention: seen.append(block) or attention.output()):
        model(images)
        model(images)
    assert seen == [0, 1, 0, 1]
    assert not any(block.attn.fused_attn for block in model.blocks)

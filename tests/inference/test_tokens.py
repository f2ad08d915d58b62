"""Running on a subset of tokens is the model itself on fewer tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_transformers import EVERY, random_images, transformer

from classlens.errors import InputError
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.tokens import TokenModel


def shuffled(count, tokens, keep):
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(tokens, generator=generator)[:keep] for _ in range(count)])


@pytest.mark.parametrize("name", EVERY)
@torch.inference_mode()
def test_some_tokens_are_the_model_on_fewer_tokens(name):
    model, images = transformer(name), random_images()
    tokens = TokenModel(model)
    expected, embedded = model(images), tokens.embed(images)
    assert torch.equal(tokens.logits(tokens.residual(embedded)), expected)
    # In another order, too: positions go with the tokens.
    everything = shuffled(len(images), tokens.patches, tokens.patches)
    torch.testing.assert_close(tokens.logits(tokens.residual(embedded, everything)), expected, rtol=1e-4, atol=1e-5)
    # Images with different numbers of tokens share a batch.
    kept, lengths = everything[:, :9], [1, 9, 4]
    residual = tokens.residual(embedded, kept, torch.tensor(lengths))
    logits = tokens.logits(residual, torch.tensor(lengths))
    for i, length in enumerate(lengths):
        alone = tokens.residual(embedded[i : i + 1], kept[i : i + 1, :length])
        torch.testing.assert_close(residual[i : i + 1, : alone.shape[1]], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[i : i + 1], tokens.logits(alone), rtol=1e-4, atol=1e-5)
    if model.global_pool != "token":
        return
    # The slow way to the same: the whole model with every key of a removed token masked in every block.
    removed = torch.ones(len(images), tokens.prefix + tokens.patches, dtype=torch.bool)
    removed[:, : tokens.prefix] = False
    removed.scatter_(1, kept + tokens.prefix, False)

    def attend(_block, attention):
        hidden = torch.zeros(len(images), 1, 1, removed.shape[1]).masked_fill(removed[:, None, None], float("-inf"))
        bias = hidden if attention.bias is None else attention.bias + hidden
        return Attention(attention.query, attention.key, attention.value, bias).output()

    with patch_attention(model, attend):
        masked = model(images)
    found = tokens.logits(tokens.residual(embedded, kept))
    torch.testing.assert_close(found, masked, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, expected, rtol=1e-2)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 16), min_size=1, max_size=5))
def test_padding_never_matters(lengths):
    """Other padding, same numbers: also for images that have nothing but their prefix tokens."""
    model = PADDED.model
    images = random_images(len(lengths))
    kept = shuffled(len(lengths), 16, 16)
    counts = torch.tensor(lengths)
    with torch.inference_mode():
        embedded = PADDED.embed(images)
        first = PADDED.logits(PADDED.residual(embedded, kept, counts), counts)
        padding = torch.arange(16) >= counts[:, None]
        other = torch.where(padding, kept.flip(0).roll(3, 1), kept)
        assert torch.equal(PADDED.logits(PADDED.residual(embedded, other, counts), counts), first)
    assert model.num_prefix_tokens == 1


PADDED = TokenModel(transformer("plain"))


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"model takes \(32, 32\); resize"):
        PADDED.embed(torch.zeros(1, 3, 40, 40))

"""Running on a subset of tokens is the model itself on fewer tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_transformers import FAMILIES, READS_CLASS_TOKEN, random_images, transformer

from classlens.errors import InputError
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.tokens import TokenModel


def shuffled(count, tokens, keep):
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(tokens, generator=generator)[:keep] for _ in range(count)])


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_all_tokens_are_the_unperturbed_model(name):
    model, images = transformer(name), random_images()
    tokens = TokenModel(model)
    expected = model(images)
    embedded = tokens.embed(images)
    assert torch.equal(tokens.logits(tokens.residual(embedded)), expected)
    # In another order, too: positions go with the tokens.
    everything = shuffled(len(images), tokens.patches, tokens.patches)
    torch.testing.assert_close(tokens.logits(tokens.residual(embedded, everything)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", READS_CLASS_TOKEN)
@torch.inference_mode()
def test_removed_tokens_are_those_that_nobody_attends_to(name):
    """The slow way to the same: the whole model with every key of a removed token masked in every block."""
    model, images = transformer(name), random_images()
    tokens = TokenModel(model)
    kept = shuffled(len(images), tokens.patches, 5)
    removed = torch.ones(len(images), tokens.prefix + tokens.patches, dtype=torch.bool)
    removed[:, : tokens.prefix] = False
    removed.scatter_(1, kept + tokens.prefix, False)

    def attend(_block, attention):
        hidden = torch.zeros(len(images), 1, 1, removed.shape[1]).masked_fill(removed[:, None, None], float("-inf"))
        bias = hidden if attention.bias is None else attention.bias + hidden
        return Attention(attention.query, attention.key, attention.value, bias).output()

    with patch_attention(model, attend):
        expected = model(images)
    found = tokens.logits(tokens.residual(tokens.embed(images), kept))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, model(images), rtol=1e-2)


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_images_with_different_numbers_of_tokens_share_a_batch(name):
    model, images = transformer(name), random_images()
    tokens = TokenModel(model)
    embedded, kept, lengths = tokens.embed(images), shuffled(3, tokens.patches, 9), [1, 9, 4]
    residual = tokens.residual(embedded, kept, torch.tensor(lengths))
    logits = tokens.logits(residual, torch.tensor(lengths))
    for i, length in enumerate(lengths):
        alone = tokens.residual(embedded[i : i + 1], kept[i : i + 1, :length])
        torch.testing.assert_close(residual[i : i + 1, : alone.shape[1]], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[i : i + 1], tokens.logits(alone), rtol=1e-4, atol=1e-5)


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

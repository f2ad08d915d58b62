"""Direct logit attribution: the exact sum for every family, and every part against explicit loops."""

import pytest
import torch
from frozen_parts import LINEAR_POOL, MORE, made, row_of, written
from tiny_transformers import FAMILIES, random_images, transformer

from classlens.attribution import decompose
from classlens.attribution.decompose import LogitAttribution
from classlens.errors import InputError
from classlens.inference.attention import patch_attention

CLASSES = torch.tensor([0, 6, 3])
EVERY = (*FAMILIES, *MORE, LINEAR_POOL, "[CLS ; mean]", "[CLS ; mean], EVA")


def of(name, dtype=torch.float64):
    return made(name, dtype), random_images().to(dtype)


def sums(found):
    return (
        found.heads.sum((1, 2, 3)) + found.attention_bias.sum(1) + found.mlp.sum(1) + found.embedding + found.constant
    )


@pytest.mark.parametrize(
    ("name", "dtype", "most"),
    [(name, torch.float64, 1e-12) for name in EVERY]
    + [(name, torch.float32, 1e-4) for name in ("distilled", "averages")],
)
def test_parts_add_up_to_the_output(name, dtype, most):
    model, images = of(name, dtype)
    attribute, passes = LogitAttribution(model), []
    model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    found = attribute(images, CLASSES)
    assert len(passes) == 1
    with torch.no_grad():
        expected = model(images)[torch.arange(3), CLASSES]
    largest = max(getattr(found, part).abs().max().item() for part in ("heads", "attention_bias", "mlp", "embedding"))
    assert (sums(found) - expected).abs().max() < most * largest
    assert found.gap().max() < most
    torch.testing.assert_close(found.logit, expected)
    assert found.heads.dtype == dtype
    tokens = model.num_prefix_tokens + model.patch_embed.num_patches
    assert found.heads.shape == (3, 2, 3, tokens)
    assert found.attention_bias.shape == found.mlp.shape == (3, 2)
    assert found.heads.abs().amax((0, 3)).min() > 1e-6  # every head says something


@pytest.mark.parametrize("name", EVERY)
def test_parts_are_those_of_explicit_loops(name):
    model, images = of(name)
    found = LogitAttribution(model)(images, CLASSES)
    row, rest = row_of(model, CLASSES[1]), found.logit[1]
    for part, vectors in written(model, images[1]).items():
        expected, rest = vectors @ row, rest - (vectors @ row).sum()
        torch.testing.assert_close(getattr(found, part)[1], expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.constant[1], rest, rtol=1e-9, atol=1e-11)
    assert min(abs(found.embedding[1]), abs(found.constant[1])) > 1e-6


@pytest.mark.parametrize("name", ["averages", "relative positions"])
def test_it_holds_under_changed_attention(name):
    """Weights that a context around takes away are not attributed to anyone."""
    model, images = of(name)

    def halved(_block, attention):
        return 0.5 * attention.output()

    intact = LogitAttribution(model)(images, CLASSES)
    with patch_attention(model, halved):
        found = LogitAttribution(model)(images, CLASSES)
    assert found.gap().max() < 1e-12
    assert not torch.allclose(found.heads, intact.heads)


@pytest.mark.parametrize("name", ["averages after the norm", "EVA, norm inside attention"])
def test_half_precision_of_the_network_only_rounds(name):
    model, images = of(name, torch.float32)
    exact = LogitAttribution(model)(images, CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LogitAttribution(model)(images, CLASSES)
    assert found.heads.dtype == torch.float32
    assert found.gap().max() < 0.05
    assert torch.corrcoef(torch.stack([exact.heads.flatten(), found.heads.flatten()]))[0, 1] > 0.99


def test_models_that_average_take_as_many_images_as_fit(monkeypatch):
    assert LogitAttribution(transformer("plain")).images_that_fit > 10**9
    model, images = of("averages")
    attribute = LogitAttribution(model)
    # Weights of two blocks, and two more matrices of that size.
    assert attribute.images_that_fit == decompose.KEPT_BYTES // (4 * 3 * 16**2 * (2 + 2))
    expected = attribute(images, CLASSES)
    # Of many tokens, queries and keys are smaller than weights, which are then computed at the end.
    monkeypatch.setattr(decompose, "KEPT_BYTES", 1)
    attribute = LogitAttribution(model)
    assert attribute.images_that_fit == 1
    torch.testing.assert_close(attribute(images, CLASSES).heads, expected.heads, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "place", "attribute", "part", "message"),
    [
        ("plain", "blocks.1.attn", "gate", torch.nn.Linear(24, 24), r"attention is gated.*; take legrad"),
        ("averages", "", "global_pool", "max", r"pools by 'max'.*take legrad"),
        ("plain", "", "norm", torch.nn.BatchNorm1d(24), "the last norm is BatchNorm1d, which is no linear"),
    ],
)
def test_what_does_not_apply_says_why_and_what_does(name, place, attribute, part, message):
    model = transformer(name)
    setattr(model.get_submodule(place), attribute, part)
    with pytest.raises(InputError, match=message):
        LogitAttribution(model)

"""Direct logit attribution: the exact sum for every family, and every part against explicit loops."""

import pytest
import torch
from frozen_parts import POST_NORM, frozen, layer_scale_of, scaled_by, seen_by_timm
from tiny_transformers import FAMILIES, SMALL, TOKEN, random_images, transformer

from classlens.attribution import decompose
from classlens.attribution.decompose import LogitAttribution
from classlens.errors import InputError
from classlens.inference.attention import patch_attention

CLASSES = torch.tensor([0, 6, 3])
AVERAGE = {**SMALL, "global_pool": "avg", "class_token": False}
TWO_NORMS = {"use_post_transformer_norm": True, "use_fc_norm": True}
MORE = {
    "RMSNorm": ("vit_tiny_patch16_224", {**SMALL, "norm_layer": "rmsnorm"}),
    "RMSNorm, averages after the norm": (
        "vit_tiny_patch16_224",
        {**AVERAGE, "fc_norm": False, "norm_layer": "rmsnorm"},
    ),
    "norm by standard deviation": ("vit_tiny_patch16_224", {**SMALL, "norm_layer": "simplenorm"}),
    "averages of all tokens": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "pool_include_prefix": True}),
    "averages, norms inside branches": ("vit_tiny_patch16_224", {**AVERAGE, "scale_attn_norm": True, "fc_norm": False}),
    "EVA, norm inside attention": ("eva02_base_patch14_224", {**TOKEN, "scale_attn_inner": True}),
    "EVA, averages": ("eva02_base_patch14_224", {**SMALL, "global_pool": "avg", "scale_attn_inner": True}),
    "EVA, averages between two norms": ("eva02_base_patch14_224", {**SMALL, "global_pool": "avg", **TWO_NORMS}),
    "EVA, two norms": ("eva02_base_patch14_224", {**TOKEN, **TWO_NORMS}),
    "no biases": ("vit_tiny_patch16_224", {**SMALL, "qkv_bias": False, "proj_bias": False}),
}
EVERY = {**FAMILIES, **MORE}


@pytest.fixture(autouse=True)
def _more_families(monkeypatch):
    monkeypatch.setattr("tiny_transformers.FAMILIES", EVERY)


def of(name, dtype=torch.float64):
    return transformer(name).to(dtype), random_images().to(dtype)


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


def readouts_of(model, tokens):
    """Heads, the tokens whose mean they read, the norm after that, and their share."""
    if getattr(model, "head_dist", None) is not None:
        return [(model.head, [0], None, 0.5), (model.head_dist, [1], None, 0.5)]
    if model.global_pool == "token":
        return [(model.head, [0], model.fc_norm, 1.0)]
    first = 0 if getattr(model, "pool_include_prefix", False) else model.num_prefix_tokens
    return [(model.head, range(first, tokens), model.fc_norm, 1.0)]


@torch.no_grad()
def by_loops(model, image, index):
    """The parts by their definition, a destination, a head and a source token at a time."""
    seen = seen_by_timm(model, image)
    last = seen["block", len(model.blocks) - 1][1]
    zeros, tokens, count = torch.zeros_like(last[0]), len(last), model.blocks[0].attn.num_heads
    heads = torch.zeros(len(model.blocks), count, tokens).to(last)
    bias, mlp = torch.zeros(len(model.blocks)).to(last), torch.zeros(len(model.blocks)).to(last)
    embedding = constant = 0.0
    for head, destinations, fc_norm, share in readouts_of(model, tokens):
        pooled = sum(model.norm(last[i]) for i in destinations) / len(destinations)
        after, pooled_bias = frozen(fc_norm, pooled)
        row = share * head.weight[index]
        constant += row @ (zeros + pooled_bias) + (0 if head.bias is None else share * head.bias[index])
        row = row / len(destinations)
        for i in destinations:
            in_front, last_bias = frozen(model.norm, last[i])
            constant += row @ after(zeros + last_bias)
            embedding += row @ after(in_front(seen["block", 0][0][i]))
            for b, block in enumerate(model.blocks):
                mlp[b] += row @ after(in_front(seen["mlp", b][1][i]))
                projection = block.attn.proj
                at_heads = torch.zeros(projection.in_features).to(last)
                inner, inner_bias = frozen(None, None)
                if ("inner", b) in seen:
                    inner, inner_bias = frozen(block.attn.norm, seen["inner", b][0][i])
                post, post_bias = scaled_by(layer_scale_of(block)), 0.0
                if type(block).__name__ in POST_NORM:
                    post, post_bias = frozen(block.norm1, seen["projection", b][1][i])
                front = projection.weight @ (at_heads + inner_bias)
                front = front if projection.bias is None else front + projection.bias
                bias[b] += row @ after(in_front(post(front) + post_bias))
                for h in range(count):
                    weights, values = seen["weights", b][1][h, i], seen["values", b][h]
                    width = values.shape[-1]
                    for j in range(tokens):
                        read = at_heads.clone()
                        read[h * width : (h + 1) * width] = weights[j] * values[j]
                        heads[b, h, j] += row @ after(in_front(post(projection.weight @ inner(read))))
    return {"heads": heads, "attention_bias": bias, "mlp": mlp, "embedding": embedding, "constant": constant}


@pytest.mark.parametrize("name", EVERY)
def test_parts_are_those_of_explicit_loops(name):
    model, images = of(name)
    found = LogitAttribution(model)(images, CLASSES)
    expected = by_loops(model, images[1], int(CLASSES[1]))
    for part, value in expected.items():
        torch.testing.assert_close(getattr(found, part)[1], value, rtol=1e-9, atol=1e-12)
    for part in ("embedding", "constant"):
        assert abs(expected[part]) > 1e-6


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


def test_the_model_is_left_as_it_was():
    model, images = of("EVA, norm inside attention")
    model.blocks[0].attn.fused_attn = False
    before = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    LogitAttribution(model)(images, CLASSES)
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == before
    assert not model.blocks[0].attn.fused_attn


def test_what_does_not_apply_says_why_and_what_does():
    gated = transformer("plain")
    gated.blocks[1].attn.gate = torch.nn.Linear(24, 24)
    with pytest.raises(InputError, match=r"attention is gated.*; take legrad"):
        LogitAttribution(gated)
    largest = transformer("averages")
    largest.global_pool = "max"
    with pytest.raises(InputError, match=r"pools by 'max'.*take legrad"):
        LogitAttribution(largest)
    other = transformer("plain")
    other.norm = torch.nn.BatchNorm1d(24)
    with pytest.raises(InputError, match=r"the last norm is BatchNorm1d, which is no linear"):
        LogitAttribution(other)

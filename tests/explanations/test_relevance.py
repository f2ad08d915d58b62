"""Layer-wise relevance propagation: against rules written out with detached tensors, and against what it conserves."""

import copy

import pytest
import torch
from tiny_transformers import FAMILIES, contents, explain_images, images_of, random_images, transformer, write_small
from torch.nn.functional import gelu, scaled_dot_product_attention

from classlens.errors import InputError
from classlens.explanations.gamma import gamma_rule, patch_relevance
from classlens.explanations.lrp import attn_lrp, attn_lrp_gamma, cp_lrp, cp_lrp_gamma
from classlens.inference.modes import frozen_eval_mode

CLASSES = torch.tensor([0, 6, 3])
ADDED = ("bias", "cls_token", "pos_embed", "reg_token", "dist_token")
"""Ends of the names of parameters that are added."""


def constant(x):
    return x.detach()


def passing(x, share):
    """x, which takes a share of the gradient."""
    return share * x + constant(x - share * x)


def frozen_norm(module):
    def forward(x):
        centred = x - x.mean(-1, keepdim=True) if isinstance(module, torch.nn.LayerNorm) else x
        y = centred / constant((centred.square().mean(-1, keepdim=True) + module.eps).sqrt())
        y = y if module.weight is None else y * module.weight
        return y if getattr(module, "bias", None) is None else y + module.bias

    return forward


def frozen_activation(function):
    return lambda x: x * constant(function(x) / x)


def rewritten(model, monkeypatch, attention):
    """Write the rules into a model: its modules are replaced, and so is the attention function."""
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm) or "RmsNorm" in type(module).__name__:
            module.forward = frozen_norm(module)
    for block in model.blocks:
        block.mlp.act.forward = frozen_activation(block.mlp.act.forward)
        if type(block.mlp).__name__ in ("SwiGLU", "GluMlp"):
            block.mlp.drop1.forward = lambda x: passing(x, 0.5)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    return model


def gamma_linear(gamma, plain):
    """A linear map whose gradient passes by the gamma rule as it is published, its four products written out."""

    def forward(x, weight, bias=None, *rest):
        z = constant(plain(x, weight, bias, *rest))
        if not x.requires_grad:
            return z
        raised, lowered = weight + gamma * weight.clamp(min=0), weight + gamma * weight.clamp(max=0)
        positive, negative = x.clamp(min=0), x.clamp(max=0)
        of_bias = torch.zeros(1) if bias is None else bias.reshape(-1, *(1,) * (2 if weight.ndim == 4 else 0))
        total = 0
        for chosen, same, other, limits in ((z > 0, raised, lowered, {"min": 0}), (z < 0, lowered, raised, {"max": 0})):
            passed = plain(positive, same, None, *rest) + plain(negative, other, None, *rest)
            share = z / constant(passed + of_bias + gamma * of_bias.clamp(**limits))
            total = total + torch.where(chosen, constant(share) * passed, 0)
        return z + total - constant(total)

    return forward


class WrittenOutAttention:
    """Attention by AttnLRP or CP-LRP, which keeps what it computes."""

    def __init__(self, query, value):
        self.query, self.value, self.kept = query, value, []

    def __call__(self, q, k, v, attn_mask=None, **_):
        q, k, v = passing(q, self.query), passing(k, self.query), passing(v, self.value)
        bias = torch.zeros(()) if attn_mask is None else attn_mask
        products = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = products + bias
        weights = scores.softmax(-1)
        self.kept.append((bias, scores, weights))
        return (weights if self.query else constant(weights)) @ v


def sums(values, patch=8):
    """Sums over squares of pixels, one by one."""
    rows = range(0, values.shape[-1], patch)
    return torch.stack([values[..., r : r + patch, c : c + patch].sum((1, 2, 3)) for r in rows for c in rows], 1)


@pytest.mark.parametrize(
    ("name", "explain"),
    [
        *((name, explain) for explain in (attn_lrp, attn_lrp_gamma) for name in FAMILIES),
        *((name, explain) for explain in (cp_lrp, cp_lrp_gamma) for name in ("distilled", "EVA")),
    ],
)
def test_rules_and_conservation(name, explain, monkeypatch):
    query, value = (0.25, 0.5) if explain in (attn_lrp, attn_lrp_gamma) else (0, 1)
    has_gamma = explain in (attn_lrp_gamma, cp_lrp_gamma)
    model, images = transformer(name), random_images()
    with frozen_eval_mode(model):
        before = model(images)
        explainer = explain(model, gamma={"linear": 0.25, "patches": 0.5}) if has_gamma else explain(model)
        found = explainer(images, CLASSES)["importance"]
        assert torch.equal(model(images), before)
    attention = WrittenOutAttention(query, value)
    model, inputs = rewritten(transformer(name), monkeypatch, attention), images.clone().requires_grad_()
    functional = torch.nn.functional
    if has_gamma:
        monkeypatch.setattr(functional, "linear", gamma_linear(0.25, functional.linear))
        monkeypatch.setattr(functional, "conv2d", gamma_linear(0.5, functional.conv2d))
    logits = model(inputs)
    torch.testing.assert_close(logits, before, rtol=1e-4, atol=1e-5)  # the forward pass is the same
    logit = logits.gather(1, CLASSES[:, None]).sum()
    added = [p for key, p in model.named_parameters() if key.endswith(ADDED) and "rel_pos" not in key]
    kept = attention.kept if query else []
    [gradient, *gradients] = torch.autograd.grad(
        logit, [inputs, *(x for _, *pair in kept for x in pair), *added], allow_unused=True
    )
    expected = sums((inputs * gradient).detach())
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=1e-4 if has_gamma else 1e-5, atol=1e-5 * largest)
    if has_gamma:
        return
    # What biases and embeddings take, and in AttnLRP half of what the softmax takes and positions add to its input.
    taken = sum(
        float((p * g).sum().detach()) for p, g in zip(added, gradients[2 * len(kept) :], strict=True) if g is not None
    )
    for (bias, scores, weights), of_scores, of_weights in zip(
        kept, gradients[: 2 * len(kept) : 2], gradients[1 : 2 * len(kept) : 2], strict=True
    ):
        of_softmax = (weights * of_weights).sum() - (scores * of_scores).sum()
        taken += 0.5 * float((of_softmax + (bias * of_scores).sum()).detach())
    scale = expected.abs().sum().item() + abs(taken)
    assert expected.sum().item() + taken == pytest.approx(logit.item(), abs=2e-5 * scale)


def test_the_model_is_left_as_it_was():
    model, images = transformer("EVA"), random_images()
    with frozen_eval_mode(model):
        explainer = attn_lrp(model)
        fused = [block.attn.fused_attn for block in model.blocks]
        with pytest.raises(RuntimeError):
            explainer(images, torch.tensor([0, 99, 3]))  # it fails inside
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert [block.attn.fused_attn for block in model.blocks] == fused


@pytest.mark.parametrize(
    ("place", "name", "module", "message"),
    [
        ("blocks.1.attn", "gate", torch.nn.Linear(24, 24), "'attn_lrp' does not .* this model: its attention is gated"),
        ("blocks.0", "norm2", torch.nn.BatchNorm1d(24), r"its blocks\.0\.norm2 is a BatchNorm1d: relevance has rules"),
        ("", "patch_embed", torch.nn.Conv2d(3, 24, 8, 8), "its patches come from Conv2d"),
        ("blocks.1", "mlp", torch.nn.Linear(24, 24), "its MLP is a Linear"),
    ],
)
def test_what_has_no_rule_is_refused(place, name, module, message):
    model = transformer("plain")
    setattr(model.get_submodule(place), name, module)
    with pytest.raises(InputError, match=message):
        attn_lrp(model)


@pytest.mark.parametrize("name", ["plain", "BEiT", "EVA"])
def test_gamma_of_zero_is_the_epsilon_rule(name):
    model, images, none = transformer(name), random_images(), {"linear": 0.0, "patches": 0.0}
    with frozen_eval_mode(model):
        for plain, gamma in ((attn_lrp, attn_lrp_gamma), (cp_lrp, cp_lrp_gamma)):
            expected = plain(model)(images, CLASSES)["importance"]
            found = gamma(model, gamma=none)(images, CLASSES)["importance"]
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


def test_files_hold_the_gamma_of_the_config(tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "plain", [5, 1])
    gamma = {"linear": 1.0, "patches": 0.5}
    explained = {"explain": attn_lrp_gamma, "method_settings": {"gamma": gamma}}
    explain_images(pixels, weights, tmp_path / "out.h5", **explained, **network)
    with frozen_eval_mode(model):
        expected = attn_lrp_gamma(model, gamma=gamma)(images_of(pixels)[0], torch.tensor([5, 1]))["importance"]
    found = torch.from_numpy(contents(tmp_path / "out.h5")[0]["importance"])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("gamma", [0.25, 1.0])
@pytest.mark.parametrize("of_patches", [False, True])
def test_zennit_agrees(of_patches, gamma):
    """With its rule for the very layers, in float64 and without its stabiliser."""
    rules = pytest.importorskip("zennit.rules", reason="needs the package zennit")
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 5, 4, 4).double() if of_patches else torch.nn.Linear(6, 5).double()
    x = torch.randn((2, 3, 8, 8) if of_patches else (7, 6), dtype=torch.float64).requires_grad_()
    z = layer.requires_grad_(False)(x).detach()
    relevance = torch.randn(z.shape, dtype=torch.float64)
    handles = rules.Gamma(gamma, stabilizer=lambda total: total).register(layer)
    [expected] = torch.autograd.grad(layer(x), x, relevance)
    handles.remove()
    if of_patches:
        found, expected = patch_relevance(layer, x.detach(), z, relevance / z, gamma), sums(expected, 4)
    else:
        with gamma_rule(torch.nn.Module(), gamma):
            [gradient] = torch.autograd.grad(layer(x), x, relevance / z)
        found = x.detach() * gradient
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("explain", [attn_lrp, cp_lrp])
@pytest.mark.parametrize("name", ["plain", "averages", "distilled"])
def test_published_code_agrees(name, explain, monkeypatch):
    """The pieces of the LXT package, put into timm's modules."""
    patches = pytest.importorskip("lxt.efficient.patches", reason="needs the package lxt")
    rules = pytest.importorskip("lxt.efficient.rules")
    images = random_images()
    model = transformer(name)
    with frozen_eval_mode(model):
        found = explain(model)(images, CLASSES)["importance"]
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.forward = lambda x, module=module: patches.layer_norm_forward(module, x)
    for block in model.blocks:
        block.mlp.act.forward = lambda x: rules.identity_rule_implicit(gelu, x)
    wrap = patches.wrap_attention_forward if explain is attn_lrp else patches.cp_wrap_attention_forward
    wrapped = wrap(lambda _module, *args, **keywords: scaled_dot_product_attention(*args, **keywords))
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **keywords: wrapped(None, *args, attn_mask=None),
    )
    inputs = images.clone().requires_grad_()
    [gradient] = torch.autograd.grad(model(inputs).gather(1, CLASSES[:, None]).sum(), inputs)
    expected = sums((inputs * gradient).detach())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_a_shared_module_has_its_rule_once():
    found = []
    for share in (lambda module: module, copy.deepcopy):
        model = transformer("EVA")
        model.blocks[1].mlp = share(model.blocks[0].mlp)
        with frozen_eval_mode(model):
            found.append(attn_lrp(model)(random_images(), CLASSES)["importance"])
    torch.testing.assert_close(*found)


def test_what_runs_in_the_place_of_a_module_has_no_rule():
    model = transformer("plain")
    mlp = model.blocks[1].mlp
    mlp.forward = lambda x: mlp.fc2(gelu(mlp.fc1(x)))
    with frozen_eval_mode(model), pytest.raises(InputError, match=r"blocks\.1\.mlp\.act did not run"):
        attn_lrp(model)(random_images(), CLASSES)


def test_a_linear_layer_in_whose_place_something_runs_is_refused():
    model = transformer("plain")
    proj = model.blocks[1].attn.proj
    proj.forward = lambda x: x @ proj.weight.T + proj.bias
    with frozen_eval_mode(model):
        attn_lrp(model)(random_images(), CLASSES)
        with pytest.raises(InputError, match=r"blocks\.1\.attn\.proj did not run"):
            attn_lrp_gamma(model)(random_images(), CLASSES)

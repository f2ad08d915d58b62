"""LeGrad against autograd through timm's own attention, and in blocks that are run one by one."""

import pytest
import torch
from tiny_transformers import FAMILIES, attention_by_timm, random_images, transformer

from classlens.explanations.legrad import legrad, legrad_cls

CLASSES = torch.tensor([0, 6, 3])


def by_autograd(model, images, classes, pool):
    """Maps by the whole graph: attention weights and residuals are read where timm computes them."""
    weights, residuals = attention_by_timm(model), []
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: residuals.append(output))
    model(images)
    maps = []
    for of_block, residual in zip(weights, residuals, strict=True):
        token = getattr(model, "fc_norm", torch.nn.Identity())(model.norm(pool(residual)))
        heads = [model.head, *([model.head_dist] if hasattr(model, "head_dist") else [])]
        logits = torch.stack([head(token) for head in heads]).mean(0)
        logit = logits[torch.arange(len(classes)), classes].sum()
        gradient = torch.autograd.grad(logit, of_block, retain_graph=True)[0].clamp(min=0)
        maps.append(gradient.mean(2) / gradient.shape[1])
    return torch.stack(maps, dim=1)[..., model.num_prefix_tokens :]


CASES = [(legrad, name) for name in FAMILIES] + [(legrad_cls, name) for name in ("distilled", "averages, class token")]


@pytest.mark.parametrize(("explain", "name"), CASES)
def test_it_is_autograd(explain, name):
    model, images = transformer(name), random_images()
    found = explain(model)(images, CLASSES)
    pool = (lambda x: x.mean(1)) if explain is legrad else (lambda x: x[:, 0])
    expected = by_autograd(model, images, CLASSES, pool)
    assert expected.amax((0, 2, 3)).min() > 1e-5  # every block has something to compare
    largest = expected.max().item()
    torch.testing.assert_close(found["maps"], expected, rtol=1e-5, atol=1e-5 * largest)
    torch.testing.assert_close(found["importance"], expected.sum((1, 2)), rtol=1e-5, atol=1e-5 * largest)


def test_gated_attention_is_explained():
    def gated():
        model = transformer("plain")
        torch.manual_seed(0)
        for block in model.blocks:
            block.attn.gate = torch.nn.Linear(24, 24)
        return model

    expected = by_autograd(gated(), random_images(), CLASSES, lambda x: x.mean(1))
    torch.testing.assert_close(legrad(gated())(random_images(), CLASSES)["maps"], expected, rtol=1e-5, atol=1e-6)


def test_one_forward_pass_and_a_backward_pass_through_each_block_alone():
    model = transformer("registers")
    explainer = legrad(model)
    forward, backward = [], []
    model.patch_embed.register_forward_hook(lambda *_: forward.append(1))
    for block in model.blocks:
        block.mlp.fc1.register_full_backward_hook(lambda *_: backward.append(1))
        block.attn.qkv.register_full_backward_hook(lambda *_: pytest.fail("the gradient left the block"))
    explainer(random_images(), CLASSES)
    assert (len(forward), len(backward)) == (1, 2)
    assert explainer.maps

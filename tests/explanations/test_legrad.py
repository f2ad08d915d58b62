"""LeGrad against autograd through timm's own attention, and in blocks that are run one by one."""

import pytest
import torch
from tiny_transformers import FAMILIES, gradients_by_weights, random_images, transformer

from classlens.explanations.legrad import legrad, legrad_cls

CLASSES = torch.tensor([0, 6, 3])


def by_autograd(model, images, classes, pool):
    """Maps by the whole graph: attention weights and residuals are read where timm computes them."""

    def logit(residual):
        token = getattr(model, "fc_norm", torch.nn.Identity())(model.norm(pool(residual)))
        heads = [model.head, *([model.head_dist] if hasattr(model, "head_dist") else [])]
        logits = torch.stack([head(token) for head in heads]).mean(0)
        return logits[torch.arange(len(classes)), classes].sum()

    found = gradients_by_weights(model, images, lambda block: block, logit).clamp(min=0)
    return found.mean(3)[..., model.num_prefix_tokens :] / found.shape[2]


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
    model = transformer("plain")
    for block in model.blocks:
        block.attn.gate = torch.nn.Linear(24, 24)
    found = legrad(model)(random_images(), CLASSES)["maps"]
    expected = by_autograd(model, random_images(), CLASSES, lambda x: x.mean(1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


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

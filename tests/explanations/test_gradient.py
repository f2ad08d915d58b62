"""Gradient explanations: golden numbers, and the closed form against autograd through timm's own attention."""

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import (
    WITH_CLASS_TOKEN,
    explain_images,
    gradients_by_weights,
    random_images,
    run_golden,
    transformer,
    write_small,
)
from torch.nn.functional import cross_entropy

from classlens.errors import InputError
from classlens.explanations.gradient import gradient, gradient_double_softmax, gradient_logit
from classlens.passes.explanation import Explanation

CLASSES = torch.tensor([0, 6, 3])


@pytest.mark.parametrize(("explain", "sign"), [(gradient_double_softmax, -1), (gradient_logit, 1)])
def test_golden(explain, sign, golden, tmp_path):
    output = tmp_path / "explanation.h5"
    assert run_golden(output, of=Explanation, explain=explain, has_maps=True) == {"device": "cpu"}
    # The golden arrays hold d loss / d A, and for the logit d logit / d A; files hold minus the gradient of the loss.
    expected = sign * golden[f"explanation/{explain.__name__}"][..., 1:]
    with h5py.File(output) as file:
        assert (file["maps"].dtype, file["importance"].dtype) == (np.float32, np.float32)
        assert np.abs(file["maps"][:] - expected).max() < 1e-4 * np.abs(expected).max()
        importance = expected.sum((1, 2))
        assert np.abs(file["importance"][:] - importance).max() < 1e-4 * np.abs(importance).max()


def by_autograd(model, images, classes, explain):
    """Minus d loss / d A of the [CLS] rows, A and the branches' outputs being read where timm computes them."""

    def loss(branch):
        logits = model.head(getattr(model, "fc_norm", torch.nn.Identity())(model.norm(branch[:, 0])))
        if explain is gradient_logit:
            return -logits[torch.arange(len(classes)), classes].sum()
        return cross_entropy(logits if explain is gradient else logits.softmax(-1), classes, reduction="sum")

    found = gradients_by_weights(model, images, lambda block: block.drop_path1, loss)
    return -found[..., 0, model.num_prefix_tokens :]


@pytest.mark.parametrize(
    ("name", "explain"),
    [(name, gradient) for name in WITH_CLASS_TOKEN]
    + [(name, explain) for name in ("distilled", "EVA") for explain in (gradient_logit, gradient_double_softmax)],
)
def test_closed_form_is_autograd(name, explain):
    model, images = transformer(name), random_images()
    explainer, passes = explain(model), []
    model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    found = explainer(images, CLASSES)
    assert len(passes) == 1  # for all blocks
    expected = by_autograd(model, images, CLASSES, explain)
    assert expected.abs().amax((0, 2, 3)).min() > 1e-6  # every block has something to compare
    largest = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found["maps"], expected, rtol=1e-4, atol=2e-6 * largest)
    torch.testing.assert_close(found["importance"], expected.sum((1, 2)), rtol=1e-4, atol=2e-5 * largest)


def test_half_precision_of_the_network_only_rounds(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2])
    importance = []
    for precision in ("float32", "bfloat16"):
        path = tmp_path / f"{precision}.h5"
        explain_images(pixels, weights, path, explain=gradient, **{**network, "precision": precision})
        with h5py.File(path) as file:
            importance.append(file["importance"][:])
    assert not np.array_equal(*importance)
    assert np.corrcoef(importance[0].ravel(), importance[1].ravel())[0, 1] > 0.99


def test_bad_input(tmp_path):
    def not_finite(model):
        model.blocks[0].attn.proj.weight.fill_(float("nan"))

    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1], not_finite)
    output = tmp_path / "out.h5"
    with pytest.raises(InputError, match=r"out\.h5: importance is not finite; check the weights"):
        explain_images(pixels, weights, output, explain=gradient, **network)

"""Gradient explanations: golden numbers, and the closed form against autograd through timm's own attention."""

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import (
    GOLDEN_NETWORK,
    RUNNING,
    WITH_CLASS_TOKEN,
    WITHOUT_CLASS_TOKEN,
    random_images,
    transformer,
    write_golden,
    write_small,
)
from torch.nn.functional import cross_entropy

from classlens.errors import InputError
from classlens.explanations.files import gradient_explanations
from classlens.explanations.gradient import GradientExplainer
from classlens.explanations.methods import GRADIENT_METHODS

CLASSES = torch.tensor([0, 6, 3])


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    outputs = {method: folder / f"{method}.h5" for method in GRADIENT_METHODS}
    provenance = gradient_explanations(*write_golden(folder), outputs, **GOLDEN_NETWORK, **RUNNING, batch_size=7)
    assert provenance == {"device": "cpu"}
    return outputs


@pytest.mark.parametrize(("method", "sign"), [("gradient_double_softmax", -1), ("gradient_logit", 1)])
def test_golden(method, sign, explained, golden):
    # The golden arrays hold d loss / d A, and for the logit d logit / d A; files hold minus the gradient of the loss.
    expected = sign * golden[f"explanation/{method}"][..., 1:]
    with h5py.File(explained[method]) as file:
        assert (file["maps"].dtype, file["importance"].dtype) == (np.float32, np.float32)
        assert np.abs(file["maps"][:] - expected).max() < 1e-4 * np.abs(expected).max()
        importance = expected.sum((1, 2))
        assert np.abs(file["importance"][:] - importance).max() < 1e-4 * np.abs(importance).max()
        assert all(file[name].attrs["description"] for name in ("maps", "importance"))


def loss_of(method, logits, classes):
    if method == "gradient_logit":
        return -logits[torch.arange(len(classes)), classes].sum()
    return cross_entropy(logits.softmax(-1) if method.endswith("softmax") else logits, classes, reduction="sum")


def by_autograd(model, images, classes, method):
    """Minus d loss / d A of the [CLS] rows, A and the branches' outputs being read where timm computes them."""
    weights, branches = [], []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, output: weights.append(output))
        block.drop_path1.register_forward_hook(lambda _module, _inputs, output: branches.append(output[:, 0]))
    model(images)
    maps = []
    for attention, branch in zip(weights, branches, strict=True):
        logits = model.head(getattr(model, "fc_norm", torch.nn.Identity())(model.norm(branch)))
        maps.append(-torch.autograd.grad(loss_of(method, logits, classes), attention, retain_graph=True)[0][:, :, 0])
    return torch.stack(maps, dim=1)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
def test_closed_form_is_autograd(name, method):
    model, images = transformer(name), random_images()
    found = GradientExplainer(model, [method])(images, CLASSES)[method]
    expected = by_autograd(model, images, CLASSES, method)
    assert expected.abs().amax((0, 2, 3)).min() > 1e-6  # every block has something to compare
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6 * max(1.0, expected.abs().max().item()))


def test_methods_share_a_pass_and_the_class_is_free(tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "LayerScale", [0, 1, 2, 3, 4])
    passes = []
    together = GradientExplainer(model)
    model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    found = together(random_images(), CLASSES)
    assert len(passes) == 1
    for method in GRADIENT_METHODS:
        assert torch.equal(found[method], GradientExplainer(model, [method])(random_images(), CLASSES)[method])
    files = [tmp_path / "own.h5", tmp_path / "asked.h5"]
    gradient_explanations(pixels, weights, {"gradient": files[0]}, **network)
    gradient_explanations(pixels, weights, {"gradient": files[1]}, classes=[0, 1, 6, 3, 4], **network)
    with h5py.File(files[0]) as own, h5py.File(files[1]) as asked:
        differs = (own["maps"][:] != asked["maps"][:]).any((1, 2, 3))
        assert differs.tolist() == [False, False, True, False, False]


def test_half_precision_of_the_network_only_rounds(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2])
    importance = []
    for precision in ("float32", "bfloat16"):
        path = tmp_path / f"{precision}.h5"
        gradient_explanations(pixels, weights, {"gradient": path}, **{**network, "precision": precision})
        with h5py.File(path) as file:
            importance.append(file["importance"][:])
    assert not np.array_equal(*importance)
    assert np.corrcoef(importance[0].ravel(), importance[1].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("name", WITHOUT_CLASS_TOKEN)
def test_models_without_class_token_are_refused(name):
    with pytest.raises(InputError, match=r"'gradient_logit' does not apply to vit: .*does not have; take random"):
        GradientExplainer(transformer(name), ["gradient_logit"], "vit")


def test_gated_attention_is_refused():
    model = transformer("plain")
    model.blocks[1].attn.gate = torch.nn.Linear(24, 24)
    with pytest.raises(InputError, match="do not apply to vit: its attention is gated"):
        GradientExplainer(model, name="vit")


def test_bad_input(tmp_path):
    def not_finite(model):
        model.blocks[0].attn.proj.weight.fill_(float("nan"))

    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1], not_finite)
    output = tmp_path / "out.h5"
    with pytest.raises(InputError, match="explanation gradient is not finite; check the weights"):
        gradient_explanations(pixels, weights, {"gradient": output}, **network)
    with pytest.raises(InputError, match="'chefer' is none of gradient, gradient_logit"):
        gradient_explanations(pixels, weights, {"chefer": output}, **network)
    with pytest.raises(InputError, match=r"class 7 is none of the model's classes 0\.\.6"):
        gradient_explanations(pixels, weights, {"gradient": output}, classes=[0, 7], **network)

"""Explanations by attention weights: golden numbers, and full matrices through timm's own attention."""

from contextlib import suppress

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import (
    AVERAGES_WITH_CLASS_TOKEN,
    GOLDEN_NETWORK,
    READS_CLASS_TOKEN,
    RUNNING,
    random_images,
    transformer,
    write_golden,
    write_small,
)

from classlens.errors import InputError
from classlens.explanations.chance import random_importance
from classlens.explanations.files import attention_explanations, random_explanation
from classlens.explanations.methods import ATTENTION_METHODS, METHODS, applicable_methods, require_method
from classlens.explanations.relevance import AttentionExplainer
from classlens.perturbation.running import evaluating

CLASSES = torch.tensor([0, 6, 3])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return write_golden(tmp_path_factory.mktemp("golden"))


def test_golden(stored, golden, tmp_path):
    outputs = {method: tmp_path / f"{method}.h5" for method in ATTENTION_METHODS}
    assert attention_explanations(*stored, outputs, **GOLDEN_NETWORK, **RUNNING, batch_size=7) == {"device": "cpu"}
    expected = golden["explanation/chefer"]
    with h5py.File(outputs["chefer"]) as file:
        assert np.abs(file["importance"][:] - expected).max() < 1e-4 * np.abs(expected).max()
        assert file["importance"].dtype == np.float32
        assert file["importance"].attrs["description"]


def full_matrices(model, images, classes):
    """The three methods with whole matrices, attention and its gradient being read where timm computes them."""
    weights = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, output: weights.append(output))
    logits = model(images)
    gradients = torch.autograd.grad(logits[torch.arange(len(classes)), classes].sum(), weights)
    one = torch.eye(weights[0].shape[-1]).expand(len(images), -1, -1)
    relevance, rollout = one, one
    for attention, gradient in zip(weights, gradients, strict=True):
        relevance = relevance + (attention * gradient).clamp(min=0).mean(1) @ relevance
        mixed = attention.mean(1) + one
        rollout = mixed / mixed.sum(-1, keepdim=True) @ rollout
    rows = {"chefer": relevance, "rollout": rollout, "attention": weights[-1].mean(1)}
    return {method: matrix[:, 0, model.num_prefix_tokens :].detach() for method, matrix in rows.items()}


@pytest.mark.parametrize("name", READS_CLASS_TOKEN)
def test_rows_of_full_matrices(name):
    model, images = transformer(name), random_images()
    with evaluating(model):
        found = AttentionExplainer(model)(images, CLASSES)
    expected = full_matrices(model, images, CLASSES)
    for method in ATTENTION_METHODS:
        largest = expected[method].abs().max()
        assert largest > 1e-4
        torch.testing.assert_close(found[method], expected[method], rtol=1e-4, atol=1e-5 * largest.item())


def test_without_chefer_no_gradient_is_taken(monkeypatch):
    model, images = transformer("plain"), random_images()
    expected = AttentionExplainer(model)(images, CLASSES)
    monkeypatch.setattr(torch.autograd, "grad", None)
    found = AttentionExplainer(model, ["attention", "rollout"])(images, CLASSES)
    assert list(found) == ["attention", "rollout"]
    for method, values in found.items():
        assert torch.equal(values, expected[method])


def test_backward_passes_take_fewer_images_where_memory_would_run_out(monkeypatch, tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2, 3, 4])
    assert AttentionExplainer(model, ["rollout"]).images_that_fit() > 10**9
    # Of a block's 17 tokens: 12 widths of 24, and 3 heads times 17 keys three times.
    per_image = 4 * 2 * 17 * (12 * 24 + 3 * 3 * 17)
    monkeypatch.setattr("classlens.explanations.relevance.GRAPH_BYTES", 3 * per_image)
    assert AttentionExplainer(model).images_that_fit() == 3
    monkeypatch.setattr("classlens.explanations.relevance.GRAPH_BYTES", 1)
    assert AttentionExplainer(model).images_that_fit() == 1
    sizes = []
    original = AttentionExplainer.__call__
    monkeypatch.setattr(AttentionExplainer, "__call__", lambda self, x, y: sizes.append(len(x)) or original(self, x, y))
    for methods in (["rollout"], ["chefer", "rollout"]):
        outputs = {method: tmp_path / f"{method}_{len(methods)}.h5" for method in methods}
        attention_explanations(pixels, weights, outputs, **network)
    assert sizes == [2, 2, 1, 1, 1, 1, 1, 1]


def test_only_chefer_depends_on_the_class():
    model, images = transformer("plain"), random_images()
    first, second = (AttentionExplainer(model)(images, classes) for classes in (CLASSES, CLASSES.flip(0)))
    for method in ATTENTION_METHODS:
        # The middle image is asked about the same class both times.
        same = [torch.allclose(a, b) for a, b in zip(first[method], second[method], strict=True)]
        assert same == ([True] * 3 if method != "chefer" else [False, True, False])


def test_evaluating_leaves_a_model_as_it_was():
    model = transformer("plain").train()
    model.blocks[0].eval()
    model.head.weight.requires_grad_(False)
    before = [(module.training) for module in model.modules()], [p.requires_grad for p in model.parameters()]
    with suppress(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise KeyError
    assert ([(module.training) for module in model.modules()], [p.requires_grad for p in model.parameters()]) == before


def test_which_method_applies_to_which_model():
    assert applicable_methods(has_class_token=True, class_token_pooling=True) == METHODS
    assert applicable_methods(has_class_token=False, class_token_pooling=False) == ("random",)
    averages = {"has_class_token": True, "class_token_pooling": False}
    assert applicable_methods(**averages) == (*METHODS[:3], "random")
    require_method("gradient", "vit", **averages)
    with pytest.raises(InputError, match="'chefre' is unknown; take one of gradient, "):
        require_method("chefre", "vit", **averages)


@pytest.mark.parametrize("name", AVERAGES_WITH_CLASS_TOKEN)
@pytest.mark.parametrize("method", ATTENTION_METHODS)
def test_models_that_average_are_refused(name, method):
    with pytest.raises(
        InputError, match=rf"'{method}' does not apply to vit: .* averages the image tokens; take gradient"
    ):
        AttentionExplainer(transformer(name), [method], "vit")


def test_bad_input(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1])
    with pytest.raises(InputError, match="'gradient' is none of chefer, rollout, attention"):
        attention_explanations(pixels, weights, {"gradient": tmp_path / "out.h5"}, **network)
    with pytest.raises(InputError, match="class -2 is none"):
        attention_explanations(pixels, weights, {"chefer": tmp_path / "out.h5"}, classes=[1, -2], **network)


def test_random_importance_does_not_depend_on_batches(tmp_path):
    _, pixels, _, _ = write_small(tmp_path, "plain", [0] * 5)
    random_explanation(pixels, tmp_path / "random.h5", tokens=16, seed=3)
    with h5py.File(tmp_path / "random.h5") as file:
        importance = file["importance"][:]
    parts = [random_importance(3, start, stop, 16) for start, stop in ((0, 2), (2, 2), (2, 5))]
    assert np.array_equal(importance, np.concatenate(parts))
    assert len({tuple(order) for order in importance.argsort(1)}) == 5
    assert not np.array_equal(importance, random_importance(4, 0, 5, 16))

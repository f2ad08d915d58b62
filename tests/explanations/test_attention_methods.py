"""Explanations by attention weights: golden numbers, and full matrices through timm's own attention."""

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import (
    READS_CLASS_TOKEN,
    attention_by_timm,
    explain_images,
    random_images,
    run_golden,
    transformer,
    write_small,
)

from classlens.explanations.attention import attention
from classlens.explanations.chefer import chefer
from classlens.explanations.random import random_importance, write_random_explanation
from classlens.explanations.rollout import rollout
from classlens.inference.modes import frozen_eval_mode
from classlens.passes.explanation import Explanation

CLASSES = torch.tensor([0, 6, 3])
METHODS = (chefer, rollout, attention)


def test_golden(golden, tmp_path):
    output = tmp_path / "chefer.h5"
    run_golden(output, of=Explanation, explain=chefer, has_maps=False)
    expected = golden["explanation/chefer"]
    with h5py.File(output) as file:
        assert list(file) == ["importance"]
        assert np.abs(file["importance"][:] - expected).max() < 1e-4 * np.abs(expected).max()
        assert file["importance"].dtype == np.float32


def full_matrices(model, images, classes):
    """The three methods with whole matrices, attention and its gradient being read where timm computes them."""
    weights = attention_by_timm(model)
    logits = model(images)
    gradients = torch.autograd.grad(logits[torch.arange(len(classes)), classes].sum(), weights)
    one = torch.eye(weights[0].shape[-1]).expand(len(images), -1, -1)
    relevance, product = one, one
    for of_block, gradient in zip(weights, gradients, strict=True):
        relevance = relevance + (of_block * gradient).clamp(min=0).mean(1) @ relevance
        mixed = of_block.mean(1) + one
        product = mixed / mixed.sum(-1, keepdim=True) @ product
    rows = {"chefer": relevance, "rollout": product, "attention": weights[-1].mean(1)}
    return {method: matrix[:, 0, model.num_prefix_tokens :].detach() for method, matrix in rows.items()}


@pytest.mark.parametrize("name", READS_CLASS_TOKEN)
def test_rows_of_full_matrices(name):
    model, images = transformer(name), random_images()
    with frozen_eval_mode(model):
        found = {explain.__name__: explain(model)(images, CLASSES)["importance"] for explain in METHODS}
    expected = full_matrices(model, images, CLASSES)
    for method, importance in found.items():
        largest = expected[method].abs().max()
        assert largest > 1e-4
        torch.testing.assert_close(importance, expected[method], rtol=1e-4, atol=1e-5 * largest.item())


def test_only_chefer_takes_a_gradient_and_depends_on_the_class(monkeypatch):
    model, images = transformer("plain"), random_images()
    with frozen_eval_mode(model):
        first, second = (chefer(model)(images, classes)["importance"] for classes in (CLASSES, CLASSES.flip(0)))
        # The middle image is asked about the same class both times.
        assert [torch.allclose(a, b) for a, b in zip(first, second, strict=True)] == [False, True, False]
        monkeypatch.setattr(torch.autograd, "grad", None)
        for explain in (rollout, attention):
            first, second = (explain(model)(images, classes)["importance"] for classes in (CLASSES, CLASSES.flip(0)))
            assert torch.equal(first, second)


def test_backward_passes_take_fewer_images_where_memory_would_run_out(monkeypatch, tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2, 3, 4])
    assert rollout(model).images_that_fit > 10**9
    # Of a block's 17 tokens: 12 widths of 24, and 3 heads times 17 keys three times.
    per_image = 4 * 2 * 17 * (12 * 24 + 3 * 3 * 17)
    monkeypatch.setattr("classlens.explanations.graph.GRAPH_BYTES", 3 * per_image)
    assert chefer(model).images_that_fit == 3
    monkeypatch.setattr("classlens.explanations.graph.GRAPH_BYTES", 1)
    sizes = []

    def watched(explain):
        def explainer(model):
            made = explain(model)
            model.patch_embed.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
            return made

        return explainer

    for explain in (rollout, chefer):
        explain_images(pixels, weights, tmp_path / "out.h5", explain=watched(explain), **network)
    assert sizes == [2, 2, 1, 1, 1, 1, 1, 1]


def test_random_importance_does_not_depend_on_batches(tmp_path):
    _, pixels, _, _ = write_small(tmp_path, "plain", [0] * 5)
    write_random_explanation(pixels, tmp_path / "random.h5", tokens=16, seed=3)
    with h5py.File(tmp_path / "random.h5") as file:
        importance = file["importance"][:]
    parts = [random_importance(3, start, stop, 16) for start, stop in ((0, 2), (2, 2), (2, 5))]
    assert np.array_equal(importance, np.concatenate(parts))
    assert len({tuple(order) for order in importance.argsort(1)}) == 5
    assert not np.array_equal(importance, random_importance(4, 0, 5, 16))

"""Token perturbations against the golden numbers and one image at a time."""

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import random_images, run_golden, transformer, write_small

from classlens.errors import InputError
from classlens.inference.projection import Projection
from classlens.inference.tokens import TokenModel
from classlens.passes.run import run_pass
from classlens.passes.token_perturbation import PerturbTokens, TokenPerturbation


@pytest.fixture
def labels(golden, tmp_path):
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["label"] = golden["token_label/corner"].astype(np.int8)
    return str(tmp_path / "labels.h5")


@pytest.mark.parametrize(("kind", "removed", "batch_size"), [("no_context", 0, 1), ("no_class", 1, 8)])
def test_golden(kind, removed, batch_size, labels, golden, tmp_path):
    output = tmp_path / "perturbed.h5"
    run_golden(output, of=PerturbTokens, labels=labels, kind=kind, batch_size=batch_size)
    with h5py.File(output) as file:
        expected = golden[f"perturbation/tokens_{kind}/rank"]
        assert file["rank"].dtype == np.int32
        assert np.array_equal(file["rank"][:] == -1, expected == -1)
        assert (file["rank"][:] != expected).sum() <= 5
        assert np.array_equal(file["correct"], golden[f"perturbation/tokens_{kind}/correct"])
        assert np.array_equal(file["image_tokens_left"], (golden["token_label/corner"] != removed).sum(1))


LEFT = torch.tensor([[False] * 16, [True, False] * 8, [False] * 15 + [True]])


@pytest.mark.parametrize("name", ["distilled", "averages", "attention pool"])
@torch.inference_mode()
def test_one_image_at_a_time_says_the_same(name):
    model, images, classes = transformer(name), random_images(), torch.tensor([2, 3, 4])
    rank, correct = TokenPerturbation(model)(images, classes, LEFT)
    tokens, project = TokenModel(model), Projection(model)
    assert (rank[:, tokens.prefix :] >= 0).equal(LEFT)
    for i in range(3):
        kept = LEFT[i].nonzero()[None, :, 0]
        if not kept.numel() and tokens.needs_image_tokens:
            # Nothing to average: no output, so it is not right.
            assert (rank[i] == -1).all()
            assert not correct[i]
            continue
        residual = tokens.residual(tokens.embed(images[i : i + 1]), kept)
        logits = project(residual)[0]
        expected = (logits > logits[:, classes[i], None]).sum(-1)
        positions = torch.cat([torch.arange(tokens.prefix), kept[0] + tokens.prefix])
        assert torch.equal(rank[i, positions], expected.int())
        assert correct[i] == (tokens.logits(residual)[0].argmax() == classes[i])


def test_a_batch_of_which_nothing_is_left():
    rank, correct = TokenPerturbation(transformer("averages"))(
        random_images(1), torch.tensor([0]), torch.zeros(1, 16, dtype=torch.bool)
    )
    assert rank.tolist() == [[-1] * 16]
    assert correct.tolist() == [False]


def test_images_left_without_an_image_token_are_counted(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "distilled", [0, 1, 2])
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["label"] = np.array([[0] * 16, [-1] * 8 + [0] * 8, [1] * 16], np.int8)
    given = {"of": PerturbTokens, "labels": str(tmp_path / "labels.h5"), "kind": "no_context", **network}
    run_pass(pixels, weights, tmp_path / "out.h5", **given)
    with h5py.File(tmp_path / "out.h5") as file:
        # Ignored tokens are neither class nor context, and stay.
        assert file["image_tokens_left"][:].tolist() == [0, 8, 16]
        assert (file["rank"][0, :2] >= 0).all()
        assert (file["rank"][0, 2:] == -1).all()


def test_unknown_kind(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1])
    with pytest.raises(InputError, match="'no_cls' is unknown; take one of no_context, no_class"):
        run_pass(pixels, weights, tmp_path / "out.h5", of=PerturbTokens, labels="labels.h5", kind="no_cls", **network)

"""Removal curves: golden numbers, the ends of the curve, and what a step costs."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from tiny_transformers import (
    GOLDEN_NETWORK,
    RUNNING,
    golden_pixels,
    golden_weights,
    random_images,
    transformer,
    write_small,
)

from classlens.errors import InputError
from classlens.explanations.random import random_importance
from classlens.inference.tokens import TokenModel
from classlens.measures.removal_steps import importance_order, removal_counts
from classlens.passes.removal_curves import join_removal_curves
from classlens.passes.run import run_pass
from classlens.passes.token_removal import RemoveTokens, TokenRemoval


def write_importance(path, importance):
    with h5py.File(path, "w") as file:
        file["importance"] = np.asarray(importance, np.float32)
    return str(path)


def removal_curves(pixels, weights, explanation, curves, correct_per_image, *, counts=None, seeds=(), **network):
    given = {"of": RemoveTokens, "finish": join_removal_curves, "curves": curves, "counts": counts, "seeds": seeds}
    run_pass(pixels, weights, explanation=explanation, correct_per_image=correct_per_image, **given, **network)


def test_golden(golden, tmp_path):
    # Importance that falls along the golden order.
    importance = np.empty((30, 49), np.float32)
    np.put_along_axis(importance, golden["faithfulness/chefer/order"] - 1, np.arange(49, 0, -1.0)[None], axis=1)
    explanation, counts = [write_importance(tmp_path / "importance.h5", importance)], [1, 2, 20, 48, 49]
    files, given = (tmp_path / "curves.csv", tmp_path / "right.h5"), {**GOLDEN_NETWORK, **RUNNING, "batch_size": 13}
    removal_curves(golden_pixels(), golden_weights(), explanation, *files, counts=counts, **given)
    table = pd.read_csv(files[0])
    assert list(table.columns) == ["direction", "n_removed", "accuracy"]
    with h5py.File(files[1]) as file:
        assert file.attrs["n_removed"].tolist() == [0, 1, 29, 47, 48]
        assert file.attrs["image_tokens"] == 49
        for direction in ("negative", "positive"):
            rows = table[table["direction"] == direction]
            assert rows["n_removed"].tolist() == [0, 1, 29, 47, 48]
            # From one token on; the last that is kept is the whole image.
            expected = golden[f"faithfulness/chefer/{direction}_accuracy"][[count - 1 for count in counts[:-1]]]
            assert np.abs(rows["accuracy"].to_numpy()[:0:-1] - expected).max() < 1e-5
            assert rows["accuracy"].iloc[0] == pytest.approx(golden["projection/correct"].mean(), abs=1e-5)
            assert file[direction].shape == (30, 5)
            assert file[direction][:].mean(0) == pytest.approx(rows["accuracy"].to_numpy(), abs=1e-5)
            assert np.array_equal(file[direction][:, 0], golden["projection/correct"])


def orders_of(count, tokens=16, several=2):
    random = np.random.default_rng(0)
    return torch.from_numpy(importance_order(random.random((several, count, tokens))))


@pytest.mark.parametrize("name", ["distilled", "averages, relative positions", "attention pool", "[CLS ; mean]"])
@torch.inference_mode()
def test_every_step_is_the_model_on_that_many_tokens(name):
    model, images = transformer(name), random_images(5)
    predicted = model(images).argmax(-1)
    # Some are right and some are wrong.
    classes = torch.where(torch.tensor([True, True, False, True, True]), predicted, (predicted + 1) % 7)
    orders, counts = orders_of(5), [1, 4, 11, 16]
    right = TokenRemoval(model)(images, classes, orders, counts)
    assert right.shape == (2, 2, 5, 4)
    assert torch.equal(right[..., -1], (predicted == classes).expand(2, 2, 5))
    tokens = TokenModel(model)
    embedded = tokens.embed(images)
    for step, count in enumerate(counts[:-1]):
        for seed in range(2):
            for image in range(5):
                for direction, kept in enumerate((orders[seed, image, :count], orders[seed, image, -count:])):
                    logits = tokens.logits(tokens.residual(embedded[image : image + 1], kept[None]))
                    expected = logits.argmax(-1) == classes[image]
                    assert right[direction, seed, image, step] == expected


def test_a_step_with_n_tokens_costs_n_tokens():
    model = transformer("registers")
    seen = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _module, inputs: seen.append(tuple(inputs[0].shape[:2])))
    removal = TokenRemoval(model)
    seen.clear()
    embeddings = []
    model.patch_embed.register_forward_hook(lambda *_: embeddings.append(1))
    removal(random_images(6), torch.zeros(6, dtype=torch.long), orders_of(6, several=1), [2, 10, 16])
    ran = [shape for shape in seen if shape != (6, 20)]
    # Two blocks; both directions share a batch as long as it has no more tokens than the whole images have.
    assert ran == [(12, 6), (12, 6), *[(8, 14)] * 2, *[(4, 14)] * 2]
    assert seen.count((6, 20)) == 3  # the unperturbed model once, and the pass that stops where the blocks begin
    assert len(embeddings) == 1


@pytest.mark.parametrize("tokens", [1, 2, 64, 65, 100, 196, 4096])
def test_counts(tokens):
    counts = removal_counts(tokens)
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (1, tokens)
    assert len(counts) == (tokens if tokens <= 64 else 50)
    steps = np.diff(counts)
    if tokens > 64:
        assert steps.max() - steps.min() <= 1


def test_equal_importance_keeps_the_first():
    assert importance_order(np.array([[0.0, 2.0, 0.0, 2.0]])).tolist() == [[1, 3, 0, 2]]
    many = np.arange(200) % 2
    assert importance_order(many).tolist() == [*range(1, 200, 2), *range(0, 200, 2)]


def test_random_orders(tmp_path):
    model, pixels, weights, network = write_small(tmp_path, "averages", [0, 1, 2, 3, 4])
    files = tmp_path / "curves.csv", tmp_path / "right.h5"
    removal_curves(pixels, weights, [], *files, seeds=[5, 6], **network)
    table = pd.read_csv(files[0])
    assert table["n_removed"].tolist() == [*range(16)] * 2
    by_seed = []
    for seed in (5, 6):
        explanation = [write_importance(tmp_path / f"{seed}.h5", random_importance(seed, 0, 5, 16))]
        one, counts = (tmp_path / "one.csv", tmp_path / "one.h5"), [*range(16, 0, -1)]
        removal_curves(pixels, weights, explanation, *one, counts=counts, **network)
        by_seed.append(pd.read_csv(tmp_path / "one.csv")["accuracy"].to_numpy())
    assert table["accuracy"].to_numpy() == pytest.approx(np.mean(by_seed, axis=0), abs=1e-5)
    assert table["accuracy_low"].to_numpy() == pytest.approx(np.min(by_seed, axis=0), abs=1e-5)
    assert table["accuracy_high"].to_numpy() == pytest.approx(np.max(by_seed, axis=0), abs=1e-5)
    with h5py.File(files[1]) as file:
        means = np.concatenate([file[direction][:].mean(0) for direction in ("negative", "positive")])
    assert means == pytest.approx(table["accuracy"].to_numpy(), abs=1e-5)
    assert model.cls_token is None


@pytest.mark.parametrize(
    ("importance", "keywords", "message"),
    [
        (np.zeros((2, 16)), {"counts": [1, 17]}, r"\[1, 17\]: give some of 1\.\.16"),
        (np.zeros((2, 16)), {"counts": []}, r"give some of 1\.\.16"),
        (np.zeros((2, 16)), {"seeds": [1]}, "either an explanation or the seeds"),
        (None, {}, "either an explanation or the seeds"),
        (np.full((2, 16), np.nan), {}, r"importance\.h5: importance is not finite"),
    ],
)
def test_bad_input(importance, keywords, message, tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1])
    explanation = [] if importance is None else [write_importance(tmp_path / "importance.h5", importance)]
    with pytest.raises(InputError, match=message):
        removal_curves(pixels, weights, explanation, tmp_path / "a.csv", tmp_path / "a.h5", **keywords, **network)

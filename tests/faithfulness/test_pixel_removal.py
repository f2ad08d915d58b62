"""Removal on pixels: worked out image by image, and the published area."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from tiny_transformers import random_images, transformer, write_small

from classlens.explanations.random import random_importance
from classlens.passes.pixel_removal import PixelRemoval, RemovePixels
from classlens.passes.removal_curves import join_pixel_curves
from classlens.passes.run import run_pass

PIXELS = {"of": RemovePixels, "finish": join_pixel_curves}
BLACK = torch.tensor([-1.0, -2.0, -3.0]).view(1, 3, 1, 1)


def enlarged(importance, grid=4, side=32):
    """Bilinear interpolation between the middles of tokens, pixel by pixel."""
    values, result = importance.reshape(grid, grid), np.empty((side, side), np.float32)
    places = np.clip((np.arange(side) + 0.5) * grid / side - 0.5, 0, grid - 1)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            top, left = min(int(y), grid - 2), min(int(x), grid - 2)
            above, beside = y - top, x - left
            corners = values[top : top + 2, left : left + 2]
            result[row, column] = [1 - above, above] @ corners @ [1 - beside, beside]
    return result


@pytest.mark.parametrize("name", ["distilled", "averages"])
@torch.inference_mode()
def test_every_step_is_the_model_on_painted_images(name):
    model, images = transformer(name), random_images(2)
    predicted = model(images).argmax(-1)
    classes = torch.where(torch.tensor([True, False]), predicted, (predicted + 1) % 7)
    importance = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32))
    seen = []
    model.register_forward_hook(lambda _module, inputs, output: seen.append((inputs[0], output.argmax(-1) == classes)))
    right = PixelRemoval(model, BLACK)(images, classes, importance)
    assert right.shape == (2, 2, 10)
    assert len(seen) == 1 + 2 * 9  # the intact images once
    assert torch.equal(seen[0][0], images)
    assert torch.equal(right[..., 0], seen[0][1].expand(2, 2))
    for index, (painted, correct) in enumerate(seen[1:]):
        step, direction = 1 + index // 2, index % 2
        assert torch.equal(right[direction, :, step], correct)
        for image in range(2):
            black = (painted[image] == BLACK[0]).all(0)
            assert black.sum() == 1024 * step // 10
            assert torch.equal(painted[image][:, ~black], images[image][:, ~black])
            # The least important pixels of the negative test, the most important of the positive one, but for rounding.
            values = torch.from_numpy(enlarged(importance[image].numpy())) * (-1 if direction else 1)
            assert values[black].max() <= values[~black].min() + 1e-5


def written_to(files):
    return dict(zip(RemovePixels.finished, files, strict=True))


def test_files(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "averages", [0, 1, 2, 3, 4])
    importance = random_importance(5, 0, 5, 16)
    with h5py.File(tmp_path / "importance.h5", "w") as file:
        file["importance"] = importance
    files = tmp_path / "curves.csv", tmp_path / "right.h5"
    given = {**PIXELS, "explanation": [str(tmp_path / "importance.h5")], **written_to(files), "seeds": [], **network}
    made = run_pass(pixels, weights, **given)
    assert made == {"device": "cpu"}
    table = pd.read_csv(files[0])
    assert list(table.columns) == ["direction", "percent_removed", "accuracy", "auc", "auc_ratio"]
    assert table["percent_removed"].tolist() == list(range(0, 100, 10)) * 2
    for direction, rows in table.groupby("direction"):
        with h5py.File(files[1]) as file:
            assert file.attrs["percent_removed"].tolist() == list(range(0, 100, 10))
            assert file[direction][:].mean(0) == pytest.approx(rows["accuracy"].to_numpy(), abs=1e-5)
        accuracy = rows["accuracy"].to_numpy()
        area = 100 * sum(0.1 * (accuracy[i] + accuracy[i + 1]) / 2 for i in range(9))
        assert rows["auc"].to_numpy() == pytest.approx(np.full(10, area), abs=1e-4)
        if accuracy[0]:
            assert rows["auc_ratio"].to_numpy() == pytest.approx(np.full(10, area / accuracy[0]), abs=1e-3)


def test_random_orders(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2])
    files = tmp_path / "curves.csv", tmp_path / "right.h5"
    run_pass(pixels, weights, **PIXELS, explanation=[], **written_to(files), **network, seeds=[3, 4])
    table = pd.read_csv(files[0])
    assert (table["accuracy_low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["accuracy_high"]).all()

"""`classlens explain`, as it is typed."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from made_pictures import CLASSES, SAVED, checkpoint, typed
from PIL import Image

from classlens import Lens
from classlens.look import explained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint under timm's names, and pictures of different sizes, two of which share a stem."""
    made = tmp_path_factory.mktemp("explain")
    checkpoint(made / "vit.pth")
    for seed, (name, size) in enumerate({"cat.png": (90, 60), "dog.png": (50, 80), "more/Cat.jpg": (64, 64)}.items()):
        (made / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(made / "pictures" / name)
    (made / "empty").mkdir()
    return made


def lens_of(folder):
    model = timm.create_model(SAVED, num_classes=CLASSES)
    model.load_state_dict(torch.load(folder / "vit.pth"))
    return Lens(model.eval())


def test_overlays_maps_and_a_table(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(explained, "BATCH", 2)
    output, words = tmp_path / "new" / "out", ["explain", folder / "vit.pth", folder / "pictures"]
    typed(*words, "--architecture", SAVED, "--method", "attn_lrp", "-o", output)
    table = pd.read_csv(output / "explanations.csv")
    assert list(table) == ["picture", "class_index", "class", "probability", "method", "file", "map"]
    assert list(table["map"]) == ["cat_attn_lrp.npy", "dog_attn_lrp.npy", "Cat_2_attn_lrp.npy"]
    assert {path.name for path in output.iterdir()} == {"explanations.csv", *table["file"], *table["map"]}
    view = lens_of(folder)(list(table["picture"]))
    probabilities = torch.from_numpy(view.output).softmax(1).numpy()
    assert (tmp_path / "new").exists()
    for place, row in table.iterrows():
        assert row["class_index"] == view.output[place].argmax()
        assert row["class"] == f"class {row['class_index']}"
        assert row["probability"] == pytest.approx(probabilities[place].max(), rel=1e-4)
        expected = view.explain(method="attn_lrp", image=place)
        np.testing.assert_allclose(np.load(output / row["map"]), expected.heatmap(), rtol=1e-4, atol=1e-6)
        assert Image.open(output / row["file"]).size == Image.open(row["picture"]).size


def test_a_class_that_is_named(folder, tmp_path):
    pictures, rest = folder / "pictures" / "*.png", ("--architecture", SAVED, "--method", "legrad", "-o", tmp_path)
    typed("explain", folder / "vit.pth", pictures, "--class", "7", *rest)
    table = pd.read_csv(tmp_path / "explanations.csv")
    assert list(table["class_index"]) == [7, 7]
    expected = lens_of(folder)(table["picture"][1]).explain(7, "legrad").heatmap()
    np.testing.assert_allclose(np.load(tmp_path / "dog_legrad.npy"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit.pth", "empty"], "holds no pictures"),
        (["vit.pth", "pictures", "vit.pth"], "no picture that can be read"),
        (["vit.pth", "pictures", "--method", "magic"], "'magic' is unknown"),
        (["vit.pth", "pictures", "--method", "probe"], "linear probes"),
        (["vit.pth", "pictures", "--class", "cat"], "names of the model's classes are not known"),
        (["vit.pth", "pictures", "--class", "40"], "40"),
        (["vit.pth", "pictures", "--architecture", "resnet18"], "not supported"),
        (["none.pth", "pictures"], "none.pth"),
        (["vit.pth", "pictures", "--output", "vit.pth"], "vit.pth is a file"),
    ],
)
def test_one_line_and_nothing_written(folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("vit.pth", "pictures", "empty"):
        (tmp_path / name).symlink_to(folder / name)
    before = sorted(tmp_path.rglob("*"))
    # The last one of options that are given twice counts.
    said = typed("explain", "--method", "attn_lrp", "--output", "out/new", "--architecture", SAVED, *words, status=2)
    [error] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_a_head(folder, tmp_path):
    model = timm.create_model(SAVED, num_classes=0)
    explained.write_explanations(Lens(model), [folder / "pictures" / "cat.png"], "attention", tmp_path / "out")
    [row] = pd.read_csv(tmp_path / "out/explanations.csv").to_dict("records")
    assert np.isnan(row["class_index"])
    assert np.isnan(row["probability"])
    assert np.load(tmp_path / "out" / row["map"]).ndim == 2

"""Images of other than three channels: files, what a model sees of them, and what is refused by name."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_MODEL, tiny_config
from made_data import Made
from PIL import Image
from tiny_transformers import SMALL, describe_here, extract_pixels

from classlens import Lens
from classlens.catalog.configs import load_config
from classlens.config.architecture import with_architectures
from classlens.data.bands import open_bands
from classlens.data.geometry import Geometry
from classlens.data.image_folder import ImageFolder
from classlens.errors import InputError
from classlens.inference.network import LoadedModel
from classlens.models.build import build
from classlens.models.describe import describe
from classlens.models.inputs import Normalise
from classlens.passes import extraction
from classlens.photos import as_colours

DRAW = np.random.default_rng(0)


def values(channels, kind=np.uint8, side=9):
    return DRAW.integers(0, 256, (side, side + 3, channels)).astype(kind)


def array(content):
    np.save(file := io.BytesIO(), content)
    return file.getvalue()


def pages(content):
    first, *others = [Image.fromarray(content[..., one]) for one in range(content.shape[-1])]
    first.save(file := io.BytesIO(), "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def samples(content):
    Image.fromarray(content).save(file := io.BytesIO(), "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("saved", "name", "channels"), [(array, "a.NPY", 5), (pages, "a.tif", 5), (samples, "a.tif", 4)]
)
def test_channels_are_moved_each_by_itself(saved, name, channels):
    given, geometry = values(channels), Geometry(size=(6, 4), resize="shortest", crop=0.9, interpolation="bicubic")
    image = open_bands(saved(given), Path(name), channels)
    assert np.array_equal(np.asarray(image), given)
    each = [np.asarray(geometry.image(Image.fromarray(given[..., one].copy()))) for one in range(channels)]
    assert np.array_equal(np.asarray(geometry.image(image)), np.stack(each, -1))
    assert image.getextrema() == tuple((given[..., one].min(), given[..., one].max()) for one in range(channels))


@pytest.mark.parametrize(
    ("kind", "scale", "value_range"),
    [(np.uint16, 257, None), (np.float64, 1 / 255, None), (np.int16, 8, (0, 8 * 255)), (np.uint8, 1, (0, 255))],
)
def test_other_values_become_8_bits(kind, scale, value_range):
    given = values(5)
    stored = (given * np.float64(scale)).astype(kind)
    assert np.array_equal(np.asarray(open_bands(array(stored), Path("a.npy"), 5, value_range)), given)
    if kind == np.uint16:
        assert np.array_equal(np.asarray(open_bands(pages(stored), Path("a.tiff"), 5)), given)


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (array(values(4)), "a.npy", r"uint8 \(9, 12, 4\), but the data set's key channels says 5"),
        (array(values(5)[None]), "a.npy", r"\(1, 9, 12, 5\)"),
        (array(values(5) > 9), "a.npy", "holds bool"),
        (array(values(5, np.int32)), "a.npy", "int32 .*value_range"),
        (array(np.full((9, 12, 5), np.nan)), "a.npy", "no numbers"),
        (array(values(5))[:-9], "a.npy", "cannot be read as an image of 5 channels .*save it as a .npy"),
        (array(np.array([{}])), "a.npy", "cannot be read .*allow_pickle=False"),
        (pages(values(3)), "a.tif", r"\(9, 12, 3\), but"),
        (pages(values(5, np.int32)), "a.tif", "not read as channels"),
        (b"II*\0", "a.tif", "cannot be read"),
    ],
)
def test_what_is_no_such_image_is_refused(content, name, what):
    with pytest.raises(InputError, match=rf"a\.\w+ .*{what}"):
        open_bands(content, Path(name), 5)


def test_the_workflow_sees_what_a_lens_sees(tmp_path, monkeypatch):
    images = [values(5, side=32)[:, :32] for _ in range(4)]
    for number, image in enumerate(images):
        path = tmp_path / "images" / "ab"[number // 2] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, image)
        Image.fromarray(image[..., :3]).save(path.with_suffix(".png"))  # no image of this data set
    made = Made(tmp_path, ImageFolder, tmp_path / "images", channels=5).list(per_class=None, train_per_class=0)
    with made.pixels(Geometry(size=32, resize="squash", crop=1.0, interpolation="bilinear")) as file:
        pixels, classes = file["pixels"][:], file["class_index"][:].tolist()
    assert np.array_equal(pixels, np.stack(images))
    assert classes == [0, 0, 1, 1]
    torch.manual_seed(0)
    model = build("vit_tiny_patch16_224", {**SMALL, "in_chans": 5})
    mean, std = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1]
    inputs = torch.from_numpy((pixels / 255 - mean) / std).permute(0, 3, 1, 2).float()
    require_extracted_as_seen(model, pixels, Normalise(mean, std, torch.device("cpu")), inputs, monkeypatch)


def require_extracted_as_seen(model, pixels, normalise, inputs, monkeypatch):
    loaded = LoadedModel(model, "model", normalise, "float32", torch.device("cpu"))
    monkeypatch.setattr("tiny_transformers.loaded_of", lambda *_: loaded)
    rows = extract_pixels(model, pixels, [0] * len(pixels))
    assert extraction.Extraction.columns(model).keys() == rows.keys()
    assert np.array_equal(rows["output/top5"], Lens(model)(inputs).predictions(5))


def test_grey_models_see_the_grey_that_pillow_makes(monkeypatch):
    torch.manual_seed(0)
    model = build("vit_tiny_patch16_224", {**SMALL, "in_chans": 1})
    facts = describe("vit_tiny_patch16_224", {**SMALL, "in_chans": 1})
    assert (facts["channels"], facts["transform"]["mean"], facts["transform"]["std"]) == (1, [0.5], [0.5])
    pixels = DRAW.integers(0, 256, (2, 32, 32, 3), np.uint8)
    normalise = Normalise([0.5], [0.25], torch.device("cpu"))
    grey = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in pixels])
    np.testing.assert_allclose(normalise(pixels)[:, 0], (grey / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    require_extracted_as_seen(model, pixels, normalise, normalise(pixels), monkeypatch)


@pytest.mark.parametrize(
    ("channels", "dataset", "what"),
    [
        (4, {}, r"models\.m: .*takes images of 4 channels, but those of datasets\.digits have three"),
        (4, {"channels": 5}, r"of 4 channels, but those of datasets\.digits have 5"),
        (3, {"channels": 5}, r"of 3 channels, but those of datasets\.digits have 5"),
        (5, {"channels": 5}, r"models\.m\.transform\.mean has 3 numbers, .*one number per channel"),
        (5, {"channels": 5, "kind": "digits"}, r"datasets\.digits\.channels: kind digits holds pictures"),
        (5, {"channels": 5, "kind": "parquet"}, r"kind parquet holds pictures"),
    ],
)
def test_a_model_and_images_of_other_channels_are_refused(channels, dataset, what, tmp_path, monkeypatch):
    describe_here(monkeypatch)
    config = tiny_config(m={**TINY_MODEL, "options": {**TINY_MODEL["options"], "in_chans": channels}})
    config["datasets"]["digits"] = {"kind": "image_folder", "root": str(tmp_path), **dataset}
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "a.npy", values(5))
    with pytest.raises(InputError, match=what):
        with_architectures(load_config(config))


def test_photos_of_other_channels_are_grey():
    given = values(5)
    assert np.array_equal(as_colours(given[..., :3]), given[..., :3])
    shown = as_colours(given)
    assert shown.shape == (9, 12, 3)
    assert np.array_equal(shown, np.rint(given.mean(-1))[..., None].astype(np.uint8) * np.ones(3, np.uint8))

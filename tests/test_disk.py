"""What `check` says that results take: the columns that jobs declare, of the files that `all` makes."""

import numpy as np
import pytest
from conftest import TINY_MODEL, tiny_config

from classlens.catalog.configs import load_config
from classlens.catalog.wanted import wanted_files
from classlens.check import disk
from classlens.config.architecture import with_architectures
from classlens.extraction.files import layer_columns
from classlens.hdf5 import RowWriter, chunk_rows_of
from classlens.models.build import build
from classlens.passes.attribution import AttributeLogits
from classlens.passes.head_effects import HeadEffects

pytestmark = pytest.mark.usefixtures("described_here")

RNG = np.random.default_rng(0)


def completed(analyses=None, **sections):
    model = {**TINY_MODEL, "analyses": analyses, "random_twin": True}
    return with_architectures(load_config(tiny_config(vit=model) | sections))


MODEL = build("vit_base_patch16_224", {}, device="meta")
COLUMNS = {
    "layers": (layer_columns(197, 1000, {"attn": 768, "mlp": 3072}), 1000),
    "attribution": (AttributeLogits.columns(MODEL), None),
    "heads": (HeadEffects.columns(MODEL), None),
}


@pytest.mark.parametrize("rows", [5, 70, 130])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_file_of_noise_is_as_large_as_said(tmp_path, name, rows):
    columns, below = COLUMNS[name]
    chunk = chunk_rows_of(columns) if name == "layers" else 64
    with RowWriter(tmp_path / "file.h5", rows, columns, chunk_rows=chunk) as writer:
        values = {}
        for key, column in columns.items():
            shape, whole = (rows, *column.shape), np.dtype(column.dtype).kind in "ui"
            drawn = RNG.integers(0, below or 2, shape) if whole else RNG.normal(size=shape)
            values[key] = drawn.astype(column.dtype)
        writer.append(values)
    assert disk._rows(columns, rows, chunk) == pytest.approx((tmp_path / "file.h5").stat().st_size, rel=0.15)


def test_maps_attribution_and_all_else_of_an_image_are_counted():
    """Of ViT-B/16, by hand: bytes of maps (float32, of every block, head and image token) and of attribution."""
    model = {"dataset": "digits", "architecture": "vit_base_patch16_224", "random_twin": False}
    data = {"digits": {"kind": "digits", "per_class": 16}}
    config = with_architectures(load_config({"datasets": data, "models": {"b": model}}))
    sizes, images = disk.file_sizes(config), config.images("digits")
    assert images == 160
    filled = 192  # in chunks of 64 images that are not packed
    for name in ("gradient", "gradient_logit", "legrad", "direct"):
        size = filled * 4 * (12 * 12 * 196 + 196)
        assert sizes[f"results/b/explanation/{name}.h5"] == pytest.approx(size, rel=0.02)
    assert sizes["results/b/attribution/logit.h5"] == pytest.approx(filled * 4 * 12 * 12 * 197, rel=0.02)
    of_token = 3 * (2 + 4 + 5 * 2) + 4 + 2 * 5 * 2
    layer = sizes["results/b/layers/block_11.h5"]
    assert 0.6 * images * 197 * of_token < layer < images * 197 * of_token
    assert sizes["results/b/weights.safetensors"] == 4 * sum(p.numel() for p in MODEL.parameters())


def test_what_all_makes_follows_from_analyses_and_methods():
    few = wanted_files(completed(["identifiability"]))
    kept = {path for path, job in few.items() if job is None or not job[0].temporary}
    assert {path for path in kept if path.startswith("results/vit/")} == {
        *(f"results/vit/layers/block_0{block}.h5" for block in (0, 1)),
        *("results/vit/output.h5", "results/vit/weights.safetensors", "results/vit/measures/identifiability.h5"),
    }
    whole = disk.file_sizes(completed(explanations={"methods": ["gradient", "probe"]}))
    made = {path for path, size in whole.items() if size}
    for path in (
        *("explanation/gradient.h5", "explanation/probe.h5"),
        *("faithfulness/probe_pixels.h5", "faithfulness/gradient.h5"),
        *("attribution/logit.h5", "causes/heads.h5", "causes/tokens.h5", "perturbation/attention_no_cls.h5"),
        *("probes/mlp/block_01.h5", "tuned_lens/block_00.h5", "memories/attn/block_00.h5", "randomisation/gradient.h5"),
    ):
        assert f"results/vit/{path}" in made, path
    assert "results/vit/explanation/legrad.h5" not in made
    assert "results/vit-random/causes/heads.h5" in made
    assert sum("training.h5" in path for path in made) == 1

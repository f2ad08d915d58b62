"""Extraction against the golden numbers, the two identities, and its own promises."""

import csv

import h5py
import numpy as np
import pytest
import torch
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classlens.errors import InputError
from classlens.extraction.extract import Recorder, run_images
from classlens.extraction.gather import gather
from classlens.extraction.heads import Projection
from classlens.extraction.measure import faults, rank_of, strongest_keys, summarise
from classlens.extraction.sites import reading
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.models.weights import fill_from_file

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 7}
BEIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 7}
FAMILIES = {
    "class token": ("vit_tiny_patch16_224", SMALL),
    "average pooling": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "class_token": False}),
    "average pooling with class token": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg"}),
    "average after the norm": (
        "vit_tiny_patch16_224",
        {**SMALL, "global_pool": "avg", "class_token": False, "fc_norm": False},
    ),
    "registers": ("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 3}),
    "LayerScale": ("vit_tiny_patch16_224", {**SMALL, "init_values": 0.1}),
    "res-post-norm": ("vit_base_patch16_rpn_224", {**SMALL, "mlp_ratio": 2.0}),
    "query and key norms": ("vit_tiny_patch16_224", {**SMALL, "qk_norm": True}),
    "norms inside branches": ("vit_tiny_patch16_224", {**SMALL, "scale_attn_norm": True, "scale_mlp_norm": True}),
    "norm before the blocks": ("vit_base_patch16_clip_224", SMALL),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", {**SMALL, "dynamic_img_size": False}),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "relative positions": ("vit_relpos_small_patch16_224", SMALL),
    "relative positions with class token": ("vit_relpos_base_patch16_cls_224", SMALL),
    "BEiT": ("beit_base_patch16_224", BEIT),
    "EVA": ("eva02_tiny_patch14_224", {**SMALL, "img_size": 32}),
}


@pytest.fixture(params=FAMILIES, ids=str)
def model(request):
    architecture, options = FAMILIES[request.param]
    torch.manual_seed(0)
    built = build(architecture, options)
    # Fresh heads and LayerScales can be zero or tiny, which would let wrong code pass.
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.ndim <= 2 and ("head" in name or "gamma" in name):
                parameter.normal_(std=0.5)
    return built


def read_sites(model, images):
    sites = {}
    with torch.inference_mode(), reading(model, lambda b, s, x: sites.update({(b, s): x.clone()}), lambda *_: None):
        output = model(images)
    return sites, output


def random_images(count=2):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_residual_is_the_sum_of_its_branches(model):
    sites, _ = read_sites(model, random_images())
    for block in range(1, len(model.blocks)):
        total = sites[block - 1, "residual"] + sites[block, "attn"] + sites[block, "mlp"]
        torch.testing.assert_close(sites[block, "residual"], total, rtol=1e-5, atol=1e-5)


def test_pooling_the_last_residual_gives_the_output(model):
    sites, output = read_sites(model, random_images())
    last = sites[len(model.blocks) - 1, "residual"]
    with torch.inference_mode():
        projected = Projection(model)(last)
        if getattr(model, "head_dist", None) is not None:
            expected = (projected[:, 0] + projected[:, 1]) / 2
        elif model.global_pool == "token":
            expected = projected[:, 0]
        else:
            # As the model does it: mean of the tokens, then the norm that stands behind the pooling.
            mean = model.norm(last)[:, model.num_prefix_tokens :].mean(1)
            expected = model.head(model.fc_norm(mean))
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def stored_pixels(tmp_path_factory):
    """The golden images as pixel files have them."""
    root = GOLDEN / "imagenet_s" / "ImageNetS919"
    rows = list(csv.DictReader((root / "validation_stim_info.csv").open()))
    pixels = [np.asarray(Image.open(root / "validation" / r["imagenet_id"] / r["img_name"])) for r in rows]
    path = tmp_path_factory.mktemp("pixels") / "evaluation.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.stack(pixels)
        file["class_index"] = np.array([int(row["index"]) for row in rows], np.uint16)
    return path


@pytest.fixture(scope="module")
def golden_recorder():
    built = build("vit_base_patch32_224", {"embed_dim": 48, "depth": 12, "num_heads": 3})
    fill_from_file(built, GOLDEN / "model.safetensors")
    return Recorder(built, Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu")))


def extract(recorder, pixels, shard, *, start=0, stop=30, batch_size=8):
    run_images(recorder, pixels, shard, start=start, stop=stop, batch_size=batch_size)
    return shard


def gathered(shards, folder):
    folder.mkdir()
    layers, output = [folder / f"block_{block:02d}.h5" for block in range(12)], folder / "output.h5"
    gather(shards, layers, output)
    return [*layers, output]


def test_layer_files_follow_the_contract(golden_recorder, stored_pixels, tmp_path):
    shard = extract(golden_recorder, stored_pixels, tmp_path / "0.h5")
    *layers, output = gathered([shard], tmp_path / "files")
    with h5py.File(layers[3]) as file:
        assert file.attrs["block"] == 3
        assert (file["keys/mlp"].dtype, file["keys/mlp"].shape) == (np.uint16, (30, 50, 5))
        assert file["keys/mlp"][:].max() >= 48  # of 192 hidden units, not of 48 channels
        for site in ("residual", "attn", "mlp"):
            assert (file[f"{site}/rank"].dtype, file[f"{site}/rank"].shape) == (np.uint16, (30, 50))
            assert (file[f"{site}/logit"].dtype, file[f"{site}/logit"].shape) == (np.float32, (30, 50))
            assert (file[f"{site}/top5"].dtype, file[f"{site}/top5"].shape) == (np.uint16, (30, 50, 5))
            assert set(file[f"{site}/rank"].attrs) == {"description", "unit"}
    with h5py.File(output) as file:
        assert file["correct"].dtype == np.bool_
        assert file["top5"].shape == (30, 5)


def test_bytes_do_not_depend_on_shards(golden_recorder, stored_pixels, tmp_path):
    # Shards that end within a chunk, and one of a single image.
    bounds = [(0, 30), (0, 7), (7, 8), (8, 30)]
    whole, *parts = [
        extract(golden_recorder, stored_pixels, tmp_path / f"{start}-{stop}.h5", start=start, stop=stop, batch_size=1)
        for start, stop in bounds
    ]
    expected, found = gathered([whole], tmp_path / "whole"), gathered(parts, tmp_path / "parts")
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]
    with h5py.File(whole) as shard, h5py.File(expected[5]) as layer:
        assert np.array_equal(layer["attn/top5"], shard["block_05/attn/top5"])


def test_shards_of_different_models_are_refused(golden_recorder, stored_pixels, tmp_path):
    model = build("vit_base_patch32_224", {"embed_dim": 48, "depth": 12, "num_heads": 3, "num_classes": 1001})
    torch.nn.init.normal_(model.head.weight)
    other = Recorder(model, Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu")))
    shards = [
        extract(recorder, stored_pixels, tmp_path / f"{number}.h5", stop=2)
        for number, recorder in enumerate((golden_recorder, other))
    ]
    with pytest.raises(ValueError, match=r"1\.h5 has other data sets than .*0\.h5"):
        gathered(shards, tmp_path / "files")


def test_memory_running_out_halves_the_batch(golden_recorder, stored_pixels, tmp_path, caplog):
    class Small(Recorder):
        """A device on which no more than three images fit."""

        def __init__(self, other):
            self.__dict__ = other.__dict__

        def __call__(self, pixels, classes):
            if len(classes) > 3:
                raise torch.OutOfMemoryError("simulated")
            return super().__call__(pixels, classes)

    expected = extract(golden_recorder, stored_pixels, tmp_path / "expected.h5", batch_size=2)
    got = extract(Small(golden_recorder), stored_pixels, tmp_path / "small.h5", batch_size=8)
    assert "batches of 2" in caplog.text
    assert got.read_bytes() == expected.read_bytes()


def test_a_class_that_the_model_lacks_is_refused(stored_pixels, tmp_path):
    model = build("vit_base_patch32_224", {"embed_dim": 48, "depth": 1, "num_heads": 3, "num_classes": 100})
    recorder = Recorder(model, Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu")))
    with pytest.raises(InputError, match=r"model only the classes 0\.\.99"):
        extract(recorder, stored_pixels, tmp_path / "0.h5")


@pytest.mark.parametrize(("value", "message"), [(0.0, "all logits"), (float("nan"), "not finite")])
def test_broken_heads_are_an_error(value, message, stored_pixels, tmp_path):
    model = build("vit_base_patch32_224", {"embed_dim": 48, "depth": 1, "num_heads": 3})
    torch.nn.init.constant_(model.head.weight, value)
    torch.nn.init.zeros_(model.head.bias)
    recorder = Recorder(model, Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu")))
    with pytest.raises(InputError, match=f"attn of block 0: .*{message}"):
        extract(recorder, stored_pixels, tmp_path / "0.h5")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.integers(-3, 3), min_size=6, max_size=6),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 5),
)
def test_rank_counts_strictly_larger_logits(rows, correct):
    """Ties do not count; the sort that this replaces would place them arbitrarily."""
    logits = torch.tensor(rows, dtype=torch.float32)
    expected = [sum(other > row[correct] for other in row) for row in rows]
    assert rank_of(logits, logits[:, correct : correct + 1]).tolist() == expected


def test_summary_keeps_the_largest_first():
    logits = torch.tensor([[[0.0, 3.0, 1.0, 2.0, -1.0, 5.0, 4.0]]])
    summary = summarise(logits, torch.tensor([3]))
    assert summary["top5"].tolist() == [[[5, 6, 1, 3, 2]]]
    assert summary["rank"].tolist() == [[3]]
    assert summary["logit"].tolist() == [[2.0]]
    assert strongest_keys(logits)[0, 0, 0] == 5


def test_faults_see_every_kind_of_broken_logit():
    fine = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    for logits, expected in (
        (fine, [False, False]),
        (torch.zeros(1, 2, 2), [False, True]),
        (fine + torch.tensor([0.0, float("-inf")]), [True, False]),
        (fine + torch.tensor([0.0, float("inf")]), [True, False]),
        (fine * float("nan"), [True, False]),
    ):
        assert faults(logits, logits.topk(1, dim=-1).values[..., 0]).tolist() == expected

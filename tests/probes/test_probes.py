"""Linear probes against the golden numbers, and their own promises."""

import h5py
import numpy as np
import pytest
import torch
from conftest import GOLDEN
from refusals import refused
from safetensors.numpy import load_file, save_file
from tiny_transformers import GOLDEN_NETWORK, RUNNING, golden_pixels, loaded_of, transformer

from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.inference.activations import capture_activations
from classlens.measures.linear_probes import linear_probes
from classlens.probes import fit as fit_module
from classlens.probes.features import Features
from classlens.probes.files import write_probe
from classlens.probes.fit import linear_probe
from classlens.probes.importance import probe_explanation
from classlens.probes.plan import bytes_per_token, plan
from classlens.statistics.resampling import Resampling

GOLDEN_PROBES = [("residual", 11), ("attn", 5), ("mlp", 3)]


@pytest.fixture(scope="module")
def images():
    """Pixel files of the golden training and evaluation images."""
    torch.set_num_threads(1)
    return [golden_pixels("test"), golden_pixels()]


def run(images, folder, probes=GOLDEN_PROBES, **changes):
    folder.mkdir(exist_ok=True)
    outputs = [folder / f"{site}_{block:02d}.h5" for site, block in probes]
    settings = {**GOLDEN_NETWORK, **RUNNING, "tokens": None, "penalty": 1.0, "batch_size": 16, "memory_gib": 1.0}
    files = {"weights": GOLDEN / "model.safetensors", "probes": outputs, "probed": probes}
    assert linear_probe(*images, **{**files, **settings, **changes}) == {"device": "cpu"}
    return outputs


@pytest.fixture(scope="module")
def fitted(images, tmp_path_factory):
    return run(images, tmp_path_factory.mktemp("probes"))


def read(path):
    with h5py.File(path) as file:
        return file["accuracy"][:], file["rank"][:]


@pytest.mark.parametrize("index", range(3), ids=[f"{site}_{block:02d}" for site, block in GOLDEN_PROBES])
def test_probes_are_the_golden_ones(fitted, golden, index):
    site, block = GOLDEN_PROBES[index]
    accuracy, rank = read(fitted[index])
    expected = golden[f"probe/{site}_{block:02d}/rank"]
    assert rank.shape == expected.shape == (30, 50)
    assert (rank == expected).mean() >= 0.99
    assert np.abs(accuracy - golden[f"probe/{site}_{block:02d}/accuracy"]).max() <= 1 / 30 + 1e-6


def test_files_follow_the_contract(fitted):
    with h5py.File(fitted[1]) as file:
        assert (file["rank"].dtype, file["accuracy"].shape) == (np.uint16, (50,))
        assert all(set(item.attrs) == {"description", "unit"} for item in file.values())
        facts = {name: file.attrs[name] for name in ("site", "block", "penalty", "training_images", "num_classes")}
    assert facts == {"site": "attn", "block": 5, "penalty": 1.0, "training_images": 60, "num_classes": 1000}


def test_groups_and_batches_do_not_change_results(images, fitted, tmp_path, monkeypatch):
    """Room for some 40 tokens: three probes of 50 tokens take four groups, cut within probes."""
    planned = []
    monkeypatch.setattr(fit_module, "plan", lambda *given: planned.extend(plan(*given)) or planned)
    small = 40 * bytes_per_token(48, 6, 7) / 2**30
    grouped = run(images, tmp_path, batch_size=7, memory_gib=small)
    assert [sum(len(part.tokens) for part in group) for group in planned] == [40, 40, 40, 30]
    for ours, expected in zip(grouped, fitted, strict=True):
        for found, wanted in zip(read(ours), read(expected), strict=True):
            assert (np.abs(found.astype(float) - wanted) > 1e-6).mean() < 0.005


def test_blocks_apart_have_the_bytes_of_blocks_together(images, fitted, tmp_path):
    """As jobs take them: what a pass does after a block, and for whom else, changes nothing."""
    for probe, expected in zip(GOLDEN_PROBES, fitted, strict=True):
        (found,) = run(images, tmp_path, probes=[probe])
        assert found.read_bytes() == expected.read_bytes()


def test_only_the_tokens_that_are_asked_for(images, fitted, tmp_path):
    (path,) = run(images, tmp_path, probes=[("attn", 5)], tokens=[49, 0, 0])
    accuracy, rank = read(path)
    of_all = read(fitted[1])
    assert rank.dtype == np.int32
    assert np.flatnonzero(np.isfinite(accuracy)).tolist() == [0, 49]
    assert (rank[:, 1:49] == -1).all()
    assert (rank[:, [0, 49]] == of_all[1][:, [0, 49]]).mean() > 0.99
    assert np.abs(accuracy[[0, 49]] - of_all[0][[0, 49]]).max() <= 1 / 30 + 1e-6


@pytest.mark.parametrize("name", ["distilled", "relative positions"])
def test_features_are_those_of_the_whole_forward_pass(name):
    """The pass stops after the last block of a group, and the model is whole again afterwards."""
    loaded = loaded_of(transformer(name))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (group,) = plan([("mlp", 0), ("residual", 0)], [0, 2, 5], 1, 6)
    ran, whole = [], {}
    loaded.model.blocks[1].register_forward_pre_hook(lambda *_: ran.append(1))
    found = Features(loaded)(pixels, group)
    assert not ran
    with (
        torch.inference_mode(),
        capture_activations(loaded.model, lambda b, s, x: whole.update({(s, b): x.clone()}), lambda *_: None),
    ):
        loaded.model(loaded.normalise(pixels))
    assert ran
    assert {(part.site, part.block) for part in group} == {("mlp", 0), ("residual", 0)}
    for part, values in zip(group, found, strict=True):
        assert (values.dtype, values.shape) == (torch.float64, (3, 2, 24))
        expected = whole[part.site, part.block][:, [0, 2, 5]].transpose(0, 1).double()
        torch.testing.assert_close(values, expected)


def test_memory_running_out_counts_no_image_twice(images, fitted, tmp_path, monkeypatch, caplog):
    class Small(Features):
        """A device on which no more than five images fit; it notices only after the forward pass."""

        def __call__(self, pixels, parts):
            found = super().__call__(pixels, parts)
            if len(pixels) > 5:
                raise torch.OutOfMemoryError("simulated")
            return found

    monkeypatch.setattr(fit_module, "Features", Small)
    for ours, expected in zip(run(images, tmp_path), fitted, strict=True):
        assert (read(ours)[1] == read(expected)[1]).mean() > 0.995
    assert "batches of 4" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probed": [("keys", 0)]}, "no site 'keys'; take one of residual, attn, mlp"),
        ({"probed": [("attn", 12)]}, "no block 12; the model has the blocks 0 to 11"),
        ({"tokens": [0, 50]}, r"tokens \[0, 50\]; the model has the tokens 0 to 49"),
        ({"tokens": []}, r"tokens \[\]"),
    ],
)
def test_what_is_not_there_is_refused(images, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(images, tmp_path, **changes)


def test_wrong_images_are_refused(images, tmp_path):
    empty, foreign = tmp_path / "empty.h5", tmp_path / "foreign.h5"
    for path, classes in ((empty, []), (foreign, [3, 1000])):
        with h5py.File(path, "w") as file:
            file["pixels"] = np.zeros((len(classes), 224, 224, 3), np.uint8)
            file["class_index"] = np.array(classes, np.uint16)
    refused("no training images; raise .*train_per_class", lambda: run([empty, images[1]], tmp_path))
    refused(r"class 1000 is none of the model's classes 0\.\.999", lambda: run([images[0], foreign], tmp_path))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.inf, "attn of block 5: features are not finite; check the weights"),
        (1e13, r"attn of block 5: features are too large for the penalty 1\.0"),
    ],
)
def test_broken_weights_are_refused_by_site(tmp_path, images, factor, message):
    tensors = load_file(GOLDEN / "model.safetensors")
    tensors["blocks.5.attn.proj.weight"] *= np.float32(factor)
    save_file(tensors, tmp_path / "weights.safetensors")
    # Fewer images than features, so that the penalty is needed.
    with h5py.File(images[0]) as file, h5py.File(tmp_path / "few.h5", "w") as few:
        few["pixels"], few["class_index"] = file["pixels"][::6], file["class_index"][::6]
    splits = [tmp_path / "few.h5", images[1]]
    with pytest.raises(InputError, match=message):
        run(splits, tmp_path, probes=[("attn", 5)], weights=tmp_path / "weights.safetensors")


def test_features_of_evaluation_images_are_checked_too(images, tmp_path, monkeypatch):
    """A rank of 0 comes out where nothing is larger than NaN."""

    class Overflowing(Features):
        def __call__(self, pixels, parts):
            if len(pixels) == 30:  # the evaluation images
                self._model.blocks[0].attn.proj.bias.data.fill_(np.nan)
            return super().__call__(pixels, parts)

    monkeypatch.setattr(fit_module, "Features", Overflowing)
    with pytest.raises(InputError, match="attn of block 5: features are not finite"):
        run(images, tmp_path, probes=[("attn", 5)], batch_size=40)


def test_plans_fill_groups_in_the_order_of_blocks():
    probes = [("mlp", 2), ("attn", 0), ("residual", 2)]
    groups = plan(probes, [0, 4, 7], token_bytes=10, limit=45)
    found = [[(part.site, part.block, part.tokens) for part in group] for group in groups]
    assert found == [
        [("attn", 0, (0, 4, 7)), ("residual", 2, (0,))],
        [("residual", 2, (4, 7)), ("mlp", 2, (0, 4))],
        [("mlp", 2, (7,))],
    ]
    assert plan(probes, [0, 4, 7], token_bytes=10, limit=1000)[0][0].block == 0
    assert len(plan(probes, [0, 4, 7], token_bytes=10, limit=3)) == 9  # one token at a time at least


def facts(**changes):
    layout = {"num_classes": 1000, "num_prefix_tokens": 1, "has_class_token": True}
    return {**layout, "site": "residual", "block": 0, **changes}


def test_importance_is_minus_the_sum_of_ranks(tmp_path):
    random = np.random.default_rng(0)
    ranks = random.integers(0, 1000, (70, 3, 100, 6))  # more than 65,535 in total, which uint16 would wrap
    paths = [tmp_path / f"block_{block:02d}.h5" for block in range(70)]
    for block, path in enumerate(paths):
        write_probe(path, ranks[block].reshape(300, 6), ranks[block].reshape(300, 6) == 0, facts(block=block))
    probe_explanation(paths, tmp_path / "probe.h5")
    with h5py.File(tmp_path / "probe.h5") as file:
        found = file["importance"][:]
        assert (file["importance"].dtype, set(file["importance"].attrs)) == (np.float32, {"description", "unit"})
    assert found.shape == (300, 5)
    assert np.array_equal(found, -ranks.sum(0).reshape(300, 6)[:, 1:])
    assert found.min() < -(2**15)


def test_importance_needs_all_image_tokens(tmp_path):
    rank = np.array([[3, 2, -1]])
    write_probe(tmp_path / "block_00.h5", rank, rank == 0, facts())
    with pytest.raises(InputError, match="probes of all image tokens"):
        probe_explanation([tmp_path / "block_00.h5"], tmp_path / "probe.h5")


def test_accuracy_of_probes_beside_the_projection(tmp_path):
    random = np.random.default_rng(0)
    probe_ranks = random.integers(0, 3, (2, 40, 4))
    layer_ranks = random.integers(0, 3, (2, 40, 4))
    probe_ranks[1][:, [0, 2]] = -1  # in block 1 only the image tokens 1 and 3 have probes
    probes, layers = [], []
    for block in range(2):
        probes.append(tmp_path / f"probe_{block}.h5")
        write_probe(probes[-1], probe_ranks[block], probe_ranks[block] == 0, facts(site="mlp", block=block))
        layers.append(tmp_path / f"layer_{block}.h5")
        with h5py.File(layers[-1], "w") as file:
            file.attrs.update(num_classes=1000, num_prefix_tokens=1, has_class_token=True)
            file["residual/rank"], file["mlp/rank"] = np.full((40, 4), 7), layer_ranks[block]
    linear_probes(probes, layers, str(tmp_path / "t.csv"), resampling=Resampling(199, 0.95, 0))
    table = read_table(str(tmp_path / "t.csv"))
    found = {(row.method, row.block, row.group): row for row in table.itertuples()}
    assert set(found) == {
        (method, *rest) for method in ("probe", "projection") for rest in ((0, "cls"), (0, "image"), (1, "image"))
    }
    for (method, block, group), row in found.items():
        tokens = [0] if group == "cls" else [1, 2, 3] if block == 0 else [1, 3]
        ranks = (probe_ranks if method == "probe" else layer_ranks)[block]
        assert row.accuracy == pytest.approx((ranks[:, tokens] == 0).mean(), abs=1e-5)
        assert (row.site, row.images) == ("mlp", 40)
        assert row.ci_low < row.accuracy < row.ci_high

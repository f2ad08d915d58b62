"""Every kind of data set, a head and a trained model of the user's own, and the tuned lens, end to end."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Workflow, jobs_of
from made_data import write_cifar, write_packed
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from studies import PACKED, write_photos

from classlens import Results
from classlens.check.findings import check
from classlens.models.head import save_head

pytestmark = pytest.mark.workflow


@pytest.fixture
def results(study):
    return Results(study.folder / "results")


def read(study, path, *names):
    """Return data sets of a file of results, all of them where none is named."""
    with h5py.File(study.result(path)) as file:
        return [file[name][:] for name in names or file]


def test_images_and_classes(results):
    assert results.stimuli("photos")["file"].tolist()[:2] == ["cat/0.png", "cat/1.png"]
    assert results.rank("folder").shape == (2, 6, 17)
    assert results.num_classes("folder") == results.num_classes("small") == 3
    assert list(results.class_index("small")) == [0, 0, 1, 1, 2, 2]
    # By masks of a folder.
    assert np.array_equal(results.token_label("folder"), np.tile([1, 1, 0, 0], (6, 4)))


def test_what_needs_masks_is_left_out_without(study):
    assert not study.result("small/token_labels.h5").exists()
    assert not study.result("figures/class_vs_context_small.svg").exists()
    assert study.result("figures/class_vs_context_folder.svg").exists()
    assert set(pd.read_csv(study.result("tables/class_context_change.csv"))["model"]) == {"vit", "folder", *PACKED}
    assert "CIFAR-100 has no masks" in study.run("results/small/token_labels.h5", ok=False)


def test_the_head_is_the_users(study):
    [in_layer] = read(study, "folder/layers/block_01.h5", "residual/top5")
    [in_output] = read(study, "folder/output.h5", "top5")
    assert np.array_equal(in_layer[:, 0, 0], in_output[:, 0])


def test_the_certificate_of_a_model_of_another_library_is_shown(study):
    told = json.loads(study.result("torchvision/certificate.json").read_text())["text"]
    assert re.fullmatch(r"outputs equal torchvision's own( to \de-\d\d)?, 6 of 6 predictions", told)
    assert f"A model of torchvision: {told}." in study.result("lens/torchvision.html").read_text()
    assert f"    {told}\n" in study.classlens("provenance", "results/torchvision/output.h5")


@pytest.mark.parametrize("kind", PACKED[1:])
def test_packed_images_give_the_results_of_folders(study, kind):
    for split in ("evaluation", "training"):
        ours, theirs = (study.result(f"datasets/{one}/squash-16-bilinear/{split}.h5") for one in (kind, PACKED[0]))
        assert ours.read_bytes() == theirs.read_bytes()
    for name in ("token_labels", "output"):
        ours, theirs = (read(study, f"{one}/{name}.h5") for one in (kind, PACKED[0]))
        assert all(map(np.array_equal, ours, theirs))


@pytest.mark.parametrize("kind", PACKED[1:])
def test_jobs_are_by_part_and_raw_files_are_shards(study, kind):
    records = [record for record in study.opened_store().own.records() if record.wildcards.get("dataset") == kind]
    parts = sorted(record.parts["config"]["part"] for record in records if record.job == "pixels_part")
    assert parts == [[0, 3], [0, 4], [4, 8], [8, 9]]
    [listing] = [record for record in records if record.job == "stimuli"]
    assert len(listing.sources["raw"]) == 2 + (kind == "webdataset")
    assert not list(study.result(f"datasets/{kind}").glob("*/parts/*.h5"))  # gone once they are joined
    table = study.result(f"datasets/{kind}/stimuli.csv").read_text().splitlines()
    assert table[1].startswith("evaluation,0,0,cat,cat," if kind == "webdataset" else "evaluation,0,0,0,cat,")


@pytest.mark.release
def test_what_is_renamed_is_listed_anew(study, tmp_path):
    """Names are in none of the raw files."""
    write_packed(tmp_path)
    kinds = {part: {kind: study.config[part][kind] for kind in PACKED} for part in ("datasets", "models")}
    other = Workflow(tmp_path, {**study.config, **kinds, "differences": []})
    tables = [f"results/datasets/{kind}/stimuli.csv" for kind in PACKED]
    other.run(*tables)
    (tmp_path / "image_folder/cat").rename(tmp_path / "image_folder/cow")
    (tmp_path / "webdataset/classes.txt").write_text("cow\ndog\nemu\n")
    (tmp_path / "parquet/0.parquet").rename(tmp_path / "parquet/00.parquet")
    assert other.computes(*tables) == sorted(f"stimuli {kind}" for kind in PACKED)
    for kind, name in zip(PACKED, ("cow/0.png", "cow,cow,000000.tar#cat/0.png", "00.parquet#0"), strict=True):
        assert f",{name}," in other.result(f"datasets/{kind}/stimuli.csv").read_text()


def test_the_config_of_the_page_trains(study):
    model = study.config["models"]["small_vit"]
    history = pd.read_csv(study.result("small_vit/training.csv"))
    assert history["epoch"].tolist() == list(range(1, model["weights"]["train"]["epochs"] + 1))
    assert history["training_loss"].iloc[-1] < history["training_loss"].iloc[0]
    [correct] = read(study, "small_vit/output.h5", "correct")
    assert correct.shape == (6,)
    assert correct.mean() == pytest.approx(history["accuracy"].iloc[-1], abs=1e-6)
    assert history["accuracy"].iloc[-1] == 1


def test_training_leaves_a_series(study, results):
    rows = results.table("series_identifiability")
    assert [set(rows[column]) for column in ("model", "point", "at")] == [{"run@1"}, {0, 1}, {"epoch"}]
    for point in (0, 1):
        own = rows[(rows["point"] == point) & (rows["group"] == "image")].sort_values("block")
        seen = 1 - results.rank(f"run@{point}", block=None)[..., 1:].mean((1, 2)) / 2
        assert own["mean"].tolist() == pytest.approx(seen.tolist(), abs=1e-5)
    assert study.result("run@0/measures/identifiability_rates.csv").exists()
    history = pd.read_csv(study.result("run/training.csv"))
    rates = results.table("series_accuracy").set_index("point")["accuracy"]
    assert rates[1] == pytest.approx(history["accuracy"].iloc[-1], abs=1e-6)
    assert len(results.table("series_heads")) == 2 * 2 * 2
    changed = results.table("difference_run@0_run@1").set_index("quantity")["difference"]
    assert changed["accuracy"] == pytest.approx(rates[1] - rates[0], abs=1e-5)
    assert {*changed.index} == {"accuracy", "identifiability", "logit", "direct", "effect"}
    for name in ("series_identifiability", "series_heads", "difference_run@0_run@1"):
        assert results.figure(name, "png").stat().st_size > 10_000
    points = '"points": [{"model": "run@0", "number": 0}, {"model": "run@1", "number": 1}]'
    assert points in study.result("lens/run@0.html").read_text()


def test_shortcuts_are_looked_for(study, results):
    with_patch = results.stimuli("patched")["file"].str.endswith("+patch").to_numpy()
    carried = pd.read_csv(study.result("datasets/patched/groups.csv"))["patch"]
    assert carried.tolist() == np.where(with_patch, "with", "without").tolist()
    accuracy = results.table("group_accuracy").set_index("what")
    assert len(accuracy.loc["group"]) == 20
    assert accuracy.loc["group", "images"].sum() == 440
    [right] = read(study, "shortcut/output.h5", "correct")
    assert accuracy.loc["all", "accuracy"] == pytest.approx(right.mean(), abs=1e-5)
    assert results.table("shortcut_heads_shortcut")["of"].value_counts().to_dict() == {"model": 4, "twin": 4}
    repair = pd.read_csv(study.result("tables/repair_shortcut.csv"))
    assert list(repair["who"]) == ["model", "repaired", *["random"] * 5] * 2
    own, repaired = (study.result(f"{name}.safetensors") for name in ("shortcut/weights", "shortcut/repaired"))
    is_found = repair.loc[repair["who"] == "repaired", "found"].all()
    before, after = load_file(own), load_file(repaired)
    assert all(np.array_equal(before[name], after[name]) for name in before) == (not is_found)
    assert study.result("shortcut-repaired/weights.safetensors").read_bytes() == repaired.read_bytes()
    assert '"model": "shortcut-repaired"' in study.result("lens/shortcut.html").read_text()
    for name in ("group_accuracy", "shortcut_heads_shortcut", "repair_shortcut"):
        assert results.figure(name, "png").stat().st_size > 10_000
    assert not study.result("tables/repair_vit.csv").exists()


def test_nothing_is_looked_over_while_a_job_runs_for_which_others_wait(study):
    """A job starts when another one has ended."""
    printed = (study.folder / "printed.txt").read_text()
    assert 0 < printed.count("Ready jobs: ") <= 1 + printed.count("Finished jobid: ")


def test_the_tuned_lens_of_models_that_read_cls_and_that_average(study, results):
    for model in ("vit", "vit-random", "gap"):
        assert results.tuned_lens(model, "weight").shape == (2, 16, 16)
        assert results.tuned_lens(model, "kl").shape == results.rank(model).shape
        assert (results.tuned_lens(model, "rank", -1) == results.rank(model, block=-1)).all()
    table = results.table("tuned_lens")
    assert list(dict.fromkeys(table["model"])) == ["vit", "vit-random", "gap"]
    assert set(table[table["model"] == "gap"]["group"]) == {"image"}
    assert results.figure("tuned_lens", "png").stat().st_size > 10_000
    for model in ("vit", "gap"):
        assert '"tuned_rank"' in study.result(f"lens/{model}.html").read_text()


@pytest.mark.release
def test_without_training_images_the_tuned_lens_is_left_out_by_name(study, tmp_path):
    config = {**deepcopy(study.config), "datasets": {"digits": {"kind": "digits", "per_class": 2}}, "differences": []}
    config["models"] = {"vit": config["models"]["vit"] | {"analyses": ["identifiability", "tuned_lens"]}}
    config["datasets"]["digits"]["train_per_class"] = 0
    other = Workflow(tmp_path / "work", config)
    printed = other.run("--dry-run", "all")
    assert "identifiability_evolution_figure" in printed
    assert "models.vit: tuned_lens left out: it needs training images of vit" in printed
    assert "fit_tuned_lens" not in printed
    said = other.run("results/vit/tuned_lens/block_00.h5", ok=False)
    assert "fit_tuned_lens needs training images of vit" in said
    assert "train_per_class is 0: raise it" in said


def test_what_changes_in_a_shard_is_seen_and_named(study):
    """Without a change of its size or time."""
    shard = study.folder / "webdataset/000000.tar"
    stat, content = shard.stat(), shard.read_bytes()
    start = content.index(b"\x89PNG")
    shard.write_bytes(content[:start] + b"\x00" * 60 + content[start + 60 :])
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        study.run("results/webdataset/output.h5", ok=False)
    finally:
        shard.write_bytes(content)
    logs = "".join(path.read_text() for path in study.folder.glob("logs/pixels/webdataset/**/*.log"))
    assert "webdataset/000000.tar: cat/0.png cannot be read as an image" in logs
    study.run("all")


@pytest.mark.release
def test_an_edit_of_a_recipe_fits_again_and_nothing_else(study):
    """After the run above that failed; also of what was there before, nothing is computed twice."""
    study.config["tuned_lens"]["penalty"] = 0.5
    assert jobs_of(study.computes()) == {
        "fit_tuned_lens", "look_through_tuned_lens", "gather_tuned_lens",
        "tuned_lens", "comparison_table", "tuned_lens_figure", "lens_page",
    }  # fmt: skip
    del study.config["tuned_lens"]["penalty"]
    assert study.computes() == []


def test_check_says_what_a_run_would_use(study):
    printed = study.python("-m", "classlens", "check", "config.yaml")
    assert "datasets.photos: 6 evaluation and 3 training images of 3 classes (cat, dog, emu)" in printed
    for begin in ("extracting", "disk: about", "jobs: 0 to start"):
        assert re.search(rf"^ *{begin}", printed, re.MULTILINE), printed


def test_check_tells_all_faults_at_once(study, tmp_path, monkeypatch):
    config = deepcopy(study.config)
    config["datasets"] = {name: config["datasets"][name] for name in ("photos", "cifar")}
    config["models"] = {name: config["models"][name] for name in ("folder", "small")}
    config["differences"] = []
    Workflow(tmp_path, config).command()
    write_photos(tmp_path)
    write_cifar(tmp_path / "cifar")
    (tmp_path / "photos/cat/0.png").write_bytes(b"nothing")
    Image.new("L", (7, 7)).save(tmp_path / "photo_masks/dog/1.png")
    save_head(tmp_path / "head.npz", np.ones((2, 16)))
    save_file({"norm.weight": torch.ones(16)}, tmp_path / "trunk.safetensors")
    monkeypatch.chdir(tmp_path)
    told = "\n".join(check("config.yaml").problems)
    for fault in (
        "cat/0.png cannot be read as an image",
        "the mask of dog/1.png has 7 x 7 pixels, the image 48 x 40",
        "models.folder: class 2 is none of the model's classes 0..1",
        "trunk.safetensors does not fit the model",
    ):
        assert fault in told
    assert check("config.yaml", quick=True).problems
    assert check("nothing.yaml").problems
    save_head(tmp_path / "head.npz", np.ones((3, 8)))
    printed = Workflow(tmp_path, config).run("--dry-run", ok=False)
    assert "models.folder.head: head.npz has the weight (3, 8), but a head of the model reads 16" in printed

"""Packed data sets through the workflow: results of the same images in folders, jobs by part, shards as raw files."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from conftest import TINY_MODEL, Workflow
from made_data import write_packed

pytestmark = pytest.mark.workflow

KINDS = ("image_folder", "webdataset", "parquet")


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    write_packed(folder)
    common = {"per_class": 3, "train_per_class": 1, "images_per_job": 4}
    config = {
        "datasets": {
            kind: {"kind": kind, "root": kind, **common, **({"masks": "masks"} if kind == "image_folder" else {})}
            for kind in KINDS
        },
        "models": {kind: {**TINY_MODEL, "dataset": kind} for kind in KINDS},
    }
    workflow = Workflow(folder, config)
    workflow.run(*targets())
    return workflow


def targets():
    names = [f"results/{kind}/{name}.h5" for kind in KINDS for name in ("output", "token_labels")]
    return [*names, *(f"results/datasets/{kind}/squash-16-bilinear/training.h5" for kind in KINDS)]


def pixels(workflow, kind, split):
    return workflow.result(f"datasets/{kind}/squash-16-bilinear/{split}.h5").read_bytes()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_results_are_those_of_folders(workflow, kind):
    for split in ("evaluation", "training"):
        assert pixels(workflow, kind, split) == pixels(workflow, "image_folder", split)
    for name in ("token_labels", "output"):
        with (
            h5py.File(workflow.result(f"{kind}/{name}.h5")) as ours,
            h5py.File(workflow.result(f"image_folder/{name}.h5")) as theirs,
        ):
            assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_jobs_are_by_part_and_raw_files_are_shards(workflow, kind):
    records = [record for record in workflow.opened_store().own.records() if record.wildcards.get("dataset") == kind]
    parts = sorted(record.parts["config"]["part"] for record in records if record.job == "pixels_part")
    assert parts == [[0, 3], [0, 4], [4, 8], [8, 9]]
    [listing] = [record for record in records if record.job == "stimuli"]
    assert len(listing.sources["raw"]) == 2 + (kind == "webdataset")
    assert not list(workflow.result(f"datasets/{kind}").glob("*/parts/*.h5"))  # gone once they are joined
    table = workflow.result(f"datasets/{kind}/stimuli.csv").read_text().splitlines()
    assert table[1].startswith("evaluation,0,0,cat,cat," if kind == "webdataset" else "evaluation,0,0,0,cat,")


def test_nothing_is_done_twice(workflow):
    assert workflow.computes(*targets()) == []


def test_what_is_renamed_is_listed_anew(workflow, tmp_path):
    """Names are in none of the raw files."""
    write_packed(tmp_path)
    other = Workflow(tmp_path, workflow.config)
    tables = [f"results/datasets/{kind}/stimuli.csv" for kind in KINDS]
    other.run(*tables)
    (tmp_path / "image_folder/cat").rename(tmp_path / "image_folder/cow")
    (tmp_path / "webdataset/classes.txt").write_text("cow\ndog\nemu\n")
    (tmp_path / "parquet/0.parquet").rename(tmp_path / "parquet/00.parquet")
    assert other.computes(*tables) == sorted(f"stimuli {kind}" for kind in KINDS)
    for kind, name in zip(KINDS, ("cow/0.png", "cow,cow,000000.tar#cat/0.png", "00.parquet#0"), strict=True):
        assert f",{name}," in other.result(f"datasets/{kind}/stimuli.csv").read_text()


def test_what_changes_in_a_shard_is_seen_and_named(workflow, tmp_path):
    """Last, because it changes a shard, without a change of its size or time."""
    shard = workflow.folder / "webdataset/000000.tar"
    stat, content = shard.stat(), shard.read_bytes()
    start = content.index(b"\x89PNG")
    shard.write_bytes(content[:start] + b"\x00" * 60 + content[start + 60 :])
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    workflow.run("results/webdataset/output.h5", ok=False)
    logs = "".join(path.read_text() for path in workflow.folder.glob("logs/pixels/webdataset/**/*.log"))
    assert "webdataset/000000.tar: cat/0.png cannot be read as an image" in logs
    shard.write_bytes(content)
    assert workflow.computes("results/webdataset/output.h5") == []

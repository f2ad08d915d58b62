"""A store of the layout before this one, whose users all wrote to the same folders, is read as one more folder."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.cli import layout_before
from classlens.store import gc
from classlens.store.explain import explain, provenance_lines
from classlens.store.job import run_job
from classlens.store.key import code_key
from classlens.store.store import Store
from classlens.store.verify import changed_results, verify_workdir


@pytest.fixture
def before(project, store):
    """A result in a store of the layout before; the list of results that lies there."""
    run_job(job_of(project), compute, store)
    placed = store.placed()
    lines = [{"working": str(Path.cwd())}, *({"path": path, **vars(one)} for path, one in placed.all().items())]
    for kind in ("actions", "blobs"):
        (store.own.path / kind).rename(store.root / kind)
    shutil.rmtree(store.own.path)
    placed.file.unlink()
    file = store.root / "roots" / f"{placed.id}.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_hits_explain_and_provenance(project, before, store, tmp_path):
    (tmp_path / "link").symlink_to(store.root)
    store = Store(tmp_path / "link")
    assert [folder.is_own for folder, _ in store.records()] == [False]
    key = replace(code_key(job_of(project).functions, project), config={"times": 2})
    verdict = explain("results/out.txt", store, lambda *_: key)
    assert (verdict.state, verdict.record.job) == ("fresh", "double")
    assert provenance_lines("results/out.txt", store)[0].startswith("results/out.txt  by double, ")
    assert changed_results(store) == []
    [blob] = (store.root / "blobs").glob("*/*")
    assert not run_job(job_of(project, result="results/again.txt"), refuse, store)
    assert set(store.placed().all()) == {"results/out.txt", "results/again.txt"}
    assert not Path("results/again.txt").samefile(blob)  # others may write to it
    assert blob.stat().st_nlink == 2  # with results/out.txt
    gc.collect(store, older_than=0)
    assert blob.exists()
    assert verify_workdir(store) == []


def test_a_list_that_others_could_write_is_not_read(project, before, store):
    before.chmod(0o666)
    assert store.placed().all() == {}
    before.chmod(0o644)
    assert set(store.placed().all()) == {"results/out.txt"}
    if os.getuid() == 0:
        os.chown(before, 12345, -1)
        assert store.placed().all() == {}


def test_it_is_moved_as_collection_says_and_what_is_shown_stays(project, before, store):
    """The working directory of a result need not have run since."""
    key = next(iter(store.placed().all().values())).key
    store = Store(store.root)
    assert store.has_layout_before
    subprocess.run(layout_before(store).partition(" by: ")[2], shell=True, check=True)
    store = Store(store.root)
    assert not store.has_layout_before
    for path in store.own.path.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store) == gc.Collected(0, 0, 0)
    [record] = store.own.records()
    assert record.key == key
    assert not run_job(job_of(project), refuse, store)
    assert Path("results/out.txt").samefile(store.own.blob(record.outputs[0].digest))
    Path("results/out.txt").unlink()
    for path in store.own.path.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store) == gc.Collected(1, 1, 4)

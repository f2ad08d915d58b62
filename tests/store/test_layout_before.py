"""A store of the layout before this one, whose users all wrote to the same folders, is read as one more folder."""

import hashlib
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
from classlens.store.placed import Placed
from classlens.store.store import Store
from classlens.store.workdir import changed_results, verify_workdir


@pytest.fixture
def before(project, store):
    """A store with a result of the layout before; a list of results that lies in it."""
    run_job(job_of(project), compute, store)
    placed = store.placed().all()
    for kind in ("actions", "blobs"):
        (store.own.path / kind).rename(store.root / kind)
    shutil.rmtree(store.own.path)
    store.placed().file.unlink()
    file = store.root / "roots" / f"{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:32]}.jsonl"
    file.parent.mkdir()
    lines = [{"working": str(Path.cwd())}, *({"path": path, **vars(one)} for path, one in placed.items())]
    file.write_text("".join(json.dumps(line) + "\\n" for line in lines).replace("\\n", "\n"))
    return file


def test_hits_explain_and_provenance(project, before, store, tmp_path):
    store = Store(store.root)
    assert [folder.is_own for folder, _ in store.records()] == [False]
    key = replace(code_key(job_of(project).functions, project), config={"times": 2})
    verdict = explain("results/out.txt", store, Path.cwd(), lambda *_: key)
    assert (verdict.job, verdict.record.parts["config"]) == ("double", {"times": 2})
    assert provenance_lines("results/out.txt", store, Path.cwd())[0].startswith("results/out.txt  by double, ")
    assert changed_results(store.root, Path.cwd()) == []
    [blob] = (store.root / "blobs").glob("*/*")
    assert not run_job(job_of(project, result="results/again.txt"), refuse, store)
    assert set(store.placed().all()) == {"results/out.txt", "results/again.txt"}
    assert not Path("results/again.txt").samefile(blob)  # others may write to it
    assert blob.stat().st_nlink == 2  # with results/out.txt
    gc.collect(store, older_than=0)
    assert blob.exists()
    assert verify_workdir(store.root, Path.cwd()) == []


def test_a_list_that_others_could_write_is_not_read(project, before, store):
    before.chmod(0o666)
    assert Store(store.root).placed().all() == {}
    before.chmod(0o644)
    assert set(Store(store.root).placed().all()) == {"results/out.txt"}
    if os.getuid() == 0:
        os.chown(before, 12345, -1)
        assert Store(store.root).placed().all() == {}


def test_it_is_moved_as_collection_says(project, before, store):
    key = next(iter(store.placed().all().values())).key
    store = Store(store.root)
    assert store.has_layout_before
    assert not run_job(job_of(project), refuse, store)  # there is a folder of one's own already
    said = layout_before(store)
    subprocess.run(said.partition(" by: ")[2], shell=True, check=True)
    store = Store(store.root)
    assert sorted(os.listdir(store.root)) == [store.own.path.name]
    for path in store.root.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store, dry_run=True) == gc.Collected(0, 0, 0)
    assert not store.has_layout_before
    [record] = store.own.records()
    assert record.key == key
    assert not run_job(job_of(project), refuse, store)
    assert store.placed().all()["results/out.txt"] == Placed(key, record.outputs[0].digest)
    assert Path("results/out.txt").samefile(store.own.blob(record.outputs[0].digest))


def test_what_a_moved_list_shows_is_not_collected(project, before, store, monkeypatch):
    """Its working directory may not have run since, and its files may be copies."""
    Path("results/out.txt").unlink()
    Path("results/out.txt").write_text("abab")
    subprocess.run(layout_before(store).partition(" by: ")[2], shell=True, check=True)
    store = Store(store.root)
    for path in store.root.rglob("*"):
        os.utime(path, (1, 1))
    assert set(store.placed().all()) == {"results/out.txt"}
    assert gc.collect(store) == gc.Collected(0, 0, 0)
    Path("results/out.txt").unlink()
    assert gc.collect(store) == gc.Collected(1, 1, 4)


def test_a_store_that_a_link_leads_to(project, before, store, tmp_path):
    (tmp_path / "link").symlink_to(store.root)
    assert not run_job(job_of(project), refuse, Store(tmp_path / "link"))

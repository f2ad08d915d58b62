"""Records that are damaged or absurd, and blobs that change between a look and its use."""

import errno
import json
import math
import os
import re
import stat
import time
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.errors import InputError
from classlens.store import folder, gc
from classlens.store.explain import explain, provenance_lines
from classlens.store.job import run_job
from classlens.store.key import code_key
from classlens.store.store import Store
from classlens.store.verify import verify_blobs, verify_workdir
from classlens.store.workdir import WORK

LARGE = 10**400
MADE = {"started": "2026-01-01", "host": "h", "user": "u", "commit": None, "seconds": 1.0}


@pytest.fixture
def record(project, store):
    """The path of the one record in a store."""
    run_job(job_of(project), compute, store)
    [path] = store.own.files("actions")
    return path


def look_everywhere(store):
    verify_blobs(store)
    gc.collect(store)
    gc.collect(store, larger_than=0, dry_run=True)
    verify_workdir(store)
    return list(gc.sizes_and_ages(store.records()))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "1" * 64},
        {"job": None},
        {"wildcards": {"a": 3}},
        {"sources": {"source": [["../x"]]}},
        {"sources": {}},
        {"outputs": 3},
        *({"outputs": [{"name": "result", "size": 4, "digest": digest}]} for digest in ("../x", "A" * 64, 7)),
        *({"outputs": [{"name": "result", "size": size, "digest": "1" * 64}]} for size in (LARGE, -1, "4")),
        {"parts": {"inputs": {"source": ["../x"]}}},
        *({"provenance": MADE | {"seconds": seconds}} for seconds in (-LARGE, math.nan, "long")),
        *({"provenance": MADE | {"started": started}} for started in ("0001-01-01", "yesterday", 5)),
        {"provenance": MADE | {"host": None}},
        {"provenance": MADE | {"commit": 5}},
        {"provenance": MADE | {"accepted": 3}},
        {"provenance": MADE | {"accepted": [MADE | {"from": "x", "to": "y"}]}},
        *({"parts": {name: None}} for name in ("libraries", "modules", "code", "outputs", "functions")),
    ],
)
def test_a_damaged_record_is_named_and_made_anew(project, store, record, changes, caplog):
    said = json.loads(record.read_text())
    changes = {"parts": said["parts"] | changes["parts"]} if "parts" in changes else changes
    record.write_text(json.dumps(said | changes))
    assert store.find(record.stem) is None
    assert f"record {record} is damaged" in caplog.text
    assert look_everywhere(store) == []
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)


def test_a_record_that_is_nested_or_long_beyond_measure(project, store, record):
    record.write_text("[" * 100_000)
    assert look_everywhere(store) == []
    os.truncate(record, folder.MOST_BYTES + 1)  # of zeros that take no room on the disk
    began = time.monotonic()
    assert look_everywhere(store) == []
    assert time.monotonic() - began < 5
    assert run_job(job_of(project), compute, store)


def test_a_record_that_was_made_from_itself(project, store, record):
    said = json.loads(record.read_text())
    said["sources"] = {"source": ["results/out.txt"]}
    record.write_text(json.dumps(said))
    key_now = code_key(job_of(project).functions, project)
    with pytest.raises(InputError, match=f"the record {record.stem} says that results/out.txt was made from itself"):
        explain("results/out.txt", store, lambda job, wildcards: key_now)
    assert len(provenance_lines("results/out.txt", store)) == 3


def test_jobs_compute_where_nobody_else_can_write(project, store):
    seen = []

    def look(inputs, outputs, config, local):
        place = Path(outputs["result"]).parent
        seen.append(place.is_relative_to(WORK.absolute()) and stat.S_IMODE(place.parent.stat().st_mode) == 0o700)
        return compute(inputs, outputs, config, local)

    run_job(job_of(project), look, store)
    assert seen == [True]


@pytest.mark.parametrize("make", ["link", "pipe", "folder", "content", "another"])
def test_a_blob_that_is_replaced_after_the_look_at_it(project, store, record, make, monkeypatch, tmp_path):
    def replaced(store, digest):
        blob.unlink()
        {
            "link": lambda: blob.symlink_to(other),
            "pipe": lambda: os.mkfifo(blob),
            "folder": blob.mkdir,
            "content": lambda: blob.write_text("evil"),
            "another": lambda: os.link(other, blob),
        }[make]()
        return True

    found, [blob] = store.find(record.stem), list(store.own.files("blobs"))
    run_job(job_of(project, times=3), compute, store)
    [other] = set(store.own.files("blobs")) - {blob}
    Path("results/out.txt").unlink()
    with monkeypatch.context() as late:
        late.setattr(Store, "_is_sound", replaced)
        assert not store.restore(found, {"result": Path("results/out.txt")})
        assert not os.path.lexists("results/out.txt")
    if make == "folder":
        with pytest.raises(InputError, match=rf"{re.escape(str(blob))}: is a directory; .*: remove it"):
            run_job(job_of(project), compute, store)
        blob.rmdir()
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"
    assert blob.is_file()
    assert not blob.is_symlink()


@pytest.mark.parametrize("place", ["actions", "blobs", "locks"])
def test_a_file_in_the_place_of_a_folder(project, store, place):
    store.own.path.mkdir(parents=True)
    (store.own.path / place).touch()
    with pytest.raises(InputError, match=rf"u\d+/{place}.* a store has no such thing there: remove it"):
        run_job(job_of(project), compute, store)


def test_a_store_on_another_file_system(project, store, monkeypatch):
    """A result is copied there under another name, and is in its place all at once."""
    rename = os.rename

    def between_file_systems(source, target):
        if "blobs" in str(target) and "blobs" not in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(folder.os, "rename", between_file_systems)
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)
    [blob] = store.own.files("blobs")
    assert blob.read_text() == "abab"
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert list(WORK.iterdir()) == []


def test_two_collections_at_once(project, store, record, monkeypatch):
    """What the other one took meanwhile is no error."""
    blobs = list(store.own.files("blobs"))
    Path("results/out.txt").unlink()

    def taken_by_another(self, kind):
        if kind == "blobs":
            for blob in blobs:
                blob.unlink(missing_ok=True)
        return iter(blobs if kind == "blobs" else ())

    with monkeypatch.context() as patch:
        patch.setattr(folder.Folder, "files", taken_by_another)
        assert verify_blobs(store) == []
        assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)
        # One more moment later.
        patch.setattr(gc, "_is_old", lambda file: True)
        assert gc.collect(store, older_than=0) == gc.Collected(0, 1, 0)
    assert run_job(job_of(project), compute, store)


def test_results_whose_list_was_deleted_are_not_collected(project, store):
    """Their links tell what they show."""
    run_job(job_of(project), compute, store)
    store.placed().file.unlink()
    for path in store.root.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store) == gc.Collected(0, 0, 0)

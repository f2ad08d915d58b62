"""Damage: records, blobs and results that are not what they were, and what sizes and times do not tell."""

import json
import math
import os
import re
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import compute, fail, job_of, refuse

from classlens.digest import digest_bytes, digest_file
from classlens.errors import InputError
from classlens.store import folder, gc
from classlens.store.explain import explain, provenance_lines
from classlens.store.job import run_job
from classlens.store.key import code_key
from classlens.store.memory import FileMemory
from classlens.store.store import Store
from classlens.store.verify import verify_blobs, verify_results, verify_workdir
from classlens.store.workdir import WORK

OUT = Path("results/out.txt")
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
        explain("results/out.txt", store, lambda record: key_now)
    assert len(provenance_lines("results/out.txt", store)) == 3


def test_jobs_compute_where_nobody_else_can_write(project, store):
    seen = []

    def look(inputs, outputs, config, local):
        place = Path(outputs["result"]).parent
        seen.append(place.is_relative_to(WORK.absolute()) and stat.S_IMODE(place.parent.stat().st_mode) == 0o700)
        return compute(inputs, outputs, config, local)

    run_job(job_of(project), look, store)
    assert seen == [True]


@pytest.mark.parametrize("make", ["nothing", "link", "pipe", "folder", "content", "another"])
def test_a_blob_that_is_replaced_after_the_look_at_it(project, store, record, make, monkeypatch, tmp_path):
    def replaced(store, digest):
        blob.unlink()
        makes[make]()
        return True

    makes = {
        "nothing": lambda: None,
        "link": lambda: blob.symlink_to(other),
        "pipe": lambda: os.mkfifo(blob),
        "folder": lambda: blob.mkdir(),
        "content": lambda: blob.write_text("evil"),
        "another": lambda: os.link(other, blob),
    }

    found, [blob] = store.find(record.stem), list(store.own.files("blobs"))
    run_job(job_of(project, times=3), compute, store)
    [other] = set(store.own.files("blobs")) - {blob}
    OUT.unlink()
    with monkeypatch.context() as late:
        late.setattr(Store, "_is_sound", replaced)
        assert not store.restore(found, {"result": OUT})
        assert not os.path.lexists(OUT)
    if make == "folder":
        with pytest.raises(InputError, match=rf"{re.escape(str(blob))}: is a directory; .*: remove it"):
            run_job(job_of(project), compute, store)
        blob.rmdir()
    assert run_job(job_of(project), compute, store)
    assert OUT.read_text() == "abab"
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
    monkeypatch.setattr(folder.os, "rename", fail)
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)
    [blob] = store.own.files("blobs")
    assert blob.read_text() == "abab"
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert list(WORK.iterdir()) == []


def test_two_collections_at_once(project, store, record, monkeypatch):
    """What the other one took meanwhile is no error."""
    [blob] = store.own.files("blobs")
    OUT.unlink()
    blob.unlink()
    monkeypatch.setattr(folder.Folder, "files", lambda self, kind: iter([blob] if kind == "blobs" else []))
    assert verify_blobs(store) == []
    assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)
    monkeypatch.setattr(gc, "_is_old", lambda file: True)  # one more moment later
    assert gc.collect(store, older_than=0) == gc.Collected(0, 1, 0)


def rot(path, content="rot!"):
    """Change a file's content as a failing disk does: size and modification time stay."""
    before = path.stat()
    path.chmod(0o644)
    path.write_text(content)
    assert path.stat().st_size == before.st_size
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def verified(store):
    damaged = verify_blobs(store)
    return damaged, verify_results(store)


def test_results_that_show_a_bad_blob_are_made_anew(project, store, tmp_path, monkeypatch):
    here, there = Path.cwd(), tmp_path / "there"
    (there / "results").mkdir(parents=True)
    Path("results").mkdir()
    run_job(job_of(project), compute, store)
    shutil.copy("source.txt", there)
    monkeypatch.chdir(there)
    run_job(job_of(project), refuse, store)
    run_job(job_of(project, source="results/out.txt", result="results/next.txt"), compute, store)
    monkeypatch.chdir(here)
    [blob] = (store.own.path / "blobs").glob(f"*/{digest_bytes(b'abab')}")
    rot(blob)
    assert verified(store) == ([blob], {str(OUT): f"{OUT}.changed"})
    assert verify_workdir(Store(store.root)) == []
    monkeypatch.chdir(there)
    assert verify_workdir(Store(store.root)) == [str(OUT)]  # which the next run there finds
    assert not Path("results/next.txt").exists()  # or a scheduler would find the work complete
    for working in (here, there):
        monkeypatch.chdir(working)
        assert Path("results/out.txt.changed").read_text() == "rot!"
        run_job(job_of(project), compute, store)
        assert OUT.read_text() == "abab"
    assert verified(store) == ([], {})


def test_a_copy_that_went_bad_comes_back_and_the_whole_copy_of_a_bad_blob_stays(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.store.os.link", fail)
    run_job(job_of(project), compute, store)
    [blob] = store.own.files("blobs")
    rot(OUT)
    assert verified(store) == ([], {str(OUT): f"{OUT}.changed"})
    assert OUT.read_text() == "abab"
    assert Path(f"{OUT}.changed").read_text() == "rot!"
    rot(blob)
    assert verified(store) == ([blob], {})
    assert OUT.read_text() == "abab"


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("older", [0, 1, 10**12])
@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_a_file_of_equal_size_and_no_newer_time_is_another(tmp_path, older, how, linked):
    memory = FileMemory(tmp_path / "memory.sqlite", digest_file, linked=linked)
    file, new = tmp_path / "file", tmp_path / "new"
    file.write_text("a")
    assert memory.texts([file]) == [digest_bytes(b"a")]
    before = file.stat()
    (file if how == "in place" else new).write_text("b")
    if how == "renamed":
        new.replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns - older))
    assert memory.texts([file]) == [digest_bytes(b"b")]


@pytest.mark.usefixtures("settled")
def test_a_result_edited_with_its_time_set_back_is_noticed(project, store):
    run_job(job_of(project), compute, store)
    rot(OUT)  # and the blob with it
    assert verify_workdir(store) == [str(OUT)]
    assert run_job(job_of(project), compute, store)
    assert OUT.read_text() == "abab"


@pytest.mark.usefixtures("settled")
def test_no_file_is_read_twice(project, store, monkeypatch):
    """Linking, and deleting a result, change the change time of every name of a blob."""
    read, outputs = [], {name: f"results/{name}.txt" for name in "abc"}
    monkeypatch.setattr("classlens.store.store.digest_file", lambda path: read.append(path) or digest_file(path))
    job = replace(job_of(project), outputs=outputs)
    assert run_job(job, lambda _, made, *more: [Path(path).write_text("equal") for path in made.values()] and {}, store)
    assert len({Path(path).stat().st_ino for path in outputs.values()}) == 1
    assert sorted(Path(path).name for path in read) == ["a.txt", "b.txt", "c.txt", "source.txt"]
    read.clear()
    for _ in range(2):
        assert not run_job(job, refuse, store)
        Path(outputs["b"]).unlink()
        assert not run_job(job, refuse, store)
        assert verify_workdir(store) == []
        Path(outputs["a"]).unlink()
        assert verify_workdir(store) == []
        assert not run_job(job, refuse, store)
    assert read == []

"""What others put into a shared store while a run looks at it: absurd records and lists, links that come late, locks.

All decoys lie in the test's own folder.
"""

import errno
import hashlib
import json
import os
import re
import stat
import time
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse
from filelock import FileLock

from classlens.errors import InputError
from classlens.store import gc, inside, roots
from classlens.store.explain import explain, provenance_lines
from classlens.store.job import run_job
from classlens.store.key import code_key
from classlens.store.refusals import explained_refusals
from classlens.store.roots import Root
from classlens.store.store import Store
from classlens.store.workdir import verify_workdir
from classlens.store.workspace import clear_work, this_host, work_folder

KEY = "1" * 64
DEEP = "[" * 100_000
LARGE = 10**400


@pytest.fixture
def letter(tmp_path):
    """A file of the victim, which nobody may change."""
    file = tmp_path / "private" / "letter.txt"
    file.parent.mkdir()
    file.write_text("precious")
    file.chmod(0o600)
    yield file
    assert file.read_text() == "precious"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.fixture
def record(project, store):
    """The path of the one record in a store."""
    run_job(job_of(project), compute, store)
    [path] = (store.root / "actions").glob("*/*.json")
    return path


def look_everywhere(store):
    gc.verify(store)
    gc.collect(store)
    gc.collect(store, larger_than=0, dry_run=True)
    verify_workdir(store.root, Path.cwd())
    return list(gc.sizes_and_ages(store))


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": {"seconds": LARGE}},
        {"provenance": {"seconds": -LARGE}},
        {"provenance": {"started": "0001-01-01"}},
        {"provenance": {"host": None}},
        {"provenance": {"commit": 5}},
        {"provenance": {"accepted": 3}},
        {"provenance": {"accepted": [{"from": "x", "to": "y", "user": "z", "started": "2026-01-01"}]}},
        {"parts": {"libraries": "none"}},
        {"parts": {"modules": None}},
        {"outputs": {"name": []}},
        {"outputs": {"size": LARGE}},
        {"outputs": {"size": -1}},
    ],
)
def test_an_absurd_record_is_made_anew(project, store, record, changes, caplog):
    said = json.loads(record.read_text())
    for part, change in changes.items():
        (said[part][0] if part == "outputs" else said[part]).update(change)
    record.write_text(json.dumps(said))
    assert store.find(record.stem) is None
    assert "is damaged" in caplog.text
    assert look_everywhere(store) == []
    assert run_job(job_of(project), compute, store)


def test_a_record_that_is_nested_or_long_beyond_measure(project, store, record):
    record.write_text(DEEP)
    assert look_everywhere(store) == []
    os.truncate(record, inside.MOST_BYTES + 1)  # of zeros that take no room on the disk
    began = time.monotonic()
    assert look_everywhere(store) == []
    assert time.monotonic() - began < 5
    assert run_job(job_of(project), compute, store)


@pytest.mark.parametrize("working", ["/" + "a" * 300, "/a\0b", "/\ud800", "relative"])
def test_a_list_of_an_absurd_directory(store, record, working):
    name = hashlib.sha256(working.encode(errors="replace")).hexdigest()[:32]
    (store.root / "roots" / f"{name}.jsonl").write_text(json.dumps({"working": working}) + "\n")
    look_everywhere(store)


@pytest.mark.parametrize("first", [DEEP, "x" * 20_000])
def test_a_list_with_an_absurd_first_line(store, record, first, caplog):
    (store.root / "roots" / f"{'0' * 32}.jsonl").write_text(f"{first}\n")
    look_everywhere(store)
    assert "is no list of results" in caplog.text


@pytest.mark.parametrize("path", [f"results/{'a' * 300}", "results/\ud800/x", f"results/{'a/' * 3000}x"])
def test_a_list_with_an_absurd_entry(project, store, record, path):
    file = store.roots()._file
    with file.open("a") as lines:
        lines.write(f"{DEEP}\n" + json.dumps({"path": path, "key": KEY, "digest": KEY}) + "\n")
    look_everywhere(store)
    assert set(store.roots().all()) == {"results/out.txt"}
    assert not run_job(job_of(project), refuse, store)


def test_jobs_compute_where_nobody_else_can_write(project, store):
    seen = []

    def look(inputs, outputs, config, local):
        place = Path(outputs["result"]).parent
        seen.append(place.is_relative_to(work_folder()) and stat.S_IMODE(place.parent.stat().st_mode) == 0o700)
        return compute(inputs, outputs, config, local)

    run_job(job_of(project), look, store)
    assert seen == [True]
    assert not (store.root / "work").exists()


@pytest.mark.parametrize("kind", ["actions", "blobs"])
def test_a_folder_that_becomes_a_link_after_the_look_at_it(project, store, record, letter, kind, monkeypatch):
    """Nothing is removed, renamed or written through it."""
    [path] = (store.root / kind).glob("*/*")
    (letter.parent / path.name).write_text("precious too")
    path.parent.rename(store.root / "away")
    path.parent.symlink_to(letter.parent)
    monkeypatch.setattr(inside, "require_plain_folder", lambda folder: None)
    for act in (
        lambda: inside.remove(store.root, path),
        lambda: inside.rename(store.root, path, "other"),
        lambda: inside.write_text(store.root, path, "an attacker's"),
        lambda: inside.make_folder(store.root, path.parent / "new", 0o2775),
    ):
        with pytest.raises(NotADirectoryError):
            act()
    assert (letter.parent / path.name).read_text() == "precious too"
    (letter.parent / path.name).unlink()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_list_that_is_another_name_of_a_file_is_written_anew(store, record, letter, make):
    file = store.roots()._file
    file.unlink()
    letter.chmod(0o644)
    make(letter, file)
    assert store.roots().all() == {}
    store.roots().add({"results/b": Root(KEY, KEY)})
    assert set(store.roots().all()) == {"results/b"}
    letter.chmod(0o600)


@pytest.mark.parametrize("make", ["link", "pipe", "content", "another of mine"])
def test_a_blob_that_is_replaced_after_the_look_at_it(project, store, record, letter, make, monkeypatch):
    found, [blob] = store.find(record.stem), list(store.files("blobs"))
    run_job(job_of(project, times=3), compute, store)
    [other] = set(store.files("blobs")) - {blob}
    Path("results/out.txt").unlink()
    blob.unlink()
    if make == "link":
        blob.symlink_to(letter)
    elif make == "pipe":
        os.mkfifo(blob)
    elif make == "content":
        blob.write_text("an attacker's")
    else:
        os.link(other, blob)
    with monkeypatch.context() as late:
        late.setattr(Store, "intact", lambda self, digest: True)
        assert not store.restore(found, {"result": Path("results/out.txt")})
        assert not os.path.lexists("results/out.txt")
    run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


def test_a_list_whose_lock_is_held(project, store, record, monkeypatch, caplog):
    """Whoever may read a lock can hold it for ever."""
    monkeypatch.setattr(roots, "LOCK_SECONDS", 0.1)
    with FileLock(f"{store.roots()._file}.lock"):
        assert verify_workdir(store.root, Path.cwd()) == []
        Path("results/out.txt").unlink()
        assert not run_job(job_of(project), refuse, store)
    assert "cannot note what is used" in caplog.text
    assert f"its lock {store.roots()._file}.lock is held by somebody" in caplog.text


@pytest.mark.parametrize("place", ["actions", "blobs"])
def test_a_file_in_the_place_of_a_folder(project, store, place):
    store.root.mkdir()
    (store.root / place).touch()
    with pytest.raises(InputError, match=f"{place} is a link or file; .* replace it by a folder"):
        run_job(job_of(project), compute, store)


def test_a_record_that_was_made_from_itself(project, store, record):
    said = json.loads(record.read_text())
    [digest] = said["parts"]["inputs"]["source"]
    said["sources"] = {"source": ["results/out.txt"]}
    record.write_text(json.dumps(said))
    key_now = code_key(job_of(project).functions, project)
    with pytest.raises(InputError, match=re.escape(f"{record} says that results/out.txt was made from itself; remove")):
        explain("results/out.txt", store, Path.cwd(), lambda job, wildcards: key_now)
    assert len(provenance_lines("results/out.txt", store, Path.cwd())) == 3
    assert digest == said["parts"]["inputs"]["source"][0]


def test_a_store_on_another_file_system(project, store, monkeypatch):
    """A result is copied there under another name, and is in its place all at once."""
    replace = os.replace

    def between_file_systems(source, target, *, src_dir_fd=None, dst_dir_fd=None):
        if src_dir_fd is None and dst_dir_fd is not None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(inside.os, "replace", between_file_systems)
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)
    [blob] = (store.root / "blobs").glob("*/*")
    assert blob.read_text() == "abab"
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert list(work_folder().iterdir()) == []


def test_two_collections_at_once(project, store, record, monkeypatch):
    """What the other one took meanwhile is no error."""
    blobs = list(store.files("blobs"))
    Path("results/out.txt").unlink()

    def taken_by_another(self, kind):
        if kind == "blobs":
            for blob in blobs:
                blob.unlink(missing_ok=True)
        return iter(blobs if kind == "blobs" else ())

    with monkeypatch.context() as patch:
        patch.setattr(Store, "files", taken_by_another)
        assert gc.verify(store) == []
        assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)
        # One more moment later.
        patch.setattr(gc, "_is_old", lambda file: True)
        assert gc.collect(store, older_than=0) == gc.Collected(0, 1, 0)
    assert run_job(job_of(project), compute, store)


def test_a_folder_in_the_place_of_a_list_is_named(project, store, record):
    file = store.roots()._file
    file.unlink()
    file.mkdir()
    Path("results/out.txt").unlink()
    with pytest.raises(InputError, match=rf"{re.escape(str(file))}: is a directory; .*: remove it"):
        run_job(job_of(project), compute, store)


def test_a_lock_is_not_made_through_a_link_that_comes_late(project, store, record, letter, monkeypatch):
    (store.root / "locks").rename(store.root / "away")
    (store.root / "locks").symlink_to(letter.parent)
    monkeypatch.setattr(Store, "make_folder", lambda self, folder: None)
    monkeypatch.setattr(inside, "require_plain_folder", lambda folder: None)
    with pytest.raises(InputError, match="locks: not a directory"), explained_refusals(store.root), store.lock(KEY):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_another_users_blob_that_gets_another_content_and_name(project, store, record, monkeypatch):
    """A name more explains a new change time, but not for a file that its owner may write to."""
    [blob] = store.files("blobs")
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    assert store.intact(blob.name)
    before = blob.stat()
    os.chown(blob, 12345, -1)
    assert store.intact(blob.name)
    blob.chmod(0o644)
    blob.write_text("evil")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.link(blob, blob.with_name("more"))
    Path("results/out.txt").unlink()
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


def test_work_of_another_process_namespace_is_left_alone(project, store):
    """Its process numbers mean nothing here."""
    elsewhere, here = (work_folder() / f"{host}-999999999-x" for host in (f"{this_host()}0", this_host()))
    for folder in (elsewhere, here):
        folder.mkdir(parents=True)
    verify_workdir(store.root, Path.cwd())
    clear_work(Path.cwd())
    assert elsewhere.is_dir()
    assert not here.exists()

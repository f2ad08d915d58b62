"""Locks, and looks beside a run: what they leave alone, and what a run alone may do to results that are there."""

import errno
import multiprocessing
import os
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_bytes, digest_file
from classlens.errors import InputError
from classlens.store import gc, lock, memory, verify, workdir
from classlens.store.job import run_job
from classlens.store.store import Store
from classlens.store.verify import changed_results, set_aside, verify_results, verify_workdir
from classlens.store.workdir import PlacedFiles, free, hold

FORK = multiprocessing.get_context("fork")
OUT = "results/out.txt"


def state(folder):
    """Everything about the files below a folder that a look must leave."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def elsewhere(function, *arguments):
    """Call a function in another process, which holds nothing, and return its value."""
    answers = FORK.SimpleQueue()

    def call():
        workdir._held.clear()
        answers.put(function(*arguments))

    child = FORK.Process(target=call)
    child.start()
    answer = answers.get()
    child.join(20)
    return answer


def edit(path, text):
    Path(path).unlink()
    Path(path).write_text(text)


@pytest.fixture
def made(project, store):
    """A result in the working directory."""
    run_job(job_of(project), compute, store)


@pytest.fixture
def read(monkeypatch):
    """Files that were read in full, which count as settled at once."""
    paths = []
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    monkeypatch.setattr("classlens.store.store.digest_file", lambda path: paths.append(path) or digest_file(path))
    return paths


@pytest.mark.usefixtures("made", "read")
def test_a_look_says_what_was_changed_and_changes_and_notes_nothing(store):
    for change, found in ((os.utime, []), (lambda path: edit(path, "edited"), [OUT])):
        change(OUT)
        before = state("results"), state(store.root)
        assert changed_results(store) == found
        assert (state("results"), state(store.root)) == before
    assert verify_workdir(store) == [OUT]
    assert changed_results(store) == []


def test_a_result_that_a_run_takes_away_during_a_look(project, store, monkeypatch):
    """Snakemake deletes temporary results, and those that it makes anew."""
    for name in "ab":
        run_job(job_of(project, result=f"results/{name}.txt"), compute, store)
    edit("results/a.txt", "edited")
    present = PlacedFiles.present

    def taken_away(files):
        found = present(files)
        Path("results/b.txt").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(PlacedFiles, "present", taken_away)
    assert changed_results(store) == ["results/a.txt"]


def test_a_look_that_links_one_result_of_a_job_leaves_the_others(project, store):
    """Not even a time is set, or what was made from them would look outdated."""
    job = replace(job_of(project), outputs={name: f"results/{name}.txt" for name in "ab"})
    run_job(
        job, lambda _, outputs, *more: [Path(path).write_text(name) for name, path in outputs.items()] and {}, store
    )
    Path("results/b.txt").unlink()
    before, [record] = state("results"), store.own.records()
    time.sleep(0.01)
    assert store.restore(record, {name: Path(path) for name, path in job.outputs.items()}, replace=False)
    assert sorted(os.listdir("results")) == ["a.txt", "b.txt"]
    assert {path: state("results")[path] for path in before} == before


@pytest.mark.usefixtures("made")
def test_a_result_that_a_job_placed_after_the_look_at_it_stays(project, store):
    """What was found to differ is compared again, with its entry as it is then."""
    edit(OUT, "edited")
    suspects = changed_results(store)
    run_job(job_of(project, times=3), compute, store)
    assert suspects == [OUT]
    assert set_aside(store, suspects) == {}
    assert Path(OUT).read_text() == "ababab"
    assert sorted(os.listdir("results")) == ["out.txt"]


def test_a_result_is_in_its_place_only_with_its_entry(project, store, monkeypatch):
    """Whoever holds the list finds file and entry in accord: the lock is held from the one to the other."""
    seen, move = [], os.replace

    def can_hold_list():
        return lock.take(store.placed().lock) is not None

    def looked(new, destination):
        if workdir.PLACING in str(new):
            seen.append((str(destination) in store.placed().all(), elsewhere(can_hold_list)))
        return move(new, destination)

    monkeypatch.setattr("classlens.store.store.os.replace", looked)
    run_job(job_of(project), compute, store)
    assert seen == [(True, False)]
    assert elsewhere(can_hold_list)


@pytest.mark.usefixtures("made")
def test_entries_that_are_added_while_a_run_looks_results_over_stay(project, store, monkeypatch):
    """The list was written anew from what was read before, and collection then took what was shown."""
    other = job_of(project, times=3, result="results/b.txt")
    monkeypatch.setattr(verify, "changed_results", lambda *_: run_job(other, compute, store) and [])
    verify_workdir(store)
    assert set(store.placed().all()) == {OUT, "results/b.txt"}
    assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)


def is_free():
    with free() as answer:
        return answer


@pytest.mark.usefixtures("made")
def test_one_run_holds_a_working_directory_and_looks_and_verification_step_aside(store):
    edit(OUT, "edited")
    assert elsewhere(is_free)
    assert hold()
    try:
        assert hold()  # the same run
        assert not elsewhere(hold)
        assert not elsewhere(is_free)
        assert elsewhere(verify_results, store) == {OUT: None}
    finally:
        os.close(workdir._held.pop())
    assert Path(OUT).read_text() == "edited"
    assert elsewhere(is_free)
    locks = Path(".snakemake/locks")
    locks.mkdir()
    (locks / "0.input.lock").touch()  # of a run on another machine, or of one that was killed
    assert not elsewhere(hold)
    assert not elsewhere(is_free)
    (locks / "0.input.lock").unlink()
    assert verify_results(store) == {OUT: f"{OUT}.changed"}


def test_a_run_waits_for_a_look(project):
    begun = FORK.Event()

    def look():
        with free():
            begun.set()
            time.sleep(0.4)

    child = FORK.Process(target=look)
    child.start()
    begun.wait(10)
    assert is_free()  # for another look
    assert elsewhere(hold)
    child.join(1)
    assert child.exitcode == 0


@pytest.mark.usefixtures("made")
def test_collection_takes_locks_that_nobody_holds_and_what_is_unfinished(store):
    old = time.time() - 2 * gc.GRACE
    locks = store.own.path / "locks"
    assert len(list(locks.iterdir())) == 1
    for path in (*locks.iterdir(), locks / f"{'1' * 64}.lock"):
        path.touch()
        os.utime(path, (old, old))
    [blob] = store.own.files("blobs")
    left, fresh = blob.with_name(".new-left"), blob.with_name(".new-fresh")
    left.touch(), fresh.touch()
    os.utime(left, (old, old))
    with store.lock("1" * 64):
        gc.collect(store)
        assert [path.stem for path in locks.iterdir()] == ["1" * 64]
    gc.collect(store)
    assert not list(locks.iterdir())
    assert sorted(path.name for path in blob.parent.iterdir()) == [fresh.name, blob.name]


def test_a_lock_that_is_collected_while_it_is_waited_for_is_that_of_its_new_file(tmp_path):
    path = tmp_path / "one.lock"
    first = lock.take(path)
    threading.Timer(0.2, lambda: (path.unlink(), os.close(first))).start()
    with lock.locked(path):
        assert lock.take(path) is None


@pytest.mark.usefixtures("made")
def test_a_result_restored_in_one_directory_is_not_read_again_in_others(project, store, tmp_path, monkeypatch, read):
    """All names of a blob have one time, which each restore sets."""
    here, there = Path.cwd(), tmp_path / "there"
    there.mkdir()
    (there / "source.txt").write_text("ab")
    for _ in range(2):
        monkeypatch.chdir(there)
        Path(OUT).unlink(missing_ok=True)
        assert not run_job(job_of(project), refuse, Store(store.root))
        monkeypatch.chdir(here)
        read.clear()
        assert changed_results(store) == []
        assert store.digests([OUT]) == [digest_file(OUT)]
        assert read == []
    Path(OUT).chmod(0o644)
    Path(OUT).write_text("rot!")  # through one name, of the same size
    assert changed_results(store) == [OUT]


@pytest.fixture
def locks():
    """Sets what kind of locks is used, for the test alone."""
    yield lock.use_locks
    lock.use_locks(None)


def refuse_locks(monkeypatch, number):
    """Let every lock end in an error, as file systems without locks do."""

    def flock(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, 524, errno.ENOSYS])
def test_a_lock_that_is_not_granted(project, store, monkeypatch, locks, number):
    refuse_locks(monkeypatch, number)
    told = r"\.lock: its file system grants no lock .* or set `locks: none` in the config"
    with pytest.raises(InputError, match=told):
        run_job(job_of(project), compute, store)
    with pytest.raises(InputError, match=r"run\.lock: its file system grants no lock"):
        workdir.hold()
    with pytest.raises(InputError, match=told), workdir.temporary(workdir.WORK):
        pass
    assert not list(workdir.WORK.iterdir())
    locks("none")
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)
    assert workdir.hold()
    os.close(workdir._held.pop())


def test_another_error_of_a_lock_is_not_explained_away(project, monkeypatch, tmp_path):
    refuse_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        lock.take(tmp_path / "one.lock")


def test_no_wait_without_a_word(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "WORDLESS_SECONDS", 0.2)
    path = tmp_path / "one.lock"
    handle = lock.take(path)
    threading.Timer(0.6, os.close, [handle]).start()
    with lock.locked(path):
        pass
    assert [line.getMessage() for line in caplog.records] == [f"waiting for {path}, which another process holds"]


def test_without_locks_work_that_others_may_use_stays(project, locks):
    workdir.WORK.mkdir(parents=True)
    (workdir.WORK / "x.lock").touch()
    locks("none")
    workdir.clear_work()
    assert len(list(workdir.WORK.iterdir())) == 1
    locks("flock")
    workdir.clear_work()
    assert len(list(workdir.WORK.iterdir())) == 0


@pytest.mark.parametrize("kind", ["flock", "none"])
def test_a_memory_whose_lock_is_held_is_given_up(tmp_path, monkeypatch, locks, kind):
    locks(kind)
    monkeypatch.setattr(memory, "BUSY_SECONDS", 0.1)
    (tmp_path / "file").write_text("a")
    known = memory.FileMemory(tmp_path / "memory.sqlite", digest_file)
    known.remember({tmp_path / "file": digest_bytes(b"a")})
    other = sqlite3.connect(tmp_path / "memory.sqlite")
    other.execute("begin exclusive")
    began = time.monotonic()
    for _ in range(50):
        assert known.texts([tmp_path / "file"]) == [digest_bytes(b"a")]
    assert time.monotonic() - began < 2  # waited for once, or not at all
    other.close()

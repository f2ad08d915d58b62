"""Locks that are not granted, that are held for long, and runs without any."""

import errno
import os
import sqlite3
import threading
import time

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_bytes, digest_file
from classlens.errors import InputError
from classlens.store import lock, memory, workdir
from classlens.store.job import run_job
from classlens.store.memory import FileMemory
from classlens.store.workdir import WORK, clear_work


@pytest.fixture
def locks():
    """Sets what kind of locks is used, for the test alone."""
    yield lock.use_locks
    lock.use_locks(None)


@pytest.fixture
def refused(monkeypatch, request):
    """A file system that answers every lock with an error."""

    def flock(handle, how):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(lock.fcntl, "flock", flock)


@pytest.mark.parametrize("refused", [errno.ENOLCK, errno.EOPNOTSUPP, 524, errno.ENOSYS], indirect=True)
def test_a_lock_that_is_not_granted(project, store, refused, locks):
    with pytest.raises(
        InputError, match=r"\.lock: its file system grants no lock .* or set `locks: none` in the config"
    ):
        run_job(job_of(project), compute, store)
    with pytest.raises(InputError, match=r"run\.lock: its file system grants no lock"):
        workdir.hold()
    locks("none")
    assert run_job(job_of(project), compute, store)
    assert not run_job(job_of(project), refuse, store)
    assert workdir.hold()
    os.close(workdir._held.pop())


def test_another_error_of_a_lock_is_not_explained_away(project, monkeypatch, tmp_path):
    def flock(handle, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
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
    (WORK / "x").mkdir(parents=True)
    locks("none")
    clear_work()
    assert len(list(WORK.iterdir())) == 1
    locks("flock")
    clear_work()
    assert len(list(WORK.iterdir())) == 0


@pytest.mark.parametrize("kind", ["flock", "none"])
def test_a_memory_whose_lock_is_held_is_given_up(tmp_path, monkeypatch, locks, kind):
    locks(kind)
    monkeypatch.setattr(memory, "BUSY_SECONDS", 0.1)
    (tmp_path / "file").write_text("a")
    known = FileMemory(tmp_path / "memory.sqlite", digest_file)
    known.remember({tmp_path / "file": digest_bytes(b"a")})
    other = sqlite3.connect(tmp_path / "memory.sqlite")
    other.execute("begin exclusive")
    began = time.monotonic()
    for _ in range(50):
        assert known.texts([tmp_path / "file"]) == [digest_bytes(b"a")]
    assert time.monotonic() - began < 2  # waited for once, or not at all
    other.close()

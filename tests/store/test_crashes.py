"""Jobs that are killed at every step of the store, several runs at once, and clocks that jump."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_file
from classlens.errors import InputError
from classlens.store import gc
from classlens.store.job import run_job
from classlens.store.store import Store
from classlens.store.verify import verify_blobs, verify_workdir
from classlens.store.workdir import WORK

STEPS = ("replace", "rename", "link", "utime", "chmod", "fchmod", "fsync", "mkdir", "unlink", "rmdir")
"""Calls by which the store, its locks and temporary folders change a file system."""
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _no_git(monkeypatch):
    monkeypatch.setattr("classlens.store.job._commit", lambda root: None)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Makes working directories, each on its first call."""

    def go_to(name):
        folder = tmp_path / f"{name}"
        folder.mkdir()
        (folder / "source.txt").write_text("ab")
        monkeypatch.chdir(folder)
        return folder

    return go_to


def killed_at(step, function):
    """Call a function in a process that is killed as it comes to its step-th call of the above; tell whether it was."""

    def play():
        left = iter(range(step))
        for name in STEPS:
            setattr(os, name, counted(getattr(os, name), left))
        function()
        os._exit(0)

    def counted(call, left):
        def counting(*arguments, **options):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counting

    child = FORK.Process(target=play)
    child.start()
    child.join(30)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def require_sound(store, project):
    """Nothing half done counts: results and store are whole, and a rerun has the same bytes."""
    out = Path("results/out.txt")
    assert not out.exists() or out.read_text() == "abab"
    for blob in store.own.files("blobs"):
        assert digest_file(blob) == blob.name
    for record in store.own.records():
        assert all(store.own.blob(output.digest).is_file() for output in record.outputs)
    verify_workdir(store)
    run_job(job_of(project), compute, store)
    assert out.read_text() == "abab"
    assert not run_job(job_of(project), refuse, store)
    gc.collect(store)
    assert not list(WORK.glob("*"))
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(("is_stored", "least"), [(False, 20), (True, 5)])
def test_a_job_killed_at_any_step_is_made_or_placed_again(project, store, fresh, is_stored, least):
    if is_stored:
        run_job(job_of(project), compute, store)
    for step in range(1000):
        folder = fresh(step)
        store = store if is_stored else Store(folder / "store")
        work = refuse if is_stored else compute
        if not killed_at(step, lambda store=store, work=work: run_job(job_of(project), work, store)):
            break
        require_sound(store, project)
    assert least < step < 1000


def test_runs_and_collections_at_once(project, store):
    """Every run has jobs of its own and jobs that the others have, too, while one collects without end."""
    stop, answers = FORK.Event(), FORK.SimpleQueue()

    def collect():
        while not stop.is_set():
            gc.collect(store, older_than=0)

    def run(own):
        computed = []
        for times in [*range(1, 7), 10 + own]:
            job = job_of(project, times=times, result=f"results/{own}/{times}.txt")
            for attempt in range(5):
                try:
                    computed.append(run_job(job, compute, store))
                    break
                except InputError as error:
                    if attempt == 4 or "vanished" not in str(error):  # collected between its record and its place
                        raise
        answers.put(computed)

    collector = FORK.Process(target=collect)
    children = [FORK.Process(target=run, args=(own,)) for own in range(3)]
    for child in (collector, *children):
        child.start()
    for child in children:
        child.join(60)
    stop.set()
    collector.join(30)
    assert [child.exitcode for child in children] == [0] * 3
    for own in range(3):
        for times in [*range(1, 7), 10 + own]:
            assert Path(f"results/{own}/{times}.txt").read_text() == "ab" * times
    assert verify_blobs(store) == []


@pytest.mark.parametrize("jump", [-400 * gc.DAY, -3600.0, 3600.0, 400 * gc.DAY])
def test_a_clock_that_jumps_changes_no_result(project, store, monkeypatch, jump):
    clock, now, now_ns = SimpleNamespace(ahead=0.0), time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + clock.ahead)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(clock.ahead * 1e9))

    def work(*arguments):
        clock.ahead = jump  # while the job runs
        return compute(*arguments)

    assert run_job(job_of(project), work, store)
    assert Path("results/out.txt").read_text() == "abab"
    assert not run_job(job_of(project), refuse, store)
    assert verify_workdir(store) == []
    run_job(job_of(project, times=3, result="gone.txt"), compute, store)
    Path("gone.txt").unlink()
    clock.ahead = -jump
    assert gc.collect(store).records == (jump < 0)
    assert not run_job(job_of(project), refuse, store)
    Path("source.txt").write_text("cd")  # of the same size
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "cdcd"

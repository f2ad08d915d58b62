"""Looks beside a run: what they leave alone, and what a run alone may do to results that are there."""

import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_file
from classlens.store import gc, lock, verify, workdir
from classlens.store.job import run_job
from classlens.store.placed import Placed, PlacedFiles
from classlens.store.verify import changed_results, set_aside, verify_results, verify_workdir
from classlens.store.workdir import free, hold

FORK = multiprocessing.get_context("fork")
OUT = Path("results/out.txt")


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
    path.unlink()
    path.write_text(text)


def test_a_look_says_what_was_changed_and_changes_nothing(project, store):
    run_job(job_of(project), compute, store)
    edit(OUT, "edited")
    before = state("results"), state(store.root)
    assert changed_results(store) == [str(OUT)]
    assert (state("results"), state(store.root)) == before
    assert verify_workdir(store) == [str(OUT)]
    assert changed_results(store) == []


def test_a_look_notes_nothing_in_the_store(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    run_job(job_of(project), compute, store)
    os.utime(OUT)
    before = state(store.root)
    assert changed_results(store) == []
    assert state(store.root) == before


def test_a_result_that_a_run_takes_away_during_a_look(project, store, monkeypatch):
    """Snakemake deletes temporary results, and those that it makes anew."""
    for name in "ab":
        run_job(job_of(project, result=f"results/{name}.txt"), compute, store)
    edit(Path("results/a.txt"), "edited")
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


def test_a_folder_that_another_clears_before_its_lock_is_there(project, monkeypatch):
    answers = [None]
    monkeypatch.setattr(workdir, "take", lambda path: answers.pop() if answers else lock.take(path))
    with workdir.temporary(workdir.WORK) as folder:
        workdir.clear_work()
        assert folder.is_dir()


def test_a_result_that_a_job_placed_after_the_look_at_it_stays(project, store):
    """What was found to differ is compared again, with its entry as it is then."""
    run_job(job_of(project), compute, store)
    edit(OUT, "edited")
    [suspect] = changed_results(store)
    run_job(job_of(project, times=3), compute, store)
    assert set_aside(store, [os.path.relpath(suspect)]) == {}
    assert OUT.read_text() == "ababab"
    assert sorted(os.listdir("results")) == ["out.txt"]


def test_a_result_is_in_its_place_only_with_its_entry(project, store, monkeypatch):
    """Whoever holds the list finds file and entry in accord: the lock is held from the one to the other."""
    seen = []

    def looked(new, destination):
        if ".placing-" in str(new):
            seen.append((str(destination) in store.placed().all(), elsewhere(can_hold_list, store)))
        return replace(new, destination)

    replace = os.replace
    monkeypatch.setattr("classlens.store.store.os.replace", looked)
    run_job(job_of(project), compute, store)
    assert seen == [(True, False)]
    assert elsewhere(can_hold_list, store)


def can_hold_list(store):
    return lock.take(store.placed().lock) is not None


def test_entries_that_are_added_while_a_run_looks_results_over_stay(project, store, monkeypatch):
    """The list was written anew from what was read before, and collection then took what was shown."""
    run_job(job_of(project), compute, store)
    other = job_of(project, times=3, result="results/b.txt")
    monkeypatch.setattr(verify, "changed_results", lambda *_: run_job(other, compute, store) and [])
    verify_workdir(store)
    assert set(store.placed().all()) == {"results/out.txt", "results/b.txt"}
    assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)


def test_a_list_of_replaced_entries_is_compacted_from_what_it_holds(project, store):
    for times in (2, 3, 2, 3, 2, 3, 2):
        run_job(job_of(project, times=times), compute, store)
    lines = len(store.placed().file.read_text().splitlines())
    verify_workdir(store)
    assert len(store.placed().file.read_text().splitlines()) < lines
    assert store.placed().all()[str(OUT)] == Placed(
        *next((r.key, r.outputs[0].digest) for r in store.own.records() if r.outputs[0].size == 4)
    )


def test_one_run_holds_a_working_directory_and_looks_step_aside(project):
    here = Path.cwd()

    def is_free():
        with free() as answer:
            return answer

    assert elsewhere(is_free)
    assert hold()
    try:
        assert hold()  # the same run
        assert not elsewhere(hold)
        assert not elsewhere(is_free)
    finally:
        os.close(workdir._held.pop())
    assert elsewhere(is_free)
    (here / ".snakemake/locks").mkdir()
    (here / ".snakemake/locks/0.input.lock").touch()  # of a run on another machine, or of one that was killed
    assert not elsewhere(hold)
    assert not elsewhere(is_free)


def test_a_run_waits_for_a_look(project):
    begun = FORK.Event()

    def look():
        with free():
            begun.set()
            time.sleep(0.4)

    child = FORK.Process(target=look)
    child.start()
    begun.wait(10)
    with free() as together:
        assert together
    assert elsewhere(hold)
    child.join(1)
    assert child.exitcode == 0


def test_verification_sets_nothing_aside_beside_a_run(project, store, tmp_path):
    run_job(job_of(project), compute, store)
    edit(OUT, "edited")

    def verified():
        return verify_results(store)

    assert hold()
    try:
        assert elsewhere(verified) == {str(OUT): None}
    finally:
        os.close(workdir._held.pop())
    assert OUT.read_text() == "edited"
    assert verified() == {str(OUT): f"{OUT}.changed"}


def test_collection_takes_locks_that_nobody_holds_and_what_is_unfinished(project, store):
    run_job(job_of(project), compute, store)
    old = time.time() - 2 * gc.GRACE
    locks = set((store.own.path / "locks").glob("*.lock"))
    assert len(locks) == 1
    for path in (*locks, (store.own.path / "locks") / f"{'1' * 64}.lock"):
        path.touch()
        os.utime(path, (old, old))
    [blob] = store.own.files("blobs")
    left, fresh = blob.with_name(".new-left"), blob.with_name(".new-fresh")
    left.touch(), fresh.touch()
    os.utime(left, (old, old))
    with store.lock("1" * 64):
        gc.collect(store)
        assert {path.stem for path in (store.own.path / "locks").glob("*.lock")} == {"1" * 64}
    gc.collect(store)
    assert not list((store.own.path / "locks").iterdir())
    assert sorted(path.name for path in blob.parent.iterdir()) == [fresh.name, blob.name]


def test_a_lock_that_is_collected_while_it_is_waited_for_is_that_of_its_new_file(tmp_path):
    path = tmp_path / "one.lock"
    first = lock.take(path)

    def wait():
        with lock.locked(path):
            return lock.take(path) is None

    answers = FORK.SimpleQueue()
    child = FORK.Process(target=lambda: answers.put(wait()))
    child.start()
    time.sleep(0.2)
    path.unlink()
    os.close(first)
    assert answers.get()
    child.join()


@pytest.fixture
def read(monkeypatch):
    """Files that were read in full, which count as settled at once."""
    paths = []
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    monkeypatch.setattr("classlens.store.store.digest_file", lambda path: paths.append(path) or digest_file(path))
    return paths


def test_a_result_restored_in_one_directory_is_not_read_again_in_others(project, store, tmp_path, monkeypatch, read):
    """All names of a blob have one time, which each restore sets."""
    run_job(job_of(project), compute, store)
    here, there = Path.cwd(), tmp_path / "there"
    there.mkdir()
    (there / "source.txt").write_text("ab")
    for _ in range(2):
        monkeypatch.chdir(there)
        OUT.unlink(missing_ok=True)
        other = type(store)(store.root)
        assert not run_job(job_of(project), refuse, other)
        monkeypatch.chdir(here)
        read.clear()
        assert changed_results(store) == []
        assert store.digests([OUT])[0] == digest_file(OUT)
        assert read == []
    OUT.chmod(0o644)
    OUT.write_text("rot!")  # through one name, of the same size
    assert changed_results(store) == [str(OUT)]

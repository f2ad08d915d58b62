"""The store: hits, misses, damage, kills, full disks, concurrency, collection."""

import json
import multiprocessing
import os
import re
import time
from pathlib import Path

import pytest
from double_job import DOUBLE, compute, job_of, refuse

from classlens.digest import digest_bytes, digest_file, digest_json, write_atomically
from classlens.errors import InputError
from classlens.store import gc, lock, place
from classlens.store.explain import provenance_lines
from classlens.store.job import is_stored, key_of, run_job
from classlens.store.key import code_key, differences, library_versions
from classlens.store.memory import DigestMemory
from classlens.store.place import LOCKS, work_folder
from classlens.store.placed import Placed, PlacedFiles
from classlens.store.store import Store
from classlens.store.workdir import verify_workdir


def static(root):
    return code_key(job_of(root).functions, root)


def test_what_is_stored_is_known_before_it_is_asked_for(project, store):
    assert not is_stored(job_of(project), store, static(project))
    run_job(job_of(project), compute, store)
    Path("results/out.txt").unlink()
    assert is_stored(job_of(project, result="elsewhere/out.txt"), store, static(project))
    assert not is_stored(job_of(project, result="results/out.csv"), store, static(project))
    assert not is_stored(job_of(project, source="not there yet"), store, static(project))
    Path("source.txt").write_text("other")
    assert not is_stored(job_of(project), store, static(project))


def test_a_result_whose_blob_is_gone_is_not_stored(project, store):
    run_job(job_of(project), compute, store)
    [record] = store.own.records()
    store.own.blob(record.outputs[0].digest).unlink()
    assert not is_stored(job_of(project), store, static(project))


def test_second_run_is_a_hit(project, store):
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"
    Path("results/out.txt").unlink()
    assert not run_job(job_of(project), refuse, store)
    assert Path("results/out.txt").read_text() == "abab"
    [record] = store.own.records()
    assert record.provenance["device"] == "abacus"
    assert record.wildcards == {"name": "results/out.txt"}


def test_a_touched_input_is_a_hit_and_a_changed_one_is_not(project, store):
    run_job(job_of(project), compute, store)
    os.utime("source.txt")
    assert not run_job(job_of(project), refuse, store)
    Path("source.txt").write_text("xy")
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "xyxy"
    Path("source.txt").write_text("ab")
    assert not run_job(job_of(project), refuse, store)
    assert Path("results/out.txt").read_text() == "abab"


def test_paths_and_wildcards_are_no_part_of_the_key_and_config_is(project, store):
    run_job(job_of(project, result="results/a.txt"), compute, store)
    assert not run_job(job_of(project, result="results/b.txt"), refuse, store)
    assert run_job(job_of(project, times=3, result="results/c.txt"), compute, store)
    contents = {name: Path(f"results/{name}.txt").read_text() for name in "abc"}
    assert contents == {"a": "abab", "b": "abab", "c": "ababab"}


def test_reached_code_is_part_of_the_key(project, store):
    run_job(job_of(project), compute, store)
    file = project / "classlens/double.py"
    file.write_text("# a comment\n" + DOUBLE)
    assert not run_job(job_of(project), refuse, store)
    file.write_text(DOUBLE.replace("* times", "* times * 1"))
    assert run_job(job_of(project), compute, store)


def test_results_and_blobs_are_read_only(project, store):
    run_job(job_of(project), compute, store)
    [blob] = (store.own.path / "blobs").glob("*/*")
    for path in (Path("results/out.txt"), blob):
        assert path.stat().st_mode & 0o222 == 0
    assert Path("results/out.txt").stat().st_ino == blob.stat().st_ino


def test_placed_files_are_fresh(project, store):
    run_job(job_of(project), compute, store)
    before = time.time_ns()
    time.sleep(0.01)
    run_job(job_of(project, result="results/again.txt"), refuse, store)
    assert Path("results/again.txt").stat().st_mtime_ns > before


def test_where_links_fail_files_are_copied(project, store, monkeypatch):
    monkeypatch.setattr(place.os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError("another file system")))
    run_job(job_of(project), compute, store)
    [blob] = (store.own.path / "blobs").glob("*/*")
    out = Path("results/out.txt")
    assert out.read_text() == "abab"
    assert out.stat().st_ino != blob.stat().st_ino
    assert out.stat().st_mode & 0o222 == 0


def test_a_failing_job_leaves_nothing(project, store):
    def fail(inputs, outputs, config, local):
        Path(outputs["result"]).write_text("half")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        run_job(job_of(project), fail, store)
    assert not Path("results/out.txt").exists()
    assert not list(store.own.records())
    assert not list(work_folder().iterdir())
    assert not list(store.own.path.glob("blobs/*/*"))


def test_a_forgotten_output_is_an_error(project, store):
    with pytest.raises(InputError, match="without writing result"):
        run_job(job_of(project), lambda *_: None, store)
    assert not list(store.own.records())


def test_code_or_input_that_changes_meanwhile_is_an_error(project, store):
    def meddle(inputs, outputs, config, local):
        compute(inputs, outputs, config, local)
        Path("source.txt").write_text("changed")

    with pytest.raises(InputError, match="changed while it ran"):
        run_job(job_of(project), meddle, store)
    assert not Path("results/out.txt").exists()


def test_a_damaged_blob_is_named_and_made_anew(project, store, caplog):
    run_job(job_of(project), compute, store)
    [blob] = (store.own.path / "blobs").glob("*/*")
    blob.chmod(0o644)
    blob.write_text("rot!")
    assert run_job(job_of(project), compute, store)
    assert str(blob) in caplog.text
    assert "damaged" in caplog.text
    assert Path("results/out.txt").read_text() == "abab"
    assert blob.read_text() == "abab"


def test_a_disk_that_fills_up_leaves_no_record(project, store, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("classlens.store.folder.os.replace", full)
        with pytest.raises(InputError, match=r"is full: 4 bytes are needed, [\d,]+ are free; make room"):
            run_job(job_of(project), compute, store)
    assert not list(store.own.records())
    assert not Path("results/out.txt").exists()
    assert run_job(job_of(project), compute, store)


def _slow_job(root, folder, started, result):
    os.chdir(folder)

    def slow(inputs, outputs, config, local):
        started.set()
        time.sleep(1)
        compute(inputs, outputs, config, local)

    result.put(run_job(job_of(root, result=f"results/{os.getpid()}.txt"), slow, Store(folder.parent / "store")))


def test_of_two_runs_at_once_one_computes(project):
    context = multiprocessing.get_context("fork")
    started, result = context.Event(), context.Queue()
    runs = [context.Process(target=_slow_job, args=(project, Path.cwd(), started, result)) for _ in range(2)]
    for run in runs:
        run.start()
    computed = [result.get(timeout=30) for _ in runs]
    for run in runs:
        run.join()
    assert sorted(computed) == [False, True]
    assert [path.read_text() for path in Path("results").glob("*.txt")] == ["abab", "abab"]


def test_digests_are_remembered(tmp_path, monkeypatch):
    file, memory = tmp_path / "file", DigestMemory(tmp_path / "memory.sqlite")
    file.write_text("a")
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    expected = memory.digest(file)
    assert expected == digest_bytes(b"a")
    monkeypatch.setattr("classlens.store.memory.digest_file", refuse)
    assert memory.digest(file) == expected


def test_a_fresh_file_is_not_remembered(tmp_path):
    """Two versions written within one tick of the clock have the same size and time."""
    file, memory = tmp_path / "file", DigestMemory(tmp_path / "memory.sqlite")
    file.write_text("a")
    stat = file.stat()
    memory.digest(file)
    file.write_text("b")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert memory.digest(file) == digest_bytes(b"b")


def test_memory_that_cannot_be_used_costs_only_time(tmp_path):
    file, broken = tmp_path / "file", tmp_path / "memory.sqlite"
    file.write_text("a")
    os.utime(file, (1, 1))
    broken.write_text("this is no database, but long enough to be looked at" * 50)
    assert DigestMemory(broken).digest(file) == digest_bytes(b"a")
    assert DigestMemory(tmp_path / "no" / "folder").digest(file) == digest_bytes(b"a")


def test_json_digests_ignore_key_order_and_keep_list_order():
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])


def test_atomic_writing_leaves_the_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr("classlens.digest.os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_versions():
    versions = library_versions(["PIL", "sklearn", "nothing_of_this_name"])
    assert versions["nothing_of_this_name"] == "missing"
    assert versions["PIL"][0].isdigit()
    assert versions["python"].startswith("3.")


def test_differences_name_the_leaf():
    before = {"a": {"b": 1, "c": 2}, "d": 3}
    after = {"a": {"b": 1, "c": 4}, "e": 5}
    assert differences(before, after) == ["a.c: 2 -> 4", "d is gone (was 3)", "e is new (5)"]


def test_sweep_sets_changed_results_aside(project, store, caplog):
    run_job(job_of(project), compute, store)
    run_job(job_of(project, times=3, result="results/other.txt"), compute, store)
    assert verify_workdir(store.root, Path.cwd()) == []
    os.utime("results/other.txt")
    assert verify_workdir(store.root, Path.cwd()) == []
    out = Path("results/out.txt")
    out.chmod(0o644)
    out.write_text("edited")  # the blob is the same file
    killed, running = (Path("results") / f".placing-{digit * 32}-x" for digit in "01")
    killed.mkdir(), running.mkdir()
    of_running = lock.take(LOCKS / f"{'1' * 32}.lock")
    assert verify_workdir(store.root, Path.cwd()) == [Path.cwd() / out]
    assert not out.exists()
    assert Path("results/out.txt.changed").read_text() == "edited"
    assert not killed.exists()
    assert running.is_dir()
    os.close(of_running)
    assert "was changed" in caplog.text
    assert run_job(job_of(project), compute, store)
    assert out.read_text() == "abab"


def test_sweep_without_a_store(tmp_path):
    assert verify_workdir(tmp_path / "nothing", tmp_path) == []


def test_the_list_survives_a_torn_line(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a").touch()
    files = PlacedFiles(tmp_path, tmp_path)
    files.add({"results/a": Placed("1" * 64, "2" * 64)})
    with files.file.open("a") as lines:
        lines.write('{"path": "b", "ke')
    assert set(files.all()) == {"results/a"}
    for _ in range(4):
        files.add({tmp_path / "results/a": Placed("3" * 64, "2" * 64)})
        assert files.all() == {"results/a": Placed("3" * 64, "2" * 64)}
    with files.held():
        files.compact()
    assert files.present() == {"results/a": Placed("3" * 64, "2" * 64)}
    assert len(files.file.read_text().splitlines()) == 1


@pytest.mark.parametrize("path", ["/etc/x", "results/../x", "x", "results", "results//x", "results/\\ud800", 7, None])
def test_lines_of_other_places_are_none(tmp_path, path):
    files = PlacedFiles(tmp_path, tmp_path)
    files.file.parent.mkdir(parents=True)
    lines = [
        {"path": path, "key": "1" * 64, "digest": "2" * 64},
        {"path": "results/b", "key": "../x", "digest": "2" * 64},
    ]
    files.file.write_text("".join(json.dumps(line).replace("\\\\", "\\") + "\n" for line in lines))
    assert files.all() == {}


def age(store, days):
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - days * gc.DAY,) * 2)


def test_collection_spares_what_results_show(project, store):
    run_job(job_of(project, result="results/kept.txt"), compute, store)
    run_job(job_of(project, times=3, result="results/gone.txt"), compute, store)
    Path("results/gone.txt").unlink()
    age(store, 2)
    assert gc.collect(store, older_than=3).records == 0
    assert gc.collect(store, dry_run=True) == gc.Collected(1, 1, 6)
    assert len(list(store.own.records())) == 2
    assert gc.collect(store) == gc.Collected(1, 1, 6)
    assert not run_job(job_of(project, result="results/kept.txt"), refuse, store)
    assert run_job(job_of(project, times=3, result="results/gone.txt"), compute, store)


def test_collection_spares_what_a_running_job_may_be_about_to_show(project, store):
    run_job(job_of(project), compute, store)
    Path("results/out.txt").unlink()
    for limits in ({}, {"larger_than": 0}, {"older_than": 1}):
        assert gc.collect(store, **limits) == gc.Collected(0, 0, 0)
    for path in (store.own.path / "actions").glob("*/*"):
        os.utime(path, (time.time() - 3700,) * 2)
    assert gc.collect(store, dry_run=True).records == 1
    os.utime(path)
    assert gc.collect(store, older_than=0).records == 1


def _collect_forever(root, stop):
    while not stop.is_set():
        gc.collect(Store(root))


def test_collection_in_a_loop_beside_runs(project, store):
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    collector = context.Process(target=_collect_forever, args=(store.root, stop))
    collector.start()
    try:
        for times in range(12):
            assert run_job(job_of(project, times=times), compute, store)
            Path("results/out.txt").unlink()
            assert not run_job(job_of(project, times=times), refuse, store)
    finally:
        stop.set()
        collector.join()
    assert collector.exitcode == 0
    assert len(list(store.own.records())) == 12


def test_a_blob_that_vanishes_meanwhile_is_made_anew(project, store, monkeypatch):
    run_job(job_of(project), compute, store)
    placed = []

    def collected_first(folder, digest, destination, memory):
        if not placed:
            folder.blob(digest).unlink()
        placed.append(destination)
        return place.prepared(folder, digest, destination, memory)

    monkeypatch.setattr("classlens.store.store.prepared", collected_first)
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


def test_collection_by_size_takes_the_oldest(project, store):
    for times in (3, 4, 5):
        run_job(job_of(project, times=times), compute, store)
        age_of = store.own.action(key_of(job_of(project, times=times), store).digest)
        os.utime(age_of, (time.time() - (10 - times) * gc.DAY,) * 2)
    Path("results/out.txt").unlink()
    for blob in (store.own.path / "blobs").glob("*/*"):
        os.utime(blob, (1, 1))
    assert gc.collect(store, larger_than=18) == gc.Collected(1, 1, 6)
    assert {record.parts["config"]["times"] for record in store.own.records()} == {4, 5}


def test_a_vanished_working_directory_keeps_nothing(project, store, tmp_path, monkeypatch):
    run_job(job_of(project), compute, store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "working").rename(tmp_path / "moved")
    age(store, 1)
    assert gc.collect(store).blobs == 1


def test_work_of_a_process_that_is_gone_goes(project, store):
    gone, runs, foreign = (work_folder() / name for name in (f"{'0' * 32}-x", f"{'1' * 32}-x", "mine-x"))
    for folder in (gone, runs, foreign):
        (folder / "layers").mkdir(parents=True)
        (folder / "layers" / "out.h5").write_text("half")
    LOCKS.mkdir(parents=True)
    handle = lock.take(LOCKS / f"{'1' * 32}.lock")
    gc.collect(store)
    assert not gone.exists()
    assert runs.exists()
    assert foreign.exists()
    os.close(handle)
    gc.collect(store)
    assert not runs.exists()
    assert not list(LOCKS.iterdir())


def test_sizes_and_ages(project, store):
    run_job(job_of(project), compute, store)
    [(_, record, size, days)] = gc.sizes_and_ages(store.records())
    assert (record.job, size) == ("double", 4)
    assert 0 <= days < 0.1


def test_records_are_readable_json(project, store):
    run_job(job_of(project), compute, store)
    [action] = (store.own.path / "actions").glob("*/*.json")
    record = json.loads(action.read_text())
    assert record["parts"]["inputs"] == {"source": [digest_file("source.txt")]}
    assert record["sources"] == {"source": ["source.txt"]}
    assert set(record["provenance"]) >= {"commit", "started", "seconds", "host", "user", "device"}


def test_provenance_tells_where_a_job_ran(project, store, monkeypatch):
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run_job(job_of(project), compute, store)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    run_job(job_of(project, times=3, result="results/other.txt"), compute, store)
    here = Path.cwd()
    alone, on_node = (provenance_lines(f"results/{name}.txt", store, here)[0] for name in ("out", "other"))
    assert re.search(r", on \S+ abacus, commit none$", alone)
    assert re.search(r", on \S+ \(node node7\) abacus, CUDA_VISIBLE_DEVICES=3,5, commit none$", on_node)

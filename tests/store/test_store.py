"""The store: hits, misses, keys, concurrency, the list of placed files, collection."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from double_job import DOUBLE, compute, fail, job_of, refuse

from classlens.digest import digest_bytes, digest_file, digest_json, write_atomically
from classlens.errors import InputError
from classlens.params import JobParams
from classlens.store import gc, lock
from classlens.store.explain import differences, provenance_lines
from classlens.store.job import digest_of_raw, is_stored, key_of, list_raw, run_job
from classlens.store.job import job_of as job_of_rule
from classlens.store.key import code_key, library_versions
from classlens.store.memory import FileMemory
from classlens.store.store import Store
from classlens.store.verify import verify_workdir
from classlens.store.workdir import WORK, Placed, PlacedFiles

OUT = Path("results/out.txt")
OLD = 1_000_000_000


def blobs(store):
    return list(store.own.files("blobs"))


def test_what_is_stored_is_known_before_it_is_asked_for(project, store):
    def stored(**changes):
        return is_stored(job_of(project, **changes), store, code_key(job_of(project).functions, project))

    assert not stored()
    run_job(job_of(project), compute, store)
    OUT.unlink()
    assert stored(result="elsewhere/out.txt")
    assert not stored(result="results/out.csv")
    assert not stored(source="not there yet")
    blobs(store)[0].rename("blob")
    assert not stored()
    Path("blob").rename(store.own.blob(digest_file("blob")))
    Path("source.txt").write_text("other")
    assert not stored()


def test_second_run_is_a_hit(project, store):
    assert run_job(job_of(project), compute, store)
    assert OUT.read_text() == "abab"
    OUT.unlink()
    before = time.time_ns()
    time.sleep(0.01)
    assert not run_job(job_of(project), refuse, store)
    assert OUT.read_text() == "abab"
    assert OUT.stat().st_mtime_ns > before  # or a scheduler would not take it for fresh
    [record] = store.own.records()
    assert record.provenance["device"] == "abacus"
    assert record.wildcards == {"name": "results/out.txt"}


def code(project, text):
    (project / "classlens/double.py").write_text(text)


@pytest.mark.parametrize(
    ("change", "job", "expected"),
    [
        (lambda project: os.utime("source.txt"), {}, None),
        (lambda project: Path("source.txt").write_text("xy"), {}, "xyxy"),
        (lambda project: None, {"result": "results/other.txt"}, None),
        (lambda project: None, {"times": 3}, "ababab"),
        (lambda project: code(project, f"# a comment\n{DOUBLE}"), {}, None),
        (lambda project: code(project, DOUBLE.replace("* times", "* times * 1")), {}, "abab"),
    ],
)
def test_what_is_part_of_the_key(project, store, change, job, expected):
    run_job(job_of(project), compute, store)
    change(project)
    changed = job_of(project, **job)
    assert run_job(changed, compute if expected else refuse, store) == bool(expected)
    assert Path(changed.outputs["result"]).read_text() == (expected or "abab")
    Path("source.txt").write_text("ab")
    code(project, DOUBLE)
    assert not run_job(job_of(project), refuse, store)
    assert OUT.read_text() == "abab"


@pytest.mark.parametrize("linked", [True, False])
def test_results_and_blobs_are_read_only_and_one_file_where_that_can_be(project, store, monkeypatch, linked):
    if not linked:
        monkeypatch.setattr("classlens.store.store.os.link", fail)
    run_job(job_of(project), compute, store)
    [blob] = blobs(store)
    assert OUT.read_text() == "abab"
    assert blob.stat().st_mode & 0o222 == OUT.stat().st_mode & 0o222 == 0
    assert OUT.samefile(blob) == linked


def _fails(inputs, outputs, config, local):
    Path(outputs["result"]).write_text("half")
    raise InputError("no")


def _changes_its_input(inputs, outputs, config, local):
    compute(inputs, outputs, config, local)
    Path("source.txt").write_text("changed")


@pytest.mark.parametrize(
    ("work", "told"),
    [(_fails, "no"), (_changes_its_input, "changed while it ran"), (lambda *_: None, "without writing result")],
)
def test_a_job_that_fails_leaves_nothing(project, store, work, told):
    with pytest.raises(InputError, match=told):
        run_job(job_of(project), work, store)
    assert not OUT.exists()
    assert not [*store.own.records(), *blobs(store), *WORK.iterdir()]


def test_a_disk_that_fills_up_leaves_no_record(project, store, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("classlens.store.folder.os.replace", full)
        with pytest.raises(InputError, match=r"is full: 4 bytes are needed, [\d,]+ are free; make room"):
            run_job(job_of(project), compute, store)
    assert not [*store.own.records(), *store.own.path.glob("blobs/*/*")]
    assert not OUT.exists()
    assert run_job(job_of(project), compute, store)


def test_a_damaged_blob_is_named_and_made_anew(project, store, caplog):
    run_job(job_of(project), compute, store)
    [blob] = blobs(store)
    blob.chmod(0o644)
    blob.write_text("rot!")
    assert run_job(job_of(project), compute, store)
    assert f"blob {blob} is damaged" in caplog.text
    assert OUT.read_text() == blob.read_text() == "abab"


def test_of_two_runs_at_once_one_computes(project, store):
    def run(name):
        work = lambda *arguments: time.sleep(0.5) or compute(*arguments)  # noqa: E731
        answers.put(run_job(job_of(project, result=f"results/{name}.txt"), work, Store(store.root)))

    context = multiprocessing.get_context("fork")
    answers, runs = context.SimpleQueue(), [context.Process(target=run, args=(name,)) for name in "ab"]
    for one in runs:
        one.start()
    assert sorted(answers.get() for _ in runs) == [False, True]
    for one in runs:
        one.join()
    assert [path.read_text() for path in Path("results").glob("*.txt")] == ["abab", "abab"]


@pytest.mark.parametrize(("ahead", "is_remembered"), [(3600, True), (0, False), (-3600, False)])
def test_digests_are_remembered_but_of_fresh_files(tmp_path, monkeypatch, ahead, is_remembered):
    """Two versions written within one tick of the clock, or as it is behind, may have the same size and times."""
    file, memory, now = tmp_path / "file", FileMemory(tmp_path / "memory.sqlite", digest_file), time.time_ns
    file.write_text("a")
    monkeypatch.setattr(time, "time_ns", lambda: now() + ahead * 10**9)
    assert memory.texts([file, file]) == [digest_bytes(b"a")] * 2
    monkeypatch.setattr(memory, "_find", lambda path: "read again")
    assert memory.texts([file]) == [digest_bytes(b"a") if is_remembered else "read again"]


def test_memory_that_cannot_be_used_costs_only_time(tmp_path):
    file, broken = tmp_path / "file", tmp_path / "memory.sqlite"
    file.write_text("a")
    broken.write_text("this is no database, but long enough to be looked at" * 50)
    for path in (broken, tmp_path / "no" / "folder"):
        assert FileMemory(path, digest_file).texts([file]) == [digest_bytes(b"a")]


def test_json_digests_ignore_key_order_and_keep_list_order():
    assert (
        digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1}) != digest_json({"a": 1, "b": [2, 1]})
    )


def test_atomic_writing_leaves_the_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr("classlens.digest.os.replace", fail)
        with pytest.raises(OSError, match="another file system"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_part_of_a_key_counts_and_modules_by_the_digest_of_their_code(project, store):
    key = key_of(job_of(project), store.digests)
    changed = {part.name: replace(key, **{part.name: {"another": "one"}}).digest for part in fields(key)}
    assert [name for name, digest in changed.items() if digest == key.digest] == ["modules"]
    assert len(set(changed.values())) == len(changed)


def test_versions():
    versions = library_versions(["PIL", "nothing_of_this_name"])
    assert versions.pop("nothing_of_this_name") == "missing"
    assert all(version[0].isdigit() for version in versions.values())
    assert list(versions) == ["python", "PIL"]


def test_differences_name_the_leaf():
    before, after = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert list(differences(before, after)) == ["a.c: 2 -> 4", "d is gone (was 3)", "e is new (5)"]


def test_sweep_sets_changed_results_aside(project, store, caplog):
    assert verify_workdir(store) == []
    run_job(job_of(project), compute, store)
    run_job(job_of(project, times=3, result="results/other.txt"), compute, store)
    os.utime("results/other.txt")
    assert verify_workdir(store) == []
    for number, text in (("", "edited"), (".2", "again")):
        OUT.chmod(0o644)
        OUT.write_text(text)  # the blob is the same file
        assert verify_workdir(store) == [str(OUT)]
        assert not OUT.exists()
        assert Path(f"{OUT}.changed{number}").read_text() == text
        assert run_job(job_of(project), compute, store)
        assert OUT.read_text() == "abab"
    assert "was changed" in caplog.text


def test_the_list_survives_a_torn_line_and_is_compacted_by_a_run(project, store):
    files = store.placed()
    for times in (2, 3, 2, 3, 2):
        run_job(job_of(project, times=times), compute, store)
        with files.file.open("a") as lines:
            lines.write('{"path": "b", "ke')
    [shown] = [record for record in store.own.records() if record.outputs[0].size == 4]
    expected = {str(OUT): Placed(shown.key, shown.outputs[0].digest)}
    assert files.all() == expected
    assert verify_workdir(store) == []
    assert files.present() == expected
    assert len(files.file.read_text().splitlines()) == 1


@pytest.mark.parametrize("path", ["/etc/x", "results/../x", "x", "results", "results//x", "results/\\ud800", 7, None])
def test_lines_of_other_places_are_none(tmp_path, path):
    files = PlacedFiles(tmp_path, tmp_path)
    files.file.parent.mkdir(parents=True)
    lines = [{"path": path, "key": "1" * 64, "digest": "2" * 64}, {"path": "results/b", "key": "../x", "digest": "2"}]
    files.file.write_text("".join(json.dumps(line).replace("\\\\", "\\") + "\n" for line in lines))
    assert files.all() == {}


def age(store, days):
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - days * gc.DAY,) * 2)


def test_collection_spares_what_results_show(project, store, monkeypatch):
    for times, name in ((2, "kept"), (3, "gone"), (4, "copied")):
        with monkeypatch.context() as patch:
            if name == "copied":
                patch.setattr("classlens.store.store.os.link", fail)
            run_job(job_of(project, times=times, result=f"results/{name}.txt"), compute, store)
    Path("results/gone.txt").unlink()
    age(store, 2)
    assert gc.collect(store, older_than=3).records == 0
    assert gc.collect(store, dry_run=True) == gc.Collected(1, 1, 6)
    assert len(list(store.own.records())) == 3
    assert gc.collect(store) == gc.Collected(1, 1, 6)
    assert not run_job(job_of(project, result="results/kept.txt"), refuse, store)
    assert run_job(job_of(project, times=3, result="results/gone.txt"), compute, store)


def test_collection_spares_what_a_running_job_may_be_about_to_show(project, store):
    run_job(job_of(project), compute, store)
    OUT.unlink()
    for limits in ({}, {"larger_than": 0}, {"older_than": 1}):
        assert gc.collect(store, **limits) == gc.Collected(0, 0, 0)
    [path] = store.own.files("actions")
    os.utime(path, (time.time() - 3700,) * 2)
    assert gc.collect(store, dry_run=True).records == 1
    os.utime(path)
    assert gc.collect(store, older_than=0).records == 1
    # An equal result of another job comes to need the blob: it is as new as one that is moved in.
    os.utime(blobs(store)[0], (1, 1))
    (work := Path("work.txt")).write_text("abab")
    store.take("result", work)
    assert gc.collect(store, older_than=0) == gc.Collected(0, 0, 0)


def test_collection_by_size_takes_the_oldest(project, store):
    for times in (3, 4, 5):
        run_job(job_of(project, times=times), compute, store)
        age_of = store.own.action(key_of(job_of(project, times=times), store.digests).digest)
        os.utime(age_of, (time.time() - (10 - times) * gc.DAY,) * 2)
    OUT.unlink()
    for blob in blobs(store):
        os.utime(blob, (1, 1))
    assert gc.collect(store, larger_than=18) == gc.Collected(1, 1, 6)
    assert {record.parts["config"]["times"] for record in store.own.records()} == {4, 5}


def test_a_vanished_working_directory_keeps_nothing_and_a_moved_one_what_it_shows(
    project, store, tmp_path, monkeypatch
):
    run_job(job_of(project), compute, store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "working").rename("moved")
    age(store, 1)
    assert gc.collect(store) == gc.Collected(0, 0, 0)
    assert not list((store.own.path / "roots").iterdir())
    shutil.rmtree("moved")
    assert gc.collect(store) == gc.Collected(1, 1, 4)


def test_work_of_a_process_that_is_gone_goes(project, store):
    left = [WORK / "gone", WORK / "runs", Path("results/.placing-gone"), Path("results/.placing-runs")]
    (other := Path("results/a/.placing-by-hand")).mkdir(parents=True)
    (other / "file").touch()
    for folder in left:
        (folder / "layers").mkdir(parents=True)
        (folder / "layers" / "out.h5").write_text("half")
    locks = [folder.with_suffix(".lock") for folder in left]
    locks[0].touch(), locks[2].touch()
    handles = [lock.take(path) for path in locks[1::2]]
    gc.collect(store)
    assert [folder.exists() for folder in left] == [False, True, False, True]
    for handle in handles:
        os.close(handle)
    verify_workdir(store)
    assert not any(path.exists() for path in (*left, *locks))
    assert list(other.iterdir())


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three raw files of long ago, with names that a scheduler takes for values, in a working directory."""
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "raw" / name for name in ("{a}.png", "b\n.png", "<c>.png")]
    paths[0].parent.mkdir()
    for place, path in enumerate(paths):
        path.write_text(f"{place}")
        os.utime(path, (OLD, OLD + place))
    return [str(path) for path in paths]


def test_a_manifest_is_as_old_as_its_newest_file_until_a_content_changes(files, store):
    """Or a working directory whose .snakemake was deleted would make everything anew."""
    first = list_raw("photos_images", files, store)
    manifest = Path(first[1])
    assert manifest.read_text() == f"3 files\n{first[0]}\n"
    os.utime(files[0])
    assert list_raw("photos_images", files, store) == first
    assert manifest.stat().st_mtime == OLD + 2
    other = Path(files[0]).with_name("other")
    shutil.copy(files[1], other)
    os.utime(other, (1, 1))
    other.replace(files[0])
    second = list_raw("photos_images", files, store)
    assert second[0] != first[0]
    assert manifest.stat().st_mtime > OLD + 10
    assert list_raw("photos_images", files[:2], store)[0] != second[0]
    assert digest_of_raw([*files, "missing"], store) == second[0]
    assert digest_of_raw(["missing"], store) == digest_of_raw([], store) == ""


def test_files_that_are_gone_are_named(files, store):
    Path(files[1]).unlink()
    with pytest.raises(InputError, match=r"b\n\.png: there is no such file; restore it"):
        list_raw("photos_images", files, store)
    Path(files[2]).unlink()
    with pytest.raises(InputError, match=r"b\n\.png and 1 more of 3: there is no such file"):
        list_raw("photos_images", files, store)


def test_a_job_gets_the_files_themselves(files, tmp_path):
    described = {"name": "stimuli", "functions": {}, "config": {}, "local": {}, "wildcards": {}, "declared": {}}
    params = JobParams(described, key="k", raw="digest", raw_files={"raw": files})
    job = job_of_rule(params, {"raw": "manifest.txt", "table": "t.csv"}, {"table": "results/t.csv"}, tmp_path)
    assert job.inputs == {"raw": files, "table": "t.csv"}
    assert repr(params) == "stimuli k digest"  # what the scheduler compares and stores
    assert str(params) == "stimuli"


def test_records_are_readable_json(project, store):
    run_job(job_of(project), compute, store)
    [action] = store.own.files("actions")
    record = json.loads(action.read_text())
    assert record["parts"]["inputs"] == {"source": [digest_file("source.txt")]}
    assert record["sources"] == {"source": ["source.txt"]}
    assert set(record["provenance"]) >= {"commit", "started", "seconds", "host", "user", "device"}
    [(_, found, size, days)] = gc.sizes_and_ages(store.records())
    assert (found.job, size) == ("double", 4)
    assert 0 <= days < 0.1


def test_provenance_tells_where_a_job_ran_and_the_certificate_of_weights(project, store, monkeypatch):
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run_job(job_of(project), compute, store)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    told = {"text": "outputs equal transformers' own to 2e-06, 8 of 8 predictions"}
    other = job_of(project, times=3, result="results/other.txt")
    run_job(other, lambda *given: {**compute(*given), "certificate": told}, store)
    alone, on_node = (provenance_lines(f"results/{name}.txt", store) for name in ("out", "other"))
    assert re.search(r", on \S+ abacus, commit none$", alone[0])
    assert re.search(r", on \S+ \(node node7\) abacus, CUDA_VISIBLE_DEVICES=3,5, commit none$", on_node[0])
    assert f"    {told['text']}" in on_node

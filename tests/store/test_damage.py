"""Damage and replacement that sizes and times do not tell: in blobs, results and raw inputs."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_bytes, digest_file
from classlens.store.job import Job, run_job
from classlens.store.memory import FileMemory
from classlens.store.raw import digest_of_raw
from classlens.store.store import Store
from classlens.store.verify import verify_blobs, verify_results, verify_workdir

SET_ASIDE = {"results/out.txt": "results/out.txt.changed"}


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


def fail(*_, **__):
    raise OSError(errno.EXDEV, "another file system")


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
    assert verified(store) == ([blob], SET_ASIDE)
    assert verify_workdir(Store(store.root)) == []
    monkeypatch.chdir(there)
    assert verify_workdir(Store(store.root)) == ["results/out.txt"]  # which the next run there finds
    assert not Path("results/next.txt").exists()  # or a scheduler would find the work complete
    for folder in (here, there):
        monkeypatch.chdir(folder)
        assert Path("results/out.txt.changed").read_text() == "rot!"
        run_job(job_of(project), compute, store)
        assert Path("results/out.txt").read_text() == "abab"
    assert verified(store) == ([], {})


def test_a_whole_copy_of_a_bad_blob_stays(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.store.os.link", fail)
    run_job(job_of(project), compute, store)
    [blob] = (store.own.path / "blobs").glob("*/*")
    rot(blob)
    assert verified(store) == ([blob], {})
    assert Path("results/out.txt").read_text() == "abab"


def test_a_copy_that_went_bad_comes_back(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.store.os.link", fail)
    run_job(job_of(project), compute, store)
    out = Path("results/out.txt")
    rot(out)
    assert verified(store) == ([], SET_ASIDE)
    assert out.read_text() == "abab"
    assert Path("results/out.txt.changed").read_text() == "rot!"


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("older", [0, 1, 10**12])
@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_a_file_of_equal_size_and_no_newer_time_is_another(tmp_path, older, how, linked):
    file, new, memory = (
        tmp_path / "file",
        tmp_path / "new",
        FileMemory(tmp_path / "memory.sqlite", digest_file, linked=linked),
    )
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
    rot(Path("results/out.txt"))  # and the blob with it
    assert verify_workdir(store) == ["results/out.txt"]
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


@pytest.mark.usefixtures("settled")
def test_no_file_is_read_twice(project, store, monkeypatch):
    """Linking, and deleting a result, change the change time of every name of a blob."""
    read = []
    counted = lambda path: read.append(str(path)) or digest_file(path)  # noqa: E731
    monkeypatch.setattr("classlens.store.store.digest_file", counted)
    one = job_of(project)
    names = ("a", "b", "c")
    outputs = {name: f"results/{name}.txt" for name in names}
    job = Job("three", one.functions, project, {}, {}, one.inputs, outputs)

    def three(inputs, outputs, config, local):
        for path in outputs.values():
            Path(path).write_text("equal")

    assert run_job(job, three, store)
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


def test_the_digest_of_raw_inputs(store, tmp_path):
    (tmp_path / "raw").write_text("a")
    paths = [str(tmp_path / "raw"), str(tmp_path / "missing")]
    first = digest_of_raw(paths, store)
    os.utime(tmp_path / "raw", (1, 1))
    assert digest_of_raw(paths, store) == first
    (tmp_path / "raw").write_text("b")
    assert digest_of_raw(paths, store) not in ("", first)
    assert digest_of_raw(paths[1:], store) == digest_of_raw([], store) == ""

"""Damage and replacement that sizes and times do not tell: in blobs, results and raw inputs."""

import os
import shutil
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_bytes, digest_file
from classlens.store import gc, workdir
from classlens.store.job import Job, digest_of_raw, run_job
from classlens.store.memory import DigestMemory
from classlens.store.place import clear_work, put
from classlens.store.workdir import verify_workdir


def rot(path, content="rot!"):
    """Change a file's content as a failing disk does: size and modification time stay."""
    before = path.stat()
    path.chmod(0o644)
    path.write_text(content)
    assert path.stat().st_size == before.st_size
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def verified(store):
    damaged = gc.verify(store)
    return damaged, gc.verify_results(store, damaged)


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
    damaged, changed = verified(store)
    assert damaged == [blob]
    assert changed == {here / "results/out.txt": True, there / "results/out.txt": True}
    assert not (there / "results/next.txt").exists()  # or a scheduler would find the work complete
    for folder in (here, there):
        monkeypatch.chdir(folder)
        assert Path("results/out.txt.changed").read_text() == "rot!"
        assert verify_workdir(store.root, folder) == []
        run_job(job_of(project), compute, store)
        assert Path("results/out.txt").read_text() == "abab"
    assert verified(store) == ([], {})


def test_a_whole_copy_of_a_bad_blob_stays(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.place._link", lambda *_: False)
    run_job(job_of(project), compute, store)
    [blob] = (store.own.path / "blobs").glob("*/*")
    rot(blob)
    assert verified(store) == ([blob], {})
    assert Path("results/out.txt").read_text() == "abab"


def test_a_copy_that_went_bad_comes_back(project, store, monkeypatch):
    monkeypatch.setattr("classlens.store.place._link", lambda *_: False)
    run_job(job_of(project), compute, store)
    out = Path("results/out.txt")
    rot(out)
    assert verified(store) == ([], {out.absolute(): True})
    assert out.read_text() == "abab"
    assert Path("results/out.txt.changed").read_text() == "rot!"


def test_results_of_anothers_directory_are_left_alone(project, store, tmp_path, monkeypatch):
    """Whoever owns a directory decides where its results/ leads."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    run_job(job_of(project), compute, store)
    os.chown(Path.cwd(), 12345, -1)
    monkeypatch.chdir(tmp_path)
    [blob] = (store.own.path / "blobs").glob("*/*")
    rot(blob)
    assert verified(store) == ([blob], {})
    assert (tmp_path / "working/results/out.txt").exists()


def test_a_copy_of_another_directory_comes_back_while_that_is_cleared(project, store, tmp_path, monkeypatch):
    """A collection there may meet the folder in which the content is made ready."""
    there = Path.cwd()
    run_job(job_of(project), compute, store)
    Path("results/out.txt").unlink()
    Path("results/out.txt").write_text("edited")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workdir, "put", lambda *arguments: (clear_work(there), put(*arguments)))
    assert workdir.set_aside(store, there, ["results/out.txt"]) == [there / "results/out.txt"]
    assert (there / "results/out.txt").read_text() == "abab"


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("older", [0, 1, 10**12])
@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_a_file_of_equal_size_and_no_newer_time_is_another(tmp_path, older, how):
    file, new, memory = tmp_path / "file", tmp_path / "new", DigestMemory(tmp_path / "memory.sqlite")
    file.write_text("a")
    assert memory.digest(file) == digest_bytes(b"a")
    before = file.stat()
    (file if how == "in place" else new).write_text("b")
    if how == "renamed":
        new.replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns - older))
    assert memory.digest(file) == digest_bytes(b"b")
    assert memory.digest(file, linked=True) == digest_bytes(b"b")


@pytest.mark.usefixtures("settled")
def test_a_result_edited_with_its_time_set_back_is_noticed(project, store):
    run_job(job_of(project), compute, store)
    rot(Path("results/out.txt"))  # and the blob with it
    assert verify_workdir(store.root, Path.cwd()) == [Path.cwd() / "results/out.txt"]
    assert run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


@pytest.mark.usefixtures("settled")
def test_no_file_is_read_twice(project, store, monkeypatch):
    """Linking, and deleting a result, change the change time of every name of a blob."""
    read = []
    counted = lambda path: read.append(str(path)) or digest_file(path)  # noqa: E731
    monkeypatch.setattr("classlens.store.memory.digest_file", counted)
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
        assert verify_workdir(store.root, Path.cwd()) == []
        Path(outputs["a"]).unlink()
        assert verify_workdir(store.root, Path.cwd()) == []
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

"""A store shared by a group, one that may only be read, and full disks.

Root ignores modes, so other users are played by forked processes that give root's rights up.
"""

import logging
import multiprocessing
import os
import shutil
import stat
import subprocess
import tempfile
import traceback
from pathlib import Path

import pytest
from double_job import DOUBLE, compute, job_of, refuse

from classlens.errors import InputError
from classlens.store import gc
from classlens.store.job import is_stored, run_job
from classlens.store.key import code_key
from classlens.store.store import Store
from classlens.store.workdir import verify_workdir
from classlens.store.workspace import work_folder

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
GROUP, ANNA, BERT = 54320, 54321, 54322


@pytest.fixture
def ground():
    """A folder that every user can get into; holds a project, a store and a working directory for each user."""
    folder = Path(tempfile.mkdtemp(prefix="classlens-test-"))
    (folder / "project/classlens").mkdir(parents=True)
    (folder / "project/classlens/__init__.py").touch()
    (folder / "project/classlens/double.py").write_text(DOUBLE)
    (folder / "store").mkdir()
    os.chown(folder / "store", ANNA, GROUP)
    (folder / "store").chmod(0o2775)
    for user in (ANNA, BERT):
        (folder / str(user)).mkdir()
        (folder / str(user) / "source.txt").write_text("ab")
        os.chown(folder / str(user), user, GROUP)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user, ground, function, group=GROUP):
    """Call function(store) in a user's working directory under umask 077; return its value and what was logged."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def play():
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger().addHandler(handler)
        # The store's group is none's first one: what is moved there has to be given to it.
        os.setgroups([group])
        os.setgid(user)
        os.setuid(user)
        os.umask(0o077)
        os.chdir(ground / str(user))
        try:
            answers.put((function(Store(ground / "store")), said))
        except InputError as error:
            answers.put((error, said))
        except BaseException:
            answers.put((traceback.format_exc(), said))

    child = context.Process(target=play)
    child.start()
    answer = answers.get()
    child.join()
    return answer


def run_in(ground, times=2, work=compute):
    """Return what runs a job of the project."""
    return lambda store: run_job(job_of(ground / "project", times=times), work, store)


@needs_root
def test_a_group_shares_a_store_under_any_umask(ground):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    modes = {
        path.relative_to(ground / "store"): stat.S_IMODE(path.stat().st_mode) for path in (ground / "store").rglob("*")
    }
    assert {path.parts[0] for path in modes} == {"actions", "blobs", "locks", "roots", f"u{ANNA}"}
    for path, mode in modes.items():
        if path.parts[0] == f"u{ANNA}":
            assert not mode & 0o022
            continue
        expected = {".lock": 0o666, ".json": 0o644, ".jsonl": 0o644, "": 0o444}[path.suffix]
        assert mode == (0o2775 if (ground / "store" / path).is_dir() else expected), path
    shared = [path for path in (ground / "store").rglob("*") if f"u{ANNA}" not in path.parts]
    assert {path.stat().st_gid for path in shared} == {GROUP}
    assert as_user(BERT, ground, run_in(ground, work=refuse)) == (False, [])
    assert as_user(BERT, ground, run_in(ground, times=3)) == (True, [])
    assert as_user(ANNA, ground, run_in(ground, times=3, work=refuse)) == (False, [])
    assert as_user(BERT, ground, lambda store: verify_workdir(store.root, Path.cwd())) == ([], [])

    # BERT may take ANNA's record that nothing shows any more, and what she left of one.
    [record, *_] = (ground / "store/actions").glob("*/*.json")
    left = record.with_name(".new-killed")
    left.touch()
    os.utime(left, (1, 1))
    shutil.rmtree(ground / str(ANNA))
    assert as_user(BERT, ground, lambda store: gc.collect(store, older_than=0).records)[0] == 1
    assert not left.exists()


@needs_root
def test_hits_of_a_store_that_may_only_be_read(ground):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    for path in [ground / "store", *(ground / "store").rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o755)

    def hits(store):
        project = ground / "project"
        jobs = [job_of(project, result=f"results/{name}.txt") for name in "ab"]
        stored = [is_stored(job, store, code_key(job.functions, project)) for job in jobs]
        return stored, [run_job(job, refuse, store) for job in jobs], verify_workdir(store.root, Path.cwd())

    found, said = as_user(BERT, ground, hits, group=BERT)
    assert found == ([True, True], [False, False], [])
    assert (ground / str(BERT) / "results/b.txt").read_text() == "abab"
    assert len([line for line in said if "cannot note what is used of it" in line]) == 1
    error, _ = as_user(BERT, ground, run_in(ground, times=3), group=BERT)
    assert isinstance(error, InputError), error
    store = ground / "store"
    assert str(error).startswith(f"{store}/locks/")
    assert f"permission denied; {store}/locks has owner {ANNA} and mode 0755; you are {BERT}; ask its owner" in str(
        error
    )
    assert "CLASSLENS_STORE" in str(error)
    for path in store.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    error, _ = as_user(BERT, ground, run_in(ground), group=BERT)
    assert "permission denied" in str(error)


@needs_root
def test_a_working_directory_that_may_not_be_written_to(ground):
    (ground / str(ANNA) / "results").mkdir()
    error, _ = as_user(ANNA, ground, run_in(ground))
    results = ground / str(ANNA) / "results"
    assert isinstance(error, InputError), error
    assert str(error).startswith(f"{results}/")
    assert f"{results} has owner root and mode 0755; you are {ANNA}; ask its owner for access, or change" in str(error)
    results.rmdir()
    (ground / str(ANNA) / "source.txt").chmod(0o600)
    error, _ = as_user(ANNA, ground, run_in(ground))
    assert "source.txt has owner root and mode 0600" in str(error)


@pytest.fixture
def small(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def large(inputs, outputs, config, local):
    Path(outputs["result"]).write_bytes(b"x" * 2_000_000)


def test_a_store_on_a_full_disk(project, small):
    store = Store(small / "store")
    with pytest.raises(
        InputError, match=rf"the disk of {store.root} is full: 2,000,000 bytes are needed, .* another store"
    ):
        run_job(job_of(project), large, store)
    assert list(store.records()) == []
    assert not Path("results/out.txt").exists()
    assert run_job(job_of(project), compute, store)


def test_work_on_a_full_disk(project, store, small):
    (small / "work").mkdir()
    work_folder().parent.mkdir(parents=True, exist_ok=True)
    work_folder().symlink_to(small / "work")
    with pytest.raises(InputError, match=rf"the disk of {work_folder()} is full: .* work in another directory"):
        run_job(job_of(project), large, store)
    assert list(store.records()) == []
    assert list((small / "work").iterdir()) == []
    assert run_job(job_of(project), compute, store)


def test_results_on_a_full_disk(project, store, small):
    job = job_of(project, result=str(small / "results/out.txt"))
    with pytest.raises(
        InputError, match=rf"the disk of {small}/results is full: 2,000,000 bytes are needed, .* are fr"
    ):
        run_job(job, large, store)
    assert list((small / "results").iterdir()) == []
    assert not run_job(job_of(project), refuse, store)  # elsewhere, from the store

"""A store shared by a group, one that may only be read, and full disks.

Root ignores modes, so other users are played by forked processes that give root's rights up.
"""

import json
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
from classlens.store.folder import MOST_BYTES, Folder
from classlens.store.job import is_stored, run_job
from classlens.store.key import code_key
from classlens.store.store import Store
from classlens.store.verify import verify_blobs, verify_workdir
from classlens.store.workdir import WORK

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
def test_users_share_a_store_and_each_writes_to_a_folder_alone(ground):
    assert as_user(ANNA, ground, run_in(ground)) == (True, [])
    annas, berts = (ground / f"store/u{user}" for user in (ANNA, BERT))
    for path in [annas, *annas.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o022 == 0, path
        assert "roots" in path.parts or path.suffix in (".lock", ".sqlite") or mode & 0o444 == 0o444, path
    before = state(annas)
    assert as_user(BERT, ground, run_in(ground, work=refuse)) == (False, [])
    assert state(annas) == before
    out = ground / str(BERT) / "results/out.txt"
    assert (out.stat().st_nlink, out.stat().st_uid) == (1, BERT)  # a copy, which its first owner cannot write to
    assert as_user(BERT, ground, run_in(ground, times=3)) == (True, [])
    assert as_user(ANNA, ground, run_in(ground, times=3, work=refuse)) == (False, [])
    assert as_user(BERT, ground, lambda store: verify_workdir(store)) == ([], [])
    seen = as_user(
        ANNA, ground, lambda store: sorted((folder.is_own, record.key) for folder, record in store.records())
    )
    assert [is_own for is_own, _ in seen[0]] == [False, True]
    # Collection is of one's own folder; a result stays when its first owner goes.
    out.unlink()
    assert as_user(BERT, ground, run_in(ground, work=refuse)) == (False, [])
    assert as_user(BERT, ground, lambda store: gc.collect(store, older_than=0))[0] == gc.Collected(1, 0, 0)
    assert state(annas).keys() == before.keys()
    shutil.rmtree(annas)
    assert as_user(BERT, ground, verify_workdir) == ([], [])
    assert out.read_text() == "abab"
    assert not list(berts.glob("actions/*/*"))


def state(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@needs_root
def test_two_users_in_one_working_directory(ground):
    both = ground / "both"
    both.mkdir()
    (both / "source.txt").write_text("ab")
    os.chown(both, ANNA, GROUP)
    both.chmod(0o2775)

    def run(times):
        def work(store):
            os.umask(0o002), os.chdir(both)
            store = Store(store.root)
            run_job(job_of(ground / "project", times=times, result=f"results/{times}.txt"), compute, store)
            return sorted(store.placed().all()), verify_workdir(store)

        return work

    assert as_user(ANNA, ground, run(2)) == ((["results/2.txt"], []), [])
    assert as_user(BERT, ground, run(3)) == ((["results/2.txt", "results/3.txt"], []), [])
    assert as_user(ANNA, ground, run(4)) == ((["results/2.txt", "results/3.txt", "results/4.txt"], []), [])


@needs_root
def test_hits_of_a_store_that_may_only_be_read(ground):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    (ground / "store").chmod(0o755)

    def hits(store):
        project = ground / "project"
        jobs = [job_of(project, result=f"results/{name}.txt") for name in "ab"]
        stored = [is_stored(job, store, code_key(job.functions, project)) for job in jobs]
        return stored, [run_job(job, refuse, store) for job in jobs], verify_workdir(store)

    found, said = as_user(BERT, ground, hits, group=BERT)
    assert found == ([True, True], [False, False], [])
    assert (ground / str(BERT) / "results/b.txt").read_text() == "abab"
    assert said == []
    error, _ = as_user(BERT, ground, run_in(ground, times=3), group=BERT)
    assert isinstance(error, InputError), error
    store = ground / "store"
    assert str(error).startswith(
        f"{store}/u{BERT}: permission denied; {store} has owner {ANNA} and mode 0755; you are {BERT}; ask"
    )
    assert "CLASSLENS_STORE" in str(error)
    (ground / "store").chmod(0o700)
    error, _ = as_user(BERT, ground, run_in(ground), group=BERT)
    assert "permission denied" in str(error)


@needs_root
def test_a_folder_of_ones_own_that_others_prepared(ground):
    berts = ground / f"store/u{BERT}"
    for make in (lambda: berts.mkdir(), lambda: berts.symlink_to(ground / str(ANNA)), berts.touch):
        make()
        error, _ = as_user(BERT, ground, run_in(ground))
        assert f"{berts} must be a folder of yours to which nobody else may write: remove it" in str(error)
        berts.rmdir() if berts.is_dir() and not berts.is_symlink() else berts.unlink()
    assert as_user(BERT, ground, run_in(ground)) == (True, [])


@needs_root
def test_a_hostile_folder_of_another_user(ground):
    """Hits from honest entries; else it is passed over and named, nothing outside is touched, the rest computed."""
    for times in range(2, 13):
        assert as_user(ANNA, ground, run_in(ground, times=times))[0] is True
    annas = Folder(ground / f"store/u{ANNA}", is_own=False)
    made = {record.parts["config"]["times"]: record for record in annas.records()}
    letter = ground / "letter.txt"
    letter.write_text("precious")
    letter.chmod(0o644)
    os.utime(letter, (1, 1))
    blob = lambda times: annas.blob(made[times].outputs[0].digest)  # noqa: E731
    action = lambda times: annas.action(made[times].key)  # noqa: E731

    def edit(times, **changes):
        said = json.loads(action(times).read_text())
        action(times).write_text(json.dumps(said | changes))

    edit(3, outputs=[{"name": "result", "digest": "../../../letter.txt", "size": 8}])
    edit(4, sources={"source": [["x"]]}, provenance={"seconds": 10**400})
    action(5).unlink(), action(5).symlink_to(letter)
    blob(6).unlink(), blob(6).symlink_to(letter)
    blob(7).unlink(), os.mkfifo(blob(7))
    blob(8).chmod(0o644), blob(8).write_text("evil" * 4)  # of the same size
    action(9).unlink(), action(9).mkdir()
    action(10).write_text("[" * 100_000)
    os.truncate(action(11), MOST_BYTES + 1)
    edit(12, key="1" * 64)
    posing = ground / "store/u54399"  # of a user whose number it has not
    shutil.copytree(annas.path / "actions", posing / "actions", symlinks=True)
    before = {path: (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in [letter, *annas.path.rglob("*")]}

    def runs(store):
        project = ground / "project"
        jobs = {times: job_of(project, times=times, result=f"results/{times}.txt") for times in range(2, 13)}
        computed = {times: run_job(job, compute, store) for times, job in jobs.items()}
        verify_blobs(store), gc.collect(store, older_than=0), list(gc.sizes_and_ages(store.records()))
        return computed

    computed, said = as_user(BERT, ground, runs)
    assert computed == {times: times != 2 for times in range(2, 13)}
    for times in range(2, 13):
        assert (ground / str(BERT) / f"results/{times}.txt").read_text() == "ab" * times
    assert before == {path: (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in before}
    for path in (action(3), action(5), blob(6), blob(7), blob(8), action(9), action(10), action(11), action(12)):
        assert any(str(path) in line for line in said), path


@needs_root
@pytest.mark.parametrize("private", [".", "actions", "blobs"])
def test_what_another_user_keeps_private_is_passed_over(ground, private):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    (ground / f"store/u{ANNA}" / private).chmod(0o700)
    records, said = as_user(BERT, ground, lambda store: list(store.records()))
    assert len(records) == (private == "blobs")
    assert private == "blobs" or any(f"store/u{ANNA}" in line and "passed over" in line for line in said)
    assert as_user(BERT, ground, run_in(ground))[0] is True


@needs_root
def test_a_shard_folder_that_is_a_link_leads_nowhere(ground):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    [action] = (ground / f"store/u{ANNA}/actions").glob("*/*")
    action.parent.rename(ground / "away")
    action.parent.symlink_to(ground / "away")
    computed, said = as_user(BERT, ground, run_in(ground))
    assert computed is True
    assert any(f"{action} is no plain file" in line for line in said)


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
    assert list(store.own.records()) == []
    assert not Path("results/out.txt").exists()
    assert run_job(job_of(project), compute, store)


def test_work_on_a_full_disk(project, store, small):
    (small / "work").mkdir()
    WORK.parent.mkdir(parents=True, exist_ok=True)
    WORK.symlink_to(small / "work")
    with pytest.raises(InputError, match=rf"the disk of {WORK.absolute()} is full: .* work in another directory"):
        run_job(job_of(project), large, store)
    assert list(store.own.records()) == []
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

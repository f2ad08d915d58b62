"""A store shared by a group, one that may only be read, one of the layout before this, and full disks.

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
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import DOUBLE, compute, job_of, refuse

from classlens.cli import layout_before
from classlens.errors import InputError
from classlens.store import gc
from classlens.store.explain import explain, provenance_lines
from classlens.store.folder import MOST_BYTES, Folder
from classlens.store.job import is_stored, run_job
from classlens.store.key import code_key
from classlens.store.store import Store
from classlens.store.verify import changed_results, verify_blobs, verify_workdir
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
    for name, user, mode in (("store", ANNA, 0o2775), (ANNA, ANNA, 0o755), (BERT, BERT, 0o755), ("both", ANNA, 0o2775)):
        place = folder / str(name)
        place.mkdir()
        (place / "source.txt").write_text("ab")
        os.chown(place, user, GROUP)
        place.chmod(mode)
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
        except BaseException as error:
            answers.put((error if isinstance(error, InputError) else traceback.format_exc(), said))

    child = context.Process(target=play)
    child.start()
    answer = answers.get()
    child.join()
    return answer


def run_in(ground, times=2, work=compute):
    """Return what runs a job of the project."""
    return lambda store: run_job(job_of(ground / "project", times=times), work, store)


def state(folder):
    """What nobody but its owner may change of a folder."""
    return {path: (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


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
    assert as_user(BERT, ground, verify_workdir) == ([], [])
    whose = as_user(BERT, ground, lambda store: [folder.is_own for folder, _ in store.records()])
    assert whose == ([True, False], [])
    # Collection is of one's own folder; a result stays when its first owner goes.
    out.unlink()
    assert as_user(BERT, ground, run_in(ground, work=refuse)) == (False, [])
    assert as_user(BERT, ground, lambda store: gc.collect(store, older_than=0))[0] == gc.Collected(1, 0, 0)
    assert state(annas).keys() == before.keys()
    shutil.rmtree(annas)
    assert as_user(BERT, ground, verify_workdir) == ([], [])
    assert out.read_text() == "abab"
    assert not list(berts.glob("actions/*/*"))


@needs_root
def test_two_users_in_one_working_directory(ground):
    def run(times):
        def work(store):
            os.umask(0o002), os.chdir(ground / "both")
            store = Store(store.root)
            run_job(job_of(ground / "project", times=times, result=f"results/{times}.txt"), compute, store)
            return sorted(store.placed().all()), verify_workdir(store)

        return work

    results = []
    for user, times in ((ANNA, 2), (BERT, 3), (ANNA, 4)):
        results.append(f"results/{times}.txt")
        assert as_user(user, ground, run(times)) == ((results, []), [])


@needs_root
def test_hits_of_a_store_that_may_only_be_read(ground):
    assert as_user(ANNA, ground, run_in(ground))[0] is True
    store = ground / "store"
    store.chmod(0o755)

    def hits(store):
        project = ground / "project"
        jobs = [job_of(project, result=f"results/{name}.txt") for name in "ab"]
        stored = [is_stored(job, store, code_key(job.functions, project)) for job in jobs]
        return stored, [run_job(job, refuse, store) for job in jobs], verify_workdir(store)

    assert as_user(BERT, ground, hits, group=BERT) == (([True, True], [False, False], []), [])
    assert (ground / str(BERT) / "results/b.txt").read_text() == "abab"
    error, _ = as_user(BERT, ground, run_in(ground, times=3), group=BERT)
    assert isinstance(error, InputError), error
    assert str(error).startswith(
        f"{store}/u{BERT}: permission denied; {store} has owner {ANNA} and mode 0755; you are {BERT}; ask"
    )
    assert "CLASSLENS_STORE" in str(error)
    store.chmod(0o700)
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
    assert as_user(ANNA, ground, lambda store: [run_in(ground, times=n)(store) for n in range(2, 14)])[0] == [True] * 12
    annas = Folder(ground / f"store/u{ANNA}", is_own=False)
    made = {record.parts["config"]["times"]: record for record in annas.records()}
    letter = ground / "letter.txt"
    letter.write_text("precious")
    os.utime(letter, (1, 1))
    blob = lambda times: annas.blob(made[times].outputs[0].digest)  # noqa: E731
    action = lambda times: annas.action(made[times].key)  # noqa: E731

    def edit(times, **changes):
        action(times).write_text(json.dumps(json.loads(action(times).read_text()) | changes))

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
    action(13).parent.rename(ground / "away"), action(13).parent.symlink_to(ground / "away")
    posing = ground / "store/u54399"  # of a user whose number it has not
    shutil.copytree(annas.path / "actions", posing / "actions", symlinks=True)
    before = letter.stat(), state(annas.path)

    def runs(store):
        project = ground / "project"
        jobs = {times: job_of(project, times=times, result=f"results/{times}.txt") for times in range(2, 14)}
        computed = {times: run_job(job, compute, store) for times, job in jobs.items()}
        verify_blobs(store), gc.collect(store, older_than=0), list(gc.sizes_and_ages(store.records()))
        return computed

    computed, said = as_user(BERT, ground, runs)
    moved = {times for times in made if action(times).parent == action(13).parent}
    assert computed == {times: times != 2 or times in moved for times in range(2, 14)}
    for times in range(2, 14):
        assert (ground / str(BERT) / f"results/{times}.txt").read_text() == "ab" * times
    assert before == (letter.stat(), state(annas.path))
    for path in (action(3), action(5), blob(6), blob(7), blob(8), *map(action, range(9, 14))):
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
def test_a_working_directory_that_may_not_be_written_to(ground):
    results = ground / str(ANNA) / "results"
    results.mkdir()
    error, _ = as_user(ANNA, ground, run_in(ground))
    assert isinstance(error, InputError), error
    assert str(error).startswith(f"{results}/")
    assert f"{results} has owner root and mode 0755; you are {ANNA}; ask its owner for access, or change" in str(error)
    results.rmdir()
    (ground / str(ANNA) / "source.txt").chmod(0o600)
    error, _ = as_user(ANNA, ground, run_in(ground))
    assert "source.txt has owner root and mode 0600" in str(error)


@pytest.fixture
def before(project, store):
    """A result in a store whose users all wrote to the same folders; the list of results that lies there."""
    run_job(job_of(project), compute, store)
    placed = store.placed()
    lines = [{"working": str(Path.cwd())}, *({"path": path, **vars(one)} for path, one in placed.all().items())]
    for kind in ("actions", "blobs"):
        (store.own.path / kind).rename(store.root / kind)
    shutil.rmtree(store.own.path)
    placed.file.unlink()
    file = store.root / "roots" / f"{placed.id}.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_hits_explain_and_provenance(project, before, store, tmp_path):
    (tmp_path / "link").symlink_to(store.root)
    store = Store(tmp_path / "link")
    assert [folder.is_own for folder, _ in store.records()] == [False]
    key = replace(code_key(job_of(project).functions, project), config={"times": 2})
    verdict = explain("results/out.txt", store, lambda *_: key)
    assert (verdict.state, verdict.record.job) == ("fresh", "double")
    assert provenance_lines("results/out.txt", store)[0].startswith("results/out.txt  by double, ")
    assert changed_results(store) == []
    [blob] = (store.root / "blobs").glob("*/*")
    assert not run_job(job_of(project, result="results/again.txt"), refuse, store)
    assert set(store.placed().all()) == {"results/out.txt", "results/again.txt"}
    assert not Path("results/again.txt").samefile(blob)  # others may write to it
    assert blob.stat().st_nlink == 2  # with results/out.txt
    gc.collect(store, older_than=0)
    assert blob.exists()
    assert verify_workdir(store) == []


def test_a_list_that_others_could_write_is_not_read(project, before, store):
    before.chmod(0o666)
    assert store.placed().all() == {}
    before.chmod(0o644)
    assert set(store.placed().all()) == {"results/out.txt"}
    if os.getuid() == 0:
        os.chown(before, 12345, -1)
        assert store.placed().all() == {}


def test_it_is_moved_as_collection_says_and_what_is_shown_stays(project, before, store):
    """The working directory of a result need not have run since."""
    key = next(iter(store.placed().all().values())).key
    store = Store(store.root)
    assert store.others
    subprocess.run(layout_before(store).partition(" by: ")[2], shell=True, check=True)
    store = Store(store.root)
    assert not store.others
    for path in store.own.path.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store) == gc.Collected(0, 0, 0)
    [record] = store.own.records()
    assert record.key == key
    assert not run_job(job_of(project), refuse, store)
    assert Path("results/out.txt").samefile(store.own.blob(record.outputs[0].digest))
    Path("results/out.txt").unlink()
    for path in store.own.path.rglob("*"):
        os.utime(path, (1, 1))
    assert gc.collect(store) == gc.Collected(1, 1, 4)


@pytest.fixture
def small(tmp_path):
    """A file system of 1 MB."""
    (folder := tmp_path / "small").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def large(inputs, outputs, config, local):
    Path(outputs["result"]).write_bytes(b"x" * 2_000_000)


@pytest.mark.parametrize("place", ["store", "work", "results"])
def test_full_disks(project, tmp_path, small, place):
    store, out = Store((small if place == "store" else tmp_path) / "store"), Path("results/out.txt")
    WORK.parent.mkdir(parents=True)
    if place == "work":
        WORK.symlink_to(small)
    if place == "results":
        Path("results").symlink_to(small)
    told = {
        "store": rf"the disk of {store.root} is full: 2,000,000 bytes are needed, .* another store",
        "work": rf"the disk of {WORK.absolute()} is full: .* work in another directory",
        "results": r"the disk of \S+/results is full: 2,000,000 bytes are needed, .* are fr",
    }
    with pytest.raises(InputError, match=told[place]):
        run_job(job_of(project), large, store)
    assert not out.exists()
    assert len(list(store.own.records())) == (place == "results")
    assert place == "store" or not list(small.iterdir())
    assert run_job(job_of(project, times=3), compute, store)
    assert out.read_text() == "ababab"

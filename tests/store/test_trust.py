"""A shared store as hostile ground: whatever others write into it, no file outside of store and results/ is touched.

All decoys lie in the test's own folder.
"""

import json
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from double_job import compute, job_of, refuse

from classlens.digest import digest_bytes
from classlens.errors import InputError
from classlens.store import gc
from classlens.store.job import key_of, run_job
from classlens.store.roots import Root
from classlens.store.store import Store
from classlens.store.trust import results_of
from classlens.store.workdir import verify_workdir
from classlens.store.workspace import work_folder

KEY, CONTENT = "1" * 64, b"of an attacker"


@pytest.fixture
def decoys(tmp_path):
    """Files of the victim, none of which may change; yields their folder."""
    folder = tmp_path / "decoys"
    (folder / "old").mkdir(parents=True)
    for name in ("letter.txt", "letter.json", f"{KEY}.json", "old/photo", f"old/{digest_bytes(b'other')}"):
        (folder / name).write_text(f"precious {name}")
    for path in (folder / "old/photo", folder / "old", folder):
        os.utime(path, (1, 1))
    before = state(folder)
    yield folder
    assert state(folder) == before


def state(folder):
    return {path: (path.read_bytes(), path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def attacked(project, store):
    """A store with one result, and the path of its record."""
    run_job(job_of(project), compute, store)
    [action] = (store.root / "actions").glob("*/*.json")
    return action


def edit(action, change):
    record = json.loads(action.read_text())
    change(record)
    action.write_text(json.dumps(record))


def up_to(path, start):
    return os.path.relpath(path, start)


def test_a_digest_is_no_path(project, store, decoys, attacked, caplog):
    """A digest with ../ in it made the look-up remove its target as damaged."""
    target = up_to(decoys / "letter.txt", store.root / "blobs" / "..")
    for digest in (target, str(decoys / "letter.txt"), "A" * 64, "1" * 63, "1" * 64 + "\n", None, 7):
        edit(attacked, lambda record, digest=digest: record["outputs"][0].update(digest=digest))
        assert store.find(attacked.stem) is None
        assert "damaged" in caplog.text
        assert list(store.records()) == []
        gc.collect(store)
        assert run_job(job_of(project), compute, store)
        with pytest.raises(ValueError, match="no digest"):
            store.intact(digest)


@pytest.mark.parametrize("part", ["key", "outputs", "parts", "sources", "wildcards", "provenance", "job"])
@pytest.mark.parametrize("value", [None, [], {}, 3, "../x", [{"name": "result"}], {"inputs": {"source": ["../x"]}}])
def test_a_record_with_anything_in_it_is_made_anew(project, store, attacked, part, value):
    edit(attacked, lambda record: record.update({part: value}))
    acceptable = part in ("wildcards", "provenance") or (part == "job" and value == "../x")
    found = list(store.records())
    assert acceptable or not found or run_job(job_of(project), compute, store)
    gc.collect(store)
    gc.verify(store)
    run_job(job_of(project), compute, store)
    assert Path("results/out.txt").read_text() == "abab"


@pytest.mark.parametrize(
    "times", [{"started": "yesterday"}, {"seconds": "long"}, {"seconds": None}, {"seconds": math.nan}]
)
def test_a_record_whose_times_are_none_is_made_anew(project, store, attacked, times, caplog):
    """They are noted of results that are linked before jobs are planned."""
    edit(attacked, lambda record: record["provenance"].update(times))
    assert store.find(attacked.stem) is None
    assert "damaged" in caplog.text
    assert run_job(job_of(project), compute, store)


def test_a_records_key_is_no_file_name(store, decoys, attacked):
    """Collection took the key in a record for a name and removed <anything>.json."""
    Path("results/out.txt").unlink()
    os.utime(attacked, (1, 1))
    for key in (up_to(decoys / "letter", attacked.parent), str(decoys / "letter"), KEY):
        edit(attacked, lambda record, key=key: record.update(key=key))
        os.utime(attacked, (1, 1))
        gc.collect(store)
        assert attacked.exists()  # not what it says it is, so it is nobody's


def plant(store, working, entries, mode=0o644):
    """Write a list of results for a working directory, as someone else could, with the attacker's blob."""
    blob = store.blob(digest_bytes(CONTENT))
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(CONTENT)
    lines = [{"working": str(working)}]
    lines += [{"path": str(path), "key": KEY, "digest": digest_bytes(CONTENT)} for path in entries]
    file = store.roots(working)._file
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file.chmod(mode)
    return file


def test_listed_paths_stay_in_results(store, decoys, tmp_path, monkeypatch):
    """Entries with absolute paths or ../ were overwritten by the look over results, even in a dry run."""
    working = tmp_path / "working"
    (working / "results").mkdir(parents=True, exist_ok=True)
    (working / "results/link").symlink_to(decoys)
    (working / "notes.txt").write_text("mine")
    monkeypatch.chdir(working)
    letter = decoys / "letter.txt"
    outside = [
        *(letter, up_to(letter, working), f"results/{up_to(letter, working / 'results')}", "results/link/letter.txt"),
        *(
            "notes.txt",
            "./results/../notes.txt",
            "results",
            "",
            ".",
            "results/",
            7,
            None,
            ["results/a"],
            "results/a\0b",
        ),
    ]
    plant(store, working, outside)
    assert store.roots(working).all() == {}
    assert verify_workdir(store.root, working) == []
    assert (working / "notes.txt").read_text() == "mine"
    assert not list(working.rglob("*.changed"))
    # The same list at work on a file that it may name.
    (working / "results/a").write_text("edited")
    plant(store, working, ["results/a"])
    assert verify_workdir(store.root, working) == [working / "results/a"]


def test_results_may_be_a_link_to_another_disk(tmp_path):
    (tmp_path / "scratch/sub").mkdir(parents=True)
    (tmp_path / "working").mkdir()
    (tmp_path / "working/results").symlink_to(tmp_path / "scratch")
    is_result = results_of(tmp_path / "working")
    assert is_result("results/sub/x")
    assert is_result("results/new/x")
    assert not is_result("results2/x")


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_list_that_others_may_write_is_not_followed(store, tmp_path, mode, monkeypatch, caplog):
    working = tmp_path / "working"
    (working / "results").mkdir(parents=True, exist_ok=True)
    (working / "results/a").write_text("mine")
    monkeypatch.chdir(working)
    file = plant(store, working, ["results/a"], mode)
    assert verify_workdir(store.root, working) == []
    assert (working / "results/a").read_text() == "mine"
    assert "not followed" in caplog.text
    store.roots(working).add({"results/b": Root(KEY, KEY)})
    assert set(store.roots(working).all()) == {"results/b"}
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_another_users_list_is_not_followed(store, tmp_path, monkeypatch):
    working = tmp_path / "working"
    (working / "results").mkdir(parents=True, exist_ok=True)
    (working / "results/a").write_text("mine")
    monkeypatch.chdir(working)
    os.chown(plant(store, working, ["results/a"]), 12345, 12345)
    assert verify_workdir(store.root, working) == []
    # Nor are those of other directories, where results that were moved here are recognised.
    file = plant(store, tmp_path / "elsewhere", ["results/a"])
    (working / "results/a").write_bytes(CONTENT)
    os.chown(file, 12345, 12345)
    store.roots(working).forget()
    verify_workdir(store.root, working)
    assert store.roots(working).all() == {}
    os.chown(file, os.getuid(), -1)
    verify_workdir(store.root, working)
    assert set(store.roots(working).all()) == {"results/a"}


@pytest.mark.parametrize("folder", ["blobs", "actions", "roots", "blobs/{}", "actions/{}"])
def test_a_folder_that_is_a_link_is_refused(project, store, decoys, attacked, folder):
    """Verification and collection would go through it and remove what is there."""
    record = store.find(attacked.stem)
    shard = {"blobs": record.outputs[0].digest, "actions": record.key}.get(folder.partition("/")[0], "")[:2]
    place = store.root / folder.format(shard)
    if place.exists():
        shutil.rmtree(place)
    place.symlink_to(decoys)

    for look in (gc.verify, gc.collect, lambda store: verify_workdir(store.root, Path.cwd())):
        with suppress(InputError):
            look(store)

    def a_hit_and_a_miss():
        for times in (2, 3):
            run_job(job_of(project, times=times), compute, store)

    with pytest.raises(InputError, match=f"{place} is a link"):
        a_hit_and_a_miss()


def test_links_pipes_and_folders_are_no_blobs_and_no_records(project, store, decoys, attacked, caplog):
    [blob] = (store.root / "blobs").glob("*/*")
    before = state(decoys)

    def link(place):
        place.symlink_to(decoys / "letter.txt")

    def folder(place):
        (place / "sub").mkdir(parents=True)

    for make in (link, folder, os.mkfifo):
        for place in (blob, attacked):
            (shutil.rmtree if place.is_dir() else os.unlink)(place)
            make(place)
            assert gc.verify(store) == []
            gc.collect(store)
            assert run_job(job_of(project), compute, store)
            assert Path("results/out.txt").read_text() == "abab"
            assert place.is_file()
    assert "is no file; it is set aside" in caplog.text
    assert state(decoys) == before


def test_locks_that_are_links_truncate_nothing(project, store, decoys):
    key = key_of(job_of(project), store).digest
    (store.root / "locks").mkdir(parents=True)
    (store.root / "locks" / f"{key}.lock").symlink_to(decoys / "letter.txt")
    with pytest.raises(InputError, match=f"{key}.lock: .* a store has no such thing there: remove it"):
        run_job(job_of(project), compute, store)


def test_foreign_folders_in_work_are_left_alone(project, store):
    foreign = [work_folder() / name for name in ("mine", "a-b", f"host-{'9' * 40}-x", "host--x")]
    for folder in foreign:
        folder.mkdir(parents=True)
        os.utime(folder, (1, 1))
    gc.collect(store)
    assert all(folder.is_dir() for folder in foreign)


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"working": 7}', '{"working": "/elsewhere"}', "\xff"])
def test_garbage_among_the_lists_is_ignored(project, store, content, tmp_path, caplog):
    run_job(job_of(project), compute, store)
    (store.root / "roots" / f"{'0' * 32}.jsonl").write_bytes(content.encode("latin-1"))
    (store.root / "roots" / f"{'1' * 32}.jsonl").mkdir()
    gc.collect(store)
    assert "is no list of results" in caplog.text
    other = tmp_path / "other"
    shutil.copytree("results", other / "results")
    verify_workdir(store.root, other)
    assert set(store.roots(other).all()) == {"results/out.txt"}
    assert not run_job(job_of(project), refuse, store)


def test_what_a_shared_memory_says_of_digests_is_not_asked(project, store, tmp_path):
    """It could be made to lie, and opening somebody's SQLite file can remove others."""
    store.root.mkdir()
    (store.root / "digests.sqlite").symlink_to(tmp_path / "decoy.sqlite")
    run_job(job_of(project), compute, Store(store.root))
    assert not (tmp_path / "decoy.sqlite").exists()
    assert Path(".snakemake/classlens/digests.sqlite").is_file()

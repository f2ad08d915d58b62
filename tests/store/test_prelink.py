"""What the store has is linked before a run, and what is left is told."""

import errno
import os
from pathlib import Path

import pytest

from classlens.digest import digest_file
from classlens.store.job import Job, run_job
from classlens.store.key import code_key
from classlens.store.prelink import Prelinked, SchedulerJob, prelink
from classlens.store.store import Store
from classlens.store.verify import verify_workdir

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {"": "classlens.digest:digest_file"}
"""Whose code is the jobs' code; what they compute is given by the tests."""
FIRST, SHARD, SECOND, FIGURE = (f"results/{name}.txt" for name in ("first", "shard", "second", "figure"))


def job(name, inputs, output, config=0):
    wanted = {str(index): path for index, path in enumerate(inputs)}
    return Job(name, FUNCTIONS, ROOT, {"config": config}, {}, wanted, {"made": output})


class Chain:
    """raw -> first -> shard (deleted when it was read) -> second -> figure."""

    def __init__(self):
        self.config = dict.fromkeys(("first", "shard", "second", "figure"), 0)
        self.computed, self.noted = [], []

    def jobs(self):
        inputs = {"first": ["raw.txt"], "shard": [FIRST], "second": [SHARD], "figure": [SECOND]}
        return {
            f"results/{name}.txt": job(name, read, f"results/{name}.txt", self.config[name])
            for name, read in inputs.items()
        }

    def producer(self):
        tasks = {path: self.task(path, one) for path, one in self.jobs().items()}
        return tasks.get

    def task(self, path, one):
        temporary = frozenset({path} & {SHARD})
        return SchedulerJob(one.name, list(one.inputs.values()), [path], temporary, lambda: [(one, CODE)], self.note)

    def note(self, path, record):
        self.noted.append((record.job, path))

    def compute(self, store):
        """Run every job, as a scheduler would."""
        for one in self.jobs().values():

            def write(inputs, outputs, config, _local, name=one.name):
                self.computed.append(name)
                Path(outputs["made"]).write_text(
                    "".join(Path(read).read_text() for read in inputs.values()) + name + str(config)
                )

            run_job(one, write, store)
        os.unlink(SHARD)

    def prelink(self, store, target=FIGURE, **more):
        return prelink([target], self.producer(), store, **more)


CODE = code_key(FUNCTIONS, ROOT)


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("raw.txt").write_text("raw ")
    return Chain()


@pytest.fixture
def store(chain, tmp_path):
    store = Store(tmp_path / "store")
    chain.compute(store)
    return store


def empty():
    for path in Path("results").iterdir():
        path.unlink()


def test_a_chain_of_hits_needs_no_job(chain, store):
    before = {path: digest_file(path) for path in (FIRST, SECOND, FIGURE)}
    empty()
    found = chain.prelink(store)
    assert found == Prelinked([FIRST, SECOND, FIGURE])  # no shard, which nobody would read
    assert {path: digest_file(path) for path in before} == before
    assert os.stat(FIRST).st_mtime_ns <= os.stat(SECOND).st_mtime_ns <= os.stat(FIGURE).st_mtime_ns
    assert chain.prelink(store) == Prelinked()
    assert verify_workdir(store) == []


def test_what_computes_and_what_may(chain, store):
    empty()
    chain.config["second"] = 1
    found = chain.prelink(store)
    assert found.linked == [FIRST, SHARD]  # which the second reads
    assert found.compute == {"second": 1}
    assert found.may_compute == {"figure": 1}
    assert not Path(SECOND).exists()


def test_an_empty_store(chain, tmp_path):
    assert chain.prelink(Store(tmp_path / "none")) == Prelinked()


def test_a_missing_raw_file(chain, store):
    Path("raw.txt").unlink()
    assert chain.prelink(store) == Prelinked()  # results are there, so a scheduler asks for nothing
    empty()
    assert set(chain.prelink(store).may_compute) == {"first", "shard", "second", "figure"}


def test_only_what_is_asked_for(chain, store):
    empty()
    assert chain.prelink(store, FIRST).linked == [FIRST]
    assert sorted(os.listdir("results")) == ["first.txt"]


def test_outdated_results_are_left_to_the_scheduler(chain, store):
    chain.config["second"] = 1
    found = chain.prelink(store)
    assert found.linked == [SHARD]
    assert found.compute == {"second": 1}
    assert found.may_compute == {"figure": 1}
    chain.config["second"] = 0
    assert chain.prelink(store) == Prelinked()


def test_equal_results_are_one_file_with_one_time(chain, store):
    """Linking one of them makes the other newer than what was made from it."""
    os.link(SECOND, "twin")
    later = os.stat(FIGURE).st_mtime_ns + 1
    os.utime("twin", ns=(later, later))
    assert chain.prelink(store) == Prelinked()
    assert os.stat(FIGURE).st_mtime_ns >= later
    assert verify_workdir(store) == []  # a time alone is no change


def test_back_to_a_config_that_was_computed(chain, store):
    text = Path(SECOND).read_text()
    chain.config["second"] = 1
    chain.compute(store)
    chain.config["second"] = 0
    found = chain.prelink(store)
    assert found == Prelinked([SECOND, FIGURE])
    assert chain.noted == [("second", SECOND), ("figure", FIGURE)]
    assert Path(SECOND).read_text() == text
    assert os.stat(SECOND).st_mtime_ns <= os.stat(FIGURE).st_mtime_ns


def age(store, path):
    os.utime(path, (5, 5))
    store.remember({Path(path): digest_file(path)})


def test_results_get_times_in_order(chain, store):
    for path in (FIRST, SECOND, FIGURE):
        age(store, path)
    assert chain.prelink(store) == Prelinked()
    times = [os.stat(path).st_mtime_ns for path in ("raw.txt", FIRST, SECOND, FIGURE)]
    assert times == sorted(times)
    assert verify_workdir(store) == []


def test_results_get_times_behind_that_of_their_script(chain, store):
    age(store, FIGURE)
    script = os.stat(SECOND).st_mtime_ns
    os.utime(SECOND, ns=(script - 5, script - 5))
    store.remember({Path(SECOND): digest_file(SECOND)})
    assert chain.prelink(store, newest=script) == Prelinked()
    assert script <= os.stat(SECOND).st_mtime_ns <= os.stat(FIGURE).st_mtime_ns


def test_another_users_result_keeps_its_time(chain, store, monkeypatch):
    """Its job is started then, and is a hit."""
    chain.compute(store)
    script = os.stat(FIGURE).st_mtime_ns + 10**9

    def denied(path, **_):
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr("classlens.store.store.os.utime", denied)
    before = os.stat(SECOND).st_mtime_ns
    chain.prelink(store, newest=script)
    assert os.stat(SECOND).st_mtime_ns == before


def test_a_blob_that_is_gone(chain, store):
    [blob] = [store.own.blob(record.outputs[0].digest) for record in store.own.records() if record.job == "second"]
    empty()
    blob.unlink()
    found = chain.prelink(store)
    assert found.linked == [FIRST, SHARD]
    assert found.compute == {"second": 1}
    assert found.may_compute == {"figure": 1}  # or a scheduler would find the work complete


def test_a_changed_raw_file(chain, store):
    Path("raw.txt").write_text("other")
    found = chain.prelink(store)
    assert found == Prelinked([], {"first": 1}, {"shard": 1, "second": 1, "figure": 1})


def state():
    return {
        path.name: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in Path("results").iterdir()
    }


def test_a_look_replaces_nothing_and_tells_what_a_run_would(chain, store):
    text = Path(SECOND).read_text()
    chain.config["second"] = 1
    chain.compute(store)
    chain.config["second"] = 0
    before, listed = state(), store.placed().file.read_bytes()
    assert chain.prelink(store, look=True) == Prelinked(left=[SECOND, FIGURE])
    assert (state(), store.placed().file.read_bytes()) == (before, listed)
    Path(FIGURE).unlink()
    assert chain.prelink(store, look=True) == Prelinked([FIGURE], left=[SECOND])  # to a place where nothing was
    assert state()["second.txt"] == before["second.txt"]
    assert chain.prelink(store).linked == [SECOND]
    assert Path(SECOND).read_text() == text


def test_a_look_beside_a_run_links_nothing(chain, store):
    empty()
    listed = store.placed().file.read_bytes()
    assert chain.prelink(store, link=False, look=True) == Prelinked(left=[FIRST, SECOND, FIGURE])
    assert state() == {}
    assert store.placed().file.read_bytes() == listed


def test_a_look_sets_no_time_of_what_is_there(chain, store):
    age(store, FIGURE)
    before = state()
    assert chain.prelink(store, look=True) == Prelinked(left=[FIGURE])
    assert state() == before
    assert chain.prelink(store) == Prelinked()
    assert state() != before


def test_a_file_that_the_store_did_not_place_is_left_by_a_look(chain, store):
    listed = store.placed().file.read_text().splitlines()
    store.placed().file.write_text("".join(f"{line}\n" for line in listed if FIGURE not in line))
    Path(FIGURE).unlink()
    Path(FIGURE).write_text("by hand")
    assert chain.prelink(store, look=True) == Prelinked(left=[FIGURE])
    assert Path(FIGURE).read_text() == "by hand"

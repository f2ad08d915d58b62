"""What the store has is linked before a run, and what is left is told."""

import errno
import os
from pathlib import Path

import pytest
from conftest import CHECKOUT

from classlens.digest import digest_file
from classlens.store.job import Job, run_job
from classlens.store.key import code_key
from classlens.store.prelink import Prelinked, SchedulerJob, prelink
from classlens.store.store import Store
from classlens.store.verify import verify_workdir

FUNCTIONS = {"": "classlens.digest:digest_file"}
"""Whose code is the jobs' code; what they compute is given by the tests."""
FIRST, SHARD, SECOND, FIGURE = (f"results/{name}.txt" for name in ("first", "shard", "second", "figure"))
INPUTS = {FIRST: "raw.txt", SHARD: FIRST, SECOND: SHARD, FIGURE: SECOND}


class Chain:
    """raw -> first -> shard (deleted when it was read) -> second -> figure."""

    def __init__(self):
        self.config = dict.fromkeys(("first", "shard", "second", "figure"), 0)
        self.noted = []

    def jobs(self):
        for path, read in INPUTS.items():
            name = Path(path).stem
            yield Job(name, FUNCTIONS, CHECKOUT, {"config": self.config[name]}, {}, {"0": read}, {"made": path})

    def task(self, one):
        path = one.outputs["made"]
        temporary = frozenset({path} & {SHARD})
        return SchedulerJob(one.name, [INPUTS[path]], [path], temporary, lambda: (one, CODE), self.note)

    def note(self, path, record):
        self.noted.append((record.job, path))

    def compute(self, store):
        """Run every job, as a scheduler would."""
        for one in self.jobs():

            def write(inputs, outputs, config, _local, name=one.name):
                Path(outputs["made"]).write_text(f"{Path(inputs['0']).read_text()}{name}{config}")

            run_job(one, write, store)
        os.unlink(SHARD)

    def prelink(self, store, target=FIGURE, **more):
        return prelink([target], {one.outputs["made"]: self.task(one) for one in self.jobs()}.get, store, **more)


CODE = code_key(FUNCTIONS, CHECKOUT)


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


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_computes_and_what_may(chain, store, is_gone):
    empty()
    if is_gone:
        [record] = [record for record in store.own.records() if record.job == "second"]
        store.own.blob(record.outputs[0].digest).unlink()
    chain.config["second"] = int(not is_gone)
    # The second reads the shard; were the figure linked, a scheduler would find the work complete.
    assert chain.prelink(store) == Prelinked([FIRST, SHARD], {"second": 1}, {"figure": 1})
    assert not Path(SECOND).exists()


def test_an_empty_store(chain, tmp_path):
    assert chain.prelink(Store(tmp_path / "none")) == Prelinked()


def test_a_raw_file_that_is_changed_or_missing(chain, store):
    Path("raw.txt").write_text("other")
    assert chain.prelink(store) == Prelinked([], {"first": 1}, {"shard": 1, "second": 1, "figure": 1})
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
    assert chain.prelink(store) == Prelinked([SHARD], {"second": 1}, {"figure": 1})
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


def test_results_get_times_in_order_and_after_that_of_their_script(chain, store):
    for path in (FIRST, SECOND, FIGURE):
        age(store, path)
    assert chain.prelink(store) == Prelinked()
    times = [os.stat(path).st_mtime_ns for path in ("raw.txt", FIRST, SECOND, FIGURE)]
    assert times == sorted(times)
    assert verify_workdir(store) == []
    age(store, FIGURE)
    script = times[2] + 5
    assert chain.prelink(store, newest=script) == Prelinked()
    assert script <= os.stat(SECOND).st_mtime_ns <= os.stat(FIGURE).st_mtime_ns


def test_another_users_result_keeps_its_time(chain, store, monkeypatch):
    """Its job is started then, and is a hit."""

    def denied(path, **_):
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr("classlens.store.prelink.os.utime", denied)
    before = os.stat(SECOND).st_mtime_ns
    chain.prelink(store, newest=os.stat(FIGURE).st_mtime_ns + 10**9)
    assert os.stat(SECOND).st_mtime_ns == before


def state():
    found = [(path, path.stat()) for path in Path("results").iterdir()]
    return {path.name: (path.read_bytes(), stat.st_ino, stat.st_mtime_ns) for path, stat in found}


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

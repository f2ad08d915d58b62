"""Every job has a CUDA device of its own: real processes that are told of devices which are not there."""

import logging
import multiprocessing
import os
import re
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from classlens.errors import InputError
from classlens.models import claim
from classlens.models.claim import BATCH_JOB_VARIABLES, FOLDER, claim_device
from classlens.models.device import choose_device, device_name
from classlens.store.job import Job, run_job
from classlens.store.store import Store

SECONDS = 20
"""How long a process may take to do what it must; a passing test never waits so long."""
QUIET = 0.25
"""Seconds in which a process that must wait is seen to wait."""


def _process(pipe, temporary: Path, count: int, environment: dict[str, str], action) -> None:
    """Be a job's process on a machine with devices; live until killed."""
    for name in (*BATCH_JOB_VARIABLES, "CUDA_VISIBLE_DEVICES"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    tempfile.tempdir = str(temporary)
    torch.cuda.is_available, torch.cuda.device_count = lambda: count > 0, lambda: count
    torch.cuda.set_device = lambda index: pipe.send(("set_device", index))
    claim.POLL_SECONDS = 0.05
    logger, handler = logging.getLogger("classlens"), logging.Handler()
    handler.emit = lambda record: pipe.send(("log", record.getMessage()))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    while True:
        try:
            pipe.send(("result", action()))
        except InputError as error:
            pipe.send(("error", str(error)))
        action = pipe.recv()


@dataclass
class Running:
    """A process and what it said."""

    process: Any
    pipe: Any

    def messages(self) -> list[tuple[str, Any]]:
        """Return all up to the result."""
        found = []
        while not found or found[-1][0] not in ("result", "error"):
            assert self.pipe.poll(SECONDS), found
            found.append(self.pipe.recv())
        return found

    def result(self) -> Any:
        kind, message = self.messages()[-1]
        assert kind == "result", message
        return message

    def waits(self) -> None:
        """Check that it says so, and then nothing."""
        assert self.pipe.poll(SECONDS)
        assert "waiting for one" in self.pipe.recv()[1]
        assert not self.pipe.poll(QUIET)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()


@pytest.fixture
def machine(tmp_path):
    """Starts processes on a machine with two devices."""
    context = multiprocessing.get_context("fork")  # torch is imported already
    started = []

    def start(action=claim_device, *, count=2, temporary=tmp_path, **environment) -> Running:
        here, there = context.Pipe()
        process = context.Process(target=_process, args=(there, temporary, count, environment, action), daemon=True)
        process.start()
        there.close()
        started.append(process)
        return Running(process, here)

    yield start
    for process in started:
        process.kill()
        process.join()


def locks(folder: Path) -> set[str]:
    """Return the lock files under a machine's temporary folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*.lock")}


@pytest.mark.parametrize("freed", [0, 1])
def test_each_takes_a_device_and_a_third_waits_for_that_of_a_killed_one(machine, freed):
    def taking(index):
        """The device is made the current one before it is used."""
        return [("log", f"this job's CUDA device is {index}"), ("set_device", index), ("result", f"cuda:{index}")]

    running = []
    for index in (0, 1):
        running.append(machine())
        assert running[-1].messages() == taking(index)
    third = machine()
    third.waits()
    running[freed].kill()
    assert third.messages() == taking(freed)  # it says that it waits once, however often it looks


def test_a_process_keeps_its_device_through_several_jobs(machine):
    first = machine(count=1)
    first.result()
    first.pipe.send(claim_device)
    assert first.messages() == [("result", "cuda:0")]
    machine(count=1).waits()


def test_other_devices_are_not_claimed(machine, tmp_path):
    assert machine(partial(claim_device, "cpu")).messages() == [("result", "cpu")]
    assert machine(choose_device).messages() == [("result", torch.device("cuda"))]
    if not torch.backends.mps.is_available():
        assert machine(count=0).messages() == [("result", "cpu")]
    [(kind, message)] = machine(partial(claim_device, "cuda"), count=0).messages()
    assert (kind, "extraction.device is cuda" in message) == ("error", True)
    assert not list(tmp_path.glob(f"{FOLDER}*"))
    assert machine(partial(claim_device, "cuda")).result() == "cuda:0"


def test_a_schedulers_only_device_is_kept_without_a_lock(machine, tmp_path):
    assert {process.result() for process in (machine(), machine())} == {"cuda:0", "cuda:1"}
    before = locks(tmp_path)
    for batch_job in ({"SLURM_JOB_ID": "12"}, {}):
        kept = machine(count=1, CUDA_VISIBLE_DEVICES="1", **batch_job)
        assert kept.messages() == [("set_device", 0), ("result", "cuda:0")]
    assert locks(tmp_path) == before == {f"{FOLDER}/0.lock", f"{FOLDER}/1.lock"}


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (None, "0,1", True),
        ("3,5", " 5, 3 ", True),
        ("3,5", "0,1", False),
        ("GPU-8932f937,GPU-ad2367dd", "GPU-ad2367dd,GPU-8932f937", True),
        ("GPU-8932f937,GPU-ad2367dd", "GPU-ad2367dd,GPU-77777777", False),
    ],
)
def test_devices_are_known_by_what_the_user_calls_them(machine, first, second, waits):
    taken = [machine(**({"CUDA_VISIBLE_DEVICES": first} if first else {})) for _ in range(2)]
    assert {process.result() for process in taken} == {"cuda:0", "cuda:1"}
    third = machine(CUDA_VISIBLE_DEVICES=second)
    if waits:
        third.waits()
    else:
        assert third.result() == ("cuda:0" if second == "0,1" else "cuda:1")


def test_of_choices_that_overlap_what_is_free_is_taken(machine):
    choices = [("3,5", "cuda:0"), ("3,4", "cuda:1"), ("3,4,5", "cuda:2")]
    for choice, device in choices:
        assert machine(count=len(choice.split(",")), CUDA_VISIBLE_DEVICES=choice).result() == device
    machine(CUDA_VISIBLE_DEVICES="5,3").waits()
    # torch sees no further than the first entry that is no device
    assert machine(CUDA_VISIBLE_DEVICES="3,6,-1,4").result() == "cuda:1"


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "SGE_TASK_ID"])
def test_jobs_of_a_scheduler_do_not_wait_for_each_other(machine, tmp_path, variable):
    for batch_job in ("7", "8[2].server/a"):
        environment = {variable: batch_job, "CUDA_VISIBLE_DEVICES": "0,1"}
        assert [machine(**environment).result(), machine(**environment).result()] == ["cuda:0", "cuda:1"]
        machine(**environment).waits()
    assert {Path(name).parent.name for name in locks(tmp_path)} == {f"{FOLDER}-7", f"{FOLDER}-8_2_.server_a"}


def _claim_with_a_narrow_umask():
    os.umask(0o077)
    return claim_device()


def test_other_users_can_lock_the_same_files(machine, tmp_path):
    machine(_claim_with_a_narrow_umask).result()
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / FOLDER / "0.lock").stat().st_mode) == 0o666


@pytest.mark.parametrize("obstacle", ["file for a folder", "folder for a file"])
def test_a_lock_that_cannot_be_opened_is_an_error_that_says_what_to_do(machine, tmp_path, obstacle):
    if obstacle == "folder for a file":
        (tmp_path / FOLDER / "0.lock").mkdir(parents=True)
    else:
        (tmp_path / FOLDER).touch()
    [(kind, message)] = machine().messages()
    assert kind == "error"
    assert re.search(f"cannot lock a CUDA device .*{FOLDER}.*CUDA_VISIBLE_DEVICES", message)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_locks_of_another_user(machine):
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        temporary.chmod(0o1777)
        first = machine(temporary=temporary)
        assert first.result() == "cuda:0"
        assert machine(_claim_as_another_user, temporary=temporary).result() == "cuda:1"
        first.kill()
        assert machine(_claim_as_another_user, temporary=temporary).result() == "cuda:0"
        (temporary / FOLDER / "0.lock").chmod(0o600)
        [(kind, message)] = machine(_claim_as_another_user, temporary=temporary).messages()
        assert kind == "error"
        assert "Permission denied" in message


def _claim_as_another_user():
    os.setgid(65534)
    os.setuid(65534)
    return claim_device()


def test_a_device_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Abacus {device.index}")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert claim_device("cuda:1") == "cuda:1"
    assert device_name(torch.device("cuda", 1)) == "cuda:1 (Abacus 1)"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=rf"extraction\.device is {name}"):
            choose_device(name)
    assert choose_device("cpu").type == "cpu"
    assert choose_device().type in ("cpu", "mps")


# Jobs


def run_in(root: Path, text: str, device: str | None = "auto") -> str | None:
    """Run a job through the store; return the device that it ran on, or None for a hit."""
    os.chdir(root)
    used = []

    def compute(_inputs, outputs, _config, local):
        used.append(local.get("device", "none"))
        Path(outputs["result"]).write_text(text)

    local = {"threads": 1} | ({"device": device} if device else {})
    outputs = {"result": f"{text}-{os.getpid()}.txt"}
    job = Job("write", {"": "classlens.write:write"}, root, {"text": text}, local, {}, outputs)
    return used[0] if run_job(job, compute, Store(root / "store"), take_device=claim_device) else None


@pytest.fixture
def job(tmp_path):
    """Returns what runs a job of a project."""
    package = tmp_path / "project/classlens"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "write.py").write_text("def write(result, text): ...\n")
    return partial(partial, run_in, package.parent)


def test_jobs_claim_what_they_compute_on(machine, job, tmp_path):
    assert machine(job("no model", device=None)).result() == "none"
    assert machine(job("on the CPU", device="cpu")).result() == "cpu"
    assert locks(tmp_path / FOLDER) == set()
    first, second = machine(job("a")), machine(job("b"))
    assert {first.result(), second.result()} == {"cuda:0", "cuda:1"}
    machine(job("c")).waits()


def test_a_job_that_waits_for_a_device_does_not_keep_others_from_its_key(machine, job):
    """Else the two would wait for each other. What the store has waits for no device."""
    first = machine(job("a"), count=1)
    assert first.result() == "cuda:0"
    assert machine(job("a"), count=1).result() is None
    second = machine(job("b"), count=1)
    second.waits()
    first.pipe.send(job("b"))
    assert first.result() == "cuda:0"
    first.kill()
    assert second.result() is None  # meanwhile it is in the store


def _claim_and_leave_a_child():
    return claim_device(), subprocess.Popen(["sleep", "60"], close_fds=False).pid


def test_a_lock_ends_with_its_process_though_a_child_lives_on(machine):
    first = machine(_claim_and_leave_a_child, count=1)
    name, child = first.result()
    try:
        assert name == "cuda:0"
        first.kill()
        assert machine(count=1).result() == "cuda:0"
    finally:
        os.kill(child, signal.SIGKILL)

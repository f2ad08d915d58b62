"""What `classlens watch` tells of real logs: of jobs that run, wait, end and are killed."""

import io
import os
import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from classlens import progress
from classlens.cli import app
from classlens.logs import job_log
from classlens.process import Process, this_process
from classlens.progress import Progress
from classlens.runs import LOCKS, lock_notice, note_run
from classlens.watch import Watch, follow, read_log

NOW = datetime(2026, 3, 4, 12, 0, 0)


def write_log(path, *said, process=None, start=NOW):
    """Write a log as a job does, with one line a minute."""
    process = process or this_process()
    begin = f"started by process {process.number} ({process.born}) on {process.host}"
    lines = [("classlens", begin), *(("classlens.progress", text) for text in said)]
    stamped = [f"{start + timedelta(minutes=n):%F %T},000 INFO {name}: {text}" for n, (name, text) in enumerate(lines)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(stamped) + "\n")


def end(path):
    with path.open("a") as file:
        file.write("2026-03-04 13:00:00,000 INFO classlens: ended\n")


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


def test_a_line_per_running_job(logs):
    write_log(logs / "pixels/photos/s16/training.log", "decoding images: 120 of 300 images, 2.0/s")
    write_log(logs / "weights/vit.log")
    write_log(logs / "gather/vit.log", "gathering: 12 of 12 files, 3.0/s", "now something else")
    write_log(logs / "train/vit.log", "training: 1 of 400 steps, 0.005/s")
    write_log(logs / "extract/vit/0.log", "extracting: 300 of 300 images, 2.0/s")
    end(logs / "extract/vit/0.log")
    (logs / "foreign.log").write_text("nothing of ours\n")
    (logs / "empty.log").touch()
    told = {
        "gather vit": "now something else, began 12:00",
        "pixels photos s16 training": "decoding images: 120 of 300 images (40%), 2.0/s, ends about 12:02, began 12:00",
        "train vit": "training: 1 of 400 steps (0%), 0.005/s, ends about 2026-03-05 10:11, began 12:00",
        "weights vit": "begins, began 12:00",
        "words vit": "reading ?[2J?: 1 of 3 images (33%), 0.05/s, ends about 12:01, began 12:00",
    }
    # No log can steer the terminal.
    write_log(logs / "words/vit.log", "reading \x1b[2J\x07: 1 of 3 images, 0.05/s")
    assert Watch(logs).lines(NOW + timedelta(minutes=2)) == [f"{name:26}  {said}" for name, said in told.items()]


def test_jobs_of_other_machines_are_believed_and_doubted_after_an_hour(logs):
    node = Process(7, 1, "node17")
    write_log(logs / "extract/vit/3.log", "extracting: 10 of 30 images, 0.5/s", process=node)
    assert Watch(logs).lines(NOW + timedelta(minutes=30))[0].endswith("ends about 12:01, began 12:00")
    assert Watch(logs).lines(NOW + timedelta(hours=2))[0].endswith("began 12:00, silent since 12:01 on node17")


def test_another_process_of_the_same_number_is_not_the_job(logs):
    mine = this_process()
    write_log(logs / "extract/vit/3.log", process=Process(mine.number, mine.born - 5, mine.host))
    assert Watch(logs).lines(NOW) == ["no job runs", "killed before their end: extract vit 3"]
    assert Watch(logs).lines(NOW + timedelta(days=2)) == ["no job runs"]


def test_what_did_not_change_is_not_read_again(logs, monkeypatch):
    write_log(logs / "a/x.log")
    write_log(logs / "b/x.log", "extracting: 10 of 30 images, 0.5/s")
    watch, read = Watch(logs), []
    monkeypatch.setattr(
        "classlens.watch.read_log", lambda path, root: read.append(path.parent.name) or read_log(path, root)
    )
    assert len(watch.jobs()) == len(watch.jobs()) == 2
    end(logs / "a/x.log")
    assert [job.name for job in watch.jobs()] == ["b x"]
    assert sorted(read) == ["a", "a", "b"]


def test_a_long_log_is_read_in_part(logs):
    path = logs / "extract/vit/0.log"
    write_log(path, *["x" * 1000] * 2000, "extracting: 10 of 30 images, 0.5/s")
    began = time.perf_counter()
    assert read_log(path, logs).doing == "extracting: 10 of 30 images (33%), 0.5/s"
    assert time.perf_counter() - began < 0.1


def test_a_job_in_a_thread(logs, monkeypatch):
    """From its first line to its last one, by what jobs themselves write."""
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.0)
    told, go_on = threading.Event(), threading.Event()

    def job():
        with job_log(logs / "extract/vit/0.log"), Progress(4, "extracting") as done:
            done.advance()
            told.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=job)
    thread.start()
    assert told.wait(10)
    [line] = Watch(logs).lines()
    go_on.set()
    thread.join()
    assert re.fullmatch(
        r"extract vit 0  extracting: 1 of 4 images \(25%\), \S+/s, ends about .*, began \d\d:\d\d", line
    )
    assert Watch(logs).lines() == ["no job runs"]


JOB = """
import sys, time
from classlens.logs import job_log
with job_log(sys.argv[1]) as log:
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_killed_job_is_told(logs):
    with subprocess.Popen([sys.executable, "-c", JOB, logs / "extract/vit/0.log"], stdout=subprocess.PIPE) as job:
        assert job.stdout.readline() == b"begun\n"
        assert Watch(logs).lines()[0].startswith("extract vit 0  begins")
        job.kill()
    assert Watch(logs).lines() == ["no job runs", "killed before their end: extract vit 0"]


def test_the_command(tmp_path, logs):
    assert CliRunner().invoke(app, ["watch", "--once", "--directory", str(tmp_path)]).stdout == "no job runs\n"
    write_log(logs / "weights/vit.log", start=datetime.now().replace(microsecond=0))
    shown = CliRunner().invoke(app, ["watch", "--once", "--directory", str(tmp_path)]).stdout
    assert shown.startswith("weights vit  begins, began ")
    refused = CliRunner().invoke(app, ["watch", "--directory", str(tmp_path / "nowhere")])
    assert refused.exit_code == 1
    assert "there is no directory" in refused.output


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "expected"), [(io.StringIO, 1), (Terminal, 3)])
def test_going_on_until_interrupted(tmp_path, monkeypatch, stream, expected):
    """A file gets lines that changed; a terminal is drawn anew."""
    naps = iter([None, None])

    def sleep(seconds):
        assert seconds >= 0.5
        if next(naps, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr("classlens.watch.time.sleep", sleep)
    out = stream()
    follow(tmp_path, every=0.5, out=out)
    assert out.getvalue().count("no job runs") == expected
    assert ("\x1b" in out.getvalue()) == (expected > 1)


# Locks that a killed run leaves


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A working directory that this process locked."""
    monkeypatch.chdir(tmp_path)
    note_run()
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.input.lock").write_text("results/a.csv\n")
    return tmp_path


def test_a_run_under_way_is_not_to_be_unlocked(locked):
    notice = lock_notice(locked)
    assert f"(process {os.getpid()} on {this_process().host}, started " in notice
    assert "is under way" in notice
    assert "--unlock" not in notice
    (LOCKS / "0.input.lock").unlink()
    assert lock_notice(locked) is None


def test_a_run_that_is_gone_or_elsewhere(locked, monkeypatch):
    mine = this_process()
    gone = Process(mine.number, mine.born - 1, mine.host)  # and this process has its number
    monkeypatch.setattr("classlens.runs.this_process", lambda: gone)
    note_run()
    notice = lock_notice(locked)
    assert f"locked {locked} (process {gone.number}" in notice
    assert notice.endswith("none of its jobs runs here; type the same command with --unlock, then again without it")
    write_log(locked / "logs/extract/vit/0.log")
    assert f"still run: extract vit 0 (process {gone.number}); wait for them" in lock_notice(locked)
    monkeypatch.setattr("classlens.runs.this_process", lambda: Process(1, 1, "login2"))
    note_run()
    assert "can be looked for on login2 alone; if it is gone, type" in lock_notice(locked)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"process": 3, "started": ""}', '{"process": {"number": 3}}'])
def test_a_note_that_says_nothing(locked, note):
    Path(".snakemake/classlens/run.json").write_text(note)
    assert lock_notice(locked) is None

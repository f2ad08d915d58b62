"""What a job leaves in its log, how it tells of progress, and what it imports."""

import io
import logging
import os
import re
import sys
import warnings
from types import SimpleNamespace

import pytest
from conftest import CHECKOUT, printed_by

from classlens import checkout, progress
from classlens.catalog.analyses import ANALYSES, JOBS, PASSES
from classlens.catalog.rules import RUN, job_of_analysis
from classlens.checkout import PYTHON_PATH, set_python_path
from classlens.logs import job_log
from classlens.progress import Progress
from classlens.shipped import CACHE
from classlens.store.code import reached

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture
def root_logger():
    """The root logger, of which nothing may remain changed."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers), warnings.showwarning)
    yield root
    assert (root.level, list(root.handlers), warnings.showwarning) == before


# Logs


def test_lines_have_time_level_and_logger_and_replace_those_of_an_earlier_run(tmp_path, root_logger):
    path = tmp_path / "logs" / "deep" / "job.log"
    with job_log(str(path)) as log:
        log.info("earlier")
    with job_log(path) as log:
        log.info("one %s", "line")
        logging.getLogger("classlens.somewhere").warning("another")
        logging.getLogger("library").info("and a library's")
        log.debug("too much detail")
    log.info("after the job")
    begin, first, second, third, end = path.read_text().splitlines()
    assert re.fullmatch(rf"{STAMP} INFO classlens: started by process {os.getpid()} \(\d+\) on \S+", begin)
    assert re.fullmatch(f"{STAMP} INFO classlens: ended", end)
    assert re.fullmatch(f"{STAMP} INFO classlens: one line", first)
    assert re.fullmatch(f"{STAMP} WARNING classlens.somewhere: another", second)
    assert re.fullmatch(f"{STAMP} INFO library: and a library's", third)


def test_an_uncaught_error_is_logged_with_its_traceback_and_goes_on(tmp_path, root_logger):
    def broken():
        raise KeyError("a key")

    path = tmp_path / "job.log"
    with pytest.raises(KeyError, match="a key"), job_log(path):
        broken()
    text = path.read_text()
    assert re.search(f"\n{STAMP} ERROR classlens: the job failed\n", text)
    assert "Traceback (most recent call last):" in text
    assert "in broken" in text
    assert re.search(f"\nKeyError: 'a key'\n{STAMP} INFO classlens: ended\n$", text)


def test_warnings_are_logged_and_leaving_by_exit_is_no_failure(tmp_path, root_logger):
    path = tmp_path / "job.log"

    def leave():
        with job_log(path) as log:
            warnings.warn("be careful", stacklevel=1)
            log.error("told already")
            sys.exit(1)

    with pytest.raises(SystemExit):
        leave()
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", stacklevel=1)
    begin, warning, *_, told, end = path.read_text().splitlines()
    assert "started by process" in begin
    assert re.match(f"{STAMP} WARNING py.warnings: .*UserWarning: be careful", warning)
    assert told.endswith(" ERROR classlens: told already")
    assert re.fullmatch(f"{STAMP} INFO classlens: ended", end)
    assert not re.search("later|the job failed", path.read_text())


# Progress


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="classlens.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_is_logged_every_ten_seconds_and_at_the_end(clock, told):
    with Progress(300, "extracting") as done:
        for _ in range(7):
            clock.now += 4
            done.advance(40)
        assert told() == ["extracting: 120 of 300 images, 10.0/s", "extracting: 240 of 300 images, 10.0/s"]
        done.advance(20)
    assert told()[2:] == ["extracting: 300 of 300 images, 10.7/s"]


def test_progress_of_short_work_is_one_line_and_slow_work_has_a_rate(clock, told):
    with Progress(2, "reading", unit="file") as done:
        clock.now += 0.5
        done.advance()
        done.advance()
    with Progress(0, "nothing"):
        pass
    with Progress(10, "training", "step") as done:
        clock.now += 30
        done.advance()
        assert told() == [
            "reading: 2 of 2 files, 4.0/s",
            "nothing: 0 of 0 images, 0.0/s",
            "training: 1 of 10 steps, 0.033/s",
        ]


def test_progress_of_work_that_fails_tells_how_far_it_came(clock, told):
    def fail():
        with Progress(10, "extracting") as done:
            clock.now += 1
            done.advance(3)
            raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        fail()
    assert told() == ["extracting: 3 of 10 images, 3.0/s"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_drawn_on_terminals_only(monkeypatch, is_terminal):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    with Progress(3, "extracting") as done:
        done.advance(3)
    assert ("extracting" in stream.getvalue()) == is_terminal


# Imports of jobs

PLOTTING = {"matplotlib", "seaborn"}
FUNCTIONS = {job.function for job in (*JOBS.values(), *map(job_of_analysis, ANALYSES.values()))}
FUNCTIONS -= {job.function for job in JOBS.values() if job.environment == "figures"}
FUNCTIONS |= {one.code for one in PASSES.values()} | {RUN, "classlens.joining:join"}


def test_no_job_but_those_of_figures_imports_a_plotting_library():
    """It would cost each of thousands of jobs a second; of libraries that a library imports, `make bench` tells."""
    for function in FUNCTIONS:
        _, libraries = reached([function.partition(":")[0]], CHECKOUT)
        assert not libraries & PLOTTING, function


def lay_package(folder, *beside):
    """Write a package that says the folder's name, and modules beside it."""
    for path in ("classlens/__init__.py", *beside):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"name = {folder.name!r}\n")


def lies_in(folder, monkeypatch, workflow="."):
    """Make a checkout, or an installed package, the one that plans."""
    monkeypatch.setattr(checkout, "PACKAGE", folder / "classlens")
    monkeypatch.setattr(checkout, "workflow_folder", lambda: folder / workflow)


@pytest.mark.parametrize(("given", "rest"), [(None, ""), ("", ""), ("/a:/b", ":/a:/b"), ("/a:ROOT", ":/a")])
def test_jobs_import_the_checkout_first_and_then_what_was_given(tmp_path, monkeypatch, given, rest):
    monkeypatch.setenv(PYTHON_PATH, (given or "").replace("ROOT", str(tmp_path)))
    if given is None:
        monkeypatch.delenv(PYTHON_PATH)
    lies_in(tmp_path, monkeypatch)
    for _ in range(2):
        set_python_path()
        assert os.environ[PYTHON_PATH] == f"{tmp_path}:{tmp_path}/workflow/scripts{rest}"


def test_jobs_import_an_installed_package_and_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_PATH, "")
    monkeypatch.chdir(tmp_path)
    for name in ("old", "new"):
        lay_package(tmp_path / name, "beside.py")
        lies_in(tmp_path / name, monkeypatch, "classlens/_workflow")
        set_python_path()
    first = os.environ[PYTHON_PATH].split(":")[0]
    assert first == str(tmp_path / CACHE / "library")
    assert os.listdir(first) == ["classlens"]
    program = "import classlens; print(classlens.name)"
    assert printed_by([sys.executable, "-c", program], cwd="/") == "new\n"


def test_a_process_imports_the_checkout_that_was_named_last(tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_PATH, "")
    for name in ("first", "second"):
        lay_package(tmp_path / name, "workflow/scripts/beside.py")
        lies_in(tmp_path / name, monkeypatch)
        set_python_path()
    program = "import classlens, beside; print(classlens.name, beside.__file__)"
    found = printed_by([sys.executable, "-c", program], cwd=tmp_path).split()
    assert found == ["second", str(tmp_path / "second/workflow/scripts/beside.py")]

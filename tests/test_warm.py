"""Jobs that run in forks of a process that has the large libraries already."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from classlens.warm import PLACE, THREADS, Server, _Job

ROOT = Path(__file__).resolve().parents[1]
ASKING = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from classlens.warm import run_warm
status = run_warm(sys.argv[0])
if status is not None:
    print("in a fork", flush=True)
    sys.exit(status)
"""
STARTING = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from classlens.warm import PLACE, WarmStart
import os
WarmStart([1])
print(os.environ[PLACE], flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks of this kind are for Linux")


@pytest.fixture
def run(tmp_path):
    """Give what runs a script beside a server of one thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    main = subprocess.Popen(
        [sys.executable, "-c", STARTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    folder = Path(main.stdout.readline().strip())
    until(lambda: listens(folder / "1"))

    def start(text, **variables):
        script = tmp_path / "script.py"
        script.write_text(ASKING + text)
        given = {**environment, PLACE: str(folder), **dict.fromkeys(THREADS, "1"), **variables}
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, str(script)], env=given, cwd=tmp_path, text=True, **outputs)

    start.main, start.folder = main, folder
    yield start
    main.stdin.close()
    main.wait(30)
    main.stdout.close()


def listens(path):
    """Whether a server is to be reached, not only its socket there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        return path.exists() and not client.connect_ex(str(path))


def until(holds, seconds=20):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_script_is_itself_in_a_fork(run, tmp_path):
    found = """
import json, os
print(json.dumps([os.getcwd(), sys.argv, os.environ["HERE"], __name__, list(dict.fromkeys(sys.path))]))
"""
    warm, cold = (run(found, HERE="there", **more).communicate()[0].splitlines() for more in ({}, {PLACE: "/nowhere"}))
    assert warm == [*cold, "in a fork"]
    folder, arguments, here, name, _ = json.loads(cold[0])
    assert (folder, arguments, here, name) == (str(tmp_path), [str(tmp_path / "script.py")], "there", "__main__")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(True)", 1, ""),
        ("sys.exit('no such file')", 1, "no such file"),
        ("raise ValueError('of the script')", 1, "ValueError: of the script"),
        ("import os; os.kill(os.getpid(), 9)", 137, ""),
        ("import atexit; atexit.register(print, 'at last', file=sys.stderr)", 0, "at last"),
    ],
)
def test_ends_as_the_script_does(run, text, status, said):
    job = run(text)
    printed, errors = job.communicate()
    assert (job.returncode, printed.splitlines()[-1]) == (status, "in a fork")
    assert said in errors


def test_what_a_job_imported_is_there_for_the_next_one(run):
    text = "print('pandas' in sys.modules, 'classlens.digest' in sys.modules); import pandas, classlens.digest"
    assert [run(text).communicate()[0].splitlines()[0] for _ in range(2)] == ["False False", "True False"]


def test_jobs_run_beside_each_other(run):
    jobs = [run("import time; time.sleep(1)") for _ in range(4)]
    started = time.monotonic()
    assert [job.wait() for job in jobs] == [0] * 4
    assert time.monotonic() - started < 3.5


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_ends_with_the_script_that_asked(run, tmp_path, signal_number):
    job = run("import os, pathlib, time; pathlib.Path('number').write_text(f'{os.getpid()}\\n'); time.sleep(60)")
    until(lambda: (tmp_path / "number").exists() and (tmp_path / "number").read_text().endswith("\n"))
    job.send_signal(signal_number)
    number = int((tmp_path / "number").read_text())
    until(lambda: not Path(f"/proc/{number}").exists())


def test_a_server_ends_with_its_run_and_its_last_job(run, tmp_path):
    job = run("import pathlib, time; pathlib.Path('started').touch(); time.sleep(1); pathlib.Path('done').touch()")
    until(lambda: (tmp_path / "started").exists())
    server = parent_of_fork(run.main.pid)
    run.main.kill()
    assert job.wait(20) == 0
    assert (tmp_path / "done").exists()
    until(lambda: not Path(f"/proc/{server}").exists())


def parent_of_fork(main):
    """Return the number of a run's server."""
    (server,) = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return server


@pytest.mark.parametrize("first", ["end", "hang-up"])
def test_an_end_and_a_hang_up_in_one_batch_of_events(tmp_path, first):
    server = Server(str(tmp_path / "socket"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    number = os.posix_spawn("/bin/true", ["true"], {})
    job = _Job(number, os.pidfd_open(number), ours, reading)
    server._watch(job)
    theirs.close()
    os.close(writing)
    until(lambda: len(server._events.select()) == 2)
    batch = sorted(server._events.select(), key=lambda event: (event[0].fileobj == job.ended) != (first == "end"))
    for key, _ in batch:
        key.data()
    assert not server._jobs
    assert not server._events.get_map()


TWICE = """
import os, pathlib, time
with open("said", "a") as said:
    print("begins", os.getpid(), file=said, flush=True)
    time.sleep(1)
    print("ends", file=said)
sys.exit(3)
"""


@pytest.mark.parametrize(("fork_too", "said"), [(False, ["begins", "ends"]), (True, ["begins", "begins", "ends"])])
def test_a_job_whose_server_dies_never_runs_beside_itself(run, tmp_path, fork_too, said):
    """Its fork says how it ended; where the fork dies, too, the script runs by itself."""
    job = run(TWICE)
    until(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text().endswith("\n"))
    os.kill(int(parent_of_fork(run.main.pid)), signal.SIGKILL)
    if fork_too:
        os.kill(int((tmp_path / "said").read_text().split()[1]), signal.SIGKILL)
    assert job.wait(20) == 3
    assert [line.split()[0] for line in (tmp_path / "said").read_text().splitlines()] == said


def test_runs_by_itself_where_no_server_fits(run):
    for variables in ({"OMP_NUM_THREADS": "2"}, dict.fromkeys(THREADS, "7"), {PLACE: "/nowhere"}):
        assert run("print('cold')", **variables).communicate()[0] == "cold\n"


@pytest.mark.parametrize("request_", [b"{", json.dumps({"prefix": "/another/environment"}).encode()])
def test_what_a_server_cannot_run_changes_nothing(run, request_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(run.folder / "1"))
        client.send(request_)
        assert client.recv(8) == b""
    assert run("").wait() == 0

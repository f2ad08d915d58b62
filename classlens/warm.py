"""Start jobs warm: a process that has the large libraries imported already forks itself for each job.

Importing torch and timm takes seconds, more than most jobs of a small model. `WarmStart` starts a server beside a
run on this machine; a job's script hands itself over to it by `run_warm` and ends with the status that it had there.
The server imports libraries alone, never this project, whose code a job imports as it is when the job starts. Where
there is no server (another machine, another environment, another number of threads), a script runs by itself.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

PLACE = "CLASSLENS_WARM"
"""Environment variable: the folder of the servers' sockets, named after their numbers of threads; "" for none."""
LIBRARIES = (
    *("snakemake.logging", "snakemake.iocontainers", "h5py", "hdf5plugin", "numcodecs"),
    *("pandas", "scipy.stats", "seaborn", "torch", "timm"),
)
"""What a server imports, each once a first job has imported it."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What libraries look at when they are imported; Snakemake sets all of them for a job."""
REQUEST_BYTES = 2**20
SERVER = "import sys; from classlens.warm import Server; Server(sys.argv[1]).serve()"


class WarmStart:
    """Servers beside this process, which end with it; none where the environment variable `PLACE` is set already.

    Args:
        threads: numbers of threads that jobs have; each needs a server of its own.
    """

    def __init__(self, threads: Iterable[int]) -> None:
        self._servers: list[subprocess.Popen[bytes]] = []
        if PLACE in os.environ:
            return
        self._folder = tempfile.mkdtemp(prefix="classlens-")  # that nobody else may enter
        os.environ[PLACE] = self._folder
        self._servers += [self._start(number) for number in sorted(set(threads))]
        atexit.register(self.close)  # which also keeps the servers' standard inputs open until then

    def _start(self, threads: int) -> subprocess.Popen[bytes]:
        """Start a server; it ends when its standard input is closed, as it is at the latest when this process ends."""
        return subprocess.Popen(
            [sys.executable, "-P", "-c", SERVER, f"{self._folder}/{threads}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
        )

    def close(self) -> None:
        """Let the servers end when their jobs have."""
        os.environ.pop(PLACE, None)
        for server in self._servers:
            server.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._folder, ignore_errors=True)


def run_warm(script: str) -> int | None:
    """Run a script in a fork of a server; return its exit status, or None if there is no server for it.

    Args:
        script: the path of the script that asks; the server's fork, where there is no `PLACE`, runs it by itself.
    """
    folder, threads = os.environ.pop(PLACE, None), {os.environ.get(variable, "") for variable in THREADS}
    if not folder or len(threads) > 1:
        return None
    request = {
        "script": script,
        "prefix": sys.prefix,
        "folder": os.getcwd(),
        "path": sys.path,
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.connect(f"{folder}/{threads.pop()}")
            socket.send_fds(server, [json.dumps(request).encode()], [1, 2])
            answer = server.recv(64)
        except OSError:
            return None
    # Of a fork whose server died the answer is its own; none comes where there is neither any more.
    return int(answer) if answer else None


class Server:
    """Forks itself for each script that is handed to it.

    Args:
        place: of its socket.
    """

    def __init__(self, place: str) -> None:
        self._jobs: dict[int, _Job] = {}
        self._known: set[str] = set()
        self._wanted: set[str] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(place)
        self._socket.listen(128)
        self._events = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve until standard input is closed and the last job has ended."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # jobs get Ctrl-C themselves; closed stdin ends the server
        is_open = True
        self._events.register(self._socket, selectors.EVENT_READ, self._accept)
        self._events.register(0, selectors.EVENT_READ)
        while is_open or self._jobs:
            for key, _ in self._events.select():
                if key.data is not None:
                    key.data()
                else:
                    self._events.unregister(self._socket)
                    self._events.unregister(0)
                    self._socket.close()
                    is_open = False

    def _accept(self) -> None:
        client, _ = self._socket.accept()
        request: dict[str, Any] = {}
        outputs: list[int] = []
        with suppress(OSError, ValueError):
            message, outputs, _, _ = socket.recv_fds(client, REQUEST_BYTES, 2)
            request = json.loads(message)
        if request.get("prefix") == sys.prefix:  # else of an environment of its own, such as conda's
            self._import_wanted()
            self._fork(request, client, outputs)
        else:
            client.close()
        for output in outputs:
            os.close(output)

    def _import_wanted(self) -> None:
        for library in LIBRARIES:
            if library in self._wanted - self._known:
                with suppress(Exception):  # a job that needs it says what is wrong
                    import_module(library)
                self._known.add(library)

    def _fork(self, request: dict[str, Any], client: socket.socket, outputs: list[int]) -> None:
        reading, writing = os.pipe()
        number = os.fork()
        if not number:
            inherited = [key.fd for key in self._events.get_map().values()]
            _run(request, outputs, writing, [*inherited, reading], client)
        os.close(writing)
        self._watch(_Job(number, os.pidfd_open(number), client, reading))

    def _watch(self, job: _Job) -> None:
        self._jobs[job.number] = job
        self._events.register(job.ended, selectors.EVENT_READ, lambda: self._end(job))
        self._events.register(job.client, selectors.EVENT_READ, lambda: self._abandon(job))

    def _abandon(self, job: _Job) -> None:
        """End a job whose client is gone, as it would have ended in the client's place."""
        if job.client.fileno() < 0:  # it has ended, told of in the same batch of events
            return
        self._events.unregister(job.client)
        job.client.close()
        os.kill(job.number, signal.SIGTERM)

    def _end(self, job: _Job) -> None:
        self._events.unregister(job.ended)
        status = os.waitstatus_to_exitcode(os.waitpid(job.number, 0)[1])
        os.set_blocking(job.imported, False)
        with suppress(BlockingIOError):
            self._wanted |= set(os.read(job.imported, REQUEST_BYTES).decode().split())
        os.close(job.ended)
        os.close(job.imported)
        del self._jobs[job.number]
        if job.client.fileno() >= 0:
            self._events.unregister(job.client)
            with suppress(OSError):
                job.client.send(str(status if status >= 0 else 128 - status).encode())
            job.client.close()


class _Job(NamedTuple):
    """A forked job: its process, a descriptor that is readable when it has ended, its client, what it imported."""

    number: int
    ended: int
    client: socket.socket
    imported: int


def _run(
    request: dict[str, Any], outputs: list[int], imported: int, inherited: list[int], client: socket.socket
) -> NoReturn:
    """Be the script that asked, in a fork of the server.

    The fork keeps the client's connection open: a client that reads its end knows that no fork runs its job any more.
    """
    status, server = 1, os.getppid()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor in inherited:
            os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, standard in zip((nothing, *outputs), (0, 1, 2), strict=True):
            os.dup2(descriptor, standard)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[:], sys.argv[:] = request["path"], [request["script"]]
        tempfile.tempdir = None
        for name in [name for name in sys.modules if name.partition(".")[0] == "classlens"]:
            del sys.modules[name]
        status = _status(request["script"])
        os.write(imported, " ".join(library for library in LIBRARIES if library in sys.modules).encode())
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if os.getppid() != server:  # nobody else is left to say it
            with suppress(OSError):
                client.send(str(status & 0xFF).encode())
        os._exit(status)


def _status(script: str) -> int:
    """Run a script; return what the interpreter's exit status would be."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as exited:
        if exited.code is None or isinstance(exited.code, int):
            return int(exited.code or 0)
        print(exited.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

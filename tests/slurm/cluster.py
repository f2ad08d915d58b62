"""A real SLURM on one machine: two nodes with a fake GPU each, in a folder of its own, with its own ports and keys.

By hand: `python tests/slurm/cluster.py COMMAND...` starts one, runs the command in it, and takes it down.
Needs root and the Debian packages slurm-wlm and munge. An installed SLURM or munge of the machine is not touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
NODES = {"node1": "/dev/null", "node2": "/dev/zero"}
"""Each node, and the device file that passes for its GPU. To the jobs of either node it is device 0."""
START_SECONDS = 60

CONFIGURATION = """
ClusterName=classlens
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000,sched_interval=5,bf_interval=5
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=600
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=64000 Gres=gpu:1"


def missing() -> str | None:
    """Say why no cluster can be started here, None if one can."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_search_path())]
    if absent:
        return f"SLURM is not installed here (Debian: slurm-wlm, munge): no {', '.join(absent)}"
    return None if os.geteuid() == 0 else "only root can start SLURM's daemons"


@dataclass
class Cluster:
    """A running cluster, as a context manager.

    Attributes:
        folder: where it keeps everything; short, since a socket's path may have 107 characters.
        environment: what a process needs to talk to it.
    """

    folder: Path
    environment: dict[str, str] = field(init=False)
    _daemons: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    def __enter__(self) -> Cluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        # munge refuses a folder that others may write to.
        self.folder.chmod(0o755)
        self._configure()
        with ExitStack() as failing:
            failing.callback(self.stop)
            self._start_daemons()
            failing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self, *arguments: str) -> str:
        """Run one of SLURM's commands; return what it printed."""
        ran = subprocess.run(arguments, env=self._own(), capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed: {ran.stderr or ran.stdout}")
        return ran.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Return number -> state of the jobs that the controller knows, of all states or the given ones."""
        lines = self.command("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return {number: state for number, state in map(str.split, lines) if not states or state in states}

    def stop(self) -> None:
        """End all jobs and daemons, the last started first."""
        if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
            subprocess.run(["scancel", "--user=root"], env=self._own(), check=False, capture_output=True)
            self._wait(lambda: not self.jobs("RUNNING", "COMPLETING", "PENDING"), seconds=15)
        for daemon in reversed(self._daemons.values()):
            end(daemon, signal.SIGTERM, seconds=15)
        self._daemons.clear()

    def _configure(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "state").mkdir(exist_ok=True)
        controller, *ports = free_ports(1 + len(NODES))
        nodes = "\n".join(NODE.format(name=name, port=port) for name, port in zip(NODES, ports, strict=True))
        configuration = self.folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, controller_port=controller, nodes=nodes))
        (self.folder / "gres.conf").write_text(
            "".join(f"NodeName={name} Name=gpu File={device}\n" for name, device in NODES.items())
        )
        # The jobs that Snakemake submits start srun without the variables of SLURM, so also without SLURM_CONF.
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        srun = programs / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        self.environment = {"SLURM_CONF": str(configuration), "PATH": f"{programs}:{_search_path()}"}

    def _start_daemons(self) -> None:
        folder, configuration = self.folder, self.environment["SLURM_CONF"]
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"),
            *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"),
        )
        self._ready(lambda: (folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", "-D", "-f", configuration)
        for node in NODES:
            self._start("slurmd", "-D", "-f", configuration, "-N", node, name=node)
        self._ready(self._all_idle, "slurmctld", *NODES)

    def _start(self, *arguments: str, name: str | None = None) -> None:
        name = name or arguments[0]
        with (self.folder / f"{name}.out").open("wb") as log:
            # A session of its own, so that an interrupt from the keyboard does not end it before its jobs.
            self._daemons[name] = subprocess.Popen(
                arguments, env=self._own(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _all_idle(self) -> bool:
        try:
            states = self.command("sinfo", "--noheader", "--Node", "--format=%N %T").split("\n")
        except RuntimeError:  # the controller does not answer yet
            return False
        return [f"{node} idle" for node in NODES] == sorted(filter(None, states))

    def _ready(self, condition: Callable[[], Any], *names: str) -> None:
        if not self._wait(condition, START_SECONDS):
            said = "\n".join((self.folder / f"{name}.out").read_text()[-3000:] for name in names)
            raise RuntimeError(f"{', '.join(names)} did not start:\n{said}")

    def _wait(self, condition: Callable[[], Any], seconds: float) -> bool:
        last = time.monotonic() + seconds
        while time.monotonic() < last:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def _own(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def end(process: subprocess.Popen[bytes], number: int, seconds: float) -> None:
    """End a process by a signal, or kill it when that does not end it in time."""
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at now."""
    with ExitStack() as open_sockets:
        taken = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _search_path() -> str:
    """Return where programs lie; the daemons' folder is often only on root's login path."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, Cluster(Path(place)) as cluster:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **cluster.environment}, check=False).returncode)

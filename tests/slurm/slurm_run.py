"""A run of the real workflow through SLURM, with the profile that users get."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from cluster import end
from conftest import Workflow

PATIENCE = 1200
"""Seconds after which a run counts as stuck."""
# Without accounting; all else is what users get, but for the waits.
OPTIONS = (
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--latency-wait", "5"),
)
# No option keeps the executor from waiting 10 s longer each time that no job has ended.
IMPATIENT = """
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""


class SlurmRun:
    """A run under way, as a context manager; left early, it cancels its jobs.

    Args:
        workflow: what to run; its environment has to lead to a cluster.
        arguments: further ones of snakemake, e.g. targets.
    """

    def __init__(self, workflow: Workflow, *arguments: str) -> None:
        profile = workflow.checkout / "profiles/slurm"
        python, _, _, *rest = workflow.command("--workflow-profile", str(profile), *OPTIONS, *arguments)
        self._log = workflow.folder / "snakemake.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, "-c", IMPATIENT, *rest], env=workflow.environ(), stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> SlurmRun:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            end(self._process, signal.SIGINT, seconds=30)

    def succeeds(self) -> bool:
        """Wait for the end; tell whether all went well."""
        return self._process.wait(PATIENCE) == 0

    def said(self) -> str:
        """Return the end of what Snakemake printed."""
        return self._log.read_text()[-10000:]

    def wait_for(self, found: Callable[[], Any]) -> Any:
        """Wait until something is found while the run is under way; return it."""
        last = time.monotonic() + PATIENCE
        while time.monotonic() < last:
            if result := found():
                return result
            assert self._process.poll() is None, f"the run ended before this could happen\n{self.said()}"
            time.sleep(0.05)
        raise AssertionError(f"this never happened\n{self.said()}")


def through_slurm(workflow: Workflow, *arguments: str) -> None:
    """Run the workflow through SLURM to a good end."""
    with SlurmRun(workflow, *arguments) as run:
        assert run.succeeds(), run.said()

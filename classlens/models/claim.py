"""A CUDA device of its own for every job of a machine.

`snakemake --resources gpu=2` runs two jobs at once but tells neither which device is its own, so they settle it among
themselves: a process locks one device and keeps it until it ends. The operating system then opens the lock, even if
the process was killed. Only jobs do this (see `classlens.store.job`); in a notebook `choose_device` is enough.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from functools import cache
from pathlib import Path

import torch
from filelock import BaseFileLock, FileLock, Timeout

from classlens.errors import InputError
from classlens.models.device import choose_device

FOLDER = "classlens-devices"
BATCH_JOB_VARIABLES = (
    "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX", "JOB_ID", "SGE_TASK_ID", "FLUX_JOB_ID",
)  # fmt: skip
"""Together they name a scheduler's job, down to the task of an array."""
POLL_SECONDS = 0.5

_kept: list[BaseFileLock] = []
"""A lock that nothing refers to would be opened."""

log = logging.getLogger(__name__)


def claim_device(wanted: str = "auto") -> str:
    """Return the device that this process may use, e.g. "cuda:1"; wait until there is one.

    A process that asks again is given the same CUDA device. Other devices are shared and not claimed.

    Args:
        wanted: as for `choose_device`.

    Raises:
        InputError: the wanted device is not there, or other users' permissions keep this one from locking any.
    """
    device = choose_device(wanted)
    if device.type != "cuda" or device.index is not None:
        return str(device)
    return f"cuda:{_claimed_index()}"


@cache
def _claimed_index() -> int:
    visible = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    count = torch.cuda.device_count()
    if visible and count == 1:
        index = 0  # a scheduler or the user has chosen; whoever shares the device was meant to
    else:
        index = _lock_one(visible[:count] if len(visible) >= count else [str(number) for number in range(count)])
    # For whatever asks for "cuda" without an index. The environment is left as it is: torch has read it already.
    torch.cuda.set_device(index)
    return index


def _lock_one(devices: list[str]) -> int:
    """Lock the first free device and return its place in the list.

    Args:
        devices: names by which other processes know the same devices.
    """
    folder = _folder()
    waiting = False
    while True:
        for index, device in enumerate(devices):
            # Any user must be able to lock what another one has made.
            lock = FileLock(folder / _file_name(f"{device}.lock"), mode=0o666, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            except OSError as error:
                raise InputError(
                    f"cannot lock a CUDA device for this job ({error}); remove {folder} or ask its owner to, "
                    f"or choose one device with CUDA_VISIBLE_DEVICES"
                ) from None
            _kept.append(lock)
            log.info("this job's CUDA device is %s", device)
            return index
        if not waiting:
            log.info("other jobs have all CUDA devices (%s); waiting for one", ", ".join(devices))
            waiting = True
        time.sleep(POLL_SECONDS)


def _folder() -> Path:
    """Return where the locks of this machine's devices lie, for all users.

    Inside a scheduler's job they have a folder of their own, since many schedulers number devices anew in every job.
    """
    batch_job = [os.environ[name] for name in BATCH_JOB_VARIABLES if os.environ.get(name)]
    folder = Path(tempfile.gettempdir(), _file_name("-".join([FOLDER, *batch_job])))
    try:
        folder.mkdir()
        folder.chmod(0o1777)  # whatever the umask; as /tmp, everybody adds files and deletes only their own
    except FileExistsError:
        pass
    return folder


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)

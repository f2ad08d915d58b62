"""Which process did something, told so that a later one with the same number is not taken for it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """A process of some machine.

    Attributes:
        number: its number.
        born: clock ticks from the machine's start to its own, which no change of the clock moves; 0 where the system
            does not say.
        host: the machine.
    """

    number: int
    born: int
    host: str

    @property
    def is_here(self) -> bool:
        """Whether it is one of this machine, so that it can be looked for."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; ask only for a process of this machine."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's
            pass
        return _born(self.number) == self.born


def this_process() -> Process:
    """Return the present process."""
    return Process(os.getpid(), _born(os.getpid()), socket.gethostname())


def _born(number: int) -> int:
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    is_dead = after_name[0] == b"Z"  # ended, and its parent has not asked how
    return -1 if is_dead else int(after_name[19])

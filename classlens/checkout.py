"""Make jobs import the library of the checkout whose Snakefile is run, also where another one is installed."""

from __future__ import annotations

import os
from pathlib import Path

PYTHON_PATH = "PYTHONPATH"


def import_in_jobs(root: Path) -> None:
    """Put a checkout's library and scripts first on the import path of every process that is started from here."""
    first = [str(root), str(root / "workflow/scripts")]
    given = os.environ.get(PYTHON_PATH)
    rest = [path for path in given.split(os.pathsep) if path not in first] if given else []
    os.environ[PYTHON_PATH] = os.pathsep.join([*first, *rest])

"""Make jobs import the library that plans them, also where another one is installed, or none."""

from __future__ import annotations

import os
from pathlib import Path

from classlens.shipped import CACHE, PACKAGE, workflow_folder

PYTHON_PATH = "PYTHONPATH"


def set_python_path() -> None:
    """Put this library and the workflow's scripts first on the import path of every process that is started from here.

    An installed library gets a folder of its own by a link: what is installed beside it is not for a job's environment.
    """
    first = [str(_folder()), str(workflow_folder() / "workflow/scripts")]
    given = os.environ.get(PYTHON_PATH)
    rest = [path for path in given.split(os.pathsep) if path not in first] if given else []
    os.environ[PYTHON_PATH] = os.pathsep.join([*first, *rest])


def _folder() -> Path:
    if workflow_folder() == PACKAGE.parent:
        return PACKAGE.parent
    folder = (CACHE / "library").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PACKAGE.name
    if not link.is_symlink() or os.readlink(link) != str(PACKAGE):
        link.unlink(missing_ok=True)
        link.symlink_to(PACKAGE)
    return folder

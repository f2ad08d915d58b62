"""Environments with some of the installed libraries, made of links: nothing is fetched."""

import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def with_dependencies(names):
    """Return the installed distributions that some need, directly or not, themselves included."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name.lower() in found:
            continue
        try:
            one = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        found[name.lower()] = one
        wanted = [Requirement(text) for text in one.requires or []]
        waiting += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    return found.values()


def environment(folder, names):
    """Make an environment of some installed distributions and what they need; return its Python."""
    venv.create(folder, symlinks=True)
    python = Path(folder) / "bin/python"
    site = Path(
        subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    )
    for one in with_dependencies(names):
        for entry in {file.parts[0] for file in one.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            link = site / entry
            if not link.is_symlink():
                link.symlink_to(Path(one.locate_file(entry)).absolute())
    return python


def wheel_environment(folder, wheel):
    """Make an environment with a wheel, beside the libraries of the present one; return its folder of commands."""
    venv.create(folder, symlinks=True, with_pip=True)
    commands = Path(folder) / "bin"
    subprocess.run([commands / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    site = next(Path(folder).glob("lib/python*/site-packages"))
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "libraries.pth").write_text(f"{libraries}\n")  # of which files of this kind are not followed
    return commands

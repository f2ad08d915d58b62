"""Shared test equipment: the checkout's folder, the golden numbers, and a driver of the real workflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hdf5plugin  # noqa: F401  # tests read results with h5py
import numpy as np
import pytest
import yaml
from double_job import DOUBLE
from filelock import FileLock

from classlens.store.store import Store

if not Path("/dev/nvidia0").exists():
    # Without a GPU triton's interpreter runs its kernels. The choice is made as triton is imported, which torch does.
    os.environ.setdefault("TRITON_INTERPRET", "1")

CHECKOUT = Path(__file__).resolve().parents[1]
GOLDEN = CHECKOUT / "tests" / "golden"
GOLDEN_DATASET: dict[str, Any] = {
    "kind": "imagenet_s",
    "root": str(GOLDEN / "imagenet_s"),
    "per_class": 5,
    "train_per_class": 10,
    "token_labels": "corner",
}
PARTS = ("Snakefile", "classlens", "workflow", "config", "envs", "profiles")
"""What a checkout needs for the workflow to run."""

TINY_MODEL: dict[str, Any] = {
    "dataset": "digits",
    "architecture": "vit_tiny_patch16_224",
    "options": {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "weights": "random",
    "transform": {"size": 16},
    "random_twin": False,
    "analyses": ["identifiability", "logit_increment", "class_building", "class_vs_context"],
}


def tiny_config(**models: dict[str, Any]) -> dict[str, Any]:
    """Return a config that runs in seconds."""
    return {
        "datasets": {"digits": {"kind": "digits", "per_class": 2, "train_per_class": 2}},
        "models": models or {"vit": {**TINY_MODEL, "random_twin": True}},
        "extraction": {"threads": 1},  # small models gain more from two jobs at a time
        "statistics": {"resamples": 99},
        "lens_page": {"images": 0},
    }


def printed_by(command: Sequence[str | Path], ok: bool = True, **options: Any) -> str:
    """Run a command, which must end well, or must not; return what it printed, errors last."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    printed: str = ran.stdout + ran.stderr
    assert (ran.returncode == 0) == ok, printed
    return printed


@dataclass
class Workflow:
    """Runs the real workflow in a working directory, through the command that users type."""

    folder: Path
    config: dict[str, Any]
    checkout: Path = CHECKOUT
    store: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        configfile = self.folder / "config.yaml"
        text = yaml.safe_dump(self.config, sort_keys=False)
        if not configfile.exists() or configfile.read_text() != text:
            configfile.write_text(text)
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.checkout / "Snakefile")),
            *("--directory", str(self.folder), "--configfile", str(configfile), "--cores", "2"),
            *arguments,
        ]

    def environ(self) -> dict[str, str]:
        places = {"CLASSLENS_STORE": str(self.store)} if self.store else {}
        return {**os.environ, **places, **self.environment}

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run snakemake; return what it printed."""
        return printed_by(self.command(*arguments), ok=ok, env=self.environ())

    def python(self, *arguments: str, ok: bool = True) -> str:
        """Run Python with the checkout's library in this working directory; return what it printed."""
        self.command()
        environment = {**self.environ(), "PYTHONPATH": str(self.checkout)}
        return printed_by([sys.executable, *arguments], ok=ok, env=environment, cwd=self.folder)

    def classlens(self, *arguments: str) -> str:
        """Run `classlens store ...` of the checkout on this working directory; return what it printed."""
        return self.python("-m", "classlens", "store", *arguments, "--configfile", "config.yaml")

    def opened_store(self) -> Store:
        return Store(self.store or self.folder / ".classlens")

    def computations(self) -> dict[str, str]:
        """Return what the store has computed so far: start and key -> job and wildcards."""
        return {
            f"{record.provenance['started']} {record.key}": " ".join([record.job, *record.wildcards.values()])
            for record in self.opened_store().own.records()
        }

    def computes(self, *arguments: str) -> list[str]:
        """Run snakemake and return the jobs that computed something, sorted."""
        before = self.computations()
        self.run(*(arguments or ("all",)))
        after = self.computations()
        return sorted(job for start, job in after.items() if start not in before)

    def result(self, name: str) -> Path:
        return self.folder / "results" / name


def jobs_of(computed: list[str]) -> set[str]:
    """Return the names of jobs without their wildcards."""
    return {job.split()[0] for job in computed}


def copy_checkout(destination: Path) -> Path:
    """Copy the checkout's code, so that a test may edit it."""
    destination.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, destination / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(CHECKOUT / part, destination / part)
    return destination


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The golden arrays by name."""
    with np.load(GOLDEN / "expected.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture
def few_steps(monkeypatch):
    """Integrated gradients in two steps: their number decides how long they take, and how exact they are."""
    monkeypatch.setattr("classlens.explanations.integrated.STEPS", 2)


@pytest.fixture
def described_here(monkeypatch):
    """Facts about architectures are found in this process; in one of its own it takes seconds."""
    from classlens.models.describe import describe

    here = "classlens.config.architecture._describe"
    monkeypatch.setattr(here, lambda requests: [describe(*request) for request in requests])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working directory and a project of one function."""
    root = tmp_path / "project"
    (root / "classlens").mkdir(parents=True)
    (root / "classlens/__init__.py").touch()
    (root / "classlens/double.py").write_text(DOUBLE)
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    Path("source.txt").write_text("ab")
    return root


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first test process that needs it has made, for all of them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder / ".made"
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def golden_run(tmp_path_factory):
    """The workflow on the golden images; no test changes what it made."""
    import studies

    config = studies.GOLDEN_CONFIG
    return Workflow(made_once(tmp_path_factory, "golden", lambda folder: Workflow(folder, config).run("all")), config)


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """What the golden run has not: every kind of data set, models of the user's own, a tuned lens, pages.

    What was printed is in printed.txt. A test that changes an input or the config puts it back.
    """
    import studies

    def run(folder):
        studies.write_study(folder)
        workflow = Workflow(folder, studies.study_config())
        (folder / "printed.txt").write_text(workflow.run("all", *studies.TARGETS, "--verbose"))

    return Workflow(made_once(tmp_path_factory, "study", run), studies.study_config())


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A checkout, an image folder of two classes, and a workflow that ran once on it; no test changes it."""
    import studies

    def run(folder):
        studies.write_pristine(folder / "work")
        checkout = copy_checkout(folder / "checkout")
        Workflow(folder / "work", studies.pristine_config(), checkout, folder / "store").run("all")

    base = made_once(tmp_path_factory, "pristine", run)
    return Workflow(base / "work", studies.pristine_config(), base / "checkout", base / "store")


@pytest.fixture
def workflow(pristine, tmp_path):
    """A copy of the pristine state, with its times, to be changed at will."""
    for name in ("checkout", "work", "store"):
        shutil.copytree(pristine.folder.parent / name, tmp_path / name, symlinks=True)
    return Workflow(tmp_path / "work", deepcopy(pristine.config), tmp_path / "checkout", tmp_path / "store")

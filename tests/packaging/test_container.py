"""`--sdm apptainer`, with a stand-in that runs on this machine what it is given; no image is built here."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import CHECKOUT, Workflow

from classlens import __version__

APPTAINER = """#!/bin/sh
if [ "$1" = --version ]; then echo apptainer version 1.3.0; exit; fi
printf '%s\\n' "$*" >> "$CALLS"
while [ "$1" != -c ]; do shift; done
exec bash -c "$2"
"""
CONFIG = {
    "datasets": {"digits": {"kind": "digits", "per_class": 1, "train_per_class": 1}},
    "models": {"tiny": {"dataset": "digits", "architecture": "vit_tiny_patch16_224", "weights": "random"}},
}
TARGET = "results/datasets/digits/stimuli.csv"


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Give the file in which a stand-in for apptainer keeps what it was called with."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apptainer").write_text(APPTAINER)
    (tmp_path / "bin/apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


@pytest.mark.workflow
@pytest.mark.release
def test_jobs_run_in_the_image(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("CLASSLENS_IMAGE", str(tmp_path / "own.sif"))
    (tmp_path / "own.sif").touch()
    workflow = Workflow(tmp_path / "work", CONFIG)
    workflow.run(TARGET, "--sdm", "apptainer")
    assert (workflow.folder / TARGET).is_file()
    assert f" {tmp_path / 'own.sif'} " in calls.read_text()


@pytest.mark.release
def test_the_image_of_a_release_is_the_default(tmp_path, calls, monkeypatch):
    monkeypatch.delenv("CLASSLENS_IMAGE", raising=False)
    planned = Workflow(tmp_path / "work", CONFIG).run(TARGET, "--sdm", "apptainer", "--dry-run")
    assert f"docker://classlens/classlens:v{__version__}" in planned
    released = (CHECKOUT / ".github/workflows/release.yml").read_text()
    assert "classlens/classlens:${{ github.ref_name }}" in released
    assert f"\nversion: {__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()


DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
COPIES = [(line.split(), to) for line, to in re.findall(r"^COPY (.*) (\S+)$", DOCKERFILE, re.MULTILINE)]


def test_the_dockerfile_copies_what_a_wheel_is_made_of():
    copied = {name for names, _ in COPIES for name in names}
    kept = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    assert {"pyproject.toml", "requirements.lock", "classlens", "workflow", "Snakefile"} < copied
    assert all((CHECKOUT / name).exists() for name in copied)


@pytest.mark.slow
def test_the_dockerfile_s_steps_make_what_runs(tmp_path):
    """In a folder and an environment of their own instead of an image; gigabytes are installed."""
    venv.create(tmp_path / "python", with_pip=True)
    environment = {"PATH": f"{tmp_path}/python/bin:{os.environ['PATH']}", "HOME": str(tmp_path)}
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    work.mkdir()
    for names, to in COPIES:
        for path in (CHECKOUT / name for name in names):
            if path.is_dir():
                shutil.copytree(path, source / to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, source / to)
    for step in re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE):
        subprocess.run(["bash", "-c", step], cwd=source, env=environment, check=True)
    command = json.loads(re.search(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[1])
    shutil.rmtree(source)
    subprocess.run([*command[:-1], TARGET], cwd=work, env=environment, check=True)
    assert (work / TARGET).is_file()

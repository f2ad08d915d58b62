"""A new study: its config is complete, says what is missing, and can be planned with the line that is printed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from conftest import CHECKOUT
from PIL import Image
from typer.testing import CliRunner

from classlens import cli
from classlens.catalog.configs import read_config
from classlens.check.findings import check
from classlens.study.start import TEMPLATES

OPTIONS = {"images": [], "model": ["--own-model"], "paper": ["--paper"]}


@pytest.fixture
def init(tmp_path):
    def run(*arguments, ok=True):
        done = CliRunner().invoke(cli.app, ["init", str(tmp_path / "a study"), *arguments])
        assert (done.exit_code == 0) == ok, done.output
        return done.output

    return run


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_config_lacks_nothing_but_the_users_files_and_names_its_schema_in_the_first_line(
    template, init, tmp_path, monkeypatch
):
    init(*OPTIONS[template])
    folder = tmp_path / "a study"
    config = read_config(folder / "config.yaml")
    monkeypatch.chdir(folder)
    problems = check(folder / "config.yaml", quick=True).problems
    own = [f"datasets.{name}" for name in config.datasets]
    own += [f"models.{name}.weights: missing" for name, entry in config.models.items() if ".p" in str(entry["weights"])]
    assert {next((start for start in own if problem.startswith(start)), problem) for problem in problems} == set(own)
    first, *lines = (folder / "config.yaml").read_text().splitlines()
    [url] = re.fullmatch(r"# yaml-language-server: \$schema=(file:///\S+)", first).groups()
    schema = json.loads(Path(url2pathname(urlparse(url).path)).read_text())
    assert schema["properties"]["datasets"]["description"]
    assert not [line for line in lines if "$schema" in line]


def test_nothing_is_overwritten(init, tmp_path):
    init()
    config = tmp_path / "a study/config.yaml"
    config.write_text("mine")
    assert "config.yaml is there already" in init("--paper", ok=False)
    assert config.read_text() == "mine"


def test_two_studies_at_once_are_refused(init, tmp_path):
    assert "start one of them" in init("--paper", "--own-model", ok=False)
    assert not (tmp_path / "a study").exists()


@pytest.mark.workflow
@pytest.mark.release
def test_the_printed_line_plans_a_study_of_own_images(init, tmp_path):
    printed = init()
    for class_id in ("cat", "dog"):
        (tmp_path / "a study/images" / class_id).mkdir(parents=True)
        for number in range(7):
            pixels = np.full((20, 20, 3), 10 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "a study/images" / class_id / f"{number}.png")
    [line] = [line for line in printed.splitlines() if "snakemake" in line and "--cores" in line]
    words = shlex.split(line)
    assert words[:2] == ["snakemake", "all"]
    command = [sys.executable, str(CHECKOUT / "workflow/command.py"), *words[1:], "--dry-run"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "identifiability_evolution_figure" in ran.stdout + ran.stderr

"""A comparison of two models outside any config: a config that a run takes, and a command that runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from classlens import cli
from classlens.catalog.configs import load_config
from classlens.errors import InputError
from classlens.study.compare import names_of, write_comparison


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("a/base.pt", "b/tuned v2.pt", ["base", "tuned-v2"]),
        ("a/model.pt", "b/model.pt", ["a", "b"]),
        ("hf-hub:o/x", "hf-hub:o/y", ["x", "y"]),
    ],
)
def test_models_are_called_by_their_files(first, second, names):
    assert names_of(first, second) == names


def test_the_config_is_one_that_a_run_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images/cat").mkdir(parents=True)
    for name in ("one.pt", "two.pt"):
        Path(name).touch()
    pair = write_comparison(Path("out"), "one.pt", "two.pt", Path("images"), "vit_tiny_patch16_224")
    config = load_config(yaml.safe_load(Path("out/config.yaml").read_text()))
    assert config.differences == [pair] == [["one", "two"]]
    assert config.models["one"]["weights"] == str(tmp_path / "one.pt")
    assert config.datasets["images"]["root"] == str(tmp_path / "images")
    # The same again is no other; another one has a folder of its own.
    assert write_comparison(Path("out"), "one.pt", "two.pt", Path("images"), "vit_tiny_patch16_224") == pair
    with pytest.raises(InputError, match=r"out/config\.yaml is of something else; name another folder"):
        write_comparison(Path("out"), "two.pt", "one.pt", Path("images"), "vit_tiny_patch16_224")
    with pytest.raises(InputError, match="there is no folder nowhere; --data names"):
        write_comparison(Path("other"), "one.pt", "two.pt", Path("nowhere"), None)


def test_the_command_asks_for_the_figure_and_both_pages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images/cat").mkdir(parents=True)
    Path("config.yaml").write_text("{}\n")
    started = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    printed = CliRunner().invoke(cli.app, ["diff", "run@1", "run@2"]).output
    assert "results/lens/run@2.html#beside=run@1" in printed
    [words] = started
    assert words[words.index("--configfile") + 1] == str(tmp_path / "config.yaml")
    assert words[words.index("--config") + 1] == 'differences=[["run@1", "run@2"]]'
    targets = ["results/figures/difference_run@1_run@2.svg", "results/lens/run@1.html", "results/lens/run@2.html"]
    assert words[words.index("--") + 1 :] == targets
    CliRunner().invoke(cli.app, ["diff", "hf-hub:o/x", "hf-hub:o/y", "--data", "images"])
    assert Path.cwd() == tmp_path / "classlens-diff"
    assert started[1][-3:] == ["results/figures/difference_x_y.svg", "results/lens/x.html", "results/lens/y.html"]
    refused = CliRunner().invoke(cli.app, ["diff", "x", "y", "--data", "nowhere"])
    assert refused.exit_code
    assert "there is no folder nowhere" in refused.output

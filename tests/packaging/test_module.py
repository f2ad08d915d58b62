"""Another workflow takes this one as a module, from a folder and from a tag of a repository."""

import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import CHECKOUT, TINY_MODEL, Workflow

OUTER = """
configfile: "config.yaml"


module classlens:
    snakefile: {source}
    config: config["lens"]


use rule * from classlens as lens_*


rule mean_rank:
    default_target: True
    input:
        "results/tiny/layers/block_01.h5",
    output:
        "mean_rank.txt",
    run:
        import h5py
        import hdf5plugin  # which unpacks
        with h5py.File(input[0]) as file, open(output[0], "w") as text:
            text.write(str(file["residual/rank"][:].mean()))
"""
DATASETS = {"digits": {"kind": "digits", "per_class": 2, "train_per_class": 2}}
CONFIG = {"datasets": DATASETS, "models": {"tiny": {**TINY_MODEL, "weights": "random", "random_twin": False}}}
TARGETS = ("mean_rank.txt", "results/figures/identifiability_evolution.svg")


def outer(folder, source):
    """Run a workflow with this one as a module; return what it printed."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"lens": CONFIG, "other": 1}))
    (folder / "Snakefile").write_text(OUTER.format(source=source))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    ran = subprocess.run([*command, *TARGETS], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Give a working directory of the workflow by itself."""
    workflow = Workflow(tmp_path_factory.mktemp("alone") / "work", CONFIG)
    workflow.run(*TARGETS[1:], "results/tiny/layers/block_01.h5")
    return workflow.folder


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Give a repository with the workflow's files under a tag, and none of the library."""
    repository = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "config", "envs"):
        shutil.copytree(CHECKOUT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for command in (["init"], ["add", "."], ["commit", "--message", "all"], ["tag", "v1"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command], cwd=repository, capture_output=True, check=True)
    return repository


@pytest.mark.workflow
@pytest.mark.parametrize("kind", ["folder", "tag"])
def test_another_workflow_takes_this_one_in(tmp_path, alone, tagged, kind):
    """A tag has no library beside it: that of the environment is used."""
    by_tag = f'gitfile("{tagged}", path="workflow/Snakefile", tag="v1")'
    printed = outer(tmp_path / "outer", by_tag if kind == "tag" else repr(str(CHECKOUT / "workflow/Snakefile")))
    assert "lens_extract" in printed
    assert float((tmp_path / "outer/mean_rank.txt").read_text()) > 0
    for result in (TARGETS[1], "results/tiny/layers/block_01.h5"):
        assert (tmp_path / "outer" / result).read_bytes() == (alone / result).read_bytes()

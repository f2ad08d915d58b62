"""Another workflow, be it what snakedeploy writes, takes this one as a module, from a folder and from a tag."""

import os
import shutil
import sys

import pytest
import yaml
from conftest import CHECKOUT, TINY_MODEL, Workflow, printed_by
from environments import environment

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
DEPLOYED = """from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


# declare https://github.com/OWNER/classlens as a module
module classlens:
    snakefile: 
        {source}
    config:
        config


# use all rules from https://github.com/OWNER/classlens
use rule * from classlens
"""
"""What snakedeploy 0.17 writes, but for the source, which is github(...) there."""
pytestmark = [pytest.mark.workflow, pytest.mark.release]

DATASETS = {"digits": {"kind": "digits", "per_class": 2, "train_per_class": 2}}
CONFIG = {"datasets": DATASETS, "models": {"tiny": {**TINY_MODEL, "weights": "random", "random_twin": False}}}
TARGETS = ("mean_rank.txt", "results/figures/identifiability_evolution.svg")


def outer(folder, source):
    """Run a workflow with this one as a module; return what it printed."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"lens": CONFIG, "other": 1}))
    (folder / "Snakefile").write_text(OUTER.format(source=source))
    return printed_by([sys.executable, "-m", "snakemake", "--cores", "2", *TARGETS], cwd=folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Give a working directory of the workflow by itself."""
    workflow = Workflow(tmp_path_factory.mktemp("alone") / "work", CONFIG)
    workflow.run(*TARGETS[1:], "results/tiny/layers/block_01.h5")
    return workflow.folder


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Name the workflow in a repository that has its files under a tag, and none of the library."""
    repository = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "config", "envs"):
        shutil.copytree(CHECKOUT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for command in (["init"], ["add", "."], ["commit", "--message", "all"], ["tag", "v1"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        printed_by(["git", *who, *command], cwd=repository)
    return f'gitfile("{repository}", path="workflow/Snakefile", tag="v1")'


@pytest.fixture(params=["folder", "tag"])
def source(request, tagged):
    """Where a workflow takes this one from: a tag has no library beside it, and that of the environment is used."""
    return tagged if request.param == "tag" else repr(str(CHECKOUT / "workflow/Snakefile"))


def test_another_workflow_takes_this_one_in(tmp_path, alone, source):
    printed = outer(tmp_path / "outer", source)
    assert "lens_extract" in printed
    assert float((tmp_path / "outer/mean_rank.txt").read_text()) > 0
    for result in (TARGETS[1], "results/tiny/layers/block_01.h5"):
        assert (tmp_path / "outer" / result).read_bytes() == (alone / result).read_bytes()


def deploy(folder, source):
    """Leave what `snakedeploy deploy-workflow` leaves."""
    for name in ("config", "profiles"):
        shutil.copytree(CHECKOUT / name, folder / name)
    (folder / "workflow").mkdir()
    (folder / "workflow/Snakefile").write_text(DEPLOYED.format(source=source))


def test_what_snakedeploy_leaves_plans_all_of_the_edited_config(tmp_path, source):
    deploy(tmp_path, source)
    variant = {"extends": "study.yaml", "models": {"tiny": {"label": "Tiny"}}}
    for name, config in (("study", CONFIG), ("config", variant)):
        (tmp_path / f"config/{name}.yaml").write_text(yaml.safe_dump(config))
    printed = printed_by([sys.executable, "-m", "snakemake", "--dry-run"], cwd=tmp_path)
    for said in ("profile profiles/default", "results/numbers.tex", "results/tiny/output.h5"):
        assert said in printed
    assert "vit_cls" not in printed


def test_fetched_rules_say_which_library_they_lack(tmp_path, tagged):
    deploy(tmp_path / "study", tagged)
    python = environment(tmp_path / "environment", ["snakemake"])
    lonely = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    printed = printed_by([python, "-m", "snakemake", "--dry-run"], ok=False, cwd=tmp_path / "study", env=lonely)
    assert "pip install classlens, of the version that the rules are of" in printed

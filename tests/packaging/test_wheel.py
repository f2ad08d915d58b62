"""What `pip install classlens` brings: the workflow runs in an empty folder, without a checkout."""

import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import CHECKOUT, copy_checkout, printed_by
from environments import wheel_environment

from classlens.shipped import WEIGHTS

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Give the folder of a wheel and a source distribution."""
    folder = tmp_path_factory.mktemp("built")
    source = copy_checkout(folder / "source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((CHECKOUT / name).read_bytes())
    program = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    printed_by(program)
    return folder


@pytest.fixture(scope="module")
def commands(built, tmp_path_factory):
    """Give the commands of an environment with the wheel."""
    (wheel,) = built.glob("*.whl")
    return wheel_environment(tmp_path_factory.mktemp("environment"), wheel)


def test_a_wheel_holds_package_and_workflow(built):
    (wheel,) = built.glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info" not in name}
    here = {path for path in CHECKOUT.glob("classlens/**/*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {str(path.relative_to(CHECKOUT)) for path in here}
    for folder in ("workflow", "config", "envs", "profiles"):
        files = [
            path for path in (CHECKOUT / folder).glob("**/*") if path.is_file() and "__pycache__" not in path.parts
        ]
        expected |= {f"classlens/_workflow/{path.relative_to(CHECKOUT)}" for path in files}
    assert packed == {*expected, "classlens/_workflow/Snakefile"}


def test_a_source_distribution_makes_the_same_wheel(built):
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"Snakefile", "workflow/Snakefile", "classlens/data/digits.csv.gz", "pyproject.toml"} <= names


@pytest.mark.workflow
def test_an_installed_package_runs_in_an_empty_folder(commands, tmp_path):
    def run(*command):
        return printed_by(command, cwd=tmp_path)

    snakefile = Path(run(commands / "classlens", "snakefile").strip())
    assert snakefile.is_relative_to(commands.parent)
    planned = run(commands / "python", "-m", "snakemake", "-s", snakefile, "--cores", "1", "--dry-run")
    assert "identifiability_evolution_figure" in planned
    target, trained = "results/vit_cls-random/layers/block_00.h5", "results/vit_cls/weights.safetensors"
    assert "gather_6" in run(commands / "classlens", "run", target, trained, "--cores", "2")
    assert (tmp_path / target).is_file()
    assert (tmp_path / trained).read_bytes() == (WEIGHTS / "vit_cls.safetensors").read_bytes()
    assert "Nothing to be done" in run(commands / "classlens", "run", target)
    # A config of the folder is taken: this one has no model of that name.
    (tmp_path / "config.yaml").write_text((CHECKOUT / "config/config.yaml").read_text().replace("vit_cls:", "own:"))
    assert target.replace("vit_cls", "own") in run(commands / "classlens", "run", "--dry-run")

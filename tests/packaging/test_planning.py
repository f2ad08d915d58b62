"""The workflow is planned by Snakemake alone: nothing that computes has to be there."""

import json

import pytest
import yaml
from conftest import CHECKOUT, printed_by
from environments import environment
from PIL import Image

from classlens.config import architecture
from classlens.data.class_folders import SUFFIXES
from classlens.ship import shipped
from classlens.shipped import ARCHITECTURES


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Give what runs Snakemake in an environment with what it needs itself."""
    place = tmp_path_factory.mktemp("environment")
    python = environment(place, ["snakemake"])
    for library in ("numpy", "PIL", "filelock", "tqdm", "torch", "timm", "pandas", "classlens"):
        printed_by([python, "-c", f"import {library}"], ok=False, cwd=place)

    def run(folder, *arguments, ok=True):
        command = [python, "-m", "snakemake", "--snakefile", CHECKOUT / "Snakefile", "--directory", folder]
        return printed_by([*command, "--cores", "1", *arguments], ok=ok, cwd=folder)

    return run


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--dry-run", "total"),
        pytest.param("--list", "identifiability", marks=pytest.mark.release),
        pytest.param("--lint", "in a good condition", marks=pytest.mark.release),
    ],
)
def test_the_default_config_is_read_with_snakemake_alone(alone, tmp_path, option, said):
    assert said in alone(tmp_path, option)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "vit_small_patch32_224"}, ["vit_small_patch32_224", "lacks torch and timm"]),
        ({"head": "head.npz", "weights": "weights.safetensors"}, ["cannot be planned without numpy"]),
    ],
)
def test_what_another_config_needs_is_named(alone, tmp_path, change, said):
    config = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text())
    config["models"]["vit_cls"] |= {"options": {}, "weights": "random", "transform": {}, **change}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    printed = alone(tmp_path, "--configfile", str(tmp_path / "config.yaml"), "--dry-run", ok=False)
    assert all(part in printed for part in said), printed
    assert "Traceback" not in printed


def test_shipped_facts_are_those_of_timm():
    assert json.loads(ARCHITECTURES.read_text()) == shipped(), "run python -m classlens.ship"


def test_shipped_facts_are_for_one_version_of_timm(monkeypatch):
    assert architecture._shipped()
    monkeypatch.setattr(architecture, "version", lambda _name: "0.0.1")
    assert not architecture._shipped()


def test_images_are_those_that_pillow_opens():
    assert {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN} == SUFFIXES

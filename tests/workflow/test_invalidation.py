"""The invalidation table: each row runs the real workflow, and the store's records tell which jobs computed."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import TINY_MODEL, Workflow, copy_checkout, tiny_config
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.workflow

FIGURES = {
    "identifiability_evolution_figure", "identifiability_comparison_figure", "logit_increment_figure",
    "class_building_figure", "class_vs_context_figure",
}  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A checkout, an image folder of two classes, and a workflow that ran once on it; no test changes it."""
    base = tmp_path_factory.mktemp("pristine")
    checkout = copy_checkout(base / "checkout")
    workflow = Workflow(base / "work", make_config(base / "work"), checkout, store=base / "store")
    workflow.run("all")
    return workflow


def make_config(folder: Path) -> dict:
    """Two models on golden images in the ImageNet-S layout, cut down to two classes of three images."""
    from conftest import GOLDEN

    root = folder / "images"
    if not root.exists():
        shutil.copytree(GOLDEN / "imagenet_s", root)
        for stim_info in (root / "ImageNetS919").glob("*_stim_info.csv"):
            stim_info.unlink()
        (root / "data/categories/ImageNetS_categories_im919.txt").write_text("n02002724\nn02011460\n")
    model = {
        **TINY_MODEL, "dataset": "images",
        "options": {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2},
        "transform": {"size": 32},
    }  # fmt: skip
    config = tiny_config(first=model, second=deepcopy(model) | {"label": "Second", "random_twin": True})
    config["models"]["second"]["weights"] = "weights.safetensors"
    config["datasets"] = {"images": {"kind": "imagenet_s", "root": "images", "per_class": 3, "train_per_class": 2}}
    weights = folder / "weights.safetensors"
    if not weights.exists():
        subprocess.run([sys.executable, "-c", MAKE_WEIGHTS, str(weights)], check=True)
    return config


MAKE_WEIGHTS = """
import sys, torch
from safetensors.torch import save_file
from classlens.models.build import build
torch.manual_seed(5)
options = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 1000}
save_file(build("vit_tiny_patch16_224", options).state_dict(), sys.argv[1])
"""


@pytest.fixture
def workflow(pristine, tmp_path):
    """A copy of the pristine state, with its times, to be changed at will."""
    shutil.copytree(pristine.checkout, tmp_path / "checkout", symlinks=True)
    shutil.copytree(pristine.folder, tmp_path / "work", symlinks=True)
    shutil.copytree(pristine.store, tmp_path / "store", symlinks=True)
    return Workflow(tmp_path / "work", deepcopy(pristine.config), tmp_path / "checkout", tmp_path / "store")


def jobs(computed):
    return {job.split()[0] for job in computed}


def edit(file: Path, old: str, new: str):
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))


def test_everything_was_computed_once(pristine):
    computed = list(pristine.computations().values())
    assert {job.split()[0] for job in computed} >= FIGURES | {"stimuli", "pixels", "weights", "extract", "gather"}
    assert len(computed) == len(set(computed))


def test_run_again(workflow):
    workflow.run("all")
    assert "Nothing to be done" in workflow.run("all")
    assert workflow.computes() == []


def test_touch_everything(workflow):
    for folder in (workflow.checkout, workflow.folder, workflow.store):
        for path in folder.rglob("*"):
            if path.is_file() and ".snakemake" not in path.parts:
                os.utime(path)
    assert workflow.computes() == []


def test_comments_docstrings_and_formatting(workflow):
    for path in [*workflow.checkout.glob("classlens/**/*.py"), *workflow.checkout.glob("workflow/scripts/*.py")]:
        text = path.read_text()
        text = re.sub(r'^"""', '"""Changed. ', text, count=1)
        path.write_text(f"# a comment\n{text}\n\n# another one\n".replace("\n\n\n", "\n\n\n\n"))
    assert workflow.computes() == []


SAME = "\n\nSAME = 0\n"


def add(file: Path, text: str = SAME):
    """Add a definition that changes no number."""
    file.write_text(file.read_text() + text)


def test_edit_the_module_of_one_analysis(workflow):
    add(workflow.checkout / "classlens/measures/logit_increment.py")
    # The numbers are the same, so what is drawn from them stays.
    assert jobs(workflow.computes()) == {"logit_increment"}


def test_edit_a_module_that_many_import(workflow):
    add(workflow.checkout / "classlens/statistics/resampling.py")
    computed = jobs(workflow.computes())
    assert {"logit_increment", "class_building", "identifiability_rates"} <= computed
    assert not computed & {"stimuli", "weights", "extract", "gather", "identifiability", *FIGURES}


def test_edit_of_an_analysis_that_changes_its_numbers(workflow):
    edit(workflow.checkout / "classlens/measures/logit_increment.py", "100 * rates", "99 * rates")
    assert jobs(workflow.computes()) == {"logit_increment", "comparison_table", "logit_increment_figure"}


def test_edit_of_one_job_of_a_batch(workflow):
    edit(workflow.checkout / "classlens/measures/identifiability_rates.py", "100 * tokens", "99 * tokens")
    assert jobs(workflow.computes()) == {"identifiability_rates", "comparison_table"}


def test_edit_the_code_of_one_figure(workflow):
    add(workflow.checkout / "classlens/figures/logit_increment.py")
    assert jobs(workflow.computes()) == {"logit_increment_figure"}


def test_accept_an_edit(workflow):
    """What comes before 10,000 GPU hours may be tidied without paying them again."""
    workflow.run("all")
    add(workflow.checkout / "classlens/inference/projection.py")
    layer = "results/first/layers/block_01.h5"
    assert "extract" in workflow.classlens("explain", layer)
    assert "accepted: results/first/shards/0.h5 (extract)" in workflow.classlens("accept", layer)
    assert "would not be computed" in workflow.classlens("explain", layer)
    computed = workflow.computes()
    assert "extract second 0" in computed
    assert not [job for job in computed if job.startswith("extract first")]


def test_change_a_label(workflow):
    workflow.config["models"]["second"]["label"] = "Number two"
    computed = jobs(workflow.computes())
    assert computed
    assert computed <= FIGURES
    workflow.config["models"]["second"]["label"] = "Second"
    assert workflow.computes() == []


def test_change_one_models_transform(workflow):
    workflow.config["models"]["second"]["transform"]["mean"] = [0.4, 0.5, 0.6]
    computed = workflow.computes()
    assert not [job for job in computed if re.search(r"\bfirst\b", job)]
    assert "extract second 0" in computed
    assert jobs(computed) & {"stimuli", "pixels", "masks", "weights", "token_labels"} == set()
    workflow.config["models"]["second"]["transform"].pop("mean")
    assert workflow.computes() == []


def test_change_one_models_options(workflow):
    workflow.config["models"]["first"]["options"]["num_heads"] = 4
    computed = workflow.computes()
    assert not [job for job in computed if re.search(r"\bsecond\b", job)]
    assert {"weights first", "extract first 0", "gather first"} <= set(computed)


def test_replace_one_image(workflow):
    folder = workflow.folder / "images/ImageNetS919/validation/n02002724"
    first, second = sorted(folder.iterdir())[:2]
    kept = first.read_bytes()
    shutil.copy(second, first)
    computed = jobs(workflow.computes())
    assert {"stimuli", "pixels", "extract"} <= computed
    assert "weights" not in computed
    first.write_bytes(kept)
    assert workflow.computes() == []


def test_save_equal_weights_again(workflow):
    path = workflow.folder / "weights.safetensors"
    save_file(load_file(path), path, metadata={"saved": "again"})
    assert workflow.computes() == ["weights second"]


def test_upstream_gives_the_same_bytes(workflow):
    add(workflow.checkout / "classlens/data/listing.py")
    assert workflow.computes() == ["stimuli images"]


def test_add_a_model_and_take_it_back(workflow):
    workflow.config["models"]["third"] = deepcopy(workflow.config["models"]["first"]) | {"seed": 0}
    del workflow.config["models"]["third"]["seed"]
    workflow.config["models"]["third"]["options"]["embed_dim"] = 32
    computed = workflow.computes()
    assert {"weights third", "extract third 0", "gather third"} <= set(computed)
    assert not [job for job in computed if re.search(r"\b(first|second)\b", job)]
    del workflow.config["models"]["third"]
    assert workflow.computes() == []


def test_revert_code(workflow):
    path = workflow.checkout / "classlens/extraction/extract.py"
    before = path.read_text()
    add(path)
    assert jobs(workflow.computes()) == {"extract"}
    path.write_text(before)
    assert workflow.computes() == []


def test_fresh_clone_and_second_user(workflow, tmp_path):
    shutil.rmtree(workflow.folder / "results")
    clone = copy_checkout(tmp_path / "clone")
    other = Workflow(tmp_path / "elsewhere", workflow.config, clone, workflow.store)
    other.folder.mkdir()
    shutil.copytree(workflow.folder / "images", other.folder / "images")
    shutil.copy(workflow.folder / "weights.safetensors", other.folder)
    assert other.computes() == []
    assert other.result("figures/logit_increment.svg").exists()


def test_delete_results(workflow):
    shutil.rmtree(workflow.folder / "results")
    assert workflow.computes() == []
    assert workflow.result("figures/logit_increment.png").exists()


def resources(printed, rule):
    """Return what the jobs of a rule asked for, as printed."""
    blocks = re.findall(rf"rule {rule}:\n((?: +.*\n)+)", printed)
    return [re.search(r"resources: (.*)", block)[1] for block in blocks]


def test_a_result_of_the_store_asks_for_no_gpu(workflow):
    shutil.rmtree(workflow.folder / "results")
    asked = resources(workflow.run("all"), "extract")
    assert asked
    assert all("gpu=0" in one and "runtime=5" in one for one in asked)
    add(workflow.checkout / "classlens/extraction/extract.py")
    asked = resources(workflow.run("all"), "extract")
    assert asked
    assert all("gpu=1" in one and "runtime=60" in one for one in asked)


def test_a_cluster_that_knows_gpus_as_gres_alone(workflow):
    workflow.environment["CLASSLENS_GRES"] = "gpu:1"
    add(workflow.checkout / "classlens/extraction/extract.py")
    asked = resources(workflow.run("-n", "all"), "extract")
    assert asked
    assert all("gpu=0" in one and "gres=gpu:1" in one for one in asked)
    shutil.rmtree(workflow.folder / "results")
    edit(workflow.checkout / "classlens/extraction/extract.py", SAME, "")
    asked = resources(workflow.run("all"), "extract")
    assert asked
    assert not any("gpu=1" in one or "gpu:1" in one for one in asked)


def test_metadata_of_the_scheduler_is_not_needed(workflow):
    shutil.rmtree(workflow.folder / "results")
    shutil.rmtree(workflow.folder / ".snakemake")
    assert workflow.computes() == []


@pytest.mark.parametrize("library", ["timm", "torch"])
def test_another_version_of_a_library(workflow, tmp_path, library):
    folder = tmp_path / "newer" / f"{library}-99.9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.9\n")
    workflow.environment["PYTHONPATH"] = str(tmp_path / "newer")
    computed = jobs(workflow.computes())
    # Equal weights and layer files come out, so nothing behind them computes.
    assert computed == {"weights", "extract"}


def test_wildcards_are_never_mixed_up(workflow):
    """Two models that differ in their weights alone have different results under the right names."""
    first, second = (workflow.result(f"{name}/layers/block_01.h5").read_bytes() for name in ("first", "second"))
    assert first != second
    shutil.rmtree(workflow.folder / "results")
    assert workflow.computes() == []
    assert workflow.result("first/layers/block_01.h5").read_bytes() == first
    assert workflow.result("second/layers/block_01.h5").read_bytes() == second


@pytest.mark.parametrize("shared", [False, True])
def test_a_damaged_result_is_made_anew(workflow, shared):
    """A hard link shares its bytes with the store and damages it; then that file's job computes, and no other."""
    if shared:
        shutil.rmtree(workflow.folder / "results")
    workflow.run("all")
    layer = workflow.result("first/layers/block_01.h5")
    assert (layer.stat().st_nlink > 1) == shared
    good = layer.read_bytes()
    layer.chmod(0o644)
    layer.write_bytes(good[: len(good) // 2])
    printed = workflow.run("--dry-run", "--quiet", "all")
    assert "block_01.h5 was changed since it was made" in printed
    computed = workflow.computes()
    assert layer.read_bytes() == good
    assert jobs(computed) == ({"gather"} if shared else set())


def test_the_command_line_explains(workflow):
    workflow.run("all")

    classlens = workflow.classlens
    figure = "results/figures/logit_increment.svg"
    assert "would not be computed" in classlens("explain", figure)
    workflow.config["models"]["first"]["options"]["num_heads"] = 4
    workflow.command()
    explained = classlens("explain", figure)
    assert f"{figure} (logit_increment_figure) would be computed" in explained
    assert "config options.num_heads: 2 -> 4" in explained
    workflow.config["models"]["first"]["options"]["num_heads"] = 2
    workflow.config["models"]["first"]["label"] = "New"
    workflow.command()
    assert "New" in classlens("explain", figure)
    shown = classlens("provenance", "results/tables/logit_increment.csv", "--all")
    assert "by stimuli" in shown
    assert re.search(r"images/ImageNetS919/validation/n02002724/\S+JPEG  raw  [0-9a-f]{12}", shown)
    assert "weights.safetensors  raw" in shown
    assert re.search(r"\d+ blobs, ", classlens("list"))
    assert "0 damaged" in classlens("verify")
    assert "took 0 records" in classlens("gc", "--older-than", "1")

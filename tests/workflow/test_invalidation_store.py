"""The invalidation table, clones, deletions, damage and versions: the store's records tell which jobs computed."""

import re
import shutil

import pytest
from conftest import Workflow, copy_checkout
from edits import SAME, add, edit, jobs

pytestmark = pytest.mark.workflow


def test_fresh_clone_and_second_user(workflow, tmp_path):
    shutil.rmtree(workflow.folder / "results")
    clone = copy_checkout(tmp_path / "clone")
    other = Workflow(tmp_path / "elsewhere", workflow.config, clone, workflow.store)
    other.folder.mkdir()
    shutil.copytree(workflow.folder / "images", other.folder / "images")
    shutil.copy(workflow.folder / "weights.safetensors", other.folder)
    assert other.computes() == []
    assert other.result("figures/logit_increment.svg").exists()


def test_delete_results_and_what_the_scheduler_knows(workflow):
    """Two models that differ in their weights alone get their own results back, under the right names."""
    first, second = (workflow.result(f"{name}/layers/block_01.h5").read_bytes() for name in ("first", "second"))
    assert first != second
    shutil.rmtree(workflow.folder / "results")
    shutil.rmtree(workflow.folder / ".snakemake")
    assert workflow.computes() == []
    assert workflow.result("figures/logit_increment.png").exists()
    assert workflow.result("first/layers/block_01.h5").read_bytes() == first
    assert workflow.result("second/layers/block_01.h5").read_bytes() == second


def resources(printed, rule):
    """Return what the jobs of a rule asked for, as printed."""
    blocks = re.findall(rf"rule {rule}:\n((?: +.*\n)+)", printed)
    return [re.search(r"resources: (.*)", block)[1] for block in blocks]


def without_weights(workflow):
    """Let the store forget weights: what follows from them cannot be known before they are there."""
    shutil.rmtree(workflow.folder / "results")
    store = workflow.opened_store()
    for record in store.own.records():
        if record.job == "weights":
            store.own.action(record.key).unlink()


def test_a_stored_result_is_no_job(workflow):
    shutil.rmtree(workflow.folder / "results")
    planned = workflow.run("-n", "all")
    assert "From the store: " in planned
    assert "Nothing to be done" in planned
    workflow.config["models"]["second"]["label"] = "Number two"
    planned = workflow.run("-n", "all")
    assert "Will compute: " in planned
    # Figures and tables alone, which nothing but numbers for LaTeX is made from.
    assert re.search(r"May compute, .*: numbers\n", planned)
    without_weights(workflow)
    planned = workflow.run("-n", "results/first/layers/block_01.h5")
    assert "Will compute: weights\n" in planned
    assert re.search(r"May compute, .*: extract, gather_2\n", planned)


def test_restored_results_know_what_they_are_of(workflow):
    """In a new folder Snakemake has noted nothing; it sees changes all the same, and reports when results were made."""
    for folder in ("results", ".snakemake"):
        shutil.rmtree(workflow.folder / folder)
    assert "Nothing to be done" in workflow.run("all")
    assert "Missing metadata for file results/figures" not in workflow.run("--report", "report.html")
    workflow.config["statistics"]["resamples"] += 1
    assert "Nothing to be done" not in workflow.run("-n", "all")
    assert workflow.computes()
    workflow.config["statistics"]["resamples"] -= 1
    assert "Nothing to be done" in workflow.run("all")


def test_a_result_of_the_store_asks_for_no_gpu(workflow):
    without_weights(workflow)
    asked = resources(workflow.run("all"), "extract")
    assert asked
    assert all("gpu=0" in one and "runtime=5" in one for one in asked)
    add(workflow.checkout / "classlens/passes/extraction.py")
    asked = resources(workflow.run("-n", "all"), "extract")
    assert asked
    assert all("gpu=1" in one and "runtime=60" in one for one in asked)


def test_a_cluster_that_knows_gpus_as_gres_alone(workflow):
    workflow.environment["CLASSLENS_GRES"] = "gpu:1"
    add(workflow.checkout / "classlens/passes/extraction.py")
    asked = resources(workflow.run("-n", "all"), "extract")
    assert asked
    assert all("gpu=0" in one and "gres=gpu:1" in one for one in asked)
    without_weights(workflow)
    edit(workflow.checkout / "classlens/passes/extraction.py", SAME, "")
    asked = resources(workflow.run("all"), "extract")
    assert asked
    assert not any("gpu=1" in one or "gpu:1" in one for one in asked)


def test_other_versions_of_libraries(workflow, tmp_path):
    for library in ("timm", "torch"):
        folder = tmp_path / "newer" / f"{library}-99.9.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.9\n")
    workflow.environment["PYTHONPATH"] = str(tmp_path / "newer")
    # Equal weights and layer files come out, so nothing downstream of them computes.
    assert jobs(workflow.computes()) == {"weights", "extract"}


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

"""Two real Snakemakes in one working directory, one of which only looks."""

import subprocess
from copy import deepcopy

import pytest
from conftest import Workflow

from classlens.digest import digest_file
from classlens.store.workdir import PlacedFiles

pytestmark = pytest.mark.workflow


def state(workflow):
    files = [path for path in (workflow.folder / "results").rglob("*") if path.is_file()]
    return {path: (digest_file(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.mark.release
def test_looks_with_another_config_beside_a_run_and_after_it(workflow, tmp_path):
    other = Workflow(workflow.folder, deepcopy(workflow.config), workflow.checkout, workflow.store)
    other.config["statistics"]["resamples"] += 1
    look = [*workflow.command("-n", "all")]
    look[look.index("--configfile") + 1] = str(tmp_path / "first.yaml")
    (workflow.folder / "config.yaml").rename(tmp_path / "first.yaml")
    stored = {one.key for one in workflow.opened_store().own.records()}
    run = subprocess.Popen(other.command("all"), env=other.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    looked = 0
    while run.poll() is None:
        looked += subprocess.run(look, env=other.environ(), capture_output=True, check=False).returncode == 0
    assert run.returncode == 0, run.stdout.read()
    assert looked > 1
    # What the first config made is stored, and what the second made is there.
    after = state(workflow)
    placed = PlacedFiles(workflow.folder, workflow.store).all()
    listed = {workflow.folder / path: placed[path].digest for path in placed}
    assert len(after) > 45
    assert {path: digest for path, (digest, *_) in after.items()} == {path: listed[path] for path in after}
    computed = {one.key for one in workflow.opened_store().own.records()} - stored
    assert computed <= {one.key for one in placed.values()}
    assert len(computed) > 3
    # Nor does a look alone put what is stored in the place of what is there.
    printed = subprocess.run(look, env=other.environ(), capture_output=True, text=True, check=True)
    assert "A run would take from the store" in printed.stderr
    assert state(workflow) == after


def test_a_snakemake_with_other_inner_parts_does_without_links_before_planning(workflow, tmp_path):
    hidden = "import snakemake.persistence as one, snakemake.persistence.file, snakemake.persistence.db\n"
    (tmp_path / "sitecustomize.py").write_text(f"{hidden}del one.MetadataRecord\n")
    (workflow.folder / "results/tables/overview.csv").unlink()
    workflow.environment = {"PYTHONPATH": str(tmp_path)}
    printed = workflow.run("-n", "results/tables/overview.csv")
    assert "stored results are not linked before planning" in printed
    assert "MetadataRecord" in printed
    assert "rule overview" in printed

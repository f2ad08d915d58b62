"""The command that users type."""

from __future__ import annotations

import os
import runpy
import sys

import pytest
from conftest import CHECKOUT, printed_by

COMMAND = CHECKOUT / "workflow/command.py"
rearranged = runpy.run_path(str(COMMAND))["rearranged"]


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("--cores 8 --resources gpu=2 all", "all --cores 8 --resources gpu=2"),
        ("--resources gpu=2 mem_mb=9 all a=b.svg --cores 8", "all a=b.svg --resources gpu=2 mem_mb=9 --cores 8"),
        ("first --resources gpu=2 second", "second first --resources gpu=2"),
        ("--resources gpu=2 all --cores 8 -- other", "--resources gpu=2 --cores 8 -- other all"),
        ("--cores 8 --resources gpu=2 -- all", "--cores 8 --resources gpu=2 -- all"),
        ("all --cores 8 --resources gpu=2", "all --cores 8 --resources gpu=2"),
        ("--configfile a.yaml b.yaml --cores 8", "--configfile a.yaml b.yaml --cores 8"),
        ("--configfile a.yaml all --cores 8", "all --configfile a.yaml --cores 8"),
        ("--cores 8 --configfile a.yaml out.svg in.yaml", "out.svg in.yaml --cores 8 --configfile a.yaml"),
        ("--configfile a.yaml --resources gpu=2 all", "all --configfile a.yaml --resources gpu=2"),
        ("-C seed=1 -n", "-C seed=1 -n"),
    ],
)
def test_targets_after_pairs_are_targets(typed, passed):
    assert rearranged(typed.split()) == passed.split()


@pytest.mark.parametrize(
    ("cache", "said"), [("missing", ""), ("file/below", "which cannot be written (Not a directory)")]
)
def test_a_home_that_cannot_be_written_is_told_with_the_way_out(tmp_path, cache, said):
    (tmp_path / "file").touch()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / cache)}
    printed = printed_by([sys.executable, COMMAND, "--version"], ok=not said, env=environment, cwd=tmp_path)
    assert said in printed
    assert ("export XDG_CACHE_HOME=/path/to/cache" in printed) == bool(said)
    assert "Traceback" not in printed


DRY_RUN = [sys.executable, COMMAND, "--snakefile", CHECKOUT / "Snakefile", "--configfile", "my.yaml", "--dry-run"]


@pytest.mark.workflow
def test_the_users_own_command_reads_its_config_as_yaml_1_2(tmp_path):
    """Names and numbers that Snakemake's own reader takes for others, in a file and after `--config`."""
    options = "{img_size: 16, patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2, init_values: 1e-5}"
    (tmp_path / "my.yaml").write_text(
        "datasets: {2024: {kind: digits, per_class: 2, train_per_class: 2}}\n"
        f"models: {{on: {{dataset: 2024, architecture: vit_tiny_patch16_224, weights: random, options: {options}}}}}\n"
    )
    changes = ["statistics={resamples: 99}", "models={on: {random_twin: false, label: 007}}"]
    more = ["--cores", "8", "--resources", "gpu=2", "results/on/layers/block_01.h5", "--config", *changes]
    printed = printed_by([*DRY_RUN, *more], cwd=tmp_path)
    assert "model=on" in printed
    assert "dataset=2024" in printed
    assert "removal_curves" not in printed


@pytest.mark.workflow
def test_a_config_without_models_is_not_completed_by_the_default_one(tmp_path):
    (tmp_path / "my.yaml").write_text("datasets: {d: {kind: digits}}\n")
    assert "config: the config: 'models' is a required property" in printed_by(DRY_RUN, ok=False, cwd=tmp_path)

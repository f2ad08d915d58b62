"""A raw input that was replaced behind Snakemake's back."""

import os
import shutil

from conftest import GOLDEN, GOLDEN_DATASET, TINY_MODEL, Workflow


def test_the_workflow_notices_an_image_replaced_by_an_older_one(tmp_path):
    """Snakemake goes by times and starts no job for it; the digest of raw inputs in a rule's params does."""
    root = tmp_path / "images"
    shutil.copytree(GOLDEN / "imagenet_s", root)
    dataset = {**GOLDEN_DATASET, "root": str(root)}
    config = {"datasets": {"golden": dataset}, "models": {"vit": {**TINY_MODEL, "dataset": "golden"}}}
    workflow = Workflow(tmp_path / "working", config)
    target = "results/datasets/golden/stimuli.csv"
    assert workflow.computes(target) == ["stimuli golden"]
    assert "Nothing to be done" in workflow.run(target)
    first, second = sorted(root.glob("ImageNetS919/validation/*/*"))[:2]
    new = tmp_path / "new"
    shutil.copy(second, new)
    os.utime(new, (1, 1))
    new.replace(first)
    assert workflow.computes(target) == ["stimuli golden"]
    os.utime(first)
    assert workflow.computes(target) == []

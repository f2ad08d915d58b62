"""What is made in shards of images has the bytes of what is made at once."""

import h5py
import numpy as np
import pytest
from conftest import GOLDEN_DATASET, TINY_MODEL, Workflow

from classlens.catalog.kinds import ATTENTION_KINDS, TOKEN_KINDS

pytestmark = pytest.mark.workflow

MODEL = {
    **TINY_MODEL,
    "dataset": "golden",
    "options": {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "transform": {"size": 32},
}
AVERAGES = {**MODEL["options"], "class_token": False, "global_pool": "avg"}
CONFIG = {
    "datasets": {"golden": {**GOLDEN_DATASET, "train_per_class": 5}},
    "models": {"vit": MODEL, "averages": {**MODEL, "options": AVERAGES}},
    "explanations": {"methods": ["gradient", "random"]},
    "faithfulness": {"random_seeds": 2},
    # Steps may make more of a last bit.
    "tuned_lens": {"steps": 0},
    "lens_page": {"images": 0},
}
RUNNING = {"batch_size": 2, "threads": 1}
"""Shards begin where batches do: other batches may round differently."""
MEANS = ("causes/heads.h5", "causes/tokens.h5", "tuned_lens/block_00.h5")
"""Begin with sums over images, of which those of shards may differ in the last bit of float64."""
FILES = [
    *(f"perturbation/attention_{kind}.h5" for kind in ATTENTION_KINDS),
    *(f"perturbation/tokens_{kind}.h5" for kind in TOKEN_KINDS),
    *(f"faithfulness/{method}{kind}" for method in ("gradient", "random") for kind in (".csv", ".h5")),
    *(f"faithfulness/{method}_pixels{kind}" for method in ("gradient", "random") for kind in (".csv", ".h5")),
    "attribution/logit.h5",
    "explanation/gradient.h5",
    "explanation/probe.h5",
    "output.h5",
    *MEANS,
]
TARGETS = [*(f"results/vit/{file}" for file in FILES), "results/averages/perturbation/attention_self_only.h5"]
SHARDS = 4
LOOKS = {"extract": 1, "perturb_attention": 3, "perturb_tokens": 2, "explanation": 1, "attribute_logits": 1}
LOOKS |= {"remove_tokens": 2, "remove_pixels": 2, "head_effects_sums": 1, "token_effects_sums": 1, "head_effects": 1}
LOOKS |= {"token_effects": 1, "tuned_lens_sums": 1, "look_through_tuned_lens": 1}
"""Files that each job makes of the model `vit`, a shard at a time."""


def made(folder, shard_size):
    workflow = Workflow(folder, {**CONFIG, "extraction": {**RUNNING, "shard_size": shard_size}})
    workflow.run(*TARGETS)
    return workflow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One shard that takes all 30 evaluation or training images, and four of which the last one is smaller."""
    return tuple(made(tmp_path_factory.mktemp(name), size) for name, size in (("whole", 30), ("shards", 8)))


@pytest.mark.parametrize("target", [target for target in TARGETS if not target.endswith(MEANS)])
def test_bytes_are_those_of_all_images_at_once(runs, target):
    whole, shards = ((run.folder / target).read_bytes() for run in runs)
    assert whole == shards


@pytest.mark.parametrize("name", MEANS)
def test_numbers_are_those_of_all_images_at_once(runs, name):
    whole, shards = (h5py.File(run.result(f"vit/{name}")) for run in runs)
    with whole, shards:
        assert list(whole) == list(shards)
        assert list(whole.attrs) == list(shards.attrs)
        for key, value in whole.attrs.items():
            found = shards.attrs[key]
            assert found == pytest.approx(value) if isinstance(value, float) else str(found) == str(value), key
        for key, values in whole.items():
            # A last bit of a float64 sum may be one of a float32 mean, and that a few of a logit of about 1.
            assert np.allclose(values, shards[key], rtol=0, atol=1e-6, equal_nan=True), key


def test_all_jobs_over_images_ran_in_shards(runs):
    whole, shards = (list(run.opened_store().own.records()) for run in runs)
    assert {record.job for record in whole if "shard" in record.wildcards} == {"extract", "look_through_tuned_lens"}
    ran = [record for record in shards if "shard" in record.wildcards and record.wildcards["model"] == "vit"]
    assert {name: sum(record.job == name for record in ran) for name in LOOKS} == {
        name: SHARDS * files for name, files in LOOKS.items()
    }
    assert {record.parts["config"]["stop"] for record in ran} == {8, 16, 24, 30}


def test_probes_of_each_block_have_a_job(runs):
    for run in runs:
        ran = [record.wildcards for record in run.opened_store().own.records() if record.job == "linear_probe"]
        assert sorted(wildcards["block"] for wildcards in ran) == ["00", "01"]


def test_no_shard_is_left(runs):
    _, shards = runs
    assert not [path for path in (shards.folder / "results").rglob("shards/**/*") if path.is_file()]


def test_a_shard_is_made_anew_alone(runs):
    """The store gives the others back."""
    _, shards = runs
    shards.result("vit/attribution/logit.h5").unlink()
    store = shards.opened_store()
    [record] = [
        record
        for record in store.own.records()
        if record.job == "attribute_logits" and record.wildcards == {"model": "vit", "shard": "2"}
    ]
    store.own.blob(record.outputs[0].digest).unlink()
    assert shards.computes("results/vit/attribution/logit.h5") == ["attribute_logits vit 2"]

"""What all rules share: the config, a job's params, and where files lie."""

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
# This checkout's library, also where another one is installed, here and in every job.
sys.path.insert(0, str(ROOT))

from classlens.checkout import import_in_jobs
from classlens.config import load_config
from classlens.errors import InputError
from classlens.jobs import describe_job
from classlens.jobs.extraction import shard_bounds
from classlens.jobs.measures import compared_models
from classlens.jobs.targets import ANALYSES, COMPARISONS, wanted_figures, wanted_tables
from classlens.models.card import with_cards
from classlens.perturbation.kinds import (
    ATTENTION_KINDS,
    TOKEN_KINDS,
    applicable_attention_kinds,
    require_attention_kind,
)
from classlens.store.job import JobParams
from classlens.store.store import store_path
from classlens.store.sweep import sweep


def told(function, *arguments, **options):
    """Call a library function; what is wrong with the user's input ends the run with its message alone."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        raise WorkflowError(str(error)) from None


import_in_jobs(ROOT)
CONFIG = told(load_config, config)
STORE = store_path(CONFIG.store)
CONFIG = told(with_cards, CONFIG)

if workflow.is_main_process:
    sweep(STORE, Path.cwd())


def job(name):
    """Return the params function of a rule: what its job may see of the config, and the known part of its key."""
    return lambda wildcards: told(describe_job, name, CONFIG, dict(wildcards), ROOT)


def part(name, inputs, outputs, **wildcards):
    """Return a job of a batch: which of the rule's inputs it gets, and which of its own outputs is which of the rule's."""
    return {
        "name": name,
        "inputs": inputs,
        "outputs": outputs,
        "wildcards": wildcards,
    }


def batch(*parts):
    """Return the params function of a rule that runs several jobs in one process, each with a key of its own."""

    def jobs(wildcards):
        return [
            JobParams({**job(one["name"])({**wildcards, **one["wildcards"]}), **one})
            for one in parts
        ]

    return jobs


def one_of(names):
    """Return a wildcard's pattern that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def models_of_depth(depth):
    return [name for name in CONFIG.models if CONFIG.card(name)["depth"] == depth]


def models_with_class_token(has_class_token):
    return [
        name
        for name in CONFIG.models
        if CONFIG.card(name)["has_class_token"] == has_class_token
    ]


BRANCHES = ("attn", "mlp")
DEPTHS = sorted({card["depth"] for card in CONFIG.cards.values()})
TRAINED = [name for name in CONFIG.models if CONFIG.trained(name)]
UNTRAINED = [name for name in CONFIG.models if not CONFIG.trained(name)]


# The report's sections.
CATEGORIES = {
    "identifiability": "Identifiability",
    "logit_increment": "Class building",
    "class_building": "Class building",
    "class_vs_context": "Class and context",
    "memories": "Memories",
    "agreement_vs_accuracy": "Memories",
    "attention_perturbation": "Perturbations",
    "token_perturbation": "Perturbations",
    "heatmaps": "Explanations",
    "faithfulness": "Explanations",
    "segmentation": "Explanations",
    "linear_probes": "Linear probes",
}


def block_files(folder, depth):
    """Return the files of a folder that has one for every block."""
    return [f"{folder}/block_{block:02d}.h5" for block in range(depth)]


def layer_files(wildcards):
    return block_files(
        f"results/{wildcards.model}/layers", CONFIG.card(wildcards.model)["depth"]
    )


def twin_files(wildcards, pattern):
    """Return a file of a model's random twin, nothing where there is no twin."""
    return expand(pattern, model=CONFIG.twin(wildcards.model) or [])


def memory_files(branch):
    """Return the function that names one branch's memory files of a model."""
    return lambda wildcards: block_files(
        f"results/{wildcards.model}/memories/{branch}",
        CONFIG.card(wildcards.model)["depth"],
    )


def last_layer_file(wildcards):
    return layer_files(wildcards)[-1]


def attention_perturbation_files(wildcards):
    return expand(
        "results/{model}/perturbation/attention_{kind}.h5",
        model=wildcards.model,
        kind=CONFIG.attention_kinds(wildcards.model),
    )


def method_files(pattern):
    """Return the function that names a file for each explanation of a model."""
    return lambda wildcards: expand(
        pattern, model=wildcards.model, method=CONFIG.methods(wildcards.model)
    )


def probe_files(wildcards):
    depth = CONFIG.card(wildcards.model)["depth"]
    return [
        f"results/{wildcards.model}/probes/{site}/block_{block:02d}.h5"
        for site in CONFIG.probes["sites"]
        for block in CONFIG.probed_blocks(depth)
    ]


def shard_files(wildcards):
    count = len(shard_bounds(CONFIG, wildcards.model))
    return [f"results/{wildcards.model}/shards/{shard}.h5" for shard in range(count)]


def pixel_file(split):
    """Return the function that names a model's stored images of one split."""

    def name(wildcards):
        dataset = CONFIG.models[wildcards.model]["dataset"]
        return f"results/datasets/{dataset}/{CONFIG.geometry(wildcards.model).name}/{split}.h5"

    return name


def weights_source(wildcards):
    """Return the user's checkpoint of a model, nothing where timm or a seed gives the weights."""
    weights = CONFIG.models[wildcards.model]["weights"]
    return [] if weights in ("pretrained", "random") else [weights]


def head_source(wildcards):
    """Return the user's own head of a model; fresh weights bring a fresh one."""
    entry = CONFIG.models[wildcards.model]
    return [entry["head"]] if entry["head"] and entry["weights"] != "random" else []


def raw_images(wildcards):
    """Return the raw files of a data set's images; braces in a name would be taken for a wildcard."""
    return told(trackable, told(CONFIG.raw_images, wildcards.dataset))


def raw_masks(wildcards):
    return told(trackable, told(CONFIG.raw_masks, wildcards.dataset))


def trackable(paths):
    for path in paths:
        if "{" in path or "}" in path:
            raise InputError(
                f"{path}: Snakemake cannot track a file with braces in its name; rename it"
            )
    return paths


def dataset_file(name):
    """Return the function that names a table of a model's data set."""
    return (
        lambda wildcards: f"results/datasets/{CONFIG.models[wildcards.model]['dataset']}/{name}"
    )

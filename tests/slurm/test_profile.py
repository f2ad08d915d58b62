"""The profile for SLURM fits the workflow: a setting for a misspelt rule would go nowhere, silently."""

import re
from collections import Counter

import pytest
import yaml
from conftest import CHECKOUT, Workflow
from studies import GOLDEN_CONFIG

from classlens.catalog.analyses import PASSES

pytestmark = pytest.mark.workflow

PROFILE = CHECKOUT / "profiles/slurm"
# Two models and their random twins, with every analysis that the defaults run.
MODEL = {**GOLDEN_CONFIG["models"]["golden"], "options": {"embed_dim": 48, "depth": 2, "num_heads": 3}}
CONFIG = {
    "datasets": GOLDEN_CONFIG["datasets"],
    "models": dict.fromkeys(("one", "two"), MODEL),
    "extraction": {"shard_size": 8},
}
ALONE = {"stimuli", "pixels", "mask_list", "masks", "token_labels", "weights", "gather_2", "memory_parameters"} | {
    *("random_explanation", "probe_explanation", "gather_tuned_lens_2"),
    *(f"{name}_join" for name, one in PASSES.items() if not one.in_shards),
    *(f"{name}_summed" for name, one in PASSES.items() if one.sums),
}
"""Jobs without a GPU that GPU jobs or many others wait for."""


@pytest.fixture(scope="module")
def profile():
    return yaml.safe_load((PROFILE / "config.yaml").read_text())


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    return Workflow(tmp_path_factory.mktemp("profile"), CONFIG)


@pytest.fixture(scope="module")
def plan(workflow):
    """What a run through SLURM would do; it works without one."""
    return workflow.run("--workflow-profile", str(PROFILE), "--dry-run", "all")


@pytest.fixture(scope="module")
def gpu_rules(plan):
    jobs = re.findall(r"^ *rule (\w+):\n(.*?)(?:\n *\n|\n *\[|\Z)", plan, re.MULTILINE | re.DOTALL)
    assert len(jobs) > 50
    return {rule for rule, said in jobs if re.search(r"resources:.*\bgpu=1\b", said)}


@pytest.mark.release
def test_every_rule_that_the_profile_names_exists(workflow, profile):
    known = set(workflow.run("--quiet", "all", "--list-rules").split())
    named = {*profile["set-resources"], *profile.get("set-threads", {}), *profile.get("groups", {})}
    assert named <= known


def test_gpu_rules_decide_for_themselves(gpu_rules, profile):
    of_shards = {f"{rule}_shard" for rule in ("perturb_attention", "explanation", "remove_tokens", "head_effects")}
    of_shards |= {"tuned_lens_sums", "look_through_tuned_lens"}
    assert {"extract", "linear_probe", "heatmaps", "head_effects_sums", *of_shards} <= gpu_rules
    assert not gpu_rules & {*profile["set-resources"], *profile.get("set-threads", {})}


def test_every_other_rule_is_in_a_group_or_known_to_be_waited_for(plan, gpu_rules):
    rules = set(re.findall(r"^ *rule (\w+):", plan, re.MULTILINE))
    grouped = {rule for jobs in group_jobs(plan).values() for rule in re.findall(r"^ +rule (\w+):", jobs, re.MULTILINE)}
    assert not grouped & gpu_rules
    assert rules - gpu_rules - grouped - {"all"} == ALONE & rules


def group_jobs(plan):
    """Return what is printed of each group's jobs."""
    return dict(re.findall(r"Group job (\S+) .*?\n(.*?)(?=\n\[|\Z)", plan, re.DOTALL))


def test_groups_are_one_per_model_and_stage(plan, workflow):
    """Snakemake refuses a plan in which a group waits for itself, so that there is a plan says that none does."""
    groups = Counter(re.findall(r"Group job (\S+)", plan))
    assert set(groups.values()) == {1}
    models = ["one", "two", "one-random", "two-random"]
    assert set(groups) == {"summary", *(f"{stage}_{m}" for stage in ("layers", "finish") for m in models)} | {
        f"memories_{m}" for m in ("one", "two")
    }
    for name, jobs in group_jobs(plan).items():
        own = set(re.findall(r"model=([\w-]+)", jobs))
        assert own == ({name.partition("_")[2]} if name != "summary" else set()), name


@pytest.mark.parametrize("key", ["rerun-triggers", "max-checksum-file-size", "show-failed-logs", "rerun-incomplete"])
def test_what_the_default_profile_says_holds_here_too(key, profile):
    default = yaml.safe_load((CHECKOUT / "profiles/default/config.yaml").read_text())
    assert profile[key] == default[key]

"""What GPU jobs ask of a scheduler: a result that the store has needs no GPU and next to no time."""

import os

from classlens.catalog.job import Gpu
from classlens.store.job import is_stored
from classlens.store.store import Store

STORED = {"gpu": 0, "runtime": 5, "mem_mb": 1000}
# What a GPU is called on a cluster that does not know --gpus, e.g. "gpu:1".
GRES = os.environ.get("CLASSLENS_GRES")


def gpu_resources(rule_name, gpu):
    """Return a GPU rule's resources: GPUs, minutes and MB of a job that computes; those of STORED where nothing is left to compute.

    Snakemake asks once more when a job's inputs are there. A job that ran out of time or memory gets more of it at its
    next attempt; that one is taken to compute, also where the store had the result a moment before.
    """
    computing = {"gpu": 1, "runtime": gpu.minutes, "mem_mb": gpu.mem_mb}
    little = dict(STORED)
    if GRES:
        computing |= {"gpu": 0, "gres": GRES}
        little |= {"gres": ""}

    def amount(name):
        def ask(wildcards, input, attempt):
            if attempt == 1 and _stored(rule_name, wildcards, input):
                return little[name]
            return computing[name] * (attempt if name in ("runtime", "mem_mb") else 1)

        return ask

    return {name: amount(name) for name in little}


# The resources of one job are asked for one after the other: the question and answer before this one.
_latest = {}


def _stored(rule_name, wildcards, input):
    try:
        times = [Path(path).stat().st_mtime_ns for path in input]
    except FileNotFoundError:
        return False
    question = (rule_name, dict(wildcards), times)
    if _latest.get("question") != question:
        declared = getattr(rules, rule_name)
        described = dict(declared.params.items())["jobs"](wildcards)
        store = Store(STORE)
        answer = all(
            is_stored(one, store, code)
            for one, code in with_code(described, input, declared.output)
        )
        _latest.update(question=question, answer=answer)
    return _latest["answer"]

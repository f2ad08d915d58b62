"""The jobs of the workflow by name, as the catalog and the rules declare them."""

import re
from dataclasses import replace

from conftest import CHECKOUT

from classlens.catalog.job import Job
from classlens.catalog.plan import describe
from classlens.catalog.rules import rules_of


def explicit_rules():
    """The jobs of the rules that are written out: each with its inputs and outputs, by name."""
    found = {}

    def job(name, function, settings=(), local=(), plugins=(), needs=(), **_shares):
        return Job(
            name,
            function,
            settings=tuple(settings),
            local=tuple(local),
            plugins=tuple(plugins),
            needs=tuple(needs),
        )

    for path in sorted((CHECKOUT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        named = {"TRAINING": call} if (call := re.search(r"TRAINING = (job\(.*?\n\))", text, re.DOTALL)) else {}
        for rule in re.findall(r"\nrule \w+:\n.*?RUN_JOB\n", text, re.DOTALL):
            said = re.search(r"        job=(\w+),\n|        job=(job\(.*?\n        \)),\n", rule, re.DOTALL)
            code = named[said[1]][1] if said[1] else said[2]
            one = eval(code, {"job": job, "raw_told": lambda kind: None})
            files = re.search(r"    input:\n(.*?)    log:", rule, re.DOTALL)[1]
            environment = re.search(r"envs/(\w+)\.yaml", rule)[1]
            found[one.name] = (
                replace(one, environment=environment),
                re.findall(r"^        (\w+)=", files, re.MULTILINE),
            )
    return found


def described(name, config, wildcards, root=CHECKOUT):
    """What travels in the params of a job's rule."""
    declared = {job.name: job for job in rules_of(config)} | {name: job for name, (job, _) in explicit_rules().items()}
    return describe(declared[name], config, wildcards, root)

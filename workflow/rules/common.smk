"""What all rules share: the config, what travels in params, and input functions."""

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
# This checkout's library, also where another one is installed, here and in every job.
sys.path.insert(0, str(ROOT))

from classlens.catalog import files
from classlens.catalog.analyses import ANALYSES, STACKED
from classlens.catalog.analyses import rules as rules_of_analyses
from classlens.catalog.plan import (
    describe_job,
    report_caption,
    wanted_figures,
    wanted_tables,
)
from classlens.checkout import import_in_jobs
from classlens.config import load_config
from classlens.configfile import keep_config
from classlens.errors import InputError
from classlens.explanations.methods import METHODS
from classlens.models.architecture import with_architectures
from classlens.perturbation.kinds import (
    ATTENTION_KINDS,
    TOKEN_KINDS,
    applicable_attention_kinds,
    require_attention_kind,
)
from classlens.store.job import digest_of_raw
from classlens.store.store import Store, store_path
from classlens.store.workdir import verify_workdir
from classlens.terms import BRANCHES, SITES


def as_workflow_error(function, *arguments, **options):
    """Call a library function; what is wrong with the user's input ends the run with its message alone."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        raise WorkflowError(str(error)) from None


import_in_jobs(ROOT)
CONFIG = as_workflow_error(load_config, config)
STORE = store_path(CONFIG.store)
CONFIG = as_workflow_error(with_architectures, CONFIG)

if workflow.is_main_process:
    as_workflow_error(CONFIG.require_training_images)
    as_workflow_error(verify_workdir, STORE, Path.cwd())


def job(name, wildcards, caption="", extra=None, **shares):
    """Describe a job; see `classlens.catalog.plan.describe_job`."""
    known = {**wildcards, **(extra or {})}
    text = caption(known) if callable(caption) else caption
    return as_workflow_error(
        describe_job,
        name,
        CONFIG,
        known,
        ROOT,
        caption=report_caption(text, CONFIG, known),
        **shares,
    )


def jobs(name, caption="", raw=()):
    """Return the params function of a rule that runs one job; `raw` names those of its inputs that no job makes."""

    def described(wildcards):
        paths = [path for files in raw for path in files(wildcards)]
        digest = as_workflow_error(digest_of_raw, paths, Store(STORE))
        return [job(name, wildcards, caption, raw=digest)]

    # Most of thousands of jobs have no raw inputs, and then no store is opened for them.
    return described if raw else lambda wildcards: [job(name, wildcards, caption)]


def batch(name, inputs, **jobs_of_rule):
    """Return the params function of a rule that runs a job for each of its outputs in one process.

    Args:
        name: of the jobs.
        inputs: names of the rule's inputs, of which each job gets all.
        jobs_of_rule: by name of the rule's output, the name that the job knows it by and the job's own wildcards.
    """
    return lambda wildcards: [
        job(name, wildcards, extra=extra, inputs=inputs, outputs={own: output})
        for output, (own, extra) in jobs_of_rule.items()
    ]


def reads(name):
    """Return a rule's input as Snakemake takes it: a path with wildcards, or a function of them."""
    if not callable(name):
        return name
    return lambda wildcards: as_workflow_error(name, CONFIG, wildcards)


def raw_files(kind):
    """Return a rule's input of raw images or masks."""
    return reads(
        lambda config, wildcards: getattr(config, f"raw_{kind}")(wildcards["dataset"])
    )


def reported(path, section, content, model="{model}"):
    """Return an output that the report shows."""
    return report(
        path,
        caption="../report/caption.rst",
        category=section,
        labels={"model": model, "content": content},
    )


def measured(analyses):
    """Return the outputs of a rule: the tables of its analyses, by name."""
    return {
        table: (
            reported(analysis.table_path(table), analysis.section, "table")
            if analysis.one_model
            else analysis.table_path(table)
        )
        for analysis in analyses
        for table in analysis.tables.values()
    }


def measures(analyses):
    """Return the params function of a rule that runs the measures of analyses."""
    return lambda wildcards: [
        job(
            analysis.name,
            wildcards,
            analysis.caption if analysis.one_model else "",
            inputs=list(analysis.inputs),
            outputs=dict(analysis.tables),
        )
        for analysis in analyses
    ]


def one_of(names):
    """Return a wildcard's pattern that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def models_where(fact, value):
    """Return a wildcard's pattern of the models with a fact about their architecture."""
    return one_of(
        name for name in CONFIG.models if CONFIG.architecture(name)[fact] == value
    )


DEPTHS = sorted({facts["depth"] for facts in CONFIG.architectures.values()})
TRAINED = [name for name in CONFIG.models if CONFIG.trained(name)]
UNTRAINED = [name for name in CONFIG.models if not CONFIG.trained(name)]

"""What all rules share: the config, what travels in params, and input functions."""

import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# The library beside these rules, also where another one is installed; rules that were fetched without it take that one.
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
if (CHECKOUT / "classlens").is_dir():
    sys.path.insert(0, str(CHECKOUT))

from classlens import __version__
from classlens.catalog import files
from classlens.catalog.analyses import ANALYSES, SECTIONS, STACKED, numbered
from classlens.catalog.analyses import rules as rules_of_analyses
from classlens.catalog.jobs import overviewed_models
from classlens.catalog.plan import (
    describe_job,
    key_without_inputs,
    report_caption,
    wanted_figures,
    wanted_pages,
    wanted_tables,
)
from classlens.checkout import import_in_jobs
from classlens.config import load_config
from classlens.configfile import as_written, keep_config
from classlens.doubts import doubts
from classlens.errors import InputError
from classlens.explanations.methods import METHODS
from classlens.models.architecture import with_architectures
from classlens.params import ReportedJobs
from classlens.perturbation.kinds import (
    ATTENTION_KINDS,
    TOKEN_KINDS,
    applicable_attention_kinds,
    require_attention_kind,
)
from classlens.runs import lock_notice, note_run
from classlens.shipped import PACKAGE, workflow_folder
from classlens.store.disk_errors import explained_disk_errors
from classlens.store.job import digest_of_raw, job_of
from classlens.store.lock import use_locks
from classlens.store.code import remember
from classlens.store.raw import list_raw
from classlens.store.store import Store, store_path
from classlens.store.workdir import changed_results, free, hold, verify_workdir
from classlens.terms import BRANCHES
from classlens.warm import WarmStart

# Of `--sdm apptainer`: what the Dockerfile makes, of the version that plans.
IMAGE = os.environ.get(
    "CLASSLENS_IMAGE", f"docker://classlens/classlens:v{__version__}"
)
# Relative, but for a repository on this machine, to which Snakemake 9.27 cannot join it.
RUN_JOBS = "../scripts/run_jobs.py"
if "git+file:" in (FOLDER := workflow.current_basedir).get_path_or_uri(True):
    RUN_JOBS = FOLDER.join(RUN_JOBS).get_path_or_uri(secret_free=True)


def as_workflow_error(function, *arguments, **options):
    """Call a library function; what is wrong with the user's input ends the run with its message alone."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    except ModuleNotFoundError as error:
        missing = f"this config cannot be planned without {error.name}, which {sys.executable} lacks"
        raise WorkflowError(
            f"{missing}; run Snakemake in an environment with classlens"
        ) from None


ROOT = PACKAGE.parent
import_in_jobs()
remember()
GIVEN = as_workflow_error(as_written, config, workflow, load_configfile, update_config)
CONFIG = as_workflow_error(load_config, GIVEN)
STORE = store_path(CONFIG.store)
if CONFIG.store:
    config["store"] = CONFIG.store  # jobs ask for it
if CONFIG.locks != "flock":
    config["locks"] = CONFIG.locks
use_locks(CONFIG.locks)
# h5py locks what it reads, too; results are whole and read-only, so that is of no use.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
CONFIG = as_workflow_error(with_architectures, CONFIG)


def call():
    """Return what this call of Snakemake is: a "run", a "dry run" or another "look"."""
    if workflow.output_settings.dryrun:
        return "dry run"
    # Snakemake says it only after the Snakefile was read; its parser takes the beginning of a long option for all of it.
    words = [word.partition("=")[0] for word in sys.argv[1:]]
    looks = [
        option
        for option in LOOKS
        for word in words
        if option == word or (word[2:] and option.startswith(word))
    ]
    if "--report-after-run" in words:
        looks = [option for option in looks if not option.startswith("--report")]
    return "look" if looks else "run"


def look_over_results():
    """Set aside what was changed if this is a run, and nobody else's; else say what a run would set aside."""
    with explained_disk_errors(STORE, Path.cwd()):
        is_held = CALL == "run" and hold(Path.cwd())
    if is_held:
        verify_workdir(STORE, Path.cwd())
        return
    if CALL == "run":
        told = "another run, or Snakemake's lock, holds this working directory: results are neither looked over nor linked"
        print(told, file=sys.stderr)
    for path in changed_results(STORE, Path.cwd()) if CALL == "dry run" else []:
        told = f"{path} was changed since it was made: a run would set it aside as {path.name}.changed"
        print(told, file=sys.stderr)


# Calls that run nothing, beside dry runs.
LOOKS = {"--lint", "--list", "--list-rules", "-l", "--list-target-rules", "--unlock"}
LOOKS |= {"--cleanup-metadata", "--delete-all-output", "--delete-temp-output", "--dag"}
LOOKS |= {"--rulegraph", "--filegraph", "--d3dag", "--summary", "-S", "--archive"}
LOOKS |= {"--detailed-summary", "-D", "--report", "--reporter", "--containerize"}
LOOKS |= {"--generate-unit-tests", "--list-changes", "--list-input-changes", "--lc"}
LOOKS |= {"--list-params-changes", "--list-untracked", "--list-conda-envs", "--li"}
LOOKS |= {"--conda-create-envs-only", "--conda-cleanup-envs", "--cleanup-shadow"}
LOOKS |= {"--container-cleanup-images", "--print-compilation", "--lp", "--lu", "--lt"}
CALL = call()

if workflow.is_main_process:
    as_workflow_error(CONFIG.require_training_images)
    as_workflow_error(look_over_results)
    for doubt in as_workflow_error(doubts, CONFIG):
        print(f"doubt: {doubt}", file=sys.stderr)
    notice = lock_notice(Path.cwd())
    if notice and "--unlock" not in sys.argv:
        print(notice, file=sys.stderr)


def warm_start():
    """Let jobs that run beside this process, in its environment, start without importing large libraries."""
    elsewhere = workflow.deployment_settings.deployment_method
    if workflow.local_exec and not elsewhere and sys.platform == "linux":
        WarmStart([1, min(CONFIG.extraction["threads"], workflow.cores or 1)])


def start_jobs_at_once():
    """Let jobs of this machine start when others end, and at no other time.

    Snakemake lets 100 jobs start in a second. To see when it may go on, it looks over all jobs that are ready once a second,
    once more with each job that ended, which takes a tenth of a run of short jobs. Where nothing is submitted, there is
    nothing to spare. A Snakemake that calls it otherwise goes on as it does.
    """
    scheduler = getattr(workflow, "scheduler", None)
    if scheduler and workflow.local_exec and "--max-jobs-per" not in " ".join(sys.argv):
        scheduler.job_rate_limiter = None


def watch_command():
    """Return what shows the jobs of this working directory, from anywhere."""
    return f"classlens watch --directory {shlex.quote(str(Path.cwd()))}"


def job(name, wildcards, caption="", analysis=None, extra=None, **shares):
    """Describe a job; see `classlens.catalog.plan.describe_job`."""
    known = {**wildcards, **(extra or {})}
    text = as_workflow_error(report_caption, caption, CONFIG, known, analysis)
    return as_workflow_error(
        describe_job, name, CONFIG, known, ROOT, caption=text, **shares
    )


def jobs(name, raw=()):
    """Return the params function of a rule that runs one job; `raw` names those of its inputs that no job makes."""

    def described(wildcards):
        paths = [path for files in raw for path in files(wildcards)]
        digest = as_workflow_error(digest_of_raw, paths, Store(STORE))
        return [job(name, wildcards, raw=digest)]

    # Most of thousands of jobs have no raw inputs, and then no store is opened for them.
    return described if raw else lambda wildcards: [job(name, wildcards)]


def shown_job(name, caption, analysis=lambda wildcards: None, **shares):
    """Return the params function of a rule that runs one job whose result the report shows.

    Args:
        name: of the job.
        caption: of the report; a function of the analysis, if it is that of one.
        analysis: a function of the wildcards.
    """

    def described(wildcards):
        of = analysis(wildcards)
        text = caption(of) if callable(caption) else caption
        return ReportedJobs([job(name, wildcards, text, of, **shares)])

    return described


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


def with_code(described, inputs, outputs):
    """Yield what a rule's params describe as jobs, each with the code part of its key."""
    for one in described:
        code = key_without_inputs(one["functions"], one["config"], ROOT)
        yield job_of(one, inputs, outputs, ROOT), code


def reads(name):
    """Return a rule's input as Snakemake takes it: a path with wildcards, or a function of them."""
    if not callable(name):
        return name
    return lambda wildcards: as_workflow_error(name, CONFIG, wildcards)


@cache
def raw_files(kind, dataset):
    """Return the raw images or masks of a data set, see `classlens.store.raw`."""
    paths = as_workflow_error(getattr(CONFIG, f"raw_{kind}"), dataset)
    return as_workflow_error(list_raw, f"{dataset}_{kind}", paths, Store(STORE))


def raw_manifest(kind):
    """Return a rule's input that stands for raw images or masks."""
    return lambda wildcards: raw_files(kind, wildcards["dataset"]).manifest


def raw_job(name, kind):
    """Return the params function of a rule that runs one job on raw images or masks, its input `raw`.

    Beside what `job` describes: `told`, which says on the console how much is looked over.
    """

    def described(wildcards):
        found = raw_files(kind, dataset := wildcards["dataset"])
        told = f"{dataset}: {len(found.paths):,} raw files of {kind}"
        if kind == "images":
            told += "".join(
                f", {CONFIG.images(dataset, split):,} {split} images ({key}: {CONFIG.datasets[dataset][key]})"
                for split, key in (
                    ("evaluation", "per_class"),
                    ("training", "train_per_class"),
                )
            )
        shares = {"raw": found.digest, "raw_files": {"raw": found.paths}, "told": told}
        return [job(name, wildcards, **shares)]

    return described


def reported(path, section, content, model="{model}"):
    """Return an output that the report shows."""
    return report(
        path,
        caption="../report/caption.rst",
        category=(
            (lambda wildcards: numbered(section(wildcards)))
            if callable(section)
            else numbered(section)
        ),
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
    return lambda wildcards: ReportedJobs(
        job(
            analysis.name,
            wildcards,
            analysis.caption if analysis.one_model else "",
            analysis,
            inputs=list(analysis.inputs),
            outputs=dict(analysis.tables),
        )
        for analysis in analyses
    )


def one_of(names):
    """Return a wildcard's pattern that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def models_where(fact, value, among=CONFIG.models):
    """Return a wildcard's pattern of the models, of all or some, with a fact about their architecture."""
    return one_of(name for name in among if CONFIG.architecture(name)[fact] == value)


DEPTHS = sorted({facts["depth"] for facts in CONFIG.architectures.values()})
TRAINED = [name for name in CONFIG.models if CONFIG.trained(name)]
UNTRAINED = [name for name in CONFIG.models if not CONFIG.trained(name)]
COMPUTED = [name for name, method in METHODS.items() if method.compute]

"""What all rules share: the config, what travels in params, and input functions."""

import gc
import os
import re
import shlex
import sys
from contextlib import suppress
from functools import cache
from inspect import signature
from io import StringIO
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# Jobs stay until the end, so looking over them for garbage again and again is in vain; it takes a sixth of planning.
gc.set_threshold(100_000)
gc.freeze()

# The library beside these rules, also where another one is installed; rules that were fetched without it take that one.
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
if (CHECKOUT / "classlens").is_dir():
    sys.path.insert(0, str(CHECKOUT))

try:
    from classlens import __version__
except ModuleNotFoundError:
    raise WorkflowError(
        f"these rules were fetched without the library that they import, and {sys.executable} lacks it, too; in the "
        f"environment that Snakemake runs in: pip install classlens, of the version that the rules are of"
    ) from None
from classlens.catalog import files, planning
from classlens.catalog.analyses import ANALYSES, SECTIONS, STACKED, numbered
from classlens.catalog.applicable import require_data
from classlens.catalog.configs import load_config
from classlens.catalog.job import Gpu, Job
from classlens.catalog.methods import METHODS
from classlens.catalog.plan import describe, key_without_inputs, report_caption
from classlens.catalog.rules import rules_of, wildcards_of
from classlens.check.doubts import doubts
from classlens.checkout import set_python_path
from classlens.config.architecture import with_architectures
from classlens.configfile import as_written, keep_config
from classlens.errors import InputError
from classlens.runs import lock_notice, note_run
from classlens.shipped import PACKAGE, workflow_folder
from classlens.store.disk_errors import explained_disk_errors
from classlens.store.job import digest_of_raw, is_stored, job_of, list_raw
from classlens.store.lock import use_locks
from classlens.store.store import Store, store_path
from classlens.store.verify import changed_results, verify_workdir
from classlens.store.workdir import free, hold
from classlens.warm import WarmStart

# Of `--sdm apptainer`: what the Dockerfile makes, of the version that plans.
IMAGE = os.environ.get("CLASSLENS_IMAGE", f"docker://classlens/classlens:v{__version__}")
# Relative, but for a repository on this machine, to which Snakemake 9.27 cannot join it.
RUN_JOB = "../scripts/run_job.py"
if "git+file:" in (FOLDER := workflow.current_basedir).get_path_or_uri(True):
    RUN_JOB = FOLDER.join(RUN_JOB).get_path_or_uri(secret_free=True)


def look_up_once():
    """Let Snakemake read the script of all rules, and ask which rules make a file, once instead of once for each job.

    That takes a tenth of planning. A Snakemake that calls these otherwise goes on as it does.
    """
    sources = workflow.sourcecache
    with suppress(ImportError, AttributeError):
        from snakemake.output_index import OutputIndex

        OutputIndex.match_producers = cache(OutputIndex.match_producers)
        opened, text = sources.open, cache(lambda source: opened(source).read())
        sources.open = lambda source, mode="r": StringIO(text(source)) if mode == "r" else opened(source, mode)
        sources._cache = cache(sources._cache)


look_up_once()


def as_workflow_error(function, *arguments, **options):
    """Call a library function; what is wrong with the input, or the disk refuses, ends the run with its message alone."""
    try:
        with explained_disk_errors(STORE, WORKING):
            return function(*arguments, **options)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    except ModuleNotFoundError as error:
        missing = f"this config cannot be planned without {error.name}, which {sys.executable} lacks"
        raise WorkflowError(f"{missing}; run Snakemake in an environment with classlens") from None


ROOT = PACKAGE.parent
STORE = store_path(None)  # unless the config names one
WORKING = Path.cwd()  # thousands of jobs ask
set_python_path()
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
    looks = [option for option in LOOKS for word in words if option == word or (word[2:] and option.startswith(word))]
    if "--report-after-run" in words:
        looks = [option for option in looks if not option.startswith("--report")]
    return "look" if looks else "run"


def look_over_results():
    """Set aside what was changed if this is a run, and nobody else's; else say what a run would set aside."""
    if CALL == "run" and hold():
        verify_workdir(Store(STORE))
        return
    if CALL == "run":
        told = (
            "another run, or Snakemake's lock, holds this working directory: results are neither looked over nor linked"
        )
        print(told, file=sys.stderr)
    for path in changed_results(Store(STORE)) if CALL == "dry run" else []:
        told = f"{path} was changed since it was made: a run would set it aside as {path}.changed"
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
    as_workflow_error(require_data, CONFIG)
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


def asked(function):
    """Note a function's parameters, which Snakemake looks up several times for each call of it."""
    function.__signature__ = signature(function)
    return function


def params_of(job, raw=None, told=None):
    """Return the params function of a rule.

    Args:
        job: what it runs.
        raw: gives the raw files that it reads, which no job makes, of wildcards.
        told: gives what else the report or the console say of them, of wildcards.
    """

    def described(wildcards):
        more, known = told(wildcards) if told else {}, {**wildcards}
        if of := job.reported:
            more |= shown(of.caption, known, ANALYSES.get(job.analysis), of.opening)
        # Most of thousands of jobs have no raw inputs, and then no store is opened for them.
        if raw:
            more["raw"] = as_workflow_error(digest_of_raw, raw(wildcards), Store(STORE))
        return as_workflow_error(describe, job, CONFIG, known, ROOT, **more)

    return asked(described)


def shown(caption, wildcards, analysis, opening=False):
    """Return what the report says of a job's results, and whether it opens with them."""
    return {"caption": as_workflow_error(report_caption, caption, CONFIG, wildcards, analysis), "opening": opening}


def job(*declared, raw=None, told=None, **more):
    """Return the params function of a rule of data, weights, tables or pages; see `classlens.catalog.job.Job`."""
    return params_of(Job(*declared, **more), raw, told)


def with_code(params, inputs, outputs):
    """Return what a rule's params describe as a job, and the code part of its key."""
    code = key_without_inputs(params["functions"], params["config"], ROOT)
    return job_of(params, inputs, outputs, ROOT), code


def reads(name):
    """Return a rule's input as Snakemake takes it: a path with wildcards, or a function of them."""
    if not callable(name):
        return name
    return asked(lambda wildcards: as_workflow_error(name, CONFIG, wildcards))


@cache
def raw_files(kind, dataset):
    """Return the paths of a data set's raw images or masks, and of these what `list_raw` returns."""
    paths = as_workflow_error(getattr(CONFIG, f"raw_{kind}"), dataset)
    return paths, *as_workflow_error(list_raw, f"{dataset}_{kind}", paths, Store(STORE))


def raw_manifest(kind):
    """Return a rule's input that stands for raw images or masks."""
    return lambda wildcards: raw_files(kind, wildcards["dataset"])[2]


def raw_told(kind):
    """Return what a job on raw images or masks reads in place of its input `raw`, and what the console says of it."""

    def told(wildcards):
        paths, digest, _ = raw_files(kind, dataset := wildcards["dataset"])
        text = f"{dataset}: {len(paths):,} raw files of {kind}"
        if kind == "images":
            text += "".join(
                f", {CONFIG.images(dataset, split):,} {split} images ({key}: {CONFIG.datasets[dataset][key]})"
                for split, key in (("evaluation", "per_class"), ("training", "train_per_class"))
            )
        return {"raw": digest, "raw_files": {"raw": paths}, "told": text}

    return told


def reported(path, section, content, model="{model}"):
    """Return an output that the report shows."""
    return report(
        path,
        caption="../report/caption.rst",
        category=((lambda wildcards: numbered(section(wildcards))) if callable(section) else numbered(section)),
        labels={"model": model, "content": content},
    )


def one_of(names):
    """Return a wildcard's pattern that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


RULES = rules_of(CONFIG)
TRAINED = [name for name in CONFIG.models if CONFIG.trained(name)]
BROUGHT = [name for name in CONFIG.models if files.is_brought(CONFIG, name)]
UNTRAINED = [name for name in CONFIG.models if not CONFIG.trained(name) and CONFIG.original(name) == name]

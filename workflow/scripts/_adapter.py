"""The one place where jobs meet Snakemake: unpack its object, set up the log, run the job through the store."""

import sys
from pathlib import Path

from classlens.errors import InputError
from classlens.logs import job_log
from classlens.store.job import Job, by_name, run_job
from classlens.store.store import Store, store_path


def run(snakemake, compute):
    """Run `compute(inputs, outputs, config, local)` for a Snakemake job, or take its results from the store."""
    described = snakemake.params.job
    # The key knows the code of the script of the job's name; another one must not run under it.
    running = Path(compute.__code__.co_filename).name
    if not running.endswith(f"{described['name']}.py"):
        raise AssertionError(f"the rule of job {described['name']} runs {running}")
    scripts = Path(__file__).resolve().parent
    job = Job(
        name=described["name"],
        script=scripts / f"{described['name']}.py",
        root=scripts.parents[1],
        config=described["config"],
        local={**described["local"], "threads": snakemake.threads},
        inputs=by_name(snakemake.input),
        outputs=by_name(snakemake.output),
        wildcards=dict(snakemake.wildcards),
    )
    with job_log(snakemake.log[0]) as log:
        try:
            run_job(job, compute, Store(store_path(snakemake.config.get("store"))))
        except InputError as error:
            log.error("%s", error)
            sys.exit(1)

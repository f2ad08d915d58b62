"""Run the jobs of a rule through the store, one after the other: the one place where jobs meet Snakemake."""

import sys

from classlens.warm import run_warm


def run_jobs(snakemake):
    """Run what a rule describes; return the exit status."""
    # Not above: a process that hands itself over imports nothing.
    from classlens.catalog.run import claim_device, computing
    from classlens.errors import InputError
    from classlens.logs import job_log
    from classlens.shipped import PACKAGE
    from classlens.store.job import job_of, run_job
    from classlens.store.key import code_key
    from classlens.store.lock import use_locks
    from classlens.store.store import Store, store_path

    root = PACKAGE.parent
    described = snakemake.params.jobs
    jobs = [job_of(params, snakemake.input, snakemake.output, root) for params in described]
    # Before any of it is imported: a later job must not run what an earlier one imported under the key of newer code.
    codes = [code_key(job.functions, root) for job in jobs]
    use_locks(snakemake.config.get("locks"))
    store = Store(store_path(snakemake.config.get("store")))
    failed = False
    for job, code, path in zip(jobs, codes, snakemake.log, strict=True):
        if "threads" in job.local:
            job.local["threads"] = snakemake.threads
        with job_log(path) as log:
            try:
                run_job(job, computing(job.functions), store, code, claim_device)
            except InputError as error:  # said in its log; the other jobs do not need it
                log.error("%s", error)
                failed = True
    return int(failed)


status = run_warm(sys.argv[0])
sys.exit(run_jobs(snakemake) if status is None else status)

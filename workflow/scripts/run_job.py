"""Run the job of a rule through the store: the one place where jobs meet Snakemake."""

import sys

from classlens.warm import run_warm


def run(snakemake):
    """Run what a rule describes; return the exit status."""
    # Imported here, not at the top: a process that hands its job over to the warm server needs none of this.
    from classlens.catalog.run import claim_device, computing
    from classlens.errors import InputError
    from classlens.logs import job_log
    from classlens.shipped import PACKAGE
    from classlens.store.job import job_of, run_job
    from classlens.store.key import code_key
    from classlens.store.lock import use_locks
    from classlens.store.store import Store, store_path

    job = job_of(snakemake.params.job, snakemake.input, snakemake.output, PACKAGE.parent)
    code = code_key(job.functions, PACKAGE.parent)  # before any of it is imported
    use_locks(snakemake.config.get("locks"))
    store = Store(store_path(snakemake.config.get("store")))
    if "threads" in job.local:
        job.local["threads"] = snakemake.threads
    with job_log(snakemake.log[0]) as log:
        try:
            run_job(job, computing(job.functions), store, code, claim_device)
        except InputError as error:
            log.error("%s", error)
            return 1
    return 0


status = run_warm(sys.argv[0])
sys.exit(run(snakemake) if status is None else status)

"""Run several jobs in one process, so that they share what starting up costs; each is kept in the store by itself."""

import runpy
from pathlib import Path
from types import SimpleNamespace

from classlens.jobs.describe import for_part

SCRIPTS = Path(__file__).resolve().parent


def seen_by(part, log):
    """Return Snakemake's object as the script of one job knows it."""
    inputs, outputs = for_part(part, dict(snakemake.input.items()), dict(snakemake.output.items()))
    return SimpleNamespace(
        input=inputs,
        output=outputs,
        params=SimpleNamespace(job=part),
        wildcards={**snakemake.wildcards, **part["wildcards"]},
        threads=snakemake.threads,
        config=snakemake.config,
        log=[log],
    )


for part, log in zip(snakemake.params.jobs, snakemake.log, strict=True):
    runpy.run_path(str(SCRIPTS / f"{part['name']}.py"), {"snakemake": seen_by(part, log)})

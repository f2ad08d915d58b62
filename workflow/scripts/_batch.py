"""Run several jobs in one process, so that they share what starting up costs; each is kept in the store by itself."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

from classlens.store.job import by_name, for_part
from classlens.store.key import code_key

SCRIPTS = Path(__file__).resolve().parent


def code_of(name, modules=None):
    return code_key(SCRIPTS / f"{name}.py", SCRIPTS.parents[1], modules)


def seen_by(part, log):
    """Return Snakemake's object as the script of one job knows it."""
    inputs, outputs = for_part(part, by_name(snakemake.input), by_name(snakemake.output))
    return SimpleNamespace(
        input=inputs,
        output=outputs,
        params=SimpleNamespace(job=part),
        wildcards={**snakemake.wildcards, **part["wildcards"]},
        threads=snakemake.threads,
        config=snakemake.config,
        log=[log],
    )


jobs = snakemake.params.jobs
# Before any of it is imported: a later job must not run what an earlier one imported under the key of newer code.
modules = {}
codes = {name: code_of(name, modules) for name in {part["name"] for part in jobs}}
failed = False
for part, log in zip(jobs, snakemake.log, strict=True):
    if code_of(part["name"]) != codes[part["name"]]:
        sys.exit(f"the code of {part['name']} changed while other jobs of its batch ran; run again")
    try:
        runpy.run_path(str(SCRIPTS / f"{part['name']}.py"), {"snakemake": seen_by(part, log)})
    except SystemExit:  # said in its log; the other jobs do not need it
        failed = True
sys.exit(failed)

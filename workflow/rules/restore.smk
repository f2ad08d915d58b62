"""What the store has is linked before jobs are planned, so that it is no job."""

import os

from contextlib import nullcontext
from datetime import datetime
from inspect import signature
from types import SimpleNamespace

from classlens.store.prelink import SchedulerJob, prelink
from classlens.store.workdir import LOOK_VARIABLE

NOTED = ("record_format_version", "rule", "params", "input")
NOTED += ("starttime", "endtime", "job_hash", "incomplete")


@cache
def inner_parts():
    """Return what this takes of Snakemake that its documentation does not name; all of it, before anything is linked.

    Raises ImportError, AttributeError or TypeError where a release has moved it, or takes other arguments.
    """
    from snakemake.io import is_flagged
    from snakemake.iocontainers import Wildcards
    from snakemake.output_index import OutputIndex
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
    from snakemake.persistence.file import FilePersistence
    from snakemake.settings.types import PersistenceBackend

    signature(OutputIndex).bind([])
    signature(OutputIndex.match_producers).bind(None, "path")
    signature(MetadataRecord).bind(**dict.fromkeys(NOTED))
    signature(FilePersistence).bind()
    signature(FilePersistence._write_record).bind(None, "path", "record")
    return SimpleNamespace(**locals())


def scheduler_jobs():
    """Return what tells which of Snakemake's jobs makes a path, None for a raw file."""
    index = inner_parts().OutputIndex(list(workflow.rules))

    def producer(path):
        makers = [maker for maker in index.match_producers(path) if maker.params]
        if len(makers) != 1:  # raw, or for Snakemake to say
            return None
        return scheduler_job(makers[0], inner_parts().Wildcards(fromdict=makers[0].get_wildcards(path)))

    return producer


def scheduler_job(maker, wildcards):
    """Return what Snakemake would plan of a rule."""
    inputs, outputs = (filled(wildcards)[0] for filled in (maker.expand_input, maker.expand_output))
    described = cache(lambda: dict(maker.params.items())["job"](wildcards))

    return SchedulerJob(
        maker.name,
        list(map(str, inputs)),
        list(map(str, outputs)),
        frozenset(str(path) for path in outputs if inner_parts().is_flagged(path, "temp")),
        lambda: with_code(described(), inputs, outputs),
        lambda path, record: note(path, record, maker.name, described(), sorted(map(str, inputs))),
    )


def asked_for():
    """Return the files that the command line asks for, else those of `all`, unless another workflow has these rules."""
    words = [os.path.relpath(word) for word in sys.argv[1:] if "/" in word]
    named = [word for word in words if word.startswith("results/")]
    own = Path(workflow.main_snakefile).resolve().is_relative_to(CHECKOUT.resolve())
    return named or (WANTED if own else [])


@cache
def snakemake_s_notes():
    """Return what Snakemake keeps in files about results."""
    return inner_parts().FilePersistence()


def note(path, record, rule_name, described, inputs):
    """Note of a linked result what Snakemake notes of those that a job of its own made.

    By params and input it sees later that the result is of another key; its report shows when the result was made.
    """
    started = datetime.fromisoformat(record.provenance["started"]).timestamp()
    noted = {
        "record_format_version": inner_parts().RECORD_FORMAT_VERSION,
        "rule": rule_name,
        "params": [repr(described)],
        "input": inputs,
        "starttime": started,
        "endtime": started + record.provenance["seconds"],
        "job_hash": hash((rule_name, record.key)),
        "incomplete": False,
    }
    snakemake_s_notes()._write_record(path, inner_parts().MetadataRecord(**noted))


def restore():
    """Link what the store has, and say what is left."""
    # Snakemake takes results that are older than their script for outdated.
    script = CHECKOUT / "workflow/scripts/run_job.py"
    newest = script.stat().st_mtime_ns if script.is_file() else 0
    # A look holds the working directory as long as it links, and links to places where nothing is.
    is_run, is_held = CALL == "run", CALL == "run" and hold()
    with nullcontext(is_held) if is_run else free() as is_free:
        found = prelink(
            asked_for(),
            scheduler_jobs(),
            Store(STORE),
            newest,
            link=is_free and LOOK_VARIABLE not in os.environ,
            look=not is_held,
        )
    if found.linked:
        print(f"From the store: {len(found.linked):,} results", file=sys.stderr)
    if found.left:
        told = f"A run would take from the store, or give a newer time and no job: {len(found.left):,} results"
        print(told, file=sys.stderr)
    for what, rules_of in (
        ("Will compute", found.compute),
        ("May compute, which shows when their inputs are there", found.may_compute),
    ):
        if rules_of:
            names = ", ".join(name + (f" ({count})" if count > 1 else "") for name, count in sorted(rules_of.items()))
            print(f"{what}: {names}", file=sys.stderr)


def can_restore():
    """Tell whether Snakemake has the inner parts that this takes, and keeps its notes in files; what it lacks is said."""
    try:
        parts = inner_parts()
    except (ImportError, AttributeError, TypeError) as error:
        told = "stored results are not linked before planning, for this Snakemake has other inner parts"
        print(f"{told} ({error}): jobs take them from the store", file=sys.stderr)
        return False
    # Of notes in a database it knows nothing.
    backend = workflow.workflow_settings.persistence_backend
    return backend == parts.PersistenceBackend.FILE


if workflow.is_main_process and CALL != "look" and can_restore():
    as_workflow_error(restore)

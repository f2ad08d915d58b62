"""What a rule's `params` hold of its jobs, as Snakemake compares, keeps and shows them.

Light, and free of the catalog: every job reads its params through this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class JobParams(dict[str, Any]):
    """A job; its text is the job's name and key, and the digest of its raw inputs.

    Snakemake compares params by their text, and writes it into a script of its report without escaping it: a label
    with markup in it would come to life there.
    """

    def __repr__(self) -> str:
        return f"{self['name']} {self['key']} {self.get('raw', '')}".rstrip()

    __str__ = __repr__


class ReportedJobs(list[JobParams]):
    """The jobs of a rule, and what the report says of their results.

    Snakemake compares params by their `repr`, which has every job's key. It shows their `str`, which has names alone.
    """

    def __str__(self) -> str:
        return ", ".join(job["name"] for job in self)

    @property
    def shown(self) -> JobParams | None:
        """The one job whose results the report shows."""
        return next((job for job in self if job.get("caption")), None)

    @property
    def caption(self) -> str:
        """What the results show, as reStructuredText that says no more than the plain text."""
        from classlens.report import as_typed

        return as_typed(self.shown["caption"]) if self.shown else ""

    def tables(self, output: Mapping[str, str]) -> str:
        """Return the tables among the shown job's results as a block of reStructuredText, "" where there are none.

        Args:
            output: the rule's output by name.
        """
        from classlens.report import tables

        job = self.shown or JobParams()
        names = (job.get("outputs") or {name: name for name, _ in output.items()}).values()
        return tables([str(output[name]) for name in names if str(output[name]).endswith(".csv")])

    @staticmethod
    def opening(files: Iterable[Any]) -> str:
        """Return what the report opens with, as a block of reStructuredText; templates reach no plain function.

        Args:
            files: Snakemake's records of the results in the report.
        """
        from classlens.report import opening

        return opening(files)

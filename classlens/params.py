"""What a rule's `params` hold of its jobs, as Snakemake compares, keeps and shows them.

Light, and free of the catalog: every job reads its params through this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class JobParams(dict[str, Any]):
    """A job, and what the report says of its results.

    Snakemake compares params by their `repr`, which has the job's key and the digest of its raw inputs. It shows their
    `str`, the name alone, and writes it into a script of its report without escaping it: a label with markup in it
    would come to life there.
    """

    def __repr__(self) -> str:
        return f"{self['name']} {self['key']} {self.get('raw', '')}".rstrip()

    def __str__(self) -> str:
        return str(self["name"])

    @property
    def caption(self) -> str:
        """What the results show, as reStructuredText that says no more than the plain text."""
        from classlens.report import as_typed

        return as_typed(self.get("caption", ""))

    def tables(self, output: Mapping[str, str]) -> str:
        """Return the tables among the job's results as a block of reStructuredText, "" where there are none.

        Args:
            output: the rule's output by name.
        """
        from classlens.report import tables

        return tables([path for _, path in output.items() if str(path).endswith(".csv")])

    @staticmethod
    def opening(files: Iterable[Any]) -> str:
        """Return what the report opens with, as a block of reStructuredText; templates reach no plain function.

        Args:
            files: Snakemake's records of the results in the report.
        """
        from classlens.report import opening

        return opening(files)

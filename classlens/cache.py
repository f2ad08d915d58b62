"""Where a working directory keeps what is cheap to make again: digests of files, facts about architectures."""

from __future__ import annotations

from pathlib import Path

CACHE = Path(".snakemake/classlens")
"""Below the working directory. Its owner's alone, so that what is remembered there can be trusted."""

"""Where the files lie that come with the project, and what a working directory keeps.

No part of a job's key: what a job reads of them is an input, which the key holds by its content.
"""

from __future__ import annotations

from pathlib import Path

from classlens.errors import InputError

PACKAGE = Path(__file__).resolve().parent
DIGITS = PACKAGE / "data/digits.csv.gz"
"""Test set of UCI's "Optical recognition of handwritten digits" (CC BY 4.0), as scikit-learn (BSD 3-Clause) has it."""
ARCHITECTURES = PACKAGE / "models/architectures.json"
"""Facts about the architectures that the project's own configs name."""
WEIGHTS = PACKAGE / "models/trained"
"""Weights of the default config's models, NAME.safetensors each, which config/weights.yaml trains."""
COMMON, COMMON_WORDS = "common", PACKAGE / "sources/common_words.txt"
"""What a config calls common English words, and their file: of WordNet 3.0, whose licence is in it."""
SHIPPED = "shipped:"
"""What a config calls them by: `weights: shipped:NAME`."""
CACHE = Path(".snakemake/classlens")
"""Below the working directory: what is cheap to make again, digests of files and facts about architectures. Its owner's
alone, so that what is remembered there can be trusted."""


def shipped_weights(weights: str) -> Path:
    """Return the file of weights that come with the package.

    Args:
        weights: what a config calls them, `shipped:NAME`.

    Raises:
        InputError: there are none of that name.
    """
    there = [f"{SHIPPED}{path.stem}" for path in sorted(WEIGHTS.glob("*.safetensors"))]
    if weights not in there:
        raise InputError(f"no weights {weights!r} come with classlens; take {' or '.join(there)}")
    return WEIGHTS / f"{weights.removeprefix(SHIPPED)}.safetensors"


def workflow_folder() -> Path:
    """Return the folder of the Snakefile: the checkout, or that of an installed package."""
    installed = PACKAGE / "_workflow"
    return installed if installed.is_dir() else PACKAGE.parent

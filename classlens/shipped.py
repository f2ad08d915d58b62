"""Where the files lie that come with the project.

No part of a job's key: what a job reads of them is an input, which the key holds by its content.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DIGITS = PACKAGE / "data/digits.csv.gz"
"""Test set of UCI's "Optical recognition of handwritten digits" (CC BY 4.0), as scikit-learn (BSD 3-Clause) has it."""
ARCHITECTURES = PACKAGE / "models/architectures.json"
"""Facts about the architectures that the project's own configs name."""


def workflow_folder() -> Path:
    """Return the folder of the Snakefile: the checkout, or that of an installed package."""
    installed = PACKAGE / "_workflow"
    return installed if installed.is_dir() else PACKAGE.parent

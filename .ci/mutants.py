"""Faults made by hand, one for each that `make test` has to catch; `python .ci/mutants.py` tries whether it does.

Each is an edit of one line in a copy of the checkout, and the tests that should fail of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "results", "site", ".snakemake", ".classlens")


def main() -> int:
    """Try all faults, or those of files whose paths hold one of the arguments; return how many no test caught."""
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(CHECKOUT, copy, ignore=LEFT_OUT)
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        for one in yaml.safe_load((CHECKOUT / ".ci/mutants.yaml").read_text(encoding="utf-8")):
            if sys.argv[1:] and not any(part in one["file"] for part in sys.argv[1:]):
                continue
            file = copy / one["file"]
            text = file.read_text(encoding="utf-8")
            assert text.count(one["old"]) == 1, f"{one['file']}: {one['old']!r} is there {text.count(one['old'])} times"
            file.write_text(text.replace(one["old"], one["new"]), encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *one["tests"].split()]
            ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
            file.write_text(text, encoding="utf-8")
            survivors += ran.returncode != 1
            by = next((line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
            print(f"{'caught' if ran.returncode == 1 else 'NOT CAUGHT'}: {one['file']}: {one['new']}  {by}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())

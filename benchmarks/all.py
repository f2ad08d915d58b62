"""Run every benchmark and write what each found, with machine and date, as a page of the docs.

    python benchmarks/all.py docs/benchmarks.md [--only startup planning]

A benchmark's first line says what it measures against which limit; of what it prints, all but single turns is kept.
With `--only`, the other parts of the page stay as they are, with their dates.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
PAGE = """# Benchmarks

What classlens costs, and against which bare limit: the work that nobody can do without, such as one forward pass.
Written by `make bench`; `python benchmarks/NAME.py --help` says how each measures. Numbers of a machine that does other
work at the same time are worth little; each part names its machine, and its load in the minute before, when the
benchmark of another part may have run.
"""
PART = """

{what}

```text
{found}
```

{where}
"""
WIDTH = 86
"""Characters that the page has beside each other."""
HEADING = re.compile(r"^\n## (\w+)$", re.MULTILINE)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in FOLDER.glob("*.py") if path != Path(__file__))
    options.add_argument("page", type=Path)
    options.add_argument("--only", nargs="+", choices=names, default=names)
    given = options.parse_args()
    _, *pieces = HEADING.split(_text(given.page))
    parts = dict(zip(pieces[::2], pieces[1::2], strict=True))
    failed = False
    for name in given.only:
        print(f"{name} ...", flush=True)
        began, load = datetime.now(UTC), os.getloadavg()[0]
        ran = subprocess.run([sys.executable, FOLDER / f"{name}.py"], capture_output=True, text=True, check=False)
        if ran.returncode:
            print(f"{name} failed:\n{ran.stderr}", file=sys.stderr)
            failed = True
            continue
        found = [line for line in ran.stdout.splitlines() if line.strip() and not re.search(r"\bturn \d", line)]
        what = re.search(r'^"""(.+?)\n', (FOLDER / f"{name}.py").read_text())
        parts[name] = PART.format(
            what=what[1] if what else "",
            found="\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in found),
            where=f"{machine()}, load {load:.1f}, {began:%Y-%m-%d}",
        )
        # After each, as all of them take two hours.
        given.page.write_text(PAGE + "".join(f"\n## {name}{parts[name]}" for name in sorted(parts)))
    sys.exit(failed)


def machine() -> str:
    """Name processor, cores, GPU and the libraries that matter."""
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    processor = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    main()

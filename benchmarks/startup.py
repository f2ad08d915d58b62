"""What a job imports before it works, against the bare import of the largest library that it needs.

    python benchmarks/startup.py [--turns 3] [--clock cpu]

Jobs are grouped by that library: timm, torch, scipy's statistics, pandas, or none of these. Each is started in a
process of its own, with what every job imports; Snakemake's own start, which is the same for all, is not counted. A
compute job that comes to import a plotting library, by itself or through a library, is named.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

from classlens.catalog.configs import read_config
from classlens.catalog.methods import METHODS
from classlens.catalog.rules import rules_of
from classlens.config.architecture import with_architectures
from classlens.data.kinds import KINDS

CHECKOUT = Path(__file__).resolve().parents[1]
WANTED = {"timm": 4.0, "torch": 2.0, "scipy.stats": 0.5, "pandas": 0.5, "": 0.5}
"""Seconds at most, by the largest library. The first that a job imports names its group."""
PLOTTING = ("matplotlib", "seaborn")
CLOCKS = {"wall": 0, "cpu": 1}
STARTED = """
import json, sys, time
from importlib import import_module
wall, cpu = time.perf_counter(), time.process_time()
for name in sys.argv[1:]:
    import_module(name)
print(json.dumps([[time.perf_counter() - wall, time.process_time() - cpu], list(sys.modules)]))
"""
EVERY_JOB = ("classlens.catalog.run", "classlens.logs", "classlens.store.job", "classlens.store.store")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where other work shares the machine")
    given = options.parse_args()
    groups: dict[str, list[tuple[float, str]]] = {library: [] for library in WANTED}
    for modules, name in entries().items():
        seconds, loaded = started([*EVERY_JOB, *modules], given)
        plots = sorted(set(PLOTTING) & loaded)
        if plots and not name.endswith("_figure") and name != "heatmaps":
            print(f"{name} imports {', '.join(plots)}", flush=True)
        if not plots:
            groups[next((library for library in WANTED if library in loaded), "")].append((seconds, name))
    for library, found in groups.items():
        limit = started([library], given)[0] if library else 0.0
        slowest, name = max(found)
        print(
            f"{len(found)} jobs with {library or 'none of these'}: "
            f"median {statistics.median(s for s, _ in found):.2f} s, "
            f"slowest {slowest:.2f} s ({name}), bare import {limit:.2f} s; "
            f"at most {WANTED[library]} s wanted ({given.clock})"
        )


def entries() -> dict[tuple[str, ...], str]:
    """Return the modules that jobs start from, with the name of one job each."""
    config = with_architectures(read_config(CHECKOUT / "config/config.yaml"))
    functions = {job.name: [job.function, *job.functions.values()] for job in rules_of(config)}
    for rules in sorted((CHECKOUT / "workflow/rules").glob("*.smk")):
        functions |= {name: [one] for name, one in re.findall(r'job\(\s*"(\w+)",\s*"([\w.:]+)"', rules.read_text())}
    functions |= {f"explanation {name}": [one.compute] for name, one in METHODS.items() if one.compute}
    functions |= {f"data of kind {name}": [kind] for name, kind in KINDS.items()}
    return {tuple(one.partition(":")[0] for one in given): name for name, given in sorted(functions.items())}


def started(modules: list[str], given: argparse.Namespace) -> tuple[float, set[str]]:
    """Return the median seconds that imports take, and the names of what is imported then."""
    seconds, loaded = [], set()
    for _ in range(given.turns):
        ran = subprocess.run([sys.executable, "-c", STARTED, *modules], capture_output=True, text=True, check=True)
        times, names = json.loads(ran.stdout)
        seconds.append(times[CLOCKS[given.clock]])
        loaded = set(names)
    return statistics.median(seconds), loaded


if __name__ == "__main__":
    main()

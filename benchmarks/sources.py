"""What bringing a folder of transformers to timm takes, against reading its file alone: seconds and memory.

    python benchmarks/sources.py [--turns 3]

A ViT-B/16 with 1,000 classes and random weights. Each is measured in a process of its own, with torch and timm imported
before. Memory is the growth of the largest resident size in sizes of the weights; reading maps the file and sums it up.
"""

import argparse
import json
import subprocess
import sys
import tempfile

MOST_SECONDS, MOST_MEMORY = 2.0, 1.1
MADE = """
import sys, transformers
config = transformers.ViTConfig(num_labels=1000)
transformers.ViTForImageClassification(config).save_pretrained(sys.argv[1])
"""
READ = """
from safetensors.torch import load_file
def work(folder):
    return sum(one.sum() for one in load_file(f"{folder}/model.safetensors").values())
"""
BROUGHT = """
from classlens.sources.find import load as work
"""
LENS = """
from classlens import Lens
work = Lens.load
"""
MEASURED = """
import json, resource, sys, time
import torch, timm
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
kept = work(sys.argv[1])
seconds = time.perf_counter() - started
print(json.dumps([seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


def measured(code: str, folder: str, turns: int) -> tuple[float, float]:
    """Return the least seconds and the least memory (bytes) of some turns."""
    found = [
        json.loads(
            subprocess.run([sys.executable, "-c", code + MEASURED, folder], capture_output=True, check=True).stdout
        )
        for _ in range(turns)
    ]
    seconds, memory = (min(column) for column in zip(*found, strict=True))
    return seconds, memory


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", MADE, folder], check=True, capture_output=True)
        weights = 4 * 86_567_656
        read = measured(READ, folder, given.turns)
        print(f"reading the file alone: {read[0]:.2f} s and {read[1] / weights:.2f} x its weights in memory")
        for name, code in (("conversion", BROUGHT), ("Lens.load", LENS)):
            seconds, memory = measured(code, folder, given.turns)
            print(f"{name}: {seconds:.2f} s and {(memory - read[1]) / weights:.2f} x the weights beside that")
    print(f"wanted of the conversion: at most {MOST_SECONDS} s and {MOST_MEMORY} x")


if __name__ == "__main__":
    main()

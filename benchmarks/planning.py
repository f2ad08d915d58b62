"""What planning costs: `snakemake -n` for the paper's config, and for thousands of jobs over 50,000 images, and for
a series of checkpoints.

    python benchmarks/planning.py [--models 10 40 120] [--points 1 50] [--images 50000] [--turns 3] [--clock cpu]

Images are empty files, since planning looks at names and times alone. The paper's data sets are laid out in full; facts
of architectures are made before the clock starts, as in a second run. The bare limit is Snakemake alone on as many
jobs: one rule without input functions, params or images.
"""

import argparse
import os
import pickle
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CLOCKS = ("wall", "cpu")
CLASSES = 919
SHARD = 10_240
BARE = """
rule all:
    input: expand("{{name}}.txt", name=range({count}))
rule one:
    output: "{{name}}.txt"
    shell: "touch {{output}}"
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, nargs="+", default=[10, 40, 120])
    options.add_argument("--points", type=int, nargs="+", default=[1, 50], help="checkpoints of a series")
    options.add_argument("--images", type=int, default=50_000)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where other work shares the machine")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_paper(folder / "paper")
        report("config/paper.yaml", folder / "paper", CHECKOUT / "config/paper.yaml", given)
        for models in given.models:
            here = folder / f"models-{models}"
            make_many(here, models, given.images)
            report(f"{models} models, {given.images} images", here, here / "config.yaml", given)
        for points in given.points:
            here = folder / f"points-{points}"
            make_many(here, 1, 1000, points)
            report(f"a series of {points} checkpoints, 1000 images", here, here / "config.yaml", given)


def report(title: str, folder: Path, config: Path, given: argparse.Namespace) -> None:
    """Plan, in turns with the bare limit, and print medians."""
    ours = ["--snakefile", str(CHECKOUT / "Snakefile"), "--workflow-profile", str(CHECKOUT / "profiles/default")]
    ours += ["--directory", str(folder), "--configfile", str(config)]
    jobs = planned(ours)["jobs"]  # asks timm about the architectures
    bare = folder / "Snakefile"
    bare.write_text(BARE.format(count=jobs - 1))
    limit = ["--snakefile", str(bare), "--directory", str(folder), "--workflow-profile", "none"]
    seconds, limits = [], []
    for _ in range(given.turns):
        seconds.append(planned(ours)[given.clock])
        limits.append(planned(limit)[given.clock])
    print(
        f"{title}: {jobs} jobs, {statistics.median(seconds):.1f} s {given.clock} "
        f"(bare Snakemake {statistics.median(limits):.1f} s)",
        flush=True,
    )


def planned(arguments: Sequence[str]) -> dict[str, float]:
    """Plan everything; return seconds by clock, and the number of jobs."""
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--quiet", "rules", *arguments]
    wall, cpu = time.perf_counter(), children_time()
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    seconds = {"wall": time.perf_counter() - wall, "cpu": children_time() - cpu}
    printed = ran.stdout + ran.stderr
    totals = re.findall(r"^total +(\d+)", printed, re.MULTILINE)
    if ran.returncode or not totals:
        sys.exit(printed)
    return {**seconds, "jobs": int(totals[-1])}


def children_time() -> float:
    """Return the processor time of all processes that were started from here and have ended (seconds)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_paper(folder: Path) -> None:
    """Lay the paper's data sets out: 919 classes with five and ten images each, CIFAR-100, and two checkpoints."""
    config = yaml.safe_load((CHECKOUT / "config/paper.yaml").read_text())
    imagenet = folder / config["datasets"]["imagenet_s"]["root"]
    excluded = config["datasets"]["imagenet_s"]["exclude_classes"]
    ids = [*excluded, *(f"n{number:08d}" for number in range(CLASSES - len(excluded)))]
    rest = [f"m{number:08d}" for number in range(1000 - CLASSES)]
    for class_id in ids:
        make_files(imagenet / "ImageNetS919/validation" / class_id, 5, ".JPEG")
        make_files(imagenet / "ImageNetS919/test" / class_id, 10, ".JPEG")
        make_files(imagenet / "ImageNetS919/validation-segmentation" / class_id, 5, ".png")
    write(imagenet / "ImageNetS919/LOC_synset_mapping.txt", "".join(f"{one} name\n" for one in ids + rest))
    write(imagenet / "data/categories/ImageNetS_categories_im919.txt", "\n".join(ids))
    cifar = folder / config["datasets"]["cifar"]["root"] / "cifar-100-python"
    cifar.mkdir(parents=True)
    labels = [number for number in range(100) for _ in range(20)]
    for part in ("test", "train"):
        (cifar / part).write_bytes(pickle.dumps({"fine_labels": labels, "data": None}))
    names = [f"class {number}" for number in range(100)]
    (cifar / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    for model in config["models"].values():
        if str(model["weights"]).startswith("checkpoints/"):
            write(folder / model["weights"], "")


def make_many(folder: Path, models: int, images: int, points: int = 0) -> None:
    """Lay out one folder of images for many models of one architecture, or for series of so many points."""
    per_class = 50
    for number in range(images // per_class):
        make_files(folder / "images" / f"class_{number:04d}", per_class, ".png")
    model = {
        "dataset": "images",
        "architecture": "vit_base_patch16_224",
        "weights": "random",
        "transform": {"size": 224},
        "random_twin": False,
    }
    if points:
        for number in range(points):
            write(folder / f"epoch_{number}.safetensors", "")
        series = {"weights": "pretrained", "checkpoints": "epoch_*.safetensors"}
        model |= {**series, "options": {"num_classes": images // per_class}}
    config = {
        "datasets": {"images": {"kind": "image_folder", "root": "images", "per_class": None}},
        "models": {f"model_{number:03d}": model for number in range(models)},
        "extraction": {"shard_size": SHARD},
    }
    write(folder / "config.yaml", yaml.safe_dump(config))


def make_files(folder: Path, count: int, suffix: str) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{folder.name}_{number:03d}{suffix}").touch()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()

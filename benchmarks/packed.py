"""What a packed data set costs: first look, planning, listing, decoding and joining, with the memory of each.

    python benchmarks/packed.py [--images 20000 100000] [--kinds webdataset parquet] [--threads 2]

Images are JPEG files of noise, 128 x 128 pixels, 1,000 in a shard, their classes mixed. Each step is a process of its
own, whose peak memory is told. Bare limits: SHA-256 of the shards for listing, Pillow alone on images in memory for
decoding. The first planning asks timm about the model, too.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from classlens.data.geometry import Geometry

CHECKOUT = Path(__file__).resolve().parents[1]
SIDE, CLASSES, DIFFERENT, SHARD, GROUP = 128, 100, 997, 1000, 100
SMALL = Geometry(32, "squash", 1.0, "bilinear")
SETTLED = 2.5
"""Seconds until a file counts as unchanged."""
LAUNCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print()
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""
"""Starts a program from a small process: a peak counts what the process that starts it holds."""
COMMON = """
import sys
from classlens.catalog.configs import read_config
config = read_config("config.yaml")
source = config.source("images")
place = {"source": type(source), "root": source.root, "mask_root": None, "name": "images"}
"""
LOOK = 'config.classes("images"); config.images("images")'
LIST = """
from classlens.data.listing import list_stimuli
from classlens.catalog.settings import selection
list_stimuli(raw=[], table="stimuli.csv", threads=int(sys.argv[1]), **selection(config, {"dataset": "images"}), **place)
"""
DECODE = """
from classlens.data.geometry import Geometry
from classlens.data.pixels import write_pixels
geometry, part = Geometry.from_name(sys.argv[2]), [int(sys.argv[3]), int(sys.argv[4])]
write_pixels(stimuli="stimuli.csv", pixels=sys.argv[5], geometry=geometry, split="evaluation", part=part,
             threads=int(sys.argv[1]), **place)
"""
JOIN = """
from classlens.data.join import join_pixels
join_pixels(parts=sys.argv[2:], stimuli="stimuli.csv", pixels="joined.h5", split="evaluation")
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, nargs="+", default=[20_000, 100_000])
    options.add_argument("--kinds", nargs="+", default=["webdataset", "parquet"])
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    rng = np.random.default_rng(0)
    contents = [jpeg(rng) for _ in range(DIFFERENT)]
    seconds = bare_decoding(contents, given.threads)
    print(f"bare: Pillow decodes {DIFFERENT / seconds:,.0f} images/s", flush=True)
    for kind in given.kinds:
        for count in given.images:
            with tempfile.TemporaryDirectory() as name:
                measure(kind, count, Path(name), contents, given.threads)


def measure(kind: str, count: int, folder: Path, contents: Sequence[bytes], threads: int) -> None:
    """Make a data set and print what each step takes."""
    shards = [make_shard(kind, folder / "shards", first, contents) for first in range(0, count, SHARD)]
    make_config(kind, folder)
    time.sleep(SETTLED)
    hashed = time.perf_counter()
    for shard in shards:
        with shard.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    hashed = time.perf_counter() - hashed
    size = sum(shard.stat().st_size for shard in shards)
    middle = count // 2
    steps = {
        "first look": step(folder, LOOK),
        "second look": step(folder, LOOK),
        "planning, first": plan(folder),
        "planning, again": plan(folder),
        "listing": step(folder, LIST, threads),
        "decoding, all at once": step(folder, DECODE, threads, SMALL.name, 0, count, "all.h5"),
        "decoding, half": step(folder, DECODE, threads, SMALL.name, 0, middle, "0.h5"),
        "decoding, other half": step(folder, DECODE, threads, SMALL.name, middle, count, "1.h5"),
        "joining": step(folder, JOIN, threads, "0.h5", "1.h5"),
    }
    print(f"{kind}, {count:,} images, {size / 1e6:,.0f} MB in {len(shards)} shards (bare: SHA-256 {hashed:.1f} s)")
    for name, (seconds, cpu, memory) in steps.items():
        print(f"{kind}, {count:,}, {name}: {seconds:.1f} s, of a processor {cpu:.1f} s, {memory:,.0f} MB", flush=True)


def step(folder: Path, program: str, *arguments: object) -> tuple[float, float, float]:
    """Run a program on the data set; return its seconds, those of a processor, and its peak of memory (MB)."""
    return run([sys.executable, "-c", COMMON + program, *map(str, arguments)], folder)


def plan(folder: Path) -> tuple[float, float, float]:
    """Plan a run on the data set; what is returned is that of `step`."""
    command = ["-m", "snakemake", "-n", "--quiet", "rules", "--cores", "2", "--snakefile", str(CHECKOUT / "Snakefile")]
    return run([sys.executable, *command, "--configfile", "config.yaml"], folder)


def run(command: Sequence[str], folder: Path) -> tuple[float, float, float]:
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCH, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)
    seconds, (cpu, memory) = time.perf_counter() - start, map(float, ran.stdout.split()[-2:])
    return seconds, cpu, memory / 1e3


def make_config(kind: str, folder: Path) -> None:
    tiny = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = {"dataset": "images", "architecture": "vit_tiny_patch16_224", "options": tiny, "weights": "random"}
    config = {
        "datasets": {"images": {"kind": kind, "root": "shards", "per_class": None}},
        "models": {"tiny": {**model, "transform": {"size": 32}}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def make_shard(kind: str, folder: Path, first: int, contents: Sequence[bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [(number, number % CLASSES, contents[number % len(contents)]) for number in range(first, first + SHARD)]
    path = folder / f"{first // SHARD:06d}.{'tar' if kind == 'webdataset' else 'parquet'}"
    if kind == "parquet":
        images = [{"bytes": content, "path": None} for *_, content in rows]
        table = pa.table({"image": images, "label": [label for _, label, _ in rows]})
        pq.write_table(table, path, row_group_size=GROUP)
        return path
    with tarfile.open(path, "w") as file:
        for name, content in members(rows):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            file.addfile(header, io.BytesIO(content))
    return path


def members(rows: Sequence[tuple[int, int, bytes]]) -> Iterator[tuple[str, bytes]]:
    for number, label, content in rows:
        yield f"{number:08d}.jpg", content
        yield f"{number:08d}.cls", b"%d" % label


def jpeg(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "jpeg", quality=75)
    return file.getvalue()


def bare_decoding(contents: Sequence[bytes], threads: int) -> float:
    """Return the seconds that decoding and moving the images takes by itself."""

    def decode(content: bytes) -> None:
        SMALL.image(Image.open(io.BytesIO(content)).convert("RGB"))

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(decode, contents))
        return time.perf_counter() - start


if __name__ == "__main__":
    main()

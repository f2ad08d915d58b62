"""Extraction against its bare limit: timm's forward pass plus norm and head at every site, in turns, on the CPU.

    python benchmarks/extraction.py [--architecture vit_base_patch32_224] [--images 256] [--batch 64] [--turns 5]

Prints seconds of both, their ratio pair by pair, bytes stored per image, and peak memory for two numbers of images.

    python benchmarks/extraction.py --small [--batch 64] [--turns 30]

A model as small as the default config's, without files: processor time of a batch on one thread with all that is kept,
and of what gives ranks, logits and top-5 alone by plain hooks, and by nnsight where it is installed.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from classlens.inference.activations import capture_activations
from classlens.inference.host import HostCopy
from classlens.inference.network import LoadedModel, read_classes
from classlens.inference.projection import Projection
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.passes.base import Part
from classlens.passes.extraction import Extraction
from classlens.passes.run import run_images

try:
    from nnsight import NNsight
except ImportError:
    NNsight = None

HALF = [0.5, 0.5, 0.5]
SMALL = {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depth": 6, "num_heads": 4, "num_classes": 10}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="vit_base_patch32_224")
    options.add_argument("--images", type=int, default=256)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--small", action="store_true")
    given = options.parse_args()
    if given.small:
        compare_small(given)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = make_images(folder, given.images)
        compare(given, pixels, folder)
        for count in (given.batch, 4 * given.batch):
            print(f"peak memory with {count:5d} images: {peak(given, folder, count):6.0f} MiB")


def make_images(folder: Path, count: int) -> Path:
    path = folder / f"pixels_{count}.h5"
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("pixels", (count, 224, 224, 3), np.uint8, chunks=(1, 224, 224, 3))
        for index in range(count):
            images[index] = random.integers(0, 256, (224, 224, 3), np.uint8)
        file["class_index"] = random.integers(0, 1000, count).astype(np.uint16)
    return path


def compare(given: argparse.Namespace, pixels: Path, folder: Path) -> None:
    torch.manual_seed(0)
    model = build(given.architecture, {})
    loaded, classes = on_cpu(model), read_classes(str(pixels), model.num_classes)
    with h5py.File(pixels) as file:
        first = loaded.normalise(file["pixels"][: given.batch])
    shard = folder / "shard.h5"
    run = {"images": given.images, "batch": given.batch}

    def ours() -> None:
        run_images(Extraction(loaded), str(pixels), classes, range(run["images"]), {}, str(shard), run["batch"])

    def bare() -> None:
        bare_limit(model, first, run["images"] // run["batch"])

    run["images"] = given.batch
    ours(), bare()
    run["images"] = given.images // given.batch * given.batch
    ratios = []
    for turn in range(given.turns):
        limit, time_of_ours = seconds(bare), seconds(ours)
        ratios.append(time_of_ours / limit)
        print(f"turn {turn}: limit {limit:7.2f} s, extraction {time_of_ours:7.2f} s, ratio {ratios[-1]:.3f}")
    stored = shard.stat().st_size / run["images"]
    print(
        f"{given.architecture}: median ratio {statistics.median(ratios):.3f}, {stored / 1000:.1f} kB stored per image"
    )


def on_cpu(model: torch.nn.Module) -> LoadedModel:
    return LoadedModel(model, "", Normalise(HALF, HALF, torch.device("cpu")), "float32", torch.device("cpu"))


@torch.inference_mode()
def bare_limit(model: torch.nn.Module, images: torch.Tensor, batches: int) -> None:
    def site(_block: int, _name: str, tokens: torch.Tensor) -> None:
        model.head(model.fc_norm(model.norm(tokens)))

    with capture_activations(model, site, lambda *_: None):
        for _ in range(batches):
            model(images)


def compare_small(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build("vit_tiny_patch16_224", SMALL)
    torch.nn.init.normal_(model.head.weight)  # a fresh head has nothing but ties
    made, project = Extraction(on_cpu(model)), Projection(model)
    normalise = made.loaded.normalise
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (given.batch, 32, 32, 3), np.uint8)
    target = torch.from_numpy(random.integers(0, 10, given.batch))

    def reads(tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = project(tokens)
        own = logits.gather(-1, target[:, None, None].expand(-1, logits.shape[1], 1))
        return (logits > own).sum(-1, dtype=torch.int32), own, logits.topk(5, dim=-1).indices

    @torch.inference_mode()
    def by_hooks() -> None:
        found = {}
        with capture_activations(model, lambda b, s, x: found.update({(b, s): reads(x)}), lambda *_: None):
            model(normalise(pixels)).topk(5, dim=-1)

    @torch.inference_mode()
    def forward() -> None:
        model(normalise(pixels))

    def ours() -> None:
        made.checked(HostCopy(made(normalise(pixels), target, Part(0, {}))).arrays())

    runs = {"forward pass": forward, "plain hooks": by_hooks, "extraction": ours}
    if NNsight is not None:
        traced = NNsight(model)

        @torch.inference_mode()
        def by_nnsight() -> None:
            with traced.trace(normalise(pixels)):
                found = list().save()  # noqa: C408
                for block in traced.blocks:
                    sites = block.drop_path1.output, block.drop_path2.output, block.output
                    found.append([reads(site) for site in sites])
                traced.output.topk(5, dim=-1).indices.save()

        runs["nnsight"] = by_nnsight
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(given.turns + 2):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn > 1:
                times[name].append(time.process_time() - start)
    for name, found in times.items():
        ratio = statistics.median(ours / other for ours, other in zip(times["extraction"], found, strict=True))
        print(
            f"{name}: median {1000 * statistics.median(found):.1f} ms, least {1000 * min(found):.1f} ms; extraction "
            f"takes {ratio:.2f} x, by the least {min(times['extraction']) / min(found):.2f} x"
        )


def seconds(run: object) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(given: argparse.Namespace, folder: Path, count: int) -> float:
    """Return the peak resident memory of a process that extracts `count` images, in MiB."""
    pixels = make_images(folder, count)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(extract_once, (given.architecture, pixels, folder, count, given.batch))


def extract_once(architecture: str, pixels: Path, folder: Path, count: int, batch: int) -> float:
    model = build(architecture, {})
    classes = read_classes(str(pixels), model.num_classes)
    run_images(Extraction(on_cpu(model)), str(pixels), classes, range(count), {}, str(folder / "peak.h5"), batch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Memories of all blocks and branches against one bare forward pass over the same images, in turns, on the CPU.

    python benchmarks/memories.py [--architecture vit_base_patch32_224] [--images 500] [--batch 50] [--turns 5]

Weights and images are random; the layer files are filled with random keys and classes, the worst case for reading and
writing compressed files. Ours is the projection of all parameters and then every per-block job, one after the other.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from classlens.extraction.files import layer_attributes, layer_columns, output_columns
from classlens.hdf5 import RowWriter
from classlens.measures.block_memories import block_memories
from classlens.measures.memory_parameters import write_parameters
from classlens.models.build import build
from classlens.models.canonical import save_weights
from classlens.terms import BRANCHES

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--architecture", default="vit_base_patch32_224")
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--batch", type=int, default=50)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where other work shares the machine")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    clock = CLOCKS[given.clock]
    torch.manual_seed(0)
    model = build(given.architecture, {})
    images = torch.randn(given.batch, 3, *model.patch_embed.img_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_weights(model, folder / "weights.safetensors", described_as="random weights")
        make_layers(folder, model, given.images)
        bare(model, images, 1)
        ratios, parts = [], []
        for turn in range(given.turns):
            limit = seconds(clock, lambda: bare(model, images, given.images // given.batch))
            projection = seconds(
                clock, lambda: write_parameters(folder / "weights.safetensors", folder / "parameters.h5")
            )
            blocks = seconds(clock, lambda: all_blocks(folder, len(model.blocks)))
            ratios.append((projection + blocks) / limit)
            parts.append((limit, projection, blocks))
            print(
                f"turn {turn}: forward {limit:6.2f} s, parameters {projection:5.2f} s, blocks {blocks:5.2f} s, "
                f"ratio {ratios[-1]:.3f}"
            )
    medians = [statistics.median(values) for values in zip(*parts, strict=True)]
    print(
        f"{given.architecture}, {given.images} images: medians: forward {medians[0]:.2f} s, parameters "
        f"{medians[1]:.2f} s, blocks {medians[2]:.2f} s; ratio {statistics.median(ratios):.3f}"
    )


def make_layers(folder: Path, model: torch.nn.Module, count: int) -> None:
    random = np.random.default_rng(0)
    tokens = model.patch_embed.num_patches + model.num_prefix_tokens
    block = model.blocks[0]
    counts = {"attn": block.attn.proj.in_features, "mlp": block.mlp.fc2.in_features}
    attributes = layer_attributes(model.num_classes, model.num_prefix_tokens, model.cls_token is not None)
    columns = layer_columns(tokens, model.num_classes, counts)
    for index in range(len(model.blocks)):
        facts = {**attributes, "block": index}
        with RowWriter(folder / f"block_{index:02d}.h5", count, columns, facts) as writer:
            writer.append({name: fill(random, name, column, count, counts) for name, column in columns.items()})
    own = output_columns(model.num_classes)
    with RowWriter(folder / "output.h5", count, own, attributes) as writer:
        writer.append({name: random.integers(0, 2, (count, *column.shape)) for name, column in own.items()})


def fill(random, name, column, count, counts):
    highest = counts[name.partition("/")[2]] if name.startswith("keys/") else 1000
    return random.integers(0, highest, (count, *column.shape))


def all_blocks(folder: Path, blocks: int) -> None:
    for block in range(blocks):
        layer, paths = folder / f"block_{block:02d}.h5", [folder / f"{branch}_{block:02d}.h5" for branch in BRANCHES]
        block_memories(layer, folder / "output.h5", folder / "parameters.h5", *paths, seed=0)


@torch.inference_mode()
def bare(model: torch.nn.Module, images: torch.Tensor, batches: int) -> None:
    for _ in range(batches):
        model(images)


def seconds(clock: Callable[[], float], run: Callable[[], None]) -> float:
    start = clock()
    run()
    return clock() - start


if __name__ == "__main__":
    main()

"""What runs on a GPU against its bare limit, in turns: extraction, gradients, direct attribution, removal, chefer.

    python benchmarks/gpu.py [--architecture vit_base_patch16_224] [--batch 64] [--batches 8] [--turns 7]
        [--precisions bfloat16 tf32 float32] [--parts ...]

The limit of all but removal is timm's forward pass of the same images, which lie on the device already; that of a
removal curve is the blocks, norm and head on random tokens, in batches of as many images and as many tokens. Extraction
starts from pixels in host memory and ends with arrays there; of its limit there is a second one, with norm and head at
every site. Prints images per second, the ratio of each turn's times, and the most memory that the device held.

Heads at all sites of ViT-B/16 are 31 % of the forward pass's multiplications, so that 1.2 x is out of reach there where
both multiply as fast. Needs an NVIDIA GPU. Without one it says so and ends with status 1.
"""

import argparse
import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch

from classlens.explanations.chefer import chefer
from classlens.explanations.direct import direct
from classlens.explanations.gradient import gradient
from classlens.inference.activations import capture_activations
from classlens.inference.host import HostCopy
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.measures.removal_steps import importance_order, removal_counts
from classlens.models.build import build
from classlens.models.device import autocast, device_name
from classlens.models.inputs import Normalise, to_device
from classlens.passes.base import Part
from classlens.passes.extraction import Extraction
from classlens.passes.token_removal import TokenRemoval

HALF = [0.5, 0.5, 0.5]
COUNTS = 9
Run = Callable[[], object]


class Trial:
    """A model with images on the GPU; its methods return a part's limits by name, and the part itself."""

    def __init__(self, architecture: str, batch: int, batches: int, precision: str) -> None:
        torch.manual_seed(0)
        self.device, self.precision, self.batches = torch.device("cuda"), precision, batches
        self.model = build(architecture, {}).to(self.device).eval()
        self.normalise = Normalise(HALF, HALF, self.device)
        size = self.model.patch_embed.img_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, *size, 3), np.uint8)
        self.pixels = torch.from_numpy(pixels).pin_memory()
        self.classes = np.random.default_rng(1).integers(0, self.model.num_classes, batch)
        self.images, self.targets = self.normalise(self.pixels), torch.from_numpy(self.classes).to(self.device)

    def often(self, run: Run) -> Run:
        def several() -> None:
            for _ in range(self.batches):
                run()

        return several

    @torch.inference_mode()
    def forward(self) -> None:
        self.model(self.images)

    @torch.inference_mode()
    def forward_and_heads(self) -> None:
        project = Projection(self.model)
        with capture_activations(self.model, lambda _block, _site, x: project(x), lambda *_: None):
            self.model(self.images)

    def extraction(self) -> tuple[dict[str, Run], Run]:
        made = Extraction(LoadedModel(self.model, "", self.normalise, self.precision, self.device))

        def ours() -> None:
            # As in the workflow: a batch is collected while the next one runs.
            before = None
            for _ in range(self.batches):
                classes = to_device(self.classes, self.device)
                kept = HostCopy(made(self.normalise(self.pixels), classes, Part(0, {})))
                if before is not None:
                    made.checked(before.arrays())
                before = kept
            made.checked(before.arrays())

        limits = {"forward pass": self.forward, "forward pass, norm and head at every site": self.forward_and_heads}
        return {name: self.often(run) for name, run in limits.items()}, ours

    def explaining(self, explain: Callable[[torch.nn.Module], Callable[..., object]]) -> tuple[dict[str, Run], Run]:
        explainer = explain(self.model)

        def ours() -> None:
            step = min(len(self.images), explainer.images_that_fit)
            for start in range(0, len(self.images), step):
                explainer(self.images[start : start + step], self.targets[start : start + step])

        return {"forward pass": self.often(self.forward)}, self.often(ours)

    def removal(self) -> tuple[dict[str, Run], Run]:
        remove = TokenRemoval(self.model)
        tokens = remove.tokens
        all_counts = removal_counts(tokens.patches)
        counts = [all_counts[round(index)] for index in np.linspace(0, len(all_counts) - 1, COUNTS)]
        importance = np.random.default_rng(0).random((1, len(self.images), tokens.patches))
        orders = torch.from_numpy(importance_order(importance)).to(self.device)

        @torch.inference_mode()
        def bare() -> None:
            # The whole image once, every other number of tokens for both directions.
            self.model(self.images)
            for count in counts[:-1]:
                for _ in range(2):
                    x = torch.randn(len(self.images), tokens.prefix + count, self.model.embed_dim, device=self.device)
                    self.model.forward_head(self.model.norm(self.model.blocks(x)))

        return {"blocks and head": bare}, lambda: remove(self.images, self.targets, orders, counts)


PARTS: dict[str, tuple[float, Callable[[Trial], tuple[dict[str, Run], Run]]]] = {
    "extraction": (1.2, Trial.extraction),
    "gradient": (1.1, lambda trial: trial.explaining(gradient)),
    "direct": (1.15, lambda trial: trial.explaining(direct)),
    "chefer": (2.5, lambda trial: trial.explaining(chefer)),
    "removal": (1.15, Trial.removal),
}
"""What is measured, and the ratio that it should not exceed, of extraction in bfloat16."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="vit_base_patch16_224")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--batches", type=int, default=8)
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--precisions", nargs="+", default=["bfloat16", "tf32", "float32"])
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = options.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no NVIDIA GPU here")
    print(f"{device_name(torch.device('cuda', torch.cuda.current_device()))}, torch {torch.__version__}")
    for precision in given.precisions:
        trial = Trial(given.architecture, given.batch, given.batches, precision)
        for part in given.parts:
            with frozen_eval_mode(trial.model), autocast(trial.device, precision):
                compare(f"{given.architecture}, {precision}, {part}", trial, part, given.turns)


def compare(title: str, trial: Trial, part: str, turns: int) -> None:
    wanted, make = PARTS[part]
    limits, ours = make(trial)
    for run in (*limits.values(), ours):
        run()  # kernels are compiled and chosen in the first call
    torch.cuda.reset_peak_memory_stats()
    times: dict[str, list[float]] = {name: [] for name in (*limits, "ours")}
    for _ in range(turns):
        for name, run in {**limits, "ours": ours}.items():
            times[name].append(seconds(run))
    images = len(trial.images) * (1 if part == "removal" else trial.batches)
    rate = images / statistics.median(times["ours"])
    print(f"{title}: {rate:.0f} images per second, at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    for name in limits:
        ratios = [mine / limit for mine, limit in zip(times["ours"], times[name], strict=True)]
        print(
            f"    {statistics.median(ratios):.2f} x {name} ({min(ratios):.2f} to {max(ratios):.2f}); {wanted} x wanted",
            flush=True,
        )


def seconds(run: Run) -> float:
    """Return the seconds between the device's idleness before and after, by its own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


if __name__ == "__main__":
    main()

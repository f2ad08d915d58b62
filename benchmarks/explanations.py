"""Explanations and removal curves against their bare limits, in turns, on the CPU.

    python benchmarks/explanations.py [--architecture vit_base_patch32_224] [--batch 32] [--turns 7] [--parts ...]

Limits: of explanations timm's own forward pass of the same images; of a removal curve the blocks, norm and head on
random tokens, in batches of as many images and as many tokens. Prints seconds of both and their ratio, turn by turn.
"""

import argparse
import time

import numpy as np
import torch

from classlens.explanations.chefer import chefer
from classlens.explanations.gradient import gradient
from classlens.explanations.integrated import integrated_gradients
from classlens.explanations.legrad import legrad, legrad_cls
from classlens.explanations.lrp import attn_lrp, cp_lrp
from classlens.explanations.rollout import rollout
from classlens.inference.modes import frozen_eval_mode
from classlens.measures.removal_steps import importance_order, removal_counts
from classlens.models.build import build
from classlens.passes.token_removal import TokenRemoval

PARTS = {"gradient": 1.1, "chefer": 2.5, "rollout": 2.5, "removal": 1.15}
PARTS |= {"attn_lrp": 2.3, "cp_lrp": 2.3, "legrad": 2.3, "legrad_cls": 2.3, "integrated_gradients": 75}
"""What is measured, and the ratio that it must not exceed."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="vit_base_patch32_224")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--steps", type=int, help="numbers of tokens in a removal curve; default: all")
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = build(given.architecture, {})
    images = torch.randn(given.batch, 3, *model.patch_embed.img_size)
    classes = torch.randint(0, model.num_classes, (given.batch,))
    with frozen_eval_mode(model):
        for part in given.parts:
            bare, ours = MAKERS[part](model, images, classes, given.steps)
            compare(f"{given.architecture}, {part}", given.turns, PARTS[part], bare, ours)


def compare(what: str, turns: int, wanted: float, bare: object, ours: object) -> None:
    bare(), ours()
    ratios = []
    for turn in range(turns):
        # The machine may slow down meanwhile, so the limit is taken before and after.
        before, measured, after = seconds(bare), seconds(ours), seconds(bare)
        limit = (before + after) / 2
        ratios.append(measured / limit)
        print(
            f"{what}, turn {turn}: limit {limit[0]:7.2f} s, ours {measured[0]:7.2f} s, "
            f"ratio {ratios[-1][0]:.3f}, of processor time {ratios[-1][1]:.3f}",
            flush=True,
        )
    wall, processor = np.median(ratios, axis=0)
    print(f"{what}: median ratio {wall:.3f}, of processor time {processor:.3f}; at most {wanted} wanted")


def seconds(run: object) -> np.ndarray:
    """Return wall-clock and processor time; the latter says more where other programs run at the same time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - processor])


def explaining(explain: object) -> object:
    def make(
        model: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, _steps: int | None
    ) -> tuple[object, object]:
        @torch.inference_mode()
        def bare() -> None:
            model(images)

        explainer = explain(model)
        return bare, lambda: explainer(images, classes)

    return make


def removal(
    model: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, steps: int | None
) -> tuple[object, object]:
    remove = TokenRemoval(model)
    tokens = remove.tokens
    counts = removal_counts(tokens.patches)
    if steps:
        counts = [counts[round(index)] for index in np.linspace(0, len(counts) - 1, steps)]
    importance = np.random.default_rng(0).random((1, len(images), tokens.patches))
    orders = torch.from_numpy(importance_order(importance))

    @torch.inference_mode()
    def bare() -> None:
        # The whole image once, every other number of tokens for both directions.
        model(images)
        for count in counts[:-1]:
            for _ in range(2):
                x = torch.randn(len(images), tokens.prefix + count, model.embed_dim)
                model.forward_head(model.norm(model.blocks(x)))

    return bare, lambda: remove(images, classes, orders, counts)


MAKERS = {
    "gradient": explaining(gradient),
    "chefer": explaining(chefer),
    "rollout": explaining(rollout),
    "removal": removal,
    "attn_lrp": explaining(attn_lrp),
    "cp_lrp": explaining(cp_lrp),
    "legrad": explaining(legrad),
    "legrad_cls": explaining(legrad_cls),
    "integrated_gradients": explaining(integrated_gradients),
}

if __name__ == "__main__":
    main()

"""Replacing each head of each block by its mean against the bare blocks that must run, in turns, on the CPU.

    python benchmarks/causes.py [--architecture vit_base_patch32_224] [--batch 4] [--turns 3]

The bare limit: all blocks once, then for every head of block b the blocks from b on. Prints seconds of both and their
ratio, turn by turn, then the medians.
"""

import argparse

import torch
from explanations import compare

from classlens.ablation.replace import Ablation
from classlens.inference.modes import frozen_eval_mode
from classlens.models.build import build

WANTED = 1.1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="vit_base_patch32_224")
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = build(given.architecture, {})
    images = torch.randn(given.batch, 3, *model.patch_embed.img_size)
    classes = torch.randint(0, model.num_classes, (given.batch,))
    ablation, blocks = Ablation(model), len(model.blocks)
    attention = model.blocks[0].attn
    tokens = ablation.tokens.embed(images)
    means = torch.zeros(blocks, attention.num_heads, tokens.shape[1], attention.head_dim)

    def bare() -> None:
        model.blocks(tokens)
        for block in range(blocks):
            for _ in range(attention.num_heads):
                model.blocks[block:](tokens)

    what = f"{given.architecture}, {blocks * attention.num_heads} heads, {given.batch} images"
    with frozen_eval_mode(model), torch.inference_mode():
        compare(what, given.turns, WANTED, bare, lambda: ablation.heads(images, classes, means))


if __name__ == "__main__":
    main()

"""Direct logit attribution against a bare forward pass of the same images, and the sums for heads in words against
attribution, in turns, on the CPU.

    python benchmarks/attribution.py [--architecture vit_base_patch16_224] [--pool token avg] [--batch 8] [--turns 5]

`avg` averages the image tokens after the last norm, so that each has a scale of its own. All sources are kept. Prints
seconds and ratios, turn by turn, then the medians.
"""

import argparse
import time

import numpy as np
import torch

from classlens.attribution.decompose import LogitAttribution
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.passes.head_words import OutputSums

WANTED = 1.15
POOLS = {"token": {}, "avg": {"global_pool": "avg", "class_token": False, "fc_norm": False}}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="vit_base_patch16_224")
    options.add_argument("--pool", nargs="+", choices=list(POOLS), default=list(POOLS))
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    for pool in given.pool:
        compare(given, pool)


def compare(given: argparse.Namespace, pool: str) -> None:
    torch.manual_seed(0)
    model = build(given.architecture, POOLS[pool])
    images = torch.randn(given.batch, 3, *model.patch_embed.img_size)
    classes = torch.randint(0, model.num_classes, (given.batch,))
    attribute = LogitAttribution(model)
    with frozen_eval_mode(model), torch.inference_mode():
        model(images)
        device = images.device
        sums = OutputSums(
            LoadedModel(model, "", Normalise([0.5] * 3, [0.5] * 3, device), "float32", device), len(images)
        )
        sums.add(images, 0)
        gap = attribute(images, classes).gap().max().item()
        ratios = []
        for turn in range(given.turns):
            # The machine may slow down meanwhile, so the limit is taken before and after.
            before = seconds(lambda: model(images))
            measured = seconds(lambda: attribute(images, classes))
            limit = (before + seconds(lambda: model(images))) / 2
            words = seconds(lambda: sums.add(images, 0))
            ratios.append([*(measured / limit), *(words / measured)])
            print(
                f"{pool}, turn {turn}: forward pass {limit[0]:6.2f} s, attribution {measured[0]:6.2f} s, "
                f"ratio {ratios[-1][0]:.3f}, of processor time {ratios[-1][1]:.3f}; words {words[0]:6.2f} s, ratio to "
                f"attribution {ratios[-1][2]:.3f}, of processor time {ratios[-1][3]:.3f}",
                flush=True,
            )
    wall, processor, of_words, of_processor = np.median(ratios, axis=0)
    print(
        f"{given.architecture}, {pool}: median ratio {wall:.3f}, of processor time {processor:.3f}; at most {WANTED} "
        f"wanted; the parts differ from the logit by {gap:.1e} of the largest; heads in words to attribution: "
        f"{of_words:.3f}, of processor time {of_processor:.3f}; at most {WANTED} wanted"
    )


def seconds(run: object) -> np.ndarray:
    """Return wall-clock and processor time; the latter says more where other programs run at the same time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - processor])


if __name__ == "__main__":
    main()

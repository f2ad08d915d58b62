"""Which explanation explains best? Tokens and pixels are removed from a small model's images in each one's order.

    python benchmarks/ranking.py [digits] [--pooling avg] [--train | --weights weights.safetensors]
    python benchmarks/ranking.py fashion [--root /usr/share/datasets/fashion-mnist] [--per-class 100] [--epochs 5]

`digits` and models of them come with classlens; of other images, and with `--train`, a model is trained. Fashion-MNIST
(Xiao et al. 2017, arXiv 1708.07747) is Debian's package dataset-fashion-mnist. Prints the gap between the areas under
the removal curves (least important first - most important first), and how far each explanation is behind the best one,
paired by image, with bootstrap intervals.
"""

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from PIL.Image import Resampling as Filter

from classlens.catalog.methods import METHODS, applicable_methods
from classlens.data.digits import Digits
from classlens.declared import load
from classlens.explanations.random import write_random_explanation
from classlens.measures.explanation_quality import explanation_quality
from classlens.models.describe import describe
from classlens.models.train import train
from classlens.passes.explanation import Explanation
from classlens.passes.pixel_removal import RemovePixels
from classlens.passes.removal_curves import join_pixel_curves, join_removal_curves
from classlens.passes.run import run_pass
from classlens.passes.token_removal import RemoveTokens
from classlens.shipped import shipped_weights
from classlens.statistics.resampling import Resampling

SIDE, CLASSES = 32, 10
MODEL = {"img_size": SIDE, "patch_size": 4, "embed_dim": 64, "depth": 6, "num_heads": 4, "num_classes": CLASSES}
NETWORK = {"architecture": "vit_tiny_patch16_224", "mean": [0.5] * 3, "std": [0.5] * 3}
REMOVALS = {
    "tokens": {"of": RemoveTokens, "finish": join_removal_curves},
    "pixels": {"of": RemovePixels, "finish": join_pixel_curves},
}
RESAMPLING = Resampling(resamples=9999, confidence=0.95, seed=0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dataset", nargs="?", default="digits", choices=["digits", "fashion"])
    options.add_argument("--root", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    options.add_argument("--per-class", type=int, default=50, help="evaluation images of Fashion-MNIST per class")
    options.add_argument("--train-per-class", type=int, default=1000)
    options.add_argument("--pooling", choices=["token", "avg"], default="token")
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--train", action="store_true", help="a model of digits, too")
    options.add_argument("--weights", help="weights of such a model")
    options.add_argument("--methods", nargs="+", help="default: every one that needs a model and images alone")
    options.add_argument("--counts", type=int, default=16, help="numbers of kept tokens")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.dataset == "digits" and not (given.weights or given.train):
        given.weights = str(shipped_weights(f"shipped:vit_{'gap' if given.pooling == 'avg' else 'cls'}"))
    averages = {"global_pool": "avg", "class_token": False} if given.pooling == "avg" else {}
    network = {**NETWORK, "options": {**MODEL, **averages}}
    methods = given.methods or list(applicable_methods(describe(network["architecture"], network["options"])["lacks"]))
    with tempfile.TemporaryDirectory() as folder:
        rank(Path(folder), given, network, methods)


def rank(folder: Path, given: argparse.Namespace, network: dict[str, object], methods: list[str]) -> None:
    files = {split: str(folder / f"{split}.h5") for split in ("training", "evaluation")}
    images = digits() if given.dataset == "digits" else fashion(given)
    for split, (pixels, classes) in images.items():
        with h5py.File(files[split], "w") as file:
            file["pixels"], file["class_index"] = pixels, classes.astype(np.uint16)
    weights, start = given.weights, time.perf_counter()
    if not weights:
        weights = str(folder / "weights.safetensors")
        recipe = {"batch_size": 32, "learning_rate": 0.001, "weight_decay": 0.05, "threads": 1}
        train(**files, weights=weights, history=str(folder / "history.csv"), seed=given.seed, epochs=given.epochs,
              device="auto", **recipe, **network)  # fmt: skip
        print(f"trained in {time.perf_counter() - start:.0f} s", flush=True)
    running = {**network, "precision": "float32", "threads": 1, "device": "auto", "batch_size": 64}
    patches = (SIDE // 4) ** 2
    steps = sorted({round(count) for count in np.linspace(1, patches, given.counts)})
    right = {"tokens": [], "pixels": []}
    for method in methods:
        start, explanation = time.perf_counter(), str(folder / f"{method}.h5")
        if METHODS[method].compute:
            how = {"explain": load(METHODS[method].compute), "has_maps": METHODS[method].has_maps, **running}
            run_pass(files["evaluation"], weights, explanation, of=Explanation, **how)
        else:
            write_random_explanation(files["evaluation"], explanation, tokens=patches, seed=given.seed)
        seconds = time.perf_counter() - start
        for kind, removal in REMOVALS.items():
            right[kind].append(str(folder / f"{method}_{kind}.h5"))
            read = {"explanation": [explanation], "seeds": [], **({"counts": steps} if kind == "tokens" else {})}
            made = {"curves": str(folder / "curves.csv"), "correct_per_image": right[kind][-1]}
            run_pass(files["evaluation"], weights, **removal, **read, **made, **running)
        print(f"{method}: explained in {seconds:.1f} s", flush=True)
    table = str(folder / "table.csv")
    explanation_quality(**right, segmentation=[], explanations=[], randomised=[], table=table, methods=methods,
                        randomised_methods=[], resampling=RESAMPLING)  # fmt: skip
    with h5py.File(right["pixels"][0]) as file:
        print(f"accuracy {file['positive'][:, 0].mean():.3f}")
    report(pd.read_csv(table), len(images["evaluation"][1]))


def report(table: pd.DataFrame, images: int) -> None:
    rows = table.set_index(["measure", "part", "method"]).sort_index()
    for measure, unit in (("tokens", "area 0 to 1"), ("pixels", "area 0 to 90, as published")):
        gaps = rows.loc[(measure, "gap")].sort_values("value", ascending=False)
        print(f"\nremoval of {measure}, {images} images ({unit})")
        print(f"{'explanation':24} {'gap':>7} {'95 % interval':>18} {'behind best':>12} {'95 % interval':>18}")
        for method, gap in gaps.iterrows():
            behind = rows.loc[(measure, "behind_best", method)]
            print(
                f"{method:24} {gap['value']:7.3f} [{gap['ci_low']:7.3f}, {gap['ci_high']:7.3f}] "
                f"{behind['value']:12.3f} [{behind['ci_low']:7.3f}, {behind['ci_high']:7.3f}]"
            )


Images = dict[str, tuple[np.ndarray, np.ndarray]]


def digits() -> Images:
    """The digits of the default config, as it resizes them."""
    source, found = Digits(None), {}
    stimuli = source.stimuli({})
    for split in ("training", "evaluation"):
        chosen = [one for one in stimuli if one.split == split]
        pictures = [
            source.decode(source.content(one.file), one.file).resize((SIDE, SIDE), Filter.BILINEAR) for one in chosen
        ]
        found[split] = np.stack([np.asarray(one) for one in pictures]), np.array([one.class_index for one in chosen])
    return found


def fashion(given: argparse.Namespace) -> Images:
    """Fashion-MNIST, with a black margin that makes 32 x 32 pixels of 28 x 28."""
    found = {}
    for split, name, count in (("training", "train", given.train_per_class), ("evaluation", "t10k", given.per_class)):
        with gzip.open(given.root / f"{name}-images-idx3-ubyte.gz") as file:
            pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(given.root / f"{name}-labels-idx1-ubyte.gz") as file:
            classes = np.frombuffer(file.read(), np.uint8, offset=8)
        chosen = np.sort(np.concatenate([np.flatnonzero(classes == index)[:count] for index in range(CLASSES)]))
        padded = np.pad(pictures[chosen], ((0, 0), (2, 2), (2, 2)))
        found[split] = np.repeat(padded[..., None], 3, axis=-1), classes[chosen]
    return found


if __name__ == "__main__":
    main()

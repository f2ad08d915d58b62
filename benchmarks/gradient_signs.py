"""Why gradients lose to random orders when the least important tokens go first: removal by parts of their sign.

    python benchmarks/gradient_signs.py digits [--train | --weights weights.safetensors]
    python benchmarks/gradient_signs.py fashion [--epochs 3] [--train-per-class 1000] [--per-class 50]

Takes the model of benchmarks/ranking.py and removes image tokens, least important first, by the gradient explanation,
its positive part, its magnitude, and at random. Prints the area under accuracy, its difference to that of random orders
(paired by image, with bootstrap intervals), and the accuracy with an eighth of the tokens removed.
"""

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np
import torch
from ranking import MODEL, NETWORK, RESAMPLING, SIDE, digits, fashion

from classlens.explanations.gradient import gradient
from classlens.inference.network import load_network
from classlens.measures.faithfulness_auc import area
from classlens.measures.removal_steps import importance_order
from classlens.models.train import train
from classlens.passes.explanation import Explanation
from classlens.passes.run import run_pass
from classlens.passes.token_removal import TokenRemoval
from classlens.shipped import shipped_weights
from classlens.statistics.resampling import bootstrap_interval

PATCHES = (SIDE // 4) ** 2
KEPT = [1, 4, 8, 16, 24, 32, 40, 48, 56, 60, 64]
AN_EIGHTH = KEPT.index(PATCHES - PATCHES // 8)
DRAWS = 5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dataset", choices=["digits", "fashion"], nargs="?", default="digits")
    options.add_argument("--root", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    options.add_argument("--per-class", type=int, default=50, help="evaluation images of Fashion-MNIST per class")
    options.add_argument("--train-per-class", type=int, default=1000)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--train", action="store_true", help="a model of digits, too")
    options.add_argument("--weights", help="weights of such a model")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.dataset == "digits" and not (given.weights or given.train):
        given.weights = str(shipped_weights("shipped:vit_cls"))
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given)


def compare(folder: Path, given: argparse.Namespace) -> None:
    network = {**NETWORK, "options": MODEL}
    files = {split: str(folder / f"{split}.h5") for split in ("training", "evaluation")}
    for split, (pixels, classes) in (digits() if given.dataset == "digits" else fashion(given)).items():
        with h5py.File(files[split], "w") as file:
            file["pixels"], file["class_index"] = pixels, classes.astype(np.uint16)
    weights = given.weights or str(folder / "weights.safetensors")
    if not given.weights:
        recipe = {"batch_size": 32, "learning_rate": 0.001, "weight_decay": 0.05, "threads": 1}
        train(**files, weights=weights, history=str(folder / "history.csv"), seed=0, epochs=given.epochs,
              device="auto", **recipe, **network)  # fmt: skip
    running = {**network, "precision": "float32", "threads": 1, "device": "auto"}
    explanation = str(folder / "gradient.h5")
    explained = {"of": Explanation, "explain": gradient, "has_maps": True, "batch_size": 64}
    run_pass(files["evaluation"], weights, explanation, **explained, **running)
    with h5py.File(explanation) as file:
        maps = file["maps"][:]
    orders = {
        "gradient": maps.sum((1, 2)),
        "positive part": np.maximum(maps, 0).sum((1, 2)),
        "magnitude": np.abs(maps).sum((1, 2)),
    }
    print(f"{(orders['gradient'] < 0).mean():.0%} of image tokens have a negative importance")
    random = np.random.default_rng(0).random((DRAWS, *orders["gradient"].shape))
    right = {name: correct(files["evaluation"], weights, running, [importance]) for name, importance in orders.items()}
    right["random"] = correct(files["evaluation"], weights, running, random)
    removed = [PATCHES - kept for kept in KEPT]
    areas = {name: area(removed, values) for name, values in right.items()}
    for name, values in right.items():
        difference = areas[name] - areas["random"]
        (low,), (high,) = bootstrap_interval(difference[:, None], RESAMPLING)
        print(
            f"{name:14} area {areas[name].mean():.3f}, more than random {difference.mean():+.3f} "
            f"[{low:+.3f}, {high:+.3f}], accuracy without an eighth {values[:, AN_EIGHTH].mean():.3f}"
        )


def correct(pixels: str, weights: str, running: dict[str, object], importance: np.ndarray) -> np.ndarray:
    """Return how often the model is right (N, steps) over orders by importance (orders, N, P), the least first."""
    loaded = load_network(weights, **running)
    removal, found = TokenRemoval(loaded.model), []
    with h5py.File(pixels) as file, torch.inference_mode():
        images, classes = loaded.normalise(file["pixels"][:]), torch.from_numpy(file["class_index"][:].astype(np.int64))
        orders = torch.from_numpy(np.stack([importance_order(one) for one in importance]))
        for part in torch.arange(len(images)).split(64):
            found.append(removal(images[part], classes[part], orders[:, part], KEPT)[0].double().mean(0))
    return torch.cat(found).numpy()


if __name__ == "__main__":
    main()

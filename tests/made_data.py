"""Small data sets that tests make."""

import pickle

import numpy as np

RNG = np.random.default_rng(0)
NAMES = ("apple", "aquarium_fish", "baby")


def write_cifar(folder, classes=NAMES, per_class=4):
    """Write files as those of CIFAR-100, with a few images of a few classes."""
    inside = folder / "cifar-100-python"
    inside.mkdir(parents=True)
    for partition in ("train", "test"):
        labels = list(range(len(classes))) * per_class
        content = {
            "fine_labels": labels,
            "coarse_labels": labels,
            "filenames": [f"{number}.png" for number in labels],
            "data": RNG.integers(0, 256, (len(labels), 3072), np.uint8),
        }
        (inside / partition).write_bytes(pickle.dumps(content, protocol=2))
    (inside / "meta").write_bytes(pickle.dumps({"fine_label_names": list(classes)}, protocol=2))
    return folder

"""Train anew the models whose weights come with the package, and say how the two differ (`make weights`).

    python -m classlens.retrain [CONFIG]

The workflow trains them, in a folder and a store of their own. On one machine the same recipe gives the same bits;
machines round differently, and training amplifies that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file

from classlens.catalog import files
from classlens.catalog.configs import read_config
from classlens.config import Config
from classlens.config.architecture import model_options
from classlens.h5 import h5py
from classlens.models.canonical import load_model
from classlens.models.inputs import Normalise
from classlens.shipped import SHIPPED, shipped_weights, workflow_folder

RECIPE = workflow_folder() / "config/weights.yaml"


def retrain(config_file: Path) -> list[str]:
    """Train all models of a config that are trained, and compare each with the shipped one of its name.

    Returns:
        a line for each model.

    Raises:
        InputError: no such model is shipped.
        subprocess.CalledProcessError: training failed; the workflow has said why.
    """
    config = read_config(config_file)
    names = [name for name in config.models if config.trained(name)]
    shipped = {name: shipped_weights(f"{SHIPPED}{name}") for name in names}
    with TemporaryDirectory() as folder:
        weights = {name: files.WEIGHTS.format(model=name) for name in names}
        command: list[str | Path] = [sys.executable, "-m", "snakemake", *weights.values(), "--directory", folder]
        command += ["--snakefile", workflow_folder() / "Snakefile", "--cores", "all"]
        command += ["--configfile", config_file.resolve()]
        # A store that other runs fill would have what is to be trained.
        environment = {**os.environ, "CLASSLENS_STORE": f"{folder}/store"}
        subprocess.run(command, env=environment, check=True)
        return [compared(config, name, shipped[name], Path(folder) / weights[name], Path(folder)) for name in names]


def compared(config: Config, name: str, shipped: Path, anew: Path, folder: Path) -> str:
    """Say how the weights of a model differ, and how often each is right.

    Args:
        config: of the training.
        name: of the model.
        shipped, anew: canonical weights.
        folder: where the workflow ran.
    """
    before, after = load_file(shipped), load_file(anew)
    largest = {key: float((after[key] - before[key]).abs().max()) for key in before}
    worst = max(largest, key=lambda key: largest[key])
    unequal = sum(difference > 0 for difference in largest.values())
    with h5py.File(folder / files.EVALUATION(config, {"model": name})) as file:
        pixels, classes = file["pixels"][:], torch.from_numpy(file["class_index"][:].astype(int))
    transform = config.transform(name)
    images = Normalise(transform["mean"], transform["std"], torch.device("cpu"))(pixels)
    right = []
    for weights in (shipped, anew):
        model = load_model(weights, config.models[name]["architecture"], model_options(config, name)).eval()
        with torch.inference_mode():
            right.append(float((model(images).argmax(-1) == classes).float().mean()))
    differs = f"{unequal} of {len(before)} tensors differ, by {largest[worst]:.3g} at most ({worst})"
    return (
        f"{name}: {differs if unequal else f'all {len(before)} tensors are equal'}; "
        f"accuracy {right[0]:.4f} shipped, {right[1]:.4f} trained anew"
    )


if __name__ == "__main__":
    print("\n".join(retrain(Path(*sys.argv[1:2]) if sys.argv[1:] else RECIPE)))

"""A model that the workflow trains: the config of docs/data.md as it is printed, on a few made photos."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import CHECKOUT, Workflow
from PIL import Image

pytestmark = pytest.mark.workflow

BLOCK = re.compile(r'^```yaml title="train.yaml"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def test_the_config_of_the_page_trains(tmp_path):
    [block] = BLOCK.findall((CHECKOUT / "docs/data.md").read_text())
    config = yaml.safe_load(block)
    generator = np.random.default_rng(0)
    for place, name in enumerate(("dark", "bright")):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for number in range(9):
            pixels = generator.integers(128 * place, 128 + 128 * place, (70, 80, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "animals" / name / f"{number}.png")
    [dataset], [(name, model)] = config["datasets"].values(), config["models"].items()
    dataset |= {"root": str(tmp_path / "animals"), "per_class": 3}
    workflow = Workflow(tmp_path / "work", config)
    outputs = [f"results/{model}/output.h5" for model in (name, f"{name}-random")]
    printed = workflow.run(f"results/{name}/training.csv", *outputs, "--cores", "1", "--verbose")
    # While a job runs for which others wait, nothing is looked over: a job starts when another one has ended.
    assert printed.count("Ready jobs: ") <= 1 + printed.count("Finished jobid: ")
    history = pd.read_csv(workflow.result(f"{name}/training.csv"))
    assert history["epoch"].tolist() == list(range(1, model["weights"]["train"]["epochs"] + 1))
    assert history["training_loss"].iloc[-1] < history["training_loss"].iloc[0]
    with h5py.File(workflow.result(f"{name}/output.h5")) as file:
        assert file["correct"].shape == (6,)
        assert file["correct"][:].mean() == pytest.approx(history["accuracy"].iloc[-1], abs=1e-6)
    assert history["accuracy"].iloc[-1] == 1

"""Shipped weights, and others that are trained anew by their recipe."""

import re

import pytest
import yaml

from classlens.retrain import RECIPE, retrain

pytestmark = pytest.mark.workflow


def short(tmp_path, **changes):
    """Return a recipe that is done in seconds."""
    config = yaml.safe_load(RECIPE.read_text())
    config["datasets"]["digits"]["train_per_class"] = 4
    config["models"] = {"vit_cls": {**config["models"]["vit_cls"], **changes}}
    config["models"]["vit_cls"]["weights"]["train"]["epochs"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "config.yaml"


def test_how_much_other_weights_differ_is_said(tmp_path, capfd):
    [said] = retrain(short(tmp_path))
    pattern = r"vit_cls: (\d+) of (\d+) tensors differ, by [\d.e-]+ at most \([\w.]+\); "
    pattern += r"accuracy ([\d.]+) shipped, ([\d.]+) trained anew"
    differ, tensors, shipped, anew = map(float, re.fullmatch(pattern, said).groups())
    assert 0 < differ <= tensors
    assert shipped == pytest.approx(0.9615, abs=0.003)
    assert anew < 0.5
    assert "train" in "".join(capfd.readouterr())

"""Published values beside reproduced ones."""

from dataclasses import replace

import pandas as pd
import pytest

from classlens.catalog.configs import load_config
from classlens.catalog.planning import wanted_tables
from classlens.tables.published import published_comparison
from classlens.tables.published_values import PUBLISHED

ENDS = {"": 0, "_ci_low": -0.01, "_ci_high": 0.02}


def test_reproduced_minus_published(tmp_path):
    rates = tmp_path / "rates.csv"
    quantities = ("identifiable_tokens_percent", "images_with_identifiable_percent", "accuracy")
    values = {"vit_b_32": (61.73, 95.08, 0.8), "vit_b_32-random": (0.1, 1, 0.001), "other": (1, 2, 0.3)}
    rows = [
        {
            name + end: value + shift
            for name, value in zip(quantities, found, strict=True)
            for end, shift in ENDS.items()
        }
        for found in values.values()
    ]
    pd.DataFrame(rows, index=pd.Index(values, name="model")).to_csv(rates)
    published_comparison(rates=str(rates), table=str(tmp_path / "out.csv"))
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(table["model"]) == {"vit_b_32", "vit_b_32-random"}
    rows = table.set_index(["model", "quantity"])
    assert rows.loc[("vit_b_32", "identifiable_tokens_percent"), "difference"] == pytest.approx(1.0)
    reproduced = rows.loc[("vit_b_32", "accuracy_percent"), [f"reproduced{end}" for end in ENDS]]
    assert reproduced.tolist() == pytest.approx([80, 79, 82])
    assert ("vit_b_32-random", "accuracy_percent") not in rows.index


def test_it_is_made_for_the_papers_models_alone():
    model = {"dataset": "d", "architecture": "vit_tiny_patch16_224", "analyses": ["identifiability"]}
    for name in (next(iter(PUBLISHED)), "mine"):
        config = load_config({"datasets": {"d": {"kind": "digits"}}, "models": {name: model}})
        config = replace(config, architectures={name: {"lacks": {}, "has_class_token": True}})
        assert ("published_comparison" in wanted_tables(config)) == (name in PUBLISHED)

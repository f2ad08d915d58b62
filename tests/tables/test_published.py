"""Published values beside reproduced ones."""

import pandas as pd
import pytest

from classlens.catalog.configs import load_config
from classlens.catalog.plan import wanted_tables
from classlens.tables.published import published_comparison
from classlens.tables.published_values import PUBLISHED


def test_reproduced_minus_published(tmp_path):
    rates = tmp_path / "rates.csv"
    rates.write_text(
        "model,identifiable_tokens_percent,images_with_identifiable_percent,accuracy\n"
        "vit_b_32,61.73,95.08,0.8\nvit_b_32-random,0.1,1,0.001\nother,1,2,0.3\n"
    )
    published_comparison(rates=str(rates), table=str(tmp_path / "out.csv"))
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(table["model"]) == {"vit_b_32", "vit_b_32-random"}
    rows = table.set_index(["model", "quantity"])
    assert rows.loc[("vit_b_32", "identifiable_tokens_percent"), "difference"] == pytest.approx(1.0)
    assert rows.loc[("vit_b_32", "accuracy_percent"), "reproduced"] == pytest.approx(80)
    assert ("vit_b_32-random", "accuracy_percent") not in rows.index


def test_it_is_made_for_the_papers_models_alone():
    model = {"dataset": "d", "architecture": "vit_tiny_patch16_224", "analyses": ["identifiability"]}
    for name in (next(iter(PUBLISHED)), "mine"):
        config = load_config({"datasets": {"d": {"kind": "digits"}}, "models": {name: model}})
        assert ("published_comparison" in wanted_tables(config)) == (name in PUBLISHED)

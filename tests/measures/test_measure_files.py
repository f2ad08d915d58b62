"""What holds for every measure: its bytes depend on the numbers and the seed, not on how files are read."""

from pathlib import Path

import pytest
from layer_files import extracted, random_labels, write_labels

from classlens.hdf5 import iterate_rows
from classlens.measures.class_building import class_building
from classlens.measures.class_context_change import class_context_change
from classlens.measures.class_vs_context import class_vs_context
from classlens.measures.identifiability import identifiability
from classlens.measures.identifiability_comparison import identifiability_comparison
from classlens.measures.identifiability_evolution import identifiability_evolution
from classlens.measures.identifiability_rates import identifiability_rates
from classlens.measures.logit_increment import logit_increment

IMAGES = 23
UNSEEDED = {"identifiability.h5"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = extracted(folder, images=IMAGES, prefix=2)
    return model, write_labels(folder / "labels.h5", random_labels(1, IMAGES, model.patches))


def measure_all(inputs, folder, seed=0) -> dict[str, bytes]:
    """Run every measure; return the files' bytes by name."""
    model, labels = inputs
    folder.mkdir()
    common = {"resamples": 50, "confidence": 0.95, "seed": seed}
    measured = str(folder / "identifiability.h5")
    identifiability(model.layers, model.output, measured)
    identifiability_evolution(measured, [], str(folder / "evolution.csv"), **common)
    identifiability_comparison(measured, str(folder / "comparison.csv"), **common)
    identifiability_rates(measured, str(folder / "rates.csv"), **common)
    logit_increment(model.layers, str(folder / "increment.csv"), **common)
    class_building(model.layers, str(folder / "building.csv"), **common)
    class_vs_context(model.layers, labels, str(folder / "context.csv"), correction="holm", **common)
    class_context_change(model.layers, labels, str(folder / "change.csv"), **common)
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.fixture(scope="module")
def expected(inputs, tmp_path_factory):
    return measure_all(inputs, tmp_path_factory.mktemp("measures") / "expected")


@pytest.mark.parametrize("rows", [1, 4, IMAGES - 1, IMAGES])
def test_results_do_not_depend_on_the_read_batch_size(inputs, expected, tmp_path, monkeypatch, rows):
    monkeypatch.setattr(iterate_rows, "__defaults__", (rows,))
    sizes = {len(batch["label"]) for batch in iterate_rows(inputs[1], ["label"])}
    assert max(sizes) == rows
    assert measure_all(inputs, tmp_path / "again") == expected


def test_results_depend_on_the_seed_where_something_is_drawn(inputs, expected, tmp_path):
    found = measure_all(inputs, tmp_path / "again", seed=1)
    assert {name for name in found if found[name] == expected[name]} == UNSEEDED

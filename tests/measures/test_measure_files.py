"""What holds for every measure: its bytes depend on the numbers and the seed, not on how files are read."""

from pathlib import Path

import pytest
from layer_files import extracted, random_labels, tabled, write_labels

from classlens.hdf5 import iterate_rows
from classlens.measures.class_building import class_building
from classlens.measures.class_context_change import class_context_change
from classlens.measures.class_vs_context import class_vs_context
from classlens.measures.identifiability import identifiability
from classlens.measures.identifiability_comparison import identifiability_comparison
from classlens.measures.identifiability_evolution import identifiability_evolution
from classlens.measures.identifiability_rates import identifiability_rates
from classlens.measures.logit_increment import logit_increment
from classlens.statistics.resampling import Resampling

IMAGES = 17
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
    resampling = Resampling(50, 0.95, seed)
    measured = str(folder / "identifiability.h5")
    identifiability(layers=model.layers, output=model.output, measures=measured)
    tabled(identifiability_evolution, folder, measures=measured, twin=[], resampling=resampling)
    for measure in (identifiability_comparison, identifiability_rates):
        tabled(measure, folder, measures=measured, resampling=resampling)
    for measure in (logit_increment, class_building):
        tabled(measure, folder, layers=model.layers, resampling=resampling)
    of_labels = {"layers": model.layers, "labels": labels, "resampling": resampling}
    tabled(class_vs_context, folder, **of_labels, correction="holm")
    tabled(class_context_change, folder, **of_labels)
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.fixture(scope="module")
def expected(inputs, tmp_path_factory):
    return measure_all(inputs, tmp_path_factory.mktemp("measures") / "expected")


def test_results_do_not_depend_on_the_read_batch_size(inputs, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(iterate_rows, "__defaults__", (4,))
    assert [len(batch["label"]) for batch in iterate_rows(inputs[1], ["label"])] == [4, 4, 4, 4, 1]
    assert measure_all(inputs, tmp_path / "again") == expected


def test_results_depend_on_the_seed_where_something_is_drawn(inputs, expected, tmp_path):
    found = measure_all(inputs, tmp_path / "again", seed=1)
    assert {name for name in found if found[name] == expected[name]} == UNSEEDED

"""Tables: order, types and names survive, bytes are the same each time, p-values are corrected over all models."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.csvfile import read_table, write_table
from classlens.tables.combine import combine, stacked_table

NAMES = ["1e5", "NA", "nan", "007", "True", "None", "null", "1_0", "-", "a,b", 'a "b"', "Größe"]


def part(block=(0, 1), images=5, p_value=(0.01, 0.5), group="image"):
    table = pd.DataFrame({"group": group, "block": block, "images": images})
    return table.assign(mean=[0.25, 0.5][: len(block)], p_value=np.array(p_value[: len(block)], float))


def write_all(folder, *tables):
    paths = [str(folder / f"{place}.csv") for place in range(len(tables))]
    for table, path in zip(tables, paths, strict=True):
        write_table(table, path)
    return paths


def stacked(folder, tables, models, **tested):
    path = str(folder / "stacked.csv")
    stacked_table(measures=write_all(folder, *tables), table=path, models=models, **tested)
    return read_table(path)


def types(table, *names):
    return [table[name].dtype for name in names]


def test_combine_keeps_order_and_types(tmp_path):
    paths = write_all(tmp_path, part(group="image"), part(group="cls", images=6))
    table = combine(paths, ["z", "a"])
    assert list(table) == ["model", "group", "block", "images", "mean", "p_value"]
    assert table["model"].tolist() == ["z", "z", "a", "a"]
    assert table["group"].tolist() == ["image", "image", "cls", "cls"]
    assert table["images"].tolist() == [5, 5, 6, 6]
    assert table.index.tolist() == [0, 1, 2, 3]
    assert types(table, "block", "images", "mean", "p_value") == [np.int64, np.int64, np.float64, np.float64]
    with pytest.raises(ValueError, match="zip"):
        combine(paths, ["a"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_empty_for_one_model_has_the_type_of_the_others(tmp_path, order):
    whole = part().assign(blocks=3, significant=True)
    paths = write_all(tmp_path, whole, whole.assign(p_value=np.nan, mean=np.nan))
    table = combine([paths[place] for place in order], [["whole", "lacking"][place] for place in order])
    assert list(table) == ["model", *whole]
    expected = [np.float64, np.float64, np.int64, np.bool_]
    assert types(table, "mean", "p_value", "blocks", "significant") == expected
    assert table.loc[table["model"] == "lacking", ["mean", "p_value"]].isna().all(axis=None)
    assert table.loc[table["model"] == "whole", "p_value"].tolist() == [0.01, 0.5]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_model_without_rows_leaves_the_others_as_they_are(tmp_path, order):
    paths = write_all(tmp_path, part(), part(block=()))
    table = combine([paths[place] for place in order], [["rows", "none"][place] for place in order])
    assert table["model"].tolist() == ["rows", "rows"]
    assert types(table, "block", "mean") == [np.int64, np.float64]


def test_no_model_with_rows_is_a_table_without_rows(tmp_path):
    for tested, columns in (({}, ""), ({"correction": "holm", "confidence": 0.95}, ",p_corrected,significant")):
        stacked(tmp_path, [part(block=())] * 2, ["a", "b"], **tested)
        assert (tmp_path / "stacked.csv").read_text() == f"model,group,block,images,mean,p_value{columns}\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_text(tmp_path, name):
    """Alone in its table, so that no other name makes the column text."""
    assert stacked(tmp_path, [part()], [name])["model"].tolist() == [name, name]


def test_table_bytes(tmp_path):
    rows = [("a", 0, 1 / 3, 1e-12, True), ("b", 1, np.nan, 0.5, False), ("c", 2, 1234567.0, 1.0, False)]
    table = pd.DataFrame(rows, columns=["model", "block", "mean", "p_value", "significant"])
    write_table(table, str(tmp_path / "table.csv"))
    assert (tmp_path / "table.csv").read_bytes() == (
        b"model,block,mean,p_value,significant\na,0,0.333333,1e-12,True\nb,1,,0.5,False\nc,2,1.23457e+06,1,False\n"
    )
    found = read_table(str(tmp_path / "table.csv"))
    assert found.dtypes.drop("model").tolist() == table.dtypes.drop("model").tolist()
    assert np.isnan(found["mean"][1])


numbers = st.one_of(st.floats(0, 1), st.just(np.nan))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, st.integers(0, 99), st.sampled_from(NAMES)), min_size=1, max_size=8))
def test_a_table_that_was_read_is_written_as_it_was(tmp_path_factory, rows):
    first, second = (str(tmp_path_factory.mktemp("round") / "table.csv") for _ in range(2))
    table = pd.DataFrame(rows, columns=["mean", "block", "model"])
    write_table(table, first)
    found = read_table(first)
    assert found["model"].tolist() == table["model"].tolist()
    np.testing.assert_allclose(found["mean"].to_numpy(float), table["mean"], rtol=1e-5, atol=1e-300)
    write_table(found, second)
    with open(first, "rb") as one, open(second, "rb") as other:
        assert one.read() == other.read()


def test_p_values_are_corrected_over_all_models(tmp_path):
    tables = [part(p_value=p_values) for p_values in ((0.01, 0.04), (np.nan, np.nan), (0.03, 0.005))]
    table = stacked(tmp_path, tables, ["a", "b", "c"], correction="holm", confidence=0.95)
    assert table["p_corrected"].to_numpy() == pytest.approx([0.03, 0.06, np.nan, np.nan, 0.06, 0.02], nan_ok=True)
    assert table["significant"].tolist() == [True, False, False, False, False, True]
    assert table["significant"].dtype == np.bool_
    table = stacked(tmp_path, tables, ["a", "b", "c"], correction="fdr_bh", confidence=0.95)
    assert table["significant"].tolist() == [True, True, False, False, True, True]

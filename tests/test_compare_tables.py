"""What a pull request is told of changed tables: every cell that differs, and nothing else."""

import csv
import sys

import pytest
from conftest import CHECKOUT, printed_by

BEFORE = {
    "tables/rates.csv": "model,block,mean\nvit,0,0.5\nvit,1,0.25\n",
    "tables/gone.csv": "a\n1\n",
    "vit/measures/same.csv": "a,b\n1,2\n",
    "tables/longer.csv": "model,mean\nvit,1.5\n",
}
AFTER = {
    "tables/rates.csv": "model,block,mean,extra\nvit,0,0.5,x\nvit,1,0.75,\n",
    "tables/new.csv": "a\n1\n",
    "vit/measures/same.csv": "a,b\n1,2\n",
    "tables/longer.csv": "model,mean\nvit,1.5\na|b,2.5\n",
}


@pytest.fixture
def compare(tmp_path):
    def run(before, after, ok=True):
        for name, texts in (("before", before), ("after", after)):
            for path, text in texts.items():
                (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / path).write_text(text)
        program = [sys.executable, CHECKOUT / ".ci/compare_tables.py", "before", "after", "out"]
        return printed_by(program, ok=ok, cwd=tmp_path)

    return run


def test_cells_that_differ_are_listed(compare, tmp_path):
    printed = compare(BEFORE, AFTER)
    assert printed.strip() == (tmp_path / "out/differences.md").read_text().strip()
    with (tmp_path / "out/differences.csv").open(newline="") as file:
        found = [tuple(row.values()) for row in csv.DictReader(file)]
    assert found == [
        ("tables/longer.csv", "3", "a|b", "model", "", "a|b"),
        ("tables/longer.csv", "3", "a|b", "mean", "", "2.5"),
        ("tables/rates.csv", "2", "vit 0", "extra", "", "x"),
        ("tables/rates.csv", "3", "vit 1", "mean", "0.25", "0.75"),
    ]
    assert "Cells differ in 2 of 5 tables." in printed
    for note in ("`tables/gone.csv` is gone", "`tables/new.csv` is new", "`tables/longer.csv` has 2 rows instead of 1"):
        assert note in printed
    assert "2 cells, by at most 0.5" in printed
    assert "| 3 | vit 1 | mean | 0.25 | 0.75 | 0.5 |" in printed
    assert r"a\|b" in printed


def test_many_cells_are_counted_and_none_and_no_table_are_said(compare, tmp_path):
    rows = [f"vit,{number / 8}" for number in range(50)]
    texts = ["model,mean\n" + "".join(f"{row}{end}\n" for row in rows) for end in ("", "1")]
    assert "30 more in differences.csv." in compare({"a.csv": texts[0]}, {"a.csv": texts[1]})
    assert "Nothing changed in 1 tables." in compare({"a.csv": texts[0]}, {"a.csv": texts[0]})
    assert (tmp_path / "out/differences.csv").read_text() == "table,line,row,column,before,after\n"
    (tmp_path / "after/a.csv").unlink()
    assert "after has no CSV file" in compare({}, {}, ok=False)

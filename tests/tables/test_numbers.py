"""Macros say what tables say, each under a name of its own."""

import csv
import re

import pandas as pd
import pytest

from classlens.csvfile import write_table
from classlens.tables.numbers import escaped, spelled, write_numbers

MACRO = re.compile(r"\\newcommand\{\\(cl[A-Za-z]+)\}\{(.*)\}")
MODELS = ["vit_b_16", "vit-b_16", "vit", "vit_model", "vit_model-random"]
COUNTS = {"classes": 10, "model_classes": 12}


def macros(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(r"\newcommand")]
    found = [MACRO.fullmatch(line).groups() for line in lines]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.fixture
def tables(tmp_path):
    at = {name: tmp_path / f"{name}.csv" for name in ("overview", "identifiability_rates", "published_comparison")}
    accuracy = [(0.1 + place / 7, place / 9, 0.5 + place / 11) for place in range(len(MODELS))]
    overview = pd.DataFrame({"model": MODELS, "label": "A & B_{1}\n50 % \\x~^", **COUNTS})
    overview[["accuracy", "ci_low", "ci_high"]] = accuracy
    write_table(overview, at["overview"])
    rates = pd.DataFrame({"model": MODELS, "images": 1_234_567})
    rates[["accuracy", "accuracy_ci_low", "accuracy_ci_high"]] = accuracy
    write_table(rates, at["identifiability_rates"])
    published = pd.DataFrame({"model": "vit_b_16", "quantity": ["accuracy_percent", "x"], "published": [85.69, None]})
    write_table(published.assign(difference=-1e-9), at["published_comparison"])
    return at


def test_every_number_of_the_tables_is_a_macro(tables, tmp_path):
    write_numbers(str(tmp_path / "numbers.tex"), 0.9, 999, **{name: str(path) for name, path in tables.items()})
    found = macros(tmp_path / "numbers.tex")
    assert (found.pop("clConfidencePercent"), found.pop("clResamples")) == ("90", "999")
    called = dict(zip(MODELS, ("VitBOneSix", "VitBOneSixTwo", "Vit", "VitModelTwo", "VitModelRandom"), strict=True))
    columns = {"ci_low": "AccuracyLow", "accuracy_ci_low": "AccuracyLow"}
    columns |= {"ci_high": "AccuracyHigh", "accuracy_ci_high": "AccuracyHigh"}
    for name, path in tables.items():
        for row in csv.DictReader(path.open(newline="", encoding="utf-8")):
            subject = spelled(name) + called[row.pop("model")] + spelled(row.pop("quantity", ""))
            for column, text in row.items():
                macro = f"cl{subject}{columns.get(column, spelled(column))}"
                assert found.pop(macro, "") == escaped(text), macro
    assert not found


def test_the_file_says_where_its_numbers_come_from(tables, tmp_path):
    write_numbers(str(tmp_path / "numbers.tex"), 0.95, 9999, overview=str(tables["overview"]))
    text = (tmp_path / "numbers.tex").read_text()
    assert re.search(r"^%   overview\.csv, SHA-256 [0-9a-f]{64}$", text, re.MULTILINE)
    assert "published_comparison" not in text
    assert "95 %, 9,999 bootstrap samples" in text
    assert text.isascii()
    assert text.count("{") == text.count("}")


def test_text_is_escaped_and_names_are_letters():
    assert escaped("a_b & 5 % {x}\n\\~^#$") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{}\textasciitilde{}\textasciicircum{}\#\$"
    )
    assert spelled("vit_cls-random.2024") == "VitClsRandomTwoZeroTwoFour"

"""The figure of the quality of explanations: texts have room, dots are the table's numbers."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from figure_tables import LONG, PECULIAR, WIDE, written
from figure_texts import drawn, misplaced

from classlens.catalog.methods import METHODS
from classlens.columns import SCORES
from classlens.csvfile import read_table
from classlens.figures import explanation_quality

LABELS = {name: method.label for name, method in METHODS.items()}
FEW = ("gradient", "chefer", "random")


def table(methods=FEW, segmented=True, blocks=(1, 2, 3), one_image=False):
    generator = np.random.default_rng(0)
    parts = [(kind, part, None) for kind in ("tokens", "pixels") for part in ("negative", "positive", "gap")]
    parts += [("segmentation", score, None) for score in SCORES] if segmented else []
    rows = [(method, *part) for method in methods for part in parts]
    steps = [("cascade", block) for block in blocks] + [("control", None)] if blocks else []
    run = [method for method in methods if method != "random"]
    rows += [(method, "randomisation", part, block) for method in run for part, block in steps]
    numbers = pd.DataFrame(rows, columns=["method", "measure", "part", "blocks_reset"])
    value = generator.uniform(0.1, 0.9, len(rows))
    low, high = (np.full(len(rows), np.nan),) * 2 if one_image else (value - 0.05, value + 0.05)
    return numbers.astype({"blocks_reset": "Int64"}).assign(images=30, value=value, ci_low=low, ci_high=high)


CASES = {
    "few": (table(), "ViT"),
    "every method": (table(tuple(METHODS), blocks=(2, 4, 6, 8, 10, 12)), LONG[5]),
    "no masks": (table(tuple(METHODS), segmented=False), LONG[6]),
    "no twin": (table(blocks=()), PECULIAR[0]),
    "neither": (table(segmented=False, blocks=()), WIDE[0] * 2),
    "random alone": (table(("random",), blocks=()), "ViT"),
    "one block": (table(blocks=(1,)), "ViT"),
    "one image": (table(one_image=True), "ViT"),
}


def draw(numbers, label, folder):
    read = read_table(written(numbers, folder / "table.csv"))
    return partial(explanation_quality.draw, read, label, LABELS)


@pytest.mark.parametrize("name", CASES)
def test_texts_have_room(tmp_path, name):
    numbers, label = CASES[name]
    figure, texts = drawn(draw(numbers, label, tmp_path))
    assert misplaced(figure, texts) == []
    shown = "".join("".join(text.get_text().split()) for text in texts)
    for text in (label, *(LABELS[method] for method in numbers["method"])):
        assert "".join(text.split()) in shown


def test_dots_and_lines_are_the_numbers(tmp_path):
    numbers = table()
    figure, _ = drawn(draw(numbers, "ViT", tmp_path))
    tokens, pixels, scores, curves = figure.axes
    values = numbers.set_index(["method", "measure", "part"])["value"]
    gaps = values[:, "tokens", "gap"].sort_values(ascending=False)
    assert [text.get_text() for text in tokens.get_yticklabels()] == [LABELS[method] for method in gaps.index]
    for panel, measure in ((tokens, "tokens"), (pixels, "pixels")):
        dots = sorted((line.get_ydata()[0], line.get_xdata()[0]) for line in panel.lines if line.get_marker() == "o")
        expected = [values[method, measure, "gap"] for method in gaps.index]
        assert [value for _, value in dots] == pytest.approx(expected, abs=1e-5)
    assert sum(line.get_marker() in ("o", "s", "^", "D") for line in scores.lines) == len(FEW) * len(SCORES)
    lines = [line for line in curves.lines if len(line.get_xdata()) == 5]
    assert len(lines) == 2  # not of random
    for line, method in zip(lines, FEW, strict=False):
        cascade = numbers[(numbers["method"] == method) & (numbers["part"] == "cascade")]["value"]
        assert list(line.get_xdata()) == [0, 1, 2, 3, 4]
        expected = [1, *cascade, values[method, "randomisation", "control"]]
        assert list(line.get_ydata()) == pytest.approx(expected, abs=1e-5)

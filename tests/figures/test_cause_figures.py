"""Figures of causes: texts have room, dots, lines and stars are the tables' numbers."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from figure_tables import LONG, PECULIAR, WIDE, written
from figure_texts import drawn, misplaced

from classlens.columns import MODEL, TOKEN_SETS, TWIN
from classlens.csvfile import read_table
from classlens.figures import head_causes, outlier_tokens, token_causes
from classlens.statistics.correction import with_correction

RNG = np.random.default_rng(0)


def around(name, values, missing=False):
    low, high = (np.full(len(values), np.nan),) * 2 if missing else (values - 0.1, values + 0.1)
    return {name: values, f"{name}_ci_low": low, f"{name}_ci_high": high}


def corrected(parts, p_values):
    table = pd.concat(parts, ignore_index=True)
    return with_correction(table.assign(p_value=p_values(len(table))), "holm", 0.95)


def head_tables(blocks=6, heads=4, twin=True, one_image=False):
    parts, correlations = [], []
    for of in (MODEL, TWIN)[: 1 + twin]:
        places = np.unravel_index(np.arange(blocks * heads), (blocks, heads))
        direct = RNG.normal(size=blocks * heads)
        columns = {"of": of, "block": places[0], "head": places[1], "images": 1 if one_image else 30}
        for name, values in {"direct": direct, "effect": direct + RNG.normal(size=len(direct))}.items():
            columns |= around(name, values, one_image)
        parts.append(pd.DataFrame(columns))
        ends = (np.nan, np.nan) if one_image else (0.12, 0.45)
        found = {"of": of, "heads": blocks * heads, "spearman": 0.3, "ci_low": ends[0], "ci_high": ends[1]}
        correlations.append(found)
    return corrected(parts, lambda rows: np.full(rows, 0.5)), pd.DataFrame(correlations)


def token_table(blocks=6, masks=True, outliers=True, twin=True):
    left = [] if masks else ["class", "context"]
    parts = []
    for of in (MODEL, TWIN)[: 1 + twin]:
        for name in TOKEN_SETS:
            if name not in left:
                there = outliers or "outliers" not in name
                values = RNG.normal(size=blocks) if there else np.full(blocks, np.nan)
                columns = {"of": of, "set": name, "block": np.arange(blocks), "images": 30 if there else 0}
                parts.append(pd.DataFrame({**columns, **around("effect", values)}))
    return corrected(parts, lambda rows: RNG.choice([1e-9, 0.9], rows))


def outlier_table(models, blocks=6, none=False):
    parts = []
    for name in models:
        share = np.zeros(blocks) if none else RNG.uniform(0, 0.05, blocks)
        columns = {"model": name, "block": np.arange(blocks), **around("share", share)}
        for who in ("outliers_mean", "others_mean"):
            columns[who] = np.full(blocks, np.nan) if none else RNG.uniform(0.4, 1, blocks)
        parts.append(pd.DataFrame(columns))
    return corrected(parts, lambda rows: np.full(rows, np.nan) if none else RNG.choice([1e-9, 0.9], rows))


def heads_case(label, **table):
    numbers, correlations = head_tables(**table)

    def draw(folder):
        found = read_table(written(correlations, folder / "agreement.csv"))
        return partial(head_causes.draw, read_table(written(numbers, folder / "table.csv")), found, label)

    return draw


def tokens_case(label, **table):
    numbers = token_table(**table)
    return lambda folder: partial(token_causes.draw, read_table(written(numbers, folder / "table.csv")), label)


def outliers_case(labels, twin=True, **table):
    models = [[f"{place}e5", label] for place, label in enumerate(labels)]
    twins = {name: f"{name}-random" for name, _ in models} if twin else {}
    numbers = outlier_table([*(name for name, _ in models), *twins.values()], **table)
    chances = {name: 0.55 for name, _ in models}
    return lambda folder: partial(
        outlier_tokens.draw, read_table(written(numbers, folder / "table.csv")), models, chances, twins
    )


CASES = {
    "heads": heads_case("ViT"),
    "heads, no twin": heads_case(LONG[5], twin=False),
    "heads, no spaces": heads_case(LONG[6]),
    "heads, peculiar": heads_case(PECULIAR[0]),
    "heads, wide": heads_case(WIDE[0]),
    "heads, many": heads_case("ViT-L/16", blocks=24, heads=16),
    "heads, one block": heads_case("ViT", blocks=1, heads=2),
    "heads, one image": heads_case("ViT", one_image=True),
    "tokens": tokens_case("ViT"),
    "tokens, no masks": tokens_case(LONG[5], masks=False),
    "tokens, no outliers": tokens_case(PECULIAR[1], outliers=False),
    "tokens, neither": tokens_case("ViT", masks=False, outliers=False, twin=False),
    "tokens, many blocks": tokens_case(LONG[6], blocks=24),
    "outliers": outliers_case(["ViT [CLS]", "ViT average"]),
    "outliers, long": outliers_case(LONG),
    "outliers, peculiar": outliers_case(PECULIAR, twin=False),
    "outliers, none": outliers_case(["ViT"], none=True),
    "outliers, many blocks": outliers_case(WIDE[:1], blocks=48),
}


@pytest.mark.parametrize("name", CASES)
def test_texts_have_room(tmp_path, name):
    figure, texts = drawn(CASES[name](tmp_path))
    found = misplaced(figure, texts)
    if name.startswith("heads"):
        # Names of heads lie in their panel, and the colour bar is thin.
        named = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert all("." in text for text in named)
        found = [one for one in found if not one.startswith(("panel of", *(repr(text) for text in named)))]
    assert found == []


def test_heads_are_the_table(tmp_path):
    numbers, _ = head_tables(blocks=3, heads=2)
    figure, _ = drawn(heads_case_of(numbers, tmp_path))
    for axes, of in zip(figure.axes, (MODEL, TWIN), strict=False):
        rows = numbers[numbers["of"] == of]
        dots = axes.collections[-1]
        assert np.asarray(dots.get_offsets()) == pytest.approx(rows[["direct", "effect"]].to_numpy(), rel=1e-4)
        assert np.asarray(dots.get_array()).tolist() == (rows["block"] + 1).tolist()
        assert "Spearman 0.30 [0.12, 0.45]" in axes.get_title().replace("\n", " ")
        # The four furthest from the diagonal are named, from 1.
        off = (rows["effect"] - rows["direct"]).abs().nlargest(4).index
        expected = {f"{numbers.loc[row, 'block'] + 1}.{numbers.loc[row, 'head'] + 1}" for row in off}
        assert {text.get_text() for text in axes.texts} == expected


def heads_case_of(numbers, folder):
    _, correlations = head_tables(blocks=3, heads=2)
    found = read_table(written(correlations, folder / "agreement.csv"))
    return partial(head_causes.draw, read_table(written(numbers, folder / "table.csv")), found, "ViT")


def test_tokens_are_the_table(tmp_path):
    numbers = token_table(4)
    table = read_table(written(numbers, tmp_path / "table.csv"))
    figure, _ = drawn(partial(token_causes.draw, table, "ViT"))
    assert len(figure.axes) == 3
    for axes, sets in zip(figure.axes, token_causes.PANELS.values(), strict=True):
        for name, colour in sets.items():
            rows = numbers[(numbers["of"] == MODEL) & (numbers["set"] == name)]
            [line] = [line for line in axes.lines if line.get_color() == colour and line.get_marker() == "o"]
            assert line.get_xdata().tolist() == [1, 2, 3, 4]
            assert line.get_ydata() == pytest.approx(rows["effect"].to_numpy(), rel=1e-4)
            stars = [line for line in axes.lines if line.get_color() == colour and line.get_marker() == "*"]
            starred = [x for mark in stars for x in mark.get_xdata()]
            assert starred == (rows.loc[rows["significant"], "block"] + 1).tolist()


def test_outliers_are_the_table(tmp_path):
    models, twins = [["a", "A"], ["b", "B"]], {"a": "a-random"}
    numbers = outlier_table(["a", "b", "a-random"], 4)
    table = read_table(written(numbers, tmp_path / "table.csv"))
    figure, _ = drawn(partial(outlier_tokens.draw, table, models, {"a": 0.55, "b": 0.6}, twins))
    for (left, right), (name, label) in zip(np.reshape(figure.axes, (2, 2)), models, strict=True):
        rows = numbers[numbers["model"] == name]
        shares = [line.get_ydata() for line in left.lines]
        assert shares[0] == pytest.approx(100 * rows["share"].to_numpy(), rel=1e-4)
        if name in twins:
            twin = numbers[numbers["model"] == twins[name]]
            assert shares[1] == pytest.approx(100 * twin["share"].to_numpy(), rel=1e-4)
        drawn_lines = [list(np.ravel(line.get_ydata())) for line in right.lines]
        for column in ("outliers_mean", "others_mean"):
            assert any(line == pytest.approx(rows[column].tolist(), rel=1e-4) for line in drawn_lines)
        assert left.get_title() == right.get_title() == label

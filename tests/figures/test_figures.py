"""Every figure, drawn from small tables: texts have room, bytes are the same each time, the numbers are the table's."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    BOTH,
    LONG,
    PECULIAR,
    WIDE,
    building_table,
    comparison_table,
    context_table,
    evolution_table,
    increment_table,
    written,
)
from figure_texts import drawn, misplaced
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from PIL import Image

from classlens.columns import BOX_COLUMNS
from classlens.csvfile import read_table
from classlens.figures import (
    class_building,
    class_vs_context,
    identifiability_comparison,
    identifiability_evolution,
    logit_increment,
)
from classlens.figures.layout import legend_below, panels
from classlens.figures.run import draw_figure
from classlens.figures.style import CHANCE, GROUP_COLOURS, PAGE_WIDTH, model_style, settings
from classlens.terms import chance

IMAGE = ("image",)
TWIN = "random twin of all"
CHANCE_LEVEL = 0.55
"""(C + 1) / 2C with ten classes."""


@dataclass
class Case:
    """One figure of one table."""

    module: Any
    table: pd.DataFrame
    arguments: dict[str, Any]
    labels: list[str]

    def file(self, folder: Path) -> str:
        return written(self.table, folder / "table.csv")

    def draw(self, folder: Path) -> Callable[[], Figure]:
        return partial(self.module.draw, read_table(self.file(folder)), **self.arguments)

    def save(self, folder: Path) -> tuple[Path, Path]:
        svg, png = folder / "figure.svg", folder / "figure.png"
        draw_figure(str(svg), str(png), self.module.draw, self.arguments, table=self.file(folder))
        return svg, png


def named(labels):
    """Names that look like numbers, which tables must not take for such."""
    return [[f"{place}e5", label] for place, label in enumerate(labels)]


def depths(models, blocks):
    """Blocks of each model by name: one number for all, or several in turn."""
    each = [blocks] if isinstance(blocks, int) else blocks
    return {name: each[place % len(each)] for place, (name, _) in enumerate(models)}


def evolution(labels, blocks=12, groups=BOTH, twin=True):
    models = named(labels)
    table = evolution_table(depths(models, blocks), groups, twin)
    return Case(
        identifiability_evolution,
        table,
        {"models": models, "chances": dict.fromkeys(depths(models, 1), CHANCE_LEVEL)},
        labels,
    )


def comparison(labels, blocks=12, groups=BOTH, twin=True):
    models, twins = named(labels), [TWIN] if twin else []
    table = comparison_table(depths(models, blocks) | dict.fromkeys(twins, 6), groups)
    arguments = {"models": models, "chances": dict.fromkeys(depths(models, 1), CHANCE_LEVEL), "twins": twins}
    return Case(identifiability_comparison, table, arguments, labels)


def increment(labels, blocks=12):
    models = named(labels)
    return Case(logit_increment, increment_table(depths(models, blocks)), {"models": models}, labels)


def building(label, blocks=12, groups=BOTH):
    return Case(class_building, building_table(blocks, groups), {"label": label}, [label])


def context(label, blocks=12, tested=True):
    arguments = {"label": label, "chance": CHANCE_LEVEL}
    return Case(class_vs_context, context_table(blocks, tested), arguments, [label])


SHARED = {
    "one model": {"labels": LONG[:1]},
    "two models": {"labels": ["A", LONG[5]]},
    "seven models": {"labels": LONG},
    "seven models of 24 blocks": {"labels": LONG, "blocks": 24},
    "depths from 24 to 1": {"labels": LONG, "blocks": [24, 12, 6, 2, 1]},
    "peculiar labels": {"labels": PECULIAR},
    "wide labels": {"labels": WIDE, "blocks": 6},
    "many models": {"labels": [f"model {place}" for place in range(9)], "blocks": 3},
    "one block": {"labels": LONG[:1], "blocks": 1},
    "two blocks": {"labels": LONG[:2], "blocks": 2},
}
GROUPED = {
    **SHARED,
    "no class token": {"labels": LONG, "groups": IMAGE},
    "one model, no class token, no twin": {"labels": LONG[:1], "groups": IMAGE, "twin": False},
    "no twin": {"labels": LONG[:3], "twin": False},
}
OWN_LABELS = {"short": LONG[0], "long": LONG[5], "no spaces": LONG[6], "peculiar": PECULIAR[0], "wide": WIDE[0] * 2}
DEPTHS = (1, 2, 3, 6, 7, 12, 24)
CASES = {
    **{f"evolution: {name}": evolution(**case) for name, case in GROUPED.items()},
    **{f"comparison: {name}": comparison(**case) for name, case in GROUPED.items()},
    **{f"increment: {name}": increment(**case) for name, case in SHARED.items()},
    **{f"building: {name}": building(label) for name, label in OWN_LABELS.items()},
    **{f"building: {blocks} block(s)": building("A", blocks) for blocks in DEPTHS},
    "building: no class token": building(LONG[5], groups=IMAGE),
    **{f"context: {name}": context(label, 6) for name, label in OWN_LABELS.items()},
    **{f"context: {name}, few blocks": context(label, 3) for name, label in OWN_LABELS.items()},
    **{f"context: {blocks} block(s)": context(LONG[5], blocks) for blocks in DEPTHS},
    "context: nothing to compare": context("A", 7, tested=False),
}
TYPICAL = [
    "evolution: seven models",
    "evolution: peculiar labels",
    "comparison: seven models",
    "increment: peculiar labels",
    "building: no spaces",
    "context: nothing to compare",
]
RESOLUTIONS = [*((name, 100) for name in CASES), *((name, settings()["savefig.dpi"]) for name in TYPICAL)]


@pytest.mark.parametrize(("name", "dpi"), RESOLUTIONS)
def test_texts_have_room(tmp_path, name, dpi):
    figure, texts = drawn(CASES[name].draw(tmp_path), dpi)
    assert misplaced(figure, texts) == []
    shown = squeezed("".join(text.get_text() for text in texts))
    for label in CASES[name].labels:
        assert squeezed(label) in shown


def squeezed(text):
    """A text without white space: labels may be broken into lines anywhere."""
    return "".join(text.split())


@pytest.mark.parametrize("name", TYPICAL)
def test_files(tmp_path, name):
    case = CASES[name]
    before = dict(matplotlib.rcParams)
    svg, png = case.save(tmp_path)
    assert dict(matplotlib.rcParams) == before
    texts = [element.text or "" for element in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    for label in case.labels:
        assert squeezed(label) in squeezed("".join(texts))
    with Image.open(png) as image:
        width, height = image.size
        assert len(image.convert("L").getcolors()) > 10
    dots = settings()["savefig.dpi"]
    assert PAGE_WIDTH / 2 - 0.01 <= width / dots <= PAGE_WIDTH + 0.01
    assert 1.5 <= height / dots <= 11
    for content in (svg.read_bytes(), png.read_bytes()):
        assert matplotlib.__version__.encode() not in content
    # Again, after other figures and under other settings of the user's.
    (tmp_path / "again").mkdir()
    with matplotlib.rc_context({"axes.titleweight": "bold", "lines.solid_capstyle": "round", "svg.id": "user"}):
        again = case.save(tmp_path / "again")
    assert again[0].read_bytes() == svg.read_bytes()
    assert again[1].read_bytes() == png.read_bytes()


def boxes_of(axes):
    """Boxes of a panel: (left, bottom, right, top, colour) each, from left to right."""
    patches = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    places = [(*patch.get_path().get_extents().extents, to_rgba(patch.get_facecolor())) for patch in patches]
    return sorted(places)


def stars_of(axes):
    return [(x, line.get_color()) for line in axes.lines if line.get_marker() == "*" for x in line.get_xdata()]


def chance_lines(axes):
    """The heights at which chance is drawn across a panel."""
    dashed = [line for line in axes.lines if line.get_color() == CHANCE["color"] and len(line.get_xdata()) == 2]
    return [line.get_ydata()[0] for line in dashed if list(line.get_xdata()) == [0, 1]]


def test_chance_is_drawn_at_the_mean_of_random_rankings(tmp_path):
    """Ranks 0 .. C - 1 are equally likely: (C + 1) / 2C, not a half. Models may differ in C."""
    assert chance(10) == CHANCE_LEVEL
    assert chance(10) == pytest.approx(np.mean(1 - np.arange(10) / 10))
    levels = {"0e5": chance(10), "1e5": chance(3), "2e5": chance(10), TWIN: chance(2)}
    for case, expected in (
        (evolution(["A", "B", "C"]), [[0.55], [2 / 3], [0.55]]),
        (comparison(["A", "B", "C"]), [[0.55, 2 / 3]] * 2),
    ):
        case.arguments["chances"] = levels
        figure, _ = drawn(case.draw(tmp_path))
        assert [chance_lines(axes) for axes in figure.axes] == expected
    figure, _ = drawn(context("A", blocks=5).draw(tmp_path))
    assert [chance_lines(axes) for axes in figure.axes] == [[0.55]] * 5


def tick_texts(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_evolution_shows_the_table(tmp_path):
    case = evolution(["one", "two"], blocks=[4, 3])
    case.table.loc[case.table["block"] == 1, "significant"] = False
    figure, _ = drawn(case.draw(tmp_path))
    for axes, (name, label) in zip(figure.axes, case.arguments["models"], strict=True):
        assert axes.get_title() == label
        rows = case.table[case.table["model"] == name]
        found = boxes_of(axes)
        blocks = rows["block"].nunique()
        assert len(found) == len(rows) == 2 * blocks
        for group, side in (("cls", -1), ("image", 1)):
            colour = to_rgba(GROUP_COLOURS[group])
            own = [box for box in found if box[4] == colour]
            table = rows[rows["group"] == group]
            assert [box[1] for box in own] == pytest.approx(table["q1"].to_list(), rel=1e-5)
            assert [box[3] for box in own] == pytest.approx(table["q3"].to_list(), rel=1e-5)
            centres = np.array([(box[0] + box[2]) / 2 for box in own])
            assert (np.sign(centres - np.arange(1, blocks + 1)) == side).all()
        assert len(stars_of(axes)) == rows["significant"].sum() == 2 * (blocks - 1)
        assert {round(x) for x, _ in stars_of(axes)} == set(range(1, blocks + 1)) - {2}
    assert tick_texts(figure.axes[0].xaxis) == ["1", "2", "3", "4"]


def test_evolution_without_a_twin_or_class_token(tmp_path):
    case = evolution(["one"], groups=IMAGE, twin=False)
    figure, texts = drawn(case.draw(tmp_path))
    shown = [text.get_text() for text in texts]
    assert "above random twin" not in shown
    assert "[CLS]" not in shown
    assert stars_of(figure.axes[0]) == []
    # Alone, boxes stand in the middle of their blocks.
    centres = [(box[0] + box[2]) / 2 for box in boxes_of(figure.axes[0])]
    assert centres == pytest.approx(range(1, 13))


def test_comparison_shows_the_table(tmp_path):
    case = comparison(["one", "two"], blocks=[12, 6])
    figure, texts = drawn(case.draw(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["[CLS]", "image tokens"]
    for axes, group in zip(figure.axes, BOTH, strict=True):
        curves = {line.get_color(): line for line in axes.lines if len(line.get_xdata()) > 2}
        for place, (name, _) in enumerate(case.arguments["models"]):
            rows = case.table[(case.table["model"] == name) & (case.table["group"] == group)]
            line = curves[model_style(place)["color"]]
            assert line.get_xdata().tolist() == rows["position"].tolist()
            assert line.get_ydata() == pytest.approx(rows["mean"].to_numpy(), rel=1e-5)
        assert len(curves) == 3
        assert len(axes.collections) == 2  # a band per model, none for the twin
    legend = ["one", "two", "random twins", "chance"]
    assert [text.get_text() for text in texts if text.get_text() in legend] == legend


def test_comparison_leaves_out_what_is_not_there(tmp_path):
    figure, texts = drawn(comparison(["one"], groups=IMAGE, twin=False).draw(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["image tokens"]
    assert "random twins" not in [text.get_text() for text in texts]


def test_increment_shows_the_table(tmp_path):
    case = increment(["one", "two"], blocks=[24, 1])
    figure, _ = drawn(case.draw(tmp_path))
    rows = case.table[case.table["model"] == "0e5"]
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert curves[0].get_xdata().tolist() == list(range(2, 25))
    assert curves[0].get_ydata() == pytest.approx(rows["rate_percent"].to_numpy(), rel=1e-5)
    assert len(figure.axes[1].collections) == 0
    # At most eight numbers, which count from 1.
    assert tick_texts(figure.axes[0].xaxis) == ["3", "6", "9", "12", "15", "18", "21", "24"]


@pytest.mark.parametrize("groups", [BOTH, IMAGE])
def test_building_shows_the_table(tmp_path, groups):
    case = building("A", blocks=5, groups=groups)
    figure, texts = drawn(case.draw(tmp_path))
    left, right = figure.axes
    change = case.table[case.table["measure"] == "change"]
    curves = [line for line in left.lines if len(line.get_xdata()) > 2]
    keys = [(branch, group) for branch in ("attn", "mlp") for group in groups]
    assert len(curves) == len(keys)
    for line, (branch, group) in zip(curves, keys, strict=True):
        rows = change[(change["part"] == branch) & (change["group"] == group)]
        assert line.get_xdata().tolist() == [2, 3, 4, 5]
        assert line.get_ydata() == pytest.approx(rows["percent"].to_numpy(), rel=1e-5)
        assert line.get_linestyle() == {"cls": "-", "image": "--"}[group]
    bars = pd.DataFrame([(bar.get_x() + 0.4, bar.get_y(), bar.get_height()) for bar in right.patches]).round(6)
    assert len(bars) == 5 * 4
    assert bars.groupby(0)[2].sum().tolist() == pytest.approx([100] * 4, abs=1e-3)
    # Each part stands on the ones below.
    for _, column in bars.groupby(0):
        assert column[1].to_numpy() == pytest.approx(np.cumsum([0, *column[2]])[:-1], abs=1e-3)
    shown = [text.get_text() for text in texts]
    assert ("attention, [CLS]" in shown) == ("cls" in groups)


def test_context_shows_the_table(tmp_path):
    case = context("A", blocks=5)
    figure, texts = drawn(case.draw(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == [f"block {number}" for number in range(1, 6)]
    for axes, row in zip(figure.axes, case.table.to_dict("records"), strict=True):
        found = boxes_of(axes)
        expected = [(row[f"{name}_q1"], row[f"{name}_q3"]) for name in ("context", "class")]
        assert [(box[1], box[3]) for box in found] == [pytest.approx(pair, rel=1e-5) for pair in expected]
        assert len(stars_of(axes)) == row["significant"]
    assert "class and context differ" in [text.get_text() for text in texts]


def test_context_without_images_to_compare_has_empty_panels(tmp_path):
    figure, texts = drawn(context("A", blocks=5, tested=False).draw(tmp_path))
    assert len(figure.axes) == 5
    assert all(boxes_of(axes) == [] for axes in figure.axes)
    assert "class and context differ" not in [text.get_text() for text in texts]


def test_whiskers_and_medians_are_the_tables(tmp_path):
    case = evolution(["one"], blocks=1, groups=IMAGE)
    figure, _ = drawn(case.draw(tmp_path))
    heights = sorted({round(float(y), 4) for line in figure.axes[0].lines[1:] for y in line.get_ydata()})
    row = case.table.iloc[0]
    # Lines are whiskers, caps, the median and a star; the box itself is a patch.
    assert heights == pytest.approx(sorted([*(row[name] for name in BOX_COLUMNS), 1.07]), abs=1e-4)


def test_a_legend_needs_entries():
    figure, _ = panels(1, 1, 2.0, 2.0)
    with pytest.raises(ValueError, match="legend"):
        legend_below(figure, [])


def test_models_beyond_the_palette_differ_in_their_dashes():
    looks = [tuple(sorted((name, str(value)) for name, value in model_style(place).items())) for place in range(28)]
    assert len(set(looks)) == 28
    assert model_style(0)["color"] == model_style(7)["color"]


def test_the_judge_of_places_finds_what_is_wrong():
    """The checks above can fail: texts that collide, leave the figure or lie on a panel are told."""

    def bad():
        figure, _ = panels(1, 1, 3.0, 2.0)
        figure.text(0.9, 0.02, "too long for the figure")
        figure.text(0.1, 0.5, "first over")
        figure.text(0.12, 0.5, "second")
        return figure

    figure, texts = drawn(bad)
    found = misplaced(figure, texts)
    assert "'too long for the figure' is clipped" in found
    assert "'first over' covers 'second'" in found
    assert "'second' covers a panel" in found

"""The figure of the tuned lens: texts have room, lines and stars are the table's numbers."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from figure_tables import BOTH, LONG, PECULIAR, WIDE
from figure_texts import drawn, misplaced
from matplotlib.colors import to_hex

from classlens.csvfile import read_table, write_table
from classlens.figures import tuned_lens
from classlens.figures.style import BLUE, ORANGE
from classlens.statistics.correction import with_correction


def table(depths, groups=BOTH, images=30, seed=0):
    draw = np.random.default_rng(seed)
    rows = [
        {"model": model, "quantity": quantity, "group": group, "block": block, "images": images, "map": "kl_steps"}
        for model, blocks in depths.items()
        for quantity in ("kl", "identifiability")
        for group in groups
        for block in range(blocks)
    ]
    numbers = pd.DataFrame(rows)
    for name in ("logit_lens", "tuned_lens"):
        mean = draw.uniform(0.1, 0.9, len(rows))
        ends = (np.nan, np.nan) if images == 1 else (mean - 0.05, mean + 0.05)
        numbers = numbers.assign(**{name: mean, f"{name}_ci_low": ends[0], f"{name}_ci_high": ends[1]})
    p_values = np.full(len(rows), np.nan) if images == 1 else draw.choice([1e-5, 0.9, np.nan], len(rows))
    return with_correction(numbers.assign(p_value=p_values), "holm", 0.95)


CASES = {
    "one model": ({"m": 6}, ["ViT"], BOTH, 30),
    "image tokens alone": ({"m": 6}, ["ViT average"], ("image",), 30),
    "long labels": (dict.fromkeys("abcdefg", 12), LONG, BOTH, 30),
    "peculiar": (dict.fromkeys("abcd", 3), PECULIAR, BOTH, 30),
    "wide": (dict.fromkeys("abc", 3), WIDE, BOTH, 30),
    "depths": ({"a": 1, "b": 2, "c": 24, "d": 48}, LONG[:4], BOTH, 30),
    "one image": ({"m": 4}, ["ViT"], BOTH, 1),
}


def draw_of(numbers, labels, folder, twin_of=None):
    write_table(numbers, str(folder / "table.csv"))
    twins = set((twin_of or {}).values())
    names = [name for name in dict.fromkeys(numbers["model"]) if name not in twins]
    models = list(zip(names, labels, strict=True))
    return partial(
        tuned_lens.draw, read_table(str(folder / "table.csv")), models, dict.fromkeys(names, 0.55), twin_of or {}
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("twins", [False, True])
def test_texts_have_room(tmp_path, name, twins):
    depths, labels, groups, images = CASES[name]
    twin_of = {model: f"{model}-random" for model in depths} if twins else {}
    numbers = table({**depths, **{twin: depths[model] for model, twin in twin_of.items()}}, groups, images)
    figure, texts = drawn(draw_of(numbers, labels, tmp_path, twin_of))
    assert misplaced(figure, texts) == []
    shown = "".join("".join(text.get_text().split()) for text in texts)
    for label in labels:
        assert "".join(label.split()) in shown
    assert ("randomtwin" in shown) == twins
    assert ("thelensesdiffer" in shown) == bool((numbers["significant"] & (numbers["quantity"] != "kl")).any())
    assert ("[CLS]" in shown) == ("cls" in groups or any("[CLS]" in label for label in labels))


def test_lines_and_stars_are_the_numbers(tmp_path):
    numbers = table({"a": 4, "b": 3, "a-random": 4})
    figure, _ = drawn(draw_of(numbers, ["A", "B"], tmp_path, {"a": "a-random"}))
    assert len(figure.axes) == 4
    for place, (model, quantity) in enumerate(
        (model, quantity) for model in "ab" for quantity in ("kl", "identifiability")
    ):
        panel = figure.axes[place]
        rows = numbers[(numbers["model"] == model) & (numbers["quantity"] == quantity)]
        for lens, colour in (("logit_lens", BLUE), ("tuned_lens", ORANGE)):
            for group, dashes in (("cls", "-"), ("image", "--")):
                [line] = [
                    one
                    for one in panel.lines
                    if to_hex(one.get_color()) == colour and one.get_linestyle() == dashes and one.get_marker() == "o"
                ]
                own = rows[rows["group"] == group]
                assert line.get_xdata().tolist() == (own["block"] + 1).tolist()
                assert line.get_ydata() == pytest.approx(own[lens].to_numpy(), rel=1e-4)
        stars = [one for one in panel.lines if one.get_marker() == "*"]
        expected = rows[rows["significant"]] if quantity == "identifiability" else rows[:0]
        assert sorted(x for one in stars for x in one.get_xdata()) == sorted(expected["block"] + 1)
        of_twin = [one for one in panel.lines if one.get_linewidth() == 0.8 and len(one.get_xdata())]
        twin = numbers[(numbers["model"] == f"{model}-random") & (numbers["quantity"] == quantity)]
        twin = twin[twin["group"] == "image"]
        assert [one.get_ydata().tolist() for one in of_twin] == (
            [pytest.approx(twin["tuned_lens"].tolist(), rel=1e-4)] if model == "a" else []
        )

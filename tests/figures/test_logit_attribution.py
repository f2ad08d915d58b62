"""The figure of logit attribution: texts have room, bars and map are the table's numbers."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from figure_tables import LONG, PECULIAR, WIDE, written
from figure_texts import drawn, misplaced

from classlens.csvfile import read_table
from classlens.figures import logit_attribution


def table(blocks=6, heads=4, one_image=False):
    generator = np.random.default_rng(0)
    rows = [(branch, block, None) for branch in ("attn", "mlp") for block in range(blocks)]
    rows += [(part, None, None) for part in ("embedding", "constant", "logit")]
    rows += [("head", block, head) for block in range(blocks) for head in range(heads)]
    numbers = pd.DataFrame(rows, columns=["part", "block", "head"]).astype({"block": "Int64", "head": "Int64"})
    mean = generator.normal(size=len(rows))
    low, high = (np.full(len(rows), np.nan),) * 2 if one_image else (mean - 0.1, mean + 0.1)
    return numbers.assign(images=1 if one_image else 30, mean=mean, ci_low=low, ci_high=high)


CASES = {
    "short": (table(), "ViT"),
    "long label": (table(), LONG[5]),
    "no spaces": (table(), LONG[6]),
    "peculiar": (table(), PECULIAR[0]),
    "wide": (table(12, 12), WIDE[0] * 2),
    "one block": (table(1, 1), "ViT"),
    "many blocks and heads": (table(24, 16), "ViT-L/16"),
    "very many": (table(48, 25), "ViT"),
    "one image": (table(one_image=True), "ViT"),
}


def draw(numbers, label, folder):
    return partial(logit_attribution.draw, read_table(written(numbers, folder / "table.csv")), label)


@pytest.mark.parametrize("name", CASES)
def test_texts_have_room(tmp_path, name):
    numbers, label = CASES[name]
    figure, texts = drawn(draw(numbers, label, tmp_path))
    # The colour bar is thin.
    assert [found for found in misplaced(figure, texts) if not found.startswith("panel of")] == []
    left, right, _bar = figure.axes
    assert min(panel.get_window_extent().size.min() for panel in (left, right)) > 0.5 * figure.dpi
    shown = "".join("".join(text.get_text().split()) for text in texts)
    assert "".join(label.split()) in shown


def test_bars_and_map_are_the_numbers(tmp_path):
    numbers = table(3, 2)
    figure, _ = drawn(draw(numbers, "ViT", tmp_path))
    left, right, _bar = figure.axes
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in left.patches]
    expected = numbers.set_index("part")["mean"]
    # Attention stands to the left of a block's number, the MLP to the right.
    for branch, shift, places in (("attn", -0.2, bars[:3]), ("mlp", 0.2, bars[3:6])):
        assert [x for x, _ in places] == pytest.approx([block + shift for block in (1, 2, 3)])
        assert [height for _, height in places] == pytest.approx(expected[branch].tolist(), rel=1e-4)
    assert [bars[-2][1], bars[-1][1]] == pytest.approx([expected["embedding"], expected["constant"]], rel=1e-4)
    assert f"{expected['logit']:.3g}" in left.get_title()
    [image] = right.images
    heads = numbers[numbers["part"] == "head"].pivot_table("mean", index="head", columns="block").to_numpy(float)
    assert np.asarray(image.get_array()) == pytest.approx(heads, rel=1e-4)
    assert image.norm.vmin == -image.norm.vmax == pytest.approx(-np.abs(heads).max(), rel=1e-4)
    # Both panels count from 1.
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "2", "3"]
    assert tuple(image.get_extent()) == (0.5, 3.5, 0.5, 2.5)

"""One image, block by block: tokens lie where they are in the photo, and texts find room."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import LONG, PECULIAR, WIDE
from figure_texts import SMALLEST_PANEL, drawn, misplaced

from classlens.figures.one_image import draw

PHOTO = np.random.default_rng(0).random((12, 8, 3))


def table(blocks: int, *, cls=True, grid=(3, 2)) -> pd.DataFrame:
    generator, patches = np.random.default_rng(1), grid[0] * grid[1]
    groups = ["cls"] * cls + ["image"] * patches
    columns = {"image": 4, "class_index": 1, "block": np.repeat(range(blocks), len(groups)), "group": groups * blocks}
    columns |= {"token": list(range(len(groups))) * blocks, "rank": generator.integers(0, 4, blocks * len(groups))}
    top = generator.integers(0, 4, blocks * len(groups))
    return pd.DataFrame(columns).assign(identifiability=lambda one: 1 - one["rank"] / 4, top_class=top)


def draw_of(numbers, names, label):
    photos = {"pixels": {4: 255 * PHOTO}}
    stimuli = pd.DataFrame({"class_index": list(names), "class_name": list(names.values())})
    return lambda: draw(numbers, photos, stimuli, label, 0.625, (3, 2))


@pytest.mark.parametrize("cls", [True, False])
def test_tokens_and_what_cls_says(cls):
    numbers, names = table(3, cls=cls), {0: "ape", 1: "bear", 2: "cat"}
    figure, _ = drawn(draw_of(numbers, names, "Tiny"))
    assert figure.get_suptitle() == "Tiny: where image 4 shows its class, bear, block by block"
    said = [f", [CLS] says {names.get(top, f'class {top}')}" for top in numbers.query("group == 'cls'")["top_class"]]
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["image", *(f"block {block + 1}{said[block] if cls else ''}" for block in range(3))]
    for block, axes in enumerate(figure.axes[1:4]):
        own = numbers[(numbers["block"] == block) & (numbers["group"] == "image")]
        np.testing.assert_allclose(axes.images[-1].get_array(), own["identifiability"].to_numpy().reshape(3, 2))
        dots = [(x, y) for line in axes.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]
        places = [(index % 2 * 4 + 1.5, index // 2 * 4 + 1.5) for index in np.flatnonzero(own["rank"] == 0)]
        assert dots == places


@pytest.mark.parametrize("blocks", [1, 6, 24])
@pytest.mark.parametrize("text", [LONG[-1], PECULIAR[2], WIDE[2]])
def test_long_texts_find_room(blocks, text):
    figure, texts = drawn(draw_of(table(blocks), dict.fromkeys(range(4), text), text))
    *panels, bar = figure.axes
    assert len(panels) == 1 + min(blocks, 7)
    assert min(panel.get_window_extent().size.min() for panel in panels) > SMALLEST_PANEL * figure.dpi
    bar.remove()
    assert misplaced(figure, texts) == []


def test_the_photo_is_that_of_the_image():
    figure, _ = drawn(draw_of(table(2), {1: "bear"}, "Tiny"))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), PHOTO)

"""Plots show what the view says."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from tiny_transformers import random_images, transformer

from classlens import Lens
from classlens.figures.one_image import spread


def texts(figure):
    legend = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)], legend


@pytest.mark.parametrize("name", ["registers", "averages"])
def test_blocks_over_the_photo(name, tmp_path):
    view = Lens(transformer(name), list("abcdefg"))(random_images(2))
    before = dict(mpl.rcParams)
    figure = view.plot(image=1, blocks=[1, 0], class_index="d")
    assert dict(mpl.rcParams) == before
    shown = view.identifiability(class_index=3)[:, 1]
    titles, legend = texts(figure)
    cls = [f", [CLS] {shown[block, 0]:.2f}" if name == "registers" else "" for block in (1, 0)]
    assert titles[:4] == ["d, residual stream", "image", f"block 2{cls[0]}", f"block 1{cls[1]}"]
    for axes, block in zip(figure.axes[1:3], (1, 0), strict=True):
        tokens = axes.images[-1].get_array()
        np.testing.assert_allclose(tokens.ravel(), shown[block, -16:])
        marks = sum(len(line.get_xdata()) for line in axes.lines)
        assert marks == (shown[block, -16:] == 1).sum()
    assert (legend == ["no class is above"]) == bool((shown[:, -16:] == 1).any())
    figure.savefig(tmp_path / "blocks.png")


def test_a_view_in_a_folder(tmp_path):
    view = Lens(transformer("registers"))(random_images(2))
    view.save(tmp_path / "new/view", [1, 4])
    assert {path.name for path in (tmp_path / "new/view").iterdir()} == {"image_0.png", "image_1.png", "tokens.csv"}
    table = pd.read_csv(tmp_path / "new/view/tokens.csv")
    assert len(table) == 3 * 2 * 2 * 20
    row = table.query("site == 'mlp' and image == 1 and block == 0 and token == 7").iloc[0]
    assert (row["class_index"], row["rank"]) == (4, view.rank("mlp", [1, 4], 0)[1, 7])


def test_blocks_that_are_shown():
    assert spread(1) == [0]
    assert spread(3) == [0, 1, 2]
    assert spread(12) == [0, 2, 4, 6, 7, 9, 11]


@pytest.mark.parametrize(("token", "title"), [(0, "[CLS]"), (2, "prefix token 2"), (9, "token 9 (row 2, column 2)")])
def test_a_token_over_depth(token, title, tmp_path):
    view = Lens(transformer("registers"))(random_images(2))
    figure = view.plot_token(token, image=1, k=3, site="mlp", show="logit")
    best = view.top(3, "mlp")[-1, 1, token]
    titles, legend = texts(figure)
    assert titles[0] == f"{title}, MLP"
    assert legend == [f"class {index}" for index in best]
    for line, index in zip(figure.axes[0].lines, best, strict=True):
        assert np.array_equal(line.get_xdata(), [1, 2])
        np.testing.assert_allclose(line.get_ydata(), view.logit("mlp", index)[:, 1, token], rtol=1e-4, atol=1e-5)
    everything = view.plot_token(token, k=7)
    np.testing.assert_allclose(sum(line.get_ydata() for line in everything.axes[0].lines), 1, rtol=1e-5)
    figure.savefig(tmp_path / "token.png")

"""Every figure, drawn from small tables: what it shows is the table's numbers."""

import figure_cases as figures
import numpy as np
import pandas as pd
import pytest
from figure_cases import FEW, METHOD_LABELS
from figure_texts import drawn
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import PathPatch

from classlens.columns import BOX_COLUMNS, MODEL, SCORES, TWIN
from classlens.figures import token_causes
from classlens.figures.style import BLUE, CHANCE, GROUP_COLOURS, ORANGE, model_style
from classlens.terms import chance


def axes_of(case, folder):
    return drawn(case.draw(folder))[0].axes


def boxes_of(axes):
    """Boxes of a panel: (left, bottom, right, top, colour) each, from left to right."""
    patches = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    places = [(*patch.get_path().get_extents().extents, to_rgba(patch.get_facecolor())) for patch in patches]
    return sorted(places)


def centres(boxes):
    return np.array([(box[0] + box[2]) / 2 for box in boxes])


def stars_of(axes, colour=None):
    """Where stars stand, those of a colour alone if one is given."""
    lines = [line for line in axes.lines if line.get_marker() == "*" and colour in (None, line.get_color())]
    return [x for line in lines for x in line.get_xdata()]


def chance_lines(axes):
    """The heights at which chance is drawn across a panel."""
    dashed = [line for line in axes.lines if line.get_color() == CHANCE["color"] and len(line.get_xdata()) == 2]
    return [line.get_ydata()[0] for line in dashed if list(line.get_xdata()) == [0, 1]]


def follows(line, x, y):
    """Assert that a line goes through these numbers; tables keep six digits."""
    assert line.get_xdata().tolist() == list(x)
    assert line.get_ydata() == pytest.approx(np.asarray(y, float), rel=1e-5)


def tick_texts(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_chance_is_drawn_at_the_mean_of_random_rankings(tmp_path):
    """Ranks 0 .. C - 1 are equally likely: (C + 1) / 2C, not a half. Models may differ in C."""
    assert chance(10) == pytest.approx(np.mean(1 - np.arange(10) / 10))
    levels = {"0e5": chance(10), "1e5": chance(3), "2e5": chance(10), figures.TWINS: chance(2)}
    for case, expected in (
        (figures.evolution(["A", "B", "C"], 3), [[0.55], [2 / 3], [0.55]]),
        (figures.comparison(["A", "B", "C"], 3), [[0.55, 2 / 3]] * 2),
    ):
        case.arguments["chances"] = levels
        assert [chance_lines(axes) for axes in axes_of(case, tmp_path)] == expected
    assert [chance_lines(axes) for axes in axes_of(figures.context("A", blocks=5), tmp_path)] == [[0.55]] * 5


def test_evolution(tmp_path):
    case = figures.evolution(["one", "two"], blocks=[4, 3])
    case.table.loc[case.table["block"] == 1, "significant"] = False
    panels = axes_of(case, tmp_path)
    for axes, (name, label) in zip(panels, case.arguments["models"], strict=True):
        assert axes.get_title() == label
        rows, found = case.rows(model=name), boxes_of(axes)
        blocks = rows["block"].nunique()
        assert len(found) == len(rows) == 2 * blocks
        for group, side in (("cls", -1), ("image", 1)):
            colour = to_rgba(GROUP_COLOURS[group])
            own = [box for box in found if box[4] == colour]
            table = rows[rows["group"] == group]
            assert [box[1] for box in own] == pytest.approx(table["q1"].to_list(), rel=1e-5)
            assert [box[3] for box in own] == pytest.approx(table["q3"].to_list(), rel=1e-5)
            assert (np.sign(centres(own) - np.arange(1, blocks + 1)) == side).all()
        assert len(stars_of(axes)) == rows["significant"].sum() == 2 * (blocks - 1)
        assert {round(x) for x in stars_of(axes)} == set(range(1, blocks + 1)) - {2}
    assert tick_texts(panels[0].xaxis) == ["1", "2", "3", "4"]


def test_evolution_without_a_twin_or_class_token(tmp_path):
    [axes] = axes_of(figures.evolution(["one"], groups=figures.IMAGE, twin=False), tmp_path)
    assert stars_of(axes) == []
    # Alone, boxes stand in the middle of their blocks.
    assert centres(boxes_of(axes)) == pytest.approx(range(1, 13))


def test_whiskers_and_medians(tmp_path):
    case = figures.evolution(["one"], blocks=1, groups=figures.IMAGE)
    [axes] = axes_of(case, tmp_path)
    heights = sorted({round(float(y), 4) for line in axes.lines[1:] for y in line.get_ydata()})
    row = case.table.iloc[0]
    # Lines are whiskers, caps, the median and a star; the box itself is a patch.
    assert heights == pytest.approx(sorted([*(row[name] for name in BOX_COLUMNS), 1.07]), abs=1e-4)


@pytest.mark.parametrize(
    ("groups", "titles"), [(figures.BOTH, ["[CLS]", "image tokens"]), (figures.IMAGE, ["image tokens"])]
)
def test_comparison(tmp_path, groups, titles):
    case = figures.comparison(["one", "two"], blocks=[12, 6], groups=groups)
    figure, texts = drawn(case.draw(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, group in zip(figure.axes, groups, strict=True):
        curves = {line.get_color(): line for line in axes.lines if len(line.get_xdata()) > 2}
        for place, (name, _) in enumerate(case.arguments["models"]):
            rows = case.rows(model=name, group=group)
            follows(curves[model_style(place)["color"]], rows["position"], rows["mean"])
        assert len(curves) == 3
        assert len(axes.collections) == 2  # a band per model, none for the twin
    legend = ["one", "two", "random twins", "chance"]
    assert [text.get_text() for text in texts if text.get_text() in legend] == legend


def test_increment(tmp_path):
    case = figures.increment(["one", "two"], blocks=[24, 1])
    left, right = axes_of(case, tmp_path)
    curves = [line for line in left.lines if len(line.get_xdata()) > 2]
    follows(curves[0], range(2, 25), case.rows(model="0e5")["rate_percent"])
    assert len(right.collections) == 0
    # At most eight numbers, which count from 1.
    assert tick_texts(left.xaxis) == ["3", "6", "9", "12", "15", "18", "21", "24"]


@pytest.mark.parametrize("groups", [figures.BOTH, figures.IMAGE])
def test_building(tmp_path, groups):
    case = figures.building("A", blocks=5, groups=groups)
    left, right = axes_of(case, tmp_path)
    curves = [line for line in left.lines if len(line.get_xdata()) > 2]
    keys = [(branch, group) for branch in ("attn", "mlp") for group in groups]
    assert len(curves) == len(keys)
    for line, (branch, group) in zip(curves, keys, strict=True):
        follows(line, [2, 3, 4, 5], case.rows(measure="change", part=branch, group=group)["percent"])
        assert line.get_linestyle() == {"cls": "-", "image": "--"}[group]
    bars = pd.DataFrame([(bar.get_x() + 0.4, bar.get_y(), bar.get_height()) for bar in right.patches]).round(6)
    assert len(bars) == 5 * 4
    assert bars.groupby(0)[2].sum().tolist() == pytest.approx([100] * 4, abs=1e-3)
    # Each part stands on the ones below.
    for _, column in bars.groupby(0):
        assert column[1].to_numpy() == pytest.approx(np.cumsum([0, *column[2]])[:-1], abs=1e-3)


@pytest.mark.parametrize("compared", [True, False])
def test_context(tmp_path, compared):
    case = figures.context("A", blocks=5, compared=compared)
    panels = axes_of(case, tmp_path)
    assert [axes.get_title() for axes in panels] == [f"block {number}" for number in range(1, 6)]
    for axes, row in zip(panels, case.table.to_dict("records"), strict=True):
        expected = [(row[f"{name}_q1"], row[f"{name}_q3"]) for name in ("context", "class")] if compared else []
        assert [(box[1], box[3]) for box in boxes_of(axes)] == [pytest.approx(pair, rel=1e-5) for pair in expected]
        assert len(stars_of(axes)) == row["significant"]


def test_heads(tmp_path):
    case = figures.heads("ViT", blocks=3, heads=2)
    for axes, of in zip(axes_of(case, tmp_path), (MODEL, TWIN), strict=False):
        rows, dots = case.rows(of=of), axes.collections[-1]
        assert np.asarray(dots.get_offsets()) == pytest.approx(rows[["direct", "effect"]].to_numpy(), rel=1e-4)
        assert np.asarray(dots.get_array()).tolist() == (rows["block"] + 1).tolist()
        assert "Spearman 0.30 [0.12, 0.45]" in axes.get_title().replace("\n", " ")
        # The four furthest from the diagonal are named, from 1.
        off = (rows["effect"] - rows["direct"]).abs().nlargest(4).index
        expected = {f"{rows.loc[row, 'block'] + 1}.{rows.loc[row, 'head'] + 1}" for row in off}
        assert {text.get_text() for text in axes.texts} == expected


def test_tokens(tmp_path):
    case = figures.tokens("ViT", blocks=4)
    panels = axes_of(case, tmp_path)
    assert len(panels) == 3
    for axes, sets in zip(panels, token_causes.PANELS.values(), strict=True):
        for name, colour in sets.items():
            rows = case.rows(of=MODEL, set=name)
            [line] = [line for line in axes.lines if line.get_color() == colour and line.get_marker() == "o"]
            follows(line, [1, 2, 3, 4], rows["effect"])
            assert stars_of(axes, colour) == (rows.loc[rows["significant"], "block"] + 1).tolist()


def test_outliers(tmp_path):
    case = figures.outliers(["A", "B"], blocks=4)
    del case.arguments["twin_of"]["1e5"]
    twins = case.arguments["twin_of"]
    pairs = np.reshape(axes_of(case, tmp_path), (2, 2))
    for (left, right), (name, label) in zip(pairs, case.arguments["models"], strict=True):
        rows = case.rows(model=name)
        for line, model in zip(left.lines, [name, *([twins[name]] if name in twins else [])], strict=False):
            follows(line, [1, 2, 3, 4], 100 * case.rows(model=model)["share"])
        drawn_lines = [list(np.ravel(line.get_ydata())) for line in right.lines]
        for column in ("outliers_mean", "others_mean"):
            assert any(line == pytest.approx(rows[column].tolist(), rel=1e-4) for line in drawn_lines)
        assert left.get_title() == right.get_title() == label


def test_attribution(tmp_path):
    case = figures.attribution("ViT", blocks=3, heads=2)
    left, right, _bar = axes_of(case, tmp_path)
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in left.patches]
    expected = case.table.set_index("part")["mean"]
    # Attention stands to the left of a block's number, the MLP to the right.
    for branch, shift, places in (("attn", -0.2, bars[:3]), ("mlp", 0.2, bars[3:6])):
        assert [x for x, _ in places] == pytest.approx([block + shift for block in (1, 2, 3)])
        assert [height for _, height in places] == pytest.approx(expected[branch].tolist(), rel=1e-4)
    assert [bars[-2][1], bars[-1][1]] == pytest.approx([expected["embedding"], expected["constant"]], rel=1e-4)
    assert f"{expected['logit']:.3g}" in left.get_title()
    [picture] = right.images
    values = case.rows(part="head").pivot_table("mean", index="head", columns="block").to_numpy(float)
    assert np.asarray(picture.get_array()) == pytest.approx(values, rel=1e-4)
    assert picture.norm.vmin == -picture.norm.vmax == pytest.approx(-np.abs(values).max(), rel=1e-4)
    # Both panels count from 1.
    assert tick_texts(left.xaxis) == ["1", "2", "3"]
    assert tuple(picture.get_extent()) == (0.5, 3.5, 0.5, 2.5)


def test_quality(tmp_path):
    case = figures.quality("ViT")
    tokens_panel, pixels, scores, curves = axes_of(case, tmp_path)
    values = case.table.set_index(["method", "measure", "part"])["value"]
    gaps = values[:, "tokens", "gap"].sort_values(ascending=False)
    assert tick_texts(tokens_panel.yaxis) == [METHOD_LABELS[method] for method in gaps.index]
    for panel, measure in ((tokens_panel, "tokens"), (pixels, "pixels")):
        dots = sorted((line.get_ydata()[0], line.get_xdata()[0]) for line in panel.lines if line.get_marker() == "o")
        expected = [values[method, measure, "gap"] for method in gaps.index]
        assert [value for _, value in dots] == pytest.approx(expected, abs=1e-5)
    assert sum(line.get_marker() in ("o", "s", "^", "D") for line in scores.lines) == len(FEW) * len(SCORES)
    lines = [line for line in curves.lines if len(line.get_xdata()) == 5]
    assert len(lines) == 2  # not of random
    for line, method in zip(lines, FEW, strict=False):
        cascade = case.rows(method=method, part="cascade")["value"]
        follows(line, [0, 1, 2, 3, 4], [1, *cascade, values[method, "randomisation", "control"]])


def test_tuned_lens(tmp_path):
    case = figures.tuned(["A", "B"], [4, 3])
    del case.arguments["twin_of"]["1e5"]
    pairs = np.reshape(axes_of(case, tmp_path), (2, 2))
    for panels, (name, _) in zip(pairs, case.arguments["models"], strict=True):
        for panel, quantity in zip(panels, ("kl", "identifiability"), strict=True):
            for lens, colour in (("logit_lens", BLUE), ("tuned_lens", ORANGE)):
                lines = [one for one in panel.lines if to_hex(one.get_color()) == colour and one.get_marker() == "o"]
                for group, dashes in (("cls", "-"), ("image", "--")):
                    [line] = [one for one in lines if one.get_linestyle() == dashes]
                    own = case.rows(quantity=quantity, model=name, group=group)
                    follows(line, own["block"] + 1, own[lens])
            starred = case.rows(quantity=quantity, model=name, significant=quantity == "identifiability" or None)
            assert sorted(stars_of(panel)) == sorted(starred["block"] + 1)
            of_twin = [one for one in panel.lines if one.get_linewidth() == 0.8 and len(one.get_xdata())]
            assert len(of_twin) == (name == "0e5")
            for line in of_twin:
                twin = case.rows(quantity=quantity, model=f"{name}-random", group="image")
                follows(line, twin["block"] + 1, twin["tuned_lens"])


@pytest.mark.parametrize("cls", [True, False])
def test_one_image(tmp_path, cls):
    names = {0: "ape", 1: "bear", 2: "cat"}
    case = figures.image("Tiny", names, 3, cls)
    figure, _ = drawn(case.draw(tmp_path))
    assert figure.get_suptitle() == "Tiny: where image 4 shows its class, bear, block by block"
    said = [f", [CLS] says {names.get(top, f'class {top}')}" for top in case.table.query("group == 'cls'")["top_class"]]
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["image", *(f"block {block + 1}{said[block] if cls else ''}" for block in range(3))]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), figures.PHOTO / 255)
    for block, axes in enumerate(figure.axes[1:4]):
        own = case.rows(block=block, group="image")
        shown = own["identifiability"].to_numpy().reshape(3, 2)
        np.testing.assert_allclose(axes.images[-1].get_array(), shown, rtol=1e-5)
        dots = [(x, y) for line in axes.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]
        places = [(index % 2 * 4 + 1.5, index // 2 * 4 + 1.5) for index in np.flatnonzero(own["rank"] == 0)]
        assert dots == places


@pytest.mark.parametrize(("images", "signed"), [(1, True), (2, True), (2, False)])
def test_heat_maps(tmp_path, images, signed):
    case = figures.maps("ViT", images, {0: "007", 1: "tiger shark", 2: "bear"}, signed)
    if not signed:
        case.table["importance"] = case.table["importance"].abs()
    figure, texts = drawn(case.draw(tmp_path))
    assert [text.get_text() for text in texts].count("block 4, head 2") == images
    overlays = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
    assert {one.get_clim() for one in overlays} == {(-1 if signed else 0, 1)}
    assert {one.get_cmap().name for one in overlays} == {"coolwarm" if signed else "YlOrRd"}
    for one in overlays:
        share = np.abs(np.asarray(one.get_array()))
        np.testing.assert_allclose(one.get_alpha(), 0.75 * (share**0.5 if signed else share))
    assert len(overlays) == 4 * images
    # Both maps of both classes; those of image 0 are zero.
    shown = [np.asarray(one.get_array()) for one in overlays]
    for (number, _role, _map), rows in case.table.groupby(["image", "role", "map"]):
        values = rows["importance"].to_numpy().reshape(4, 4)
        shares = values / (np.abs(values).max() or 1)
        assert sum(np.allclose(one, shares, atol=1e-5) for one in shown) == (1 if number else 4)


def test_named_heads_have_their_words_and_colours(tmp_path):
    case = figures.words("ViT", blocks=3, heads=4)
    above, below, *_ = axes_of(case, tmp_path)
    assert above.get_title() == "6 of 12 heads are named; 0 of 12 of the random twin"
    shown = np.ma.filled(above.images[0].get_array().astype(float), np.nan)
    assert np.isnan(shown[::2]).all()
    assert shown[1::2] == pytest.approx(np.array([[35] * 3, [65] * 3]))
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in above.texts}
    assert written[2, 4] == ("cat\n65 %", "white")
    assert written[2, 1] == ("cat\n20 %", "0.5")
    lines = [text.get_text() for text in below.texts]
    assert lines[:3] == ["1.4", "cat 65 %, tabby, tabby cat 16 %, 007 7 %", "random 30 %"]
    unnamed = [line for line in lines if "." in line and "%" not in line][-6:]
    assert unnamed == [f"{b}.{h}" for h in (3, 1) for b in (1, 2, 3)]

"""Every figure, drawn from small tables: texts have room, and bytes are the same each time."""

import xml.etree.ElementTree as ElementTree

import figure_cases as figures
import matplotlib
import numpy as np
import pytest
from figure_cases import LONG, PECULIAR, WIDE
from figure_texts import drawn, misplaced
from PIL import Image

from classlens.catalog.methods import METHODS
from classlens.figures.layout import legend_below, panels
from classlens.figures.run import draw_figure
from classlens.figures.style import PAGE_WIDTH, model_style, settings

OF_MODELS = {
    "one model of one block": {"labels": LONG[:1], "blocks": 1},
    "two models of two blocks": {"labels": ["A", LONG[5]], "blocks": 2},
    "seven models": {"labels": LONG},
    "depths from 24 to 1": {"labels": LONG, "blocks": [24, 12, 6, 2, 1]},
    "peculiar labels": {"labels": PECULIAR},
    "wide labels": {"labels": WIDE, "blocks": 6},
}
MANY = {"many models": {"labels": [f"model {place}" for place in range(9)], "blocks": 3}}
GROUPED = {
    **OF_MODELS,
    "no class token": {"labels": LONG, "groups": figures.IMAGE},
    "one model, no class token, no twin": {"labels": LONG[:1], "groups": figures.IMAGE, "twin": False},
    "no twin": {"labels": LONG[:3], "twin": False},
}
OWN_LABELS = {"short": LONG[0], "long": LONG[5], "no spaces": LONG[6], "peculiar": PECULIAR[0], "wide": WIDE[0] * 2}
DEPTHS = {"short": 1, "long": 24, "no spaces": 2, "peculiar": 12, "wide": 6}
NAMES = {0: "007", 1: "tiger shark", 2: PECULIAR[1]}
CASES = {
    **{f"evolution: {name}": figures.evolution(**case) for name, case in {**GROUPED, **MANY}.items()},
    **{f"comparison: {name}": figures.comparison(**case) for name, case in {**GROUPED, **MANY}.items()},
    **{f"increment: {name}": figures.increment(**case) for name, case in {**OF_MODELS, **MANY}.items()},
    **{f"building: {name}": figures.building(label, DEPTHS[name]) for name, label in OWN_LABELS.items()},
    "building: no class token": figures.building(LONG[5], 3, groups=figures.IMAGE),
    **{f"context: {name}": figures.context(label, DEPTHS[name]) for name, label in OWN_LABELS.items()},
    "context: long, three blocks": figures.context(LONG[5], 3),
    "context: wide, seven blocks": figures.context(WIDE[0] * 2, 7),
    "context: nothing to compare": figures.context("A", 7, compared=False),
    "heads: no twin": figures.heads(LONG[5], twin=False),
    "heads: no spaces": figures.heads(LONG[6]),
    "heads: peculiar, one image": figures.heads(PECULIAR[0], one_image=True),
    "heads: wide, one block": figures.heads(WIDE[0], blocks=1, heads=2),
    "heads: many": figures.heads("ViT-L/16", blocks=24, heads=16),
    "training: one block": figures.training(["ViT"], blocks=1),
    "training: long": figures.training(LONG[:2], points=range(0, 200, 10), blocks=24),
    "training: peculiar, no class token": figures.training(PECULIAR[:2], groups=figures.IMAGE),
    "training: wide": figures.training(WIDE[:1], points=(0, 100_000)),
    "training heads: long": figures.training_heads(LONG[:2], blocks=24, heads=16),
    "training heads: peculiar": figures.training_heads(PECULIAR[:1], points=(1,), blocks=1, heads=1),
    "training heads: wide": figures.training_heads(WIDE[:1], points=range(50)),
    "training words: long": figures.training_words(LONG[:2], LONG[5], blocks=24, heads=16),
    "training words: peculiar": figures.training_words(PECULIAR[:1], PECULIAR[1], points=(1,), blocks=1, heads=1),
    "training words: wide": figures.training_words(WIDE[:1], WIDE[0], points=range(50)),
    "difference: long": figures.difference(LONG[5], LONG[6], blocks=24, heads=16),
    "difference: peculiar, one image": figures.difference(*PECULIAR[:2], blocks=1, heads=1, one_image=True),
    "difference: other depths": figures.difference(WIDE[0], "ViT", heads=0, groups=figures.IMAGE),
    "tokens: no masks": figures.tokens(LONG[5], masks=False),
    "tokens: no outliers": figures.tokens(PECULIAR[1], outliers=False),
    "tokens: neither": figures.tokens("ViT", masks=False, outliers=False, twin=False),
    "tokens: many blocks": figures.tokens(LONG[6], blocks=24),
    "outliers: long": figures.outliers(LONG),
    "outliers: peculiar": figures.outliers(PECULIAR, twin=False),
    "outliers: none": figures.outliers(["ViT"], none=True),
    "outliers: many blocks": figures.outliers(WIDE[:1], blocks=48),
    "attribution: long": figures.attribution(LONG[5]),
    "attribution: no spaces, one image": figures.attribution(LONG[6], one_image=True),
    "attribution: peculiar, one block": figures.attribution(PECULIAR[0], blocks=1, heads=1),
    "attribution: wide": figures.attribution(WIDE[0] * 2, blocks=12, heads=12),
    "attribution: very many": figures.attribution("ViT", blocks=48, heads=25),
    "groups: long": figures.groups(LONG[:3], classes=12),
    "groups: peculiar": figures.groups(PECULIAR[:1], attributes=("a_b", "$x$"), large=False),
    "groups: wide": figures.groups(WIDE[:2], classes=1),
    "shortcuts: long": figures.shortcuts(LONG[5], blocks=24, heads=16),
    "shortcuts: one head": figures.shortcuts(WIDE[0], blocks=1, heads=1, twin=False, masks=False),
    "shortcuts: peculiar": figures.shortcuts(PECULIAR[0], word=PECULIAR[1]),
    "repair": figures.repairs("ViT"),
    "repair: one head": figures.repairs(LONG[5], heads="0.1"),
    "repair: nothing": figures.repairs(WIDE[0], heads="", worst=np.nan),
    "words: long": figures.words(LONG[5], words=("tabby, tabby cat and others", "cat", WIDE[2], *"abc")),
    "words: none named": figures.words(PECULIAR[0], named=False, twin=False),
    "words: many": figures.words("ViT-L/16", blocks=24, heads=16),
    "words: one head": figures.words(WIDE[0], blocks=1, heads=1),
    "words: very many": figures.words("ViT", blocks=48, heads=25),
    "quality: every method": figures.quality(LONG[5], methods=tuple(METHODS), blocks=(2, 4, 6, 8, 10, 12)),
    "quality: no masks": figures.quality(LONG[6], methods=tuple(METHODS), segmented=False),
    "quality: no twin": figures.quality(PECULIAR[0], blocks=()),
    "quality: neither": figures.quality(WIDE[0] * 2, segmented=False, blocks=()),
    "quality: random alone": figures.quality("ViT", methods=("random",), blocks=()),
    "quality: one block, one image": figures.quality("ViT", blocks=(1,), one_image=True),
    **{f"tuned: {name}": figures.tuned(**case) for name, case in GROUPED.items()},
    "tuned: one image": figures.tuned(["ViT"], 4, twin=False, one_image=True),
    "tuned: many blocks": figures.tuned(LONG[:4], [1, 2, 24, 48], twin=False),
    **{
        f"image: {blocks} blocks, {text}": figures.image(text, dict.fromkeys(range(4), text), blocks)
        for blocks, text in ((1, WIDE[2]), (6, LONG[-1]), (6, WIDE[2]), (24, LONG[-1]), (24, PECULIAR[2]))
    },
    "maps: one image": figures.maps("ViT", 1, NAMES),
    "maps: long": figures.maps(LONG[5], 2, NAMES),
    "maps: peculiar": figures.maps(PECULIAR[0], 3, NAMES),
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
    case = CASES[name]
    figure, texts = drawn(case.draw(tmp_path), dpi)
    assert misplaced(figure, texts) == []
    shown = squeezed("".join(text.get_text() for text in texts))
    for label in case.labels:
        assert squeezed(label) in shown
    assert {text: squeezed(text) in shown for text in case.shown} == case.shown


def squeezed(text):
    """A text without white space: labels may be broken into lines anywhere."""
    return "".join(text.split())


@pytest.mark.parametrize("name", TYPICAL)
def test_files(tmp_path, name):
    case = CASES[name]
    before = dict(matplotlib.rcParams)
    svg, png = save(case, tmp_path)
    assert dict(matplotlib.rcParams) == before
    texts = [element.text or "" for element in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    for label in case.labels:
        assert squeezed(label) in squeezed("".join(texts))
    with Image.open(png) as picture:
        width, height = picture.size
        assert len(picture.convert("L").getcolors()) > 10
    dots = settings()["savefig.dpi"]
    assert PAGE_WIDTH / 2 - 0.01 <= width / dots <= PAGE_WIDTH + 0.01
    assert 1.5 <= height / dots <= 11
    for content in (svg.read_bytes(), png.read_bytes()):
        assert matplotlib.__version__.encode() not in content
    # Again, after other figures and under other settings of the user's.
    (tmp_path / "again").mkdir()
    with matplotlib.rc_context({"axes.titleweight": "bold", "lines.solid_capstyle": "round", "svg.id": "user"}):
        again = save(case, tmp_path / "again")
    assert again[0].read_bytes() == svg.read_bytes()
    assert again[1].read_bytes() == png.read_bytes()


def save(case, folder):
    svg, png = folder / "figure.svg", folder / "figure.png"
    draw_figure(str(svg), str(png), case.code, case.arguments, **case.files(folder))
    return svg, png


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

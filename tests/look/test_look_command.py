"""`classlens look` and `classlens attention`, as they are typed, and their pages in a browser."""

import os
import re
import webbrowser
from types import SimpleNamespace

import pytest
from browser import launched, needs_browser, opened
from made_pictures import CLASSES, SAVED, checkpoint, make_pictures, make_tuned_lens, typed

from classlens import Lens
from classlens.look.models import open_lens

READY = "html[data-ready]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, pictures, and the page that the command makes of them."""
    folder = tmp_path_factory.mktemp("look")
    model, pictures = checkpoint(folder / "vit.pth"), make_pictures(folder / "pictures", 3)
    page = folder / "look.html"
    said = typed(
        "look", model, folder / "pictures", "--architecture", SAVED, "--no-open", "-o", page, "--explain", "legrad"
    )
    return SimpleNamespace(folder=folder, model=model, pictures=pictures, page=page, said=said)


def facts(page):
    return dict(
        zip(page.locator("#facts dt").all_inner_texts(), page.locator("#facts dd").all_inner_texts(), strict=True)
    )


def test_one_page_and_nothing_else(made):
    assert re.fullmatch(r".*look\.html: 3 of 3 pictures, .* [kM]B\n", made.said, re.DOTALL)
    assert {path.name for path in made.folder.iterdir()} == {"vit.pth", "pictures", "look.html"}
    assert made.page.read_text().count('id="values-') == 3


def test_it_opens_in_the_browser(made, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    page = tmp_path / "page.html"
    typed("look", made.model, made.pictures[0], "--architecture", SAVED, "--output", page, "--class", "3")
    assert seen == [page.as_uri()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit.pth", "none"], "no such file or folder"),
        (["vit.pth", "empty", "--architecture", SAVED], "holds no pictures"),
        (["vit.pth", "vit.pth", "--architecture", SAVED], "is no picture"),
        (["vit.pth", "pictures"], "name timm's architecture"),
        (["other.pth", "pictures", "--architecture", SAVED], "no such file"),
        (["vit.pth", "pictures", "--architecture", "resnet18"], "not supported"),
        (["vit.pth", "pictures", "--architecture", SAVED, "--class", "cat"], "names of the model's classes"),
        (["vit.pth", "pictures", "--architecture", SAVED, "--explain", "magic"], "'magic' is unknown"),
        (["vit.pth", "pictures", "--architecture", SAVED, "--tuned", "empty"], "has 0 files of blocks"),
        (["vit_tiny_patch16_224", "pictures"], "vit_tiny_patch16_224"),
    ],
)
def test_one_line_and_nothing_written(made, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("vit.pth", "pictures"):
        os.symlink(made.folder / name, name)
    (tmp_path / "empty").mkdir()
    before = set(tmp_path.iterdir())
    said = typed("look", *words, "--no-open", status=2)
    [error] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert message in error
    assert set(tmp_path.iterdir()) == before


@needs_browser
def test_the_page_in_a_browser(made):
    view, notes = open_lens(str(made.model), SAVED)(made.pictures), []
    own = int(view.predictions(1)[0, 0])
    with launched() as browser, opened(made.page, notes, browser, viewport={"width": 390, "height": 844}) as page:
        page.wait_for_selector(READY, state="attached")
        # No phone has to scroll sideways.
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert "The pictures have no labels" in page.locator("#summary").inner_text()
        assert page.locator("#caption").inner_text().startswith(f"pictures/0.png: the model says class {own} (0.")
        assert page.locator("#verdict-filter").is_hidden()
        assert facts(page)["place of the class of interest"] == f"{view.rank()[-1, 0, 0] + 1} of {CLASSES}"
        chosen = (own + 1) % CLASSES
        page.locator("#class").select_option(str(chosen))
        assert f"class={chosen}" in page.url
        place = view.rank(class_index=chosen)[-1, 0, 0] + 1
        assert facts(page)["place of the class of interest"] == f"{place} of {CLASSES}"
        logit = float(facts(page)["logit of the class of interest"])
        largest = abs(view.logit(class_index=chosen)[-1, 0]).max()
        assert abs(logit - view.logit(class_index=chosen)[-1, 0, 0]) < largest / 20
        # Branches have other classes only where they are among the strongest.
        page.locator("#sites input[value=mlp]").evaluate("radio => radio.click()")
        tops = view.top(site="mlp")[-1, 0, 0].tolist()
        expected = f"{tops.index(chosen) + 1} of {CLASSES}" if chosen in tops else "not among the 5 strongest"
        assert facts(page)["place of the class of interest"] == expected
        page.locator("#colour").select_option("legrad")
        # LeGrad is never negative, so that its scale has one end.
        assert page.locator("#legend .scale").inner_text().split() == ["0", "1"]
    assert notes == []


@needs_browser
def test_a_chosen_class_through_the_tuned_lens(made, tmp_path):
    plain = open_lens(str(made.model), SAVED)
    blocks, width = len(plain.model.blocks), plain.model.embed_dim
    folder, page_file = make_tuned_lens(tmp_path / "tuned", blocks, width, CLASSES), tmp_path / "look.html"
    words = ["look", made.model, *made.pictures, "--architecture", SAVED, "--no-open", "-o", page_file]
    typed(*words, "--tuned", folder)
    view, notes = Lens(plain.model, tuned=folder)(made.pictures), []
    with opened(page_file, notes) as page:
        page.wait_for_selector(READY, state="attached")
        page.locator("#lenses [value=tuned]").check()
        page.locator("#block").fill("1")
        for chosen in page.evaluate("ABOUT.chosen")[::7]:
            page.locator("#class").select_option(str(chosen))
            for token in (0, 9):
                page.locator(f"[data-token='{token}']").hover()
                place = f"{view.rank(class_index=chosen)[1, 0, token] + 1} of {CLASSES}"
                assert facts(page)["place of the class of interest"] == place
        assert "logit of the class of interest" not in facts(page)
    assert notes == []


@needs_browser
def test_two_models_on_one_page(made, tmp_path):
    other, page_file = checkpoint(tmp_path / "other.pth", seed=2), tmp_path / "both.html"
    words = ["look", made.model, *made.pictures, "--architecture", SAVED, "--no-open", "-o", page_file]
    typed(*words, "--beside", other)
    views = [open_lens(str(file), SAVED)(made.pictures) for file in (made.model, other)]
    notes = []
    with opened(page_file, notes) as page:
        page.wait_for_selector(READY, state="attached")
        page.locator("#thumbnails [data-image='1']").click()
        frame = page.frame_locator("#other iframe")
        frame.locator(READY).wait_for(state="attached")
        frame.get_by_text(f"1.png: the model says class {views[1].predictions(1)[1, 0]} ").wait_for()
        page.locator("[data-token='7']").click()
        frame.locator("[data-token='7'].pinned").wait_for()
        chosen = int(views[0].predictions(1)[1, 0])
        page.locator("#class").select_option(str(chosen))
        for here, view in zip((page, frame), views, strict=True):
            place = f"{view.rank(class_index=chosen)[-1, 1, 7] + 1} of {CLASSES}"
            here.locator("#facts dd", has_text=place).wait_for()
        page.locator("#class").select_option("")
        page.locator("#colour").select_option("difference")
        shares = [view.identifiability(class_index=chosen)[-1, 1, 7] for view in views]
        # The other model predicts another class, and is compared in this one's.
        page.locator("#facts div", has_text=f"minus that in other.pth{shares[0] - shares[1]:.3f}").wait_for()
        assert "identifiability here minus in other.pth" in page.locator("#legend").inner_text()
    assert notes == []

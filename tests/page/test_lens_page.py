"""The lens page in a real browser: what it shows is what the files hold, and it asks for nothing else."""

import json
import re
from contextlib import contextmanager
from itertools import product
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from browser import launched, needs_browser, opened
from lens_files import SOURCES, made

from classlens.errors import InputError
from classlens.page import write
from classlens.terms import SITES

MARKUP = "<img src=x onerror=alert(1)></script><script>alert(2)</script><!-- & $x$ \"'`{y}"
READY = "html[data-ready]"

pytestmark = needs_browser


@pytest.fixture(scope="module")
def shown():
    """Opens a page with a fragment, waits for its first view, and asserts that nothing went wrong in it."""
    with launched() as browser:

        @contextmanager
        def show(page_file, fragment="", heard=None):
            notes = [] if heard is None else heard
            with opened(page_file, notes, browser) as page:
                page.goto("about:blank")
                page.goto(page_file.resolve().as_uri() + fragment)
                page.wait_for_selector(READY, state="attached")
                yield page
            if heard is None:
                assert notes == []

        yield show


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lens")
    files = made(folder / "files", tuned=True, others=[{"model": "plain", "label": "Without"}])
    plain = made(folder / "plain", others=[{"model": "vit", "label": "With"}])
    pages = {"page": files.write(folder / "vit.html"), "plain": plain.write(folder / "plain.html")}
    return SimpleNamespace(files=files, without=plain, **pages)


def until(page, expression):
    """Wait until an expression holds; the browser's own way to wait runs text as a script, which the policy forbids."""
    for _ in range(500):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"{expression} is not so at {page.url}")


def at(page, part):
    """Wait until the address says something."""
    until(page, f"location.hash.includes('{part}')")


def press(page, key, part):
    page.keyboard.press(key)
    at(page, part)


def says(page, rank):
    """Wait until the identifiability of a rank among seven classes is among the facts."""
    told = "document.querySelector('#facts').innerText.replace(/\\s+/g, ' ')"
    until(page, f"{told}.includes('identifiability {1 - rank / 7:.3f}')")


def texts(page, selector):
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def marked(classes, correct):
    """How a list of classes is shown."""
    return [f"class {index}" + (" ✓ correct" if index == correct else "") for index in classes]


def view(page):
    return dict(re.findall(r"(\w+)=([^&]*)", page.url.partition("#")[2]))


def token(page, number):
    return page.locator(f"[data-token='{number}']")


def test_heads_in_words(shown, tmp_path):
    files, rows = made(tmp_path / "files"), ["0,0,1,a,0.9,0.9,", "0,1,1,b,0.61,0.61,b", "0,1,2,c,0.2,0.81,"]
    head = "block,head,place,word,share,cumulative,name"
    named, table = {"words": [str(tmp_path / "heads.csv")]}, tmp_path / "heads.csv"
    table.write_text("\n".join([head, *rows, '1,0,1,x,1,1,"x, <b>"', ""]))
    with shown(files.write(tmp_path / "vit.html", **named)) as page:
        assert texts(page, "#head-words th[scope=col]") == ["block", "head 1", "head 2"]
        assert texts(page, "#head-words tbody tr") == ["1 – b 61 %", "2 x, <b> 100 % –"]
        assert "A dash:" in page.inner_text("#heads")
    table.write_text("\n".join([head, rows[0], ""]))
    with shown(files.write(tmp_path / "vit.html", **named)) as page:
        said = "in none does a word explain significantly more than random directions do."
        assert texts(page, "#heads") == [f"Heads in words No head is named beyond chance: {said}"]
    with shown(files.write(tmp_path / "vit.html")) as page:
        assert not page.locator("#heads").is_visible()


def test_every_number_of_every_image(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "BATCH", 3)
    files = made(tmp_path / "files", classes=70_000, prefix=("[CLS]", "register 1"), tuned=True)
    with shown(files.write(tmp_path / "vit.html", images=7)) as page:
        assert page.inner_text("#sample") == "7 of 8 evaluation images, chosen evenly over 4 classes (seed 0)."
        assert page.locator(".thumbnail").count() == 7
        found = page.evaluate(
            """async () => Promise.all(ABOUT.images.map(async ({image}) => {
                 const values = await valuesOf(image);
                 const of = (site, read) => Array.from({length: ABOUT.blocks}, (_, block) =>
                   Array.from({length: TOKENS}, (_, token) => read(site, block, token)));
                 const each = (read) => ABOUT.sites.map((_, site) => of(site, read));
                 const [rank, top] = [values.rankAt.bind(values), values.classes.bind(values)];
                 return {
                   image, rank: each(rank), logit: each(values.logitAt.bind(values)), top: each(top),
                   tuned: {rank: of(TUNED_SITE, rank), top5: of(TUNED_SITE, top)},
                   importance: ABOUT.methods.map((_, method) => values.importanceShares(method)),
                   label: Array.from({length: TOKENS}, (_, token) => values.labelOf(token)),
                 };
               }))"""
        )
    assert len(found) == 7
    for one in found:
        image = one["image"]
        for place, site in enumerate(SITES):
            assert np.array_equal(one["rank"][place], files.rank[site][:, image])
            assert np.array_equal(one["top"][place], files.top[site][:, image])
            logit = files.logit[site][:, image]
            step = np.abs(logit).max(1, keepdims=True) / 2000
            assert (np.abs(np.array(one["logit"][place]) - logit) <= 0.51 * step).all()
        for name, seen in one["tuned"].items():
            assert np.array_equal(seen, files.tuned[name][:, image])
        for place, importance in enumerate(files.importance.values()):
            share = importance[image] / np.abs(importance[image]).max()
            assert np.allclose(one["importance"][place], share, atol=1 / 2000)
        assert one["label"] == [None, None, *files.label[image].tolist()]


def test_the_same_numbers_give_the_same_bytes(study, tmp_path):
    assert study.files.write(tmp_path / "again.html").read_bytes() == study.page.read_bytes()
    assert study.files.write(tmp_path / "other.html", images=5).read_bytes() != study.page.read_bytes()
    # What a page without the tuned lens leaves out is the tuned lens alone.
    without, *again = (study.files.write(tmp_path / f"{place}.html", tuned=()) for place in range(2))
    assert without.stat().st_size < study.page.stat().st_size < 1.5 * without.stat().st_size
    assert again[0].read_bytes() == without.read_bytes()


def test_a_map_that_is_not_finite_is_refused(tmp_path):
    files = made(tmp_path)
    with h5py.File(files.arguments["explanations"][1], "r+") as file:
        file["importance"][2, 3] = np.nan
    with pytest.raises(InputError, match=r"chefer\.h5: importance"):
        files.write(tmp_path / "vit.html")


def test_opening_from_disk(shown, study):
    with shown(study.page) as page:
        assert page.title() == "A model: look through the model"
        assert view(page) == {}
        assert page.locator("#grid .token").count() == 12
        assert texts(page, "#prefix .token") == ["[CLS]"]
        assert page.locator(".thumbnail").count() == 8
        assert "All 8 evaluation images" in page.inner_text("#sample")
        assert page.inner_text("#block-name") == "4 of 4"
        assert page.locator("#photo").evaluate("photo => photo.naturalWidth") == 24
        about = json.loads(page.locator("#about").text_content())
        assert [one["image"] for one in about["images"]] == list(range(8))
        policy = page.locator("meta[http-equiv]").get_attribute("content")
        assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_the_policy_stops_other_scripts(shown, study, tmp_path):
    page_file = tmp_path / "vit.html"
    page_file.write_text(study.page.read_text().replace("<header>", "<header><script>window.bad = 1</script>"))
    heard = []
    with shown(page_file, heard=heard) as page:
        assert page.evaluate("window.bad") is None
    assert "Content Security Policy" in heard[0]


def test_hovering_shows_the_classes_in_order(shown, study):
    files, block, image = study.files, 1, 3
    correct = files.class_index[image]
    with shown(study.page, f"#image={image}&site=attn&block={block}") as page:
        for number, where in ((0, "[CLS]"), (7, "row 2, column 3")):
            token(page, number).hover()
            until(
                page, f"document.querySelector('#token-name').textContent.toLowerCase().startsWith('{where.lower()}')"
            )
            assert page.inner_text("#token-name").lower() == f"{where} · attention branch, block 2".lower()
            rank, top = files.rank["attn"][block, image, number], files.top["attn"][block, image, number]
            assert texts(page, "#top li") == marked(top, correct)
            says(page, rank)
            facts = texts(page, "#facts div")
            assert f"place of the correct class {rank + 1} of 7" in facts
            mask = {1: "class token", 0: "context token", -1: "ignored"}
            assert any(mask[files.label[image, number - 1]] in fact for fact in facts) == (number > 0)


def colours(page):
    return page.locator("#grid .token").evaluate_all("cells => cells.map(cell => cell.style.backgroundColor)")


def is_blue(page):
    return [colour == "rgba(0, 114, 178, 0.7)" for colour in colours(page)]


def test_colours(shown, study):
    files, image, block = study.files, 2, 3
    with shown(study.page, f"#image={image}&block={block}&colour=identifiability") as page:
        found = colours(page)
        rank = files.rank["residual"][block, image, 1:]
        assert [colour == "rgba(253, 231, 37, 0.7)" for colour in found] == (rank == 0).tolist()
        assert len(set(found)) == len(set(rank))
        page.select_option("#colour", "class")
        top = files.top["residual"][block, image, 1:, 0]
        until(page, "document.querySelector('#legend').textContent.includes('correct')")
        assert len(set(zip(colours(page), top, strict=True))) == len(set(top)) == len(set(colours(page)))
        assert is_blue(page) == (top == files.class_index[image]).tolist()
        page.select_option("#colour", "chefer")
        until(page, "document.querySelector('#legend').textContent.includes('importance')")
        importance = files.importance["chefer"][image]
        alphas = [float(re.findall(r"[\d.]+", colour)[3]) if "rgba" in colour else 1 for colour in colours(page)]
        assert np.argmax(alphas) == np.argmax(np.abs(importance))
        strongest = colours(page)[int(np.argmax(np.abs(importance)))]
        red, _, blue, *_ = map(float, re.findall(r"[\d.]+", strongest))
        assert (red > blue) == (importance[np.argmax(np.abs(importance))] > 0)
        assert "nothing" in token(page, 0).get_attribute("class")


def test_keys_and_slider_run_through_the_blocks(shown, study):
    with shown(study.page, "#image=1&block=2") as page:
        press(page, "ArrowLeft", "block=1")
        assert page.inner_text("#block-name") == "2 of 4"
        for part in ("block=2", "block=3", "block=3"):
            press(page, "ArrowRight", part)
        page.locator("#block").fill("0")
        at(page, "block=0")
        page.locator("#block").press("ArrowRight")
        at(page, "block=1")
        page.locator("#strip .small-map").nth(2).click()
        at(page, "block=2")
        says(page, study.files.rank["residual"][2, 1, 0])


def test_a_click_pins_and_leaves_arrows_to_the_blocks(shown, study):
    with shown(study.page, "#image=1&block=2&site=mlp") as page:
        assert page.inner_text("#path-name") == "Click a token to draw its path over depth"
        token(page, 5).click()
        page.wait_for_selector("#path-table tr")
        rows = texts(page, "#path-table tbody tr")
        expected = 1 - study.files.rank["mlp"][:, 1, 5] / 7
        tops = study.files.top["mlp"][:, 1, 5, 0]
        assert [row.split()[:4] for row in rows] == [
            [str(block + 1), f"{share:.3f}", "class", str(top)]
            for block, (share, top) in enumerate(zip(expected, tops, strict=True))
        ]
        assert page.locator("#chart circle").count() == 4
        heights = page.locator("#chart circle").evaluate_all("dots => dots.map(dot => Number(dot.getAttribute('cy')))")
        assert np.corrcoef(heights, expected)[0, 1] == pytest.approx(-1)
        press(page, "ArrowRight", "block=3")
        assert view(page)["token"] == "5"
        token(page, 5).click()
        until(page, "!location.hash.includes('token')")
        token(page, 6).click()
        at(page, "token=6")
        page.keyboard.press("Escape")
        until(page, "!location.hash.includes('token')")


def test_by_keyboard_alone(shown, study):
    with shown(study.page) as page:
        stops = []
        for _ in range(14):
            page.keyboard.press("Tab")
            name = page.evaluate("(({id, className, name}) => id || name || className)(document.activeElement)")
            stops.append(name.partition(" ")[0])
        wanted = ["class-filter", "verdict-filter", "thumbnail", "site", "colour", "cover", "token", "token", "block"]
        assert [stop for stop in stops if stop in wanted][: len(wanted)] == wanted
        token(page, 1).focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("document.activeElement.dataset.token")
        assert focused == "6"
        assert page.evaluate("document.activeElement.ariaLabel").startswith("row 2, column 2: identifiability")
        press(page, "PageUp", "block=2")
        press(page, "Enter", "token=6")
        page.locator(".thumbnail[tabindex='0']").focus()
        press(page, "ArrowRight", "image=1")
        press(page, "End", "image=7")
        until(page, "document.activeElement.getAttribute('aria-selected') === 'true'")


def test_by_class_and_verdict(shown, study):
    files = study.files
    with shown(study.page) as page:
        page.select_option("#class-filter", "2")
        assert page.locator(".thumbnail:visible").count() == 2
        page.select_option("#class-filter", "")
        page.select_option("#verdict-filter", "wrong")
        wrong = np.flatnonzero(~files.correct)
        found = page.locator(".thumbnail:visible").evaluate_all("all => all.map(one => Number(one.dataset.image))")
        assert found == wrong.tolist()
        page.locator(".thumbnail:visible").last.click()
        at(page, f"image={wrong[-1]}")
        own = files.class_index[wrong[-1]]
        caption = f"class {own}, but the model says class {own + 1} ✗ wrong"
        until(page, f"document.querySelector('#caption').innerText.includes('{caption}')")
        page.select_option("#class-filter", "2")
        assert page.inner_text("#image-count") == "no such image"


def test_a_link_shows_the_same(shown, study):
    fragment = "#image=5&site=mlp&block=1&colour=gradient&token=9&cover=40"
    with shown(study.page, fragment) as page:
        parts = [page.inner_text("#caption"), texts(page, "#details"), colours(page)]
        assert page.locator("#sites input:checked").get_attribute("value") == "mlp"
        assert "pinned" in token(page, 9).get_attribute("class")
        press(page, "ArrowLeft", "block=0")
        press(page, "ArrowRight", "block=1")
        assert page.url.endswith(fragment)
        assert [page.inner_text("#caption"), texts(page, "#details"), colours(page)] == parts
        page.evaluate("location.hash = '#image=6&block=2'")
        until(page, "document.querySelector('#block-name').textContent === '3 of 4'")
        assert "Image 6" in page.inner_text("#caption")


def test_a_link_to_what_is_not_there(shown, study):
    fragment = "#image=99&site=__proto__&block=77&token=-1&colour=legrad&cover=1000&beside=..%2Fx"
    with shown(study.page, fragment) as page:
        assert page.inner_text("#trouble") == (
            "Image 99 is not one of the 8 on this page; another one is shown. "
            "This page has no such map of this model; identifiability is shown."
        )
        assert "Image 0" in page.inner_text("#caption")
        press(page, "ArrowLeft", "block=2")
        assert view(page) == {"image": "0", "site": "residual", "block": "2", "colour": "identifiability"}
        assert page.locator("#trouble").is_hidden()


def test_texts_are_shown_as_typed(shown, tmp_path):
    escaped = MARKUP.replace("{", "{{").replace("}", "}}")
    files = made(
        tmp_path / "files",
        names=escaped + " {}",
        files=escaped + "/{}.png",
        label=MARKUP,
        dataset=MARKUP,
        prefix=("[CLS]", MARKUP),
        notes=[MARKUP],
        others=[{"model": "other", "label": MARKUP}],
        methods=(("gradient", MARKUP),),
    )
    with shown(files.write(tmp_path / "vit.html"), "#token=4&colour=class&beside=other", heard := []) as page:
        assert page.title() == f"{MARKUP}: look through the model"
        assert page.inner_text("#label") == MARKUP
        assert f"{MARKUP} 0" in page.inner_text("#legend")
        for place in ("caption", "path-table", "notes", "prefix .token", "colour option", "class-filter option"):
            assert MARKUP in page.locator(f"#{place}").last.inner_text()
        page.wait_for_selector("#other-trouble:visible")
        assert MARKUP in page.inner_text("#other-trouble")
        assert page.locator("img[src=x]").count() == 0
    assert [note for note in heard if "other.html" not in note and "ERR_FILE" not in note] == []


def test_a_model_without_cls_masks_and_explanations(shown, tmp_path):
    notes = ["No explanations.", "No masks."]
    files = made(tmp_path / "files", prefix=(), masks=False, methods=(), notes=notes)
    equal = "outputs equal transformers' own to 2e-06, 8 of 8 predictions"
    (tmp_path / "certificate.json").write_text(json.dumps({"library": "transformers", "text": equal}))
    written = files.write(tmp_path / "vit.html", certificate=[str(tmp_path / "certificate.json")])
    with shown(written, "#token=0") as page:
        assert page.locator("#prefix").is_hidden()
        assert texts(page, "#notes li") == [*notes, f"A model of transformers: {equal}."]
        assert page.locator("#colour option").count() == 2
        assert page.inner_text("#token-name").lower().startswith("row 1, column 1")
        assert "mask" not in page.inner_text("#facts")
        assert page.locator("#beside-choice").is_hidden()


def test_contrast(shown, study):
    names = ("back", "card", "text", "quiet", "accent", "right", "wrong", "now")
    with shown(study.page) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(
                "names => { const style = getComputedStyle(document.documentElement);"
                "return names.map(name => style.getPropertyValue(`--${name}`).trim()); }",
                names,
            )
            colour = dict(zip(names, map(luminance, found), strict=True))
            assert (colour["back"] > 0.5) == (scheme == "light")
            pairs = [*product(("back", "card"), ("text", "quiet", "accent", "right", "wrong"))]
            for back, front in [*pairs, ("now", "text"), ("now", "right")]:
                light, dark = sorted((colour[back], colour[front]), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, back, front)


def luminance(colour):
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two models on the same images; the second has other tokens and fewer blocks, and no explanation."""
    folder = tmp_path_factory.mktemp("pair")
    other = [{"model": "gap", "label": "Average"}, {"model": "missing", "label": "Not made"}]
    made(folder / "first", others=other).write(folder / "vit.html")
    changes = {"grid": (6, 8), "blocks": 2, "prefix": (), "methods": (), "label": "Average", "model": "gap"}
    made(folder / "second", seed=1, others=[{"model": "vit", "label": "A model"}], **changes).write(folder / "gap.html")
    return folder / "vit.html"


def test_two_models_side_by_side(shown, pair):
    heard = []
    with shown(pair, "#image=3&block=3&token=1&beside=gap", heard) as page:
        other = page.frame_locator("#other iframe")
        other.locator("#caption:has-text('Image 3')").wait_for()
        assert other.locator("#own-name").inner_text() == "Average"
        assert other.locator("#images").is_hidden()
        assert other.locator("#block-name").inner_text() == "2 of 2"
        pinned = other.locator(".token.pinned").get_attribute("data-token")
        assert pinned == "9"  # the middle of the first of 3 x 4 tokens lies in row 2, column 2 of 6 x 8
        for part in ("block=2", "block=1", "block=0"):
            press(page, "ArrowLeft", part)
        other.locator("#block-name:has-text('1 of 2')").wait_for()
        token(page, 12).hover()
        other.locator("[data-token='47'].hovered").wait_for()
        page.select_option("#colour", "gradient")
        other.locator("#trouble:has-text('no such map')").wait_for()
        page.select_option("#colour", "class")
        page.locator("[value=mlp]").check()
        other.locator("#token-name:has-text('MLP branch')").wait_for()
        # And back: what is done in the frame moves this page.
        other.locator("[data-token='0']").click()
        at(page, "token=1")
        other.locator("#strip .small-map").nth(1).click()
        at(page, "block=3")
        page.locator(".thumbnail").last.click()
        other.locator("#caption:has-text('Image 7')").wait_for()
        frame = page.locator("#other iframe")
        assert frame.evaluate("frame => frame.clientHeight") > 600
        page.select_option("#beside", "")
        until(page, "!document.querySelector('iframe')")
    assert [note.partition("#")[0] for note in heard] == [f"request: {(pair.parent / 'gap.html').as_uri()}"]


def test_the_difference_of_two_models(shown, tmp_path):
    image, tokens = 3, np.r_[0, 1:13]
    here = made(tmp_path / "first", tuned=True, others=[{"model": "gap", "label": "Other"}])
    changes = {"blocks": 2, "prefix": ("[CLS]", "register 1"), "label": "Other"}
    there = made(tmp_path / "second", seed=1, others=[{"model": "vit", "label": "A model"}], **changes)
    there.write(tmp_path / "gap.html")
    other_tokens = np.r_[0, 2:14]

    def gap(site, block, other):
        rank = here.rank[site][block, image, tokens] - there.rank[site][other, image, other_tokens]
        return -rank / 7

    def is_drawn(place, *where):
        gaps = gap(*where) if place == page else -gap(*where)
        until(place, "document.querySelector('#legend').textContent.includes('at the same relative depth')")
        ramp, steps = np.array(place.evaluate("DIVERGING_RAMP")), 255 * (gaps[1:] + 1) / 2
        wanted = ramp[np.rint(steps).astype(int)]
        for _ in range(100):
            found = [re.findall(r"[\d.]+", colour) for colour in colours(place)]
            if all(len(one) == 4 for one in found) and np.abs(np.array(found, float)[:, :3] - wanted).max() <= 3:
                return
            page.wait_for_timeout(10)
        raise AssertionError(f"{found} are not {wanted}")

    with shown(here.write(tmp_path / "vit.html"), f"#image={image}&beside=gap&colour=difference&block=3", []) as page:
        page.frame_locator("#other iframe").locator(READY).wait_for(state="attached")
        frame = page.frames[1]
        is_drawn(page, "residual", 3, 1)
        is_drawn(frame, "residual", 3, 1)
        assert "identifiability here minus in Other" in page.inner_text("#legend")
        page.locator("[value=mlp]").check()
        page.locator("#block").fill("0")
        is_drawn(page, "mlp", 0, 0)
        is_drawn(frame, "mlp", 0, 0)
        # Done in the frame, it is so here as well.
        frame.locator(".small-map").nth(1).click()
        is_drawn(page, "mlp", 3, 1)
        token(page, 5).hover()
        until(page, f"document.querySelector('#facts').textContent.includes('{gap('mlp', 3, 1)[5]:.3f}')")
        assert "minus that in Other" in page.inner_text("#facts")
        # The other one has no tuned lens, and is not compared with it.
        page.locator("#sites [value=residual]").check()
        page.locator("#lenses [value=tuned]").check()
        until(page, "document.querySelector('#legend').textContent.startsWith('Models are compared')")
        assert set(colours(page)) == {"transparent"}
    with shown(tmp_path / "vit.html") as page:
        page.select_option("#colour", "difference")
        until(page, "document.querySelector('#legend').textContent.startsWith('Models are compared')")


def test_models_that_cannot_be_compared_or_are_not_there(shown, pair, study, tmp_path):
    with shown(pair, "#image=3&beside=gap&colour=difference", []) as page:
        page.frame_locator("#other iframe").locator("#caption:has-text('Image 3')").wait_for()
        page.wait_for_timeout(100)
        assert page.inner_text("#legend").startswith("Models are compared with another one")
        assert set(colours(page)) == {"transparent"}
    alone = study.files.write(tmp_path / "vit.html", facts={**study.files.arguments["facts"], "others": []})
    with shown(alone, "#colour=difference") as page:
        assert "no such map" in page.inner_text("#trouble")
        assert page.locator("#colour option[value=difference]").count() == 0
    with shown(pair, "#beside=missing", []) as page:
        page.wait_for_selector("#other-trouble:visible")
        told = page.inner_text("#other-trouble")
        assert told == "The page of Not made is not beside this one. Make it with: snakemake results/lens/missing.html"


def test_a_slider_leads_to_the_page_of_another_checkpoint(shown, tmp_path):
    points = [{"model": f"run@{number}", "number": number} for number in (0, 5, 20)]
    for point in points[1:]:
        pages = made(tmp_path / point["model"], series={"at": "epoch", "points": points}, label=point["model"], **point)
        pages.write(tmp_path / f"{point['model']}.html")
    with shown(tmp_path / "run@5.html", "#image=3&block=1", []) as page:
        assert page.inner_text("#series label") == "Epoch 5"
        page.focus("#point")
        page.keyboard.press("ArrowRight")
        page.wait_for_url("**/run%4020.html#*")
        page.wait_for_selector(READY, state="attached")
        assert page.inner_text("#own-name") == "run@20"
        assert page.inner_text("#series label") == "Epoch 20"
        assert page.inner_text("#block-name") == "2 of 4"
        assert "Image 3" in page.inner_text("#caption")
        assert page.evaluate("document.activeElement.id") == "point"


def test_what_other_windows_say_is_not_heard(shown, study):
    with shown(study.page, "#block=1") as page:
        page.evaluate("window.postMessage({classlens: 1, say: 'view', image: 5, depth: 0}, '*')")
        page.wait_for_timeout(200)
        assert view(page) == {"block": "1"}
        assert "Image 0" in page.inner_text("#caption")


def test_sources_hold_no_end_of_script():
    for path in SOURCES.glob("*.js"):
        assert "</script" not in path.read_text().lower()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text())


def test_the_switch_shows_either_lens(shown, study):
    files, image, block, number = study.files, 3, 1, 7
    correct = files.class_index[image]

    def shows(rank, top):
        says(page, rank[block, image, number])
        assert f"place of the correct class {rank[block, image, number] + 1} of 7" in texts(page, "#facts div")
        assert texts(page, "#top li") == marked(top[block, image, number], correct)
        brightest = [colour == "rgba(253, 231, 37, 0.7)" for colour in colours(page)]
        assert brightest == (rank[block, image, 1:] == 0).tolist()
        rows = [row.split()[1:4] for row in texts(page, "#path-table tbody tr")]
        shares, tops = 1 - rank[:, image, number] / 7, top[:, image, number, 0]
        assert rows == [[f"{share:.3f}", "class", str(best)] for share, best in zip(shares, tops, strict=True)]

    with shown(study.page, f"#image={image}&block={block}&token={number}") as page:
        assert page.locator("#lenses").is_visible()
        assert texts(page, "#lenses label") == ["logit lens", "tuned lens"]
        shows(files.rank["residual"], files.top["residual"])
        assert "logit of the correct class" in page.inner_text("#facts")
        strip = "[...document.querySelectorAll('#strip canvas')].map(canvas => canvas.toDataURL())"
        before = page.evaluate(strip)
        # By keyboard: the arrows change the lens, not the block.
        page.locator("#lenses [value=logit]").focus()
        press(page, "ArrowRight", "lens=tuned")
        assert page.evaluate("document.activeElement.value") == "tuned"
        page.wait_for_timeout(50)
        assert all(one != other for one, other in zip(before, page.evaluate(strip), strict=True))
        assert "residual stream, tuned lens, block 2" in page.inner_text("#token-name").lower()
        shows(files.tuned["rank"], files.tuned["top5"])
        assert "logit of the correct class" not in page.inner_text("#facts")
        # The legend's classes are those on the maps.
        page.select_option("#colour", "class")
        until(page, "document.querySelector('#legend').textContent.includes('correct')")
        assert is_blue(page) == (files.tuned["top5"][block, image, 1:, 0] == correct).tolist()
        page.locator("#lenses [value=logit]").check()
        until(page, "!location.hash.includes('lens')")
        assert is_blue(page) == (files.top["residual"][block, image, 1:, 0] == correct).tolist()


def test_branches_have_no_tuned_lens(shown, study):
    files = study.files
    with shown(study.page, "#image=1&site=mlp&block=2&token=4&lens=tuned") as page:
        assert page.locator("#lenses input").first.is_disabled()
        says(page, files.rank["mlp"][2, 1, 4])
        assert "tuned" not in page.inner_text("#token-name").lower()
        page.locator("#sites [value=residual]").check()
        at(page, "site=residual")
        assert view(page)["lens"] == "tuned"
        says(page, files.tuned["rank"][2, 1, 4])


def test_without_files_there_is_no_switch(shown, study):
    with shown(study.plain, "#image=1&lens=tuned&block=0") as page:
        assert page.locator("#lenses").is_hidden()
        assert page.inner_text("#trouble") == "This page has no tuned lens of this model; the logit lens is shown."
        token(page, 3).hover()
        says(page, study.without.rank["residual"][0, 1, 3])
        press(page, "ArrowRight", "block=1")
        assert "lens" not in view(page)
    text = study.plain.read_text()
    assert '"tuned_rank"' not in text.partition('id="about">')[2].partition("</script>")[0]


def test_a_page_beside_follows_as_far_as_it_can(shown, study):
    heard = []
    with shown(study.page, "#image=3&block=1&token=2&beside=plain", heard) as page:
        other = page.frame_locator("#other iframe")
        other.locator("#caption:has-text('Image 3')").wait_for()
        page.locator("#lenses [value=tuned]").check()
        other.locator("#trouble:has-text('no tuned lens')").wait_for()
        page.locator("#lenses [value=logit]").check()
        other.locator("#trouble").wait_for(state="hidden")

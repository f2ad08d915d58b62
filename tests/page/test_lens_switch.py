"""The switch between logit lens and tuned lens: there where there are files, and what it shows is what they hold."""

from types import SimpleNamespace

import numpy as np
import pytest
from browser import needs_browser
from lens_files import made
from test_lens_page import colours, shown, texts, token, until, view

pytestmark = needs_browser


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    other = [{"model": "plain", "label": "Without"}]
    files = made(folder / "files", tuned=True, others=other)
    without = made(folder / "plain", others=[{"model": "vit", "label": "With"}])
    return SimpleNamespace(
        files=files, page=files.write(folder / "vit.html"), plain=without.write(folder / "plain.html"), without=without
    )


def test_every_number_of_the_tuned_lens(tmp_path):
    files = made(tmp_path / "files", classes=70_000, prefix=("[CLS]", "register 1"), tuned=True)
    with shown(files.write(tmp_path / "vit.html", images=7)) as page:
        found = page.evaluate(
            """async () => Promise.all(ABOUT.images.map(async ({image}) => {
                 const values = await valuesOf(image);
                 const each = (site, read) => Array.from({length: ABOUT.blocks}, (_, block) =>
                   Array.from({length: TOKENS}, (_, token) => read(site, block, token)));
                 const [rank, top] = [values.rankAt.bind(values), values.classes.bind(values)];
                 return {
                   image, rank: each(TUNED_SITE, rank), top: each(TUNED_SITE, top),
                   plain: [each(0, rank), each(2, rank), each(0, top), each(2, top)],
                 };
               }))"""
        )
    assert len(found) == 7
    for one in found:
        image = one["image"]
        assert np.array_equal(one["rank"], files.tuned["rank"][:, image])
        assert np.array_equal(one["top"], files.tuned["top5"][:, image])
        # The other sites are where they were.
        for place, site in enumerate(("residual", "mlp")):
            assert np.array_equal(one["plain"][place], files.rank[site][:, image])
            assert np.array_equal(one["plain"][2 + place], files.top[site][:, image])


def test_the_switch_shows_either_lens(study):
    files, image, block, number = study.files, 3, 1, 7

    def says(rank, top):
        assert f"identifiability {1 - rank[block, image, number] / 7:.3f}" in texts(page, "#facts div")
        assert f"place of the correct class {rank[block, image, number] + 1} of 7" in texts(page, "#facts div")
        correct = files.class_index[image]
        marks = {correct: " ✓ correct"}
        assert texts(page, "#top li") == [f"class {index}{marks.get(index, '')}" for index in top[block, image, number]]
        brightest = [colour == "rgba(253, 231, 37, 0.7)" for colour in colours(page)]
        assert brightest == (rank[block, image, 1:] == 0).tolist()
        rows = [row.split()[1:4] for row in texts(page, "#path-table tbody tr")]
        shares, tops = 1 - rank[:, image, number] / 7, top[:, image, number, 0]
        assert rows == [[f"{share:.3f}", "class", str(best)] for share, best in zip(shares, tops, strict=True)]

    with shown(study.page, f"#image={image}&block={block}&token={number}") as page:
        assert page.locator("#lenses").is_visible()
        assert texts(page, "#lenses label") == ["logit lens", "tuned lens"]
        says(files.rank["residual"], files.top["residual"])
        assert "logit of the correct class" in page.inner_text("#facts")
        page.locator("#lenses [value=tuned]").check()
        until(page, "location.hash.includes('lens=tuned')")
        assert "residual stream, tuned lens, block 2" in page.inner_text("#token-name").lower()
        says(files.tuned["rank"], files.tuned["top5"])
        assert "logit of the correct class" not in page.inner_text("#facts")
        # The legend's classes are those on the maps.
        page.select_option("#colour", "class")
        until(page, "document.querySelector('#legend').textContent.includes('correct')")
        blue = [colour == "rgba(0, 114, 178, 0.7)" for colour in colours(page)]
        assert blue == (files.tuned["top5"][block, image, 1:, 0] == files.class_index[image]).tolist()
        page.locator("#lenses [value=logit]").check()
        until(page, "!location.hash.includes('lens')")
        blue = [colour == "rgba(0, 114, 178, 0.7)" for colour in colours(page)]
        assert blue == (files.top["residual"][block, image, 1:, 0] == files.class_index[image]).tolist()


def test_small_maps_follow_the_switch(study):
    strip = "[...document.querySelectorAll('#strip canvas')].map(canvas => canvas.toDataURL())"
    with shown(study.page, "#image=2") as page:
        before = page.evaluate(strip)
        page.locator("#lenses [value=tuned]").check()
        until(page, "location.hash.includes('lens=tuned')")
        page.wait_for_timeout(50)
        assert all(one != other for one, other in zip(before, page.evaluate(strip), strict=True))


def test_branches_have_no_tuned_lens(study):
    files = study.files
    with shown(study.page, "#image=1&site=mlp&block=2&token=4&lens=tuned") as page:
        assert page.locator("#lenses input").first.is_disabled()
        expected = 1 - files.rank["mlp"][2, 1, 4] / 7
        assert f"identifiability {expected:.3f}" in texts(page, "#facts div")
        assert "tuned" not in page.inner_text("#token-name").lower()
        page.locator("#sites [value=residual]").check()
        until(page, "location.hash.includes('site=residual')")
        assert view(page)["lens"] == "tuned"
        expected = 1 - files.tuned["rank"][2, 1, 4] / 7
        assert f"identifiability {expected:.3f}" in texts(page, "#facts div")


def test_by_keyboard(study):
    with shown(study.page) as page:
        page.locator("#lenses [value=logit]").focus()
        page.keyboard.press("ArrowRight")
        until(page, "location.hash.includes('lens=tuned')")
        assert page.evaluate("document.activeElement.value") == "tuned"


def test_without_files_there_is_no_switch(study):
    with shown(study.plain, "#image=1&lens=tuned&block=0") as page:
        assert page.locator("#lenses").is_hidden()
        assert page.inner_text("#trouble") == "This page has no tuned lens of this model; the logit lens is shown."
        token(page, 3).hover()
        expected = 1 - study.without.rank["residual"][0, 1, 3] / 7
        assert f"identifiability {expected:.3f}" in texts(page, "#facts div")
        page.keyboard.press("ArrowRight")
        until(page, "location.hash.includes('block=1')")
        assert "lens" not in view(page)
    text = study.plain.read_text()
    assert '"tuned_rank"' not in text.partition('id="about">')[2].partition("</script>")[0]


def test_a_page_beside_follows_as_far_as_it_can(study):
    heard = []
    with shown(study.page, "#image=3&block=1&token=2&beside=plain", heard) as page:
        other = page.frame_locator("#other iframe")
        other.locator("#caption:has-text('Image 3')").wait_for()
        page.locator("#lenses [value=tuned]").check()
        other.locator("#trouble:has-text('no tuned lens')").wait_for()
        page.locator("#lenses [value=logit]").check()
        other.locator("#trouble").wait_for(state="hidden")


def test_numbers_of_a_page_without_it_are_as_before(study):
    # The same files, with and without: what is left out is the tuned lens alone.
    without = study.files.write(study.page.parent / "left_out.html", tuned=[])
    assert without.stat().st_size < study.page.stat().st_size < 1.5 * without.stat().st_size
    again = study.files.write(study.page.parent / "again.html", tuned=())
    assert again.read_bytes() == without.read_bytes()

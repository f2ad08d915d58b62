"""The report: it opens with one image and what was run; tables can be read; texts of the config are shown as typed."""

import csv
import re

import pytest
from browser import needs_browser, opened
from studies import MARKUP

pytestmark = [pytest.mark.workflow, needs_browser]


@pytest.fixture(scope="module")
def folder(study):
    study.run("--report", "report.html")
    return study.folder


@pytest.fixture
def report(folder):
    heard = []
    with opened(folder / "report.html", heard, viewport={"width": 1400, "height": 900}) as page:
        page.wait_for_selector("text=What was run")
        yield page
    assert heard == []


def test_it_opens_with_one_image_and_what_was_run(folder, report):
    with (folder / "results/tables/overview.csv").open() as file:
        row = {row["model"]: row for row in csv.DictReader(file)}["vit"]
    assert f"\\clOverviewVitAccuracy}}{{{row['accuracy']}}}" in (folder / "results/numbers.tex").read_text()
    cells = report.locator(".h-screen .table td").all_inner_texts()
    assert {MARKUP, "vit", "digits", row["images"], f"{float(row['accuracy']):.4g}"} <= set(cells)
    sizes = report.locator("figure img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(sizes) == 4
    assert min(sizes) > 0
    # One image comes before the table of models.
    names = report.locator("figure img").evaluate_all("images => images.map(image => image.alt)")
    assert names[:2] == ["one_image_vit", "identifiability_comparison"]
    places = [report.locator(place).first.bounding_box()["y"] for place in ("figure", ".h-screen .table")]
    assert places == sorted(places)
    captions = report.locator("figcaption").all_inner_texts()
    assert "One image through the lens" in captions[0]
    for caption in captions[1:]:
        assert f"{row['images']} evaluation images of digits" in caption
        assert "; 99 resamples" in caption
    assert report.locator("a", has_text=re.compile("^vit$")).first.get_attribute("href") == "results/lens/vit.html"
    titles = [title for title in report.locator("nav, ul").first.inner_text().splitlines() if title[:1].isdigit()]
    assert titles[:2] == ["01 At a glance", "02 Identifiability"]


def test_a_figure_of_the_opening_opens_with_its_caption_and_fills_the_page(report):
    report.locator("figure img").first.click()
    report.wait_for_selector("text=Description")
    report.evaluate("app.showCategory('02 Identifiability')")
    report.wait_for_timeout(200)
    assert report.locator(".p-3 > img").bounding_box()["width"] > 900


def test_a_table_can_be_read_and_no_key_is_in_the_way(report):
    report.evaluate("app.showResultInfo('results/tables/identifiability_rates.csv')")
    report.wait_for_selector("th >> text=identifiable tokens percent")
    shown = report.locator("#app").inner_text()
    assert "Measured on" in shown
    assert not re.search(r"[0-9a-f]{64}", shown)


def test_a_label_is_no_markup_in_the_report(folder):
    heard = []
    with opened(folder / "report.html", heard) as page:
        page.wait_for_selector("text=Class building")
        page.click("text=Class building")
        page.wait_for_timeout(200)
        assert page.locator("img[src=x]").count() == 0
    assert heard == []
    assert MARKUP not in (folder / "report.html").read_text()


def test_a_label_is_text_in_a_figure(folder):
    heard = []
    with opened(folder / "results/figures/logit_increment.svg", heard) as page:
        shown = page.locator("svg").text_content()
        assert "".join(MARKUP.split()) in "".join(shown.split())  # titles are wrapped
        assert page.locator("img").count() == 0
    assert heard == []

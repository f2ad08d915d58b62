"""The report: texts from the config are shown as typed, never as markup."""

import pytest
from browser import needs_browser, opened
from conftest import TINY_MODEL, Workflow, tiny_config

pytestmark = [pytest.mark.workflow, needs_browser]

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & $x$ \"'"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = tiny_config(vit={**TINY_MODEL, "label": MARKUP})
    workflow = Workflow(tmp_path_factory.mktemp("report"), config)
    workflow.run("all")
    workflow.run("--report", "report.html")
    return workflow.folder


def test_a_label_is_no_markup_in_the_report(study):
    heard = []
    with opened(study / "report.html", heard) as page:
        page.wait_for_selector("text=Class building")
        page.click("text=Class building")
        page.wait_for_timeout(200)
        assert page.locator("img[src=x]").count() == 0
    assert heard == []
    assert MARKUP not in (study / "report.html").read_text()


def test_a_label_is_text_in_a_figure(study):
    heard = []
    with opened(study / "results/figures/logit_increment.svg", heard) as page:
        shown = page.locator("svg").text_content()
        assert "".join(MARKUP.split()) in "".join(shown.split())  # titles are wrapped
        assert page.locator("img").count() == 0
    assert heard == []

"""The documentation builds without a warning, and asks for nothing from the net."""

import re
import sys

import pytest
from browser import needs_browser, opened
from conftest import CHECKOUT, printed_by

pytestmark = pytest.mark.release

LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    printed_by(command, cwd=CHECKOUT)
    return folder


def test_the_tutorial_is_a_page_with_its_pictures(site):
    page = (site / "tutorial.html").read_text()
    pictures = re.findall(r'src="(tutorial_files/[^"]+)"', page)
    assert len(pictures) == 6
    assert all((site / picture).stat().st_size for picture in pictures)
    assert "images, accuracy" in page


def test_the_schema_of_configs_is_part_of_the_site(site):
    assert (site / "config.schema.json").read_bytes() == (CHECKOUT / "config/schema.json").read_bytes()


def test_the_reference_names_what_is_public(site):
    page = (site / "api.html").read_text()
    for name in ("lens.lens.Lens.ablate", "lens.view.View.plot", "results.Results.rank", "errors.InputError"):
        assert f'id="classlens.{name}"' in page


@needs_browser
@pytest.mark.parametrize("name", ["index", "tutorial", "method", "api", "architecture"])
def test_a_page_opens_from_disk_and_asks_for_nothing_from_the_net(site, name):
    heard = []
    with opened(site / f"{name}.html", heard) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        assert page.evaluate(broken) == []
    assert not [note for note in heard if "http" in note]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_pages_outside_of_the_site_lead_somewhere(name):
    links = LINK.findall((CHECKOUT / name).read_text())
    assert links
    assert not [link for link in links if not (CHECKOUT / link).exists()]

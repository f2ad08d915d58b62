"""The picture of the packages shows those that there are, and none import each other in a circle."""

import sys

from conftest import CHECKOUT, printed_by

SCRIPTS = CHECKOUT / "docs/scripts"


def test_the_picture_in_the_docs_is_that_of_the_code(tmp_path):
    printed_by([sys.executable, SCRIPTS / "packages.py", tmp_path / "packages.svg"])
    drawn, kept = ((place / "packages.svg").read_text() for place in (tmp_path, CHECKOUT / "docs/images"))
    assert "<title>passes → lens</title>" in drawn
    assert drawn == kept, "run `make docs`"


def drawn_of(folder, ok=True, **modules):
    """Draw a project of these modules; return what is printed."""
    for name, text in modules.items():
        file = folder / "classlens" / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    scripts = folder / "docs/scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    for name in ("packages.py", "rulegraph.py"):
        (scripts / name).write_text((SCRIPTS / name).read_text())
    return printed_by([sys.executable, scripts / "packages.py", folder / "packages.svg"], ok=ok)


def test_a_circle_is_refused_also_inside_functions_and_through_a_module(tmp_path):
    data, models = "from classlens import shared\n", "from classlens.data.read import x\n"
    drawn_of(tmp_path, shared="", data__read=data, models__build=models)
    assert "data → models" in (tmp_path / "packages.svg").read_text()
    printed = drawn_of(tmp_path, ok=False, shared="def load():\n    from classlens.models.build import build\n")
    assert "imported in a circle" in printed
    for name in ("shared", "data", "models"):
        assert name in printed

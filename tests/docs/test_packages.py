"""The picture of the packages shows those that there are, and none import each other in a circle."""

import subprocess
import sys

from conftest import CHECKOUT

SCRIPTS = CHECKOUT / "docs/scripts"


def test_the_picture_in_the_docs_is_that_of_the_code(tmp_path):
    subprocess.run([sys.executable, SCRIPTS / "packages.py", tmp_path / "packages.svg"], check=True)
    drawn, kept = ((place / "packages.svg").read_text() for place in (tmp_path, CHECKOUT / "docs/images"))
    assert "<title>passes → lens</title>" in drawn
    assert drawn == kept, "run `make docs`"


def drawn_of(folder, **modules):
    """Draw a project of these modules; return the process."""
    for name, text in modules.items():
        file = folder / "classlens" / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    scripts = folder / "docs/scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    for name in ("packages.py", "rulegraph.py"):
        (scripts / name).write_text((SCRIPTS / name).read_text())
    program = [sys.executable, scripts / "packages.py", folder / "packages.svg"]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_a_circle_is_refused_also_inside_functions_and_through_a_module(tmp_path):
    data, models = "from classlens import shared\n", "from classlens.data.read import x\n"
    assert drawn_of(tmp_path, shared="", data__read=data, models__build=models).returncode == 0
    assert "data → models" in (tmp_path / "packages.svg").read_text()
    ran = drawn_of(tmp_path, shared="def load():\n    from classlens.models.build import build\n")
    assert ran.returncode == 1
    for name in ("shared", "data", "models"):
        assert name in ran.stderr

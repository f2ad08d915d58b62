"""The tutorial runs as it stands, is kept with its outputs, and its site page has them."""

import re

import nbformat
import pytest
from conftest import CHECKOUT
from nbclient import NotebookClient

pytestmark = pytest.mark.release

TUTORIAL = CHECKOUT / "docs/tutorial.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.read(TUTORIAL, nbformat.NO_CONVERT)
    # Away from the checkout, so that nothing of it is taken or written by accident.
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("tutorial"))}}
    return NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()


def test_every_cell_runs_and_gives_what_the_text_is_about(executed):
    text = "".join(str(cell.outputs) for cell in code_cells(executed))
    accuracy = float(text.partition("images, accuracy ")[2][:5])
    assert accuracy > 0.8
    before, after = map(float, text.partition("before and after: ")[2][:11].split())
    assert after > before + 0.2
    assert "my.yaml is fine" in text
    assert "0 of 24 heads are named" in text
    changes = re.search(r"four changes by (\S+), the others by (\S+) on average", text)
    assert changes is not None
    assert [*map(float, changes.groups())] == pytest.approx([-0.41, -0.23], abs=0.02)
    assert text.count("image/png") == 6


def test_its_outputs_are_kept(executed):
    kept = nbformat.read(TUTORIAL, nbformat.NO_CONVERT)
    assert TUTORIAL.stat().st_size < 1_000_000
    for stored, fresh in zip(code_cells(kept), code_cells(executed), strict=True):
        assert [output.output_type for output in stored.outputs] == [output.output_type for output in fresh.outputs]
    assert not [output for cell in code_cells(kept) for output in cell.outputs if output.output_type == "error"]

"""The picture of the rules shows those that the default run has."""

import re
import sys

import pytest
from conftest import CHECKOUT, printed_by


@pytest.mark.workflow
def test_the_graph_in_the_docs_is_that_of_the_default_config(tmp_path):
    printed_by([sys.executable, CHECKOUT / "docs/scripts/rulegraph.py", tmp_path / "rulegraph.svg"])
    drawn, kept = ((place / "rulegraph.svg").read_text() for place in (tmp_path, CHECKOUT / "docs/images"))
    arrows = [set(re.findall(r"<title>(.+)</title>", picture)) for picture in (drawn, kept)]
    assert arrows[0] == arrows[1], "run `make docs`"
    assert {"stimuli → pixels", "overview → numbers", "comparison_table → tuned_lens_figure"} <= arrows[0]
    assert drawn == kept, "run `make docs`"

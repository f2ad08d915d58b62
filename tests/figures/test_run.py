"""The job of figures, which alone reads and saves, so that a notebook calls `draw` with tables."""

import re

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import CHECKOUT
from figure_cases import increment_table, written

from classlens.catalog.analyses import ANALYSES, FIGURES
from classlens.figures.layout import new_figure
from classlens.figures.run import draw_figure
from classlens.figures.style import FONT_SIZE
from classlens.store.code import reached


def test_draw_gets_data_and_settings(tmp_path):
    table = written(pd.DataFrame({"model": ["1e5"], "class_name": ["007"], "value": [1.5]}), tmp_path / "table.csv")
    with h5py.File(tmp_path / "photos.h5", "w") as file:
        file["pixels"] = np.arange(4)
    seen = {}

    def draw(table, photos, title):
        seen.update(row=table.to_dict("records"), pixels=photos["pixels"][2], file=photos)
        seen["size"] = matplotlib.rcParams["font.size"]
        figure = new_figure(2, 1)
        figure.suptitle(title)
        return figure

    svg, png = str(tmp_path / "figure.svg"), str(tmp_path / "figure.png")
    with matplotlib.rc_context({"font.size": 20}):
        draw_figure(svg, png, draw, {"title": "of a.csv"}, table=table, photos=str(tmp_path / "photos.h5"))
    assert seen["row"] == [{"model": "1e5", "class_name": "007", "value": 1.5}]
    assert (seen["pixels"], seen["size"]) == (2, FONT_SIZE)
    assert not seen["file"]  # closed
    assert "of a.csv" in (tmp_path / "figure.svg").read_text()
    assert (tmp_path / "figure.png").stat().st_size > 0


@pytest.mark.parametrize("name", FIGURES)
def test_figures_read_no_files(name):
    module = ANALYSES[name].figure.draw.partition(":")[0]
    assert module == f"classlens.figures.{name}"
    assert not {"classlens.csvfile", "classlens.h5", "classlens.hdf5"} & {*reached([module], CHECKOUT)[0]}


def test_the_page_redraws_a_figure_from_its_table(tmp_path, monkeypatch):
    page = (CHECKOUT / "docs/faq.md").read_text()
    [code] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if ".draw(" in block]
    (tmp_path / "results/tables").mkdir(parents=True)
    written(increment_table({"vit_cls": 6}), tmp_path / "results/tables/logit_increment.csv")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["figure"].axes[0].get_ylim() == (40, 100)
    assert (tmp_path / "logit_increment.pdf").read_bytes().startswith(b"%PDF")

"""Names of files, classes, data sets, models and labels that shells, paths, formats or tables could take amiss."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import CHECKOUT, TINY_MODEL, tiny_config
from declared_jobs import described as job_params
from figures.figure_cases import increment_table, written
from PIL import Image

from classlens.catalog.configs import load_config
from classlens.catalog.run import computing
from classlens.data.stimulus import read_stimuli
from classlens.errors import InputError
from classlens.figures import logit_increment
from classlens.figures.run import draw_figure
from classlens.store.job import job_of, run_job
from classlens.store.store import Store

FILES = [
    "with  spaces",
    "quo'te\"s and `backticks`",
    "Grüße 日本 \U0001f600",
    "new\nline",
    "-rf",
    "{braces} {0} {{",
    "<b>&amp;",
    "$(touch evidence)",
    "; touch evidence #",
    "a..b",
    "a...",
    "back\\slash",
    "comma, semicolon; tab\t",
    "#hash",
    "%s %(x)d",
    "*?[a]",
    "x" * 240,
]
"""Names that a file system takes."""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working directory beside a folder with a class of each name, images of two of the names in each."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    for place, name in enumerate(FILES):
        for folder in ("photos", "masks"):
            (tmp_path / folder / f"c{name}").mkdir(parents=True)
        for image in (name, FILES[place - 1]):
            Image.new("RGB", (4, 4), (place, 0, 9)).save(tmp_path / "photos" / f"c{name}" / f"{image}.png")
            Image.new("L", (4, 4), 1).save(tmp_path / "masks" / f"c{name}" / f"{image}.png")
    return tmp_path


def run(config, store, name, raw, **outputs):
    """Run a job as the workflow does."""
    wildcards = {"dataset": "photos", "geometry": "squash-4-bilinear", "split": "evaluation"}
    described = job_params(name, config, wildcards, CHECKOUT)
    described["local"] |= {"threads": 1}
    run_job(job_of(described, raw, outputs, CHECKOUT), computing(described["functions"]), store)


def test_files_and_classes_of_any_name_are_read(photos):
    text = tiny_config(m={**TINY_MODEL, "dataset": "photos"})
    places = {"kind": "image_folder", "root": "../photos", "masks": "../masks"}
    text["datasets"] = {"photos": {**places, "per_class": 2, "train_per_class": 0}}
    config, store = load_config(text), Store(Path(".classlens").absolute())

    def around():
        return {path for path in photos.rglob("*") if not path.is_relative_to(Path.cwd())}

    before = around()
    folder = "results/datasets/photos"
    table, masks = f"{folder}/stimuli.csv", f"{folder}/masks.csv"
    run(config, store, "stimuli", {"raw": config.raw_images("photos")}, table=table)
    run(config, store, "mask_list", {"stimuli": table, "raw": config.raw_masks("photos")}, table=masks)
    run(config, store, "pixels", {"stimuli": table}, pixels=f"{folder}/evaluation.h5")
    run(config, store, "masks", {"stimuli": table, "digests": masks}, masks=f"{folder}/masks.h5")
    listed = read_stimuli(table, "evaluation")
    assert {item.class_id for item in listed} == {f"c{name}" for name in FILES}
    expected = {f"c{name}/{image}.png" for place, name in enumerate(FILES) for image in (name, FILES[place - 1])}
    assert {item.file for item in listed} == expected
    assert {path.name for path in Path.cwd().iterdir()} <= {"results", ".classlens", ".snakemake"}
    assert around() == before


def test_a_name_that_would_break_a_table_is_refused(photos):
    (photos / "photos/c#hash/return\r.png").touch()
    config = {**tiny_config(), "datasets": {"digits": {"kind": "image_folder", "root": "../photos"}}}
    with pytest.raises(InputError, match=r"return\\r\.png' holds a carriage return; rename"):
        load_config(config).stimuli("digits")


NAMES = [
    *("with space", "quo'te", 'quo"te', "Grüße", "new\nline", "line\n", "-rf", "{model}", "$(touch evidence)", "a/b"),
    *("..", ".", "../up", "", "x" * 300, "nul\0", "a;b", "~", "*", "results/../.."),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("section", ["models", "datasets"])
def test_names_that_become_paths_are_refused(section, name):
    config = tiny_config()
    config[section][name] = next(iter(config[section].values()))
    with pytest.raises(InputError, match="cannot be used; take at most 100 letters"):
        load_config(config)


LABELS = [name for name in FILES if len(name) <= 200 and "\t" not in name]
LABELS += ["..", "$\\alpha$ and $", "\\frac{", "y" * 200]


def test_labels_of_any_text_are_taken_and_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in LABELS:
        assert load_config(tiny_config(m={**TINY_MODEL, "label": label})).models["m"]["label"] == label
    drawn = dict.fromkeys(["new\nline", "$(touch evidence)", "{braces} {0} {{", "y" * 200])
    table = written(increment_table(dict.fromkeys(drawn, 3)), tmp_path / "table.csv")
    models = {"models": [[label, label] for label in drawn]}
    draw_figure("a.svg", "a.png", logit_increment.draw, models, table=table)
    assert np.asarray(Image.open("a.png")).std() > 0
    assert sorted(os.listdir()) == ["a.png", "a.svg", "table.csv"]


@pytest.mark.parametrize("label", ["bell\a", "escape \x1b[2J", "nul\0", "tab\t", "return\r", "y" * 201])
def test_labels_that_cannot_be_shown_are_refused(label):
    with pytest.raises(InputError, match=r"models\.m\.label"):
        load_config(tiny_config(m={**TINY_MODEL, "label": label}))

"""The invalidation table, edits of code, config and inputs: the store's records tell which jobs computed."""

import os
import re
import shutil
from copy import deepcopy

import pytest
from edits import FIGURES, add, edit, jobs
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.workflow


def test_everything_was_computed_once(pristine):
    computed = list(pristine.computations().values())
    assert {job.split()[0] for job in computed} >= FIGURES | {"stimuli", "pixels", "weights", "extract", "gather"}
    assert len(computed) == len(set(computed))


def test_nothing_changed(workflow):
    """Run again; with new time stamps; with other comments, docstrings and formatting."""
    workflow.run("all")
    assert "Nothing to be done" in workflow.run("all")
    for folder in (workflow.checkout, workflow.folder, workflow.store):
        for path in folder.rglob("*"):
            if path.is_file() and ".snakemake" not in path.parts:
                os.utime(path)
    assert workflow.computes() == []
    for path in [*workflow.checkout.glob("classlens/**/*.py"), *workflow.checkout.glob("workflow/scripts/*.py")]:
        text = path.read_text()
        text = re.sub(r'^"""', '"""Changed. ', text, count=1)
        path.write_text(f"# a comment\n{text}\n\n# another one\n".replace("\n\n\n", "\n\n\n\n"))
    assert workflow.computes() == []


def test_edits_that_change_no_number(workflow):
    """A measure, a figure, a list of images and weights saved anew: each computes, and nothing that reads it."""
    for module in ("measures/logit_increment", "figures/class_building", "data/listing"):
        add(workflow.checkout / f"classlens/{module}.py")
    path = workflow.folder / "weights.safetensors"
    save_file(load_file(path), path, metadata={"saved": "again"})
    computed = workflow.computes()
    assert jobs(computed) == {"logit_increment", "class_building_figure", "stimuli", "mask_list", "weights"}
    assert {"stimuli images", "mask_list images", "weights second"} <= set(computed)
    assert "weights first" not in computed


def test_edits_that_change_numbers(workflow):
    """Of an analysis that is drawn, and of one job of a batch."""
    edit(workflow.checkout / "classlens/measures/logit_increment.py", "100 * rates", "99 * rates")
    edit(
        workflow.checkout / "classlens/measures/identifiability_rates.py",
        '"images": len(tokens)',
        '"images": 1 + len(tokens)',
    )
    computed = workflow.computes()
    assert jobs(computed) == {
        "logit_increment", "identifiability_rates", "comparison_table", "logit_increment_figure", "numbers"
    }  # fmt: skip


def test_edits_of_what_many_import_and_back(workflow):
    paths = [workflow.checkout / f"classlens/{module}.py" for module in ("statistics/resampling", "passes/extraction")]
    before = [path.read_text() for path in paths]
    for path in paths:
        add(path)
    computed = jobs(workflow.computes())
    assert {"logit_increment", "class_building", "identifiability_rates", "extract"} <= computed
    # Equal shards come out of the edited extraction.
    assert not computed & {"stimuli", "weights", "gather", "identifiability", *FIGURES}
    for path, text in zip(paths, before, strict=True):
        path.write_text(text)
    assert workflow.computes() == []


def test_accept_an_edit(workflow):
    """What comes before 10,000 GPU hours may be tidied without paying them again."""
    workflow.run("all")
    add(workflow.checkout / "classlens/inference/projection.py")
    layer = "results/first/layers/block_01.h5"
    assert "extract" in workflow.classlens("explain", layer)
    assert "accepted: results/first/shards/0.h5 (extract)" in workflow.classlens("accept", layer)
    assert "would not be computed" in workflow.classlens("explain", layer)
    computed = workflow.computes()
    assert "extract second 0" in computed
    assert not [job for job in computed if job.startswith("extract first")]


def test_change_a_label(workflow):
    workflow.config["models"]["second"]["label"] = "Number two"
    computed = jobs(workflow.computes())
    assert computed
    assert computed <= FIGURES | {"overview", "numbers"}  # which are all that show it
    workflow.config["models"]["second"]["label"] = "Second"
    assert workflow.computes() == []


def test_edit_the_lens_page(workflow):
    workflow.config["lens_page"] = {"images": 4}
    page = "results/lens/first.html"
    assert workflow.computes(page) == ["lens_page first"]
    for source in ("page.html", "page.css", "8_main.js"):
        path = workflow.checkout / "workflow/page" / source
        text = path.read_text()
        path.write_text(f"{text}\n")
        assert workflow.computes(page) == ["lens_page first"]
        path.write_text(text)
    assert workflow.computes(page) == []


def test_change_one_models_transform(workflow):
    workflow.config["models"]["second"]["transform"]["mean"] = [0.4, 0.5, 0.6]
    computed = workflow.computes()
    assert not [job for job in computed if re.search(r"\bfirst\b", job)]
    assert "extract second 0" in computed
    assert jobs(computed) & {"stimuli", "pixels", "masks", "weights", "token_labels"} == set()
    workflow.config["models"]["second"]["transform"].pop("mean")
    assert workflow.computes() == []


def test_replace_one_image(workflow):
    folder = workflow.folder / "images/ImageNetS919/validation/n02002724"
    first, second = sorted(folder.iterdir())[:2]
    kept = first.read_bytes()
    shutil.copy(second, first)
    computed = jobs(workflow.computes())
    assert {"stimuli", "pixels", "extract"} <= computed
    assert "weights" not in computed
    first.write_bytes(kept)
    assert workflow.computes() == []


def test_another_model_and_other_options_and_back(workflow):
    models = workflow.config["models"]
    models["third"] = deepcopy(models["first"])
    models["third"]["options"]["embed_dim"] = 32
    models["first"]["options"]["num_heads"] = 4
    computed = workflow.computes()
    assert {f"{job} {name}" for job in ("weights", "gather") for name in ("first", "third")} <= set(computed)
    assert {"extract first 0", "extract third 0"} <= set(computed)
    assert not [job for job in computed if re.search(r"\bsecond\b", job)]
    del models["third"]
    models["first"]["options"]["num_heads"] = 2
    assert workflow.computes() == []

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


def test_run_again(workflow):
    workflow.run("all")
    assert "Nothing to be done" in workflow.run("all")
    assert workflow.computes() == []


def test_touch_everything(workflow):
    for folder in (workflow.checkout, workflow.folder, workflow.store):
        for path in folder.rglob("*"):
            if path.is_file() and ".snakemake" not in path.parts:
                os.utime(path)
    assert workflow.computes() == []


def test_comments_docstrings_and_formatting(workflow):
    for path in [*workflow.checkout.glob("classlens/**/*.py"), *workflow.checkout.glob("workflow/scripts/*.py")]:
        text = path.read_text()
        text = re.sub(r'^"""', '"""Changed. ', text, count=1)
        path.write_text(f"# a comment\n{text}\n\n# another one\n".replace("\n\n\n", "\n\n\n\n"))
    assert workflow.computes() == []


def test_edit_the_module_of_one_analysis(workflow):
    add(workflow.checkout / "classlens/measures/logit_increment.py")
    # The numbers are the same, so what is drawn from them stays.
    assert jobs(workflow.computes()) == {"logit_increment"}


def test_edit_a_module_that_many_import(workflow):
    add(workflow.checkout / "classlens/statistics/resampling.py")
    computed = jobs(workflow.computes())
    assert {"logit_increment", "class_building", "identifiability_rates"} <= computed
    assert not computed & {"stimuli", "weights", "extract", "gather", "identifiability", *FIGURES}


def test_edit_of_an_analysis_that_changes_its_numbers(workflow):
    edit(workflow.checkout / "classlens/measures/logit_increment.py", "100 * rates", "99 * rates")
    assert jobs(workflow.computes()) == {"logit_increment", "comparison_table", "logit_increment_figure"}


def test_edit_of_one_job_of_a_batch(workflow):
    edit(
        workflow.checkout / "classlens/measures/identifiability_rates.py",
        '"images": len(tokens)',
        '"images": 1 + len(tokens)',
    )
    assert jobs(workflow.computes()) == {"identifiability_rates", "comparison_table"}


def test_edit_the_code_of_one_figure(workflow):
    add(workflow.checkout / "classlens/figures/logit_increment.py")
    assert jobs(workflow.computes()) == {"logit_increment_figure"}


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
    assert computed <= FIGURES
    workflow.config["models"]["second"]["label"] = "Second"
    assert workflow.computes() == []


def test_change_one_models_transform(workflow):
    workflow.config["models"]["second"]["transform"]["mean"] = [0.4, 0.5, 0.6]
    computed = workflow.computes()
    assert not [job for job in computed if re.search(r"\bfirst\b", job)]
    assert "extract second 0" in computed
    assert jobs(computed) & {"stimuli", "pixels", "masks", "weights", "token_labels"} == set()
    workflow.config["models"]["second"]["transform"].pop("mean")
    assert workflow.computes() == []


def test_change_one_models_options(workflow):
    workflow.config["models"]["first"]["options"]["num_heads"] = 4
    computed = workflow.computes()
    assert not [job for job in computed if re.search(r"\bsecond\b", job)]
    assert {"weights first", "extract first 0", "gather first"} <= set(computed)


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


def test_save_equal_weights_again(workflow):
    path = workflow.folder / "weights.safetensors"
    save_file(load_file(path), path, metadata={"saved": "again"})
    assert workflow.computes() == ["weights second"]


def test_upstream_gives_the_same_bytes(workflow):
    add(workflow.checkout / "classlens/data/listing.py")
    assert workflow.computes() == ["mask_list images", "stimuli images"]


def test_add_a_model_and_take_it_back(workflow):
    workflow.config["models"]["third"] = deepcopy(workflow.config["models"]["first"]) | {"seed": 0}
    del workflow.config["models"]["third"]["seed"]
    workflow.config["models"]["third"]["options"]["embed_dim"] = 32
    computed = workflow.computes()
    assert {"weights third", "extract third 0", "gather third"} <= set(computed)
    assert not [job for job in computed if re.search(r"\b(first|second)\b", job)]
    del workflow.config["models"]["third"]
    assert workflow.computes() == []


def test_revert_code(workflow):
    path = workflow.checkout / "classlens/extraction/extract.py"
    before = path.read_text()
    add(path)
    assert jobs(workflow.computes()) == {"extract"}
    path.write_text(before)
    assert workflow.computes() == []

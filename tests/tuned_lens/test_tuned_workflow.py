"""The tuned lens in the real workflow: what it makes, what an edit makes again, and what is left out by name."""

from copy import deepcopy

import pytest
from conftest import TINY_MODEL, Workflow, tiny_config

from classlens import Results

pytestmark = pytest.mark.workflow

AVERAGE = {"global_pool": "avg", "class_token": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model = {**TINY_MODEL, "analyses": ["tuned_lens"]}
    average = {**deepcopy(model), "options": {**model["options"], **AVERAGE}, "label": "Average"}
    config = tiny_config(cls={**model, "random_twin": True}, gap=average)
    config["tuned_lens"] = {"steps": 5, "images_per_step": 4}
    config["lens_page"] = {"images": 3}
    workflow = Workflow(tmp_path_factory.mktemp("tuned") / "work", config)
    workflow.run("all")
    return workflow


def test_what_all_makes(run):
    results = Results(run.result(""))
    for model in ("cls", "cls-random", "gap"):
        assert results.tuned_lens(model, "weight").shape == (2, 16, 16)
        assert results.tuned_lens(model, "kl").shape == results.rank(model).shape
        assert (results.tuned_lens(model, "rank", -1) == results.rank(model, block=-1)).all()
    table = results.table("tuned_lens")
    assert list(dict.fromkeys(table["model"])) == ["cls", "cls-random", "gap"]
    assert set(table[table["model"] == "gap"]["group"]) == {"image"}
    assert results.figure("tuned_lens", "png").stat().st_size > 10_000
    for model in ("cls", "gap"):
        assert '"tuned_rank"' in run.result(f"lens/{model}.html").read_text()
    assert run.computes() == []


def test_an_edit_of_the_recipe_fits_again(run):
    run.config["tuned_lens"]["penalty"] = 0.5
    assert {job.split()[0] for job in run.computes()} == {
        "fit_tuned_lens", "look_through_tuned_lens", "gather_tuned_lens",
        "tuned_lens", "comparison_table", "tuned_lens_figure", "lens_page",
    }  # fmt: skip


def test_without_training_images_it_is_left_out_by_name(run, tmp_path):
    config = deepcopy(run.config)
    config["datasets"]["digits"]["train_per_class"] = 0
    for entry in config["models"].values():
        entry["analyses"] = ["identifiability", "tuned_lens"]
    other = Workflow(tmp_path / "work", config, store=run.folder / ".classlens")
    printed = other.run("--dry-run", "all")
    assert "identifiability_evolution_figure" in printed
    assert "models.cls: tuned_lens left out: it needs training images of cls" in printed
    assert "fit_tuned_lens" not in printed
    said = other.run("results/cls/tuned_lens/block_00.h5", ok=False)
    assert "fit_tuned_lens needs training images of cls" in said
    assert "train_per_class is 0: raise it" in said

"""The invalidation table: which jobs' keys an edit of code, config or inputs changes, and which jobs then compute."""

from __future__ import annotations

import json
import re
import shutil
from copy import deepcopy
from functools import cache
from importlib import metadata

import pytest
from conftest import Workflow, copy_checkout, jobs_of
from safetensors.torch import load_file, save_file

from classlens.catalog.configs import load_config
from classlens.catalog.plan import key_now
from classlens.config.architecture import with_architectures
from classlens.store import key
from classlens.store.explain import explain

pytestmark = pytest.mark.workflow

FIGURES = {
    "identifiability_evolution_figure", "identifiability_comparison_figure", "logit_increment_figure",
    "class_building_figure", "class_vs_context_figure",
}  # fmt: skip
SAME = "\n\nSAME = 0\n"
"""A definition that changes no number."""


def edit(file, old, new):
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))


def add(file):
    file.write_text(file.read_text() + SAME)


class Planned:
    """The pristine run's jobs, asked which of their keys are others now, without running anything."""

    def __init__(self, pristine, folder, monkeypatch):
        self.checkout = copy_checkout(folder / "checkout")
        self.config = deepcopy(pristine.config)
        shutil.copytree(pristine.folder, folder / "work", symlinks=True)
        self.folder = folder / "work"
        monkeypatch.chdir(self.folder)
        self._store = pristine.opened_store()

    def changed(self):
        """Return the jobs that have another key, be it by an input's content, and jobs that may have one then."""
        config = with_architectures(load_config(self.config))

        @cache
        def key_of(declared, **wildcards):
            return key_now(json.loads(declared), config, wildcards, self.checkout)

        def now(record):
            return key_of(json.dumps(record.provenance["declared"]), **record.wildcards)

        placed = {one.key: path for path, one in self._store.placed().all().items()}
        direct, follow = set(), set()
        for path in placed.values():
            verdict = explain(path, self._store, now)
            job = " ".join([verdict.record.job, *verdict.record.wildcards.values()])
            reasons = [reason for reason in verdict.reasons if not reason.endswith("would be made again first")]
            if reasons:
                direct.add(job)
            elif verdict.reasons:
                follow.add(job)
        return direct, follow


@pytest.fixture
def planned(pristine, tmp_path, monkeypatch):
    return Planned(pristine, tmp_path, monkeypatch)


def test_other_comments_docstrings_and_formatting_change_no_key(planned):
    for path in [*planned.checkout.glob("classlens/**/*.py"), *planned.checkout.glob("workflow/scripts/*.py")]:
        text = re.sub(r'^"""', '"""Changed. ', path.read_text(), count=1)
        path.write_text(f"# a comment\n{text}\n\n# another one\n".replace("\n\n\n", "\n\n\n\n"))
    assert planned.changed() == (set(), set())


@pytest.mark.parametrize(
    ("module", "changed", "kept"),
    [
        ("measures/logit_increment", {"logit_increment"}, None),
        ("figures/class_building", {"class_building_figure"}, None),
        ("data/listing", {"stimuli", "mask_list"}, None),
        ("passes/extraction", {"extract"}, None),
        ("measures/identifiability_rates", {"identifiability_rates"}, None),
        ("statistics/resampling", {"logit_increment", "class_building", "identifiability_rates"},
         {"stimuli", "weights", "extract", "gather", *FIGURES}),
        ("inference/projection", {"extract"}, {"stimuli", "pixels", "weights", "gather", *FIGURES}),
    ],
)  # fmt: skip
def test_an_edit_of_code_concerns_jobs_that_run_it(planned, module, changed, kept):
    add(planned.checkout / f"classlens/{module}.py")
    direct = jobs_of(planned.changed()[0])
    assert direct >= changed
    assert not direct & kept if kept else direct == changed


def test_a_label_concerns_what_shows_it(planned):
    planned.config["models"]["second"]["label"] = "Number two"
    direct, _ = planned.changed()
    assert direct
    assert jobs_of(direct) <= FIGURES | {"overview", "numbers"}


def test_a_transform_concerns_its_model(planned):
    planned.config["models"]["second"]["transform"]["mean"] = [0.4, 0.5, 0.6]
    direct, follow = planned.changed()
    assert not [job for job in direct | follow if re.search(r"\bfirst\b", job)]
    assert {"extract second 0", "extract second-random 0"} <= direct
    assert not jobs_of(direct | follow) & {"stimuli", "pixels", "masks", "weights", "token_labels"}


def test_an_option_concerns_its_model(planned):
    planned.config["models"]["first"]["options"] = planned.config["models"]["first"]["options"] | {"num_heads": 4}
    direct, follow = planned.changed()
    assert "weights first" in direct
    assert {"extract first 0", "gather first"} <= direct | follow
    assert not [job for job in direct | follow if re.search(r"\bsecond\b", job)]


def test_an_image_concerns_what_is_made_of_it(planned):
    first, second = sorted((planned.folder / "images/ImageNetS919/validation/n02002724").iterdir())[:2]
    shutil.copy(second, first)
    direct, follow = planned.changed()
    assert {"stimuli", "pixels"} <= jobs_of(direct | follow)
    assert "extract" in jobs_of(follow)
    assert "weights" not in jobs_of(direct | follow)


def test_weights_concern_their_model(planned):
    path = planned.folder / "weights.safetensors"
    save_file(load_file(path), path, metadata={"saved": "again"})
    direct, follow = planned.changed()
    assert direct == {"weights second"}
    assert "extract second 0" in follow
    assert not [job for job in follow if re.search(r"\bfirst\b", job)]


def test_versions_of_libraries_concern_what_imports_them(planned, monkeypatch):
    version = metadata.version
    key._version.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda name: "99.9" if name in ("timm", "torch") else version(name))
    direct, _ = planned.changed()
    key._version.cache_clear()
    assert jobs_of(direct) == {"weights", "extract"}


def test_everything_was_computed_once(pristine):
    computed = list(pristine.computations().values())
    assert {job.split()[0] for job in computed} >= FIGURES | {"stimuli", "pixels", "weights", "extract", "gather"}
    assert len(computed) == len(set(computed))


@pytest.mark.release
def test_edits_that_change_no_number(workflow):
    """Each computes, and nothing that reads it; new time stamps alone do nothing."""
    for folder in (workflow.checkout, workflow.folder, workflow.store):
        for path in folder.rglob("*"):
            if path.is_file() and ".snakemake" not in path.parts:
                path.touch()
    for module in ("measures/logit_increment", "figures/class_building", "data/listing", "passes/extraction"):
        add(workflow.checkout / f"classlens/{module}.py")
    path = workflow.folder / "weights.safetensors"
    save_file(load_file(path), path, metadata={"saved": "again"})
    computed = workflow.computes()
    assert jobs_of(computed) == {
        "logit_increment", "class_building_figure", "stimuli", "mask_list", "weights", "extract"
    }  # fmt: skip
    assert {"stimuli images", "mask_list images", "weights second"} <= set(computed)
    assert "weights first" not in computed
    assert "Nothing to be done" in workflow.run("all")


def test_edits_that_change_numbers_and_back(workflow):
    """Of an analysis that is drawn, and of one that is not."""
    measures = workflow.checkout / "classlens/measures"
    edits = [
        (measures / "logit_increment.py", "100 * rates", "99 * rates"),
        (measures / "identifiability_rates.py", '"images": len(tokens)', '"images": 1 + len(tokens)'),
    ]
    for one in edits:
        edit(*one)
    assert jobs_of(workflow.computes()) == {
        "logit_increment", "identifiability_rates", "comparison_table", "logit_increment_figure", "numbers"
    }  # fmt: skip
    for file, old, new in edits:
        edit(file, new, old)
    assert workflow.computes() == []


def test_another_image_model_and_options_and_back(workflow):
    """Also an older image in the place of another, for which Snakemake, which goes by times, starts no job."""
    first, second = sorted((workflow.folder / "images/ImageNetS919/validation/n02002724").iterdir())[:2]
    kept = workflow.folder / "kept"
    first.rename(kept)
    shutil.copy(second, first)
    assert "stimuli images" in workflow.computes("results/datasets/images/stimuli.csv")
    kept.replace(first)
    models = workflow.config["models"]
    models["third"] = {**models["first"], "options": models["first"]["options"] | {"embed_dim": 32}}
    models["first"]["options"] = models["first"]["options"] | {"num_heads": 4}
    computed = workflow.computes()
    assert {f"{job} {name}" for job in ("weights", "gather") for name in ("first", "third")} <= set(computed)
    assert {"extract first 0", "extract third 0"} <= set(computed)
    assert not [job for job in computed if re.search(r"\bsecond\b", job)]
    del models["third"]
    models["first"]["options"] = models["second"]["options"]
    assert workflow.computes() == []


@pytest.mark.release
def test_accept_an_edit(workflow):
    """What comes before 10,000 GPU hours may be tidied without paying them again."""
    add(workflow.checkout / "classlens/inference/projection.py")
    layer = "results/first/layers/block_01.h5"
    assert "extract" in workflow.classlens("explain", layer)
    assert "accepted: results/first/shards/0.h5 (extract)" in workflow.classlens("accept", layer)
    assert "would not be computed" in workflow.classlens("explain", layer)
    computed = workflow.computes()
    assert "extract second 0" in computed
    assert not [job for job in computed if job.startswith("extract first")]


@pytest.mark.release
def test_an_edit_of_the_lens_page_writes_it_again(workflow):
    workflow.config["lens_page"] = {"images": 4, "explanations": []}
    page = "results/lens/first.html"
    assert workflow.computes(page) == ["lens_page first"]
    source = workflow.checkout / "workflow/page/page.css"
    edit(source, source.read_text(), f"{source.read_text()}\n")
    assert workflow.computes(page) == ["lens_page first"]


def test_fresh_clone_and_second_user(workflow, tmp_path):
    """Two models that differ in their weights alone get their own results back, under the right names."""
    clone = copy_checkout(tmp_path / "clone")
    other = Workflow(tmp_path / "elsewhere", workflow.config, clone, workflow.store)
    other.folder.mkdir()
    shutil.copytree(workflow.folder / "images", other.folder / "images")
    shutil.copy(workflow.folder / "weights.safetensors", other.folder)
    assert other.computes() == []
    layers = [f"{name}/layers/block_01.h5" for name in ("first", "second")]
    first, second = (other.result(layer).read_bytes() for layer in layers)
    assert first != second
    assert [first, second] == [workflow.result(layer).read_bytes() for layer in layers]
    # In a new folder Snakemake has noted nothing; it sees changes all the same, and reports when results were made.
    assert "Nothing to be done" in other.run("all")
    assert "Missing metadata for file results/figures" not in other.run("--report", "report.html")
    other.config = deepcopy(other.config)
    other.config["statistics"]["resamples"] += 1
    assert "Nothing to be done" not in other.run("-n", "all")


def resources(printed, rule):
    """Return what the jobs of a rule asked for, as printed."""
    blocks = re.findall(rf"rule {rule}:\n((?: +.*\n)+)", printed)
    return [re.search(r"resources: (.*)", block)[1] for block in blocks]


def without_weights(workflow):
    """Let the store forget weights: what follows from them cannot be known before they are there."""
    shutil.rmtree(workflow.folder / "results", ignore_errors=True)
    store = workflow.opened_store()
    for record in store.own.records():
        if record.job == "weights":
            store.own.action(record.key).unlink()


def test_a_stored_result_is_no_job(workflow):
    shutil.rmtree(workflow.folder / "results")
    planned = workflow.run("-n", "all")
    assert "From the store: " in planned
    assert "Nothing to be done" in planned
    workflow.config["models"]["second"]["label"] = "Number two"
    planned = workflow.run("-n", "all")
    assert "Will compute: " in planned
    # Figures and tables alone, which nothing but numbers for LaTeX is made from.
    assert re.search(r"May compute, .*: numbers\n", planned)
    without_weights(workflow)
    planned = workflow.run("-n", "results/first/layers/block_01.h5")
    assert "Will compute: weights\n" in planned
    assert re.search(r"May compute, .*: extract, gather_2\n", planned)


@pytest.mark.release
def test_a_result_of_the_store_asks_for_no_gpu(workflow):
    without_weights(workflow)
    asked = resources(workflow.run("results/first/output.h5"), "extract")
    assert asked
    assert all("gpu=0" in one and "runtime=5" in one for one in asked)
    # A cluster may know GPUs as gres alone.
    add(workflow.checkout / "classlens/passes/extraction.py")
    for gres, gpu in (("", "gpu=1"), ("gpu:1", "gpu=0")):
        workflow.environment["CLASSLENS_GRES"] = gres
        asked = resources(workflow.run("-n", "results/first/output.h5"), "extract")
        assert asked
        assert all(gpu in one and "runtime=60" in one and ("gres=gpu:1" in one) == bool(gres) for one in asked)
    without_weights(workflow)
    edit(workflow.checkout / "classlens/passes/extraction.py", SAME, "")
    asked = resources(workflow.run("results/first/output.h5"), "extract")
    assert asked
    assert not any("gpu=1" in one or "gpu:1" in one for one in asked)


@pytest.mark.release
@pytest.mark.parametrize("shared", [False, True])
def test_a_damaged_result_is_made_anew(workflow, shared):
    """A hard link shares its bytes with the store and damages it; then that file's job computes, and no other."""
    layer = workflow.result("first/layers/block_01.h5")
    target = "results/first/layers/block_01.h5"
    if shared:
        shutil.rmtree(workflow.folder / "results")
    workflow.run(target)
    assert (layer.stat().st_nlink > 1) == shared
    good = layer.read_bytes()
    layer.chmod(0o644)
    layer.write_bytes(good[: len(good) // 2])
    printed = workflow.run(target, "--dry-run", "--quiet")
    assert "block_01.h5 was changed since it was made" in printed
    computed = workflow.computes(target)
    assert layer.read_bytes() == good
    assert jobs_of(computed) == ({"gather"} if shared else set())

"""Every declaration holds: functions take what they are given, rules and environments fit, captions are safe."""

import inspect
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import CHECKOUT
from docutils import nodes
from docutils.core import publish_doctree
from pinned import pinned

from classlens.catalog import causes, explanations, files, identifiability, memories, settings, tuned_lens
from classlens.catalog.analyses import ANALYSES, FIGURES, GROUPS, SECTIONS, STACKED, numbered, rules
from classlens.catalog.jobs import JOBS, OTHER_JOBS
from classlens.catalog.plan import describe_job, report_caption, wanted_figures, wanted_pages, wanted_tables
from classlens.catalog.run import OBJECTS
from classlens.config import load_config
from classlens.data.kinds import KINDS
from classlens.data.source import Source
from classlens.declared import load
from classlens.errors import InputError
from classlens.explanations.methods import CLASS_TOKEN, CLASS_TOKEN_POOLING, METHODS
from classlens.params import JobParams, ReportedJobs
from classlens.store.code import fingerprint
from classlens.store.key import DISTRIBUTIONS

FACTS = {
    "depth": 2,
    "num_classes": 10,
    "grid": [4, 4],
    "patch": [8, 8],
    "has_class_token": True,
    "class_token_pooling": True,
    "lacks": {},
}
FACTS |= {"heads": 2, "width": 16, "tokens": 17, "num_prefix_tokens": 1, "distilled": False}


def config_of(**keys):
    """A config to which every analysis applies, of a model `a_` and its twin."""
    raw = {
        "datasets": {"d": {"kind": "digits", "per_class": 1, "train_per_class": 1}},
        "models": {"a_": {"dataset": "d", "architecture": "vit", "transform": {"size": 16}, "weights": {"train": {}}}},
    }
    config = load_config(raw | keys)
    return replace(config, architectures=dict.fromkeys(config.models, FACTS))


CONFIG = config_of()
WILDCARDS = {"model": "a_", "dataset": "d", "geometry": CONFIG.geometry("a_").name, "split": "training", "shard": "0"}
WILDCARDS |= {
    "summed": "heads",
    "part": "0",
    "branch": "attn",
    "kind": "self_only",
    "method": "gradient",
    "block": "00",
    "comparison": next(iter(STACKED)),
}
FILES = {"comparison_table": ["measures", "table"]}
"""Names of a job's inputs and outputs, where the catalog says them."""
for name, analysis in ANALYSES.items():
    FILES[name] = [*analysis.inputs, *analysis.tables]
    if analysis.figure:
        FILES[f"{name}_figure"] = ["table", *analysis.figure.inputs, "svg", "png"]


def described(name, **wildcards):
    return describe_job(name, CONFIG, {**WILDCARDS, **wildcards}, CHECKOUT)


CASES = [*((name, {}) for name in JOBS), *(("comparison_table", {"comparison": table}) for table in STACKED)]
CASES += [("weights", {"model": "a_-random"}), ("remove_tokens", {"method": "random"})]


@pytest.mark.parametrize(("name", "wildcards"), CASES)
def test_functions_exist_and_take_exactly_what_they_are_given(name, wildcards):
    job = described(name, **wildcards)
    assert json.loads(json.dumps(job["config"])) == job["config"]
    functions = {keyword: load(function) for keyword, function in job["functions"].items()}
    signature = inspect.signature(functions.pop(""))
    assert all(callable(function) for function in functions.values())
    given = [*FILES.get(name, []), *job["config"], *job["local"], *functions]
    assert len(given) == len(set(given))
    (signature.bind if name in FILES else signature.bind_partial)(**dict.fromkeys(given))
    for key in set(OBJECTS) & set(job["config"]):
        inspect.signature(load(OBJECTS[key])).bind(**job["config"][key])


def test_plug_ins_exist():
    assert all(callable(load(method.compute)) for method in METHODS.values() if method.compute)
    assert all(issubclass(load(kind), Source) for kind in KINDS.values())


def test_names_are_unique_and_groups_need_the_same():
    parts = (identifiability, memories, causes, tuned_lens, explanations)
    declared = [analysis for part in parts for analysis in part.ANALYSES]
    assert len(declared) == len(ANALYSES)
    assert len(JOBS) == len(OTHER_JOBS) + 1 + len(declared) + len(FIGURES)
    tables = [table for analysis in declared for table in analysis.tables.values()]
    assert len(tables) == len(set(tables))
    assert all(analysis.needs == GROUPS[analysis.group].needs for analysis in declared)


def named(paths):
    return paths(CONFIG, WILDCARDS) if callable(paths) else paths.format(**WILDCARDS)


@pytest.mark.parametrize("rule", rules())
def test_analyses_of_one_process_fit_together(rule):
    analyses = rules()[rule]
    assert sum(analysis.one_model for analysis in analyses) <= 1
    assert len({(analysis.environment, analysis.cluster_group, analysis.gpu) for analysis in analyses}) == 1
    inputs = {}
    for analysis in analyses:
        for key, paths in analysis.inputs.items():
            assert inputs.setdefault(key, named(paths)) == named(paths)


def test_environments_hold_what_their_jobs_import():
    environments = {name: analysis.environment for name, analysis in ANALYSES.items()}
    environments |= {f"{name}_figure": "figures" for name in FIGURES}
    for path in (CHECKOUT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"\n(?= *rule\b)", path.read_text()):
            for name in re.findall(r'\b(?:jobs|shown_job|raw_job|batch)\(\s*"(\w+)"', rule):
                [environments[name]] = re.findall(r"envs/(\w+)\.yaml", rule)
    assert set(environments) == set(JOBS)
    everything = {"source": list(KINDS.values()), "explain": [one.compute for one in METHODS.values() if one.compute]}
    for name, environment in environments.items():
        functions = described(name)["functions"]
        called = [one for keyword in functions for one in everything.get(keyword, [functions[keyword]])]
        libraries = fingerprint([function.partition(":")[0] for function in called], CHECKOUT).libraries
        held = set(pinned(CHECKOUT / f"envs/{environment}.yaml"))
        assert {DISTRIBUTIONS.get(library, library).lower() for library in libraries} <= held, (name, environment)


def test_planning_is_light():
    program = (
        "import sys, classlens.catalog.plan, classlens.catalog.run, classlens.config\n"
        "print(*{'torch', 'timm', 'pandas', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert ran.stdout.split() == []


@pytest.mark.parametrize(("size", "bounds"), [(10, [(0, 10)]), (4, [(0, 4), (4, 8), (8, 10)]), (5, [(0, 5), (5, 10)])])
def test_shards_hold_every_image_once(size, bounds):
    config = config_of(extraction={"shard_size": size})
    assert config.shards("a_") == len(bounds)
    assert [config.shard_bounds("a_", shard) for shard in range(len(bounds))] == bounds
    wildcards = {"model": "a_", "shard": str(len(bounds) - 1)}
    assert settings.shard(config, wildcards) == dict(zip(("start", "stop"), bounds[-1], strict=True))
    assert settings.shard(config, {"model": "a_"}) == {}
    named = files.all_shards(files.shard_of("results/{model}/causes/heads.h5"))(config, {"model": "a_"})
    assert named == [f"results/a_/shards/causes/heads/{shard}.h5" for shard in range(len(bounds))]


def test_a_perturbation_that_does_not_apply_has_no_shards():
    without = replace(CONFIG, architectures=dict.fromkeys(CONFIG.models, FACTS | {"has_class_token": False}))
    wildcards = {"model": "a_", "file": "perturbation/attention_no_cls"}
    assert files.joined_shards(CONFIG, wildcards) == ["results/a_/shards/perturbation/attention_no_cls/0.h5"]
    with pytest.raises(InputError, match="'no_cls' does not apply to a_"):
        files.joined_shards(without, wildcards)


CAPTIONS = [analysis.caption for analysis in ANALYSES.values()]
CAPTIONS += [ANALYSES[name].figure.caption for name in FIGURES]


@pytest.mark.parametrize("caption", [*CAPTIONS, "<b>{model}</b> `x`_ *y* |z| :math:`1` [1]_ http://a.b \\"])
def test_captions_are_shown_as_typed(caption):
    [job] = jobs = ReportedJobs([JobParams(name="job", caption=report_caption(caption, CONFIG, {"model": "a_"}))])
    [paragraph] = publish_doctree(jobs.caption, settings_overrides={"report_level": 1}).children
    assert isinstance(paragraph, nodes.paragraph)
    assert all(isinstance(part, nodes.Text) for part in paragraph.children)
    majority = "at least half of their pixels lie in the mask"
    assert (
        paragraph.astext()
        == job["caption"]
        == caption.format(
            model="a_",
            correction="Holm",
            class_tokens=majority,
            heatmap_method="gradient (of a local loss, with respect to what [CLS] attends to)",
            randomised=CONFIG.explanations["randomised_images"],
            heatmap_images=4,
            outlier_rule="the median of its block's image tokens + 6 median absolute deviations",
            registers="",
        )
    )


def test_captions_say_what_was_measured():
    said = {
        name: report_caption("Text.", CONFIG, {"model": "a_"}, analysis).removeprefix("Text.")
        for name, analysis in ANALYSES.items()
    }
    assert said["class_building"] == " Measured on 10 evaluation images of d; 9,999 resamples, 95 % intervals."
    assert "10 training images of d" in said["linear_probes"]
    assert said["class_value_agreement"] == " 9,999 resamples, 95 % intervals."
    assert said["heatmaps"] == said["value_vectors"] == said["one_image"] == ""
    assert all(
        name in ("heatmaps", "value_vectors", "one_image") or "resamples" in text or "images" in text
        for name, text in said.items()
    )


def test_captions_say_where_registers_are_left_out():
    analysis = ANALYSES["identifiability_comparison"]
    assert "Registers" not in report_caption(analysis.figure.caption, CONFIG, {}, analysis)
    with_registers = replace(CONFIG, architectures=dict.fromkeys(CONFIG.models, FACTS | {"num_prefix_tokens": 5}))
    assert "Registers" in report_caption(analysis.figure.caption, with_registers, {}, analysis)


def test_sections_are_sorted_as_declared():
    titles = [numbered(section) for section in SECTIONS]
    assert titles == sorted(titles)
    assert titles[0] == "1 At a glance"


def test_what_a_run_makes():
    everything = wanted_figures(CONFIG)
    assert everything == [f"{name}_a_" if ANALYSES[name].one_model else name for name in FIGURES]
    assert wanted_figures(config_of(figures=["class_building", "logit_increment"])) == [
        name for name in everything if name in ("class_building_a_", "logit_increment")
    ]
    assert wanted_tables(CONFIG) == ["overview", *(name for name in ANALYSES if name not in FIGURES)]


def test_pages_of_a_run():
    assert wanted_pages(CONFIG) == ["a_"]
    without = config_of(lens_page={"images": 0})
    assert wanted_pages(without) == []
    with pytest.raises(InputError, match=r"lens_page\.images is 0"):
        describe_job("lens_page", without, WILDCARDS, CHECKOUT)


def test_what_a_page_shows_of_its_model():
    facts = {**FACTS, "has_class_token": False, "class_token_pooling": False, "num_prefix_tokens": 2}
    facts["lacks"] = {CLASS_TOKEN: "", CLASS_TOKEN_POOLING: ""}
    model = {"dataset": "d", "architecture": "vit", "transform": {"size": 16}, "analyses": ["identifiability"]}
    config = config_of(models={"plain": model, "other": model})
    config = replace(config, architectures=dict.fromkeys(config.models, facts))
    shown = describe_job("lens_page", config, {"model": "plain"}, CHECKOUT)["config"]
    assert shown["methods"] == []
    assert shown["facts"]["prefix"] == ["register 1", "register 2"]
    assert [other["model"] for other in shown["facts"]["others"]] == ["plain-random", "other", "other-random"]
    assert [note.partition(";")[0].partition(":")[0] for note in shown["facts"]["notes"]] == [
        "The model has no [CLS] token",
        "No explanations",
    ]
    own = described("lens_page")["config"]
    assert [name for name, _ in own["methods"]] == CONFIG.methods("a_")
    assert own["facts"]["prefix"] == ["[CLS]"]
    assert own["facts"]["notes"] == []

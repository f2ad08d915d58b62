"""Every declaration holds: functions take what they are given, rules and environments fit, captions are safe."""

import inspect
import json
import re
from dataclasses import replace

import pytest
from conftest import CHECKOUT
from declared_jobs import explicit_rules
from docutils import nodes
from docutils.core import publish_doctree
from pinned import pinned

from classlens.catalog import applicable, files, planning, settings
from classlens.catalog.analyses import ANALYSES, FIGURES, GROUPS, JOBS, PARTS, PASSES, SECTIONS, STACKED, numbered
from classlens.catalog.configs import load_config
from classlens.catalog.job import SERIES
from classlens.catalog.methods import METHODS
from classlens.catalog.plan import describe, report_caption
from classlens.catalog.planning import wanted_figures, wanted_pages, wanted_tables
from classlens.catalog.rules import pass_of, rules_of, wildcards_of
from classlens.catalog.run import OBJECTS
from classlens.data.kinds import KINDS
from classlens.data.source import Source
from classlens.declared import load
from classlens.errors import InputError
from classlens.inference.network import Network
from classlens.models.facts import CLASS_TOKEN, CLASS_TOKEN_POOLING
from classlens.params import JobParams
from classlens.passes.run import run_pass
from classlens.store.code import reached
from classlens.store.key import DISTRIBUTIONS

FACTS = {"depth": 2, "heads": 2, "width": 16, "num_classes": 10, "grid": [4, 4], "patch": [8, 8], "tokens": 17}
FACTS |= {"has_class_token": True, "class_token_pooling": True, "num_prefix_tokens": 1, "distilled": False, "lacks": {}}
FACTS |= {"image_size": 16}


SERIES_MODEL = {
    "dataset": "d",
    "architecture": "vit",
    "transform": {"size": 16},
    "weights": {"train": {"epochs": 1, "keep": [0]}},
    "random_twin": False,
}


def config_of(**keys):
    """A config to which every analysis applies, of a model `a_`, its twin and it repaired, and of a series `s`."""
    model = {**SERIES_MODEL, "weights": {"train": {}}, "random_twin": True}
    raw = {
        "datasets": {"d": {"kind": "patched_digits", "per_class": 1, "train_per_class": 1}},
        "models": {"a_": model, "s": {**SERIES_MODEL, "analyses": []}},
    }
    config = load_config(raw | keys)
    return replace(config, architectures=dict.fromkeys(config.models, FACTS))


AVERAGES = FACTS | {"has_class_token": False, "class_token_pooling": False}
AVERAGES |= {"lacks": {CLASS_TOKEN: "", CLASS_TOKEN_POOLING: ""}}


def averaging(probes=None, **explanations):
    """The same of models without class token."""
    config = config_of(explanations=explanations, probes=probes or {})
    return replace(config, architectures=dict.fromkeys(config.models, AVERAGES))


CONFIG = config_of(differences=[["a_", "s@1"]])
IN_SHARDS = config_of(extraction={"shard_size": 4})
WILDCARDS = {"model": "a_", "dataset": "d", "geometry": CONFIG.geometry("a_").name, "split": "training", "shard": "0"}
WILDCARDS |= {"part": "0", "kind": "self_only", "method": "gradient", "block": "00", "comparison": next(iter(STACKED))}
WILDCARDS |= {"pair": "a__s@1"}


EXPLICIT = explicit_rules()
DECLARED = {job.rule: job for config in (CONFIG, IN_SHARDS) for job in rules_of(config)}


def described(job, **wildcards):
    of_series = {"model": "s@1"} if SERIES in job.needs else {}
    return describe(job, CONFIG, {**WILDCARDS, **of_series, **wildcards}, CHECKOUT)


CASES = [(job, [*job.inputs, *job.outputs], {}) for job in DECLARED.values()]
CASES += [(job, files, {}) for job, files in EXPLICIT.values()]
CASES += [(*EXPLICIT["comparison_table"], {"comparison": table}) for table in STACKED]
CASES += [
    (*EXPLICIT["weights"], {"model": "a_-random"}),
    (*CASES[list(DECLARED).index("remove_tokens")][:2], {"method": "random"}),
    *(
        (*CASES[list(DECLARED).index(f"{kind}explanation")][:2], {"method": "cp_lrp_gamma"})
        for kind in ("", "randomised_")
    ),
]


@pytest.mark.parametrize(("job", "files", "wildcards"), CASES, ids=lambda one: getattr(one, "rule", ""))
def test_functions_exist_and_take_exactly_what_they_are_given(job, files, wildcards):
    params = described(job, **wildcards)
    assert json.loads(json.dumps(params["config"])) == params["config"]
    functions = {keyword: load(function) for keyword, function in params["functions"].items()}
    function = functions.pop("")
    assert all(callable(one) for one in functions.values())
    given = [*files, *params["config"], *params["local"], *functions]
    assert len(given) == len(set(given))
    inspect.signature(function).bind(**dict.fromkeys(given))
    for key in set(OBJECTS) & set(params["config"]):
        inspect.signature(load(OBJECTS[key])).bind(**params["config"][key])
    if "draw" in functions:
        drawn = [name for name in files if name not in ("svg", "png")]
        inspect.signature(functions["draw"]).bind(**dict.fromkeys([*drawn, *params["config"]["settings"]]))
    if "of" in functions:
        _takes_its_own(functions, files, params["config"], is_pass=function is run_pass)


def _takes_its_own(functions, files, config, *, is_pass):
    """What `run_pass` and `write_sums` hand over to a pass or sums."""
    of = functions["of"]
    own = {name for name in config if name not in (*Network.__annotations__, "start", "stop")}
    own |= set(functions) - {"of", "sums", "finish"}
    if not is_pass:
        inspect.signature(of).bind(None, 0, **dict.fromkeys(own))
        return
    read = {name for name in files if name not in ("pixels", "weights", "rows", "summed", *of.finished)}
    assert read == set(of.inputs)
    given = {*own, *(["files"] if read else []), *(["summed"] if {"sums", "summed"} & {*functions, *files} else [])}
    inspect.signature(of).bind(None, **dict.fromkeys(given))
    inspect.signature(of.columns).bind(None, **dict.fromkeys(own))
    if "finish" in functions:
        inspect.signature(functions["finish"]).bind([], **dict.fromkeys(of.finished))


def test_settings_are_the_config_s_or_computed():
    for job in (*DECLARED.values(), *(job for job, _ in EXPLICIT.values())):
        for name in (*job.settings, *job.local, *job.plugins):
            section, _, key = name.partition(".")
            is_listed = name in settings.OF_ALL or name in settings.OF_MODEL
            computed = is_listed or inspect.isfunction(getattr(settings, name, None))
            picked = section in ("wildcards", "threads") or (
                section in CONFIG.__dataclass_fields__ and (not key or key in getattr(CONFIG, section))
            )
            assert computed != picked, name


def test_plug_ins_exist():
    assert all(callable(load(method.compute)) for method in METHODS.values() if method.compute)
    assert all(issubclass(load(kind), Source) for kind in KINDS.values())


def test_names_are_unique_and_groups_need_the_same():
    declared = [one for part in PARTS for one in (*part.PASSES, *part.JOBS, *part.ANALYSES)]
    names = [*(one.name for one in declared), *(f"{name}_figure" for name in FIGURES), *EXPLICIT]
    assert len(names) == len(set(names))
    for config in (CONFIG, IN_SHARDS):
        rules = [job.rule for job in rules_of(config)]
        assert len(rules) == len(set(rules))
    tables = [table for analysis in ANALYSES.values() for table in analysis.tables.values()]
    assert len(tables) == len(set(tables))
    assert all(analysis.needs == GROUPS[analysis.group].needs for analysis in ANALYSES.values())


def test_outputs_of_a_job_have_the_same_wildcards():
    for job in DECLARED.values():
        paths = [path for one in job.outputs.values() for path in ([one] if isinstance(one, str) else one)]
        assert {frozenset(re.findall(r"\{(\w+)\}", path)) for path in paths} == {frozenset(wildcards_of(job))}


def test_a_pass_has_one_job_or_shards_that_are_joined():
    whole, shards = ({job.rule: job for job in rules_of(config)} for config in (CONFIG, IN_SHARDS))
    for name, one in PASSES.items():
        assert pass_of(whole[name]) is one
        if not one.in_shards:
            assert shards[f"{name}_join"].outputs == whole[name].outputs == one.outputs
            assert shards[f"{name}_shard"].temporary
            assert (f"{name}_sums" in shards) == (f"{name}_summed" in shards) == bool(one.sums)
    summaries = {"overview", "published_comparison", "numbers"}
    names = {*PASSES, *JOBS, *ANALYSES, *(f"{name}_figure" for name in FIGURES), *summaries}
    assert {job.name for job in whole.values()} == names


def test_environments_hold_what_their_jobs_import():
    everything = {"source": list(KINDS.values()), "explain": [one.compute for one in METHODS.values() if one.compute]}
    for job in (*DECLARED.values(), *(job for job, _ in EXPLICIT.values())):
        functions = described(job)["functions"]
        called = [one for keyword in functions for one in everything.get(keyword, [functions[keyword]])]
        _, libraries = reached([function.partition(":")[0] for function in called], CHECKOUT)
        held = set(pinned(CHECKOUT / f"envs/{job.environment}.yaml"))
        assert {DISTRIBUTIONS.get(library, library).lower() for library in libraries} <= held, job.rule


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


CAPTIONS = [analysis.caption for analysis in ANALYSES.values()]
CAPTIONS += [ANALYSES[name].figure.caption for name in FIGURES]


@pytest.mark.parametrize("caption", [*CAPTIONS, "<b>{model}</b> `x`_ *y* |z| :math:`1` [1]_ http://a.b \\"])
def test_captions_are_shown_as_typed(caption):
    job = JobParams(name="job", caption=report_caption(caption, CONFIG, {"model": "a_"}))
    [paragraph] = publish_doctree(job.caption, settings_overrides={"report_level": 1}).children
    assert isinstance(paragraph, nodes.paragraph)
    assert all(isinstance(part, nodes.Text) for part in paragraph.children)
    expected = caption.format(
        model="a_",
        correction="Holm",
        class_tokens="at least half of their pixels lie in the mask",
        heatmap_method="gradient (of a local loss, with respect to what [CLS] attends to)",
        randomised=CONFIG.explanations["randomised_images"],
        heatmap_images=4,
        attribute="patch",
        heatmap_colours="Red is evidence for the class, blue against it",
        outlier_rule="the median of its block's image tokens + 6 median absolute deviations",
        registers="",
    )
    assert paragraph.astext() == job["caption"] == expected


def test_captions_say_what_was_measured():
    said = {
        name: report_caption("Text.", CONFIG, {"model": "a_"}, one).removeprefix("Text.")
        for name, one in ANALYSES.items()
    }
    assert said["class_building"] == " Measured on 10 evaluation images of d; 9,999 resamples, 95 % intervals."
    assert "10 training images of d" in said["linear_probes"]
    assert said["class_value_agreement"] == " 9,999 resamples, 95 % intervals."
    assert {name for name, text in said.items() if not text} == {"heatmaps", "value_vectors", "one_image"}
    # And where registers are left out:
    analysis = ANALYSES["identifiability_comparison"]
    assert "Registers" not in report_caption(analysis.figure.caption, CONFIG, {}, analysis)
    with_registers = replace(CONFIG, architectures=dict.fromkeys(CONFIG.models, FACTS | {"num_prefix_tokens": 5}))
    assert "Registers" in report_caption(analysis.figure.caption, with_registers, {}, analysis)


def test_sections_are_sorted_as_declared():
    titles = [numbered(section) for section in SECTIONS]
    assert titles == sorted(titles)
    assert titles[0] == "01 At a glance"


def test_what_a_run_makes():
    difference, *everything = wanted_figures(CONFIG)
    assert difference == "difference_a__s@1"
    own = [name for name in FIGURES if SERIES not in ANALYSES[name].needs]
    assert everything == [f"{name}_a_" if ANALYSES[name].one_model else name for name in own]
    assert wanted_figures(config_of(figures=["class_building", "logit_increment"])) == [
        name for name in everything if name in ("class_building_a_", "logit_increment")
    ]
    assert wanted_tables(CONFIG) == ["overview", *(name for name in ANALYSES if name not in FIGURES)]


def test_pages_of_a_run():
    assert wanted_pages(CONFIG) == ["a_", "a_-repaired", "s@0", "s@1"]
    without = config_of(lens_page={"images": 0})
    assert wanted_pages(without) == []
    with pytest.raises(InputError, match=r"lens_page\.images is 0"):
        describe(EXPLICIT["lens_page"][0], without, WILDCARDS, CHECKOUT)


def test_what_a_page_shows_of_its_model():
    model = {"dataset": "d", "architecture": "vit", "transform": {"size": 16}, "analyses": ["identifiability"]}
    config = config_of(models={"plain": model, "other": model})
    config = replace(config, architectures=dict.fromkeys(config.models, AVERAGES | {"num_prefix_tokens": 2}))
    shown = describe(EXPLICIT["lens_page"][0], config, {"model": "plain"}, CHECKOUT)["config"]
    assert shown["methods"] == [["legrad", "LeGrad"]]
    assert shown["facts"]["prefix"] == ["register 1", "register 2"]
    assert [other["model"] for other in shown["facts"]["others"]] == ["plain-random", "other", "other-random"]
    assert [note.partition(";")[0].partition(":")[0] for note in shown["facts"]["notes"]] == [
        "The model has no [CLS] token",
    ]
    assert planning.page_explanations(config, {"model": "plain"}) == ["results/plain/explanation/legrad.h5"]
    for listed in ([], ["chefer"]):  # Chefer's needs [CLS]
        none = replace(config, lens_page={**config.lens_page, "explanations": listed})
        assert planning.page_explanations(none, {"model": "plain"}) == []
        notes = describe(EXPLICIT["lens_page"][0], none, {"model": "plain"}, CHECKOUT)["config"]["facts"]["notes"]
        assert any(note.startswith("No explanations: ") for note in notes)
    assert planning.page_explanations(CONFIG, {"model": "s@0"}) == []  # training went on from it
    own = described(EXPLICIT["lens_page"][0])["config"]
    assert [name for name, _ in own["methods"]] == applicable.methods(CONFIG, "a_")
    assert own["facts"]["prefix"] == ["[CLS]"]
    assert own["facts"]["notes"] == []
    points = [{"model": "s@0", "number": 0}, {"model": "s@1", "number": 1}]
    series = described(EXPLICIT["lens_page"][0], model="s@1")["config"]["facts"]["series"]
    assert series == {"at": "epoch", "points": points}


def test_what_a_run_makes_of_a_series():
    tables = planning.point_tables(CONFIG)
    assert {"results/s@0/measures/identifiability_rates.csv", "results/tables/class_building_s@0.csv"} <= {*tables}
    assert not any("s@1" in table for table in tables)  # the last point runs what any model does
    only = config_of(series={"analyses": ["class_building"]})
    assert planning.point_tables(only) == ["results/tables/class_building_s@0.csv"]
    assert "s@0" not in planning.compared_models(CONFIG, ANALYSES["identifiability_evolution"])
    last = planning.compared_models(config_of(models={"s": SERIES_MODEL}), ANALYSES["series_heads"])
    assert last == ["s@1"]


# Heat maps show an explanation that applies to the model, or say which one does


def test_heat_maps_of_models_without_class_token():
    assert planning.applies(averaging(heatmap_method="legrad"), "a_", "heatmaps")
    assert "take legrad" in applicable.reason(averaging(), "a_", "what the explanation of heat maps needs")


def test_heat_maps_have_the_colours_of_their_explanation():
    analysis = ANALYSES["heatmaps"]
    for method, said, signed in (("gradient", "blue against it", True), ("legrad", "less transparent", False)):
        config = config_of(explanations={"heatmap_method": method})
        assert said in report_caption(analysis.figure.caption, config, {"model": "a_"}, analysis)
        assert settings.settings_of(["heatmap_signed"], config, {}) == {"signed": signed}


def test_only_explanations_with_gamma_know_it():
    config = config_of(explanations={"gamma": {"patches": 0}})
    expected = {"method_settings": {"gamma": {"linear": 0.25, "patches": 0}}}
    for method in METHODS:
        found = settings.settings_of(["method_settings"], config, {"model": "a_", "method": method})
        assert found == (expected if method.endswith("_gamma") else {})


def test_models_with_reset_blocks_explain_what_runs_a_model():
    config = averaging(methods=["random", "attn_lrp", "legrad_cls", "probe"])
    assert applicable.methods(config, "a_") == ["random", "attn_lrp", "probe"]
    assert applicable.randomised_methods(config, "a_") == ["attn_lrp"]
    assert applicable.randomised_methods(config, "a_-random") == []  # a twin has none


@pytest.mark.parametrize(
    ("methods", "sites", "probed"),
    [
        (["random"], ["mlp", "attn"], ["attn", "mlp"]),
        (["random"], ["mlp", "residual"], ["residual", "mlp"]),
        (["random", "probe"], ["attn"], ["residual", "attn"]),
    ],
)
def test_probes_read_what_the_explanation_by_probes_needs(methods, sites, probed):
    assert planning.probed_sites(averaging({"sites": sites}, methods=methods)) == probed

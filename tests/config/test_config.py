"""The config contract: defaults, twins, refusals, and a reference that cannot drift."""

import copy
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import CHECKOUT
from jsonschema import Draft7Validator
from pinned import pinned

from classlens.catalog import applicable, planning
from classlens.catalog.analyses import ANALYSES, FIGURES, GROUPS
from classlens.catalog.configs import load_config, read_config, schema
from classlens.catalog.job import CLASS_TOKEN, MASKS
from classlens.catalog.methods import METHODS
from classlens.catalog.reference import MADE_FILES, editor_schema, readme, reference
from classlens.data.kinds import KINDS
from classlens.errors import InputError
from classlens.shipped import WEIGHTS
from classlens.study.start import SCHEMA
from classlens.terms import SITES

MINIMAL = {
    "datasets": {"d": {"kind": "digits"}},
    "models": {"m": {"dataset": "d", "architecture": "vit_tiny_patch16_224"}},
}


def changed(*path, value):
    config = copy.deepcopy(MINIMAL)
    part = config
    for step in path[:-1]:
        part = part.setdefault(step, {})
    part[path[-1]] = value
    return config


def with_keys(**keys):
    """A copy of MINIMAL whose model has these keys, too."""
    return changed("models", "m", value={**MINIMAL["models"]["m"], **keys})


def test_a_minimal_config_is_complete_at_every_depth():
    config = load_config(MINIMAL)
    assert config.seed == 0
    assert config.datasets["d"]["per_class"] == 5
    assert config.models["m"]["label"] == "m"
    assert config.models["m"]["weights"] == "pretrained"
    assert config.statistics == {"resamples": 9999, "confidence": 0.95, "correction": "holm"}
    model = load_config(with_keys(weights={"train": {"epochs": 3}}, transform={"size": 32})).models["m"]
    assert model["weights"]["train"]["batch_size"] == 32
    assert model["transform"]["mean"] == [0.5, 0.5, 0.5]


def test_twins_follow_their_models():
    config = load_config({**MINIMAL, "models": {"a": MINIMAL["models"]["m"], "b": MINIMAL["models"]["m"]}})
    assert list(config.models) == ["a", "a-random", "b", "b-random"]
    assert config.twin("a") == "a-random"
    assert config.twin("a-random") is None
    assert config.is_twin("a-random")
    assert not config.is_twin("a")
    assert config.models["a-random"]["weights"] == "random"
    assert config.models["a-random"]["seed"] != config.models["a"]["seed"]
    assert planning.compared_models(config, ANALYSES["identifiability_rates"]) == ["a", "a-random", "b", "b-random"]
    assert planning.compared_models(config, ANALYSES["logit_increment"]) == ["a", "b"]


def test_a_twin_of_ones_own_stays_as_it_is_and_a_model_may_have_none():
    own = {**MINIMAL["models"]["m"], "weights": "fresh.pt", "random_twin": False}
    config = load_config({**MINIMAL, "models": {"m": MINIMAL["models"]["m"], "m-random": own}})
    assert list(config.models) == ["m", "m-random"]
    assert config.models["m-random"]["weights"] == "fresh.pt"
    assert config.is_twin("m-random")
    config = load_config(with_keys(random_twin=False))
    assert (list(config.models), config.twin("m")) == (["m"], None)


@pytest.mark.parametrize(
    ("files", "given", "numbers"),
    [
        (["e_2.pt", "e_10.pt"], "{}/e_*.pt", [2, 10]),
        (["v1/epoch=00-step=500.ckpt", "v1/epoch=01-step=900.ckpt"], "{}/v1/*.ckpt", [0, 1]),
        (["checkpoint-500/x", "checkpoint-1500/x"], "{}/checkpoint-*", [500, 1500]),
        (["last_7.pt"], "{}/*.pt", [7]),
        (["b2.pt", "a1.pt"], ["{}/b2.pt", "{}/a1.pt"], [1, 2]),
    ],
)
def test_checkpoints_are_models_in_the_order_of_their_numbers(tmp_path, files, given, numbers):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    paths = [one.format(tmp_path) for one in given] if isinstance(given, list) else given.format(tmp_path)
    config = load_config(with_keys(checkpoints=paths, at="epoch", label="Mine"))
    assert list(config.models) == [*(f"m@{number}" for number in numbers), "m-random"]
    assert [config.models[f"m@{number}"]["label"] for number in numbers] == [f"Mine, epoch {n}" for n in numbers]
    assert config.models["m-random"]["label"] == "Mine (random)"
    for point in config.points(f"m@{numbers[0]}"):
        assert Path(config.models[point]["weights"]).exists()
        assert config.twin(point) == "m-random"
        assert config.is_passing(point) == (point != f"m@{numbers[-1]}")
    assert config.is_twin("m-random")


def test_analyses_can_be_chosen():
    config = load_config(with_keys(analyses=["class_building"]))
    assert planning.runs(config, "class_building") == ["m"]
    assert planning.runs(config, "logit_increment") == []
    # A table or figure that is asked for by name shows every model that it applies to.
    assert planning.compared_models(config, ANALYSES["logit_increment"]) == ["m"]


@pytest.mark.parametrize(
    ("need", "reason"), [(MASKS, "the data set d of m has no masks"), (CLASS_TOKEN, r"\[CLS\], which m does not have")]
)
def test_what_a_model_lacks_is_told_where_it_is_needed(need, reason):
    config = load_config(changed("datasets", "d", value={"kind": "cifar100", "root": "nowhere"}))
    config = replace(config, architectures={name: {"has_class_token": False} for name in config.models})
    with pytest.raises(InputError, match=f"some_job .*{reason}"):
        applicable.require(config, "m", need, "some_job")
    for analysis in ANALYSES.values():
        if need in analysis.needs:
            assert not planning.applies(config, "m", analysis.group)
            assert planning.runs(config, analysis.group) == []
            with pytest.raises(InputError, match=f"{analysis.name} applies to no model"):
                planning.compared_models(config, analysis)


@pytest.mark.parametrize("count", [0, 1])
def test_what_is_fitted_needs_training_images(count):
    config = load_config(changed("datasets", "d", "train_per_class", value=count))
    for group in ("linear_probes", "tuned_lens"):
        assert planning.runs(config, group) == ["m"] * count


def test_twins_are_shown_beside_models_that_run():
    text = changed("models", "n", value={**MINIMAL["models"]["m"], "analyses": ["identifiability"]})
    config = load_config(text)
    assert {"m-random", "n-random"} <= set(config.models)
    assert planning.compared_models(config, ANALYSES["tuned_lens"]) == ["m", "m-random"]


def test_names_that_the_config_lists_come_from_where_they_are_declared():
    known = schema()["properties"]
    models = known["models"]["additionalProperties"]["properties"]
    assert models["analyses"]["items"]["enum"] == list(GROUPS)
    assert known["figures"]["items"]["enum"] == list(FIGURES)
    assert known["datasets"]["additionalProperties"]["properties"]["kind"]["enum"] == list(KINDS)
    assert known["explanations"]["properties"]["methods"]["items"]["enum"] == list(METHODS)
    assert known["probes"]["properties"]["sites"]["items"]["enum"] == list(SITES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed("models", "m", "architectur", value="x"), "unknown key 'architectur'; did you mean architecture"),
        (changed("modles", value={}), "unknown key 'modles'; did you mean models"),
        (changed("extraction", "gpus", value=3), r"extraction: unknown key 'gpus'; known keys are shard_size"),
        (changed("datasets", "d", "kind", value="digit"), r"datasets\.d\.kind: .*did you mean digits"),
        (changed("datasets", "d", "kind", value="imagenet_s"), r"datasets\.d\.root is missing"),
        (changed("datasets", "d", "masks", value="x"), r"datasets\.d\.masks: kind digits takes no masks"),
        (changed("datasets", "d", "per_class", value=0), r"datasets\.d\.per_class: 0 is less than"),
        (with_keys(dataset="e"), r"models\.m\.dataset: there is no data set 'e'; did you mean d"),
        (with_keys(transform="none"), r"models\.m\.transform: give `timm`"),
        (with_keys(weights="random", head="h.npz"), r"models\.m\.head: random"),
        (changed("models", "a b", value=MINIMAL["models"]["m"]), "the name 'a b' cannot be used"),
        (changed("models", "tables", value=MINIMAL["models"]["m"]), "the name 'tables' cannot be used"),
        (with_keys(weights="shipped:vit"), r"m\.weights: no weights 'shipped:vit' come .* take shipped:vit_cls or"),
        (with_keys(weights={"trane": {}}), "unknown key 'trane'; did you mean train"),
        (changed("seed", value=-1), "seed: -1 is less than"),
        (with_keys(checkpoints="nowhere/e_*.pt"), r"models\.m\.checkpoints: nothing is called nowhere/e_\*\.pt in /"),
        (with_keys(checkpoints=["a1/e.pt", "a1/f.pt"]), r"m\.checkpoints: no number tells a1/e\.pt, a1/f\.pt apart"),
        (with_keys(checkpoints=["e1.pt"], weights="w.pt"), r"models\.m: checkpoints are its weights; remove"),
        (with_keys(weights={"train": {"epochs": 3, "keep": [4]}}), r"train\.keep: there is no epoch 4, epochs is 3"),
        (changed("differences", value=[["m", "mm"]]), r"differences: there is no model 'mm'; did you mean m"),
        ({"datasets": MINIMAL["datasets"]}, "'models' is a required property"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(config, message):
    with pytest.raises(InputError, match=message):
        load_config(config)


def test_all_that_is_wrong_is_told_at_once_and_a_fault_of_several_models_once():
    models = {name: {**MINIMAL["models"]["m"], "analyses": ["memory"]} for name in ("a", "b")}
    with pytest.raises(InputError) as error:
        load_config({**MINIMAL, "models": models, "seed": "zero"})
    assert str(error.value).count("is not one of") == 1
    assert "models.a.analyses.0, models.b.analyses.0: 'memory' is not one of" in str(error.value)
    assert "seed" in str(error.value)


def test_the_default_config_is_valid():
    config = read_config(CHECKOUT / "config/config.yaml")
    assert [entry["weights"] for entry in config.models.values() if not entry["random_twin"]] == ["random"] * 2


def test_shipped_weights_have_the_recipe_that_trains_them():
    shipped, recipe = (read_config(CHECKOUT / "config" / name) for name in ("config.yaml", "weights.yaml"))
    assert shipped.datasets == recipe.datasets
    trained = [name for name in recipe.models if recipe.trained(name)]
    for name in trained:
        assert shipped.models[name]["weights"] == str(WEIGHTS / f"{name}.safetensors")
        for key in ("dataset", "architecture", "options", "transform", "seed"):
            assert shipped.models[name][key] == recipe.models[name][key]
    # Defaults may change; what trained these does not.
    written = yaml.safe_load((CHECKOUT / "config/weights.yaml").read_text())
    assert written["seed"] == recipe.seed
    for name in trained:
        assert written["models"][name]["weights"] == recipe.models[name]["weights"]


def keys_of(part, path=""):
    for key, sub in part.get("properties", {}).items():
        yield f"{path}{key}", sub
        yield from keys_of(sub, f"{path}{key}.")
    if isinstance(part.get("additionalProperties"), dict):
        yield from keys_of(part["additionalProperties"], f"{path}NAME.")


def test_every_key_is_described_and_in_the_references_and_the_optional_ones_have_a_default():
    without_default = {"extends", "datasets", "models", "models.NAME.label", "models.NAME.head.texts"}
    text = reference()
    for path, sub in keys_of(schema()):
        assert sub.get("description"), path
        assert f"| `{path}` |" in text
        parent = path.rpartition(".")[2]
        if path not in without_default and parent not in ("kind", "dataset", "architecture"):
            assert "default" in sub or path.endswith(".train"), path
    assert readme().endswith(text.partition("\n| key |")[2])


@pytest.mark.parametrize("name", MADE_FILES)
def test_what_is_made_from_the_schema_is_up_to_date(name):
    assert (CHECKOUT / name).read_text(encoding="utf-8") == MADE_FILES[name](), "run `make docs`"


SHIPPED = [*CHECKOUT.glob("config/*.yaml"), *CHECKOUT.glob("classlens/study/*.yaml")]
VARIANT = {"extends": "b.yaml", "models": {"m": {"options": {"depth": 2}}, "n": None}}
VARIANT["datasets"] = {"d": {"per_class": 1}}


def test_the_schema_for_editors_takes_what_a_run_takes_and_variants():
    for_editors = Draft7Validator(json.loads(editor_schema()))
    Draft7Validator.check_schema(for_editors.schema)
    assert len(SHIPPED) == 8
    for config in (*(yaml.safe_load(path.read_text()) for path in SHIPPED), MINIMAL, VARIANT):
        for_editors.validate(config)
    for path in (("modles",), ("models", "m", "architectur"), ("seed",), ("models", "a b")):
        assert not for_editors.is_valid(changed(*path, value="x")), path
    assert "\\Z" not in editor_schema()  # which JavaScript takes for a Z


def test_a_shipped_config_names_the_schema_beside_it():
    for path in CHECKOUT.glob("config/*.yaml"):
        assert path.read_text().startswith(SCHEMA.format("schema.json"))
        assert (path.parent / "schema.json").is_file()


def requirement(line):
    name, _, version = line.partition("==")
    return name.lower().replace("_", "-"), version


def test_environments_project_and_lock_agree():
    lock = dict(requirement(line) for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if "==" in line)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, least = re.match(r"([\w-]+)>=([\d.]+)", text).groups()
        version = lock[name.lower()]
        assert [int(n) for n in version.split(".")[:3]] >= [int(n) for n in least.split(".")], text
    environments = sorted((CHECKOUT / "envs").glob("*.yaml"))
    assert environments
    for path in environments:
        for name, version in pinned(path).items():
            assert lock[name.replace("_", "-")] == version, f"{path}: {name}"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50, 500])
def test_as_many_numbers_of_kept_tokens_as_are_asked_for(count):
    config = load_config(changed("faithfulness", "counts", value=count))
    for tokens in (1, 2, 49, 196):
        counts = applicable.removal_counts(replace(config, architectures={"m": {"grid": [1, tokens]}}), "m")
        assert len(set(counts)) == len(counts) == min(count, tokens)
        assert counts == sorted(counts)
        if len(counts) > 1:
            assert (counts[0], counts[-1]) == (1, tokens)

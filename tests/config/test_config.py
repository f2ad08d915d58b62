"""The config contract: defaults, twins, refusals, and a reference that cannot drift."""

import copy
import re
import tomllib

import pytest
import yaml
from conftest import CHECKOUT, tiny_config
from hypothesis import given
from hypothesis import strategies as st

from classlens.config import load_config, read_config, schema
from classlens.config.reference import reference
from classlens.errors import InputError

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


def test_a_minimal_config_is_complete():
    config = load_config(MINIMAL)
    assert config.seed == 0
    assert config.datasets["d"]["per_class"] == 5
    assert config.models["m"]["label"] == "m"
    assert config.models["m"]["weights"] == "pretrained"
    assert config.statistics == {"resamples": 9999, "confidence": 0.95, "correction": "holm"}
    assert config.extraction["precision"] == "float32"


def test_defaults_reach_every_depth():
    config = load_config(changed("models", "m", "weights", value={"train": {"epochs": 3}}))
    assert config.models["m"]["weights"]["train"]["batch_size"] == 32
    config = load_config(changed("models", "m", "transform", value={"size": 32}))
    assert config.models["m"]["transform"]["mean"] == [0.5, 0.5, 0.5]


def test_twins_follow_their_models():
    config = load_config({**MINIMAL, "models": {"a": MINIMAL["models"]["m"], "b": MINIMAL["models"]["m"]}})
    assert list(config.models) == ["a", "a-random", "b", "b-random"]
    assert config.twin("a") == "a-random"
    assert config.twin("a-random") is None
    assert config.is_twin("a-random")
    assert not config.is_twin("a")
    assert config.models["a-random"]["weights"] == "random"
    assert config.models["a-random"]["seed"] != config.models["a"]["seed"]
    assert config.models_with("identifiability", twins=True) == ["a", "a-random", "b", "b-random"]
    assert config.models_with("logit_increment") == ["a", "b"]


def test_a_twin_of_ones_own_stays_as_it_is():
    own = {**MINIMAL["models"]["m"], "weights": "fresh.pt", "random_twin": False}
    config = load_config({**MINIMAL, "models": {"m": MINIMAL["models"]["m"], "m-random": own}})
    assert list(config.models) == ["m", "m-random"]
    assert config.models["m-random"]["weights"] == "fresh.pt"
    assert config.is_twin("m-random")


def test_a_model_without_twin():
    config = load_config(changed("models", "m", "random_twin", value=False))
    assert list(config.models) == ["m"]
    assert config.twin("m") is None


def test_analyses_can_be_chosen():
    config = load_config(changed("models", "m", "analyses", value=["class_building"]))
    assert config.runs("class_building") == ["m"]
    assert config.runs("logit_increment") == []
    # A table or figure that is asked for by name shows every model that it applies to.
    assert config.models_with("logit_increment") == ["m"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed("models", "m", "architectur", value="x"), "unknown key 'architectur'; did you mean architecture"),
        (changed("modles", value={}), "unknown key 'modles'; did you mean models"),
        (changed("extraction", "gpus", value=3), r"extraction: unknown key 'gpus'; known keys are shard_size"),
        (changed("datasets", "d", "kind", value="digit"), r"datasets\.d\.kind: .*did you mean digits"),
        (changed("datasets", "d", "kind", value="imagenet_s"), r"datasets\.d\.root is missing"),
        (changed("datasets", "d", "masks", value="x"), r"datasets\.d\.masks is for kind image_folder"),
        (changed("datasets", "d", "per_class", value=0), r"datasets\.d\.per_class: 0 is less than"),
        (changed("models", "m", "dataset", value="e"), r"models\.m\.dataset: there is no data set 'e'; did you mean d"),
        (changed("models", "m", "transform", value="none"), r"models\.m\.transform: give `timm`"),
        (
            changed("models", "m", value={**MINIMAL["models"]["m"], "weights": "random", "head": "h.npz"}),
            r"models\.m\.head: random",
        ),
        (changed("models", "a b", value=MINIMAL["models"]["m"]), "the name 'a b' cannot be used"),
        (changed("models", "tables", value=MINIMAL["models"]["m"]), "the name 'tables' cannot be used"),
        (changed("models", "m", "weights", value={"trane": {}}), "unknown key 'trane'; did you mean train"),
        (changed("seed", value=-1), "seed: -1 is less than"),
        ({"datasets": MINIMAL["datasets"]}, "'models' is a required property"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(config, message):
    with pytest.raises(InputError, match=message):
        load_config(config)


def test_all_that_is_wrong_is_told_at_once():
    config = changed("models", "m", "labl", value="x")
    config["seed"] = "zero"
    with pytest.raises(InputError, match=r"(?s)labl.*seed|seed.*labl"):
        load_config(config)


@given(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12))
def test_every_unknown_key_is_refused(key):
    known = schema()["properties"]["models"]["additionalProperties"]["properties"]
    if key not in known:
        with pytest.raises(InputError, match=re.escape(repr(key))):
            load_config(changed("models", "m", key, value=1))


@pytest.mark.parametrize("text", ["- a list", "datasets: [", ""])
def test_files_that_are_no_config(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_config(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        read_config(tmp_path / "nothing.yaml")


def test_the_default_config_is_valid():
    config = read_config(CHECKOUT / "config/config.yaml")
    assert [config.trained(name) for name in config.models] == [True, False, True, False]


def test_the_tests_own_config_is_valid():
    load_config(tiny_config())


def keys_of(part, path=""):
    for key, sub in part.get("properties", {}).items():
        yield f"{path}{key}", sub
        yield from keys_of(sub, f"{path}{key}.")
    if isinstance(part.get("additionalProperties"), dict):
        yield from keys_of(part["additionalProperties"], f"{path}NAME.")


def test_every_key_has_a_description_and_the_optional_ones_a_default():
    without_default = {"datasets", "models", "models.NAME.label"}
    for path, sub in keys_of(schema()):
        assert sub.get("description"), path
        parent = path.rpartition(".")[2]
        if path not in without_default and parent not in ("kind", "dataset", "architecture"):
            assert "default" in sub or path.endswith(".train"), path


def test_the_reference_in_the_docs_is_that_of_the_schema():
    assert (CHECKOUT / "docs/config.md").read_text() == reference(), "run `make docs`"
    for path, _ in keys_of(schema()):
        assert f"| `{path}` |" in reference()


def requirement(line):
    name, _, version = line.partition("==")
    return name.lower().replace("_", "-"), version


def test_environments_project_and_lock_agree():
    lock = dict(requirement(line) for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if "==" in line)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for text in wanted:
        name, least = re.match(r"([\w-]+)>=([\d.]+)", text).groups()
        version = lock[name.lower()]
        assert [int(n) for n in version.split(".")[:3]] >= [int(n) for n in least.split(".")], text
    environments = sorted((CHECKOUT / "envs").glob("*.yaml"))
    assert environments
    for path in environments:
        pins = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
        for pin in pins:
            name, version = requirement(pin)
            assert lock[name] == version, f"{path}: {pin}"


def test_rules_name_environments_that_hold_what_their_scripts_import():
    from classlens.store.code import fingerprint
    from classlens.store.key import DISTRIBUTIONS

    rules = "".join(path.read_text() for path in (CHECKOUT / "workflow/rules").glob("*.smk"))
    blocks = re.findall(r'"../../envs/(\w+)\.yaml"([^§]*?)"../scripts/\w+\.py"', rules)
    pairs = [(env, job) for env, block in blocks for job in re.findall(r'\b(?:job|part)\(\s*"(\w+)"', block)]
    scripts = {path.stem for path in (CHECKOUT / "workflow/scripts").glob("[a-z]*.py")}
    assert {job for _, job in pairs} == scripts
    missing = set()
    for environment, script in pairs:
        pins = yaml.safe_load((CHECKOUT / f"envs/{environment}.yaml").read_text())["dependencies"][-1]["pip"]
        held = {requirement(pin)[0] for pin in pins}
        path = CHECKOUT / f"workflow/scripts/{script}.py"
        missing |= {
            f"{environment} lacks {library}, which {script} imports"
            for library in fingerprint(path, CHECKOUT).libraries
            if DISTRIBUTIONS.get(library, library).lower() not in held
        }
    assert not missing

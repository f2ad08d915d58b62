"""Configs are YAML 1.2, whoever reads them first: this package, Snakemake (1.1), or a workflow that makes a table."""

import copy
import datetime
import math
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import yaml
from conftest import CHECKOUT
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.settings.types import ConfigSettings
from snakemake.utils import update_config

from classlens import yaml12
from classlens.catalog.configs import as_meant, load_config, read_config, schema
from classlens.check.findings import check
from classlens.config.load import SCHEMA_FILE
from classlens.config.read import read_words
from classlens.config.wanted import as_wanted
from classlens.configfile import as_written, find_config, keep_config
from classlens.errors import InputError

HEAD = "datasets: {d: {kind: digits}}\nmodels: {m: {dataset: d, architecture: vit_tiny_patch16_224}}\n"
WORDS = ("on", "no", "Yes", "off", "y", "1:30", "1_000", "2024-01-01", "0b1", "0o8", "1e", ".", "-")
NAMES = ["on", "no", "yes", "off", "y", "true", "2024", "007", "1e3", "1.50", "0x1F", "1_000", "2024-01-01"]


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5e1", -5.0), ("1.", 1.0), ("0o17", 15), ("0x1F", 31), ("010", 10), ("+3", 3),
        ("-0", 0), (".inf", math.inf), ("-.INF", -math.inf), ("true", True), ("FALSE", False), ("~", None), ("", None),
        *((word, word) for word in WORDS),
        ("1" * 5000, "1" * 5000),
    ],
)  # fmt: skip
def test_words_of_the_core_schema(word, meaning):
    [found] = yaml12.load(f"[{word or '~'}]", "words")
    assert yaml12.meaning(found) == meaning
    assert type(yaml12.meaning(found)) is type(meaning)


def test_the_schema_and_the_shipped_configs_are_what_they_were():
    by_pyyaml = yaml.safe_load(SCHEMA_FILE.read_text())
    declared = schema()["properties"]
    assert by_pyyaml["properties"]["tuned_lens"] == declared["tuned_lens"]
    for name in ("config", "paper"):
        path = CHECKOUT / f"config/{name}.yaml"
        assert read_config(path) == load_config(yaml.safe_load(path.read_text()))


def written_by(config, workflow):
    return as_written(config, workflow, load_configfile, update_config)


def snakemake_reads(path, config=None, replace=False):
    """Return the config and the workflow as Snakemake has them after `--configfile`."""

    settings = ConfigSettings(config=config or {}, configfiles=[path], replace_workflow_config=replace)
    return settings.overwrite_config, SimpleNamespace(config_settings=settings, configfiles=list(settings.configfiles))


@pytest.fixture
def both(tmp_path):
    """Give what reads a text as `check` does and as a run does; both must say the same."""

    def read(text, **options):
        path = tmp_path / "my.yaml"
        path.write_text(text)
        config, workflow = snakemake_reads(path, **options)
        through_snakemake = load_config(written_by(config, workflow))
        if not options:
            assert read_config(path) == through_snakemake
        return through_snakemake

    return read


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text(both, name):
    text = f"datasets: {{{name}: {{kind: digits}}}}\nmodels: {{{name}: {{dataset: {name}, architecture: x}}}}\n"
    config = both(text)
    assert list(config.datasets) == [name]
    assert list(config.models) == [name, f"{name}-random"]


def test_values_are_what_the_schema_wants(both):
    config = both(
        """
datasets:
  d: &set {kind: digits, per_class: 0o17, exclude_classes: [001, 2024-01-01, no, 1:30]}
  e: {<<: *set, per_class: 2}
models:
  m: &m
    dataset: d
    architecture: vit_tiny_patch16_224
    label: 1.50
    options: {init_values: 1e-5, depth: 0x3, dynamic_img_size: true, norm: yes, quoted: "1e-5", nothing: ~}
    weights: {train: {learning_rate: 1e-3, weight_decay: 5E-2, epochs: 1e1}}
  n: {<<: *m, dataset: e, label: on, weights: 2024}
statistics: {resamples: 1E2, confidence: 9.5e-1}
store: no
"""
    )
    assert config.datasets["d"]["per_class"] == 15
    assert config.datasets["d"]["exclude_classes"] == ["001", "2024-01-01", "no", "1:30"]
    assert (config.datasets["e"]["kind"], config.datasets["e"]["per_class"]) == ("digits", 2)
    model, other = config.models["m"], config.models["n"]
    options = {"init_values": 1e-5, "depth": 3, "dynamic_img_size": True, "norm": "yes", "quoted": "1e-5"}
    assert model["options"] == options | {"nothing": None}
    assert (model["label"], other["label"], other["weights"], config.store) == ("1.50", "on", "2024", "no")
    assert [model["weights"]["train"][key] for key in ("learning_rate", "weight_decay")] == [1e-3, 0.05]
    epochs, resamples = model["weights"]["train"]["epochs"], config.statistics["resamples"]
    assert (epochs, type(epochs), resamples, type(resamples)) == (10, int, 100, int)


@pytest.mark.parametrize(
    ("text", "keys", "lines"),
    [
        (HEAD + "seed: 1\nstore: x\nseed: 2\n", ["seed"], [(3, 5)]),
        (
            "datasets: {d: {kind: digits, kind: parquet}}\nmodels:\n  m:\n    dataset: d\n    'dataset': d\n",
            ["kind", "dataset"], [(1, 1), (4, 5)],
        ),
        (HEAD + "on: 1\n'on': 2\n", ["on"], [(3, 4)]),
    ],
)  # fmt: skip
def test_keys_given_twice_are_refused_with_both_lines(both, tmp_path, text, keys, lines):
    with pytest.raises(InputError) as refusal:
        both(text)
    said = str(refusal.value).splitlines()
    for line, key, (first, second) in zip(said, keys, lines, strict=True):
        assert f"my.yaml: the key '{key}' is given twice: in line {first}, column" in line
        assert f"in line {second}, column" in line
    with pytest.raises(InputError, match="given twice"):
        read_config(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: !!python/object:os.system {}", "the tag !!python/object:os.system is not known here; leave it out"),
        ("? [a, b]\n: 1", "a key is text"),
        ("seed: !!int twelve", "'twelve' is no int"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("datasets: [", "config file {}: while parsing"),
        ('{\n\t"datasets": [', "config file {}: while "),
        ("[" * 1000, "nested too deep"),
        ("- a\n- b", "give at least the sections datasets and models"),
        ("", "give at least the sections datasets and models"),
        (None, "{}"),
        (b"models: \xff", "config file {}: "),
        (b"models: \xff", "save it as UTF-8"),
        ("a: &x [*x]", "aliases"),
        (HEAD + "statistics:\n", "statistics: nothing is given; give a section of keys, or leave the key out"),
        (HEAD + "tuned_lens: {penalty: .nan}", "penalty: 'nan' is not of type 'number'; give a finite number"),
        (HEAD + "statistics: {resamples: 99.5}", "statistics.resamples: '99.5' is not of type 'integer'"),
        (HEAD + "statistics: {resamples: 1_000}", "resamples: '1_000' is not of type 'integer'; give a whole number"),
        (HEAD.replace("kind", "2024"), "unknown key '2024'"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "my.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as refusal:
        read_config(path)
    assert said.format(path) in str(refusal.value)
    assert "string>" not in str(refusal.value)


def test_options_on_the_command_line(both):
    given = [
        "statistics={resamples: 99, confidence: 9e-1}",
        "models={m: {weights: random, random_twin: false, label: 2024}}",
        *("figures=null", "seed=3", "store=2024", "tuned_lens={steps: '0'}"),
        "memories={value_vectors: [{branch: mlp, block: 0, memory: 1}]}",
        "models={m: {options: {init_values: 1e-5}}}",
    ]
    merged = {}
    for entry in given:
        update_config(merged, parse_config([entry]))
    config = both(HEAD + "figures: []\n", config=merged)
    assert config.statistics == {"resamples": 99, "confidence": 0.9, "correction": "holm"}
    model = config.models["m"]
    assert (model["weights"], model["random_twin"], model["label"]) == ("random", False, "2024")
    assert model["options"] == {"init_values": 1e-5}
    assert (config.figures, config.seed, config.store, config.tuned_lens["steps"]) == (None, 3, "2024", 0)
    assert config.memories["value_vectors"] == [{"branch": "mlp", "block": 0, "memory": 1}]


def test_several_files_and_those_of_the_workflow_itself(tmp_path):
    """In Snakemake's order: `configfile:` of the workflow, then those of the command line, then `--config`."""

    a, b, own = (tmp_path / f"{name}.yaml" for name in ("a", "b", "own"))
    own.write_text(HEAD + "seed: 1\nstatistics: {resamples: 1e2}\n")
    a.write_text("seed: 2\nmodels: {on: {dataset: d, architecture: x}}\n")
    b.write_text("statistics: {confidence: 5e-1}\n")
    for replace in (False, True):
        given = parse_config(["statistics={resamples: 99}"])
        settings = ConfigSettings(config=given, configfiles=[a, b], replace_workflow_config=replace)
        config = copy.deepcopy(settings.overwrite_config)
        update_config(config, load_configfile(own))
        config = {} if replace else config
        update_config(config, settings.overwrite_config)
        workflow = SimpleNamespace(config_settings=settings, configfiles=[*settings.configfiles, str(own)])
        written = written_by(config, workflow)
        assert list(written["models"]) == (["on"] if replace else ["on", "m"])
        assert (written["seed"], written["statistics"]) == (2, {"confidence": 0.5, "resamples": 99})


def test_a_part_of_a_larger_config_as_a_module_has_it(tmp_path):
    path = tmp_path / "outer.yaml"
    inner = HEAD.replace("m:", "on:").replace("\nmodels", "\n  models")
    path.write_text(f"deep:\n lens:\n  {inner}\n  seed: 1e2\nother: 2024-01-01\n")
    config, workflow = snakemake_reads(path)
    assert True in config["deep"]["lens"]["models"]
    written = written_by(OrderedDict(config["deep"]["lens"]), workflow)
    assert (list(written["models"]), written["seed"]) == (["on"], 100)
    # What is wrong elsewhere is the outer workflow's.
    path.write_text(f"lens:\n  {inner.replace('on:', 'm:')}\nother: !!timestamp 2024-01-01\nseed: 1\nseed: 2\n")
    config, workflow = snakemake_reads(path)
    assert list(written_by(config["lens"], workflow)["models"]) == ["m"]


def test_a_table_that_a_workflow_made_itself():
    settings = SimpleNamespace(config={}, configfiles=[], replace_workflow_config=False)
    workflow = SimpleNamespace(configfiles=[], config_settings=settings)
    table = yaml.load(HEAD, yaml.FullLoader)
    table["models"]["m"]["options"] = {"init_values": "1e-5"}
    table["models"][2024] = {"dataset": "d", "architecture": "x", "label": datetime.date(2024, 1, 1)}
    table["statistics"] = {"resamples": "99"}
    written = written_by(table, workflow)
    assert written["models"]["m"]["options"] == {"init_values": 1e-5}
    assert written["models"]["2024"]["label"] == "2024-01-01"
    assert written["statistics"] == {"resamples": 99}
    table["models"][True] = table["models"]["m"]
    with pytest.raises(InputError, match="a name was read as True, not as text; put it into quotes"):
        written_by(table, workflow)
    del table["models"][True]
    table["models"]["m"]["label"] = False
    with pytest.raises(InputError, match=r"models\.m\.label: False is not text; put the word into quotes"):
        load_config(written_by(table, workflow))


def test_a_template_is_what_snakemake_makes_of_it(both):
    config = both("__use_yte__: true\n?if True:\n  seed: ?1 + 1\n" + HEAD, config={"store": "x"})
    assert config.seed == 2


def test_json(both):
    """Indented by tabs, and with characters that it spells in halves."""
    data = '\t"datasets": {"d": {"kind": "digits"}},\n'
    assert both(f'{{\n{data}\t"models": {{"m": {{"dataset": "d", "architecture": "x"}}}}\n}}').seed == 0
    assert yaml12.load('{"label": "\\ud83d\\ude00"}', "a.json") == {"label": "\U0001f600"}


def test_what_a_run_keeps_is_read_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["on", "1e-3", "0o17", "null", "2024-01-01", "1:30", "1_000", "é", "x: y"]
    kept = {"a": words, "f": 1e-5, "i": 3, "n": None, "yes": True}
    keep_config(kept, ["a.yaml", "b.yaml"])
    assert yaml12.meaning(read_words(find_config(tmp_path))["f"]) == 1e-5
    text = find_config(tmp_path).read_text()
    assert yaml.safe_load(text) == kept
    assert as_wanted({}, yaml12.load(text, "kept")) == kept


def test_home_is_expanded_wherever_a_path_is_given(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    model = {"dataset": "d", "architecture": "x", "weights": "~/w.pth", "head": "~/h.npz", "label": "~/label"}
    dataset = {"kind": "image_folder", "root": "~/data", "masks": "~/masks"}
    config = load_config({"datasets": {"d": dataset}, "models": {"m": model}, "store": "~/store"})
    assert [config.datasets["d"][key] for key in ("root", "masks")] == ["/home/me/data", "/home/me/masks"]
    found = {key: config.models["m"][key] for key in ("weights", "head", "label")}
    assert found == {"weights": "/home/me/w.pth", "head": "/home/me/h.npz", "label": "~/label"}
    assert config.store == "/home/me/store"


def in_files(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_config_starts_from_another_one(both, tmp_path):
    """In a chain of three, each relative to the file that names it; whoever reads it, --config goes on top."""
    base = HEAD + "seed: 1\nstatistics: {resamples: 99}\nprobes: {blocks: [0, 1]}\n"
    two = "extends: base.yaml\nmodels: {n: {dataset: d, architecture: x, options: {depth: 2}, label: on}}\n"
    in_files(tmp_path / "common", base=base, two=two)
    own = """
extends: common/two.yaml
seed: 1e1
datasets: {d: {per_class: ~}}
models: {m: null, n: {options: {init_values: 1e-5}, random_twin: false}}
statistics: {confidence: 0.9}
probes: {blocks: [1]}
"""
    for given in ({}, {"seed": 3, "models": {"n": {"label": "x"}}}):
        config = both(own, **({"config": given} if given else {}))
        assert list(config.models) == ["n"]  # null in the place of a section leaves it out
        assert config.datasets["d"]["per_class"] is None  # elsewhere it is a value
        assert config.models["n"]["options"] == {"depth": 2, "init_values": 1e-5}
        assert config.statistics == {"resamples": 99, "confidence": 0.9, "correction": "holm"}
        assert config.probes["blocks"] == [1]
        assert (config.seed, config.models["n"]["label"]) == ((3, "x") if given else (10, "on"))


@pytest.mark.usefixtures("described_here")
def test_what_a_config_changes_of_its_base_is_told(tmp_path):
    in_files(tmp_path, base=HEAD + "seed: 1\n", same=f"extends: base.yaml\n{HEAD}")
    in_files(tmp_path, own="extends: same.yaml\nmodels: {m: {label: A}}\nseed: 1\nprobes: {blocks: [0]}\n")
    first, second, *_ = check(tmp_path / "own.yaml", quick=True).notes
    assert first.startswith(f"config: {tmp_path}/own.yaml extends {tmp_path}/same.yaml, with ")
    assert first.endswith(', with models.m.label: A; probes: {"blocks": ["0"]}')
    assert second.endswith("base.yaml, with nothing of its own")


def test_a_kept_config_names_the_file_that_extends(tmp_path, monkeypatch):
    """So that later edits of it and of its base count."""
    monkeypatch.chdir(tmp_path)
    in_files(tmp_path, base=HEAD, own="extends: base.yaml\nseed: 7\n")
    keep_config(as_meant(read_words("own.yaml")), ["own.yaml"])
    in_files(tmp_path, base=HEAD + "store: x\n")
    assert (read_config(find_config(tmp_path)).seed, read_config(find_config(tmp_path)).store) == (7, "x")
    keep_config(as_meant(read_words("own.yaml")) | {"seed": 8}, ["own.yaml"])
    kept = read_config(find_config(tmp_path))
    assert (kept.seed, list(kept.datasets)) == (8, ["d"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: base.yaml", r"would start from itself: \S*own\.yaml extends \S*base\.yaml extends \S*own"),
        ("extends: ./own.yaml", "own.yaml extends .*own.yaml; remove one `extends`"),
        ("extends: nowhere.yaml", r"config file \S*own\.yaml: extends: .*No such file .*nowhere\.yaml"),
        ("extends: [a.yaml, b.yaml]", "extends: give the path of one config file"),
        ("extends:", "extends: give the path of one config file"),
        ("extends: loop.yaml\na: &x {a: *x}", "aliases"),
    ],
)  # fmt: skip
def test_bases_that_cannot_be(tmp_path, text, said):
    in_files(tmp_path, own=text, base="extends: own.yaml", loop="a: &x {a: *x}")
    with pytest.raises(InputError, match=said):
        read_config(tmp_path / "own.yaml")


def test_only_files_start_from_others(both, tmp_path):
    in_files(tmp_path, base=HEAD)
    with pytest.raises(InputError, match="extends: only a config file can start from another one"):
        both(HEAD, config={"extends": "base.yaml"})
    in_files(tmp_path, outer="lens: {extends: base.yaml}\n")
    config, workflow = snakemake_reads(tmp_path / "outer.yaml")
    with pytest.raises(InputError, match="not a section of one"):
        load_config(written_by(config["lens"], workflow))

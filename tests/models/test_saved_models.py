"""Models that timm saved, by the names that timm has for them, in configs."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from declared_jobs import described as job_params
from timm.models import save_for_hf
from tiny_transformers import describe_here

from classlens.catalog import files
from classlens.catalog.configs import load_config
from classlens.check.findings import check
from classlens.config import architecture
from classlens.config.architecture import with_architectures
from classlens.errors import InputError
from classlens.models.head import save_head
from classlens.models.published import published_note
from classlens.models.weights import assemble, write_weights
from classlens.shipped import PACKAGE

OPTIONS = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}
LOCAL, HUB = "local-dir:saved", "hf-hub:someone/digits"
MODEL = {"model": "m"}


@pytest.fixture
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    describe_here(monkeypatch)
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **OPTIONS).eval()
    save_for_hf(model, "saved", model_config={"label_names": list("abcdefghij")}, model_args=OPTIONS)
    return model


def on_hub(tmp_path, monkeypatch):
    """Let a file be in the cache of Hugging Face once it has been asked for."""
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda name, file, revision=None: str(tmp_path / "saved" / file)
    )
    monkeypatch.setattr(
        timm.models._hub,
        "hf_hub_download",
        lambda repo=None, name=None, filename=None, **_: str(tmp_path / "saved" / (name or filename)),
    )


def config(name=LOCAL, **more):
    return load_config(
        {
            "datasets": {"d": {"kind": "digits"}},
            "models": {"m": {"dataset": "d", "architecture": name, "transform": {"size": 16}, **more}},
        }
    )


def job(complete, name="weights", **wildcards):
    return job_params(name, complete, {**MODEL, **wildcards}, PACKAGE.parent)


@pytest.mark.parametrize("name", [LOCAL, HUB])
def test_jobs_see_the_architecture_and_options_that_a_name_stands_for(name, working, tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch)
    complete = with_architectures(config(name))
    assert complete.architecture("m")["class_names"] == list("abcdefghij")
    for described in (job(complete), job(complete, "extract", shard="0")):
        own = described["config"]
        assert own["architecture"] == "vit_tiny_patch16_224"
        assert {**own["options"], **OPTIONS, "img_size": [16, 16]} == own["options"]
    assert job_params("weights", complete, {"model": "m-random"}, PACKAGE.parent)["config"]["origin"] == "random"


def test_a_folders_weights_are_an_input(working, tmp_path):
    complete = with_architectures(config())
    sources = files.checkpoint(complete, MODEL)
    assert sources == ["saved/pytorch_model.bin"]
    write_weights(sources, [], str(tmp_path / "out.safetensors"), **job(complete)["config"])
    from classlens.models.canonical import load_model

    written = load_model(tmp_path / "out.safetensors", "vit_tiny_patch16_224", OPTIONS)
    timms = timm.create_model(LOCAL, pretrained=True).eval()
    images = torch.randn(1, 3, 16, 16)
    for model in (timms, working):
        assert torch.equal(written(images), model(images))


def test_weights_of_a_hub_are_timms(working, tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch)
    monkeypatch.setattr(timm.models._hub, "_get_safe_alternatives", lambda _name: ())
    own = job(with_architectures(config(HUB)))["config"]
    assert own["origin"] == HUB
    assert write_weights([], [], str(tmp_path / "out.safetensors"), **own) is None
    assert "huggingface.co/someone/digits" in published_note(HUB, {})


def test_a_changed_folder_changes_keys(working):
    """Heads are in no tensor's shape: the weights' file stays as it is, and all that is computed is another."""
    before = with_architectures(config())
    described = json.loads(Path("saved/config.json").read_text())
    described["model_args"]["num_heads"] = 4
    Path("saved/config.json").write_text(json.dumps(described))
    after = with_architectures(config())
    assert (before.architecture("m")["heads"], after.architecture("m")["heads"]) == (2, 4)
    assert job(before, "extract", shard="0")["key"] != job(after, "extract", shard="0")["key"]


def test_facts_are_asked_once(working, monkeypatch):
    with_architectures(config())
    monkeypatch.setattr(architecture, "_describe", lambda requests: [{"error": "asked again"} for _ in requests])
    with_architectures(config())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("local-dir:nowhere", "there is no folder nowhere"),
        ("local-dir:empty", r"empty has no config\.json.*save_for_hf"),
        ("local-dir:hf", "transformers.*leave the key `architecture` out"),
        ("google/vit-base-patch16-224", "Use 'hf-hub:google/vit-base-patch16-224'"),
        ("./saved", r"local-dir:\./saved"),
        ("ftp:saved", "Unknown model source 'ftp'"),
        ("local-dir:", "no model id"),
        ("local-dir:broken", "broken has no|broken is a folder"),
    ],
)
def test_names_that_stand_for_nothing(name, said, working):
    for folder, text in (("empty", None), ("hf", '{"model_type": "vit", "hidden_size": 768}'), ("broken", "{")):
        Path(folder).mkdir()
        if text:
            Path(folder, "config.json").write_text(text)
    with pytest.raises(InputError, match=said):
        with_architectures(config(name))


def test_a_hub_that_is_not_reached(working, monkeypatch):
    def refuse(*_args, **_options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(InputError, match=r"cannot reach the hub$"):
        with_architectures(config(HUB))


def test_check_says_what_is_taken(working):
    Path("my.yaml").write_text(
        json.dumps(
            {
                "datasets": {"d": {"kind": "digits", "per_class": 1, "train_per_class": 1}},
                "models": {"m": {"dataset": "d", "architecture": LOCAL, "transform": {"size": 16}}},
            }
        )
    )
    notes = check("my.yaml", quick=True).notes
    assert any(note.startswith("models.m: of saved/pytorch_model.bin 32 tensors") for note in notes)
    shutil.rmtree("saved")
    assert any("there is no folder saved" in problem for problem in check("my.yaml", quick=True).problems)


@pytest.mark.parametrize("weights", ["random", "pretrained", {"train": {}}])
def test_weights_key_needs_a_file(weights):
    with pytest.raises(InputError, match=r"models\.m\.weights_key: `weights` is no file"):
        config("vit_tiny_patch16_224", weights=weights, weights_key="teacher")


def test_weights_key_reaches_the_job(working):
    torch.save({"teacher": working.state_dict(), "student": working.state_dict()}, "w.pth")
    options = {key: value for key, value in OPTIONS.items() if key != "num_classes"}
    more = {"weights": "w.pth", "options": options}
    with_key = job(with_architectures(config("vit_tiny_patch16_224", weights_key="student", **more)))["config"]
    without = job(with_architectures(config("vit_tiny_patch16_224", **more)))["config"]
    assert "key" not in without
    assert with_key == {**without, "key": "student"}


def test_a_folder_as_weights_is_told_before_anything_runs(working):
    with pytest.raises(InputError, match=r'models\.m\.weights: saved .*write `architecture: "local-dir:saved"`'):
        with_architectures(config("vit_tiny_patch16_224", weights="saved", options=OPTIONS))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", LOCAL])
def test_a_head_that_timm_would_draw_at_random(name, working, monkeypatch):
    """Timm takes pretrained weights for any number of classes, and leaves fresh whatever then does not fit."""
    state = {"file": "saved/pytorch_model.bin", "source": None, "hf_hub_id": None, "url": None, "custom_load": False}
    own = timm.create_model
    if name != LOCAL:
        overlay = {**state, "num_classes": 10}
        monkeypatch.setattr(timm, "create_model", lambda *a, **k: own(*a, **k, pretrained_cfg_overlay=overlay))
    options = OPTIONS if name != LOCAL else {}
    origin = name if name == LOCAL else "pretrained"

    def made(head=None, **more):
        return assemble(
            None, architecture="vit_tiny_patch16_224", options={**options, **more}, origin=origin, head=head
        )

    assert torch.equal(made().state_dict()["head.weight"], working.head.weight)
    said = "num_classes is 5, but its pretrained weights bring a head for 10 classes"
    with pytest.raises(InputError, match=said):
        made(num_classes=5)
    with pytest.raises(InputError, match=rf"models\.m: options\.{said}"):
        with_architectures(config(name, options={**options, "num_classes": 5}))
    with_architectures(config(name, options=options))
    save_head("head.npz", torch.ones(5, 16).numpy())
    with_architectures(config(name, options=options, head="head.npz"))
    headed = made(Path("head.npz"), num_classes=5).state_dict()
    assert torch.equal(headed.pop("head.weight"), torch.ones(5, 16))
    assert all(torch.equal(headed[key], tensor) for key, tensor in working.state_dict().items() if "head" not in key)
    with pytest.raises(InputError, match=r"ls1\.gamma"):
        made(Path("head.npz"), num_classes=5, init_values=0.1)

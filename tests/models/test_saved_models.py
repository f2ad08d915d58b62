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
from classlens.models.canonical import load_model
from classlens.models.head import save_head
from classlens.models.published import published_note
from classlens.models.weights import assemble, write_weights
from classlens.shipped import PACKAGE

OPTIONS = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}
LOCAL, HUB = "local-dir:saved", "hf-hub:someone/digits"
MODEL, PLAIN = {"model": "m"}, "vit_tiny_patch16_224"


@pytest.fixture
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    describe_here(monkeypatch)
    torch.manual_seed(0)
    model = timm.create_model(PLAIN, **OPTIONS).eval()
    save_for_hf(model, "saved", model_config={"label_names": list("abcdefghij")}, model_args=OPTIONS)
    return model


def on_hub(tmp_path, monkeypatch):
    """Let a file be in the cache of Hugging Face once it has been asked for."""

    def cached(repo=None, name=None, filename=None, **_):
        return str(tmp_path / "saved" / (name or filename))

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", cached)


def written(name=LOCAL, **more):
    model = {"dataset": "d", "architecture": name, "transform": {"size": 16}, **more}
    return {"datasets": {"d": {"kind": "digits", "per_class": 1, "train_per_class": 1}}, "models": {"m": model}}


def config(name=LOCAL, **more):
    return load_config(written(name, **more))


def job(complete, name="weights", **wildcards):
    return job_params(name, complete, {**MODEL, **wildcards}, PACKAGE.parent)


@pytest.mark.parametrize("name", [LOCAL, HUB])
def test_jobs_see_the_architecture_and_options_that_a_name_stands_for(name, working, tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch)
    complete = with_architectures(config(name))
    assert complete.architecture("m")["class_names"] == list("abcdefghij")
    for described in (job(complete), job(complete, "extract", shard="0")):
        own = described["config"]
        assert own["architecture"] == PLAIN
        assert {**own["options"], **OPTIONS, "img_size": [16, 16]} == own["options"]
    assert job_params("weights", complete, {"model": "m-random"}, PACKAGE.parent)["config"]["origin"] == "random"


def test_a_folders_weights_are_an_input(working, tmp_path):
    complete = with_architectures(config())
    sources = files.checkpoint(complete, MODEL)
    assert sources == ["saved/pytorch_model.bin"]
    write_weights(sources, [], str(tmp_path / "out.safetensors"), **job(complete)["config"])
    ours = load_model(tmp_path / "out.safetensors", PLAIN, OPTIONS)
    images = torch.randn(1, 3, 16, 16)
    for model in (timm.create_model(LOCAL, pretrained=True).eval(), working):
        assert torch.equal(ours(images), model(images))


def test_weights_of_a_hub_are_timms(working, tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch)
    monkeypatch.setattr(timm.models._hub, "_get_safe_alternatives", lambda _name: ())
    own = job(with_architectures(config(HUB)))["config"]
    assert own["origin"] == HUB
    assert write_weights([], [], str(tmp_path / "out.safetensors"), **own) is None
    assert "huggingface.co/someone/digits" in published_note(HUB, {})


def test_a_changed_folder_changes_keys_and_facts_are_asked_once(working, monkeypatch):
    """Heads are in no tensor's shape: the weights' file stays as it is, and all that is computed is another."""
    before = with_architectures(config())
    described = json.loads(Path("saved/config.json").read_text())
    described["model_args"]["num_heads"] = 4
    Path("saved/config.json").write_text(json.dumps(described))
    after = with_architectures(config())
    assert (before.architecture("m")["heads"], after.architecture("m")["heads"]) == (2, 4)
    assert job(before, "extract", shard="0")["key"] != job(after, "extract", shard="0")["key"]
    monkeypatch.setattr(architecture, "_describe", lambda requests: [{"error": "asked again"} for _ in requests])
    with_architectures(config())


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("local-dir:nowhere", {}, "there is no folder nowhere"),
        ("local-dir:empty", {}, r"empty has no config\.json.*save_for_hf"),
        ("local-dir:hf", {}, "transformers.*leave the key `architecture` out"),
        ("google/vit-base-patch16-224", {}, "Use 'hf-hub:google/vit-base-patch16-224'"),
        ("./saved", {}, r"local-dir:\./saved"),
        ("ftp:saved", {}, "Unknown model source 'ftp'"),
        ("local-dir:", {}, "no model id"),
        ("local-dir:broken", {}, "broken has no|broken is a folder"),
        *(
            (PLAIN, {"weights": weights, "weights_key": "teacher"}, r"models\.m\.weights_key: `weights` is no file")
            for weights in ("random", "pretrained", {"train": {}})
        ),
        (
            PLAIN,
            {"weights": "saved", "options": OPTIONS},
            r'models\.m\.weights: saved .*write `architecture: "local-dir:saved"`',
        ),
    ],
)
def test_names_and_keys_that_stand_for_nothing(name, more, said, working):
    for folder, text in (("empty", None), ("hf", '{"model_type": "vit", "hidden_size": 768}'), ("broken", "{")):
        Path(folder).mkdir()
        if text:
            Path(folder, "config.json").write_text(text)
    with pytest.raises(InputError, match=said):
        with_architectures(config(name, **more))


def test_a_hub_that_is_not_reached(working, monkeypatch):
    def refuse(*_args, **_options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(InputError, match=r"cannot reach the hub$"):
        with_architectures(config(HUB))


def test_check_says_what_is_taken(working):
    Path("my.yaml").write_text(json.dumps(written()))
    notes = check("my.yaml", quick=True).notes
    assert any(note.startswith("models.m: of saved/pytorch_model.bin 32 tensors") for note in notes)
    shutil.rmtree("saved")
    assert any("there is no folder saved" in problem for problem in check("my.yaml", quick=True).problems)


def test_weights_key_reaches_the_job(working):
    torch.save({"teacher": working.state_dict(), "student": working.state_dict()}, "w.pth")
    options = {key: value for key, value in OPTIONS.items() if key != "num_classes"}
    more = {"weights": "w.pth", "options": options}
    with_key = job(with_architectures(config(PLAIN, weights_key="student", **more)))["config"]
    without = job(with_architectures(config(PLAIN, **more)))["config"]
    assert "key" not in without
    assert with_key == {**without, "key": "student"}


@pytest.mark.parametrize("name", [PLAIN, LOCAL])
def test_a_head_that_timm_would_draw_at_random(name, working, monkeypatch):
    """Timm takes pretrained weights for any number of classes, and leaves fresh whatever then does not fit."""
    options, origin = {}, LOCAL
    if name != LOCAL:
        options, origin, own = OPTIONS, "pretrained", timm.create_model
        overlay = {"file": "saved/pytorch_model.bin", "custom_load": False, "num_classes": 10}
        overlay |= dict.fromkeys(("source", "hf_hub_id", "url"))
        monkeypatch.setattr(timm, "create_model", lambda *a, **k: own(*a, **k, pretrained_cfg_overlay=overlay))

    def made(head=None, **more):
        given = {"architecture": PLAIN, "options": {**options, **more}, "origin": origin}
        return assemble(None, **given, head=head)

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

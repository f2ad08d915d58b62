"""The certificate of each library's models, and its way through config, jobs, check and provenance."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from declared_jobs import described as job_params
from test_huggingface import CASES, PICTURES, made
from timm.models import save_for_hf
from tiny_transformers import describe_here

from classlens.catalog import files
from classlens.catalog.configs import load_config
from classlens.check.findings import _check_weights
from classlens.config.architecture import with_architectures
from classlens.data.geometry import sides
from classlens.data.image_folder import ImageFolder
from classlens.errors import InputError
from classlens.models.build import create
from classlens.models.canonical import load_model
from classlens.models.head import save_head
from classlens.shipped import PACKAGE
from classlens.sources import certificate
from classlens.sources.bring import certified, write_brought
from classlens.sources.describe import described
from classlens.sources.find import find

transformers = pytest.importorskip("transformers")
VIT, MODEL = CASES[0], {"model": "m"}


def saved(folder, case, processor="ViTImageProcessor"):
    model = made(*case)
    model.config.id2label = dict(enumerate("vwxyz"))
    model.save_pretrained(folder)
    if processor:
        getattr(transformers, processor)(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


def write_torchvision(folder):
    from torchvision.models.vision_transformer import VisionTransformer

    shape = {"image_size": 32, "patch_size": 16, "num_layers": 1, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 8}
    model = VisionTransformer(**shape, num_classes=5)
    torch.nn.init.normal_(model.heads.head.weight)  # which is zero otherwise
    torch.save(model.state_dict(), folder / "model.pth")
    return str(folder / "model.pth"), 5


def write_open_clip(folder):
    from test_openclip import made as tower

    model, config = tower()
    pictures = {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 32, "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pictures}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return str(folder), 20


def write_open_clip_checkpoint(folder):
    import open_clip

    name, classes = write_open_clip(folder)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (folder / "tiny-tower.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-tower.json")
    return f"open_clip:tiny-tower/{name}/open_clip_pytorch_model.bin", classes


def write_peft(folder):
    from test_peft import adapted

    saved(folder / "base", VIT)
    base = transformers.ViTForImageClassification.from_pretrained(folder / "base")
    adapted(base).save_pretrained(folder / "lora")
    return str(folder / "lora"), 5


@pytest.mark.parametrize("write", [write_torchvision, write_open_clip, write_open_clip_checkpoint, write_peft])
def test_models_of_other_libraries_are_certified(write, tmp_path):
    if "clip" in write.__name__:
        pytest.importorskip("open_clip")
    name, classes = write(tmp_path)
    found = find(name)
    _, model, told = certified(name, PICTURES, found.transform)
    assert (told["certified"], told["library"], told["agree"], model.num_classes) == (True, found.library, 3, classes)
    assert told["difference"] <= 1e-5 * told["largest"]
    assert told["largest"] > 0.01
    assert told["versions"][found.library]
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "mlp" in name).mul_(-9)
    with pytest.raises(InputError, match=f"timm's model differs from {found.library}'s? own by"):
        certificate.certify(name, found, model, PICTURES, found.transform)


def test_both_ways_of_pictures_are_compared_and_without_the_library_none(tmp_path, monkeypatch, caplog):
    saved(tmp_path, VIT)
    told = certified(str(tmp_path), PICTURES, find(tmp_path).transform)[2]
    assert told["inputs"] == 4 + 2 * len(PICTURES)
    assert told["text"].startswith("outputs equal transformers' own")
    assert told["text"].endswith("3 of 3 predictions")
    monkeypatch.setitem(sys.modules, "transformers", None)
    _, model, told = certified(str(tmp_path), PICTURES, find(tmp_path).transform)
    assert not told["certified"]
    assert caplog.text.count("not certified: transformers is not installed (pip install 'classlens[sources]')") == 1
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def work_in(folder, monkeypatch):
    """Go to a folder with a picture of each of five classes; architectures are described in this process."""
    monkeypatch.chdir(folder)
    describe_here(monkeypatch)
    for name in "vwxyz":
        Path("data", name).mkdir(parents=True)
        PICTURES[0].save(Path("data", name, "a.png"))
    digest = hashlib.sha256(Path("data/v/a.png").read_bytes()).hexdigest()
    rows = "".join(f"evaluation,{n},{n},{c},{c},{c}/a.png,{digest}\n" for n, c in enumerate("vwxyz"))
    Path("stimuli.csv").write_text("split,image,class_index,class_id,class_name,file,sha256\n" + rows)


@pytest.fixture
def working(tmp_path, monkeypatch):
    work_in(tmp_path, monkeypatch)
    return saved(Path("vit"), VIT)


def config(words=None, **model):
    data = {"kind": "image_folder", "root": "data", "per_class": None}
    models = {"m": {"dataset": "d", "weights": "vit", **model}}
    return load_config({"datasets": {"d": data}, "models": models, "words": words or {}})


def bring(complete, head=()):
    """Do the job and return its provenance."""
    told = job_params("brought_weights", complete, MODEL, PACKAGE.parent)
    asked = {**told["config"], **told["local"], "source": ImageFolder}
    return write_brought(files.checkpoint(complete, MODEL), head, "stimuli.csv", "w.safetensors", "c.json", **asked)


def test_a_config_says_weights_and_no_architecture(working, tmp_path):
    complete = with_architectures(config())
    known = complete.architecture("m")
    assert (known["class_names"], known["source"]) == (list("vwxyz"), {"library": "transformers", "kind": "vit"})
    assert complete.transform("m")["resize"] == "squash"
    assert files.checkpoint(complete, MODEL) == [
        "vit/config.json",
        "vit/preprocessor_config.json",
        "vit/model.safetensors",
    ]
    twin = job_params("weights", complete, {"model": "m-random"}, PACKAGE.parent)["config"]
    assert (twin["origin"], twin["options"]["num_classes"]) == ("random", 5)
    notes = bring(complete)
    assert json.loads(Path("c.json").read_text()) == notes["certificate"]
    assert (notes["certificate"]["images"], notes["source"]["library"]) == (5, "transformers")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = load_model("w.safetensors", *known["built_as"])
        torch.testing.assert_close(ours(images), working(images).logits, rtol=0, atol=1e-5)
        save_head("head.npz", np.eye(3, 24))
        bring(complete, ["head.npz"])
        owned = with_architectures(config(head="head.npz")).architecture("m")["built_as"]
        assert load_model("w.safetensors", *owned)(images).shape == (2, 3)
    quick = _check_weights(complete, "m", True)
    assert quick == "vit is a vit of transformers, brought to timm's vit_base_patch16_224"
    assert _check_weights(complete, "m", False).endswith(", 5 of 5 predictions")


def test_what_a_config_lacks_is_named(working, tmp_path):
    for model, said in (
        ({"weights": "random"}, r"models\.m\.architecture is missing"),
        ({"options": {"depth": 3}}, r"options\.depth: vit says it itself"),
        ({"weights": "nowhere/at-all"}, "there is no such folder or file; a model on Hugging Face is hf-hub:"),
        ({"weights": "data"}, "data is a folder; name the checkpoint in it"),
        ({"transform": {"size": 48}}, "transform.size is 48, but vit takes 32"),
    ):
        with pytest.raises(InputError, match=said):
            with_architectures(config(**model))
    assert with_architectures(config(options={"img_size": 48})).architecture("m")["tokens"] == 37


# Images that are no squares or have any size

WRAPPED = CASES[-1]
SIDES = [[32, 48], [48, 32]]


@pytest.mark.parametrize("size", SIDES)
def test_a_rectangle_is_described_built_and_certified(size, tmp_path):
    saved(tmp_path, VIT, None)
    facts = described(f"source:{tmp_path}", {"img_size": size})
    assert (facts["grid"], list(facts["transform"]["size"])) == ([size[0] // 8, size[1] // 8], size)
    _, model, told = certified(str(tmp_path), PICTURES, facts["transform"])
    assert model(torch.zeros(1, 3, *size)).shape == (1, 5)
    assert told["certified"]


@pytest.mark.parametrize("of_timm", [False, True])
@pytest.mark.parametrize("size", [*SIDES, 32, None])
def test_a_model_of_any_size_is_described_at_that_of_its_images(size, of_timm, tmp_path):
    name, config, inside = WRAPPED
    more = {**inside["model_args"], "dynamic_img_size": True}
    if of_timm:
        save_for_hf(create(inside["architecture"], {**more, "num_classes": 5}), tmp_path, model_args=more)
    else:
        saved(tmp_path, (name, config, {**inside, "model_args": more}), None)
    facts = described(f"source:{tmp_path}", {}, size)
    rows, columns = size if isinstance(size, list) else (32, 32)
    assert facts["grid"] == [rows // 16, columns // 16]
    architecture, options = facts["built_as"]
    assert create(architecture, options, device="meta").patch_embed.img_size == (rows, columns)
    assert sides(facts["transform"]["size"]) == (rows, columns)

"""open_clip's image towers, live and as state dicts, against encode_image."""

import json

import pytest
import torch

from classlens.errors import InputError
from classlens.sources.find import load
from classlens.sources.live import brought
from classlens.sources.openclip import from_tensors
from classlens.sources.source import timm_model

open_clip = pytest.importorskip("open_clip")

VISION = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "mlp_ratio": 2.1}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
INSIDE = {"timm_model_name": "vit_base_patch32_siglip_256", "timm_pool": "map", "timm_proj": "none", "image_size": 256}
CASES = [
    {},
    {"quick_gelu": True},
    {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
    {"ls_init_value": 0.1, "norm_kwargs": {"eps": 1e-3}},
]


def made(**more):
    torch.manual_seed(0)
    quick = more.pop("quick_gelu", False)
    vision = INSIDE if more.pop("inside", False) else {**VISION, **more}
    config = {"embed_dim": 768 if vision is INSIDE else 20, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": quick}
    return open_clip.CLIP(**config).eval(), config


@pytest.mark.parametrize("more", [*CASES, {"inside": True}])
@torch.no_grad()
def test_outputs_are_those_of_encode_image(more):
    model, config = made(**more)
    size = config["vision_cfg"]["image_size"]
    images = torch.randn(2, 3, size, size)
    for ours in (brought(model), timm_model(from_tensors(config, model.state_dict(), "mine"))):
        torch.testing.assert_close(ours(images), model.encode_image(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_another_size_is_resampled_as_open_clip_does():
    (model, config), (larger, _) = made(), made(image_size=48)
    state = dict(model.state_dict())
    open_clip.model.resize_pos_embed(state, larger)
    larger.load_state_dict(state)
    ours = timm_model(from_tensors(config, model.state_dict(), "mine", 48))
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(ours(images), larger.encode_image(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_folders_and_files_are_read(tmp_path, monkeypatch):
    model, config = made()
    torch.save({"state_dict": {f"module.{key}": one for key, one in model.state_dict().items()}}, tmp_path / "a.pt")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    described = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    images = torch.randn(2, 3, 32, 32)
    ours = load(tmp_path)
    torch.testing.assert_close(ours(images), model.encode_image(images), rtol=0, atol=1e-5)
    assert (ours.pretrained_cfg["mean"], ours.pretrained_cfg["crop_mode"]) == ((0.5,) * 3, "squash")
    with pytest.raises(InputError, match=r"does not say its activation.*open_clip:ViT-B-16/.*a.pt"):
        load(tmp_path / "a.pt")
    monkeypatch.setattr("classlens.sources.openclip.config_named", lambda name: {"tiny": config}[name])
    named = load(f"open_clip:tiny/{tmp_path}/a.pt")
    torch.testing.assert_close(named(images), ours(images))


def test_unknown_names_and_towers_that_timm_does_not_compute_are_refused_by_name():
    for name, said in (
        ("ViT-Z", "has no such model"),
        ("ViT-B-16", "names no weights"),
        ("ViT-B-16/nobody", "knows no weights nobody"),
    ):
        with pytest.raises(InputError, match=said):
            load(f"open_clip:{name}")
    model, config = made()
    for more, said in (({"attentional_pool": True}, "attentional_pool"), ({"layers": [1, 2]}, "ResNet")):
        with pytest.raises(InputError, match=said):
            from_tensors({**config, "vision_cfg": {**VISION, **more}}, model.state_dict(), "mine")

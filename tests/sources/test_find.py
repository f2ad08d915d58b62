"""What a SOURCE may be, and models without a head."""

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from test_huggingface import VIT, made
from timm.models import save_for_hf

from classlens import Lens
from classlens.errors import InputError
from classlens.sources.find import find, load
from classlens.sources.place import files_of, path_of, spread

OPTIONS = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_lens_looks_at_a_folder_and_at_the_live_model_alike(tmp_path):
    pytest.importorskip("transformers")
    model = made("ViTForImageClassification", "ViTConfig", {**VIT, "id2label": dict(enumerate("vwxyz"))})
    model.save_pretrained(tmp_path)
    lens = Lens.load(tmp_path, class_names=list("abcde"), batch_size=1)
    live = Lens(model)
    assert lens.classes.label(1) == "b"
    assert live.classes.label(1) == "w"
    torch.testing.assert_close(lens(IMAGES).rank(), live(IMAGES).rank())
    assert Lens.load(tmp_path, 48)(torch.zeros(1, 3, 48, 48)).rank().shape == (2, 1, 37)


@torch.no_grad()
def test_a_model_without_a_head_shows_tokens_and_says_what_needs_classes(tmp_path):
    pytest.importorskip("transformers")
    model = made("Dinov2Model", "Dinov2Config", {**VIT, "mlp_ratio": 2})
    lens = Lens(model)
    view = lens(IMAGES)
    torch.testing.assert_close(view.output, model(IMAGES).pooler_output.numpy(), rtol=0, atol=1e-5)
    assert view.tokens("attn").shape == (2, 2, 17, 24)
    assert lens.heads(IMAGES, 0).shape == (2, 3, 17, 8)
    with lens.ablate(tokens=[3], block=0):
        assert np.abs(lens(IMAGES).output - view.output).max() > 1e-3
    assert view.explain(method="attention").importance.shape == (16,)
    for ask in (view.rank, view.logit, view.top, view.explain, view.attribution, lambda: view.logit(class_index=0)):
        with pytest.raises(InputError, match=r"the model has no head, so it has no classes .*model.head"):
            ask()
    with pytest.raises(InputError, match="has no head"):
        Lens(model, class_names=["a"])


@torch.no_grad()
def test_models_that_timm_saved_are_timms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = timm.create_model("vit_tiny_patch16_224", **OPTIONS).eval()
    save_for_hf(model, "saved", model_args=OPTIONS, safe_serialization=True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "saved"))
    for name in ("hf-hub:some/saved", "vit_tiny_patch16_224"):
        assert find(name) == name
    images = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(load("saved")(images), model(images))


def test_a_repository_of_the_hub_is_a_folder(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    made("ViTModel", "ViTConfig", VIT).save_pretrained(tmp_path)
    asked = []

    def download(repository, revision=None, allow_patterns=(), local_files_only=False):
        asked.append((repository, revision, local_files_only))
        if local_files_only:
            raise FileNotFoundError
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find("hf-hub:some/vit@v2").kind == "vit"
    assert asked == [("some/vit", "v2", True), ("some/vit", "v2", False)]


def test_what_is_no_source_is_refused_by_name(tmp_path):
    torch.save(timm.create_model("vit_tiny_patch16_224", **OPTIONS).state_dict(), tmp_path / "timm.pth")
    (tmp_path / "empty").mkdir()
    for name, said in (
        (tmp_path / "timm.pth", "does not say which model it is of; name timm's architecture"),
        (tmp_path / "empty", "is a folder; name the checkpoint in it"),
        ("some/vit", "a model on Hugging Face is hf-hub:some/vit"),
    ):
        with pytest.raises(InputError, match=said):
            find(name)


def test_planning_knows_places(tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json", "notes.txt"):
        (tmp_path / "m" / name).touch()
    listed = [path.rpartition("/")[2] for path in files_of(f"source:{tmp_path}/m")]
    assert listed == ["config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json"]
    assert files_of("source:torchvision:vit_b_16") == []
    assert path_of(f"source:open_clip:ViT-B-16/{tmp_path}/m/notes.txt") == tmp_path / "m" / "notes.txt"
    assert spread(list(range(16)), 4) == [0, 4, 8, 12]

"""torchvision's vision transformers, live and as state dicts, against torchvision's own forward pass."""

import pytest
import torch
from torchvision.models.vision_transformer import (
    ConvStemConfig,
    VisionTransformer,
    ViT_B_16_Weights,
    interpolate_embeddings,
    vit_b_16,
)

from classlens import Lens
from classlens.errors import InputError
from classlens.sources.find import load
from classlens.sources.live import brought
from classlens.sources.source import timm_model
from classlens.sources.torch_vision import from_tensors

SMALL = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 3, "hidden_dim": 24, "mlp_dim": 50}


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = VisionTransformer(**SMALL, num_classes=5).eval()
    torch.nn.init.normal_(made.heads.head.weight)
    return made


@torch.no_grad()
def test_a_live_model_and_its_state_dict_compute_the_same(model, tmp_path):
    images = torch.randn(2, 3, 32, 32)
    ours = brought(model)
    torch.testing.assert_close(ours(images), model(images), rtol=0, atol=1e-5)
    assert brought(model) is ours
    model.heads.head.bias.add_(1)
    torch.testing.assert_close(brought(model)(images), model(images), rtol=0, atol=1e-5)
    assert (Lens(model)(images).output == brought(model)(images).numpy()).all()


@torch.no_grad()
def test_another_size_is_resampled_as_torchvision_does(model):
    larger = VisionTransformer(**{**SMALL, "image_size": 48}, num_classes=5).eval()
    larger.load_state_dict(interpolate_embeddings(48, 8, model.state_dict()))
    ours = timm_model(from_tensors(model.state_dict(), "mine", [48, 48], heads=3))
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(ours(images), larger(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_published_weights_bring_labels_and_transform(monkeypatch, tmp_path):
    torch.manual_seed(0)
    state = vit_b_16().state_dict()
    monkeypatch.setattr(ViT_B_16_Weights, "get_state_dict", lambda self, **_: state)
    ours = load("torchvision:vit_b_16/IMAGENET1K_SWAG_E2E_V1", 32)
    assert ours.pretrained_cfg["label_names"][:2] == ["tench", "goldfish"]
    assert (ours.pretrained_cfg["interpolation"], ours.pretrained_cfg["crop_pct"]) == ("bicubic", 1)
    torch.save(state, tmp_path / "mine.pth")
    assert load(tmp_path / "mine.pth", 32)(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_what_cannot_be_looked_into_is_refused_by_name(model):
    with pytest.raises(InputError, match=r"24 wide.*number of heads is not known"):
        from_tensors(model.state_dict(), "mine")
    with pytest.raises(InputError, match="mine: models of torchvision take squares, and no 32 x 48 pixels"):
        from_tensors(model.state_dict(), "mine", [32, 48], heads=3)
    stem = [ConvStemConfig(24, 3, 2)] * 3
    for more, said in (({"representation_size": 8}, "pre_logits"), ({"conv_stem_configs": stem}, "stem")):
        with pytest.raises(InputError, match=said):
            brought(VisionTransformer(**SMALL, **more))
    for name, said in (("vit_x", "take one of vit_b_16"), ("vit_b_16/V9", "has the weights IMAGENET1K_V1")):
        with pytest.raises(InputError, match=said):
            load(f"torchvision:{name}")

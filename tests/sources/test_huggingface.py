"""Every family of transformers on tiny random configs, against transformers' own forward pass."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from classlens.errors import InputError
from classlens.sources.bring import certified
from classlens.sources.families import DEFAULTS, FAMILIES
from classlens.sources.find import find
from classlens.sources.huggingface import from_parts, tensors_of
from classlens.sources.preprocessing import DEFAULTS as PROCESSORS
from classlens.sources.source import timm_model

transformers = pytest.importorskip("transformers")

SIDE, OTHER = 32, 48
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": SIDE, "patch_size": 8}
VIT = {**SMALL, "intermediate_size": 50}
DINO = {**SMALL, "mlp_ratio": 2}
TEXT = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 24, "vocab_size": 50}
TOWERS = {"vision_config": VIT, "text_config": TEXT}
INSIDE = {"architecture": "vit_tiny_patch16_224", "model_args": {"img_size": SIDE, "embed_dim": 24, "num_heads": 3}}
ONE_SIZE = ("CLIPForImageClassification", "MetaClip2ForImageClassification", "TimmWrapper")
"""What takes no images of another size than it was made for."""
PICTURES = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (3, 44, 60, 3), np.uint8)]
MAE = {"mask_ratio": 0.0, "decoder_hidden_size": 24, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 3}
CLASS_TOKEN = {"use_mean_pooling": False, "use_absolute_position_embeddings": True}
GATED = {"use_gated_mlp": True, "hidden_act": "silu"}
CASES = [
    ("ViTForImageClassification", "ViTConfig", {**VIT, "hidden_act": "gelu_new"}),
    ("ViTModel", "ViTConfig", {**VIT, "qkv_bias": False}),
    ("DeiTForImageClassification", "DeiTConfig", VIT),
    ("DeiTForImageClassificationWithTeacher", "DeiTConfig", VIT),
    ("DeiTModel", "DeiTConfig", VIT),
    ("Dinov2ForImageClassification", "Dinov2Config", DINO),
    ("Dinov2Model", "Dinov2Config", {**DINO, "use_swiglu_ffn": True}),
    ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", DINO),
    ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", DINO),
    ("BeitForImageClassification", "BeitConfig", {**VIT, "use_relative_position_bias": True}),
    ("BeitModel", "BeitConfig", {**VIT, "use_shared_relative_position_bias": True, "layer_scale_init_value": 0.0}),
    ("BeitForImageClassification", "BeitConfig", {**VIT, **CLASS_TOKEN}),
    ("Data2VecVisionForImageClassification", "Data2VecVisionConfig", {**VIT, "use_relative_position_bias": True}),
    ("DINOv3ViTModel", "DINOv3ViTConfig", {**VIT, "num_register_tokens": 4, **GATED}),
    ("DINOv3ViTModel", "DINOv3ViTConfig", {**VIT, "num_register_tokens": 2, "proj_bias": False}),
    ("CLIPVisionModelWithProjection", "CLIPVisionConfig", {**VIT, "projection_dim": 16}),
    ("CLIPVisionModel", "CLIPVisionConfig", VIT),
    ("CLIPModel", "CLIPConfig", TOWERS),
    ("CLIPForImageClassification", "CLIPConfig", TOWERS),
    ("MetaClip2VisionModel", "MetaClip2VisionConfig", VIT),
    ("MetaClip2ForImageClassification", "MetaClip2Config", TOWERS),
    ("SiglipVisionModel", "SiglipVisionConfig", VIT),
    ("SiglipModel", "SiglipConfig", TOWERS),
    ("SiglipForImageClassification", "SiglipConfig", TOWERS),
    ("ViTMAEModel", "ViTMAEConfig", {**VIT, **MAE}),
    ("ViTMAEForPreTraining", "ViTMAEConfig", {**VIT, **MAE}),
    ("ViTMSNModel", "ViTMSNConfig", VIT),
    ("ViTMSNForImageClassification", "ViTMSNConfig", VIT),
    ("TimmWrapperForImageClassification", "TimmWrapperConfig", INSIDE),
]


def made(name, config, options):
    """Return a model whose every parameter matters."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(getattr(transformers, config)(num_labels=5, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.ndim < 2 or len(parameter) == 1 else 1.2 / parameter[0].numel() ** 0.5
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{len(case[2])}")
def test_every_family_is_certified_against_its_own_library_at_two_sizes(case, tmp_path):
    made(*case).save_pretrained(tmp_path)
    for side in (SIDE, OTHER):
        found = find(tmp_path, side)
        if side == OTHER and case[0].startswith(ONE_SIZE):
            assert timm_model(found)(torch.zeros(1, 3, side, side)).shape == (1, 5)
            continue
        told = certified(str(tmp_path), PICTURES, {**found.transform, "size": side})[2]
        count = 3 if found.options["num_classes"] else 0
        assert (told["certified"], told["inputs"], told["images"], told["agree"]) == (True, 7, count, count)
        assert told["difference"] <= 1e-5
        assert told["largest"] > 0.3
        assert told["versions"]["transformers"] == transformers.__version__


def test_defaults_are_those_of_transformers():
    for kind, family in FAMILIES.items():
        theirs = transformers.AutoConfig.for_model(kind)
        theirs = getattr(theirs, "vision_config", theirs)
        for key, value in {**DEFAULTS, **dict(family.defaults)}.items():
            assert getattr(theirs, key, value) == value, (kind, key)
    for name, ours in PROCESSORS.items():
        theirs = getattr(transformers, name)().to_dict()
        for key, value in ours.items():
            assert type(value)(theirs[key]) == value, (name, key)


@pytest.fixture
def folder(tmp_path):
    options = {**VIT, "id2label": {0: "ape", 1: "bee"}}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**options)).eval()
    model.save_pretrained(tmp_path)
    return tmp_path


def edited(folder, file="config.json", **changes):
    known = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps({**known, **changes}))


def test_labels_and_transform_come_from_the_folder(folder):
    transformers.DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size=SIDE).save_pretrained(folder)
    source = find(folder)
    assert source.class_names == ["ape", "bee"]
    assert source.transform == {
        "size": [SIDE, SIDE], "resize": "squash", "crop": SIDE / 40, "interpolation": "bicubic",
        "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    edited(folder, "preprocessor_config.json", do_rescale=False, size={"shortest_edge": 36})
    found = find(folder).transform
    assert (found["resize"], found["crop"]) == ("shortest", SIDE / 36)
    assert found["std"] == [0.5 / 255] * 3
    assert timm_model(find(folder)).pretrained_cfg["label_names"] == ["ape", "bee"]


def test_several_files_and_half_precision_are_read(folder):
    model = transformers.ViTForImageClassification.from_pretrained(folder)
    images = torch.randn(2, 3, SIDE, SIDE)
    model.half().save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    with torch.no_grad():
        torch.testing.assert_close(timm_model(find(folder))(images), model.float().eval()(images).logits)
    next(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(InputError, match=r"model-00001.* which are missing"):
        find(folder)


PREPARED = "preprocessor_config.json"


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("config.json", {"model_type": "swin"}, "swin of transformers.*shifted windows"),
        ("config.json", {"model_type": "siglip2"}, "NaFlex"),
        ("config.json", {"model_type": "llama"}, "it is none of vit, deit"),
        ("config.json", {"hidden_act": "tanh"}, "hidden_act.*'tanh'"),
        ("config.json", {"num_hidden_layers": 3}, r"blocks\.2\.norm1\.weight.*are missing"),
        ("config.json", {"num_hidden_layers": 1}, r"a vit has no blocks\.1"),
        ("config.json", {"intermediate_size": 51}, r"fc1\.weight is \(50, 24\) and should be \(51, 24\)"),
        (PREPARED, {"do_resize": False}, f"{PREPARED}: .*do_resize is false"),
        (PREPARED, {"size": {"height": 32, "width": 48}}, f"{PREPARED}: .*do not become squares"),
        (PREPARED, {"size": {"longest_edge": 32}}, f"{PREPARED}: .*longest_edge.*not understood"),
    ],
)
def test_what_is_another_model_or_prepared_otherwise_is_refused_by_name(file, changes, said, folder):
    edited(folder, file, **changes)
    with pytest.raises(InputError, match=said):
        timm_model(find(folder))


def test_an_unknown_tensor_is_refused_by_name(folder):
    tensors = {**tensors_of(folder), "vit.gate.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"vit\) holds gate\.weight, whose part in the output is not known"):
        from_parts(json.loads((folder / "config.json").read_text()), tensors, "mine", {})

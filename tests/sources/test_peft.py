"""LoRA of peft, as folders and live, and live models of transformers, against peft's own forward pass."""

import json

import pytest
import torch

from classlens import Lens
from classlens.errors import InputError
from classlens.sources.find import load
from classlens.sources.live import brought

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 50}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def base(tmp_path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8, num_labels=5)
    made = transformers.ViTForImageClassification(config).eval()
    made.save_pretrained(tmp_path / "base")
    return transformers.ViTForImageClassification.from_pretrained(tmp_path / "base").eval()


def adapted(base, **more):
    config = peft.LoraConfig(
        r=2, lora_alpha=6, target_modules=["q_proj", "fc1"], modules_to_save=["classifier"], **more
    )
    made = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_()
    return made


@pytest.mark.parametrize("more", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 3}, "alpha_pattern": {"fc1": 1}}])
@pytest.mark.parametrize("beside", [False, True])
@torch.no_grad()
def test_a_folder_of_lora_computes_what_peft_does(more, beside, base, tmp_path):
    made = adapted(base, **more)
    folder = tmp_path / "base" if beside else tmp_path / "lora"
    made.save_pretrained(folder)
    torch.testing.assert_close(load(folder)(IMAGES), made(IMAGES).logits, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_live_model_is_merged_in_a_copy(base):
    made = adapted(base)
    expected = made(IMAGES).logits
    view = Lens(made)(IMAGES)
    torch.testing.assert_close(torch.from_numpy(view.output), expected, rtol=0, atol=1e-4)
    assert torch.equal(made(IMAGES).logits, expected)
    with made.disable_adapter():
        torch.testing.assert_close(brought(made)(IMAGES), made(IMAGES).logits, rtol=0, atol=1e-5)


def test_what_cannot_be_merged_is_refused_by_name(base, tmp_path):
    adapted(base).save_pretrained(tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_config.json"
    known = json.loads(file.read_text())
    for changes, said in (
        ({"use_dora": True}, "DoRA.*merge_and_unload"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"base_model_name_or_path": "/nowhere/x"}, "/nowhere/x, which is not there"),
    ):
        file.write_text(json.dumps({**known, **changes}))
        with pytest.raises(InputError, match=said):
            load(tmp_path / "lora")
    file.write_text(json.dumps(known))
    (tmp_path / "lora" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors"):
        load(tmp_path / "lora")

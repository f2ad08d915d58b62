"""Checkpoints that callbacks leave are a series that a config takes, with the weights that were trained."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from classlens.config.series import with_points
from classlens.errors import InputError
from classlens.models.build import build
from classlens.sources.find import load
from classlens.training import SaveSeries

SIZE = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2, "num_classes": 2}


class Pictures(Dataset):
    """Six pictures of two classes, as Trainer and Lightning take them."""

    def __len__(self):
        return 6

    def __getitem__(self, place):
        return {"pixel_values": torch.full((3, 16, 16), float(place)), "labels": place % 2}


def points(folder, pattern, at):
    """The checkpoints by number, as a config with that pattern has them."""
    entry = {"checkpoints": str(folder / pattern), "at": at, "weights": "pretrained", "random_twin": False}
    found = with_points({"run": entry})
    assert all(name == f"run@{one['series']['point']}" for name, one in found.items())
    return {one["series"]["point"]: one["weights"] for one in found.values()}


@pytest.mark.parametrize(
    ("every", "at", "numbers"), [(1, "epoch", [0, 1, 2, 3]), (2, "epoch", [0, 2]), (3, "step", [0, 3, 6])]
)
def test_lightning(tmp_path, every, at, numbers):
    lightning = pytest.importorskip("pytorch_lightning")
    torch.manual_seed(0)

    class Trained(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = build("vit_tiny_patch16_224", SIZE)

        def training_step(self, batch, _place):
            return cross_entropy(self.model(batch["pixel_values"]), batch["labels"])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    module = Trained()
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    quiet = ("enable_progress_bar", "logger", "enable_checkpointing", "enable_model_summary")
    series = SaveSeries(tmp_path / "ckpt", every=every, at=at)
    options = {"callbacks": [series], "max_epochs": 3, "accelerator": "cpu", "default_root_dir": tmp_path}
    trainer = lightning.Trainer(**options, **dict.fromkeys(quiet, False))
    trainer.fit(module, torch.utils.data.DataLoader(Pictures(), batch_size=3))
    found = points(tmp_path / "ckpt", f"{at}_*.safetensors", at)
    assert [*found] == numbers
    saved = load_file(found[0])
    assert saved.keys() == before.keys()
    assert all(torch.equal(saved[name], before[name]) for name in before)
    if numbers[-1] in (3, 6) and (at, numbers[-1]) != ("step", 3):
        now = module.model.state_dict()
        assert all(torch.equal(tensor, now[name]) for name, tensor in load_file(found[numbers[-1]]).items())


def test_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=2)
    )
    arguments = transformers.TrainingArguments(
        str(tmp_path / "out"), num_train_epochs=2, per_device_train_batch_size=3, learning_rate=0.1, use_cpu=True,
        save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    series = SaveSeries(tmp_path / "ckpt", every=2, at="step")
    transformers.Trainer(model, arguments, train_dataset=Pictures(), callbacks=[series]).train()
    found = points(tmp_path / "ckpt", "step_*", "step")
    assert [*found] == [0, 2, 4]
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(load(found[4]).eval()(images), model.eval()(images).logits, atol=1e-5, rtol=0)
        assert not torch.allclose(load(found[0]).eval()(images), model(images).logits, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"at": "hour"}])
def test_what_is_counted_is_known(tmp_path, wrong):
    with pytest.raises(InputError, match="epoch or step"):
        SaveSeries(tmp_path, **wrong)

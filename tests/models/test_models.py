"""Building, describing, loading and training models."""

import csv
import multiprocessing
import os
import select
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from classlens.catalog.configs import load_config
from classlens.config import architecture
from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.canonical import load_model, save_weights
from classlens.models.describe import describe
from classlens.models.device import autocast
from classlens.models.inputs import Normalise
from classlens.models.pooling import head_width
from classlens.models.train import train
from classlens.models.weights import assemble, write_weights
from classlens.sources.describe import main

ARCHITECTURE = "vit_tiny_patch16_224"
OPTIONS = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
TINY = {"depth": 1, "embed_dim": 16, "num_heads": 2}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(ARCHITECTURE, OPTIONS)


@pytest.mark.parametrize(
    "options",
    [
        *({"depth": depth} for depth in (10**6, 0, -1, float("nan"))),
        *({"embed_dim": 10**9}, {"img_size": [224, 10**6]}, {"num_classes": 10**12}, {"mlp_ratio": 0}),
    ],
)
def test_absurd_numbers_are_refused_before_anything_is_built(options, monkeypatch):
    monkeypatch.setattr("timm.create_model", None)
    with pytest.raises(InputError, match=rf"options\.{next(iter(options))} is .*; take a number from"):
        build(ARCHITECTURE, options, device="meta")


def start_describing(request, never, alive, pipe):
    """Be a parent of a process that waits for a request; that alone holds an end of the pipe `alive`."""
    if os.fork() == 0:
        os.close(never)
        sys.argv, sys.stdin = ["describe", str(os.getppid())], os.fdopen(request)
        main()
    os.close(alive)
    pipe.send("started")
    time.sleep(60)


def test_describing_ends_with_its_parent():
    """A parent that is killed takes the process along, also while it waits for a request that never comes."""
    (request, never), (ended, alive), (here, there) = os.pipe(), os.pipe(), multiprocessing.Pipe()
    parent = multiprocessing.get_context("fork").Process(target=start_describing, args=(request, never, alive, there))
    parent.start()
    os.close(alive)
    here.recv()
    assert not select.select([ended], [], [], 0)[0]
    parent.kill()
    parent.join()
    in_time = select.select([ended], [], [], 10)[0]
    os.close(never)  # which ends it in any case
    assert in_time


def test_describing_takes_no_longer_than_it_may(monkeypatch):
    monkeypatch.setattr(architecture, "MOST_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"timm did not describe vit_tiny_patch16_224 within .* too large"):
        architecture._describe([(ARCHITECTURE, {})])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"depth": 3}'])
def test_damaged_facts_about_an_architecture_are_made_anew(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    asked = []
    facts = describe(ARCHITECTURE, OPTIONS)
    monkeypatch.setattr(architecture, "_describe", lambda requests: [asked.append(r) or facts for r in requests])
    model = {"dataset": "d", "architecture": ARCHITECTURE, "options": OPTIONS, "weights": "random"}
    config = load_config({"datasets": {"d": {"kind": "digits"}}, "models": {"m": {**model, "transform": {"size": 16}}}})
    complete = architecture.with_architectures(config)
    [file] = architecture.FOLDER.iterdir()
    kept = file.read_text()
    architecture.with_architectures(config)
    assert len(asked) == 1
    file.write_text(damage)
    assert architecture.with_architectures(config) == complete
    assert (file.read_text(), len(asked)) == (kept, 2)


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("vit_bas_patch32_224", {}, "did you mean .*vit_base_patch32_224"),
        (ARCHITECTURE, {"colour": "blue"}, "colour"),
        ("resnet10t", {}, "resnet10t.*not a vision transformer"),
        ("vit_base_patch16_clip_224", {**TINY, "num_classes": 0}, "clip_224.*no classification head"),
        ("vit_small_plus_patch16_dinov3", {**TINY, "num_classes": 0}, "dinov3.*no classification head"),
    ],
)
def test_refusals_name_the_reason(architecture, options, reason):
    with pytest.raises(InputError, match=reason):
        build(architecture, options, device="meta")


def test_card_counts():
    card = describe(ARCHITECTURE, {**OPTIONS, "reg_tokens": 2})
    expected = {
        "depth": 2, "heads": 2, "width": 16, "num_classes": 3, "tokens": 19, "num_prefix_tokens": 3,
        "has_class_token": True, "grid": [4, 4], "image_size": 16,
    }  # fmt: skip
    assert {key: card[key] for key in expected} == expected


def test_canonical_weights_depend_on_tensors_alone(model, tmp_path):
    torch.save({"state_dict": model.state_dict(), "comment": "first"}, tmp_path / "a.pt")
    save_file(dict(reversed(model.state_dict().items())), tmp_path / "b.safetensors", metadata={"a": "b"})
    written = []
    for source in ("a.pt", "b.safetensors"):
        destination = tmp_path / f"{source}.canonical"
        write_weights([tmp_path / source], [], destination, architecture=ARCHITECTURE, options=OPTIONS, origin="file")
        written.append(destination.read_bytes())
    assert written[0] == written[1]
    loaded = load_model(destination, ARCHITECTURE, OPTIONS)
    assert torch.equal(loaded.head.weight, model.head.weight)


def test_fresh_weights_follow_their_seed():
    first, same, other = (
        assemble(None, architecture=ARCHITECTURE, options=OPTIONS, origin="random", seed=seed).head.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_weights_that_are_no_numbers_are_refused(model, tmp_path):
    model.blocks[1].mlp.fc1.bias.data[0] = float("nan")
    with pytest.raises(InputError, match=r"blocks\.1\.mlp\.fc1\.bias hold NaN"):
        save_weights(model, tmp_path / "w.safetensors", described_as="these")
    assert not (tmp_path / "w.safetensors").exists()


def test_normalisation():
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)
    inputs = Normalise([0.0, 0.2, 0.5], [1.0, 0.5, 0.25], torch.device("cpu"))(pixels)
    torch.testing.assert_close(inputs, torch.tensor([0.0, 0.0, 2.0]).view(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("device", "precision", "dtype", "rounds"),
    [
        ("cpu", "float32", torch.float32, None),
        ("cpu", "tf32", torch.float32, None),
        ("cpu", "bfloat16", torch.bfloat16, None),
        ("cuda", "float32", None, False),
        ("cuda", "tf32", None, True),
    ],
)
def test_precision_reaches_the_forward_pass(model, device, precision, dtype, rounds):
    """Only tf32 lets CUDA round products, and no longer than it is asked to."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with autocast(torch.device(device), precision), torch.inference_mode():
        if device == "cuda":
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (rounds, rounds)
        else:
            assert model.blocks[0].mlp.fc1(torch.zeros(1, 16)).dtype == dtype
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


CLS_MEAN = {**OPTIONS, "img_size": 32, "patch_size": 8, "global_pool": "cls_mean"}


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_tiny_patch16_224", {"reg_tokens": 3}),
        ("eva02_base_patch14_224", {"class_token": True, "num_reg_tokens": 2}),
    ],
)
def test_the_head_reads_the_class_token_and_the_mean_of_image_tokens(architecture, options):
    model = build(architecture, {**CLS_MEAN, **options})
    images = torch.randn(2, 3, 32, 32)
    tokens = model.forward_features(images)
    expected = model.head(torch.cat([tokens[:, 0], tokens[:, -16:].mean(1)], 1))
    torch.testing.assert_close(model(images), expected)
    assert (head_width(model), model.head_hidden_size) == (32, 32)
    assert model.pool(tokens, "avg").shape == (2, 16)


def test_a_family_without_it_is_refused_by_name():
    with pytest.raises(InputError, match="for VisionTransformer and Eva, and no Beit"):
        build("beit_base_patch16_224", CLS_MEAN)
    with pytest.raises(ValueError, match="build it anew"):
        build("vit_tiny_patch16_224", CLS_MEAN).reset_classifier(3, "avg")


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Images of three classes that a tiny model tells apart: the brightest third."""
    path = tmp_path_factory.mktemp("stripes") / "images.h5"
    random = np.random.default_rng(0)
    classes = np.arange(96) % 3
    pixels = random.integers(0, 60, (96, 16, 16, 3), np.uint8)
    for image, index in zip(pixels, classes, strict=True):
        image[:, 5 * index : 5 * index + 5] += 180
    with h5py.File(path, "w") as file:
        file["pixels"], file["class_index"] = pixels, classes.astype(np.uint16)
    return path


def trained(images, folder, name, **changes):
    """Return the bytes of weights and history."""
    files = folder / f"{name}.safetensors", folder / f"{name}.csv"
    recipe = {
        "architecture": ARCHITECTURE, "options": OPTIONS, "mean": [0.5] * 3, "std": [0.5] * 3, "seed": 0, "epochs": 2,
        "batch_size": 16, "learning_rate": 3e-3, "weight_decay": 0.05, "threads": 1, "device": "cpu", **changes,
    }  # fmt: skip
    train(images, images, *files, **recipe)
    return [file.read_bytes() for file in files]


def test_training_learns_and_follows_its_seed_bit_for_bit(stripes, tmp_path):
    trained(stripes, tmp_path, "whole", epochs=6)
    rows = list(csv.DictReader((tmp_path / "whole.csv").open()))
    assert [row["epoch"] for row in rows] == list("123456")
    assert float(rows[-1]["accuracy"]) > 0.9
    assert trained(stripes, tmp_path, "a") == trained(stripes, tmp_path, "b")
    assert trained(stripes, tmp_path, "a")[0] != trained(stripes, tmp_path, "b", seed=1)[0]


def test_training_that_cannot_go_on_is_an_error(stripes, tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["pixels"], file["class_index"] = np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0, np.uint16)
    for images, changes, message in (
        (tmp_path / "empty.h5", {}, "train_per_class"),
        (stripes, {"learning_rate": 1e30}, "learning_rate"),
    ):
        with pytest.raises(InputError, match=message):
            trained(images, tmp_path, "w", **changes)
        assert not (tmp_path / "w.safetensors").exists()

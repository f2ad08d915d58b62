"""Building, describing, loading and training models."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

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
from classlens.models.device import autocast, choose_device
from classlens.models.inputs import Normalise
from classlens.models.train import train
from classlens.models.weights import fill_from_file, write_weights

ARCHITECTURE = "vit_tiny_patch16_224"
OPTIONS = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(ARCHITECTURE, OPTIONS)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_unknown_names_get_the_closest_ones():
    with pytest.raises(InputError, match="vit_base_patch32_224"):
        build("vit_bas_patch32_224", {})


def test_wrong_options_are_named():
    with pytest.raises(InputError, match="colour"):
        build(ARCHITECTURE, {"colour": "blue"})


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


def test_describing_ends_with_its_parent():
    """A parent that is killed takes the process along, also while it waits for a request that never comes."""
    reading, writing = os.pipe()
    script = (
        "import os, subprocess, sys; command = [sys.executable, '-m', 'classlens.models.describe', str(os.getpid())]; "
        f"p = subprocess.Popen(command, stdin={reading}); print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, pass_fds=[reading])
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(600):
        if not alive(child):
            break
        time.sleep(0.1)
    os.close(writing)
    assert not alive(child)


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
        ("resnet18", {}, "not a vision transformer"),
        ("vit_base_patch16_clip_224", {"num_classes": 0}, "no classification head"),
        ("vit_small_plus_patch16_dinov3", {"num_classes": 0}, "no classification head"),
    ],
)
def test_refusals_name_the_reason(architecture, options, reason):
    with pytest.raises(InputError, match=f"{architecture}.*{reason}"):
        build(architecture, options, device="meta")


def test_card_counts():
    card = describe(ARCHITECTURE, {**OPTIONS, "reg_tokens": 2})
    expected = {
        "depth": 2, "heads": 2, "width": 16, "num_classes": 3, "tokens": 19, "num_prefix_tokens": 3,
        "has_class_token": True, "grid": [4, 4], "image_size": 16,
    }  # fmt: skip
    assert {key: card[key] for key in expected} == expected


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_every_kind_of_checkpoint(model, tmp_path, wrapper, prefix, suffix):
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    other = build(ARCHITECTURE, OPTIONS)
    fill_from_file(other, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


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


def test_fresh_weights_follow_their_seed(tmp_path):
    def fresh(seed):
        path = tmp_path / "fresh.safetensors"
        write_weights([], [], path, architecture=ARCHITECTURE, options=OPTIONS, origin="random", seed=seed)
        return path.read_bytes()

    assert fresh(0) == fresh(0)
    assert fresh(0) != fresh(1)


def test_missing_tensors_are_named(model, tmp_path):
    state = model.state_dict()
    del state["head.weight"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt does not fit the model: head\.weight are missing"):
        fill_from_file(build(ARCHITECTURE, OPTIONS), tmp_path / "w.pt")


def test_misshapen_tensors_are_named(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"head\.weight is \(3, 16\) and should be \(4, 16\)"):
        fill_from_file(build(ARCHITECTURE, {**OPTIONS, "num_classes": 4}), tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_damaged_checkpoints_are_named(tmp_path, content, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="w" + suffix.replace(".", r"\.")):
        fill_from_file(build(ARCHITECTURE, OPTIONS), path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_absent_checkpoints_are_named(tmp_path, suffix):
    with pytest.raises(InputError, match="no such file"):
        fill_from_file(build(ARCHITECTURE, OPTIONS), tmp_path / f"w{suffix}")


def test_pickles_with_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evidence"), "w"))

    torch.save({"head.weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt is refused"):
        fill_from_file(build(ARCHITECTURE, OPTIONS), tmp_path / "w.pt")
    assert not (tmp_path / "evidence").exists()


def test_a_whole_model_is_refused_in_one_line(model, tmp_path):
    torch.save(model, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt is refused .* save model\.state_dict\(\) instead$"):
        fill_from_file(build(ARCHITECTURE, OPTIONS), tmp_path / "w.pt")


def test_a_checkpoint_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="no table of tensors"):
        fill_from_file(build(ARCHITECTURE, OPTIONS), tmp_path / "w.pt")


def test_weights_that_are_no_numbers_are_refused(model, tmp_path):
    model.blocks[1].mlp.fc1.bias.data[0] = float("nan")
    with pytest.raises(InputError, match=r"blocks\.1\.mlp\.fc1\.bias hold NaN"):
        save_weights(model, tmp_path / "w.safetensors", described_as="these")
    assert not (tmp_path / "w.safetensors").exists()


def test_normalisation():
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)
    inputs = Normalise([0.0, 0.2, 0.5], [1.0, 0.5, 0.25], torch.device("cpu"))(pixels)
    torch.testing.assert_close(inputs, torch.tensor([0.0, 0.0, 2.0]).view(1, 3, 1, 1))


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device().type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"extraction\.device is cuda"):
            choose_device("cuda")


def test_autocast_reaches_the_forward_pass(model):
    with autocast(torch.device("cpu"), "bfloat16"), torch.inference_mode():
        assert model.blocks[0].mlp.fc1(torch.zeros(1, 16)).dtype == torch.bfloat16
    for precision in ("float32", "tf32"):
        with autocast(torch.device("cpu"), precision), torch.inference_mode():
            assert model.blocks[0].mlp.fc1(torch.zeros(1, 16)).dtype == torch.float32


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True)])
def test_only_tf32_lets_cuda_round_products(precision, allowed):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with autocast(torch.device("cuda"), precision):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (allowed, allowed)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


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


def recipe(**changes):
    return {
        "architecture": ARCHITECTURE, "options": OPTIONS, "mean": [0.5] * 3, "std": [0.5] * 3, "seed": 0, "epochs": 6,
        "batch_size": 16, "learning_rate": 3e-3, "weight_decay": 0.05, "threads": 1, "device": "cpu", **changes,
    }  # fmt: skip


def test_training_learns_and_repeats_bit_for_bit(stripes, tmp_path):
    for run in ("a", "b"):
        train(stripes, stripes, tmp_path / f"{run}.safetensors", tmp_path / f"{run}.csv", **recipe())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["epoch"] for row in rows] == list("123456")
    assert float(rows[-1]["accuracy"]) > 0.9


def test_another_seed_trains_another_model(stripes, tmp_path):
    train(stripes, stripes, tmp_path / "a.safetensors", tmp_path / "a.csv", **recipe(epochs=1))
    train(stripes, stripes, tmp_path / "b.safetensors", tmp_path / "b.csv", **recipe(epochs=1, seed=1))
    assert (tmp_path / "a.safetensors").read_bytes() != (tmp_path / "b.safetensors").read_bytes()


def test_training_needs_images(stripes, tmp_path):
    empty = tmp_path / "empty.h5"
    with h5py.File(empty, "w") as file:
        file["pixels"], file["class_index"] = np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0, np.uint16)
    with pytest.raises(InputError, match="train_per_class"):
        train(empty, stripes, tmp_path / "w", tmp_path / "h", **recipe())


def test_diverging_training_is_an_error(stripes, tmp_path):
    with pytest.raises(InputError, match="learning_rate"):
        train(stripes, stripes, tmp_path / "w", tmp_path / "h", **recipe(learning_rate=1e30))
    assert not (tmp_path / "w").exists()

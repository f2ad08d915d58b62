"""A user's own head: what is read, refused, and put into a model."""

import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.head import head_shape, read_head, save_head
from classlens.models.weights import assemble

ARCHITECTURE = "vit_tiny_patch16_224"
OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 3}
WEIGHT = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize(("bias", "names"), [(None, None), (np.array([1.0, 2.0, 3.0]), ["cat", "dog", "größe"])])
def test_what_is_saved_is_read(tmp_path, suffix, bias, names):
    path = tmp_path / f"head.{suffix}"
    save_head(path, WEIGHT, bias, names)
    head = read_head(path)
    assert np.array_equal(head.weight, WEIGHT)
    assert np.array_equal(head.bias, np.zeros(3) if bias is None else bias)
    assert head.class_names == (None if names is None else tuple(names))
    assert head_shape(path) == (3, 16)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": WEIGHT}, "a head needs `weight`"),
        ({"weight": WEIGHT[0]}, "a head needs `weight`"),
        ({"weight": WEIGHT, "bias": np.zeros(4)}, r"`bias` is \(4,\) and should be \(3,\)"),
        ({"weight": WEIGHT, "class_names": np.array(["a"])}, "1 class names for 3 classes"),
        ({"weight": WEIGHT * np.nan}, "weight hold NaN"),
        ({"weight": np.array([object()], dtype=object)}, "cannot be read as a head"),
    ],
)
def test_heads_whose_parts_do_not_fit_are_refused(tmp_path, arrays, message):
    path = tmp_path / "head.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message):
        read_head(path)


@pytest.mark.parametrize("name", ["head.npz", "head.safetensors"])
def test_files_that_are_no_heads(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(InputError, match="no such file"):
        read_head(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be read as a head"):
        head_shape(path)
    with pytest.raises(InputError, match="is a file of kind"):
        head_shape(tmp_path / "head.pt")


@pytest.mark.parametrize("write", [np.lib.format.write_array_header_1_0, np.lib.format.write_array_header_2_0])
def test_an_array_that_no_file_of_this_size_holds_is_refused_before_it_is_read(tmp_path, write):
    path = tmp_path / "head.npz"
    with zipfile.ZipFile(path, "w") as file, file.open("weight.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (100_000, 100_000)}
        write(member, header)
    with pytest.raises(InputError, match=r"weight\.npy claims 40 GB, more than the file can hold"):
        head_shape(path)


def test_a_head_takes_the_place_of_the_models(tmp_path):
    trunk = build(ARCHITECTURE, OPTIONS)
    state = {name: tensor for name, tensor in trunk.state_dict().items() if not name.startswith("head.")}
    save_file({**state, "head.mlp.0.weight": torch.ones(4, 32)}, tmp_path / "trunk.safetensors")
    save_head(tmp_path / "head.npz", WEIGHT)
    given = {"architecture": ARCHITECTURE, "options": OPTIONS, "origin": "file", "head": tmp_path / "head.npz"}
    made = assemble(tmp_path / "trunk.safetensors", **given).state_dict()
    assert np.array_equal(made["head.weight"], WEIGHT)
    assert not made["head.bias"].any()
    assert all(torch.equal(made[name], tensor) for name, tensor in state.items())
    save_head(tmp_path / "head.npz", WEIGHT[:, :8])
    with pytest.raises(InputError, match=r"weight is \(3, 8\) and should be \(3, 16\)"):
        assemble(tmp_path / "trunk.safetensors", **given)

"""Memories of every family, seen from what their branches really add to the residual stream."""

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open

from classlens.inference.activations import capture_activations
from classlens.measures.block_memories import compare
from classlens.measures.memory_parameters import (
    Memories,
    largest_of_rows,
    memory_values,
    project,
    read_class_values,
    read_memories,
    write_parameters,
)
from classlens.models.build import build
from classlens.models.canonical import save_weights

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 7}
FAMILIES = {
    "plain": ("vit_tiny_patch16_224", SMALL),
    "LayerScale": ("vit_tiny_patch16_224", {**SMALL, "init_values": 0.1}),
    "norms inside branches": ("vit_tiny_patch16_224", {**SMALL, "scale_attn_norm": True, "scale_mlp_norm": True}),
    "gated": ("vit_giant_patch14_dinov2", {**SMALL, "mlp_ratio": 2.0, "dynamic_img_size": False}),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "relative positions": ("vit_relpos_small_patch16_224", SMALL),
    "BEiT": ("beit_base_patch16_224", SMALL),
    "EVA": ("eva02_tiny_patch14_224", SMALL),
    "EVA with LayerScale": ("eva02_tiny_patch14_224", {**SMALL, "init_values": 0.1}),
}
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def built(architecture, options):
    torch.manual_seed(0)
    model = build(architecture, options)
    with torch.no_grad():
        # Fresh weights are tiny and fresh LayerScales constant, which would let wrong code pass.
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 or "gamma" in name:
                parameter.normal_(std=0.5)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_branch_adds_its_memories_times_their_coefficients(family, tmp_path):
    """What a branch adds at two tokens differs by the memories times the difference of the coefficients."""
    model = built(*FAMILIES[family])
    save_weights(model, tmp_path / "weights.safetensors", described_as="test")
    added, coefficients = {}, {}
    for block, module in enumerate(model.blocks):
        for branch, layer in {"attn": module.attn.proj, "mlp": module.mlp.fc2}.items():

            def keep(_module, inputs, key=(branch, block)):
                coefficients[key] = inputs[0]

            layer.register_forward_pre_hook(keep)
    visits = (lambda block, site, x: added.update({(site, block): x.clone()}), lambda *_: None)
    with torch.inference_mode(), capture_activations(model, *visits):
        model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    with safe_open(tmp_path / "weights.safetensors", "numpy") as tensors:
        for (branch, block), keys in coefficients.items():
            values = memory_values(tensors, branch, block)
            expected = (added[branch, block][:, 1:] - added[branch, block][:, :1]).numpy()
            found = (keys[:, 1:] - keys[:, :1]).numpy() @ values.T
            assert np.abs(expected).max() > 0.1
            assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_files_hold_what_the_definition_says(tmp_path):
    model = built(*FAMILIES["LayerScale"])
    save_weights(model, tmp_path / "weights.safetensors", described_as="test")
    write_parameters(tmp_path / "weights.safetensors", tmp_path / "parameters.h5")
    head = model.head.weight.detach().numpy()
    for branch, linear, scale in (("attn", "attn.proj", "ls1"), ("mlp", "mlp.fc2", "ls2")):
        block = model.blocks[1]
        values = (getattr(block, scale).gamma[:, None] * block.get_submodule(linear).weight).detach().numpy()
        read = read_memories(tmp_path / "parameters.h5", branch, 1)
        assert set(read) == {"head"}
        memories = read["head"]
        for c in range(7):
            products = [float(head[c] @ v) for v in values.T]
            cosines = [p / np.linalg.norm(head[c]) / np.linalg.norm(v) for p, v in zip(products, values.T, strict=True)]
            assert memories.class_value[c] == pytest.approx(max(cosines), abs=1e-6)
            assert list(memories.strongest[c]) == list(np.argsort(products)[::-1][:5])
        for m, v in enumerate(values.T):
            assert list(memories.top_classes[m]) == list(np.argsort(head @ v)[::-1][:5])
            assert np.allclose(memories.top_scores[m], np.sort(head @ v)[::-1][:5], atol=1e-6)
    values = read_class_values(tmp_path / "parameters.h5")
    assert (values.width, values.memories) == (24, {"attn": [24, 24], "mlp": [96, 96]})
    assert values.scores["mlp"].shape == (2, 7)
    with h5py.File(tmp_path / "parameters.h5") as file:
        assert file["mlp/block_01/head/strongest"].dtype == np.uint16
        assert file["mlp/block_01/head/class_value"].attrs["unit"] == "cosine"


def test_a_vector_without_length_points_nowhere():
    """A head row, or a memory that LayerScale or pruning has put out, may be zero."""
    head = np.array([[1, 0], [0, 0], [-1, 0]], np.float32)
    values = np.array([[0, 2], [0, 0]], np.float32)
    assert project(head, values).class_value.tolist() == [1, 0, 0]


def test_fewer_memories_than_are_kept():
    scores = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    assert largest_of_rows(scores, 5).tolist() == [[1, 2, 0], [2, 0, 1]]
    assert largest_of_rows(scores, 1).tolist() == [[1], [2]]


def test_the_distillation_token_is_served_by_its_own_head(tmp_path):
    model = built(*FAMILIES["distilled"])
    save_weights(model, tmp_path / "weights.safetensors", described_as="test")
    write_parameters(tmp_path / "weights.safetensors", tmp_path / "parameters.h5")
    read = read_memories(tmp_path / "parameters.h5", "mlp", 0)
    values = model.blocks[0].mlp.fc2.weight.detach().numpy()
    expected = project(model.head_dist.weight.detach().numpy(), values)
    assert np.array_equal(read["head_dist"].strongest, expected.strongest)
    assert not np.array_equal(read["head"].strongest, expected.strongest)

    def memories(strongest, top_class):
        return Memories(np.zeros(2), np.array([[strongest], [9]]), np.full((10, 1), top_class), np.zeros((10, 1)))

    keys = np.array([[[3], [3], [3]]])
    zero, top = np.zeros(1, int), np.array([[6, 6, 6]])
    found = compare(keys, top, zero, zero + 1, {"head": memories(3, 5), "head_dist": memories(4, 6)})
    assert found["agreement"].tolist() == [[True, False, True]]
    assert found["composition"].tolist() == [[False, True, False]]
    assert not found["agreement_random"].any()

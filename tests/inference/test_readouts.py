"""Whatever a head reads: a token is projected as the model reads a last sequence that holds it alone."""

import copy

import numpy as np
import pytest
import torch
from refusals import refused
from safetensors.torch import save_file
from timm.layers.attention_pool import AttentionPoolLatent
from tiny_transformers import READOUTS, random_images, transformer
from torch import nn

from classlens import Lens
from classlens.inference.projection import Projection
from classlens.measures.memory_parameters import project, read_memories, write_parameters
from classlens.models.describe import describe
from classlens.models.facts import CLASS_EMBEDDING
from classlens.models.pooling import head_width

HEADS = {
    "linear": None,
    "MLP": lambda width: nn.Sequential(nn.Linear(width, 9), nn.BatchNorm1d(9), nn.GELU(), nn.Linear(9, 5)),
    "ends in a function": lambda width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 5), nn.Tanh()),
}
LINEAR_POOL = "attention pool without MLP"


def made(name, head="linear"):
    model = transformer("attention pool" if name == LINEAR_POOL else name)
    if name == LINEAR_POOL:
        model.attn_pool.mlp, model.fc_norm = None, copy.deepcopy(model.norm)
    if HEADS[head] is not None:
        torch.manual_seed(0)
        model.head = HEADS[head](head_width(model)).eval()
    return model


def read(model, tokens):
    return model.forward_head(model.norm(tokens))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", [*READOUTS, LINEAR_POOL, "plain", "averages"])
@torch.no_grad()
def test_a_sequence_of_one_token_is_read_as_that_token(name, head):
    model = made(name, head)
    tokens = torch.randn(2, model.num_prefix_tokens + 16, 24)
    found = Projection(model)(tokens)
    for place in range(tokens.shape[1]):
        alone = tokens[:, place, None].expand_as(tokens)
        torch.testing.assert_close(found[:, place], read(model, alone), atol=1e-5, rtol=1e-4)
    if model.global_pool == "token":
        torch.testing.assert_close(found[:, 0], read(model, tokens))


@torch.no_grad()
def test_a_token_keeps_its_place_where_the_pool_adds_positions():
    model = made("attention pool")
    model.attn_pool = AttentionPoolLatent(24, num_heads=2, pos_embed="abs", feat_size=16).eval()
    tokens = torch.randn(2, 16, 24)
    found = Projection(model)(tokens)
    pool = copy.deepcopy(model.attn_pool)
    pool.pos_embed = None
    for place in (0, 7, 15):
        x = model.norm(tokens)[:, place] + model.attn_pool.pos_embed[place]
        torch.testing.assert_close(found[:, place], model.head(pool(x[:, None])))
    assert Lens(model)(random_images()).logit().shape == (2, 3, 16)


def attended(model, tokens, weights):
    """What the pool makes of normed tokens, with attention weights (n, H, K) that are given."""
    pool, (count, length, _) = model.attn_pool, tokens.shape
    value = pool.kv(tokens).reshape(count, length, 2, pool.num_heads, pool.head_dim)[:, :, 1]
    x = pool.proj(torch.einsum("nhk,nkhd->nhd", weights, value).reshape(count, 1, -1))
    return model.head(model.fc_norm((x + pool.mlp(pool.norm(x)))[:, 0]))


@pytest.mark.parametrize("name", ["attention pool", "attention pool, prefix"])
def test_legrad_reads_what_the_pool_attends_to_after_each_block(name):
    model, images = made(name), random_images(1)
    found, pool = Lens(model)(images).explain(2, "legrad"), model.attn_pool
    tokens = torch.tensor(Lens(model)(images).tokens())
    for block in range(2):
        x = model.norm(tokens[block])
        query = pool.q(pool.latent).reshape(pool.num_heads, pool.head_dim)
        key = pool.kv(x)[..., :24].reshape(1, -1, pool.num_heads, pool.head_dim)
        weights = (torch.einsum("hd,nkhd->nhk", query, key) * pool.scale).softmax(-1).detach().requires_grad_()
        [gradient] = torch.autograd.grad(attended(model, x.detach(), weights)[0, 2], weights)
        expected = gradient[0, :, -16:].clamp(min=0) / pool.num_heads
        np.testing.assert_allclose(found.maps[block], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["linear", "MLP"])
@pytest.mark.parametrize("name", READOUTS)
def test_relevance_sums_up_to_the_logit_where_nothing_else_takes_part(name, head):
    model = made(name, head)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "bias" in parameter_name or parameter_name in ("pos_embed", "cls_token", "reg_token"):
                parameter.zero_()
        if head == "MLP":
            model.head[1].running_mean.zero_()
    view = Lens(model)(random_images())
    for index in range(3):
        relevance = view.explain(1, "cp_lrp", index).importance.sum()
        assert relevance == pytest.approx(float(view.output[index, 1]), rel=1e-3, abs=1e-4)


def test_a_class_embedding_is_missed_by_name():
    lacks = {name: describe(*READOUTS[name])["lacks"].get(CLASS_EMBEDDING) for name in READOUTS}
    assert {name for name, reason in lacks.items() if reason} == {"attention pool", "attention pool, prefix"}
    assert "its attention pool has an MLP, so that no class has a row" in lacks["attention pool"]
    view = Lens(made("plain", "MLP"))(random_images())
    refused(r"its head \(Sequential\) is not linear, so that no class has a row", lambda: view.attribution(1))


def test_memories_of_a_head_on_both_are_read_by_the_sum_of_its_halves(tmp_path):
    model = made("[CLS ; mean]")
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, tmp_path / "weights.safetensors")
    write_parameters(tmp_path / "weights.safetensors", tmp_path / "parameters.h5")
    found = read_memories(tmp_path / "parameters.h5", "mlp", 1)["head"]
    weight = model.head.weight.detach().numpy()
    expected = project(weight[:, :24] + weight[:, 24:], model.blocks[1].mlp.fc2.weight.detach().numpy())
    assert np.array_equal(found.strongest, expected.strongest)
    assert found.class_value == pytest.approx(expected.class_value)


@pytest.mark.parametrize("name", ["plain", "attention pool"])
def test_one_output_of_an_mlp_is_read_as_two_classes(name):
    model = made(name)
    model.head = nn.Sequential(nn.Linear(24, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 1))
    statistics = copy.deepcopy(model.head[1].state_dict())
    images = random_images()
    view, score = (Lens(model, one_output=kind)(images) for kind in ("binary", "score"))
    np.testing.assert_allclose(view.output, np.concatenate([-score.output, score.output], 1) / 2, rtol=1e-5)
    np.testing.assert_allclose(view.logit(class_index=1), score.logit() / 2, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(statistics[key], value) for key, value in model.head[1].state_dict().items())

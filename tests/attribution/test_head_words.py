"""Heads in words: by brute force on every image's contributions in memory, and the files of the workflow."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from frozen_parts import POST_NORM, frozen, layer_scale_of, scaled_by, seen_by_timm
from tiny_transformers import SMALL, TOKEN, transformer, write_small

from classlens.attribution.decompose import LogitAttribution
from classlens.attribution.head_outputs import HeadOutputs, spans_of
from classlens.attribution.words import Span, covariance, null_shares, span_of, table_of, unit, words_of
from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.measures.head_words import head_words, name_heads
from classlens.passes.head_words import OutputSums, write_spans
from classlens.passes.sums import write_sums

IMAGES = torch.randn(9, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TWO_NORMS = {"use_post_transformer_norm": True, "use_fc_norm": True}
POOL = "linear attention pool"
MORE = {
    POOL: ("vit_base_patch16_siglip_224", SMALL),
    "averages of all tokens": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "pool_include_prefix": True}),
    "EVA, two norms": ("eva02_base_patch14_224", {**TOKEN, **TWO_NORMS}),
    "EVA, norm inside attention": ("eva02_base_patch14_224", {**TOKEN, "scale_attn_inner": True}),
}
NAMES = (
    *("plain", "LayerScale", "registers", "distilled", "averages", "averages, class token", "[CLS ; mean]", "BEiT"),
    *("res-post-norm", "norms inside branches", *MORE),
)


@pytest.fixture(autouse=True)
def _more_families(monkeypatch):
    from tiny_transformers import FAMILIES

    monkeypatch.setattr("tiny_transformers.FAMILIES", {**FAMILIES, **MORE})


def model_of(name):
    model = transformer(name).double().eval()
    if name == POOL:
        model.attn_pool.mlp, model.fc_norm = None, torch.nn.LayerNorm(24).double()
    return model


def read_by(model, last):
    """What the model's own head reads (R) of what is written into the normed tokens (T, D), frozen at these."""
    normed, first = model.norm(last), model.num_prefix_tokens
    if getattr(model, "head_dist", None) is not None:
        return lambda u: torch.cat([u[0], u[1]])
    if model.global_pool == "cls_mean":
        return lambda u: torch.cat([u[0], u[first:].mean(0)])
    if (pool := getattr(model, "attn_pool", None)) is not None:
        heads, width = pool.num_heads, pool.head_dim
        key, value = pool.kv(normed).reshape(len(last), 2, heads, width).permute(1, 2, 0, 3)
        query = pool.q(pool.latent[0]).reshape(heads, 1, width) * width**-0.5
        weights = (query @ key.transpose(-2, -1)).softmax(-1)
        pooled = pool.proj((weights @ value).reshape(-1))
        of_value = pool.kv.weight[heads * width :]

        def pool_of(u):
            values = (u @ of_value.T).reshape(len(u), heads, width).transpose(0, 1)
            return pool.proj.weight @ (weights @ values).reshape(-1)
    else:
        chosen = slice(0, 1) if model.global_pool == "token" else slice(first, None)
        chosen = slice(None) if getattr(model, "pool_include_prefix", False) else chosen
        pooled, pool_of = normed[chosen].mean(0), lambda u: u[chosen].mean(0)
    after, _ = frozen(model.fc_norm, pooled)
    return lambda u: after(pool_of(u))


@torch.no_grad()
def written(model, image):
    """c (B, H, R) by its definition, a token at a time."""
    seen = seen_by_timm(model, image)
    last = seen["block", len(model.blocks) - 1][1]
    in_front = [frozen(model.norm, x)[0] for x in last]
    read, found = read_by(model, last), []
    for b, block in enumerate(model.blocks):
        for h, weights in enumerate(seen["weights", b][1]):
            values, u = seen["values", b][h], []
            for i, row in enumerate(weights):
                heads = torch.zeros(block.attn.proj.in_features).to(last)
                heads[h * values.shape[1] : (h + 1) * values.shape[1]] = row @ values
                inner = frozen(block.attn.norm, seen["inner", b][0][i])[0] if ("inner", b) in seen else lambda x: x
                post = scaled_by(layer_scale_of(block))
                if type(block).__name__ in POST_NORM:
                    post, _ = frozen(block.norm1, seen["projection", b][1][i])
                u.append(in_front[i](post(block.attn.proj.weight @ inner(heads))))
            found.append(read(torch.stack(u)))
    return torch.stack(found).reshape(len(model.blocks), -1, len(found[0])).numpy()


def greedy(contributions, rows, most):
    """Words and shares of one head by the steps of the definition, on full matrices (R, R)."""
    sigma = np.cov(contributions.T)
    values, vectors = np.linalg.eigh(sigma)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = vectors[:, : min(80, int((np.cumsum(values) < 0.99 * values.sum()).sum()) + 1)]
    rows, total, found = unit(rows) @ kept @ kept.T, np.trace(sigma), []
    for _ in range(most):
        along = [row @ sigma @ row for row in rows]
        if max(along) <= 1e-6 * total:
            break
        row = rows[int(np.argmax(along))]
        projection = np.outer(row, row) / (row @ row)
        found.append((int(np.argmax(along)), np.trace(projection @ sigma @ projection) / total))
        others = np.eye(len(sigma)) - projection
        sigma, rows = others @ sigma @ others, rows @ others
    return found


def spans(model, images):
    read = HeadOutputs(model)
    z = read(images).numpy()
    return spans_of(read, covariance(z.sum(0), np.einsum("nbhf,nbhg->bhfg", z, z), len(z)))


@pytest.mark.parametrize("name", NAMES)
def test_words_are_those_of_brute_force(name):
    model = model_of(name)
    read = HeadOutputs(model)
    z, rows = read(IMAGES), read.rows()
    contributions = torch.stack([torch.einsum("hrf,nhf->nhr", one, z[:, b]) for b, one in enumerate(read.maps())], 1)
    classes = torch.arange(len(IMAGES)) % model.num_classes
    of_logit = LogitAttribution(model)(IMAGES, classes).heads.sum(-1)
    torch.testing.assert_close(torch.einsum("nbhr,nr->nbh", contributions, rows[classes]), of_logit)
    expected = np.stack([written(model, image) for image in IMAGES])
    np.testing.assert_allclose(contributions.numpy(), expected, rtol=1e-7, atol=1e-9)
    for block, of_block in enumerate(spans(model, IMAGES)):
        for head, span in enumerate(of_block):
            found = words_of(span, unit(rows.numpy()), 4)
            assert len(found) > 1
            words, shares = zip(*greedy(expected[:, block, head], rows.numpy(), 4), strict=True)
            assert [row for row, _ in found] == list(words)
            assert [share for _, share in found] == pytest.approx(shares, abs=1e-6)


def test_a_planted_head_gets_its_word():
    """Head 1 of block 0 writes class 3 for as much as an image is bright; the others write what they wrote."""
    model = model_of("plain")
    torch.nn.init.orthogonal_(model.head.weight)
    attention, width = model.blocks[0].attn, 8
    with torch.no_grad():
        row = model.head.weight[3] / model.norm.weight
        attention.proj.weight[:, width : 2 * width] = 0
        attention.proj.weight[:, width] = row - row.mean()
    table = table_of(spans(model, IMAGES), model.head.weight.detach().numpy(), list("abcdefg"), 3, 999, 0)
    first = table[table["place"] == 1].set_index(["block", "head"])
    assert first.loc[(0, 1), "word"] == "d"
    assert first.loc[(0, 1), "share"] == pytest.approx(1)
    assert (first["cumulative"] == first["share"]).all()
    assert table.groupby(["block", "head"])["cumulative"].max().max() <= 1 + 1e-9


def test_the_null_is_that_of_random_rows_of_full_length():
    generator = np.random.default_rng(0)
    spans = [span_of(generator.normal(size=(12, k)), np.diag(np.linspace(0.2, 2, k))) for k in (3, 6)]
    found = null_shares(spans, 5, 4000, 1)
    assert found.shape == (4000, 2)
    for span, of_head in zip(spans, found.T, strict=True):
        rows = (unit(generator.normal(size=(5, 12))) for _ in range(4000))
        expected = [words_of(span, one, 1)[0][1] for one in rows]
        levels = np.linspace(0.05, 0.95, 10)
        assert np.quantile(of_head, levels) == pytest.approx(np.quantile(expected, levels), abs=0.03)
    assert np.array_equal(found, null_shares(spans, 5, 4000, 1))


def test_random_words_name_no_more_heads_than_the_level_says():
    generator = np.random.default_rng(2)
    spans = [[span_of(generator.normal(size=(12, 4)), np.eye(4)) for _ in range(400)]]
    rows = generator.normal(size=(6, 12))
    p_values = table_of(spans, rows, list("abcdef"), 1, 999, 3)["p_value"]
    assert abs((p_values < 0.1).mean() - 0.1) < 0.06


def test_spans_of_one_axis_and_of_none_name_nothing():
    """With one axis every word explains the same, and rows of zeros are no words."""
    one, none = Span(np.array([2.0]), np.eye(4)[:, :1], 2.0), Span(np.zeros(0), np.zeros((4, 0)), 0.0)
    rows = np.concatenate([np.zeros((1, 4)), 3 * np.eye(4)])
    table = table_of([[one, none]], rows, ["zero", *"abcd"], 5, 99, 0)
    assert table[["block", "head", "place", "word", "share", "p_value"]].to_numpy().tolist() == [[0, 0, 1, "a", 1, 1]]


# Files


def files_of(folder, name, classes=(1, 2, 3, 4, 5, 6), change=None):
    model, pixels, weights, network = write_small(folder, name, list(classes), change)
    pd.DataFrame({"class_index": range(5), "class_name": [*"0123", "NA"]}).to_csv(folder / "stimuli.csv", index=False)
    return model, pixels, weights, network


NAMING = {"per_head": 3, "draws": 199, "seed": 0, "correction": "holm", "confidence": 0.95}


def test_files_of_shards_are_those_of_all_images(tmp_path):
    model, pixels, weights, network = files_of(tmp_path, "averages")
    write_spans(pixels, weights, [], tmp_path / "whole.h5", **network)
    shards = [str(tmp_path / f"{start}.h5") for start in (0, 4)]
    for shard, (start, stop) in zip(shards, ((0, 4), (4, 6)), strict=True):
        write_sums(pixels, weights, shard, of=OutputSums, start=start, stop=stop, **network)
    write_spans(pixels, weights, shards, tmp_path / "spans.h5", **network)
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "spans.h5") as spans:
        assert set(whole) == {"axes", "variance", "trace", "classes"}
        assert all(data.attrs["description"] for data in whole.values())
        for name in ("variance", "trace", "classes"):
            assert spans[name][:] == pytest.approx(whole[name][:], rel=1e-9)
    for name in ("whole", "spans"):
        name_heads(tmp_path / f"{name}.h5", tmp_path / "stimuli.csv", [], [], str(tmp_path / f"{name}.csv"), **NAMING)
    words = read_table(str(tmp_path / "whole.csv"))
    pd.testing.assert_frame_equal(words, read_table(str(tmp_path / "spans.csv")))
    with h5py.File(pixels) as file:
        images = torch.from_numpy(file["pixels"][:]).permute(0, 3, 1, 2) / 127.5 - 1
    expected = np.stack([written(model.eval(), image) for image in images])
    for (block, head), rows in words.groupby(["block", "head"]):
        found = greedy(expected[:, block, head].astype(float), model.head.weight.detach().numpy(), 3)
        called = [*"0123", "NA", "class 5", "class 6"]
        assert rows["word"].tolist() == [called[row] for row, _ in found]
        assert rows["share"].tolist() == pytest.approx([share for _, share in found], abs=1e-4)
        assert rows["cumulative"].tolist() == pytest.approx(rows["share"].cumsum().tolist(), abs=1e-5)
    first = words["place"] == 1
    assert words.loc[first, ["null", "p_value", "p_corrected"]].notna().all(axis=None)
    assert words.loc[~first, ["null", "p_value", "p_corrected", "name"]].isna().all(axis=None)
    named = words["p_corrected"] < 0.05
    assert words.loc[named, "name"].tolist() == words.loc[named, "word"].tolist()
    assert words.loc[~named, "name"].isna().all()
    head_words(str(tmp_path / "whole.csv"), [str(tmp_path / "spans.csv")], str(tmp_path / "both.csv"))
    both = read_table(str(tmp_path / "both.csv"))
    assert both["of"].value_counts().to_dict() == {"model": len(words), "twin": len(words)}
    assert both.columns.tolist() == ["of", *words]


def test_what_is_not_finite_or_not_linear_is_refused(tmp_path):
    def not_finite(model):
        model.blocks[1].attn.qkv.weight[-1, 0] = float("nan")

    *files, network = files_of(tmp_path, "plain", change=not_finite)[1:]
    with pytest.raises(InputError, match=r"heads write what is not finite; check the weights"):
        write_spans(*files, [], tmp_path / "spans.h5", **network)
    with pytest.raises(InputError, match=r"attention pool has an MLP"):
        HeadOutputs(transformer("attention pool"))

"""Heads in words: by brute force on every image's contributions in memory, and the files of the workflow."""

import numpy as np
import pandas as pd
import pytest
import torch
from frozen_parts import LINEAR_POOL, made, row_of, written
from refusals import refused
from tiny_transformers import contents, images_of, transformer, write_small

from classlens.attribution.head_outputs import HeadOutputs, spans_of
from classlens.attribution.words import Span, covariance, null_shares, span_of, table_of, unit, words_of
from classlens.csvfile import read_table
from classlens.measures.head_words import head_words, name_heads
from classlens.passes.head_words import OutputSums, write_spans
from classlens.passes.sums import write_sums

IMAGES = torch.randn(9, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NAMES = (
    *("plain", "LayerScale", "registers", "distilled", "averages", "averages, class token", "[CLS ; mean]", "BEiT"),
    *("res-post-norm", "norms inside branches", LINEAR_POOL, "averages of all tokens", "EVA, two norms"),
    "EVA, norm inside attention",
)


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


def by_head(model, images):
    """What heads write (N, B, H, R), whatever they read it from."""
    return np.stack([written(model, image)["heads"].sum(2).numpy() for image in images])


def spans(model, images):
    read = HeadOutputs(model)
    z = read(images).numpy()
    return spans_of(read, covariance(z.sum(0), np.einsum("nbhf,nbhg->bhfg", z, z), len(z)))


@pytest.mark.parametrize("name", NAMES)
def test_words_are_those_of_brute_force(name):
    model = made(name)
    read = HeadOutputs(model)
    z, rows = read(IMAGES), read.rows()
    contributions = torch.stack([torch.einsum("hrf,nhf->nhr", one, z[:, b]) for b, one in enumerate(read.maps())], 1)
    torch.testing.assert_close(rows, torch.stack([row_of(model, index) for index in range(model.num_classes)]))
    expected = by_head(model, IMAGES)
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
    model = made("plain")
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


def test_spans_of_one_axis_and_of_none_name_nothing():
    """With one axis every word explains the same, and rows of zeros are no words."""
    one, none = Span(np.array([2.0]), np.eye(4)[:, :1], 2.0), Span(np.zeros(0), np.zeros((4, 0)), 0.0)
    rows = np.concatenate([np.zeros((1, 4)), 3 * np.eye(4)])
    table = table_of([[one, none]], rows, ["zero", *"abcd"], 5, 99, 0)
    assert table[["block", "head", "place", "word", "share", "p_value"]].to_numpy().tolist() == [[0, 0, 1, "a", 1, 1]]


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
    (whole, _), (spans, _) = (contents(tmp_path / name) for name in ("whole.h5", "spans.h5"))
    assert set(whole) == {"axes", "variance", "trace", "classes"}
    for name in ("variance", "trace", "classes"):
        assert spans[name] == pytest.approx(whole[name], rel=1e-9)
    for name in ("whole", "spans"):
        name_heads(tmp_path / f"{name}.h5", tmp_path / "stimuli.csv", [], [], str(tmp_path / f"{name}.csv"), **NAMING)
    words = read_table(str(tmp_path / "whole.csv"))
    pd.testing.assert_frame_equal(words, read_table(str(tmp_path / "spans.csv")))
    expected = by_head(model.eval(), images_of(pixels)[0])
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
    refused("heads write what is not finite; check", lambda: write_spans(*files, [], tmp_path / "spans.h5", **network))
    refused("attention pool has an MLP", lambda: HeadOutputs(transformer("attention pool")))

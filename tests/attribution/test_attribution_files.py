"""The attribution file and its table: golden logits, trained models, the explanation that follows, wrong input."""

import h5py
import numpy as np
import pytest
from tiny_transformers import contents, explain_images, run_golden, write_small

from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.explanations.direct import direct
from classlens.explanations.heatmaps import heatmaps
from classlens.measures.logit_attribution import logit_attribution
from classlens.passes import attribution
from classlens.passes.attribution import AttributeLogits
from classlens.passes.run import run_pass
from classlens.statistics.resampling import Resampling

PARTS = ("heads", "attention_bias", "mlp", "embedding", "constant")


def write_parts(*files, **network):
    return run_pass(*files, of=AttributeLogits, **network)


def gap(found):
    """Largest difference between the sum of an image's parts and its logit, in float64, as a share of its largest."""
    parts = np.concatenate([found[name].astype(np.float64).reshape(len(found["logit"]), -1) for name in PARTS], axis=1)
    return (np.abs(parts.sum(1) - found["logit"]) / np.abs(parts).max(1)).max()


def test_golden_logits(golden, tmp_path):
    path = tmp_path / "logit.h5"
    noted = run_golden(path, of=AttributeLogits)
    found = contents(path)[0]
    # At the last block the projection of [CLS] is the model's output.
    assert found["logit"] == pytest.approx(golden["projection/residual/logit"][-1, :, 0], rel=1e-4, abs=1e-4)
    assert gap(found) < 1e-4
    assert noted["device"] == "cpu"
    assert 0 < noted["largest_gap"] < 1e-4
    blocks, heads, tokens = 12, 3, 50
    shapes = {"heads": (30, blocks, heads, tokens), "attention_bias": (30, blocks), "mlp": (30, blocks)}
    with h5py.File(path) as file:
        assert dict(file.attrs) == {"num_classes": 1000, "num_prefix_tokens": 1, "has_class_token": True}
        assert set(file) == {*PARTS, "logit"}
        for name, data in file.items():
            assert (data.shape, data.dtype) == (shapes.get(name, (30,)), np.float32)
            assert (data.attrs["unit"], bool(data.attrs["description"])) == ("logit", True)


@pytest.mark.parametrize("name", ["distilled", "averages"])
def test_the_explanation_is_the_sum_over_heads(name, tmp_path):
    model, pixels, weights, network = write_small(tmp_path, name, [5, 1, 0])
    write_parts(pixels, weights, tmp_path / "logit.h5", **network)
    explain_images(pixels, weights, tmp_path / "direct.h5", explain=direct, has_maps=True, **network)
    heads = contents(tmp_path / "logit.h5")[0]["heads"][..., model.num_prefix_tokens :]
    with h5py.File(tmp_path / "direct.h5") as file:
        assert file["maps"][:] == pytest.approx(heads, rel=1e-5, abs=1e-7)
        assert file["importance"][:] == pytest.approx(heads.sum((1, 2)), rel=1e-4, abs=1e-6)
        assert file["importance"].shape == (3, model.patch_embed.num_patches)


def test_heat_maps_of_a_model_that_averages(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "averages", [5, 1, 0])
    output, table = tmp_path / "output.h5", str(tmp_path / "table.csv")
    with h5py.File(output, "w") as file:
        file["top5"] = np.array([[5, 2, 0, 1, 3]] * 3, np.uint16)
    del network["batch_size"]
    chosen = {"images": [0, 2], "second_class": None, "block": 1, "head": 2}
    heatmaps(pixels, weights, output, table, explain=direct, **chosen, **network)
    numbers = read_table(table)
    assert len(numbers) == 2 * 2 * 2 * 16
    assert numbers["importance"].abs().min() > 0


RESAMPLING = Resampling(99, 0.95, 0)


def test_the_table_adds_up(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "LayerScale", [5, 1, 0, 6])
    write_parts(pixels, weights, tmp_path / "logit.h5", **network)
    logit_attribution(tmp_path / "logit.h5", str(tmp_path / "table.csv"), RESAMPLING)
    numbers, found = read_table(str(tmp_path / "table.csv")), contents(tmp_path / "logit.h5")[0]
    assert numbers["images"].unique().tolist() == [4]
    assert numbers["part"].value_counts().to_dict() == {
        "attn": 2, "mlp": 2, "embedding": 1, "constant": 1, "logit": 1, "head": 6,
    }  # fmt: skip

    def means(part):
        return numbers.loc[numbers["part"] == part, "mean"].to_numpy()

    heads = found["heads"].sum(-1).mean(0)
    assert means("head").reshape(2, 3) == pytest.approx(heads, rel=1e-4)
    assert means("attn") == pytest.approx(heads.sum(1) + found["attention_bias"].mean(0), rel=1e-4)
    assert means("mlp") == pytest.approx(found["mlp"].mean(0), rel=1e-4)
    assert means("embedding") == pytest.approx([found["embedding"].mean()], rel=1e-4)
    whole = sum(means(part).sum() for part in ("attn", "mlp", "embedding", "constant"))
    assert whole == pytest.approx(means("logit")[0], rel=1e-4, abs=1e-4)
    rows = numbers[numbers["part"] == "head"]
    assert rows[["block", "head"]].to_numpy().tolist() == [[block, head] for block in range(2) for head in range(3)]
    assert numbers.loc[numbers["part"] != "head", "head"].isna().all()
    assert (numbers["ci_low"] <= numbers["mean"]).all()
    assert (numbers["mean"] <= numbers["ci_high"]).all()


def test_bad_input(tmp_path, monkeypatch):
    def not_finite(model):
        model.blocks[0].attn.proj.weight.fill_(float("nan"))

    output = tmp_path / "out.h5"
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1], not_finite)
    with pytest.raises(InputError, match=r"out\.h5: contributions are not finite; check the weights"):
        write_parts(pixels, weights, output, **network)
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1])
    monkeypatch.setattr(attribution, "MOST_GAP", 0.0)
    with pytest.raises(InputError, match=r"out\.h5: the parts of a logit differ from it by .* leave logit_attribution"):
        write_parts(pixels, weights, output, **network)
    # Rounding to half precision is no mistake.
    write_parts(pixels, weights, output, **{**network, "precision": "bfloat16"})

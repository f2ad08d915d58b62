"""A model over its training, and differences of two models, against plain loops over images."""

import h5py
import numpy as np
import pytest
from layer_files import agrees, tabled
from tiny_transformers import write_small

from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.measures.difference import difference
from classlens.measures.series import series_heads, series_identifiability, series_words
from classlens.passes.attribution import AttributeLogits
from classlens.passes.run import run_pass
from classlens.statistics.resampling import Resampling

DRAWS = Resampling(99, 0.95, 0)
STATISTICS = {"resampling": DRAWS, "correction": "holm"}
N, B, H, T = 10, 3, 2, 5


def write(path, values):
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            file[name] = array
    return str(path), values


def write_lines(path, lines):
    path.write_text("\n".join([*lines, ""]))
    return str(path)


def write_identifiability(path, seed, blocks=B, groups=("cls", "image"), images=N):
    """A file as `classlens.measures.identifiability` writes it, as far as it is read here."""
    draw = np.random.default_rng(seed)
    values = {group: draw.random((images, blocks)) for group in groups}
    values |= {f"histogram/{group}": np.zeros((blocks, 4), np.int64) for group in groups}
    return write(path, {**values, "identifiable": np.zeros((images, blocks)), "correct": draw.random(images) > 0.4})


def write_attribution(path, seed, blocks=B, heads=H):
    draw = np.random.default_rng(seed)
    shapes = {"heads": (N, blocks, heads, T), "mlp": (N, blocks), "attention_bias": (N, blocks)}
    shapes |= dict.fromkeys(("embedding", "constant", "logit"), (N,))
    values = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return write(path, values)


def write_effects(path, seed, blocks=B, heads=H):
    return write(path, {"effect": np.random.default_rng(seed).normal(size=(N, blocks, heads)).astype(np.float32)})


def test_identifiability_over_training(tmp_path):
    files = [write_identifiability(tmp_path / f"{seed}.h5", seed) for seed in range(2)]
    accuracy, given = str(tmp_path / "accuracy.csv"), {"points": [0, 30], "at": "epoch", "resampling": DRAWS}
    found = tabled(series_identifiability, tmp_path, measures=[path for path, _ in files], accuracy=accuracy, **given)
    assert len(found) == 2 * 2 * B
    assert set(found["at"]) == {"epoch"}
    rates = read_table(accuracy).set_index("point")
    for point, (_, values) in zip((0, 30), files, strict=True):
        for group in ("cls", "image"):
            rows = found[(found["point"] == point) & (found["group"] == group)].set_index("block")
            for block in range(B):
                agrees(rows.loc[block], values[group][:, block], DRAWS)
        agrees(rates.loc[point], values["correct"], DRAWS, "accuracy")


def test_since_when_heads_matter(tmp_path):
    """Heads 0.0 to 1.0: from the first point on, from the second, on and off, never at the end."""
    low = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]], float).T
    header = "of,block,head,images,direct,direct_ci_low,direct_ci_high,effect,effect_ci_low,effect_ci_high"
    causes = []
    for point in range(3):
        lines = [header]
        for place, (block, head) in enumerate(np.ndindex(2, 2)):
            lines.append(f"model,{block},{head},9,{place},0,1,{point},{low[point, place]},9")
            lines.append(f"twin,{block},{head},9,7,7,7,7,7,7")
        causes.append(write_lines(tmp_path / f"{point}.csv", lines))
    found = tabled(series_heads, tmp_path, causes=causes, points=[5, 10, 20], at="step")
    begins = found.groupby(["block", "head"])["begins"].unique()
    assert [one.tolist() for one in begins[:3]] == [[5], [10], [20]]
    assert np.isnan(begins.iloc[3]).all()
    assert found.loc[found["head"].eq(1) & found["block"].eq(1), "direct"].tolist() == [3, 3, 3]
    assert found["effect"].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_first_words_over_training(tmp_path):
    words = []
    for point in range(2):
        lines = ["block,head,place,word,share,cumulative,null,p_value,p_corrected,name"]
        lines += [f"0,{head},1,word {point}{head},0.{5 + head},0.5,0.3,0.01,0.02,{'7' * head}" for head in range(2)]
        words.append(write_lines(tmp_path / f"{point}.csv", [*lines, "0,0,2,other,0.1,0.6,,,,"]))
    found = tabled(series_words, tmp_path, words=words, points=[5, 10], at="step")
    assert found["word"].tolist() == ["word 00", "word 01", "word 10", "word 11"]
    assert found["name"].fillna("").tolist() == ["", "7", "", "7"]
    assert found["point"].tolist() == [5, 5, 10, 10]


def written(folder, seeds, **shape):
    """The arguments of `difference` for two models, and their values."""
    seen = [write_identifiability(folder / f"i{seed}.h5", seed) for seed in seeds]
    parts = [write_attribution(folder / f"a{seed}.h5", seed, **shape) for seed in seeds]
    causes = [write_effects(folder / f"e{seed}.h5", seed, **shape) for seed in seeds]
    names = {"identifiability": seen, "attribution": parts, "effects": causes}
    return {name: [path for path, _ in found] for name, found in names.items()}, seen, parts, causes


def test_a_difference_is_paired_by_image(tmp_path):
    files, seen, parts, causes = written(tmp_path, (1, 2))
    found = tabled(difference, tmp_path, **files, **STATISTICS)
    cells = 1 + 2 * B + 1 + 2 * B + 2 + 2 * B * H
    assert len(found) == cells

    def values(row, which):
        place = [int(row[name]) for name in ("block", "head") if not np.isnan(row[name])]
        own = {**parts[which][1], **causes[which][1], **seen[which][1], "accuracy": seen[which][1]["correct"]}
        own |= {"head": own["heads"].sum(-1), "identifiability": own.get(row["group"])}
        return own[row["part"] if row["quantity"] == "direct" else row["quantity"]][:, *place].astype(float)

    for _, row in found.iterrows():
        agrees(row, values(row, 1) - values(row, 0), DRAWS, "difference", test="two-sided")
    assert found["p_corrected"].min() == pytest.approx(min(1, cells * found["p_value"].min()), rel=1e-4)


@pytest.mark.parametrize("head", range(3))
def test_the_head_that_was_edited_is_first_among_direct(head, tmp_path):
    def edit(model):
        width = model.blocks[-1].attn.head_dim
        model.blocks[-1].attn.proj.weight[:, head * width : (head + 1) * width] *= -1

    files = []
    for name, change in (("a", None), ("b", edit)):
        (folder := tmp_path / name).mkdir()
        _, pixels, weights, network = write_small(folder, "plain", [5, 5, 5, 5], change)
        files.append(str(folder / "direct.h5"))
        run_pass(pixels, weights, files[-1], of=AttributeLogits, **network)
    seen = [write_identifiability(tmp_path / "seen.h5", 0, images=4)[0]] * 2
    found = tabled(difference, tmp_path, identifiability=seen, attribution=files, effects=[], **STATISTICS)
    cells = found[found["quantity"] == "direct"].set_index(["part", "block", "head"])["difference"].abs()
    assert cells.idxmax() == ("head", 1, head)
    assert cells.max() > 2 * cells.drop(("head", 1, head)).max()


def test_models_of_other_shapes_are_compared_by_depth_and_as_wholes(tmp_path):
    files, (_, seen), *_ = written(tmp_path, (1, 2))
    deeper, values = write_identifiability(tmp_path / "deeper.h5", 5, blocks=2 * B, groups=("image",))
    files["identifiability"][0] = deeper
    files["attribution"][0], _ = write_attribution(tmp_path / "wider.h5", 5, blocks=2 * B, heads=H)
    found = tabled(difference, tmp_path, **{**files, "effects": files["effects"][:1]}, **STATISTICS)
    assert found["head"].isna().all()
    assert set(found["quantity"]) == {"accuracy", "identifiability", "logit", "direct"}
    assert set(found.loc[found["quantity"] == "direct", "part"]) == {"embedding", "constant"}
    rows = found[found["quantity"] == "identifiability"].set_index("block")
    assert rows.index.tolist() == [3, 7, 11]
    assert set(rows["group"]) == {"image"}
    shown = (seen[1]["image"] - values["image"][:, 1::2]).mean(0)
    assert rows["difference"].tolist() == pytest.approx(shown, rel=1e-4)


def test_models_that_saw_other_images_are_refused(tmp_path):
    paths = [write_identifiability(tmp_path / f"{count}.h5", 1, images=count)[0] for count in (N, N - 1)]
    with pytest.raises(InputError, match="9 and 10 images; give both the same data set"):
        tabled(difference, tmp_path, identifiability=paths, attribution=[], effects=[], **STATISTICS)

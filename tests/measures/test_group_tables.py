"""Accuracy by group, association with an attribute, and the report of a repair, against loops over images."""

import h5py
import numpy as np
import pandas as pd
import pytest
from layer_files import tabled

from classlens.csvfile import read_texts
from classlens.measures.group_accuracy import group_accuracy
from classlens.measures.repair import repair
from classlens.measures.shortcut_heads import shortcut_heads
from classlens.statistics.groups import associate, change_of_worst, group_means, groups_of, resampled_means, worst
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(resamples=400, confidence=0.95, seed=3)
DRAW = np.random.default_rng(0)
CLASSES = np.repeat([2, 5, 7], [60, 44, 24])
VALUES = np.where(DRAW.random(len(CLASSES)) < 0.6, "land", "sea")
VALUES[-24:] = ["land"] * 19 + ["sea"] * 5
"""The last group is too small to be the worst."""
GROUPS, NAMES = groups_of(CLASSES, VALUES)


def members():
    return [(index == CLASSES) & (value == VALUES) for index, value in NAMES]


def eta(values):
    """Eta squared within classes of one quantity, as its definition has it."""
    between = total = 0.0
    for index in set(CLASSES):
        own = values[index == CLASSES]
        total += ((own - own.mean()) ** 2).sum()
        for value in ("land", "sea"):
            group = values[(index == CLASSES) & (value == VALUES)]
            between += len(group) * (group.mean() - own.mean()) ** 2
    return between / total


def test_groups_are_classes_with_values():
    assert [(index, value) for index in (2, 5, 7) for value in ("land", "sea")] == NAMES
    assert list(GROUPS.classes) == [0, 0, 1, 1, 2, 2]
    for group, of in enumerate(members()):
        assert np.array_equal(GROUPS.of == group, of)
    some = GROUPS.among(CLASSES != 5)
    assert list(some.classes) == [0, 0, 1, 1]
    assert np.array_equal(some.sizes, GROUPS.sizes[[0, 1, 4, 5]])


def test_the_worst_group_is_a_large_one():
    right = DRAW.random((len(CLASSES), 2))
    right[-5:] = 0
    expected = np.stack([right[of].mean(0) for of in members()])
    assert group_means(right, GROUPS) == pytest.approx(expected)
    assert worst(group_means(right, GROUPS), GROUPS) == pytest.approx(expected[:5].min(0))
    assert np.isnan(worst(np.zeros((1, 2)), groups_of(CLASSES[:4], VALUES[:4])[0])).all()


def test_images_are_drawn_within_groups():
    right = np.stack([VALUES == "sea", DRAW.random(len(CLASSES)) < 0.5], 1)
    drawn = resampled_means(right, GROUPS, RESAMPLING)
    assert drawn.shape == (400, 6, 2)
    assert np.array_equal(drawn[..., 0], np.tile([0.0, 1.0] * 3, (400, 1)))
    spread = np.sqrt([right[of, 1].var() / of.sum() for of in members()])
    assert drawn[..., 1].std(0) == pytest.approx(spread, rel=0.2)


def test_association_with_an_attribute():
    noise = DRAW.normal(size=len(CLASSES)) + CLASSES
    values = np.stack([noise, noise + 3 * (VALUES == "sea"), 1.0 * CLASSES, noise + 0.2 * (VALUES == "sea")], 1)
    found = associate(values, GROUPS, RESAMPLING)
    assert found.share == pytest.approx([eta(values[:, 0]), eta(values[:, 1]), 0, eta(values[:, 3])], abs=1e-9)
    assert found.p_value[1] == pytest.approx(1 / 401)
    assert found.p_value[2] == 1  # it does not vary within classes
    assert found.p_value[0] > 0.05
    assert (found.low <= found.share)[1]
    assert (found.high >= found.share)[1]
    # By hand, with permutations of a test's own.
    shuffled, rng = [], np.random.default_rng(9)
    for _ in range(400):
        order = np.concatenate([rng.permutation(np.flatnonzero(index == CLASSES)) for index in (2, 5, 7)])
        shuffled.append(eta(values[order, 3]))
    assert found.p_value[3] == pytest.approx(np.mean(np.array(shuffled) >= eta(values[:, 3])), abs=0.08)


@pytest.fixture
def files(tmp_path):
    """Files that the measures read, of a model that is worst at sea."""
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "output.h5", "w") as file:
        file["class_index"] = CLASSES.astype(np.uint16)
        file["correct"] = rng.random(len(CLASSES)) < np.where(VALUES == "sea", 0.4, 0.9)
    pd.DataFrame({"image": range(len(VALUES)), "place": VALUES}).to_csv(tmp_path / "groups.csv", index=False)
    names = {2: "auk", 5: "jay", 7: "owl"}
    rows = [f"evaluation,{n},{index},x,{names[index]},f,s" for n, index in enumerate(CLASSES)]
    header = "split,image,class_index,class_id,class_name,file,sha256"
    (tmp_path / "stimuli.csv").write_text("\n".join([header, *rows, ""]))
    return tmp_path


def given(folder, **ends):
    """Paths of files in a folder by name, of which these have such endings."""
    ends = {"output": "h5", "groups": "csv", **ends}
    return {name: str(folder / f"{name}.{end}") for name, end in ends.items()}


def right_of(folder):
    with h5py.File(folder / "output.h5") as file:
        return file["correct"][:]


def test_group_accuracy(files):
    table = tabled(group_accuracy, files, **given(files, stimuli="csv"), resampling=RESAMPLING)
    right = right_of(files)
    groups = table[table["what"] == "group"]
    assert list(groups["class_name"]) == ["auk", "auk", "jay", "jay", "owl", "owl"]
    assert list(groups["accuracy"]) == pytest.approx([right[of].mean() for of in members()], abs=1e-5)
    rows = table.set_index("what")
    assert rows.loc["all", "accuracy"] == pytest.approx(right.mean(), abs=1e-5)
    large = groups[groups["images"] >= 10]
    lowest = large.loc[large["accuracy"].idxmin()]
    whose = ["class_name", "carries", "images"]
    assert rows.loc["worst", whose].tolist() == lowest[whose].tolist()
    assert rows.loc["gap", "accuracy"] == pytest.approx(right.mean() - lowest["accuracy"], abs=1e-5)
    assert (table["ci_low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["ci_high"]).all()


@pytest.mark.parametrize("masks", [True, False])
def test_shortcut_heads(files, masks):
    rng = np.random.default_rng(2)
    direct = rng.normal(size=(len(CLASSES), 2, 3))
    direct[:, 1, 2] += 2 * (VALUES == "sea")
    read = rng.random((len(CLASSES), 2, 3, 3))
    if not masks:
        read[..., :2] = 0
    for name, values in (("model", direct), ("twin", rng.normal(size=direct.shape))):
        with h5py.File(files / f"{name}.h5", "w") as file:
            file["direct"], file["read"] = values.astype(np.float32), read.astype(np.float32)
    (files / "words.csv").write_text("block,head,place,word,name\n0,0,1,a,\n1,2,1,sea,sea\n1,2,2,b,\n")
    paths = {**given(files), "evidence": str(files / "model.h5")}
    settings = {"attribute": "place", "resampling": RESAMPLING, "correction": "holm"}
    twin, words = [str(files / "twin.h5")], [str(files / "words.csv")]
    table = tabled(shortcut_heads, files, twin=twin, words=words, **paths, **settings)
    assert len(table) == 12
    own = table[table["of"] == "model"].set_index(["block", "head"])
    assert list(own.index[own["significant"]]) == [(1, 2)]
    assert own.loc[(1, 2), "share"] == pytest.approx(eta(direct[:, 1, 2]), abs=1e-5)
    assert own.loc[(1, 2), "word"] == "sea"
    assert own["word"].notna().sum() == 1
    assert own.loc[(0, 1), "direct"] == pytest.approx(direct[:, 0, 1].mean(), abs=1e-5)
    if masks:
        parts = read[:, 0, 1].sum(0)
        assert own.loc[(0, 1), "context"] == pytest.approx(parts[0] / parts.sum(), abs=1e-4)
        assert own.loc[(0, 1), "class_tokens"] == pytest.approx(parts[1] / parts.sum(), abs=1e-4)
    else:
        assert own[["context", "class_tokens"]].isna().all(axis=None)
    assert tabled(shortcut_heads, files, twin=[], words=[], **paths, **settings)["word"].isna().all()


@pytest.mark.parametrize("helps", [True, False])
def test_the_report_of_a_repair(files, helps):
    rng = np.random.default_rng(4)
    own = right_of(files)
    repaired = own | ((VALUES == "sea") & (rng.random(len(own)) < 0.9)) if helps else own
    choosing = np.arange(len(own)) % 2 == 0
    heads = np.full((4, 3, 2), -1, np.int32)
    heads[1, :2], heads[2:, :2] = [(0, 1), (2, 10)], [[(1, 1), (2, 2)], [(0, 0), (3, 1)]]
    with h5py.File(files / "answers.h5", "w") as file:
        file["correct"], file["choosing"], file["heads"] = np.stack([own, repaired, own, ~own]), choosing, heads
        file.attrs["found"] = helps
    tabled(repair, files, **given(files, answers="h5"), attribute="place", resampling=RESAMPLING)
    table = read_texts(str(files / "repair.csv"))
    assert list(table.columns) == [
        "half", "who", "draw", "heads", "accuracy", "worst_group", "change", "ci_low", "ci_high", "found",
    ]  # fmt: skip
    assert list(table["who"]) == ["model", "repaired", "random", "random"] * 2
    assert list(table["draw"]) == ["", "", "1", "2"] * 2
    assert list(table["heads"])[:3] == ["", "0.1 2.10", "1.1 2.2"]
    assert list(table["found"]) == ["", str(helps), "", ""] * 2
    for half, chosen in (("choosing", choosing), ("reporting", ~choosing)):
        rows = table[table["half"] == half].reset_index(drop=True)
        large = [of & chosen for of in members() if (of & chosen).sum() >= 10]
        for place, right in enumerate((own, repaired, own, ~own)):
            assert float(rows.loc[place, "accuracy"]) == pytest.approx(right[chosen].mean(), abs=1e-5)
            lowest = min(right[of].mean() for of in large)
            assert float(rows.loc[place, "worst_group"]) == pytest.approx(lowest, abs=1e-5)
        before, after = float(rows.loc[0, "worst_group"]), float(rows.loc[1, "worst_group"])
        assert float(rows.loc[1, "change"]) == pytest.approx(after - before, abs=1e-5)
        assert float(rows.loc[2, "ci_low"]) == float(rows.loc[2, "ci_high"]) == 0  # the same answers


def test_the_worst_group_is_found_anew_in_each_resample():
    """Two groups that are equally bad: mending one alone leaves the other, so that nothing is gained."""
    classes, values = np.zeros(400, int), np.repeat(["a", "b"], 200)
    before = np.tile([True, False], 200)
    groups, _ = groups_of(classes, values)
    one = change_of_worst(before, before | (values == "a"), groups, RESAMPLING)
    assert one.change == 0
    assert one.low > 0 or one.low <= 0 <= one.high
    both = change_of_worst(before, np.ones(400, bool), groups, RESAMPLING)
    assert both.change == 0.5
    drawn = 1 - worst(resampled_means(before[:, None], groups, RESAMPLING), groups)[:, 0]
    assert (both.low, both.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert both.error == pytest.approx(drawn.std(ddof=1))

"""Tables of memories: numbers from files whose content is chosen, intervals and tests against independent code."""

import h5py
import numpy as np
import pytest
from layer_files import agrees, box_of, tabled
from scipy.stats import permutation_test, wilcoxon

from classlens.columns import BOX_COLUMNS
from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.measures.agreement_vs_accuracy import agreement_vs_accuracy, difference_interval, difference_test
from classlens.measures.class_value_agreement import class_value_agreement
from classlens.measures.key_value_agreement import key_value_agreement
from classlens.measures.memory_chance import largest_cosine, shared_memory
from classlens.measures.memory_comparison import memory_comparison
from classlens.measures.memory_composition import memory_composition
from classlens.measures.memory_parameters import project
from classlens.measures.value_vectors import value_vectors
from classlens.models.head import save_head
from classlens.statistics.resampling import Resampling
from classlens.statistics.twins import COLUMNS

BLOCKS, IMAGES, TOKENS, CLASSES, WIDTH = 3, 40, 6, 8, 12
MEMORIES = {"attn": 12, "mlp": 30}
RESAMPLING = Resampling(199, confidence=0.95, seed=0)


def write_parameters_file(path, seed, blocks=BLOCKS, classes=CLASSES):
    """A model's projected memories from random weights; returns the memories by branch and block."""
    random = np.random.default_rng(seed)
    head = random.standard_normal((classes, WIDTH)).astype(np.float32)
    memories = {}
    with h5py.File(path, "w") as file:
        file.attrs.update(blocks=blocks, num_classes=classes, width=WIDTH)
        for branch, count in MEMORIES.items():
            for block in range(blocks):
                of_block = project(head, random.standard_normal((WIDTH, count)).astype(np.float32))
                memories[branch, block] = of_block
                for name, values in vars(of_block).items():
                    file[f"{branch}/block_{block:02d}/head/{name}"] = values
    return memories


@pytest.fixture
def files(tmp_path):
    """Memory files of both branches and the output file, as tables take them."""
    random = np.random.default_rng(5)
    memories = {branch: [str(tmp_path / f"{branch}_{block}.h5") for block in range(BLOCKS)] for branch in MEMORIES}
    for branch, paths in memories.items():
        for path in paths:
            with h5py.File(path, "w") as file:
                file.attrs["memories"] = MEMORIES[branch]
                for name in ("agreement", "agreement_random", "composition"):
                    file[name] = random.random((IMAGES, TOKENS)) < 0.4
    with h5py.File(tmp_path / "output.h5", "w") as file:
        file.attrs["has_class_token"] = True
        file["class_index"] = np.sort(random.integers(0, 5, IMAGES))
        file["correct"] = random.random(IMAGES) < 0.6
    return {**memories, "output": str(tmp_path / "output.h5")}


def read(path, name):
    with h5py.File(path) as file:
        return file[name][:]


def vectors(folder, stimuli, chosen=None, head=()):
    parameters = str(folder / "model.h5")
    return tabled(value_vectors, folder, parameters=parameters, stimuli=stimuli, head=list(head), value_vectors=chosen)


def test_class_value_agreement_beside_twin_and_chance(tmp_path):
    model = write_parameters_file(tmp_path / "model.h5", 1)
    twin = write_parameters_file(tmp_path / "twin.h5", 2)
    given = {"parameters": str(tmp_path / "model.h5"), "resampling": RESAMPLING}
    table = tabled(class_value_agreement, tmp_path, twin=[str(tmp_path / "twin.h5")], **given)
    assert len(table) == 2 * BLOCKS
    for row in table.to_dict("records"):
        ours, theirs = (memories[row["branch"], row["block"]].class_value for memories in (model, twin))
        agrees(row, ours, RESAMPLING)
        agrees(row, ours.astype(float) - theirs, RESAMPLING, "difference", "difference_")
        assert row["twin_mean"] == pytest.approx(theirs.mean(), abs=1e-5)
        assert row["p_value"] == pytest.approx(wilcoxon(ours, theirs, alternative="greater").pvalue, abs=1e-5)
        assert row["chance"] == pytest.approx(largest_cosine(WIDTH, MEMORIES[row["branch"]]), abs=1e-5)
        assert [row[name] for name in BOX_COLUMNS] == pytest.approx(box_of(ours), abs=1e-5)
    alone = tabled(class_value_agreement, tmp_path, twin=[], **given)
    assert alone[list(COLUMNS)].isna().all(axis=None)
    assert alone.drop(columns=list(COLUMNS)).equals(table.drop(columns=list(COLUMNS)))


def test_key_value_agreement_per_class_and_over_classes(tmp_path, files):
    path = str(tmp_path / "classes.csv")
    means = tabled(key_value_agreement, tmp_path, **files, classes=path, resampling=RESAMPLING)
    classes = read_table(path)
    class_index = read(tmp_path / "output.h5", "class_index")
    assert len(classes) == 2 * BLOCKS * len(np.unique(class_index))
    for row in classes.itertuples():
        file, chosen = files[row.branch][row.block], class_index == row.class_index
        assert row.images == chosen.sum()
        assert row.rate_percent == pytest.approx(100 * read(file, "agreement")[chosen].mean(), abs=1e-3)
        assert row.control_percent == pytest.approx(100 * read(file, "agreement_random")[chosen].mean(), abs=1e-3)
    for row in means.to_dict("records"):
        of_block = classes[(classes["branch"] == row["branch"]) & (classes["block"] == row["block"])]
        rate, control = of_block["rate_percent"], of_block["control_percent"]
        for name, values in {"mean_percent": rate, "control_percent": control}.items():
            agrees(row, values, RESAMPLING, name, f"{name}_")
        assert row["difference"] == pytest.approx((rate - control).mean(), abs=1e-3)
        assert row["chance_percent"] == pytest.approx(100 * shared_memory(MEMORIES[row["branch"]], 5, 5), abs=1e-3)


def test_memory_comparison_averages_blocks_at_one_position(tmp_path, files):
    # 24 blocks share 12 positions: give every file twice times four.
    deep = {branch: [path for path in files[branch] for _ in range(8)] for branch in MEMORIES}
    of_weights = write_parameters_file(tmp_path / "deep.h5", 3, blocks=24)
    inputs = {"parameters": str(tmp_path / "deep.h5"), **files, **deep}
    table = tabled(memory_comparison, tmp_path, **inputs, resampling=RESAMPLING)
    assert list(table["measure"].unique()) == ["class_value", "key_value"]
    assert table.groupby(["measure", "branch"]).size().tolist() == [12] * 4
    assert (table["blocks"] == 2).all()
    class_index = read(tmp_path / "output.h5", "class_index")
    for row in table.itertuples():
        blocks = [2 * row.position - 2, 2 * row.position - 1]
        if row.measure == "class_value":
            expected = np.mean([of_weights[row.branch, block].class_value for block in blocks])
            chance = largest_cosine(WIDTH, MEMORIES[row.branch])
        else:
            agreement = [read(deep[row.branch][block], "agreement") for block in blocks]
            rates = [[each[class_index == c].mean() for c in np.unique(class_index)] for each in agreement]
            expected, chance = 100 * np.mean(rates), 100 * shared_memory(MEMORIES[row.branch], 5, 5)
        assert row.mean == pytest.approx(expected, rel=1e-4)
        assert row.chance == pytest.approx(chance, rel=1e-4)
        assert row.ci_low < row.mean < row.ci_high


def test_composition_is_the_share_of_tokens(tmp_path, files):
    memories = {branch: files[branch] for branch in MEMORIES}
    table = tabled(memory_composition, tmp_path, **memories, resampling=RESAMPLING)
    assert table["block"].tolist() == list(range(BLOCKS)) * 2
    for row in table.to_dict("records"):
        assert row["images"] == IMAGES
        of_images = 100 * read(files[row["branch"]][row["block"]], "composition").mean(1)
        agrees(row, of_images, RESAMPLING, "percent")


def test_agreement_of_correct_and_wrong_images(tmp_path, files):
    table = tabled(agreement_vs_accuracy, tmp_path, **files, resampling=RESAMPLING)
    correct = read(tmp_path / "output.h5", "correct")
    assert len(table) == 2 * BLOCKS
    for row in table.itertuples():
        agrees = read(files[row.branch][row.block], "agreement")[:, 0]
        assert (row.correct_images, row.wrong_images) == (correct.sum(), (~correct).sum())
        assert row.correct_percent == pytest.approx(100 * agrees[correct].mean(), abs=1e-3)
        assert row.wrong_percent == pytest.approx(100 * agrees[~correct].mean(), abs=1e-3)
        assert row.difference == pytest.approx(row.correct_percent - row.wrong_percent, abs=1e-3)
        assert row.ci_low <= row.difference <= row.ci_high
        assert 0 < row.p_value <= 1


def test_a_model_without_cls_is_refused_by_name(tmp_path, files):
    with h5py.File(tmp_path / "output.h5", "r+") as file:
        file.attrs["has_class_token"] = False
    with pytest.raises(InputError, match=rf"{tmp_path.name}/output.h5: .*\[CLS\]"):
        tabled(agreement_vs_accuracy, tmp_path, **files, resampling=RESAMPLING)


@pytest.mark.parametrize(("number", "empty"), [(0, "correct"), (IMAGES, "wrong"), (1, None)])
def test_a_group_without_images_leaves_its_cells_empty(tmp_path, files, number, empty):
    with h5py.File(tmp_path / "output.h5", "r+") as file:
        file["correct"][:] = np.arange(IMAGES) < number
    table = tabled(agreement_vs_accuracy, tmp_path, **files, resampling=RESAMPLING)
    assert table[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    assert table["difference"].isna().all() == (empty is not None)
    for group in ("correct", "wrong"):
        assert table[f"{group}_percent"].isna().all() == (group == empty)


def test_the_permutation_test_is_the_one_that_shuffles_images():
    random = np.random.default_rng(0)
    right, wrong = random.random((25, 3)) < (0.3, 0.5, 0.9), random.random((15, 3)) < (0.3, 0.8, 0.1)
    p_values = difference_test(right, wrong, Resampling(20_000, 0.9, seed=1))
    for column in range(3):
        groups = (right[:, column].astype(float), wrong[:, column].astype(float))

        def statistic(x, y, axis):
            return np.abs(x.mean(axis) - y.mean(axis)).round(9)

        expected = permutation_test(
            groups, statistic, vectorized=True, n_resamples=20_000, alternative="greater", rng=np.random.default_rng(2)
        ).pvalue
        assert p_values[column] == pytest.approx(expected, abs=4 * np.sqrt(2 * expected / 20_000) + 1e-4)
    # No permutation reaches a difference this large, so p is the smallest possible.
    assert difference_test(np.ones((30, 1), bool), np.zeros((30, 1), bool), Resampling(99, 0.9, 0))[0] == 0.01


def test_the_interval_is_the_one_that_resamples_images():
    random = np.random.default_rng(0)
    right, wrong = random.random((60, 2)) < (0.3, 0.5), random.random((30, 2)) < (0.3, 0.8)
    low, high = difference_interval(right, wrong, Resampling(20_000, 0.9, seed=1))
    rates = [group[random.integers(0, len(group), (20_000, len(group)))].mean(1) for group in (right, wrong)]
    drawn = rates[0] - rates[1]
    expected = np.quantile(drawn, (0.05, 0.95), axis=0)
    # Rates are multiples of 1/60 and 1/30; quantiles of two sets of draws may be one such step apart.
    assert np.abs(np.stack([low, high]) - expected).max() <= 1 / 60 + 1e-9


@pytest.fixture
def stimuli(tmp_path):
    path = tmp_path / "stimuli.csv"
    header = "split,image,class_index,class_id,class_name,file,sha256"
    path.write_text(f'{header}\nevaluation,0,0,n0,"kite, a bird",a,b\ntraining,0,3,n3,crane,c,d\n')
    return str(path)


def test_value_vectors_of_chosen_memories(tmp_path, stimuli):
    memories = write_parameters_file(tmp_path / "model.h5", 1)
    chosen = [{"branch": "mlp", "block": 2, "memory": 29}, {"branch": "attn", "block": 0, "memory": 0}]
    table = vectors(tmp_path, stimuli, chosen)
    assert list(table["place"]) == [1, 2, 3, 4, 5] * 2
    assert list(table["branch"]) == ["mlp"] * 5 + ["attn"] * 5
    assert list(table["class_index"][:5]) == list(memories["mlp", 2].top_classes[29])
    assert np.allclose(table["score"][5:], memories["attn", 0].top_scores[0], atol=1e-4)
    known = table["class_index"].isin([0, 3])
    assert known.any()
    assert table["class_name"][~known].isna().all()
    assert (table["class_name"][known] == table["class_index"][known].map({0: "kite, a bird", 3: "crane"})).all()


def test_without_a_choice_every_block_shows_its_strongest_memory(tmp_path, stimuli):
    memories = write_parameters_file(tmp_path / "model.h5", 1)
    head = str(tmp_path / "head.npz")
    save_head(head, np.zeros((CLASSES, WIDTH)), class_names=[f"name {c}" for c in range(CLASSES)])
    table = vectors(tmp_path, stimuli, head=[head])
    assert len(table) == 5 * 2 * BLOCKS
    for (branch, block), rows in table.groupby(["branch", "block"]):
        scores = memories[branch, block].top_scores
        assert rows["memory"].unique().tolist() == [scores[:, 0].argmax()]
        assert rows["score"].iloc[0] == pytest.approx(scores.max(), rel=1e-4)
    assert (table["class_name"] == "name " + table["class_index"].astype(str)).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"branch": "residual", "block": 0, "memory": 0}, "no branch 'residual'"),
        ({"branch": "attn", "block": 3, "memory": 0}, "the model has 0 to 2"),
        ({"branch": "mlp", "block": 1, "memory": 30}, "it has 0 to 29"),
    ],
)
def test_memories_that_are_not_there_are_refused(tmp_path, stimuli, choice, message):
    write_parameters_file(tmp_path / "model.h5", 1)
    with pytest.raises(InputError, match=message):
        vectors(tmp_path, stimuli, [choice])

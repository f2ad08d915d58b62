"""The reader of results: every row of the file contract by name, and what is told when something is not there."""

import h5py
import numpy as np
import pytest

import classlens
from classlens import Results
from classlens.errors import InputError
from classlens.results import SNAKEFILE
from classlens.terms import BRANCHES, SITES, block_name

N, T, B, C, PREFIX = 3, 6, 2, 7, 2
RNG = np.random.default_rng(0)
RANKS = RNG.integers(0, C, (B, N, T))
LOGITS = RNG.normal(size=(B, N, T)).astype(np.float32)
TOP5 = RNG.integers(0, C, (B, N, T, 5))
LABEL = np.array([[1, 0, -1, 0]] * N, np.int8)


def write(path, datasets, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, values in datasets.items():
            file[name] = values


@pytest.fixture
def results(tmp_path):
    """Results of one model with [CLS] and a register, written as the file contract says."""
    folder = tmp_path / "results"
    for block in range(B):
        layers = {f"keys/{branch}": TOP5[block] for branch in BRANCHES} | {"residual/norm": LOGITS[block] + 9}
        for number, site in enumerate(SITES):
            layers |= {f"{site}/rank": (RANKS[block] + number) % C, f"{site}/logit": LOGITS[block] + number}
            layers[f"{site}/top5"] = TOP5[block]
        write(folder / f"m/layers/{block_name(block)}.h5", layers)
    output = {"class_index": [4, 5, 6], "correct": [True, False, True], "top5": TOP5[0, :, 0]}
    write(folder / "m/output.h5", output, num_classes=C, num_prefix_tokens=PREFIX, has_class_token=True)
    write(folder / "m/token_labels.h5", {"label": LABEL, "class_fraction": np.full((N, 4), 0.25, np.float32)})
    (folder / "datasets/d").mkdir(parents=True)
    (folder / "datasets/d/stimuli.csv").write_text(
        "split,image,class_index,class_id,class_name,file,sha256\n"
        "evaluation,0,4,007,NA,a.png,00\ntraining,0,4,007,NA,b.png,11\n"
    )
    (folder / "tables").mkdir()
    (folder / "tables/rates.csv").write_text("model,accuracy\n1e5,0.5\n")
    return Results(folder)


def test_layers_by_site_and_block(results):
    assert (results.models, results.datasets) == (["m"], ["d"])
    assert (results.depth("m"), results.num_classes("m"), results.num_prefix_tokens("m")) == (B, C, PREFIX)
    assert results.has_class_token("m")
    assert np.array_equal(results.rank("m", "mlp", 1), (RANKS[1] + 2) % C)
    assert np.array_equal(results.rank("m", block=-1), RANKS[-1])
    assert np.array_equal(results.logit("m"), LOGITS)
    assert np.array_equal(results.norm("m", 1), LOGITS[1] + 9)
    assert np.array_equal(results.top5("m", "attn", 0), TOP5[0])
    assert np.array_equal(results.keys("m", "mlp", 1), TOP5[1])
    assert np.allclose(results.identifiability("m", block=0), 1 - RANKS[0] / C)


def test_what_belongs_to_memories_perturbations_explanations_and_probes(results):
    model = results.folder / "m"
    for block in range(B):
        name = f"{block_name(block)}.h5"
        write(model / "memories/mlp" / name, {"agreement": RANKS[block] > 2})
        write(model / "probes/attn" / name, {"accuracy": np.full(T, block / 2)})
        write(model / "tuned_lens" / name, {"rank": RANKS[block] + 1, "weight": np.full((3, 3), block)})
    write(model / "perturbation/attention_no_cls.h5", {"rank": RANKS[0]})
    write(model / "perturbation/tokens_no_class.h5", {"correct": RANKS[0]})
    maps = np.zeros((N, B, 1, 4))
    write(model / "explanation/gradient.h5", {"importance": LOGITS[0, :, 2:], "maps": maps})
    write(model / "causes/heads.h5", {"direct": LOGITS[:, :, 0].T})
    sets = [f"set {place}" for place in range(T)]
    write(model / "causes/tokens.h5", {"effect": np.moveaxis(LOGITS, 0, 1)}, sets=sets)
    (model / "faithfulness").mkdir()
    (model / "faithfulness/gradient.csv").write_text("direction,n_removed,accuracy\nnegative,0,0.5\n")
    assert np.array_equal(results.memories("m", "agreement", "mlp"), RANKS > 2)
    assert np.array_equal(results.probe("m", "accuracy", "attn", -1), np.full(T, 0.5))
    assert np.array_equal(results.tuned_lens("m"), RANKS + 1)
    assert np.array_equal(results.tuned_lens("m", "weight", -1), np.full((3, 3), B - 1))
    assert np.array_equal(results.attention_perturbation("m", "no_cls"), RANKS[0])
    assert np.array_equal(results.token_perturbation("m", "no_class", "correct"), RANKS[0])
    assert np.array_equal(results.importance("m", "gradient"), LOGITS[0, :, 2:])
    assert np.array_equal(results.maps("m", "gradient"), maps)
    assert np.array_equal(results.head_effects("m", "direct"), LOGITS[:, :, 0].T)
    effects = results.token_effects("m")
    assert list(effects) == sets
    assert np.array_equal(effects["set 3"], LOGITS[:, :, 3].T)
    assert results.faithfulness("m", "gradient")["accuracy"].tolist() == [0.5]


def test_images_and_outputs(results):
    assert list(results.class_index("m")) == [4, 5, 6]
    assert list(results.correct("m")) == [True, False, True]
    assert np.array_equal(results.predictions("m"), TOP5[0, :, 0])
    assert np.array_equal(results.token_label("m"), LABEL)
    assert results.class_fraction("m").shape == (N, 4)
    stimuli = results.stimuli("d")
    assert stimuli.to_dict("records") == [
        {"image": 0, "class_index": 4, "class_id": "007", "class_name": "NA", "file": "a.png", "sha256": "00"}
    ]
    assert results.stimuli("d", "training")["file"].tolist() == ["b.png"]


def test_a_tidy_frame_of_tokens(results):
    frame = results.tokens("m", "residual", 1)
    assert len(frame) == N * T
    assert frame["group"].tolist()[:T] == ["cls", "prefix", "image", "image", "image", "image"]
    row = frame[(frame["image"] == 2) & (frame["token"] == 3)].iloc[0]
    assert row["rank"] == RANKS[1, 2, 3]
    assert row["class_index"] == 6
    assert row["label"] == LABEL[2, 1]
    assert frame[frame["token"] < PREFIX]["label"].isna().all()
    (results.folder / "m/token_labels.h5").unlink()
    assert "label" not in results.tokens("m")


def test_tables_and_figures(results):
    assert results.table("rates")["model"].tolist() == ["1e5"]
    (results.folder / "figures").mkdir()
    (results.folder / "figures/x.svg").touch()
    assert results.figure("x") == results.folder / "figures/x.svg"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.rank("n"), "has no model 'n'; it has m"),
        (lambda r: r.rank("m", "residuals"), "no site 'residuals'; take one of residual, attn, mlp"),
        (lambda r: r.rank("m", block=B), f"blocks 0 to {B - 1}, no block {B}"),
        (lambda r: r.keys("m", "residual", 0), "has no keys/residual"),
        (lambda r: r.token_effects("m"), r"results/m/causes/tokens\.h5"),
        (lambda r: r.stimuli("e"), r"results/datasets/e/stimuli\.csv"),
        (lambda r: r.table("none"), r"results/tables/none\.csv is not there; there are rates"),
        (lambda r: r.table("rate"), r"did you mean rates\?$"),
        (lambda r: r.importance("m", "gradientt"), r"did you mean gradient .*Make gradient with: .*gradient\.h5"),
        (lambda r: r.token_perturbation("m", "no_clas"), r"did you mean tokens_no_class"),
    ],
)
def test_what_is_not_there_is_named(results, ask, message):
    with pytest.raises(InputError, match=message):
        ask(results)


def test_no_results_at_all(tmp_path):
    with pytest.raises(InputError, match="run snakemake first"):
        Results(tmp_path / "results")
    with pytest.raises(AttributeError, match="Resultz"):
        _ = classlens.Resultz


def test_a_result_that_can_be_made_comes_with_a_command_that_works_anywhere(results):
    working = results.folder.parent
    made = f"snakemake results/figures/heatmaps_m.svg --snakefile {SNAKEFILE} --directory {working} --cores all"
    for name in ("heatmaps_m", "heatmap_m"):
        with pytest.raises(InputError) as error:
            results.figure(name)
        assert str(error.value).endswith(f" with: {made}")
    (working / "config.yaml").touch()
    with pytest.raises(InputError, match=f"--configfile {working}/config.yaml --cores all"):
        results.table("class_building_m")

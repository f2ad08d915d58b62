"""Agreement with an independent implementation, through the real workflow and the file contract."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import CHECKOUT, GOLDEN
from declared_jobs import described as job_params
from declared_jobs import files_of
from studies import BLOCKS, GOLDEN_CONFIG

from classlens.catalog.analyses import ANALYSES, FIGURES
from classlens.catalog.configs import load_config
from classlens.catalog.job import GROUPS, SERIES
from classlens.catalog.methods import METHODS
from classlens.catalog.run import computing
from classlens.check.disk import file_sizes
from classlens.config.architecture import with_architectures
from classlens.declared import load
from classlens.digest import digest_file
from classlens.explanations.heatmaps import heatmaps
from classlens.store.job import is_stored, job_of
from classlens.store.key import code_key
from classlens.store.store import Store

pytestmark = pytest.mark.workflow

SITES = ("residual", "attn", "mlp")
BRANCHES = ("attn", "mlp")


@pytest.fixture(scope="module")
def results(golden_run):
    return golden_run.folder / "results"


def test_files_are_those_that_check_counts_and_as_large_as_it_says(results):
    sizes = file_sizes(with_architectures(load_config(GOLDEN_CONFIG)))
    made = {str(path.relative_to(results.parent)): path.stat().st_size for path in results.rglob("*") if path.is_file()}
    found = {path: size for path, size in made.items() if path.endswith((".h5", ".safetensors"))}
    found = {path: size for path, size in found.items() if "/shards/" not in path}
    assert set(found) == {path for path in sizes if path.endswith((".h5", ".safetensors"))}
    assert sum(sizes.values()) == pytest.approx(sum(found.values()), rel=0.15)


def read(results, path, *names):
    with h5py.File(results / "golden" / path) as file:
        return [file[name][:] for name in names]


def layers(results, name):
    """Return a data set of all blocks: (block, image, token, ...)."""
    return np.concatenate([read(results, f"layers/block_{block:02d}.h5", name) for block in range(BLOCKS)])


def assert_equal_but_for_ties(found, expected, handful):
    """Discrete values may differ where two logits are equal up to rounding: in a handful of places."""
    assert found.shape == expected.shape
    assert (found.astype(int) != expected.astype(int)).sum() <= handful


def test_images_and_predictions(results, golden):
    stimuli = pd.read_csv(results / "datasets/golden/stimuli.csv")
    evaluation = stimuli[stimuli["split"] == "evaluation"]
    assert np.array_equal(evaluation["class_index"], golden["class_index"])
    assert (stimuli["split"] == "training").sum() == 60
    class_index, correct, top5 = read(results, "output.h5", "class_index", "correct", "top5")
    assert np.array_equal(class_index, golden["class_index"])
    assert np.array_equal(correct, golden["projection/correct"])
    assert np.array_equal(top5[:, 0] == golden["class_index"], golden["projection/correct"])


@pytest.mark.parametrize("site", SITES)
def test_projection(results, golden, site):
    logits = layers(results, f"{site}/logit")
    assert np.abs(logits - golden[f"projection/{site}/logit"]).max() < 1e-4
    ranks, expected = layers(results, f"{site}/rank"), golden[f"projection/{site}/rank"]
    assert_equal_but_for_ties(ranks, expected, handful=5)
    assert np.abs(ranks.astype(int) - expected).max() <= 1
    assert_equal_but_for_ties(layers(results, f"{site}/top5"), golden[f"projection/{site}/top5"], handful=10)


@pytest.mark.parametrize(("group", "name"), [("cls", "mean_cls"), ("image", "mean_image")])
def test_mean_evolution(results, golden, group, name):
    table = pd.read_csv(results / "tables/identifiability_evolution.csv")
    rows = table[table["group"] == group].sort_values("block")
    assert np.abs(rows["mean"].to_numpy() - golden[f"identifiability/{name}"]).max() < 2e-6


def test_logit_increment_rate(results, golden):
    table = pd.read_csv(results / "tables/logit_increment.csv").sort_values("block")
    assert list(table["block"]) == list(range(1, BLOCKS))
    assert np.abs(table["rate_percent"] / 100 - golden["identifiability/logit_increment_rate"]).max() < 2e-3


@pytest.mark.parametrize("part", ["previous", "attn", "mlp"])
def test_match_rates(results, golden, part):
    table = pd.read_csv(results / "tables/class_building_golden.csv")
    rows = table[(table["measure"] == "match") & (table["part"] == part)].sort_values("block")
    assert np.abs(rows["percent"].to_numpy() - golden[f"composition/match_{part}"]).max() < 0.2


@pytest.mark.parametrize("branch", BRANCHES)
def test_logit_change(results, golden, branch):
    change = layers(results, f"{branch}/logit")[1:] - layers(results, "residual/logit")[:-1]
    expected = golden[f"change/{branch}_logit_difference"]
    assert np.abs(change - expected).max() < 2e-4
    table = pd.read_csv(results / "tables/class_building_golden.csv")
    for group, tokens in {"cls": slice(0, 1), "image": slice(1, None)}.items():
        rows = table[(table["measure"] == "change") & (table["part"] == branch) & (table["group"] == group)]
        rates = 100 * (expected[:, :, tokens] > 0).mean((1, 2))
        assert np.abs(rows.sort_values("block")["percent"].to_numpy() - rates).max() < 0.2


def test_corner_labels(results, golden):
    [label] = read(results, "token_labels.h5", "label")
    assert np.array_equal(label, golden["token_label/corner"])


def test_class_and_context_tokens(results, golden):
    label = golden["token_label/corner"]
    identifiability = 1 - golden["projection/residual/rank"][:, :, 1:] / 1000
    table = pd.read_csv(results / "tables/class_vs_context_golden.csv").sort_values("block")
    both = (label == 1).any(1) & (label == 0).any(1)
    assert (table["images"] == both.sum()).all()
    for block in range(BLOCKS):
        values = identifiability[block]
        difference = [values[i][label[i] == 1].mean() - values[i][label[i] == 0].mean() for i in np.flatnonzero(both)]
        assert table["difference"].iloc[block] == pytest.approx(np.mean(difference), abs=2e-6)


def test_rates_of_the_last_block(results, golden):
    table = pd.read_csv(results / "tables/identifiability_rates.csv").set_index("model")
    identifiable = golden["projection/residual/rank"][-1][:, 1:] == 0
    row = table.loc["golden"]
    assert row["identifiable_tokens_percent"] == pytest.approx(100 * identifiable.mean(), abs=0.1)
    assert row["images_with_identifiable_percent"] == pytest.approx(100 * identifiable.any(1).mean(), abs=1e-3)
    assert row["accuracy"] == pytest.approx(golden["projection/correct"].mean(), abs=1e-5)


@pytest.mark.parametrize("branch", BRANCHES)
def test_memories(results, golden, branch):
    for block in range(BLOCKS):
        path = f"memories/{branch}/block_{block:02d}.h5"
        agreement, composition, value = read(results, path, "agreement", "composition", "class_value")
        assert_equal_but_for_ties(agreement, golden[f"memories/{branch}/agreement"][block], handful=3)
        assert_equal_but_for_ties(composition, golden[f"memories/{branch}/composition"][block], handful=3)
        assert np.abs(value - golden[f"memories/{branch}/class_value"][block]).max() < 1e-5
    table = pd.read_csv(results / "tables/class_value_agreement.csv")
    rows = table[table["branch"] == branch].sort_values("block")
    assert np.abs(rows["twin_mean"] - golden[f"memories/{branch}/class_value_random_mean"]).max() < 1e-5


@pytest.mark.parametrize("kind", ["attention_self_only", "attention_no_cls", "tokens_no_context", "tokens_no_class"])
def test_perturbations(results, golden, kind):
    rank, correct = read(results, f"perturbation/{kind}.h5", "rank", "correct")
    assert_equal_but_for_ties(rank, golden[f"perturbation/{kind}/rank"], handful=5)
    assert np.array_equal(correct, golden[f"perturbation/{kind}/correct"])


@pytest.mark.parametrize(("method", "sign"), [("gradient_double_softmax", -1), ("gradient_logit", 1)])
def test_gradient_explanations(results, golden, method, sign):
    maps, importance = read(results, f"explanation/{method}.h5", "maps", "importance")
    expected = sign * golden[f"explanation/{method}"][..., 1:]
    assert np.abs(maps - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.allclose(importance, maps.sum((1, 2)), atol=1e-6 * np.abs(importance).max())


def test_chefer(results, golden):
    [importance] = read(results, "explanation/chefer.h5", "importance")
    expected = golden["explanation/chefer"]
    assert np.abs(importance - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["gradient_double_softmax", "chefer"])
def test_removal_curves(results, golden, method):
    table = pd.read_csv(results / f"golden/faithfulness/{method}.csv")
    for direction in ("negative", "positive"):
        curve = table[table["direction"] == direction].set_index("n_removed")["accuracy"]
        assert sorted(curve.index) == list(range(49))
        # Kept tokens n = 1..48; a tie in importance may swap two tokens of one image.
        found = curve[[49 - kept for kept in range(1, 49)]].to_numpy()
        expected = golden[f"faithfulness/{method}/{direction}_accuracy"]
        assert np.abs(found - expected).max() < 1.01 / 30
        assert (np.abs(found - expected) > 1e-6).sum() <= 2


@pytest.mark.parametrize("probe", ["residual_11", "attn_05", "mlp_03"])
def test_linear_probes(results, golden, probe):
    site, block = probe.split("_")
    accuracy, rank = read(results, f"probes/{site}/block_{block}.h5", "accuracy", "rank")
    assert np.abs(accuracy - golden[f"probe/{probe}/accuracy"]).max() < 1.01 / 30
    assert (rank == golden[f"probe/{probe}/rank"]).mean() > 0.99


def test_everything_but_the_temporary_is_there(results):
    """The file contract: shapes, types and units of what readers rely on."""
    with h5py.File(results / "golden/layers/block_00.h5") as file:
        for site in SITES:
            assert file[f"{site}/rank"].shape == (30, 50)
            assert file[f"{site}/rank"].dtype == np.uint16
            assert file[f"{site}/logit"].dtype == np.float32
            assert file[f"{site}/top5"].shape == (30, 50, 5)
        for branch in BRANCHES:
            assert file[f"keys/{branch}"].shape == (30, 50, 5)
        file.visititems(lambda _, item: isinstance(item, h5py.Group) or item.attrs["description"])
        assert not [name for name in file.attrs if name in ("date", "host", "commit", "version")]
    with h5py.File(results / "golden/token_labels.h5") as file:
        assert file["label"].dtype == np.int8
        assert file["class_fraction"].shape == (30, 49)


@pytest.fixture(scope="module")
def config(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(results.parent)
        return with_architectures(load_config(GOLDEN_CONFIG))


@pytest.fixture(scope="module")
def records(results):
    return list(Store(results.parent / ".classlens").own.records())


def test_what_jobs_saw_of_the_config_follows_from_it(records, config):
    """Every record's slice of the config can be made again, so that `store explain` compares like with like."""
    assert len({record.job for record in records}) > 40
    for record in records:
        described = job_params(record.job, config, record.wildcards, CHECKOUT)
        assert json.loads(json.dumps(described["config"])) == record.parts["config"], record.job
        assert not described["config"].keys() & described["local"].keys()


def test_the_store_is_asked_before_a_job_is_scheduled(results, config):
    store = Store(results.parent / ".classlens")
    params = job_params("weights", config, {"model": "golden"}, CHECKOUT)
    inputs = {"source": [str(GOLDEN / "model.safetensors")], "head": []}
    outputs = {"weights": "results/{model}/weights.safetensors"}

    def stored(given, made):
        job = job_of(params, given, made, CHECKOUT)
        return is_stored(job, store, code_key(job.functions, CHECKOUT))

    assert stored(inputs, outputs)
    assert not stored(inputs, {"weights": "results/{model}/weights.pt"})
    assert not stored({**inputs, "head": inputs["source"]}, outputs)


FILES_OF_PASSES = {"extract": 1, "attribute_logits": 1, "perturb_attention": 3, "perturb_tokens": 2, "explanation": 3}
FILES_OF_PASSES |= {"remove_tokens": 4, "remove_pixels": 4, "head_effects": 1, "token_effects": 1}
FILES_OF_PASSES |= {"head_spans_sums": 1, "head_effects_sums": 1, "token_effects_sums": 1, "tuned_lens_sums": 2}
FILES_OF_PASSES |= {"look_through_tuned_lens": 1}
"""How many files each pass over images makes of the model `golden`."""


def test_all_passes_ran_in_shards_and_no_shard_is_left(results, records):
    """tests/passes holds their joined bytes against those of all images at once."""
    ran = [one for one in records if "shard" in one.wildcards and one.wildcards["model"] == "golden"]
    assert {name: sum(one.job == name for one in ran) for name in FILES_OF_PASSES} == {
        name: 2 * files for name, files in FILES_OF_PASSES.items()
    }
    assert {one.job for one in ran} == {*FILES_OF_PASSES}
    assert {one.parts["config"]["stop"] for one in ran} >= {17, 30}
    assert not [path for path in results.rglob("shards/**/*") if path.is_file()]


def test_probes_of_each_block_have_a_job(records):
    ran = [one.wildcards["block"] for one in records if one.job == "linear_probe"]
    assert sorted(ran) == [f"{block:02d}" for block in range(BLOCKS)]


def test_a_shard_is_made_anew_alone(golden_run, records):
    """The store gives the others back."""
    joined = golden_run.result("golden/attribution/logit.h5")
    digest = digest_file(joined)
    joined.unlink()
    second = {"model": "golden", "shard": "1"}
    [record] = [one for one in records if one.job == "attribute_logits" and one.wildcards == second]
    golden_run.opened_store().own.blob(record.outputs[0].digest).unlink()
    assert golden_run.computes("results/golden/attribution/logit.h5") == ["attribute_logits golden 1"]
    assert digest_file(joined) == digest


# Series of checkpoints and groups of images are in the study.
MEASURED = [name for name, analysis in ANALYSES.items() if not {SERIES, GROUPS} & {*analysis.needs}]
AGAIN = [*MEASURED, *(f"{name}_figure" for name in FIGURES if name in MEASURED), "comparison_table"]


@pytest.mark.parametrize("name", sorted({*AGAIN} - {"heatmaps"}))
def test_tables_and_figures_made_again_have_the_same_bytes(results, records, name, tmp_path, monkeypatch):
    """In another process, folder and order than the workflow's."""
    monkeypatch.chdir(results.parent)
    made = [record for record in records if record.job == name]
    assert made
    for record in made:
        inputs, outputs = files_of(record, tmp_path)
        computing(record.parts["functions"])(inputs, outputs, record.parts["config"], {})
        for output in record.outputs:
            assert digest_file(outputs[output.name]) == output.digest, (name, output.name)


def test_heat_maps_are_rows_of_the_explanation(results, config, tmp_path):
    own = job_params("heatmaps", config, {"model": "golden"}, CHECKOUT)["config"]
    pixels = results / "datasets/golden/squash-224-bilinear/evaluation.h5"
    weights, output = results / "golden/weights.safetensors", results / "golden/output.h5"
    explain = load(METHODS["gradient_logit"].compute)
    files = {"pixels": pixels, "weights": weights, "output": output, "table": tmp_path / "maps.csv"}
    heatmaps(**{name: str(path) for name, path in files.items()}, explain=explain, **own, device="cpu", threads=1)
    table = pd.read_csv(tmp_path / "maps.csv")
    [maps] = read(results, "explanation/gradient_logit.h5", "maps")
    for image in own["images"]:
        rows = table[(table["image"] == image) & (table["role"] == "true")]
        single = maps[image, own["block"], own["head"]]
        assert np.allclose(rows[rows["map"] == "one"]["importance"], single, atol=1e-4 * np.abs(maps[image]).max())
        second = table[(table["image"] == image) & (table["role"] == "second")]
        assert (second["class_index"] != rows["class_index"].iloc[0]).all()


def test_the_lens_page_is_of_this_model(results):
    page = (results / "lens/golden.html").read_text()
    about = json.loads(re.search(r'id="about">(.*?)</script>', page)[1])
    assert (about["label"], about["blocks"], about["grid"]) == ("ViT of the golden numbers", BLOCKS, [7, 7])
    assert {method["name"] for method in about["methods"]} == set(GOLDEN_CONFIG["explanations"]["methods"])
    assert [other["model"] for other in about["others"]] == ["golden-random"]
    assert [one["correct"] for one in about["images"]] == read(results, "output.h5", "correct")[0].tolist()
    assert {path.name for path in (results / "lens").iterdir()} == {"golden.html"}


def test_the_last_blocks_rates_under_perturbation(results, golden):
    """Against the golden ranks: % of image tokens, and of the labelled tokens that are left."""
    table = pd.read_csv(results / "tables/attention_perturbation.csv").set_index(["model", "perturbation"])
    rank = golden["perturbation/attention_self_only/rank"]
    row = table.loc[("golden", "self_only")]
    assert row["identifiable_image_tokens_percent"] == pytest.approx(100 * (rank[:, 1:] == 0).mean(), abs=0.1)
    assert row["identifiable_tokens_percent"] == pytest.approx(100 * (rank == 0).mean(), abs=0.1)
    table = pd.read_csv(results / "tables/token_perturbation.csv").set_index(["model", "perturbation"])
    label, rank = golden["token_label/corner"], golden["perturbation/tokens_no_context/rank"][:, 1:]
    shares = [100 * (rank[i][label[i] == 1] == 0).mean() for i in range(30) if (label[i] == 1).any()]
    assert table.loc[("golden", "no_context"), "identifiable_percent"] == pytest.approx(np.mean(shares), abs=0.2)

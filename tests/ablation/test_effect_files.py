"""Files of effects: what ablation says of each image; directs are those of the attribution file."""

import h5py
import numpy as np
import pytest
import torch
from layer_files import write_labels
from tiny_transformers import contents, images_of, load_small, write_small

from classlens.ablation.replace import Ablation
from classlens.ablation.sets import set_names, token_sets
from classlens.errors import InputError
from classlens.measures.layers import read_layout
from classlens.measures.outlier_norms import norm_thresholds
from classlens.passes.attribution import AttributeLogits
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.head_effects import HeadEffects, HeadSums, mean_of
from classlens.passes.run import run_pass
from classlens.passes.sums import sum_images
from classlens.passes.token_effects import ResidualSums, TokenEffects

CLASSES = [2, 3, 4, 5, 6]


class Study:
    """A small model with its weights, images, layer files, attribution and labels."""

    def __init__(self, folder, name):
        self.model, self.pixels, self.weights, self.network = write_small(folder, name, CLASSES)
        shard, self.attribution = str(folder / "shard.h5"), str(folder / "attribution.h5")
        self.run(shard, of=Extraction)
        self.layers = [str(folder / f"{block}.h5") for block in range(2)]
        gather([shard], self.layers, folder / "output.h5")
        self.run(self.attribution, of=AttributeLogits)
        self.layout = read_layout(self.layers[0])
        patches = self.layout.tokens - self.layout.num_prefix_tokens
        self.label = np.random.default_rng(3).choice([-1, 0, 1], (len(CLASSES), patches))
        self.label[1] = 0
        self.labels = write_labels(folder / "labels.h5", self.label)
        self.loaded = load_small(self.weights, self.network)
        self.images, _ = images_of(self.pixels)

    def stacked(self, name):
        """Of the layer files (N, B, P), image tokens."""
        found = []
        for layer in self.layers:
            with h5py.File(layer) as file:
                found.append(file[name][:, self.layout.image_tokens])
        return np.stack(found, axis=1)

    def run(self, rows, **given):
        run_pass(self.pixels, self.weights, rows, **{**self.network, **given})

    def tokens(self, effects, labels, **changed):
        given = {"layers": self.layers, "labels": labels, "norm": None, "seed": 4, "has_labels": bool(labels)}
        self.run(effects, of=TokenEffects, sums=ResidualSums, **given | changed)

    def heads(self, effects, **changed):
        self.run(effects, of=HeadEffects, sums=HeadSums, **{"attribution": [self.attribution], **changed})

    def means(self, sums):
        return mean_of(sum_images(sums, self.loaded, self.pixels, range(len(CLASSES)), 5), self.loaded)


@pytest.fixture(scope="module", params=["registers", "averages"])
def study(request, tmp_path_factory):
    return Study(tmp_path_factory.mktemp("study"), request.param)


def test_files_of_heads(study, tmp_path):
    study.heads(tmp_path / "heads.h5")
    found, _ = contents(tmp_path / "heads.h5")
    expected = Ablation(study.model).heads(study.images, torch.tensor(CLASSES), study.means(HeadSums))
    assert found["effect"] == pytest.approx(expected.effect.numpy(), abs=1e-5)
    assert found["logit"] == pytest.approx(expected.logit.numpy(), abs=1e-5)
    parts, _ = contents(study.attribution)
    assert found["direct"] == pytest.approx(parts["heads"].astype(float).sum(-1), abs=1e-6)
    # What a head does itself is not all that comes of it.
    assert not np.allclose(found["effect"], found["direct"], atol=1e-2)


def test_heads_have_effects_where_nothing_is_attributed(study, tmp_path):
    study.heads(tmp_path / "with.h5")
    study.heads(tmp_path / "without.h5", attribution=[])
    (with_directs, _), (without, _) = (contents(tmp_path / f"{name}.h5") for name in ("with", "without"))
    assert np.array_equal(without["effect"], with_directs["effect"])
    assert np.isnan(without["direct"]).all()


def test_files_of_tokens(study, tmp_path):
    study.tokens(tmp_path / "tokens.h5", [study.labels])
    found, attributes = contents(tmp_path / "tokens.h5")
    names = set_names(has_labels=True)
    assert list(attributes["sets"]) == names
    thresholds = norm_thresholds(study.layers, study.layout, None)
    ranks, norms = study.stacked("residual/rank"), study.stacked("residual/norm")
    sets = token_sets(ranks, norms, thresholds, 0, 4, study.label)
    means = study.means(ResidualSums)
    expected = Ablation(study.model).image_tokens(study.images, torch.tensor(CLASSES), means, torch.from_numpy(sets))
    there = sets.any(-1)
    assert found["effect"][there] == pytest.approx(expected.effect.numpy()[there], abs=1e-5)
    assert np.array_equal(found["correct"], expected.correct.numpy())
    # The second image has no class token.
    assert np.isnan(found["effect"][1, :, names.index("class")]).all()
    assert np.array_equal(np.isnan(found["effect"]), ~there)


def test_without_masks_class_and_context_are_left_out(study, tmp_path):
    study.tokens(tmp_path / "with.h5", [study.labels])
    study.tokens(tmp_path / "without.h5", [])
    (with_masks, _), (without, attributes) = (contents(tmp_path / f"{name}.h5") for name in ("with", "without"))
    names = set_names(has_labels=True)
    left = [place for place, name in enumerate(names) if name not in ("class", "context")]
    assert list(attributes["sets"]) == [names[place] for place in left]
    assert np.array_equal(without["effect"], with_masks["effect"][:, :, left], equal_nan=True)


def test_a_threshold_of_the_config_takes_the_place_of_the_blocks_own(study, tmp_path):
    norms = study.stacked("residual/norm")
    study.tokens(tmp_path / "tokens.h5", [], norm=float(np.median(norms)))
    found, attributes = contents(tmp_path / "tokens.h5")
    effect = found["effect"][:, :, list(attributes["sets"]).index("outliers")]
    assert np.array_equal(np.isfinite(effect), (norms > np.median(norms)).any(-1))


def test_weights_that_give_no_numbers_are_refused(study, tmp_path, monkeypatch):
    for write in (study.heads, lambda path: study.tokens(path, [])):
        with monkeypatch.context() as patch:
            patch.setattr(
                "classlens.inference.tokens.TokenModel.logits", lambda _, residual: residual[:, 0, :7] * float("nan")
            )
            with pytest.raises(InputError, match=r"effects\.h5: an effect of ablation: logits are not finite"):
                write(tmp_path / "effects.h5")

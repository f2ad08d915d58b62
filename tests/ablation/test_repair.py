"""Heads that are folded away, against hooks on timm's own modules, and the choice of heads against trying all."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hooks import head_inputs, hooked, put_head
from safetensors.torch import load_file, save_file
from tiny_transformers import FAMILIES, images_of, load_small, random_images, transformer, write_small

from classlens.ablation.repair import choose, fold, folded, halve
from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.facts import CONSTANTS
from classlens.models.needs import lacks
from classlens.models.parallel import canonical_form
from classlens.models.weights import assemble, write_weights
from classlens.passes.repair import Answers, write_repair
from classlens.statistics.groups import Change, change_of_worst, groups_of
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(resamples=200, confidence=0.95, seed=0)
TRIED = ("averages", "rotary", "attention pool", "[CLS ; mean]", "distilled")


def constants(model, images):
    """What each head hands to its block's projection, mean over images and tokens: (B, H, d)."""
    return head_inputs(model, images).mean((1, 2)).unflatten(-1, (model.blocks[0].attn.num_heads, -1))


def replaced(model, images, means, heads):
    """Answers of a model with hooks that put the constants in place of heads."""
    return hooked(model, images, *(put_head(model, *head, means[head]) for head in heads))


@pytest.mark.parametrize("name", TRIED)
@torch.inference_mode()
def test_folded_weights_compute_what_the_intervention_does(name):
    model, images = transformer(name), random_images()
    means, heads = constants(model, images), [(0, 1), (1, 0), (0, 0)]
    intact, expected = model(images), replaced(model, images, means, heads)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with folded(model, means, heads):
        assert torch.allclose(model(images), expected, atol=1e-5)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert (expected - intact).abs().max() > 0.01
    fold(model, means, heads[:1])
    fold(model, means, heads)  # what was replaced before stays as it is
    assert torch.allclose(model(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("vit_tiny_patch16_224", {"proj_bias": False}, r"attn\.proj of its block 0 has no bias"),
        ("vit_base_patch16_xp_224", {}, "its block 0 is parallel"),
        ("vit_tiny_patch16_224", {}, ""),
    ],
)
def test_weights_without_a_place_for_constants_are_told_of(name, options, reason):
    model = canonical_form(build(name, {"img_size": 32, "patch_size": 8, "depth": 1, **options}))
    assert re.match(reason, lacks(model).get(CONSTANTS, ""))
    assert bool(reason) == (CONSTANTS in lacks(model))


def test_halves_of_groups():
    groups, _ = groups_of(np.repeat([0, 1], [11, 8]), np.array(["a", "b"] * 9 + ["a"]))
    first = halve(groups, 0)
    assert [first[groups.of == group].sum() for group in range(4)] == [size // 2 for size in groups.sizes]
    assert np.array_equal(halve(groups, 0), first)
    assert not np.array_equal(halve(groups, 1), first)


def made_answers(helpful, harmful=()):
    """Answers of a model that is wrong on images of group b, from 40 on: a head's absence mends or breaks some."""
    groups, _ = groups_of(np.zeros(80, int), np.repeat(["a", "b"], 40))
    number = np.arange(80)
    wrong = number >= (60 if len(harmful) else 40)

    def right(heads):
        mended = np.zeros(80, bool)
        for head in heads:
            mended |= helpful.get(head, False)
        return (~wrong | mended) & ~np.isin(number, harmful if heads else ())

    def answers(gone):
        every = [[right([*gone, (block, head)]) for head in range(2)] for block in range(3)]
        return right(gone), np.moveaxis(np.array(every), 2, 0)

    return answers, groups


def test_heads_are_chosen_one_after_the_other():
    number = np.arange(80)
    answers, groups = made_answers({(0, 1): number >= 60, (2, 0): (number >= 40) & (number < 56), (1, 1): number >= 62})
    # 1.1 mends nothing that 0.1 has not.
    assert choose(answers, groups, 8, RESAMPLING) == [(0, 1), (2, 0)]
    assert choose(answers, groups, 1, RESAMPLING) == [(0, 1)]
    # Ten images for nine is less than a standard error.
    assert choose(*made_answers({(1, 0): number >= 70}, range(40, 49)), 8, RESAMPLING) == []
    assert choose(*made_answers({(1, 0): number >= 70}, range(40, 42)), 8, RESAMPLING) == [(1, 0)]
    small = groups_of(np.zeros(80, int), np.arange(80).astype(str))[0]
    assert choose(answers, small, 8, RESAMPLING) == []


FILES = ("repaired.safetensors", "own.safetensors", "answers.h5")


def repair(folder, pixels, weights, network, groups, heads=1):
    """Write a repair for groups by image into a folder, and return what is told of it."""
    pd.DataFrame({"image": range(len(groups)), "side": groups}).to_csv(folder / "groups.csv", index=False)
    files = [str(folder / name) for name in ("groups.csv", *FILES)]
    given = {"attribute": "side", "heads": heads, "seed": 0, "resampling": RESAMPLING}
    return write_repair(str(pixels), str(weights), *files, **given, **network)


SIDES = np.where(np.arange(64) % 2, "left", "right")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small model on random pictures, right on most by their labels, of which one group is hard."""
    folder = tmp_path_factory.mktemp("repair")
    model, pixels, weights, network = write_small(folder, "averages", [0] * 64)
    loaded = load_small(weights, network)
    with h5py.File(pixels, "r+") as file, torch.inference_mode():
        predicted = loaded.model(loaded.normalise(file["pixels"][:])).argmax(-1).numpy()
        file["class_index"][:] = np.where(np.arange(64) % 8, predicted, (predicted + 1) % loaded.model.num_classes)
    return model, pixels, weights, network


def test_answers_without_each_head_are_those_of_hooks(small):
    model, pixels, weights, network = small
    loaded = load_small(weights, network)
    asked, chosen = Answers(loaded, pixels, 5), np.arange(64) % 3 == 0
    images = images_of(pixels)[0][torch.from_numpy(chosen)]
    expected = constants(model, images)
    means = asked.means(chosen)
    assert means.shape == expected.shape
    assert torch.allclose(means.float(), expected, atol=1e-5)
    classes = torch.from_numpy(asked.classes[chosen])
    now, without = asked.without_each(chosen, means, [(1, 1)])
    with torch.inference_mode():
        assert np.array_equal(now, replaced(model, images, expected, [(1, 1)]).argmax(-1) == classes)
        for block, head in np.ndindex(without.shape[1:]):
            logits = replaced(model, images, expected, [(1, 1), (block, head)])
            assert np.array_equal(without[:, block, head], logits.argmax(-1) == classes)
    assert np.array_equal(asked.right(chosen, means, [(1, 1)]), now)


def test_weights_and_answers_are_written(small, tmp_path):
    model, pixels, weights, network = small
    told = repair(tmp_path, pixels, weights, network, SIDES, heads=3)
    with h5py.File(tmp_path / "answers.h5") as file:
        right, choosing, heads = (file[name][:] for name in ("correct", "choosing", "heads"))
    assert right.shape == (7, 64)
    assert heads.shape == (7, 3, 2)
    chosen = [tuple(one) for one in heads[1].tolist() if one[0] >= 0]
    assert all((row[: len(chosen)] >= 0).all() and (row[len(chosen) :] < 0).all() for row in heads[1:])
    assert told["chosen"] == (" ".join(f"{block}.{head}" for block, head in chosen) or "none")
    images, classes = images_of(pixels)
    assert np.array_equal(right[0], model(images).argmax(-1).numpy() == classes)
    groups, _ = groups_of(classes, SIDES)
    found = change_of_worst(right[0, ~choosing], right[1, ~choosing], groups.among(~choosing), RESAMPLING).low > 0
    written, own = load_file(tmp_path / "repaired.safetensors"), model.state_dict()
    assert all(torch.equal(written[key], own[key]) for key in own) == (not found)
    assert told["replaced_heads"] == (told["chosen"] if found else "none")


def test_a_repaired_checkpoint_is_an_ordinary_one(small, tmp_path, monkeypatch):
    """It is loaded as any other, and equals the intervention."""
    model, pixels, weights, network = small
    monkeypatch.setattr("classlens.passes.repair.choose", lambda *_: [(0, 1), (1, 0)])
    monkeypatch.setattr("classlens.passes.repair.change_of_worst", lambda *_: Change(1, 1, 1, 1))
    told = repair(tmp_path, pixels, weights, network, SIDES, heads=2)
    assert told["replaced_heads"] == "0.1 1.0"
    repaired = tmp_path / "repaired.safetensors"
    with h5py.File(tmp_path / "answers.h5") as file, h5py.File(pixels) as stored, torch.inference_mode():
        loaded = load_small(weights, network)
        images = loaded.normalise(stored["pixels"][:])
        means = constants(model, images[torch.from_numpy(file["choosing"][:])])
        expected = replaced(model, images, means, [(0, 1), (1, 0)])
        architecture, options = FAMILIES["averages"]
        other = timm.create_model(architecture, **options).eval()
        other.load_state_dict(load_file(repaired))
        assert torch.allclose(other(images), expected, atol=1e-5)
        assert np.array_equal(file["correct"][1], expected.argmax(-1).numpy() == stored["class_index"][:])
        brought = assemble(repaired, architecture=architecture, options=options, origin="file").eval()
        assert torch.allclose(brought(images), expected, atol=1e-5)


def test_a_head_that_makes_the_model_wrong_is_found_and_taken_out(tmp_path):
    """Labels are what the model answers without one head, whose absence therefore mends what it breaks."""
    head = (1, 0)
    model, pixels, weights, network = write_small(tmp_path, "averages", [0] * 240, lambda own: louder(own, head))
    loaded = load_small(weights, network)
    with h5py.File(pixels, "r+") as file, torch.inference_mode():
        images = loaded.normalise(file["pixels"][:])
        labels = replaced(model, images, constants(model, images), [head]).argmax(-1).numpy()
        broken = model(images).argmax(-1).numpy() != labels
        file["class_index"][:] = labels
    told = repair(tmp_path, pixels, weights, network, np.where(broken, "broken", "right"))
    assert told["chosen"] == told["replaced_heads"] == "1.0"
    with h5py.File(tmp_path / "answers.h5") as file:
        right, reporting, heads = file["correct"][:], ~file["choosing"][:], file["heads"][:, 0].tolist()
    assert right[0, broken].mean() == 0
    assert right[1, broken & reporting].mean() > 0.8
    others = [answers for answers, drawn in zip(right, heads, strict=True) if drawn != list(head)]
    assert np.mean(others, axis=0)[broken & reporting].mean() < 0.2


def louder(model, head):
    """Let one head say more than all else."""
    block, number = head
    width = model.blocks[block].attn.head_dim
    model.blocks[block].attn.proj.weight[:, number * width : (number + 1) * width] *= 40


def test_groups_of_one_image_are_refused(small, tmp_path):
    with pytest.raises(InputError, match="every group of side has one image"):
        repair(tmp_path, *small[1:], np.arange(64))


def test_a_binary_classifier_has_one_output_again(tmp_path, monkeypatch):
    """Weights of the workflow have two rows, a checkpoint has timm's one."""
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 1}
    theirs = timm.create_model("vit_tiny_patch16_224", **options).eval()
    save_file(theirs.state_dict(), tmp_path / "timm.safetensors")
    of = {"architecture": "vit_tiny_patch16_224", "options": options}
    write_weights([str(tmp_path / "timm.safetensors")], [], str(tmp_path / "weights.safetensors"), **of, origin="file")
    (tmp_path / "small").mkdir()
    _, pixels, _, network = write_small(tmp_path / "small", "averages", [0, 1] * 8)
    monkeypatch.setattr("classlens.passes.repair.choose", lambda *_: [])
    repair(tmp_path, pixels, tmp_path / "weights.safetensors", {**network, **of}, ["a", "b"] * 8)
    written, own = (load_file(tmp_path / name) for name in FILES[:2])
    assert all(torch.equal(written[key], tensor) for key, tensor in theirs.state_dict().items())
    assert own["head.weight"].shape == (2, 24)

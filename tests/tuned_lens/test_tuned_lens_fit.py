"""The tuned lens against brute force: hooks on timm's own modules, numpy, scipy."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hooks import outputs
from safetensors.torch import load_file, save_file
from scipy.special import log_softmax, rel_entr
from tiny_transformers import FAMILIES, contents, images_of
from tuned_files import made, write_images

from classlens.errors import InputError
from classlens.models.build import build
from classlens.passes.extraction import Extraction
from classlens.passes.run import run_pass
from classlens.sources.texts import TextTower, with_texts
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.held_out import held_out_images
from classlens.tuned_lens.map_names import LENS, RIDGE, STEPS
from classlens.tuned_lens.ridge import AffineSums, Scale
from classlens.tuned_lens.steps import Descent, seeded_batches


def logits_of(model, tokens):
    """Head and norms as timm has them, in float64, token by token."""
    model = model.double()
    with torch.no_grad():
        x = model.norm(tokens)
        x = x if getattr(model, "fc_norm", None) is None else model.fc_norm(x)
        logits = model.head(x)
        if hasattr(model, "head_dist"):
            logits[:, 1] = model.head_dist(x[:, 1])
    model.float()
    return logits.numpy()


def kl_of(target, logits):
    return rel_entr(np.exp(log_softmax(target, -1)), np.exp(log_softmax(logits, -1))).sum(-1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_seen_is_what_timm_gives(tmp_path, family):
    study = made(tmp_path, family)
    images, classes = images_of(study.evaluation)
    residuals = outputs(study.model, images).double()
    last = logits_of(study.model, residuals[-1])
    paths = study.fit()
    for block, path in enumerate(paths):
        found, facts = contents(path)
        h = residuals[block]
        weight, bias = (torch.from_numpy(found[name]).double() for name in ("weight", "bias"))
        plain, tuned = (logits_of(study.model, x) for x in (h, h + h @ weight.T + bias))
        assert found["kl"] == pytest.approx(kl_of(last, tuned), abs=1e-4)
        assert found["kl_logit_lens"] == pytest.approx(kl_of(last, plain), abs=1e-4)
        own = np.take_along_axis(tuned, classes[:, None, None], -1)
        # Rounding may swap classes whose logits are all but equal.
        near = (np.abs(tuned - own) < 1e-4).sum(-1) - 1
        assert (np.abs(found["rank"].astype(int) - (tuned > own).sum(-1)) <= near).all()
        strongest = np.take_along_axis(tuned, found["top5"].astype(int), -1)
        assert strongest == pytest.approx(-np.sort(-tuned, -1)[..., :5], abs=1e-4)
        assert facts["num_prefix_tokens"] == study.model.num_prefix_tokens
        tried = {key: value for key, value in facts.items() if key.startswith("held_out_kl_")}
        assert len(tried) == 3
        assert tried[f"held_out_kl_{facts['chosen']}"] == min(tried.values()) <= tried["held_out_kl_logit_lens"]
    found, facts = contents(paths[0])
    assert facts["chosen"] != LENS
    assert found["kl"].mean() < found["kl_logit_lens"].mean()
    # The last block says what it says.
    found, facts = contents(paths[-1])
    assert facts["chosen"] == LENS
    assert not found["kl"].any()
    assert not found["kl_logit_lens"].any()
    assert not found["weight"].any()
    assert not found["bias"].any()


@pytest.mark.parametrize(
    ("family", "precision"),
    [("distilled", "float32"), ("averages, class token", "bfloat16"), ("attention pool", "float32")],
)
def test_without_a_map_it_is_the_logit_lens(tmp_path, family, precision):
    study = made(tmp_path, family, training=1)
    paths = study.fit(precision=precision)
    shard = tmp_path / "shard.h5"
    network = {**study.network, "precision": precision}
    run_pass(str(study.evaluation), str(study.weights), str(shard), of=Extraction, **network)
    with h5py.File(shard) as file:
        for block, path in enumerate(paths):
            found, facts = contents(path)
            assert (facts["chosen"], facts["training_images"], facts["held_out_images"]) == (LENS, 1, 0)
            assert not found["weight"].any()
            assert not found["bias"].any()
            assert np.array_equal(found["rank"], file[f"block_{block:02d}/residual/rank"])
            assert np.array_equal(found["top5"], file[f"block_{block:02d}/residual/top5"])
            assert np.array_equal(found["kl"], found["kl_logit_lens"])
            assert (found["kl"].max() > 0.01) == (block < len(paths) - 1)


def test_where_no_map_is_better_there_is_none(tmp_path, caplog):
    def nothing_in_the_last_block(model):
        for layer in (model.blocks[-1].attn.proj, model.blocks[-1].mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()

    study = made(tmp_path, change=nothing_in_the_last_block)
    with caplog.at_level(logging.WARNING):
        found, facts = contents(study.fit()[0])
    assert facts["chosen"] == LENS
    assert facts["held_out_kl_logit_lens"] == 0
    assert not found["weight"].any()
    assert "block 0: no map is better" in caplog.text


def test_a_map_that_only_knows_its_images_is_not_kept(tmp_path):
    study = made(tmp_path, training=12)
    [other] = held_out_images(12, seed=3)
    with h5py.File(study.training, "r+") as file:
        file["pixels"][:] = 128 + np.random.default_rng(1).integers(-1, 2, file["pixels"].shape)
        file["pixels"][other] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    found, facts = contents(study.fit(steps=0, penalty=1e-9)[0])
    assert (facts["training_images"], facts["held_out_images"]) == (11, 1)
    assert facts["held_out_kl_ridge"] > facts["held_out_kl_logit_lens"]
    assert facts["chosen"] == LENS
    assert not found["weight"].any()
    assert np.array_equal(found["kl"], found["kl_logit_lens"])


def test_ridge_is_least_squares():
    draw = np.random.default_rng(0)
    tokens, width, penalty = 90, 5, 0.01
    h = draw.normal(3, [1, 10, 0.1, 2, 5], (2, tokens, width))
    h[1, :, 2] = 7  # a channel that never changes
    last = draw.normal(size=(tokens, width)) + h[0] @ draw.normal(size=(width, width))
    sums = AffineSums(2, width, torch.device("cpu"))
    for part in (slice(0, 1), slice(1, 8), slice(8, 9)):  # of nine images of ten tokens
        batch = [torch.from_numpy(x.reshape(9, 10, width)[part]) for x in (*h, last)]
        sums.add(batch)
    weight, bias, scale = sums.solve(penalty)
    assert scale.last == pytest.approx(np.sqrt(last.var(0).mean()))
    for block in range(2):
        std = np.where(h[block].std(0) > 1e-9, h[block].std(0), 1)
        z = (h[block] - h[block].mean(0)) / std
        d = last - h[block]
        rows = np.concatenate([z, np.sqrt(penalty * tokens) * np.eye(width)])
        expected = np.linalg.lstsq(rows, np.concatenate([d - d.mean(0), np.zeros((width, width))]), rcond=None)[0].T
        assert weight[block].numpy() == pytest.approx(expected, abs=1e-9)
        assert bias[block].numpy() == pytest.approx(d.mean(0), abs=1e-9)
    of_h, shift = scale.of_residual(weight, bias)
    z = (torch.from_numpy(h[0]) - scale.mean[0]) / scale.std[0]
    assert torch.allclose(torch.from_numpy(h[0]) @ of_h[0].T + shift[0], z @ weight[0].T + bias[0])


def test_divergence_of_what_is_certain():
    """0 log 0 = 0, also where a probability is too small for the type."""
    certain = torch.tensor([200.0, 0]).log_softmax(-1)
    assert divergence(certain, torch.tensor([0.0, 0])).item() == pytest.approx(np.log(2))


def test_steps_lower_the_divergence(plain):
    _, facts = contents(plain.fit("steps", steps=60)[0])
    _, none = contents(plain.fit("no_steps", steps=0)[0])
    assert none["chosen"] == RIDGE
    assert "held_out_kl_kl_steps" not in none
    assert none["held_out_kl_ridge"] == facts["held_out_kl_ridge"]
    assert facts["chosen"] == STEPS
    assert facts["held_out_kl_kl_steps"] < facts["held_out_kl_ridge"] < facts["held_out_kl_logit_lens"]


def test_gradients_are_those_of_the_mean_divergence(plain):
    loaded = plain.load()
    loaded.model.requires_grad_(False)
    images, _ = images_of(plain.training)
    residuals = outputs(loaded.model, images[:6]).double()
    last = logits_of(loaded.model, residuals[-1])
    h, unit = residuals[0], 2.0
    scale = Scale(h.mean((0, 1))[None], h.std((0, 1))[None], unit)
    draw = torch.Generator().manual_seed(4)
    weight, bias = (0.1 * torch.randn(1, *shape, generator=draw).double() for shape in ((24, 24), (24,)))
    descent = Descent(loaded, weight, bias, scale, 0.01)
    whole = descent.gradients(images[:6], 6)
    parts = [descent.gradients(part, 6) for part in images[:6].split(2)]
    direction = [torch.randn(part.shape, generator=draw).double() for part in (weight, bias)]

    def loss(step):
        z = (h - scale.mean[0]) / scale.std[0]
        a, b = ((part + unit * step * way)[0] for part, way in zip((weight, bias), direction, strict=True))
        return kl_of(last, logits_of(loaded.model, h + z @ a.T + b)).mean()

    slope = (loss(1e-4) - loss(-1e-4)) / 2e-4
    found = sum((part.double() * way).sum().item() for part, way in zip(whole, direction, strict=True))
    assert found == pytest.approx(slope, rel=1e-3)
    for of_whole, *of_parts in zip(whole, *parts, strict=True):
        assert torch.allclose(of_whole, sum(of_parts), atol=1e-6)


def test_batches_do_not_change_what_is_seen(plain):
    one = [contents(path)[0] for path in plain.fit("batch_40", batch_size=40)]
    for expected, path in zip(one, plain.fit("batch_3", batch_size=3), strict=True):
        found, _ = contents(path)
        assert found["weight"] == pytest.approx(expected["weight"], abs=2e-3)
        assert found["kl"] == pytest.approx(expected["kl"], abs=2e-3)
        assert found["kl_logit_lens"] == pytest.approx(expected["kl_logit_lens"], abs=1e-5)


def test_the_same_gives_the_same_bytes_and_another_seed_does_not(plain):
    first, again, other = (
        [Path(path).read_bytes() for path in plain.fit(name, **changes)]
        for name, changes in (("first", {}), ("again", {}), ("other", {"seed": 4}))
    )
    assert first == again
    assert first[0] != other[0]
    # Evaluation images choose nothing.
    evaluation = write_images(plain.folder / "nine.h5", 9, seed=8)
    for own, path in zip(plain.fit("own"), plain.fit("nine", evaluation=evaluation), strict=True):
        (found, facts), (other, same) = contents(own), contents(path)
        assert (len(found["rank"]), len(other["rank"])) == (5, 9)
        assert np.array_equal(found["weight"], other["weight"])
        assert np.array_equal(found["bias"], other["bias"])
        assert facts == same


@pytest.mark.parametrize(("images", "size"), [(5, 2), (130, 64)])
def test_shards_of_evaluation_images_leave_no_trace(plain, images, size):
    """Of files that fill less than a chunk, and more than one."""
    evaluation = write_images(plain.folder / f"of_{images}.h5", images, seed=9)
    given = {"evaluation": evaluation, "batch_size": 1, "steps": 2}
    whole = plain.fit(f"whole_{images}", **given)
    shards = plain.fit(f"shards_{images}", seen=size, **given)
    assert [Path(path).read_bytes() for path in shards] == [Path(path).read_bytes() for path in whole]


def test_sums_of_shards_make_the_same_maps(plain):
    """All in one shard to the bit; in several, float64 sums may differ in their last one."""
    whole, one, several = (plain.fit(f"summed_{size}", summed=size, batch_size=8) for size in (0, 40, 16))
    assert [Path(path).read_bytes() for path in whole] == [Path(path).read_bytes() for path in one]
    for expected, found in zip(map(contents, whole), map(contents, several), strict=True):
        assert found[1]["training_images"] == expected[1]["training_images"] == 36
        assert found[1]["chosen"] == expected[1]["chosen"]
        for name in ("weight", "bias", "kl"):
            assert found[0][name] == pytest.approx(expected[0][name], abs=1e-4), name


def test_held_out_images_and_labels_fit_nothing(plain):
    held_out = held_out_images(40, seed=3)
    assert len(held_out) == 4
    changed = write_images(plain.folder / "changed.h5", 40, seed=5)
    with h5py.File(changed, "r+") as file:
        file["class_index"][:] = 0
        for image in held_out:
            file["pixels"][image] = np.clip(file["pixels"][image].astype(int) + 9, 0, 255)
    (own, facts), (found, other) = (
        contents(plain.fit(name, training=path)[0]) for name, path in (("kept", plain.training), ("changed", changed))
    )
    assert facts["chosen"] == other["chosen"] != LENS
    assert facts["held_out_kl_ridge"] != other["held_out_kl_ridge"]
    assert np.array_equal(own["weight"], found["weight"])


@pytest.mark.parametrize(("images", "count"), [(0, 0), (1, 0), (2, 1), (14, 1), (16, 2), (1000, 100)])
def test_a_tenth_is_held_out(images, count):
    assert len(held_out_images(images, 0)) == count


def test_every_image_is_drawn_before_one_is_drawn_again():
    images = np.arange(100, 112)
    found = seeded_batches(images, 7, 4, seed=1)
    assert [len(one) for one in found] == [4] * 7
    for turn in (found[:3], found[3:6]):
        assert sorted(np.concatenate(turn)) == images.tolist()
    assert any(not np.array_equal(*pair) for pair in zip(found[:3], found[3:6], strict=True))
    assert [one.tolist() for one in seeded_batches(images, 2, 50, seed=1)] == [images.tolist()] * 2


def test_a_model_of_one_block_has_nothing_to_fit(tmp_path):
    study = made(tmp_path)
    study.network["options"] = {**study.network["options"], "depth": 1}
    kept = {key: value for key, value in load_file(study.weights).items() if not key.startswith("blocks.1.")}
    save_file(kept, study.weights)
    study.model.blocks = study.model.blocks[:1]
    [path] = study.fit()
    found, facts = contents(path)
    assert facts["chosen"] == LENS
    assert not found["kl"].any()


def test_what_is_wrong_is_said(tmp_path):
    study = made(tmp_path, training=0)
    with pytest.raises(InputError, match="no training images; raise"):
        study.fit()
    (tmp_path / "nan").mkdir()
    study = made(tmp_path / "nan", change=lambda model: model.blocks[0].mlp.fc2.bias.fill_(float("nan")))
    with pytest.raises(InputError, match="not finite; check the weights"):
        study.fit()


def test_inner_blocks_of_clip_read_better_by_the_tuned_lens(tmp_path):
    """A tower like CLIP's with texts as classes, on images that nothing was fitted to."""
    architecture, options = FAMILIES["norm before the blocks"]
    options = {**options, "depth": 4}

    def as_clip(model):
        draw = torch.Generator().manual_seed(0)
        tower = TextTower(lambda prompts: torch.randn(len(prompts), 12, generator=draw), 30.0, 0.0)
        projecting = build(architecture, {**options, "num_classes": 12})
        torch.nn.init.normal_(projecting.head.weight, std=24**-0.5, generator=draw)
        model.head.load_state_dict(with_texts(projecting, tower, list("abcdefg")).model.head.state_dict())

    study = made(tmp_path, (architecture, options), training=120, change=as_clip)
    *inner, last = [contents(path)[0] for path in study.fit()]
    assert [found["kl"].mean() < found["kl_logit_lens"].mean() for found in inner] == [True] * 3
    assert np.array_equal(last["kl"], last["kl_logit_lens"])

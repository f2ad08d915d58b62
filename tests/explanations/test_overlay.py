"""Explanations over photos, in files, and of other numbers than a class's logit."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from refusals import refused
from timm.data.transforms_factory import create_transform
from tiny_transformers import random_images, transformer

from classlens import Lens
from classlens.catalog.methods import METHODS, applicable_methods
from classlens.models.crop import Crop
from classlens.models.needs import lacks

SCALARS = [name for name, method in METHODS.items() if method.any_score]


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("share", [1.0, 0.8])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250)])
def test_the_crop_is_what_timm_takes(mode, share, size):
    """A photo whose colours are places: after the transform its edges say which part of it they are."""
    width, height = size
    across, down = np.meshgrid(255 * np.arange(width) / width, 255 * np.arange(height) / height)
    photo = Image.fromarray(np.stack([across, down, np.full_like(across, 255)], -1).astype(np.uint8))
    config = {"input_size": (3, 64, 64), "crop_pct": share, "crop_mode": mode, "mean": (0,) * 3, "std": (1,) * 3}
    found = create_transform(**config, is_training=False)(photo).numpy()
    left, top, right, bottom = Crop((64, 64), (64, 64), share, mode).box(width, height)
    inside = np.argwhere(found[2] > 0.99)  # the border is black
    centre = inside[len(inside) // 2]
    for axis, (low, high, length) in enumerate(((top, bottom, height), (left, right, width))):
        seen = found[1 - axis].take(centre[1 - axis], 1 - axis)
        for place in (centre[axis], inside[:, axis].min() + 2, inside[:, axis].max() - 2):
            expected = (low + (place + 0.5) * (high - low) / 64) / length
            assert seen[place] == pytest.approx(expected, abs=0.02)


def test_tokens_that_do_not_reach_the_edge():
    model = timm.create_model("vit_tiny_patch16_224", img_size=40, patch_size=16, embed_dim=24, num_heads=3, depth=1)
    assert Crop.of(model).whole(80, 40) == (0, 0, 64, 32)


def explanation_of(importance, method="attn_lrp"):
    model = transformer("plain")
    model.pretrained_cfg = {**model.pretrained_cfg, "crop_pct": 1.0, "crop_mode": "center"}
    found = Lens(model)(random_images(1)).explain(0, method)
    found.importance[:] = importance
    return found


def test_overlay(tmp_path):
    """The photo keeps its size; the map covers the crop that the model saw, and the rest is dimmed."""
    photo = Image.new("RGB", (64, 32), (100, 100, 100))
    importance = np.zeros(16)
    importance[[0, 5]] = 1, -1
    found = explanation_of(importance)
    assert found.signed
    shown = np.asarray(found.overlay(photo)).astype(int)
    assert shown.shape == (32, 64, 3)
    assert (shown[:, [*range(16), *range(48, 64)]] == 50).all()  # beside the crop
    assert (shown[:8, 24:48] == 100).all()  # nothing is said of these tokens
    first, second = shown[:8, 16:24].reshape(-1, 3), shown[8:16, 24:32].reshape(-1, 3)
    assert len(np.unique(first, axis=0)) == len(np.unique(second, axis=0)) == 1
    assert first[0, 0] > first[0, 2]  # red is for
    assert second[0, 2] > second[0, 0]  # blue is against
    assert (np.asarray(found.overlay(photo, whole=True))[:8, :16] != 100).any((1, 2)).all()
    assert found.overlay().size == (32, 32)
    found.save(tmp_path / "map.npy")
    assert np.array_equal(np.load(tmp_path / "map.npy"), found.heatmap())
    found.save(tmp_path / "map.png", photo)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "map.png")), shown)
    assert found.plot(photo, "a title").axes
    refused(r"map\.jpg: an explanation is saved as \.npy or \.png", lambda: found.save(tmp_path / "map.jpg"))
    refused(r"none\.png cannot be read", lambda: found.overlay(tmp_path / "none.png"))


def test_what_is_never_negative_is_the_clearer_the_less_important():
    found = explanation_of(np.arange(16) / 15, "legrad")
    assert not found.signed
    shown = np.asarray(found.overlay(Image.new("RGB", (32, 32), (0, 0, 255)))).astype(int)[4::8, 4::8].reshape(16, 3)
    assert shown[0].tolist() == [0, 0, 255]
    assert (np.diff(shown[:, 2]) < 0).all()  # ever less of the photo is left


@pytest.mark.parametrize("name", ["plain", "averages"])
@pytest.mark.usefixtures("few_steps")
def test_signs_are_what_methods_say(name):
    model = transformer(name)
    view = Lens(model)(random_images())
    for method in applicable_methods(lacks(model)):
        found = view.explain(0, method, image=None)
        assert any((one.importance < 0).any() for one in found) == METHODS[method].signed, method


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("method", SCALARS)
@pytest.mark.parametrize("name", ["distilled", "registers"])
def test_a_target_that_is_a_logit_is_the_class(name, method):
    view = Lens(transformer(name))(random_images())
    expected = view.explain(4, method, image=None)
    found = view.explain(method=method, image=None, target=lambda output: output[:, 4])
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.importance, other.importance)
    other = view.explain(method=method, target=lambda output: output[:, 4] - output[:, 1])
    assert np.isfinite(other.importance).all()
    assert not np.allclose(other.importance, expected[0].importance, rtol=1e-2)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("method", ["integrated_gradients", "attn_lrp", "cp_lrp", "gradient_logit"])
def test_targets_add_up(method):
    """What is linear in the output has the sum of the explanations; entropy is not, and is explained, too."""
    view = Lens(transformer("plain"))(random_images(2))
    of = lambda target: view.explain(method=method, image=1, target=target).importance  # noqa: E731
    difference = of(lambda output: output[:, 2] - output[:, 5])
    expected = view.explain(2, method, image=1).importance - view.explain(5, method, image=1).importance
    np.testing.assert_allclose(difference, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    assert of(lambda output: torch.special.entr(output.softmax(1)).sum(1)).std() > 0


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("method", SCALARS)
def test_models_without_a_head_and_scores_have_targets(method):
    headless = transformer("plain")
    headless.reset_classifier(0)
    view = Lens(headless)(random_images(2))
    like = torch.from_numpy(view.output[1])
    assert view.explain(method=method, target=lambda output: torch.cosine_similarity(output, like)).importance.any()
    one = transformer("plain")
    one.reset_classifier(1)
    view = Lens(one, one_output="score")(random_images(1))
    found = view.explain(method=method, target=lambda output: output[:, 0]).importance
    assert np.array_equal(found, view.explain(0, method).importance)


@pytest.mark.parametrize(
    ("target", "method", "message"),
    [
        (lambda output: output[:, 0], "rollout", "'rollout' is of classes and takes no target; take gradient_logit or"),
        (lambda output: output[:, 0], "direct", "'direct' is of classes"),
        (lambda output: output.sum(), "legrad", r"target returns \(\) for outputs \(1, 7\); return floats, one per"),
        (lambda output: output.argmax(1), "attn_lrp", r"target returns \(1,\) for .*; return floats"),
        (lambda output: output.detach()[:, 0], "attn_lrp", "no gradient passes through it"),
    ],
)
def test_targets_that_cannot_be_explained(target, method, message):
    view = Lens(transformer("plain"))(random_images(1))
    refused(message, lambda: view.explain(method=method, target=target))
    refused("a class or a target", lambda: view.explain(3, method, target=target))

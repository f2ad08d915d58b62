"""A lens sees what the workflow extracts, in any family and however images are given."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tiny_transformers import SMALL, extract_pixels, random_images, transformer
from torch import nn

import classlens
from classlens import Lens
from classlens.attribution.decompose import LogitAttribution
from classlens.errors import InputError
from classlens.explanations.explain import explain
from classlens.lens import lens as module

NAMES = ["cat", "dog, hound", "hen", "pig", "cow", "owl", "hen"]
SITES = ("residual", "attn", "mlp")


@pytest.mark.parametrize(
    ("name", "head"),
    [("distilled", None), ("averages", None), ("attention pool", nn.Tanh), ("[CLS ; mean]", nn.GELU)],
)
def test_numbers_are_those_of_extraction(name, head):
    model, classes = transformer(name), [5, 0, 3]
    if head is not None:
        model.head = nn.Sequential(model.head, head(), nn.Linear(7, 7))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = extract_pixels(model, pixels, classes)
    view = Lens(model.train(), batch_size=2)(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 * 2 - 1)
    assert model.training
    for site in SITES:
        rank, logit, top = view.rank(site, classes), view.logit(site, classes), view.top(5, site)
        assert rank.shape == logit.shape == top.shape[:-1] == (2, 3, model.num_prefix_tokens + 16)
        for block in (0, 1):
            assert np.array_equal(rank[block], expected[f"block_0{block}/{site}/rank"])
            assert np.array_equal(top[block], expected[f"block_0{block}/{site}/top5"])
            np.testing.assert_allclose(logit[block], expected[f"block_0{block}/{site}/logit"], rtol=1e-4, atol=1e-5)
            assert np.array_equal(view.rank(site, classes, block), rank[block])
    found = view.identifiability(class_index=classes, block=-1)
    assert np.array_equal(found, 1 - view.rank("residual", classes, 1) / 7)
    assert np.array_equal(view.predictions(), expected["output/top5"])
    with torch.no_grad():
        np.testing.assert_allclose(view.output, model.eval()(view._inputs).numpy(), rtol=1e-5, atol=1e-5)


def test_frame():
    view = Lens(transformer("registers"))(random_images(2))
    frame = view.frame("mlp", [1, 4])
    assert list(frame) == ["image", "block", "token", "group", "class_index", "rank", "logit", "identifiability"]
    assert len(frame) == 2 * 2 * 20
    assert list(frame["group"][:5]) == ["cls", "prefix", "prefix", "prefix", "image"]
    row = frame[(frame["image"] == 1) & (frame["block"] == 0) & (frame["token"] == 7)].iloc[0]
    assert (row["class_index"], row["rank"]) == (4, view.rank("mlp", 4, 0)[1, 7])
    assert row["logit"] == view.logit("mlp", 4)[0, 1, 7]
    assert row["identifiability"] == 1 - row["rank"] / 7


def test_the_class_is_the_models_own_prediction_unless_given():
    view = Lens(transformer("plain"))(random_images(4))
    assert (view.rank(block=-1)[:, 0] == 0).all()
    assert np.array_equal(view.rank("attn"), view.rank("attn", view.predictions(1)[:, 0]))


def test_names():
    model = transformer("plain")
    view = Lens(model, NAMES)(random_images(2))
    assert np.array_equal(view.rank(class_index="hound"), view.rank(class_index=1))
    assert np.array_equal(view.rank(class_index=["owl", 2]), view.rank(class_index=np.array([5, 2])))
    names = view.names(view.top(3))
    assert names.shape == (2, 2, 17, 3)
    assert names[1, 1, 4, 0] == NAMES[view.top(1)[1, 1, 4, 0]]
    imagenet = Lens(timm.create_model("vit_tiny_patch16_224", **{**SMALL, "num_classes": 1000}))
    assert imagenet.classes.indices("tabby", 1) == [281]
    assert imagenet.classes.label(281) == "tabby, tabby cat"


def test_pictures_in_any_form(tmp_path):
    model = timm.create_model("vit_tiny_patch16_224", **SMALL)
    lens, picture = Lens(model), Image.effect_noise((70, 50), 90)
    picture.save(tmp_path / "a.png")
    expected = lens(picture)
    tensor = expected._inputs
    assert -1 <= tensor.min() < 0 < tensor.max() <= 1  # timm's mean and standard deviation are one half
    for images in (tmp_path / "a.png", str(tmp_path / "a.png"), tensor, tensor[0], [tensor[0]]):
        assert np.array_equal(lens(images).output, expected.output)
    several = lens([picture, tensor, tensor[0], str(tmp_path / "a.png"), torch.cat([tensor, tensor])])
    assert len(several) == 6
    np.testing.assert_allclose(several.output, expected.output.repeat(6, 0), rtol=1e-4, atol=1e-5)
    importance = [explain(model, image, 3).importance for image in (picture, tmp_path / "a.png", tensor, tensor[0])]
    assert all(np.array_equal(one, importance[0]) for one in importance)


def test_explanations_are_those_of_explain():
    model, images = transformer("LayerScale"), random_images(3)
    view = Lens(model, NAMES, batch_size=2)(images)
    for method in ("gradient", "chefer", "rollout"):
        expected = [explain(model, image, index, method) for image, index in zip(images, (3, 0, 6), strict=True)]
        found = view.explain([3, 0, 6], method, image=None)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.importance, other.importance, rtol=1e-3, atol=1e-5)
            assert (one.maps is None) == (other.maps is None)
        one = view.explain(["pig", "cat", 6], method, image=1)
        np.testing.assert_allclose(one.heatmap(), expected[1].heatmap(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["distilled", "averages"])
def test_a_view_attributes_any_class(name):
    model = transformer(name).train()
    view = Lens(model, batch_size=2)(random_images(3))
    found = view.attribution([4, 0, 6])
    assert model.training
    expected = LogitAttribution(model.eval())(random_images(3), torch.tensor([4, 0, 6]))
    torch.testing.assert_close(found.heads, expected.heads, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.logit, view.output[[0, 1, 2], [4, 0, 6]], rtol=1e-4)
    # Without a class, what the model takes each image for.
    np.testing.assert_allclose(view.attribution().logit, view.output.max(1), rtol=1e-4)


def view_of(name="plain", **options):
    return Lens(transformer(name), **options)(random_images(2))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda view: view.rank("residuals"), "no site 'residuals'; take one of residual, attn, mlp"),
        (lambda view: view.rank(block=2), "no block 2; blocks count from 0 to 1"),
        (lambda view: view.tokens("attn", 1.0), "no block 1.0"),
        (lambda view: view.rank(class_index=7), r"class 7 is none of the model's classes 0\.\.6"),
        (lambda view: view.rank(class_index=[1, 2, 3]), "3 classes for 2 images; give one, or one per image"),
        (lambda view: view.rank(class_index=1.5), "class 1.5 is a float; give its index or its name"),
        (lambda view: view.rank(class_index="cat"), r"names .* are not known; give them: Lens\(model, class_names="),
        (lambda view: view.names(view.top()), "are not known"),
        (lambda view: view_of(class_names=NAMES).rank(class_index="hund"), "called 'hund'; did you mean 'hound'"),
        (lambda view: view_of(class_names=NAMES).rank(class_index="xyz"), "called 'xyz'; give its index"),
        (lambda view: view_of(class_names=NAMES).rank(class_index="hen"), "is the name of 2 and 6; give the index"),
        (lambda view: view_of(class_names=["a"]), "1 names, but the model 7 classes"),
        (lambda view: view.top(8), "k is 8, but the model has 7 classes"),
        (lambda view: view.predictions(0), "k is 0"),
        (lambda view: view.token_logits(17), "no token 17; tokens count from 0 to 16"),
        (lambda view: view.plot(image=2), "no image 2; images count from 0 to 1"),
        (lambda view: view.plot(blocks=[]), "no blocks; give at least one"),
        (lambda view: view.plot(blocks=[5]), "no block 5"),
        (lambda view: view.plot_token(0, show="odds"), "no 'odds' to show; take probability or logit"),
        (lambda view: view.explain(0, "grad"), "'grad' is unknown; take one of gradient"),
        (lambda view: view_of("averages").explain(0, "rollout"), "'rollout' does not apply to vit_tiny_patch16_224"),
        (lambda view: Lens(timm.create_model("resnet10t")), "'resnet10t' is not supported: ResNet is not"),
        (lambda view: Lens(view._model)([]), "no images; give at least one"),
        (lambda view: Lens(view._model)("gone.png"), r"gone\.png cannot be read \(No such file"),
        (lambda view: Lens(view._model)(__file__), r"test_lens\.py cannot be read as an image"),
        (lambda view: Lens(view._model)(torch.zeros(3, 32, 40)), r"\(3, 32, 40\), .* takes \(3, 32, 32\) or \(n, 3,"),
        (lambda view: explain(view._model, random_images(2), 0), r"images are \(2, 3, 32, 32\), but one is explained"),
        (lambda view: classlens.Lense, "no attribute 'Lense'"),
    ],
)
def test_bad_input(ask, message):
    with pytest.raises((InputError, AttributeError), match=message):
        ask(view_of())


def test_too_many_images(monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 10_000)
    with pytest.raises(InputError, match=r"2 images would keep .* look at fewer at a time"):
        view_of()


@pytest.mark.parametrize(("value", "message"), [(0.0, "all logits"), (float("nan"), "not finite; check the weights")])
def test_broken_heads(value, message):
    model = transformer("plain")
    nn.init.constant_(model.head.weight, value)
    nn.init.zeros_(model.head.bias)
    with pytest.raises(InputError, match=f"attn of block 0: .*{message}"):
        Lens(model)(random_images(1)).rank("attn", 0)


def test_the_package_is_a_map():
    assert {"Lens", "Results", "explain"} <= set(dir(classlens))
    assert classlens.Lens is Lens
    assert classlens.explain is explain
    assert all(name in classlens.__doc__ for name in classlens.__all__)

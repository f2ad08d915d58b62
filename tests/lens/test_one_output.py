"""One output is two classes, or a score that has no ranks; against plain arithmetic on what hooks see."""

import warnings

import numpy as np
import pytest
import torch
from hooks import hooked, outputs, put_head
from refusals import refused
from tiny_transformers import random_images, transformer
from torch import nn

from classlens import Lens, explain


def with_one_output(name, head=None):
    torch.manual_seed(1)
    model = transformer(name)
    for place in ("head", "head_dist"):
        if getattr(model, place, None) is not None:
            setattr(model, place, head or nn.Linear(24, 1))
    model.num_classes = 1
    return model.eval()


@torch.no_grad()
def expected(model, images):
    """Return the model's own z (N) and what its head says of every token after every block (B, N, T)."""
    fc_norm = getattr(model, "fc_norm", None) or nn.Identity()
    seen = model.norm(outputs(model, images))
    tokens = model.head(fc_norm(seen))[..., 0]
    if getattr(model, "head_dist", None) is not None:
        tokens[..., 1] = model.head_dist(seen[:, :, 1])[..., 0]
    return model(images)[:, 0].numpy(), tokens.numpy()


@pytest.mark.parametrize("name", ["plain", "distilled", "averages", "EVA"])
def test_a_binary_classifier_is_two_classes(name):
    model, images = with_one_output(name), random_images(4)
    z, tokens = expected(model, images)
    view = Lens(model, one_output="binary")(images)
    np.testing.assert_allclose(view.output, np.stack([-z, z], 1) / 2, rtol=1e-4, atol=1e-5)
    for index, sign in ((0, -1), (1, 1)):
        np.testing.assert_allclose(view.logit(class_index=index), sign * tokens / 2, rtol=1e-3, atol=1e-5)
        assert np.array_equal(view.rank(class_index=index), (sign * tokens < 0).astype(int))
        parts = view.attribution(index)
        np.testing.assert_allclose(parts.logit, sign * z / 2, rtol=1e-4, atol=1e-5)
        assert parts.gap().max() < 1e-5
    assert np.array_equal(view.predictions(1)[:, 0], (z > 0).astype(int))
    assert np.array_equal(view.top()[..., 0], (tokens > 0).astype(int))
    assert view.predictions().shape == (4, 2)
    assert model.num_classes == model.head.out_features == 1
    if name != "averages":
        one, other = (view.explain(index, "gradient").importance for index in (0, 1))
        assert min(one.std(), other.std()) > 0
        assert not np.allclose(one, other)
    found = view.explain(1, "integrated_gradients").importance
    np.testing.assert_allclose(found, -view.explain(0, "integrated_gradients").importance, rtol=1e-3, atol=1e-5)


def test_interventions_and_figures_of_a_binary_classifier():
    model, images = with_one_output("plain", nn.Sequential(nn.Dropout(0.5), nn.Linear(24, 1))), random_images(3)
    lens = Lens(model, ["cat", "dog"])
    before = lens(images)
    z = hooked(model, images, put_head(model, 0, 1))[:, 0].numpy()
    with lens.ablate(heads=[(0, 1)]):
        np.testing.assert_allclose(lens(images).output[:, 1], z / 2, rtol=1e-4, atol=1e-5)
    assert np.abs(before.output[:, 1] - z / 2).max() > 0.01
    assert np.array_equal(before.rank(class_index="dog"), before.rank(class_index=1))
    assert {"cat", "dog"} == {text.get_text() for text in before.plot_token(0).legends[0].get_texts()}
    before.plot(class_index="dog")
    assert set(before.frame(class_index="cat")["class_index"]) == {0}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, ["negative", "positive"]),
        (["cat", "dog"], ["cat", "dog"]),
        ({"dog": 1, "cat": 0}, ["cat", "dog"]),
        (["tumour"], ["not tumour", "tumour"]),
        ({0: "tumour"}, ["not tumour", "tumour"]),
    ],
)
def test_names_of_two_classes(given, names):
    lens = Lens(with_one_output("plain"), given, one_output="binary")
    assert list(lens.classes.names(np.arange(2))) == names
    refused("3 names, but the model 2 classes", lambda: Lens(with_one_output("plain"), ["a", "b", "c"]))


def test_it_is_said_unless_its_owner_said_it():
    model, image = with_one_output("plain"), random_images(1)
    message = "one output, which is read as a binary .* say one_output='binary', or one_output='score'"
    for look in (Lens, lambda model: Lens(model, ["age"]), lambda model: explain(model, image, 1)):
        with pytest.warns(UserWarning, match=message):
            look(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lens(model, ["cat", "dog"])(image)
        Lens(model, one_output="score")(image)
        Lens(transformer("plain"))(image)
        explain(model, image, 1, one_output="binary")
    refused("one_output is 'regression'; take 'binary' or 'score'", lambda: Lens(model, one_output="regression"))


@pytest.mark.parametrize("name", ["plain", "distilled", "averages"])
def test_a_score_has_no_ranks(name):
    model, images = with_one_output(name), random_images(3)
    z, tokens = expected(model, images)
    lens = Lens(model, ["age"], one_output="score")
    view = lens(images)
    np.testing.assert_allclose(view.output[:, 0], z, rtol=1e-5)
    np.testing.assert_allclose(view.logit(), tokens, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(view.attribution().logit, z, rtol=1e-5)
    assert view.attribution("age").gap().max() < 1e-5
    assert view.token_logits(2).shape == (2, 1)
    with lens.ablate(heads=[(0, 1)]):
        assert np.abs(lens(images).output - view.output).max() > 0.01
    assert explain(model, images[0], 0, "attn_lrp", one_output="score").importance.std() > 0
    assert view.plot_token(0, show="logit").axes
    asked = [view.rank, view.identifiability, view.top, view.predictions, view.frame, view.plot]
    refused("a score has no .*, which compare classes; take logit", *asked, lambda: view.plot_token(0))
    if name == "plain":
        for method in ("gradient", "gradient_double_softmax"):
            message = "cross-entropy of classes, and a score has none; take gradient_logit"
            refused(message, lambda method=method: view.explain(0, method))
        assert view.explain(0, "gradient_logit").importance.std() > 0
    refused(r"class 1 is none of the model's classes 0\.\.0", lambda: view.logit(class_index=1))


def test_several_outputs_are_classes_whatever_is_said():
    model, images = transformer("plain"), random_images(1)
    assert Lens(model, one_output="score")(images).rank().shape == (2, 1, 17)

"""Interventions are what hooks on timm's own modules do, compose, and leave no trace."""

import numpy as np
import pytest
import torch
from hooks import hooked, put_head, put_tokens
from refusals import refused
from tiny_transformers import random_images, restricted, transformer

from classlens import Lens
from classlens.catalog.kinds import ATTENTION_KINDS
from classlens.errors import InputError
from classlens.inference.attention import patch_attention
from classlens.passes.attention_perturbation import restrict

KINDS = ["averages", "distilled"]
SITES = {"residual": lambda block: block, "attn": lambda block: block.drop_path1, "mlp": lambda block: block.drop_path2}


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_ablated_heads(name):
    model, images = transformer(name), random_images()
    lens = Lens(model, batch_size=2)
    expected = hooked(model, images, put_head(model, 0, 2), put_head(model, 1, 0))
    plain = lens(images)
    with lens.ablate(heads=[(0, 2), (-1, 0)]):
        at_once = lens(images)
    with lens.ablate(heads=[(0, 2)]), lens.ablate([(1, 0)]):
        nested = lens(images)
    close(at_once.output, expected)
    close(nested.output, expected)
    assert not np.allclose(expected, plain.output, rtol=1e-2)


@pytest.mark.parametrize("name", KINDS)
def test_heads_that_are_fixed(name):
    model, images = transformer(name), random_images()
    lens = Lens(model, batch_size=2)
    heads = lens.heads(images, 1)
    assert heads.shape == (3, 3, model.num_prefix_tokens + 16, 8)
    mean = heads[:, [1]].mean((0, 2))
    with lens.ablate(heads=[(1, 1)], value=mean):
        close(lens(images).output, hooked(model, images, put_head(model, 1, 1, torch.from_numpy(mean))))
    with lens.ablate(heads=[(1, 0), (1, 1)], value=heads[:, [0, 2]]):
        by_image = lens(images).output
    two = [put_head(model, 1, head, torch.from_numpy(heads[:, other])) for head, other in ((0, 0), (1, 2))]
    close(by_image, hooked(model, images, *two))
    with lens.ablate(heads=[(1, 0), (1, 1), (1, 2)], value=heads):
        close(lens(images).output, Lens(model)(images).output)
        close(lens.heads(images, 1), heads)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", KINDS)
def test_patched_tokens(name, site):
    model, images, tokens = transformer(name), random_images(), [0, 7, 15]
    lens = Lens(model, batch_size=2)
    plain, other = lens(images), lens(random_images(seed=4))
    values = other.tokens(site, 0)[:, tokens]
    with lens.patch(site, 0, tokens, values):
        patched = lens(images)
    close(patched.output, hooked(model, images, put_tokens(SITES[site](model.blocks[0]), tokens, torch.tensor(values))))
    close(patched.tokens(site, 0)[:, tokens], values)
    assert not np.allclose(patched.output, plain.output, rtol=1e-2)
    for own in (plain.tokens(site, 0)[:, tokens], torch.tensor(plain.tokens(site, 0)[:, tokens])):
        with lens.patch(site, 0, tokens, own):
            same = lens(images)
        assert np.array_equal(same.output, plain.output)
        assert np.array_equal(same.tokens("mlp"), plain.tokens("mlp"))


def test_ablated_tokens():
    model, images = transformer("registers"), random_images()
    lens = Lens(model)
    with lens.ablate(tokens=range(4, 8), block=0):
        close(lens(images).output, hooked(model, images, put_tokens(model.blocks[0], range(4, 8), 0)))
    mean = lens(images).tokens("residual", 0).mean((0, 1))
    with lens.ablate(tokens=[5], block=0, value=mean), lens.ablate(tokens=[6], block=0):
        hooks = [put_tokens(model.blocks[0], [5], torch.tensor(mean)), put_tokens(model.blocks[0], [6], 0)]
        close(lens(images).output, hooked(model, images, *hooks))


def explicit(kinds, heads, prefix):
    """Write restrictions and ablations on weights that are written out."""

    def attend(block, attention):
        output = restricted(kinds, attention.weights(), prefix) @ attention.value
        for place, head in heads:
            if place == block:
                output[:, head] = 0
        return output

    return attend


@pytest.mark.parametrize("second", [*ATTENTION_KINDS, (0, 1)])
@pytest.mark.parametrize("first", [*ATTENTION_KINDS, (1, 2)])
@pytest.mark.parametrize("name", ["registers", "BEiT"])
def test_contexts_nest(name, first, second):
    """Of two restrictions the stronger one holds, whichever is outside; a head is silent whatever it attends to."""
    model, images = transformer(name), random_images()
    lens = Lens(model)
    both = (first, second)
    kinds, heads = [one for one in both if isinstance(one, str)], [one for one in both if not isinstance(one, str)]

    def context(one):
        return lens.attention(one) if isinstance(one, str) else lens.ablate(heads=[one])

    with torch.no_grad(), patch_attention(model, explicit(kinds, heads, model.num_prefix_tokens)):
        expected = model(images).numpy()
    with context(first), context(second):
        close(lens(images).output, expected)
    with context(second), context(first), lens.ablate(heads=[(0, 0)]):
        deeper = lens(images).output
    with torch.no_grad(), patch_attention(model, explicit(kinds, [*heads, (0, 0)], model.num_prefix_tokens)):
        close(deeper, model(images).numpy())


@pytest.mark.parametrize("name", ["plain", "BEiT"])
@torch.no_grad()
def test_weights_inside_a_restriction_are_the_restricted_ones(name):
    model, images, seen = transformer(name), random_images(), []

    def attend(_block, attention):
        seen.append(attention.weights())
        return attention.output()

    with patch_attention(model, restrict("no_cls", 1)):
        expected = model(images)
        with patch_attention(model, attend):
            torch.testing.assert_close(model(images), expected)
    assert len(seen) == 2
    assert not seen[0][:, :, 1:, 0].any()
    torch.testing.assert_close(seen[0][:, :, 0].sum(-1), torch.ones(3, 3))
    assert seen[0][:, :, 1:].sum(-1).mean() < 0.99


@torch.no_grad()
def test_models_do_not_mix():
    """What another model computes inside a context is its own."""
    first, second, images = transformer("plain"), transformer("EVA"), random_images()
    expected = second(images)
    with patch_attention(first, lambda _block, attention: torch.zeros_like(attention.value)):
        torch.testing.assert_close(second(images), expected)
        with patch_attention(second, lambda _block, attention: attention.output()):
            torch.testing.assert_close(second(images), expected)
        assert not torch.allclose(first(images), expected)


@pytest.mark.parametrize("name", ["distilled", "relative positions"])
def test_the_model_is_as_it_was(name):
    model, images = transformer(name), random_images()
    model.blocks[1].attn.fused_attn = False
    lens = Lens(model)
    before = lens(images)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    contexts = (lens.attention("self_only"), lens.ablate([(0, 0)]), lens.patch("mlp", 1, [1], "zero"))
    with contexts[0], contexts[1], contexts[2]:
        inside = lens(images)
        with torch.no_grad():
            close(model(images), before.output)  # interventions are the lens's, not the model's
    handle = model.blocks[1].attn.proj.register_forward_hook(stop)
    with pytest.raises(RuntimeError, match="stopped"), lens.ablate([(0, 0)]):
        lens(images)
    handle.remove()
    assert not np.allclose(inside.output, before.output, rtol=1e-2)
    after = lens(images)
    assert np.array_equal(after.output, before.output)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [block.attn.fused_attn for block in model.blocks] == [True, False]
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    assert not any(getattr(part, hook) for part in model.modules() for hook in hooks)
    assert all(parameter.requires_grad for parameter in model.parameters())


def stop(*_):
    raise RuntimeError("stopped")


def test_perturbed_views_are_not_explained():
    lens = Lens(transformer("plain"))
    with lens.ablate([(0, 0)]):
        view = lens(random_images(1))
    refused("explain a view that was taken outside interventions", lambda: view.explain(0))
    refused("attributions are of the model itself; attribute a view", lambda: view.attribution(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda lens: lens.ablate(), "heads, words or tokens"),
        (lambda lens: lens.ablate([(0, 0)], tokens=[1], block=0), "words or tokens; for several, nest"),
        (lambda lens: lens.ablate([(0, 0)], block=0), r"heads as \(block, head\); leave block out"),
        (lambda lens: lens.ablate(tokens=[1]), "say which: block="),
        (lambda lens: lens.ablate([]), "no heads; give at least one"),
        (lambda lens: lens.ablate([(2, 0)]), "no block 2; blocks count from 0 to 1"),
        (lambda lens: lens.ablate([(1, 3)]), "no head 3; heads count from 0 to 2"),
        (lambda lens: lens.ablate([3]), r"head 3 is not \(block, head\); give pairs"),
        (lambda lens: lens.ablate([(0, 0)], value="mean"), "'mean' is unknown; take 'zero' or an array"),
        (
            lambda lens: lens.ablate([(0, 0)], value=np.zeros(5)),
            r"values are \(5,\), .* \(n, heads, T, d\), here \(n, 1, 17, 8\)",
        ),
        (lambda lens: lens.patch("attention", 0, [1], 0.0), "no site 'attention'; take one of residual, attn, mlp"),
        (lambda lens: lens.patch("attn", 4, [1], 0.0), "no block 4"),
        (lambda lens: lens.patch("attn", 0, [17], 0.0), "no token 17; tokens count from 0 to 16"),
        (lambda lens: lens.patch("attn", 0, [], 0.0), "no tokens; give at least one"),
        (lambda lens: lens.patch("attn", 0, [1, 2], np.zeros((3, 24))), r"\(n, tokens, D\), here \(n, 2, 24\)"),
        (lambda lens: lens.patch("attn", 0, [1], np.zeros((2, 1, 24))), "values are for 2 images, but 3 are looked at"),
        (lambda lens: lens.heads(random_images(), 2), "no block 2"),
        (lambda lens: lens.attention("no_clas"), "'no_clas' is unknown; take one of self_only, no_cls"),
        (lambda lens: Lens(transformer("averages")).attention("no_cls"), "does not apply to vit_tiny_patch16_224"),
    ],
)
def test_bad_input(make, message):
    lens = Lens(transformer("plain"))
    with pytest.raises(InputError, match=message), make(lens):
        lens(random_images())

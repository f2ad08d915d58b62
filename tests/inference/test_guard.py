"""Whatever stands between hooks and what a block does is refused by name, and never passed over in silence."""

import copy
from functools import reduce

import numpy as np
import pytest
import torch
from refusals import refused
from tiny_transformers import random_images, transformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from classlens import Lens
from classlens.catalog.methods import METHODS
from classlens.errors import InputError
from classlens.inference.activations import capture_activations
from classlens.inference.attention import patch_attention
from classlens.inference.tokens import TokenModel

USING_ATTENTION = [name for name in METHODS if name not in ("random", "probe", "integrated_gradients")]


def keep_attention(attention):
    """The well-known recipe to keep attention maps."""

    def forward(x, **_):
        n, t, d = x.shape
        q, k, v = attention.qkv(x).reshape(n, t, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        attention.kept = (q * attention.scale @ k.transpose(-2, -1)).softmax(-1)
        return attention.proj((attention.kept @ v).transpose(1, 2).reshape(n, t, d))

    attention.forward = forward


class OwnAttention(nn.Module):
    def __init__(self, timms):
        super().__init__()
        self.qkv, self.proj, self.num_heads, self.scale = timms.qkv, timms.proj, timms.num_heads, timms.scale
        keep_attention(self)


@pytest.mark.parametrize(("blocks", "own"), [([0, 1], True), ([1], False)])
def test_replaced_attention_is_seen_but_neither_changed_nor_explained(blocks, own):
    whole, model, images = transformer("plain"), transformer("plain"), random_images()
    for block in blocks:
        if own:
            model.blocks[block].attn = OwnAttention(model.blocks[block].attn)
        else:
            keep_attention(model.blocks[block].attn)
    lens = Lens(model)
    view, right = lens(images), Lens(whole)(images)
    np.testing.assert_allclose(view.output, right.output, rtol=1e-4, atol=1e-5)
    for site in ("residual", "attn", "mlp"):
        np.testing.assert_allclose(view.tokens(site), right.tokens(site), rtol=1e-4, atol=1e-5)
    message = f"attention of block {blocks[0]} .* was not seen.*del model.blocks.{blocks[0]}..attn.forward"
    calls = [lambda method=method: view.explain(1, method) for method in USING_ATTENTION]
    calls += [lambda: view.attribution(1), lambda: lens.heads(images, 0)]
    calls += [lambda: lens.ablate([(0, 0)]), lambda: lens.attention("no_cls"), lambda: TokenModel(model)]
    refused(message, *calls)
    for block in blocks:
        del model.blocks[block].attn.forward
    if not own:
        assert np.isfinite(lens(images).explain(1).importance).all()


def bypass(block):
    block.forward = lambda x, **_: (y := x + block.attn(block.norm1(x))) + block.mlp(block.norm2(y))


def scale(block):
    block.forward = lambda x, **_: (
        (y := x + 2 * block.drop_path1(block.attn(block.norm1(x)))) + block.drop_path2(block.mlp(block.norm2(y)))
    )


def repeat(block):
    block.forward = lambda x, **_: type(block).forward(block, type(block).forward(block, x))


def share(block):
    block.drop_path1 = block.drop_path2 = nn.Identity()


def wrap(block):
    own = type(block).forward
    block.forward = lambda x, **_: (own(block, x), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bypass, "drop_path1 of block 1 .* was not seen"),
        (scale, r"block 1 \(Block\) does not add what its drop_path1"),
        (repeat, r"drop_path1 of block 1 .* was seen 2 times"),
        (share, "drop_path1 of block 1 .* was seen 2 times"),
        (wrap, "tuple"),
    ],
)
def test_blocks_that_do_something_else_are_refused_by_number(change, message):
    model = transformer("plain")
    lens = Lens(model)
    change(model.blocks[1])
    refused(message, lambda: Lens(model), lambda: lens(random_images()))


def test_a_block_used_twice():
    model = transformer("plain")
    model.blocks = nn.Sequential(model.blocks[0], model.blocks[1], model.blocks[1])
    refused(r"block 2 is the same object.*deepcopy", lambda: Lens(model))
    model.blocks[2] = copy.deepcopy(model.blocks[1])
    assert Lens(model)(random_images()).rank().shape == (3, 3, 17)


def test_a_forward_pass_that_leaves_blocks_out_or_runs_them_again():
    model, images = transformer("plain"), random_images()
    timms = model.blocks.forward
    contexts = (
        lambda: capture_activations(model, lambda *_: None),
        lambda: patch_attention(model, lambda _block, attention: attention.output()),
    )
    for order, message in (
        ([0], "block 1 .* did not run"),
        ([], "block 0 .* did not run"),
        ([1], "block 0 .* did not run"),
        ([0, 0, 1], "block 0 .* ran more than once"),
        ([0, 1, 1], "block 1 .* ran more than once"),
    ):
        model.blocks.forward = lambda x, order=order: reduce(lambda y, block: model.blocks[block](y), order, x)
        for context in contexts:
            with pytest.raises(InputError, match=message), torch.no_grad(), context():
                model(images)
    model.blocks.forward = timms
    with capture_activations(model, lambda *_: None), torch.no_grad():
        model(images)
        model(images)


def test_an_error_on_its_way_is_not_masked():
    model = transformer("plain")
    with pytest.raises(KeyError, match="mine"), capture_activations(model, lambda *_: None):
        raise KeyError("mine")


def test_key_coefficients_are_counted_where_they_are_read():
    model = transformer("plain")
    mlp = model.blocks[0].mlp
    mlp.forward = lambda x: mlp.fc2(mlp.act(mlp.fc1(x)) + 0 * mlp.fc1(x))
    with (
        pytest.raises(InputError, match=r"mlp\.fc1 of block 0 .* was seen 2 times"),
        torch.no_grad(),
        capture_activations(model, lambda *_: None, lambda *_: None),
    ):
        model(random_images())
    Lens(model)(random_images())  # which does not read them


def test_shared_modules_of_different_blocks_are_told_apart():
    model, images = transformer("plain"), random_images()
    expected = Lens(model)(images)
    first, second = nn.Identity(), nn.Identity()
    for block in model.blocks:
        block.drop_path1, block.drop_path2 = first, second
    found = Lens(model)(images)
    for site in ("attn", "mlp"):
        assert np.array_equal(found.tokens(site), expected.tokens(site))


@pytest.mark.parametrize("as_hook", [False, True])
def test_what_fused_attention_would_pass_over_is_noticed(as_hook):
    """A module after the softmax is not called where attention is caught."""
    model = transformer("plain")
    lens = Lens(model)
    lens.ablate([(0, 0)])
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop = block.attn.attn_drop if as_hook else nn.Identity()
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, weights: weights.tril())
    refused("computes something else", lambda: lens.ablate([(0, 0)]))
    assert np.isfinite(lens(random_images()).logit(class_index=0)).all()


@pytest.mark.parametrize("kind", ["keywords", "causal", "bool mask"])
def test_other_ways_to_ask_for_attention(kind):
    """Arguments by name, and masks that are not added."""
    model, images = transformer("plain"), random_images()
    for block in model.blocks:
        a = block.attn

        def forward(x, a=a, **_):
            n, t, d = x.shape
            q, k, v = a.qkv(x).reshape(n, t, 3, a.num_heads, -1).permute(2, 0, 3, 1, 4)
            mask = torch.ones(t, t, dtype=torch.bool).tril() if kind == "bool mask" else None
            heads = nn.functional.scaled_dot_product_attention(
                query=q, key=k, value=v, attn_mask=mask, is_causal=kind == "causal"
            )
            return a.proj(heads.transpose(1, 2).reshape(n, t, d))

        a.forward = forward
    with torch.no_grad():
        expected = model(images)

        def attend(_block, attention):
            weights = attention.weights()
            assert kind == "keywords" or not weights.triu(1).any()
            return weights @ attention.value

        with patch_attention(model, attend):
            torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_checkpointed_blocks_are_counted_once():
    model, images = transformer("plain"), random_images()
    expected = Lens(model)(images).explain(1, "attn_lrp").importance
    model.set_grad_checkpointing(True)
    np.testing.assert_allclose(Lens(model)(images).explain(1, "attn_lrp").importance, expected, rtol=1e-4, atol=1e-6)
    assert model.grad_checkpointing
    model.set_grad_checkpointing(False)
    for block in model.blocks:
        own = block.forward
        block.forward = lambda x, own=own, **_: checkpoint(own, x, use_reentrant=False)
    refused("computed again in the backward pass", lambda: Lens(model)(images).explain(1, "attn_lrp"))


def test_hooks_of_ones_own_are_seen_through():
    """Views show what goes on after they changed it."""
    model, images = transformer("plain"), random_images()
    model.blocks[0].register_forward_hook(lambda _module, _inputs, tokens: tokens + 1)
    model.blocks[1].mlp.register_forward_hook(lambda _module, _inputs, tokens: 2 * tokens)
    seen = []
    model.blocks[1].drop_path2.register_forward_hook(lambda _module, _inputs, tokens: seen.append(tokens))
    view = Lens(model)(images)
    assert np.array_equal(view.tokens("mlp", 1), seen[-1].numpy())
    assert float(view.attribution(1).gap().max()) < 1e-4


def test_compiled_blocks_are_run_as_they_are():
    """What was compiled before the hooks came would pass over them."""
    model, images = transformer("plain"), random_images()
    expected = Lens(transformer("plain"))(images)
    for block in model.blocks:
        block.compile(backend="eager")
    with torch.no_grad():
        model(images)
    view = Lens(model)(images)
    assert np.array_equal(view.tokens(), expected.tokens())
    for method in ("gradient", "rollout", "attn_lrp"):
        assert np.array_equal(view.explain(1, method).importance, expected.explain(1, method).importance)

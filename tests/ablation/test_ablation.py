"""Effects of replaced heads and tokens against hooks on timm's own modules: one image, head and set at a time."""

from contextlib import contextmanager

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import load_small, random_images, transformer, write_small

from classlens import Lens
from classlens.ablation.replace import Ablation
from classlens.passes.head_effects import HeadSums, mean_of
from classlens.passes.sums import sum_images
from classlens.passes.token_effects import ResidualSums

TRIED = (
    "attention pool",
    "[CLS ; mean]",
    "plain",
    "averages",
    "registers",
    "distilled",
    "LayerScale",
    "relative positions",
    "rotary",
    "EVA",
)
CLASSES = torch.tensor([2, 3, 4])


@contextmanager
def hooked(handle):
    try:
        yield
    finally:
        handle.remove()


def head_inputs(model, images):
    """What each block's output projection is given (B, n, T, D)."""
    found = []
    handles = [
        block.attn.proj.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0].clone()))
        for block in model.blocks
    ]
    model(images)
    for handle in handles:
        handle.remove()
    return torch.stack(found)


def outputs(model, images):
    """Every block's output (B, n, T, D)."""
    found = []
    handles = [block.register_forward_hook(lambda *passed: found.append(passed[2].clone())) for block in model.blocks]
    model(images)
    for handle in handles:
        handle.remove()
    return torch.stack(found)


@pytest.mark.parametrize("name", TRIED)
@torch.inference_mode()
def test_heads_are_as_by_hooks(name):
    model, images = transformer(name), random_images()
    heads = model.blocks[0].attn.num_heads
    mean = head_inputs(model, images).mean(1)
    blocks, tokens, width = mean.shape
    size = width // heads
    found = Ablation(model).heads(images, CLASSES, mean.reshape(blocks, tokens, heads, size).transpose(1, 2))
    assert found.effect.shape == (3, blocks, heads)
    for image, (one, target) in enumerate(zip(images.split(1), CLASSES.tolist(), strict=True)):
        intact = model(one)[0]
        assert found.logit[image].item() == pytest.approx(intact[target].item(), abs=1e-4)
        for block in range(blocks):
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)

                def put(_module, inputs, block=block, part=part):
                    changed = inputs[0].clone()
                    changed[:, :, part] = mean[block][:, part]
                    return (changed,)

                with hooked(model.blocks[block].attn.proj.register_forward_pre_hook(put)):
                    logits = model(one)[0]
                expected = (intact[target] - logits[target]).item()
                assert found.effect[image, block, head].item() == pytest.approx(expected, abs=1e-4)
                assert bool(found.correct[image, block, head]) == (logits.argmax().item() == target)
    assert found.effect.abs().max() > 0.01


@pytest.mark.parametrize("name", TRIED)
@torch.inference_mode()
def test_tokens_are_as_by_hooks(name):
    model, images = transformer(name), random_images()
    mean, prefix = outputs(model, images).mean(1), model.num_prefix_tokens
    blocks, patches = len(mean), model.patch_embed.num_patches
    sets = torch.rand(3, blocks, 2, patches, generator=torch.Generator().manual_seed(2)) < 0.3
    sets[0, 0, 1] = False
    found = Ablation(model).image_tokens(images, CLASSES, mean, sets)
    for image, (one, target) in enumerate(zip(images.split(1), CLASSES.tolist(), strict=True)):
        intact = model(one)[0]
        for block in range(blocks):
            for number in range(2):
                chosen = sets[image, block, number].nonzero()[:, 0] + prefix

                def put(_module, _inputs, output, block=block, chosen=chosen):
                    changed = output.clone()
                    changed[:, chosen] = mean[block][chosen]
                    return changed

                with hooked(model.blocks[block].register_forward_hook(put)):
                    logits = model(one)[0]
                expected = (intact[target] - logits[target]).item()
                assert found.effect[image, block, number].item() == pytest.approx(expected, abs=1e-4)
                assert bool(found.correct[image, block, number]) == (logits.argmax().item() == target)
    assert found.effect.abs().max() > 0.01
    assert found.effect[0, 0, 1] == pytest.approx(0, abs=1e-5)
    if model.global_pool == "token" and name != "distilled":
        # After the last block, no other token is read than [CLS].
        assert found.effect[:, -1].abs().max() < 1e-5


@torch.inference_mode()
def test_blocks_in_front_do_not_run_again():
    model, images = transformer("plain"), random_images()
    ablation, heads = Ablation(model), model.blocks[0].attn.num_heads
    ran = []
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    ablation.heads(images, CLASSES, torch.zeros(2, heads, 17, 24 // heads))
    # The batch once, then block 0's heads run both blocks and block 1's the second alone.
    assert (ran.count(0), ran.count(1)) == (1 + heads, 1 + 2 * heads)
    ran.clear()
    ablation.image_tokens(images, CLASSES, torch.zeros(2, 17, 24), torch.ones(3, 2, 4, 16, dtype=torch.bool))
    assert (ran.count(0), ran.count(1)) == (1, 1 + 4)


@torch.inference_mode()
def test_means_are_those_of_all_images_whatever_the_batch(tmp_path):
    _, pixels, weights, network = write_small(tmp_path, "registers", [2, 3, 4, 5, 6])
    loaded = load_small(weights, network)
    with h5py.File(pixels) as file:
        images = loaded.normalise(file["pixels"][:])
    of_heads, of_tokens = head_inputs(loaded.model, images).mean(1), outputs(loaded.model, images).mean(1)
    for batch_size in (1, 2, 5):
        heads, residuals = (
            mean_of(sum_images(of, loaded, pixels, range(5), batch_size), loaded) for of in (HeadSums, ResidualSums)
        )
        assert torch.allclose(heads.transpose(1, 2).flatten(2), of_heads, atol=1e-5)
        assert torch.allclose(residuals, of_tokens, atol=1e-5)


@torch.inference_mode()
def test_lens_says_the_same():
    model, images = transformer("plain"), random_images()
    lens = Lens(model)
    intact = lens(images).output[np.arange(3), CLASSES]
    mean = torch.stack([torch.as_tensor(lens.heads(images, block).mean(0)) for block in range(2)])
    effect = Ablation(model).heads(images, CLASSES, mean).effect
    with lens.ablate(heads=[(1, 2)], value=mean[1, 2].numpy()):
        ablated = lens(images).output[np.arange(3), CLASSES]
    assert intact - ablated == pytest.approx(effect[:, 1, 2].numpy(), abs=1e-4)

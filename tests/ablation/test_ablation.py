"""Effects of replaced heads and tokens against hooks on timm's own modules: one image, head and set at a time."""

import numpy as np
import pytest
import torch
from hooks import head_inputs, hooked, outputs, put_head, put_tokens
from tiny_transformers import images_of, load_small, random_images, transformer, write_small

from classlens.ablation.replace import Ablation
from classlens.passes.head_effects import HeadSums, mean_of
from classlens.passes.sums import sum_images
from classlens.passes.token_effects import ResidualSums

TRIED = ("averages", "rotary", "attention pool", "[CLS ; mean]")
CLASSES = torch.tensor([2, 3, 4])


def require_effects(found, model, images, changed):
    """Compare with one change of one image at a time; `changed(image, one, block, number)` returns its logits."""
    for image, (one, target) in enumerate(zip(images.split(1), CLASSES.tolist(), strict=True)):
        intact = model(one)[0]
        assert found.logit[image].item() == pytest.approx(intact[target].item(), abs=1e-4)
        for block, number in np.ndindex(found.effect.shape[1:]):
            logits = changed(image, one, block, number)
            expected = (intact[target] - logits[target]).item()
            assert found.effect[image, block, number].item() == pytest.approx(expected, abs=1e-4)
            assert bool(found.correct[image, block, number]) == (logits.argmax().item() == target)
    assert found.effect.abs().max() > 0.01


@pytest.mark.parametrize("name", TRIED)
@torch.inference_mode()
def test_heads_are_as_by_hooks(name):
    model, images = transformer(name), random_images()
    mean = head_inputs(model, images).mean(1).unflatten(-1, (model.blocks[0].attn.num_heads, -1)).transpose(1, 2)
    found = Ablation(model).heads(images, CLASSES, mean)
    assert found.effect.shape == (3, *mean.shape[:2])

    def changed(_image, one, block, head):
        return hooked(model, one, put_head(model, block, head, mean[block, head]))[0]

    require_effects(found, model, images, changed)


@pytest.mark.parametrize("name", TRIED)
@torch.inference_mode()
def test_tokens_are_as_by_hooks(name):
    model, images = transformer(name), random_images()
    mean, prefix = outputs(model, images).mean(1), model.num_prefix_tokens
    sets = torch.rand(3, len(mean), 2, 16, generator=torch.Generator().manual_seed(2)) < 0.3
    sets[0, 0, 1] = False
    found = Ablation(model).image_tokens(images, CLASSES, mean, sets)

    def changed(image, one, block, number):
        chosen = sets[image, block, number].nonzero()[:, 0] + prefix
        return hooked(model, one, put_tokens(model.blocks[block], chosen, mean[block][chosen]))[0]

    require_effects(found, model, images, changed)
    assert found.effect[0, 0, 1] == pytest.approx(0, abs=1e-5)
    if model.global_pool == "token":
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
    images, _ = images_of(pixels)
    of_heads, of_tokens = head_inputs(loaded.model, images).mean(1), outputs(loaded.model, images).mean(1)
    for batch_size in (1, 2, 5):
        heads, residuals = (
            mean_of(sum_images(of, loaded, pixels, range(5), batch_size), loaded) for of in (HeadSums, ResidualSums)
        )
        assert torch.allclose(heads.transpose(1, 2).flatten(2), of_heads, atol=1e-5)
        assert torch.allclose(residuals, of_tokens, atol=1e-5)

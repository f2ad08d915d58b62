"""The attention of one token is that of timm's own, unfused attention; its pictures and page."""

import numpy as np
import pytest
import torch
from browser import needs_browser, opened
from made_pictures import SAVED, SMALL, checkpoint, make_pictures, small_model, typed
from PIL import Image

from classlens import Lens
from classlens.errors import InputError
from classlens.figures.importance import colours
from classlens.inference.attention import patch_attention
from classlens.inference.attention_rows import attention_of
from classlens.look.attention import token_attention
from classlens.passes.attention_perturbation import restrict


def by_timm(model, inputs):
    """Attention weights (B, N, H, T, T), by timm's attention without the fused function."""
    found = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    with torch.no_grad():
        model(inputs)
    return torch.stack(found)


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"num_classes": 0}, {"qk_norm": True}])
def test_weights_are_those_of_timm(options):
    model, inputs = small_model(**options), torch.randn(2, 3, 32, 32)
    found = {token: attention_of(model, inputs, None, token) for token in (0, 5)}
    one = attention_of(model, inputs, 1, 5)
    expected = by_timm(small_model(**options), inputs)
    for token, rows in found.items():
        assert torch.allclose(rows, expected[:, :, :, token], atol=1e-6)
    assert torch.allclose(one, expected[1, :, :, 5], atol=1e-6)


def test_blocks_with_different_numbers_of_heads():
    model, inputs = small_model(), torch.randn(1, 3, 32, 32)
    model.blocks[1].attn.num_heads, model.blocks[1].attn.head_dim, model.blocks[1].attn.scale = 6, 4, 4**-0.5
    assert attention_of(model, inputs, 1, 0).shape == (1, 6, 17)
    with pytest.raises(InputError, match="blocks have 3, 6, 3 heads"):
        attention_of(model, inputs, None, 0)


def test_an_intervention_around_it_counts():
    model, inputs = small_model(), torch.randn(1, 3, 32, 32)
    with patch_attention(model, restrict("self_only", 1)):
        found = attention_of(model, inputs, 0, 3)
    assert torch.allclose(found, torch.nn.functional.one_hot(torch.tensor(3), 17).float().expand(1, 3, 17), atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"place": (2, 3)}])
def test_maps_are_strongest_where_the_weights_are(tmp_path, arguments):
    [path] = make_pictures(tmp_path, 1)
    found = token_attention(Lens(small_model(reg_tokens=2)), path, arguments.get("place"))
    assert found.name == ("row 2, column 3" if arguments else "[CLS]")
    assert found.token == (3 + 4 + 2 if arguments else 0)
    drawn = list(found.pictures())
    assert len(drawn) == 3 * (3 + 1)
    block, head, share, image = drawn[5]
    weights = found.weights[block, head, 3:].reshape(4, 4)
    assert (block, head) == (1, 1)
    assert share == pytest.approx(weights.sum())
    row, column = np.unravel_index(weights.argmax(), (4, 4))
    # The colours of every map that is never negative, over the photo in grey: where there is most, dark red.
    grey = np.asarray(Image.fromarray(found.photo).convert("L"), float)
    over = colours(weights, signed=False).repeat(8, 0).repeat(8, 1).astype(float)
    share = over[..., 3:] / 255
    expected = share * over[..., :3] + (1 - share) * grey[..., None]
    inside = np.ones((32, 32), bool)
    if arguments:  # the token that attends has a frame
        inside[8:16, 16:24] = False
    assert np.abs(np.asarray(image) - expected)[inside].max() <= 1
    assert over[8 * row, 8 * column].tolist() == [128, 0, 38, 191]
    assert np.allclose(drawn[7][2], found.weights[1, :, 3:].mean(0).sum())


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"class_token": False, "global_pool": "avg"}, None, "has no .CLS. token"),
        ({}, (5, 1), "there is no token 5,1; rows go from 1 to 4"),
        ({}, (1, 0), "there is no token 1,0"),
    ],
)
def test_tokens_that_are_not_there(options, place, message):
    with pytest.raises(InputError, match=message):
        token_attention(Lens(small_model(**{**SMALL, **options})), "unread.png", place)


def test_as_it_is_typed(tmp_path):
    model, [path] = checkpoint(tmp_path / "vit.pth"), make_pictures(tmp_path, 1)
    folder, words = tmp_path / "maps", ["attention", model, path, "--architecture", SAVED, "--no-open"]
    assert "is no row,column" in typed(*words, "--token", "3", status=2)
    assert "there is no token 99,1" in typed(*words, "-o", folder, "--token", "99,1", status=2)
    assert not folder.exists()
    assert "blocks of" in typed(*words, "-o", folder, "--token", "2,2")
    written = sorted(file.name for file in folder.iterdir())
    assert written[:2] == ["block_00_head_00.png", "block_00_head_01.png"]
    assert Image.open(folder / "block_00_mean.png").size == (160, 160)
    page = (folder / "index.html").read_text()
    assert page.count("<img ") == len(written) - 1
    assert "Attention of row 2, column 2 in vit.pth: 0.png" in page


@needs_browser
def test_the_page_fits_a_phone_and_asks_for_nothing(tmp_path):
    model, [path] = checkpoint(tmp_path / "vit.pth"), make_pictures(tmp_path, 1)
    typed("attention", model, path, "--architecture", SAVED, "--no-open", "-o", tmp_path / "maps")
    heard = []
    with opened(tmp_path / "maps/index.html", heard, viewport={"width": 390, "height": 844}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("img").first.get_attribute("alt").startswith("block 1, head 1: ")
    assert heard == []

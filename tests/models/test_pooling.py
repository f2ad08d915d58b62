"""The pooling that timm lacks: a head on [CLS ; mean of the image tokens]."""

import pytest
import torch

from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.pooling import head_width

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 7}
BOTH = {**SMALL, "global_pool": "cls_mean"}


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_tiny_patch16_224", {"reg_tokens": 3}),
        ("eva02_base_patch14_224", {"class_token": True, "num_reg_tokens": 2}),
    ],
)
def test_the_head_reads_the_class_token_and_the_mean_of_image_tokens(architecture, options):
    model = build(architecture, {**BOTH, **options})
    images = torch.randn(2, 3, 32, 32)
    tokens = model.forward_features(images)
    expected = model.head(torch.cat([tokens[:, 0], tokens[:, -16:].mean(1)], 1))
    torch.testing.assert_close(model(images), expected)
    assert (head_width(model), model.head_hidden_size) == (48, 48)
    assert model.pool(tokens, "avg").shape == (2, 24)


def test_a_family_without_it_is_refused_by_name():
    with pytest.raises(InputError, match="for VisionTransformer and Eva, and no Beit"):
        build("beit_base_patch16_224", BOTH)
    with pytest.raises(ValueError, match="build it anew"):
        build("vit_tiny_patch16_224", BOTH).reset_classifier(3, "avg")

"""The two identities: what is read of blocks adds up, and its projection is the model's own output."""

import pytest
import torch
from tiny_transformers import FAMILIES, random_images, transformer

from classlens.inference.activations import capture_activations
from classlens.inference.projection import Projection


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_branches_add_up_to_the_residual_and_the_residual_to_the_output(name):
    model, sites = transformer(name), {}
    with capture_activations(model, lambda b, s, x: sites.update({(b, s): x.clone()}), lambda *_: None):
        output = model(random_images())
    total = sites[0, "residual"] + sites[1, "attn"] + sites[1, "mlp"]
    last = sites[1, "residual"]
    torch.testing.assert_close(last, total, rtol=1e-5, atol=1e-5)
    projected = Projection(model)(last)
    if getattr(model, "head_dist", None) is not None:
        expected = (projected[:, 0] + projected[:, 1]) / 2
    elif model.global_pool == "token":
        expected = projected[:, 0]
    else:
        # As the model does it: mean of the tokens, then the norm that stands after the pooling.
        mean = model.norm(last)[:, model.num_prefix_tokens :].mean(1)
        expected = model.head(getattr(model, "fc_norm", torch.nn.Identity())(mean))
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)

"""Integrated gradients, which captum computes, against the sum written out."""

import numpy as np
import pytest
import torch
from tiny_transformers import random_images, transformer

from classlens.explanations.integrated import STEPS, integrated_gradients
from classlens.inference.modes import frozen_eval_mode

CLASSES = torch.tensor([0, 6, 3])


def written_out(model, images, classes):
    """Gauss-Legendre on the way from zero to the image, a point at a time."""
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    total = torch.zeros_like(images)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        inputs = (float(point) * images).requires_grad_()
        total += float(weight) * torch.autograd.grad(model(inputs).gather(1, classes[:, None]).sum(), inputs)[0]
    squares = (images * total).unfold(2, 8, 8).unfold(3, 8, 8)
    return squares.sum((1, 4, 5)).flatten(1)


@pytest.mark.parametrize("name", ["averages", "EVA"])
def test_it_is_the_sum(name):
    model, images, sizes = transformer(name), random_images(), []
    model.patch_embed.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    with frozen_eval_mode(model):
        found = integrated_gradients(model)(images, CLASSES)["importance"]
        assert max(sizes) == len(images)  # never more than one point of each image
        expected = written_out(model, images, CLASSES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert found.shape == (3, 16)

"""Attribution from Python, of what a lens sees."""

import pytest
import torch
from tiny_transformers import random_images, transformer

from classlens import Lens
from classlens.attribution.decompose import LogitAttribution
from classlens.errors import InputError


@pytest.mark.parametrize("name", ["distilled", "averages", "EVA"])
def test_a_view_attributes_any_class(name):
    model = transformer(name).train()
    view = Lens(model, batch_size=2)(random_images(3))
    found = view.attribution([4, 0, 6])
    assert model.training
    expected = LogitAttribution(model.eval())(random_images(3), torch.tensor([4, 0, 6]))
    torch.testing.assert_close(found.heads, expected.heads, rtol=1e-4, atol=1e-6)
    assert found.logit.tolist() == pytest.approx(view.output[[0, 1, 2], [4, 0, 6]].tolist(), rel=1e-4)
    assert found.gap().max() < 1e-4
    # Without a class, what the model takes each image for.
    own = view.attribution()
    assert own.logit.tolist() == pytest.approx(view.output.max(1).tolist(), rel=1e-4)


def test_interventions_are_refused():
    lens = Lens(transformer("plain"))
    with lens.ablate(heads=[(0, 1)]):
        view = lens(random_images(1))
    with pytest.raises(InputError, match="attributions are of the model itself; attribute a view"):
        view.attribution(3)


def test_the_model_has_to_fit():
    model = transformer("averages")
    model.blocks[0].attn.gate = torch.nn.Linear(24, 24)
    view = Lens(model)(random_images(1))
    with pytest.raises(InputError, match="attention is gated"):
        view.attribution(3)

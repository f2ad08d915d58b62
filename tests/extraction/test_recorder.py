"""What is kept of a batch, and that it is kept without waiting."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny_transformers import FAMILIES, transformer

from classlens.errors import InputError
from classlens.extraction.recorder import Recorder
from classlens.inference.activations import capture_activations
from classlens.inference.projection import Projection
from classlens.models.inputs import Normalise

CLASSES = np.array([5, 0, 3], np.uint16)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def normalise_on(device="cpu"):
    return Normalise([0.5] * 3, [0.5] * 3, torch.device(device))


@pytest.mark.parametrize("name", FAMILIES)
def test_arrays_are_what_columns_promise(name):
    """Before the first batch it is known what there will be, key counts of gated MLPs included."""
    recorder = Recorder(transformer(name), normalise_on())
    columns, arrays = recorder.columns(), recorder(PIXELS, CLASSES).arrays()
    assert {key: (values.shape, values.dtype) for key, values in arrays.items()} == {
        key: ((3, *column.shape), np.dtype(column.dtype)) for key, column in columns.items()
    }
    assert recorder.attributes()["num_classes"] == 7


@pytest.mark.parametrize("name", ["plain", "distilled", "EVA", "averages"])
@torch.inference_mode()
def test_numbers_are_those_of_plain_reads(name):
    model = transformer(name)
    project, expected = Projection(model), {}
    classes = torch.from_numpy(CLASSES.astype(np.int64))

    def site(block, where, tokens):
        logits = project(tokens)
        own = logits[torch.arange(3), :, classes]
        expected[f"block_{block:02d}/{where}/rank"] = (logits > own[..., None]).sum(-1)
        expected[f"block_{block:02d}/{where}/logit"] = own
        expected[f"block_{block:02d}/{where}/top5"] = logits.topk(5).indices
        if where == "residual":
            expected[f"block_{block:02d}/residual/norm"] = tokens.norm(dim=-1)

    def key(block, branch, coefficients):
        expected[f"block_{block:02d}/keys/{branch}"] = coefficients.topk(5).indices

    with capture_activations(model, site, key):
        output = model(normalise_on()(PIXELS))
    expected |= {
        "output/class_index": classes,
        "output/correct": output.argmax(-1) == classes,
        "output/top5": output.topk(5).indices,
    }
    arrays = Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()
    assert set(arrays) == set(expected)
    for quantity, values in expected.items():
        assert np.array_equal(arrays[quantity], values.numpy()), quantity


def test_any_thread_may_collect_and_pixels_may_be_a_tensor():
    recorder = Recorder(transformer("plain"), normalise_on())
    expected, recorded = recorder(PIXELS, CLASSES).arrays(), recorder(torch.from_numpy(PIXELS), CLASSES)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(recorded.arrays).result()
    assert all(np.array_equal(found[name], values) for name, values in expected.items())


@torch.no_grad()
def test_a_class_that_is_masked_out_disturbs_nobody_but_its_own_images():
    """Minus infinity is no fault below the classes that are kept: it changes nothing of what is stored."""
    model = transformer("plain")
    expected = Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()
    model.head.bias[6] = float("-inf")
    found = Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()
    assert np.array_equal(found["block_01/mlp/logit"], expected["block_01/mlp/logit"])
    assert not (found["block_01/mlp/top5"] == 6).any()
    with pytest.raises(InputError, match="attn of block 0: logits are not finite"):
        Recorder(model, normalise_on())(PIXELS, np.array([5, 6, 3])).arrays()


@torch.no_grad()
def test_classes_that_are_tied_on_top_are_no_flat_head():
    model = transformer("plain")
    model.head.weight.zero_()
    model.head.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 0, -1]))
    arrays = Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()
    assert (arrays["block_00/residual/rank"] == 0).all()
    model.head.bias.zero_()
    with pytest.raises(InputError, match="attn of block 0: all logits"):
        Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()


def test_the_first_faulty_site_of_the_forward_pass_is_named():
    model = transformer("plain")
    model.blocks[1].mlp.fc2.bias.data[0] = float("nan")
    with pytest.raises(InputError, match="mlp of block 1: logits are not finite"):
        Recorder(model, normalise_on())(PIXELS, CLASSES).arrays()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to wait for")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_batch_never_waits_for_the_gpu(precision):
    recorder = Recorder(transformer("plain").cuda(), normalise_on("cuda"), precision)
    expected = recorder(PIXELS, CLASSES).arrays()
    torch.cuda.set_sync_debug_mode("error")
    try:
        recorded = recorder(PIXELS, CLASSES)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = recorded.arrays()
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    plain = Recorder(transformer("plain"), normalise_on())(PIXELS, CLASSES).arrays()
    np.testing.assert_allclose(found["block_01/mlp/logit"], plain["block_01/mlp/logit"], atol=0.3)

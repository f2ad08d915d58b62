"""What is kept of a batch, and that it is kept without waiting."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny_transformers import EVERY, extract_pixels, loaded_of, transformer

from classlens.errors import InputError
from classlens.extraction.recorder import Recorder
from classlens.inference.activations import capture_activations
from classlens.inference.host import HostCopy
from classlens.inference.projection import Projection
from classlens.passes.base import Part
from classlens.passes.extraction import Extraction

CLASSES = [5, 0, 3]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("name", EVERY)
def test_arrays_are_what_columns_promise(name):
    """Before the first batch it is known what there will be, key counts of gated MLPs included."""
    model = transformer(name)
    columns, arrays = Extraction.columns(model), extract_pixels(model, PIXELS, CLASSES)
    assert {key: (values.shape, values.dtype) for key, values in arrays.items()} == {
        key: ((3, *column.shape), np.dtype(column.dtype)) for key, column in columns.items()
    }


def test_scripts_of_one_s_own_get_the_same_arrays():
    model = transformer("plain")
    recorder = Recorder(model, loaded_of(model).normalise)
    found, expected = recorder(PIXELS, np.array(CLASSES, np.uint16)).arrays(), extract_pixels(model, PIXELS, CLASSES)
    assert found.keys() == expected.keys() == recorder.columns().keys()
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    assert recorder.attributes() == loaded_of(model).attributes()


@pytest.mark.parametrize("name", ["plain", "distilled", "EVA", "averages"])
@torch.inference_mode()
def test_numbers_are_those_of_plain_reads(name):
    model = transformer(name)
    project, expected = Projection(model), {}
    classes = torch.tensor(CLASSES)

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
        output = model(loaded_of(model).normalise(PIXELS))
    expected |= {
        "output/class_index": classes,
        "output/correct": output.argmax(-1) == classes,
        "output/top5": output.topk(5).indices,
    }
    arrays = extract_pixels(model, PIXELS, CLASSES)
    assert set(arrays) == set(expected)
    for quantity, values in expected.items():
        assert np.array_equal(arrays[quantity], values.numpy()), quantity


@torch.no_grad()
def test_a_class_that_is_masked_out_disturbs_nobody_but_its_own_images():
    """Minus infinity is no fault below the classes that are kept: it changes nothing of what is stored."""
    model = transformer("plain")
    expected = extract_pixels(model, PIXELS, CLASSES)
    model.head.bias[6] = float("-inf")
    found = extract_pixels(model, PIXELS, CLASSES)
    assert np.array_equal(found["block_01/mlp/logit"], expected["block_01/mlp/logit"])
    assert not (found["block_01/mlp/top5"] == 6).any()
    with pytest.raises(InputError, match="attn of block 0: logits are not finite"):
        extract_pixels(model, PIXELS, [5, 6, 3])


@torch.no_grad()
def test_classes_that_are_tied_on_top_are_no_flat_head():
    model = transformer("plain")
    model.head.weight.zero_()
    model.head.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 0, -1]))
    arrays = extract_pixels(model, PIXELS, CLASSES)
    assert (arrays["block_00/residual/rank"] == 0).all()
    model.head.bias.zero_()
    with pytest.raises(InputError, match="attn of block 0: all logits"):
        extract_pixels(model, PIXELS, CLASSES)


def test_the_first_faulty_site_of_the_forward_pass_is_named():
    model = transformer("plain")
    model.blocks[1].mlp.fc2.bias.data[0] = float("nan")
    with pytest.raises(InputError, match="mlp of block 1: logits are not finite"):
        extract_pixels(model, PIXELS, CLASSES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to wait for")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_batch_never_waits_for_the_gpu(precision):
    model = transformer("plain").cuda()
    expected, made = extract_pixels(model, PIXELS, CLASSES, precision), Extraction(loaded_of(model, precision))
    classes = torch.tensor(CLASSES).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with made.loaded.autocast():
            copied = HostCopy(made(made.loaded.normalise(PIXELS), classes, Part(0, {})))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    # Any thread may collect.
    with ThreadPoolExecutor(1) as pool:
        found = made.checked(pool.submit(copied.arrays).result())
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    plain = extract_pixels(transformer("plain"), PIXELS, CLASSES)
    np.testing.assert_allclose(found["block_01/mlp/logit"], plain["block_01/mlp/logit"], atol=0.3)

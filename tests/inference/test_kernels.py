"""The kernels for GPUs: same numbers as the plain path, whatever the shape."""

import subprocess
import sys

import pytest
import torch
from tiny_transformers import random_images, transformer

from classlens.inference import ranks
from classlens.inference.activations import capture_activations
from classlens.inference.projection import Projection

kernels = pytest.importorskip("classlens.inference.kernels", reason="triton is not installed", exc_type=ImportError)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""On the CPU triton's interpreter runs the kernels, see conftest.py."""


def summarise_tiled(x, weight, bias, classes):
    moved = [None if tensor is None else tensor.to(DEVICE) for tensor in (x, weight, bias, classes)]
    return {name: values.cpu() for name, values in kernels.summarise_tiled(*moved).items()}


def assert_same(found, logits, classes, tolerance):
    """Compare with plain logits (n, T, C): the same numbers, and the same ranks and classes but for rounding."""
    target = logits[torch.arange(len(logits)), :, classes]
    top = logits.topk(min(5, logits.shape[-1]), dim=-1)
    for name, expected in (("logit", target), ("largest", top.values[..., 0]), ("smallest", logits.amin(-1))):
        torch.testing.assert_close(found[name], expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(logits.gather(-1, found["top5"].long()), top.values, rtol=0, atol=tolerance)
    assert found["top5"].shape == top.indices.shape
    assert (found["top5"].sort(-1).values.diff(dim=-1) > 0).all()
    above = [(logits > target[..., None] + sign * tolerance).sum(-1) for sign in (1, -1)]
    assert ((above[0] <= found["rank"]) & (found["rank"] <= above[1])).all()


@pytest.mark.parametrize(
    ("images", "tokens", "width", "num_classes", "dtype", "biased"),
    [
        (2, 5, 24, 2, torch.float32, True),
        (1, 1, 16, 3, torch.float32, False),
        (3, 20, 33, 7, torch.float32, True),
        (1, 33, 64, 128, torch.float16, True),
        (2, 16, 40, 129, torch.bfloat16, True),
        (1, 37, 96, 1000, torch.bfloat16, False),
        (1, 3, 16, 21843, torch.float32, True),
    ],
)
def test_summaries_are_those_of_the_plain_path(images, tokens, width, num_classes, dtype, biased):
    generator = torch.Generator().manual_seed(num_classes)
    x = torch.randn(images, tokens, width, generator=generator).to(dtype)
    weight = torch.randn(num_classes, width, generator=generator).to(dtype)
    bias = torch.randn(num_classes, generator=generator) if biased else None
    classes = torch.randint(num_classes, (images,), generator=generator)
    found = summarise_tiled(x, weight, bias, classes)
    assert_same(found, torch.nn.functional.linear(x.float(), weight.float(), bias), classes, 1e-4)


def test_equal_logits_count_for_nobody_and_the_first_class_comes_first():
    """Whole numbers have no rounding, so nothing is excused."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (3, 20, 16), generator=generator).float()
    weight = torch.randint(-1, 2, (300, 16), generator=generator).float()
    weight[200:] = weight[:100]
    classes = torch.tensor([250, 7, 199])
    logits = x @ weight.T
    found, expected = summarise_tiled(x, weight, None, classes), ranks.summarise(logits, classes)
    assert torch.equal(found["rank"], expected["rank"])
    assert torch.equal(found["logit"], expected["logit"])
    assert torch.equal(found["top5"].long(), logits.sort(dim=-1, descending=True, stable=True).indices[..., :5])


def test_a_token_has_the_same_numbers_in_any_batch_and_part(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(4, 11, 48, generator=generator), torch.randn(140, 48, generator=generator)
    x, weight = (4 * x).round(), (4 * weight).round()  # products round by the number of rows
    classes = torch.tensor([3, 139, 128, 0])
    whole = summarise_tiled(x, weight, None, classes)
    monkeypatch.setattr(kernels, "LOGITS", 140 * 10)
    parts = [summarise_tiled(x[part], weight, None, classes[part]) for part in (slice(0, 3), slice(3, 4))]
    for name, values in whole.items():
        assert torch.equal(values, torch.cat([part[name] for part in parts])), name


@pytest.mark.parametrize("where", ["token", "class"])
def test_numbers_that_are_none_are_found(where):
    x, weight = torch.ones(1, 3, 16), torch.ones(9, 16)
    weight[0] = 2
    (x[0, 1] if where == "token" else weight[4])[3] = float("nan")
    found = summarise_tiled(x, weight, None, torch.tensor([0]))
    assert ranks.faults(found["largest"], found["smallest"], 9).tolist() == [True, False]
    flat = summarise_tiled(torch.ones(1, 3, 16), torch.ones(9, 16), None, torch.tensor([0]))
    assert ranks.faults(flat["largest"], flat["smallest"], 9).tolist() == [False, True]


@pytest.mark.parametrize("width", [3, 5, 256, 300, 1023])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strongest_keys(width, dtype):
    values = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(width)).to(dtype)
    expected = values.sort(dim=-1, descending=True, stable=True).indices[..., :5]
    assert torch.equal(kernels.strongest_tiled(values.to(DEVICE)).cpu().long(), expected)


@pytest.mark.parametrize(("width", "scaled"), [(16, True), (33, True), (48, False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_are_computed_in_float32_and_rounded_at_the_end(width, scaled, dtype):
    generator = torch.Generator().manual_seed(width)
    x = (5 + 3 * torch.randn(2, 7, width, generator=generator)).to(dtype)
    scale, shift = (torch.randn(width, generator=generator) if scaled else None for _ in range(2))
    moved = [None if one is None else one.to(DEVICE) for one in (x, scale, shift)]
    expected = torch.nn.functional.layer_norm(x.float(), (width,), scale, shift, eps=1e-3)
    found = kernels.layer_norm_tiled(*moved, 1e-3, torch.float32)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
    rounded = kernels.layer_norm_tiled(*moved, 1e-3, torch.bfloat16)
    # The interpreter cuts off where GPUs round.
    torch.testing.assert_close(rounded.float(), found, rtol=2**-8 if DEVICE == "cuda" else 2**-7, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "distilled",
        pytest.param("plain", marks=pytest.mark.release),
        pytest.param("averages", marks=pytest.mark.release),
    ],
)
@torch.inference_mode()
def test_models_are_summarised_by_the_kernel_as_without(monkeypatch, name):
    model, classes, sites = transformer(name).to(DEVICE), torch.tensor([6, 3], device=DEVICE), {}
    project = Projection(model)
    with capture_activations(model, lambda b, s, x: sites.update({(b, s): x.clone()}), lambda *_: None):
        model(random_images(2).to(DEVICE))
    monkeypatch.setattr(ranks, "_kernels", lambda _device: kernels)
    for tokens in sites.values():
        assert_same(ranks.summarise_tokens(project, tokens, classes), project(tokens), classes, 1e-4)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from classlens.inference import kernels

POINTERS = dict(logits="*fp32", bias="*fp32", classes="*i64", rank="*i32", logit="*fp32", top="*i32", largest="*fp32",
                smallest="*fp32", values="*bf16", x="*bf16", weight="*fp32", out="*bf16", eps="fp32")
KERNELS = ((kernels._summarise, dict(BIASED=True, CLASSES=128)), (kernels._strongest, dict(COLUMNS=256)),
           (kernels._layer_norm, dict(SCALED=True, BIASED=True, WIDTH=1024)))
for kernel, constants in KERNELS:
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else POINTERS.get(name, "i32") for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
"""


def test_kernels_compile_without_a_gpu(tmp_path, monkeypatch):
    """The interpreter takes more than the compiler does."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

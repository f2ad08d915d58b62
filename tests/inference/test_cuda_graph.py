"""Recorded kernels give what the function gives, and never what an earlier batch was given."""

import pytest
import torch

from classlens.inference import cuda_graph
from classlens.inference.cuda_graph import CudaGraph


class Function:
    """Counts its calls: replays do without them."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x, y):
        self.calls += 1
        return {"sum": x + y, "product": x * y}


class Graph:
    """Stands in for CUDA's: computes anew from the recorded inputs into the recorded outputs."""

    def __init__(self, inputs, outputs):
        self._inputs, self._outputs = inputs, outputs

    def replay(self):
        for name, values in Function()(*self._inputs).items():
            self._outputs[name].copy_(values)


@pytest.fixture(params=["CUDA", "stand-in"])
def device(request, monkeypatch):
    if request.param == "CUDA":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU to record on")
        return "cuda"

    def recorded(function, inputs):
        outputs = function(*inputs)
        return Graph(inputs, outputs), outputs

    monkeypatch.setattr(cuda_graph, "_on_cuda", lambda _values: True)
    monkeypatch.setattr(cuda_graph, "_recorded", recorded)
    return "cpu"


def batch(number, device, count=4):
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(count, 3, generator=generator).to(device) for _ in range(2)]


def test_batches_are_replayed_and_results_may_be_kept(device):
    function = Function()
    replayed, batches = CudaGraph(function), [batch(number, device) for number in range(5)]
    found = [replayed(*one) for one in batches]
    assert function.calls == 2  # the first batch, and the recording
    for one, result in zip(batches, found, strict=True):
        assert torch.equal(result["sum"], one[0] + one[1])
        assert torch.equal(result["product"], one[0] * one[1])


def test_batches_of_other_sizes_are_computed(device):
    function = Function()
    replayed = CudaGraph(function)
    for number, count in enumerate([4, 4, 4, 3, 4, 5, 5, 5, 4]):
        x, y = batch(number, device, count)
        assert torch.equal(replayed(x, y)["sum"], x + y)
    # 4 twice (the second one records), 3, 5 twice, and 4 again, whose graph is gone
    assert function.calls == 6


def test_what_cannot_be_recorded_is_computed(device, monkeypatch):
    def refuse(_function, _inputs):
        raise RuntimeError("it waits for the device")

    function = Function()
    monkeypatch.setattr(cuda_graph, "_recorded", refuse)
    replayed = CudaGraph(function)
    for number in range(4):
        x, y = batch(number, device)
        assert torch.equal(replayed(x, y)["sum"], x + y)
    assert function.calls == 4


def test_on_the_cpu_the_function_is_called():
    function = Function()
    replayed = CudaGraph(function)
    for number in range(3):
        replayed(*batch(number, "cpu"))
    assert function.calls == 3

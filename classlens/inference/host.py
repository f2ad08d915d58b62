"""From the device into host memory, without waiting."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from classlens.arrays import Array


class HostCopy:
    """Tensors on their way into host memory. On CUDA this returns at once: nothing waits for the device but `arrays`.

    Args:
        tensors: on one device, by name.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        # From CUDA into pinned memory, where values have arrived once the stream has come so far.
        self._copies = {name: one.detach().to("cpu", non_blocking=one.is_cuda) for name, one in tensors.items()}
        self._arrived = None
        cuda = next((one for one in tensors.values() if one.is_cuda), None)
        if cuda is not None:
            # A thread that waits leaves the processor to others.
            self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(cuda.device))

    def arrays(self) -> dict[str, Array]:
        """Wait for the device and return the arrays; any thread may call it, once or more often."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return {name: copy.numpy() for name, copy in self._copies.items()}

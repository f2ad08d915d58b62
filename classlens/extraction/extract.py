"""One forward pass per image, from which everything that is kept of a model is computed on the way."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Unpack

import h5py
import numpy as np
import numpy.typing as npt
import torch

from classlens.errors import InputError
from classlens.extraction.files import OUTPUT, layer_attributes, shard_columns
from classlens.hdf5 import RowWriter
from classlens.inference.activations import capture_activations
from classlens.inference.batches import with_oom_backoff
from classlens.inference.network import Network, load_network
from classlens.inference.projection import Projection
from classlens.inference.ranks import faults, strongest_keys, summarise
from classlens.models.device import autocast
from classlens.models.inputs import Normalise
from classlens.progress import Progress
from classlens.terms import BRANCHES, SITES, TOP, block_name

Arrays = dict[str, npt.NDArray[Any]]


def extract_shard(
    pixels: str,
    weights: str,
    shard: str,
    *,
    start: int,
    stop: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write what is kept of a shard's images at every block, and the model's own output.

    Args:
        pixels: pixel file of the evaluation images (`pixels`, `class_index`).
        weights: canonical weights.
        shard: file to write; a group has the contents of each layer file, and one those of the output file.
        start, stop: first and last + 1 image of the shard.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: a label is no class of the model, or logits are not finite or all equal.
    """
    loaded = load_network(weights, **network)
    recorder = Recorder(loaded.model, loaded.normalise, loaded.precision)
    run_images(recorder, pixels, shard, start=start, stop=stop, batch_size=batch_size)
    return loaded.provenance()


def run_images(recorder: Recorder, pixels: str, shard: str, *, start: int, stop: int, batch_size: int) -> None:
    """Run stored images through a recorder and write what it keeps; see `extract_shard`."""
    with h5py.File(pixels) as images, ExitStack() as stack:
        classes = _classes(images, start, stop, recorder.num_classes)
        progress = stack.enter_context(Progress(stop - start, "extracting"))
        writers: list[RowWriter] = []

        def run(part: slice) -> None:
            batch = images["pixels"][start + part.start : start + part.stop]
            kept = recorder(batch, classes[part])
            if not writers:
                # The first batch tells the number of memory keys, which the types of the columns depend on.
                writers.append(stack.enter_context(recorder.writer(shard, stop - start)))
            writers[0].append(kept)
            progress.advance(part.stop - part.start)

        with_oom_backoff(stop - start, batch_size, run)


class Recorder:
    """Runs a batch through a model and keeps what docs/method.md names; nothing outlives the batch.

    Args:
        model: a supported model in evaluation mode, on the device of `normalise`.
        normalise: makes inputs of stored pixels.
        precision: see `autocast`.
    """

    def __init__(self, model: Any, normalise: Normalise, precision: str = "float32") -> None:
        self._model, self._normalise, self._precision = model, normalise, precision
        self._project = Projection(model)
        self._device = next(model.parameters()).device
        self.key_counts: dict[str, int] = {}
        """Memories per branch, known after the first batch."""
        self.num_classes: int = model.num_classes
        self.num_prefix_tokens: int = model.num_prefix_tokens
        self.tokens: int = model.patch_embed.num_patches + model.num_prefix_tokens
        self.has_class_token = model.cls_token is not None

    @torch.inference_mode()
    def __call__(self, pixels: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer[Any]]) -> Arrays:
        """Extract a batch.

        Args:
            pixels: (n, H, W, 3).
            classes: (n), the correct class of each image.

        Returns:
            the arrays of a shard, see `classlens.extraction.files.shard_columns`.

        Raises:
            InputError: logits are not finite or all equal.
        """
        target = torch.from_numpy(np.asarray(classes, dtype=np.int64)).to(self._device)
        kept: dict[str, list[torch.Tensor]] = {}
        wrong: list[torch.Tensor] = []

        def site(_block: int, name: str, tokens: torch.Tensor) -> None:
            logits = self._project(tokens)
            summary = summarise(logits, target)
            wrong.append(faults(logits, summary.pop("largest")))
            for quantity, values in summary.items():
                kept.setdefault(f"{name}/{quantity}", []).append(values)

        def key(_block: int, name: str, coefficients: torch.Tensor) -> None:
            self.key_counts[name] = coefficients.shape[-1]
            kept.setdefault(f"keys/{name}", []).append(strongest_keys(coefficients))

        with capture_activations(self._model, site, key), autocast(self._device, self._precision):
            logits = self._model(self._normalise(pixels)).float()
        self._refuse(torch.stack(wrong).cpu().numpy())
        # One transfer per quantity instead of one per block and site.
        stacked = {name: torch.stack(values).cpu().numpy() for name, values in kept.items()}
        top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices.cpu().numpy()
        return {
            **{f"{block_name(b)}/{name}": values[b] for name, values in stacked.items() for b in range(len(values))},
            f"{OUTPUT}/class_index": np.asarray(classes),
            f"{OUTPUT}/correct": top[:, 0] == classes,
            f"{OUTPUT}/top5": top,
        }

    def writer(self, shard: str, rows: int) -> RowWriter:
        """Return the writer of a shard of `rows` images; a batch must have been extracted before."""
        columns = shard_columns(len(self._model.blocks), self.tokens, self.num_classes, self.key_counts)
        attributes = layer_attributes(self.num_classes, self.num_prefix_tokens, self.has_class_token)
        return RowWriter(shard, rows, columns, attributes)

    def _refuse(self, wrong: npt.NDArray[np.bool_]) -> None:
        """Raise for the first faulty site; `wrong` is (sites in the order of the forward pass, 2)."""
        if not wrong.any():
            return
        position, fault = (int(index[0]) for index in np.nonzero(wrong))
        # Within a block the branches come before the residual.
        block, name = position // len(SITES), (*BRANCHES, "residual")[position % len(SITES)]
        reason = (
            "logits are not finite; check the weights, or set extraction.precision to float32",
            "all logits of every token are equal; the model's head is zero or was never trained",
        )[fault]
        raise InputError(f"{name} of block {block}: {reason}")


def _classes(images: h5py.File, start: int, stop: int, num_classes: int) -> npt.NDArray[Any]:
    classes = np.asarray(images["class_index"][start:stop])
    if classes.max() >= num_classes:
        raise InputError(
            f"the data set has the class {classes.max()}, but the model only the classes 0..{num_classes - 1}; "
            f"set options.num_classes or take weights that know all classes"
        )
    return classes

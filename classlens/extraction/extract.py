"""One forward pass per image, from which everything that is kept of a model is computed on the way."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Unpack

import numpy as np

from classlens.arrays import Array
from classlens.batching import batches
from classlens.classes import check_classes
from classlens.extraction.files import OUTPUT
from classlens.extraction.recorder import Recorded, Recorder
from classlens.filters import h5py
from classlens.hdf5 import RowWriter, chunk_rows_of
from classlens.inference.batches import with_oom_backoff
from classlens.inference.network import Network, load_network
from classlens.pipeline import ahead, behind
from classlens.progress import Progress


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
    run_images(recorder, pixels, shard, start=start, stop=stop, batch_size=batch_size, threads=network["threads"])
    return loaded.provenance()


def run_images(
    recorder: Recorder, pixels: str, shard: str, *, start: int, stop: int, batch_size: int, threads: int = 1
) -> None:
    """Run stored images through a recorder and write what it keeps; see `extract_shard`.

    Pixels are read while the device works, and what it kept is packed and written while it works on the next images.
    """
    rows, columns = stop - start, recorder.columns()
    with (
        h5py.File(pixels, rdcc_nbytes=0) as images,  # no pixel is read twice: a cache would only copy them once more
        Progress(rows, "extracting") as progress,
        RowWriter(shard, rows, columns, recorder.attributes(), chunk_rows_of(columns), threads) as writer,
    ):
        labels = np.asarray(images["class_index"][start:stop], np.int64)
        classes = check_classes(labels, recorder.num_classes)

        def keep(recorded: Recorded) -> None:
            arrays = recorded.arrays()
            writer.append(arrays)
            progress.advance(len(arrays[f"{OUTPUT}/correct"]))

        parts = list(batches(rows, batch_size))
        read = ahead(lambda part: images["pixels"][start + part.start : start + part.stop], parts)
        with behind(keep) as kept, closing(read):
            for part, batch in zip(parts, read, strict=True):

                def run(few: slice, part: slice = part, batch: Array = batch) -> None:
                    kept(recorder(batch[few], classes[part][few]))

                batch_size = with_oom_backoff(len(batch), batch_size, run)

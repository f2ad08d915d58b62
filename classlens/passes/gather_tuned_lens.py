"""Put together what a model's tuned lens is and what is seen through it, a file per block; runs no model."""

from __future__ import annotations

from collections.abc import Sequence

from classlens.h5 import h5py
from classlens.hdf5 import RowWriter, describe
from classlens.joining import append_rows, common_layout
from classlens.progress import Progress
from classlens.terms import block_name


def gather_tuned_lens(shards: Sequence[str], maps: str, lens: Sequence[str]) -> None:
    """Write the files of a model's tuned lens, whose bytes do not depend on how images were split into shards.

    Args:
        shards: files of `classlens.passes.tuned_lens`, in the order of their images.
        maps: file of `classlens.passes.tuned_lens_fit`.
        lens: the files to write, one per block in order: weight, bias, rank, top5, kl and kl_logit_lens.
    """
    with Progress(len(lens), "gathering", "file") as progress, h5py.File(maps, "r") as fitted:
        for block, path in enumerate(lens):
            group = fitted[block_name(block)]
            columns, attributes, rows = common_layout(shards, block_name(block))
            with RowWriter(path, rows, columns, {**attributes, **group.attrs}) as writer:
                append_rows(writer, shards, group=block_name(block))
            with h5py.File(path, "r+") as file:
                for name in ("bias", "weight"):
                    describe(file.create_dataset(name, data=group[name][:]), group[name].attrs["description"])
            progress.advance()

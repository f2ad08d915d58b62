"""h5py with the filters that unpack this project's files: every module takes h5py from here.

HDF5 itself has no Blosc; importing hdf5plugin gives it to all files that this process opens.
"""

from __future__ import annotations

import h5py

from classlens.errors import InputError

try:
    import hdf5plugin  # noqa: F401  # which registers its filters
except ImportError:
    raise InputError("results are packed with Blosc, and hdf5plugin is missing; run pip install hdf5plugin") from None

__all__ = ["h5py"]

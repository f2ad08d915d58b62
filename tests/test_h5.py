"""Whoever reads packed files can: modules take h5py from `classlens.h5`."""

import re
import sys

import numpy as np
from conftest import CHECKOUT, printed_by

from classlens.data.pixels import pixel_writer
from classlens.data.stimulus import Listed
from classlens.extraction.files import output_columns


def test_modules_that_read_files_have_the_filter():
    modules = (CHECKOUT / "classlens").rglob("*.py")
    bare = [path.name for path in modules if re.search("^ *import h5py", path.read_text(), re.M)]
    assert bare == ["h5.py"]


def test_pixels_and_outputs_are_not_packed(tmp_path):
    image = Listed("evaluation", 3, "", "", "")
    with pixel_writer(tmp_path / "pixels.h5", [image], 4) as writer:
        writer.append({"pixels": np.zeros((1, 4, 4, 3)), "class_index": np.array([3])})
    columns = {**writer.columns, **output_columns(10)}
    assert not any(column.compress for column in columns.values())


def test_a_missing_library_is_named():
    program = "import sys; sys.modules['hdf5plugin'] = None\nimport classlens.results"
    printed = printed_by([sys.executable, "-c", program], ok=False, cwd=CHECKOUT)
    assert printed.endswith("hdf5plugin is missing; run pip install hdf5plugin\n")

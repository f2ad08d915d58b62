"""The model that a command names, as a lens."""

from __future__ import annotations

from pathlib import Path

from classlens.errors import InputError
from classlens.lens.lens import Lens
from classlens.models.checkpoint import read_tables
from classlens.models.weights import assemble


def open_lens(source: str, architecture: str | None = None) -> Lens:
    """Return a lens on a model.

    Args:
        source: as `Lens.load` takes it; with an architecture a checkpoint under timm's names.
        architecture: timm's name of the checkpoint's model. How many classes it has is seen from its head.

    Raises:
        InputError: there is no such model, its weights cannot be had, or it cannot be looked into.
    """
    if architecture is None:
        return Lens.load(source)
    file = Path(source).expanduser()
    if not file.is_file():
        raise InputError(f"{source}: there is no such file; --architecture goes with a checkpoint under timm's names")
    rows = {
        len(tensor)
        for table in read_tables(file)
        for name, tensor in table.tensors.items()
        if name == "head.weight" or name.endswith(".head.weight")
    }
    options = {"num_classes": rows.pop()} if len(rows) == 1 else {}
    return Lens(assemble(file, architecture=architecture, options=options, origin="file"))

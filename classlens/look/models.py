"""The model that a command names, as a lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens.catalog.configs import read_config
from classlens.errors import InputError
from classlens.lens.lens import Lens
from classlens.models.checkpoint import read_tables
from classlens.models.weights import assemble
from classlens.shipped import SHIPPED, shipped_weights, workflow_folder


def open_lens(source: str, architecture: str | None = None, texts: Sequence[str] | None = None) -> Lens:
    """Return a lens on a model.

    Args:
        source: as `Lens.load` takes it; with an architecture a checkpoint under timm's names; or `shipped:NAME`, a
            model of the default config.
        architecture: timm's name of the checkpoint's model. How many classes it has is seen from its head.
        texts: classes of CLIP or SigLIP in place of the model's own, see `Lens.with_texts`.

    Raises:
        InputError: there is no such model, its weights cannot be had, or it cannot be looked into.
    """
    if texts and (architecture or source.startswith(SHIPPED)):
        raise InputError(
            f"{source} has no tower for texts; --texts goes with CLIP or SigLIP, e.g. open_clip:ViT-B-16/TAG"
        )
    if source.startswith(SHIPPED):
        return _shipped(source)
    if architecture is None:
        return Lens.load(source, texts=texts)
    file = Path(source).expanduser()
    if not file.is_file():
        raise InputError(f"{source}: there is no such file; --architecture goes with a checkpoint under timm's names")
    return Lens(_assembled(file, architecture, {}))


def _shipped(source: str) -> Lens:
    weights = shipped_weights(source)
    entry = read_config(workflow_folder() / "config/config.yaml").models[source.removeprefix(SHIPPED)]
    model, transform = _assembled(weights, entry["architecture"], entry["options"]), entry["transform"]
    pictures = {"crop_mode": transform["resize"], "crop_pct": transform["crop"]}
    pictures |= {name: transform[name] for name in ("interpolation", "mean", "std")}
    model.pretrained_cfg = {**model.pretrained_cfg, **pictures}
    return Lens(model)


def _assembled(file: Path, architecture: str, options: Mapping[str, Any]) -> Any:
    """Return a model with a checkpoint's weights, and as many classes as its head has rows."""
    rows = {
        len(tensor)
        for table in read_tables(file)
        for name, tensor in table.tensors.items()
        if name == "head.weight" or name.endswith(".head.weight")
    }
    classes = {"num_classes": rows.pop()} if len(rows) == 1 else {}
    return assemble(file, architecture=architecture, options={**options, **classes}, origin="file")

"""Weights of a model, from a file, from timm or fresh; what comes out is a canonical file (models/canonical.py)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.canonical import save_weights, some
from classlens.models.head import read_head, require_plausible
from classlens.models.one_output import as_two_classes, with_two_rows

WRAPPERS = ("state_dict", "model")
PREFIXES = ("module.", "model.")

log = logging.getLogger(__name__)


def write_weights(
    source: Sequence[str],
    head: Sequence[str],
    weights: str,
    *,
    architecture: str,
    options: Mapping[str, Any],
    origin: str,
    seed: int | None = None,
) -> None:
    """Bring a model's weights into canonical form: see `assemble` and `save_weights`.

    Args:
        source: the user's file, for origin "file"; else nothing.
        head: the user's own head, or nothing.
        weights: the file to write.
        seed: of fresh weights.
    """
    checkpoint, own_head = (Path(files[0]) if files else None for files in (source, head))
    model = assemble(
        checkpoint, architecture=architecture, options=options, origin=origin, seed=seed or 0, head=own_head
    )
    save_weights(model, weights, described_as=str(checkpoint or f"{origin} weights"))


def assemble(
    source: Path | None,
    *,
    architecture: str,
    options: Mapping[str, Any],
    origin: str,
    seed: int = 0,
    head: Path | None = None,
) -> torch.nn.Module:
    """Build a model with its weights; one output becomes two classes, see `classlens.models.one_output`.

    Args:
        source: the user's file, for origin "file".
        architecture, options: what the weights belong to.
        origin: "file", "random" or "pretrained".
        seed: seeds fresh weights.
        head: the user's own head, see `classlens.models.head`; takes the place of the model's.

    Raises:
        InputError: a file cannot be read or does not fit.
    """
    torch.manual_seed(seed)
    model = build(architecture, options, pretrained=origin == "pretrained")
    if origin == "file":
        assert source is not None
        fill_from_file(model, source, with_head=head is None)
    if head is not None:
        _set_head(model, head)
    two_classes: torch.nn.Module = as_two_classes(model)
    return two_classes


def fill_from_file(model: torch.nn.Module, source: Path, *, with_head: bool = True) -> None:
    """Load a user's checkpoint (.safetensors, .pt, .pth or .npz) into a model.

    Tensors that the model does not have are left out and named in the log. A checkpoint with other names or another
    input size than the model's is adapted by timm's own rules for the model (position embeddings are resampled).

    Args:
        model: to be filled.
        source: the file.
        with_head: the head must be there, too.

    Raises:
        InputError: the file cannot be read, tensors are missing, or their shapes differ.
    """
    if source.suffix == ".npz":
        _load_npz(model, source)
        return
    given = _unwrap(_read(source), source)
    expected = {name: tensor for name, tensor in model.state_dict().items() if with_head or not _of_head(name)}
    if not _fits(given, expected):
        given = _adapted(given, model, source)
    given = with_two_rows(given, expected, source)
    missing = [name for name in expected if name not in given]
    if missing:
        raise InputError(
            f"{source} does not fit the model: {some(missing)} are missing; check architecture and options"
        )
    misfits = [
        f"{name} is {tuple(given[name].shape)} and should be {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if given[name].shape != tensor.shape
    ]
    if misfits:
        raise InputError(f"{source} does not fit the model: {some(misfits)}; check architecture and options")
    extra = [name for name in given if name not in expected]
    if extra:
        log.warning("%s: left out, the model has no such tensors: %s", source, ", ".join(extra))
    model.load_state_dict({name: given[name] for name in expected}, strict=with_head)


def _set_head(model: Any, path: Path) -> None:
    head = read_head(path)
    if head.weight.shape != tuple(model.head.weight.shape):
        raise InputError(f"{path}: weight is {head.weight.shape} and should be {tuple(model.head.weight.shape)}")
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight))
        if model.head.bias is not None:
            model.head.bias.copy_(torch.from_numpy(head.bias))


def _of_head(name: str) -> bool:
    return name in ("head.weight", "head.bias")


def _fits(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return all(name in given and given[name].shape == tensor.shape for name, tensor in expected.items())


def _adapted(given: dict[str, torch.Tensor], model: torch.nn.Module, source: Path) -> dict[str, torch.Tensor]:
    """Return a checkpoint under the model's names and for its input size, as far as timm knows how."""
    rules = getattr(inspect.getmodule(type(model)), "checkpoint_filter_fn", None)
    if rules is None:
        return given
    try:
        adapted: dict[str, torch.Tensor] = rules(dict(given), model)
    except Exception:  # rules for other checkpoints raise whatever comes up; what does not fit is told by name
        return given
    if _fits(adapted, {name: tensor for name, tensor in model.state_dict().items() if not _of_head(name)}):
        log.info("%s: adapted to the model by timm's rules", source)
        return adapted
    return given


def _read(source: Path) -> Any:
    try:
        if source.suffix == ".safetensors":
            return load_file(source)
        _require_unpacked(source)
        # weights_only keeps a pickle from running code.
        return torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file; correct the model's key `weights`") from error
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"{source} cannot be read as a checkpoint: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle raises
        holds_objects = "GLOBAL" in str(error)  # torch's message runs over seven lines and advises to trust the file
        reason = (
            "it holds objects, such as a whole model, and reading these may run code; save model.state_dict() instead"
            if holds_objects
            else "it is damaged or of another kind; take an intact one"
        )
        raise InputError(f"{source} is refused as a checkpoint: {reason}") from error


def _require_unpacked(source: Path) -> None:
    """Refuse an archive that unpacks to more than it is; torch does not compress."""
    if not is_zipfile(source):
        return
    with ZipFile(source) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > source.stat().st_size:
        raise ValueError(f"it unpacks to {size / 1e9:.3g} GB, and torch.save does not compress; take the original file")


def _unwrap(checkpoint: Any, source: Path) -> dict[str, torch.Tensor]:
    """Open a `state_dict` or `model` wrapper and take off prefixes that every name carries."""
    for key in WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping) or not all(isinstance(v, torch.Tensor) for v in checkpoint.values()):
        raise InputError(f"{source} holds no table of tensors; save model.state_dict()")
    state = dict(checkpoint)
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _load_npz(model: Any, source: Path) -> None:
    try:
        with np.load(source, allow_pickle=False) as file:
            require_plausible(file, source)
        model.load_pretrained(str(source))
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file; correct the model's key `weights`") from error
    except Exception as error:  # timm reads these files by name and raises whatever comes up
        raise InputError(f"{source} does not fit the model: {error}") from error

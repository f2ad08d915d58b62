"""Weights of a model, from a file, from timm or fresh; what comes out is a canonical file (models/canonical.py)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from classlens.errors import InputError
from classlens.models.archive import fill_from_archive
from classlens.models.build import build
from classlens.models.canonical import save_weights, some
from classlens.models.checkpoint import read_tables
from classlens.models.facts import CLS_MEAN
from classlens.models.foreign import SAVE, kind_of, of_names
from classlens.models.harmless import DROPPED_BY_TIMM, sorted_out
from classlens.models.head import NO_WIDE_HEAD, not_brought, read_head
from classlens.models.match import Taken, compare, expected_tensors, find, further_copies, of_head, passed_over
from classlens.models.parallel import canonical_form
from classlens.models.remedy import Recipe, remedy

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
    key: str | None = None,
) -> dict[str, Any] | None:
    """Bring a model's weights into canonical form: see `assemble` and `save_weights`.

    Args:
        source, head: the user's file, for origin "file", and own head; else nothing.
        weights: the file to write.
        seed: of fresh weights.

    Returns:
        provenance: what was taken of the file.
    """
    checkpoint, own_head = (Path(files[0]) if files else None for files in (source, head))
    model, taken = _assembled(
        checkpoint, architecture=architecture, options=options, origin=origin, seed=seed or 0, head=own_head, key=key
    )
    save_weights(model, weights, described_as=str(checkpoint or f"{origin} weights"))
    return {"taken": taken.note()} if taken else None


def assemble(source: Path | None, **given: Any) -> torch.nn.Module:
    """Build a model with its weights; one output becomes two classes, see `classlens.models.one_output`.

    Args:
        source: the user's file, for origin "file".
        given:
            architecture, options: what the weights belong to.
            origin: "file", "random", "pretrained", or timm's name of a model on a hub that brings its weights.
            seed: seeds fresh weights; 0 where it is missing.
            head: the user's own head, see `classlens.models.head`; takes the place of the model's.
            key: of the table or prefix to take, see `classlens.models.match.find`.

    Raises:
        InputError: a file cannot be read or does not fit.
    """
    return _assembled(source, **given)[0]


def _assembled(
    source: Path | None,
    *,
    architecture: str,
    options: Mapping[str, Any],
    origin: str,
    seed: int = 0,
    head: Path | None = None,
    key: str | None = None,
) -> tuple[torch.nn.Module, Taken | None]:
    torch.manual_seed(seed)
    hub, taken = ":" in origin, None
    pretrained = hub or origin == "pretrained"
    model: Any = build(origin if hub else architecture, options, pretrained=pretrained)
    if source is not None:
        taken = fill_from_file(model, source, with_head=head is None, key=key, recipe=(architecture, options))
    if head is not None:
        set_head(model, head)
    elif pretrained and model.global_pool == CLS_MEAN:
        raise InputError(f"architecture {architecture!r}: {NO_WIDE_HEAD}")
    elif pretrained and model.num_classes != (published := model.pretrained_cfg["num_classes"]):
        raise InputError(f"architecture {architecture!r}: {not_brought(model.num_classes, published)}")
    return canonical_form(model), taken


def look_at_file(
    source: Path, *, architecture: str, options: Mapping[str, Any], head: Path | None = None, key: str | None = None
) -> Taken | None:
    """Tell what would be taken of a checkpoint, by names and shapes alone where its format allows that.

    Raises:
        InputError: as `fill_from_file`, but for values.
    """
    archive = kind_of(source) == "npz"
    model = build(architecture, options, device="cpu" if archive else "meta")
    take = fill_from_file if archive else _take
    return take(model, source, with_head=head is None, key=key, recipe=(architecture, options))


def fill_from_file(
    model: torch.nn.Module,
    source: Path,
    *,
    with_head: bool = True,
    key: str | None = None,
    recipe: Recipe | None = None,
) -> Taken | None:
    """Load a user's checkpoint (.safetensors, what torch.save writes, or JAX's .npz) into a model.

    The tensors are found under whatever prefix they stand, see `classlens.models.match.find`. A checkpoint with other
    names or another input size than the model's is adapted by timm's own rules for the model (position embeddings are
    resampled). Tensors that the model does not have are refused, unless they are known to change nothing
    (`classlens.models.harmless`) or lie elsewhere in the file; these are named in the log.

    Args:
        model, source: what is filled, and the file.
        with_head: the head must be there, too.
        key: of the table or prefix to take.
        recipe: what the model was built from, so that a refusal can name options.

    Returns:
        what was taken; None of an .npz file, of which everything is.

    Raises:
        InputError: the file cannot be read, tensors are missing or too many, or their shapes differ.
    """
    if kind_of(source) == "npz":
        fill_from_archive(model, source, with_head=with_head)
        return None
    taken = _take(model, source, with_head=with_head, key=key, recipe=recipe)
    log.info("%s: %s", source, taken)
    try:
        model.load_state_dict(taken.chosen.tensors, strict=with_head)
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{source} cannot be read as a checkpoint: {error}") from error
    return taken


def _take(model: torch.nn.Module, source: Path, *, with_head: bool, key: str | None, recipe: Recipe | None) -> Taken:
    """Return what is taken of a checkpoint; only names, shapes and what has to be adapted are looked at."""
    tables = read_tables(source)
    chosen, others = find(tables, model, source, with_head=with_head, key=key)
    expected = expected_tensors(model, with_head=with_head)
    misfits = compare(chosen.tensors, expected)
    extra = {name: chosen.tensors[name] for name in misfits.extra}
    extra |= {name: chosen.given[name] for name in chosen.given if DROPPED_BY_TIMM.fullmatch(name)}
    copies = dict.fromkeys(further_copies(chosen.given, expected), "another copy of the model")
    extra = {name: extra[name] for name in extra if name not in copies and (with_head or not of_head(name))}
    left_out, misfits.extra = sorted_out(extra, model, with_head=with_head)
    left_out |= copies
    if misfits.count:
        there = [name for table in tables for name in table.tensors]
        foreign = of_names(source, there)
        if foreign and len(misfits.missing) > len(expected) / 2:
            raise InputError(foreign)
        if len(misfits.missing) == len(expected):
            raise InputError(f"{source} holds no tensors under timm's names, only {some(there)}; {SAVE}")
        advice = remedy(misfits, chosen.given, model, recipe, with_head=with_head)
        if foreign and not advice.startswith("set "):
            raise InputError(foreign)
        where = f" under `{chosen.key}`" if chosen.key else ""
        raise InputError(f"{source} does not fit the model{where}: {misfits.told('the architecture')}; {advice}")
    unlike = [
        f"{name} ({chosen.tensors[name].dtype})"
        for name, tensor in expected.items()
        if chosen.tensors[name].is_floating_point() != tensor.is_floating_point() or chosen.tensors[name].is_meta
    ]
    if unlike:
        raise InputError(
            f"{source}: {some(unlike)} hold no plain floating-point numbers, so the model was quantised or emptied; "
            f"take the checkpoint that it was made from"
        )
    chosen = replace(chosen, tensors={name: chosen.tensors[name] for name in expected})
    return Taken(chosen, left_out, passed_over(tables, chosen), [other.key for other in others])


def set_head(model: Any, path: Path) -> None:
    """Give a model the user's own head in the place of another one for as many classes.

    Raises:
        InputError: the head is of another width, or for another number of classes.
    """
    head = read_head(path)
    if head.weight.shape != tuple(model.head.weight.shape):
        raise InputError(f"{path}: weight is {head.weight.shape} and should be {tuple(model.head.weight.shape)}")
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight))
        if model.head.bias is not None:
            model.head.bias.copy_(torch.from_numpy(head.bias))

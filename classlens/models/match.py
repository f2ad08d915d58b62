"""Find a model's tensors in a checkpoint, under whatever prefix they stand, and bring them under the model's names."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.models import clean_state_dict

from classlens.errors import InputError
from classlens.models.canonical import some
from classlens.models.checkpoint import Table, Tensors
from classlens.models.one_output import with_two_rows

TIMM_ORDER = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Of `timm.models.load_state_dict`: the first that a checkpoint has is the one that timm takes."""
PATCHES = "patch_embed.proj.weight"
ONE_OUTPUT = "reading its one output as two classes"
MOST_CANDIDATES = 12
MOST_NAMED = 6
BILINEAR = ("flexi", "radio")
"""Parts of names of architectures whose position embeddings timm resamples so, without antialiasing."""
LAYER_SCALE = re.compile(r"(.*\bblocks\.\d+\.)(?:ls|gamma_|layer_scale_?)([12])(?:\.(?:gamma|weight|scale|lambda1))?")
"""Names of LayerScale: timm's, DeiT III's and BEiT's (gamma_1), transformers' (ls1.weight, layer_scale1.lambda1)."""


@dataclass(frozen=True)
class Candidate:
    """Tensors of a checkpoint that may be the model's.

    Attributes:
        table: where they lie.
        prefix: of their names, "" or with a dot at its end.
        given: under the names that are left without it.
        tensors: the same under the model's names, as far as that could be done.
        rules: by which they came there, "" where none was needed.
    """

    table: Table
    prefix: str
    given: Tensors
    tensors: Tensors
    rules: str

    @property
    def key(self) -> str:
        """What names it in `weights_key`."""
        return ".".join(part for part in (self.table.path, self.prefix.rstrip(".")) if part)


@dataclass
class Misfits:
    """In what tensors differ from a model's."""

    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many tensors do not fit."""
        return len(self.missing) + len(self.misshapen) + len(self.extra)

    def told(self, whose: str, missing: str = "are missing") -> str:
        """Say the same; `whose` names the model that does not have what is too many."""
        reasons = {
            f"{some(self.missing)} {missing}": self.missing,
            some(self.misshapen): self.misshapen,
            f"{whose} has no {some(self.extra)}": self.extra,
        }
        return "; ".join(reason for reason, names in reasons.items() if names)


@dataclass(frozen=True)
class Taken:
    """What is taken of a checkpoint.

    Attributes:
        chosen: the tensors.
        left_out: the reason by name of those that the model has no use for.
        passed_over: what lies elsewhere in the file, with counts.
        others: keys of other tables that fit as well.
    """

    chosen: Candidate
    left_out: Mapping[str, str]
    passed_over: Sequence[str]
    others: Sequence[str]

    def note(self) -> dict[str, Any]:
        """Return what provenance keeps."""
        return {
            "tensors": len(self.chosen.tensors),
            "weights_key": self.chosen.key,
            "rules": self.chosen.rules,
            "left_out": dict(self.left_out),
            "passed_over": list(self.passed_over),
            "others_that_fit": list(self.others),
        }

    def __str__(self) -> str:
        where = f" under `{self.chosen.key}`" if self.chosen.key else ""
        parts = [f"{len(self.chosen.tensors)} tensors{where} are taken"]
        if self.chosen.rules:
            parts.append(f"brought to the model's names and size by {self.chosen.rules}")
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(name)
        parts += [f"left out: {some(names, MOST_NAMED)} ({reason})" for reason, names in reasons.items()]
        if self.passed_over:
            parts.append(f"passed over: {some(self.passed_over, MOST_NAMED)}")
        if self.others:
            parts.append(f"`weights_key` would take {' or '.join(map(repr, self.others))} instead")
        return "; ".join(parts)


def expected_tensors(model: torch.nn.Module, *, with_head: bool) -> Tensors:
    """Return the tensors that a checkpoint must bring."""
    return {name: tensor for name, tensor in model.state_dict().items() if with_head or not of_head(name)}


def of_head(name: str) -> bool:
    """Tell whether a tensor is of the classification head."""
    return name in ("head.weight", "head.bias")


def compare(tensors: Tensors, expected: Tensors) -> Misfits:
    """Return in what tensors differ from those that are expected, by name and shape."""
    found = Misfits(extra=[name for name in tensors if name not in expected])
    for name, tensor in expected.items():
        if name not in tensors:
            found.missing.append(name)
        elif tensors[name].shape != tensor.shape:
            shape = tuple(tensors[name].shape)
            found.misshapen.append(f"{name} is {shape} and should be {tuple(tensor.shape)}")
    return found


def adapted(given: Tensors, model: torch.nn.Module, *, with_head: bool) -> tuple[Tensors, str]:
    """Return tensors under a model's names and for its input size, as far as that can be done, and by which rules."""
    expected = expected_tensors(model, with_head=with_head)
    known = with_two_rows(given, expected)
    tensors, rules = _renamed(known, model, expected)
    one_output = ONE_OUTPUT if any(known[name] is not given[name] for name in given) else ""
    return tensors, " and ".join(part for part in (rules, one_output) if part)


def _renamed(given: Tensors, model: torch.nn.Module, expected: Tensors) -> tuple[Tensors, str]:
    if _fits(given, expected):
        return given, ""
    renamed = {_layer_scale(name, expected): tensor for name, tensor in given.items()}
    if len(renamed) == len(given) and _fits(renamed, expected):
        return renamed, "the names of LayerScale"
    try:
        changed = _by_timms_rules(renamed, model)
    except Exception:  # rules for other checkpoints raise whatever comes up; what does not fit is told by name
        return renamed, ""
    if changed is None:
        return given, ""
    own = given.get(PATCHES)
    if own is not None and own.ndim == 4 and PATCHES in changed and changed[PATCHES].shape[2:] != own.shape[2:]:
        changed[PATCHES] = own  # another patch size is another model, though timm can resample to it
    return changed, "timm's rules"


def _by_timms_rules(given: Tensors, model: torch.nn.Module) -> Tensors | None:
    """Return what timm makes of a checkpoint for a model's architecture, None where it has no rules for it."""
    rules = getattr(inspect.getmodule(type(model)), "checkpoint_filter_fn", None)
    if rules is None:
        return None
    known, name = inspect.signature(rules).parameters, str(getattr(model, "pretrained_cfg", {}).get("architecture"))
    options: dict[str, Any] = {"adapt_layer_scale": True} if "adapt_layer_scale" in known else {}
    if "interpolation" in known and any(part in name for part in BILINEAR):
        options |= {"interpolation": "bilinear", "antialias": False}
    changed: Tensors = rules(dict(given), model, **options)
    return changed


def _layer_scale(name: str, expected: Tensors) -> str:
    """Return the model's own name of a LayerScale."""
    if name in expected or not (match := LAYER_SCALE.fullmatch(name)):
        return name
    block, branch = match.groups()
    return next((own for own in (f"{block}ls{branch}.gamma", f"{block}gamma_{branch}") if own in expected), name)


def _fits(given: Tensors, expected: Tensors) -> bool:
    return all(name in given and given[name].shape == tensor.shape for name, tensor in expected.items())


def candidates(tables: Sequence[Table], model: torch.nn.Module, *, with_head: bool) -> list[Candidate]:
    """Return where a model's tensors may lie, best first: under the prefixes of its names, and in whole tables."""
    own = set(model.state_dict())
    places: list[tuple[int, int, Table, str]] = []
    for order, table in enumerate(tables):
        counts = Counter({"": 0})
        for name in table.tensors:
            ends = (match.end() for match in re.finditer(r"\A|\.", name))
            counts.update(name[:end] for end in ends if name[end:] in own)
        places += [(-count, order, table, prefix) for prefix, count in counts.items() if count or not prefix]
    places.sort(key=lambda place: place[:2])
    found = []
    for _, _, table, prefix in places[:MOST_CANDIDATES]:
        given = {name[len(prefix) :]: part for name, part in table.tensors.items() if name.startswith(prefix)}
        found.append(Candidate(table, prefix, given, *adapted(given, model, with_head=with_head)))
    return found


def find(
    tables: Sequence[Table], model: torch.nn.Module, source: Path, *, with_head: bool, key: str | None
) -> tuple[Candidate, list[Candidate]]:
    """Return the tensors that are a model's, or nearest to it, and those that would fit as well.

    Several that fit: the one in the table that `timm.models.load_state_dict` takes (averaged weights, EMA, before
    others), else none is taken in silence.

    Args:
        tables: of the checkpoint `source`.
        model: as it is built; its tensors may be on the device "meta".
        with_head: the head must be there, too.
        key: the user's choice, a table or a prefix with dots between; None where there is none.

    Raises:
        InputError: nothing lies under the key, or several fit and none is timm's choice.
    """
    found = candidates(_under(tables, key), model, with_head=with_head)
    if key is not None:
        own = [one for one in found if one.key == key or (key and one.key.startswith(f"{key}."))]
        if not own:
            there = dict.fromkeys(f'"{one.key}"' for one in candidates(tables, model, with_head=with_head))
            advice = f"take one of {some(list(there), MOST_NAMED)}"
            raise InputError(f"{source} has no tensors under {key!r} (weights_key); {advice}")
        found = own
    expected = expected_tensors(model, with_head=with_head)
    fitting = [one for one in found if _fits(one.tensors, expected)]
    if not fitting and key is None:  # some names have a wrapper's prefix and others not: timm takes them as one table
        cleaned = [Table(table.path, clean) for table in tables if (clean := _cleaned(table.tensors))]
        fitting = [one for one in candidates(cleaned, model, with_head=with_head) if _fits(one.tensors, expected)]
    if not fitting:
        return found[0], []
    first = min(fitting, key=lambda one: bool(one.rules))
    fitting = [one for one in fitting if one is first or not _equal(one.tensors, first.tensors, expected)]
    if len(fitting) == 1:
        return first, []
    tops = {table.path.partition(".")[0] for table in tables}
    timms = next((top for top in TIMM_ORDER if top in tops), None)
    preferred = [one for one in fitting if one.table.path == timms]
    if len(preferred) != 1:
        keys = " and ".join(f'"{one.key}"' for one in preferred or fitting)
        raise InputError(
            f"{source} holds several tables of tensors that fit the model: {keys}; choose one by the model's key "
            f"`weights_key`"
        )
    return preferred[0], [one for one in fitting if one is not preferred[0]]


def _under(tables: Sequence[Table], key: str | None) -> Sequence[Table]:
    """Return the tables that a user's choice may lie in."""
    if not key:
        return tables
    inner = [table for table in tables if f"{table.path}.".startswith(f"{key}.")]
    return inner or [table for table in tables if not table.path or key.startswith(f"{table.path}.")]


def _cleaned(tensors: Tensors) -> Tensors | None:
    """Return tensors under names without wrappers' prefixes, None where that changes nothing or names fall together."""
    cleaned: Tensors = clean_state_dict(tensors)
    return cleaned if len(cleaned) == len(tensors) and cleaned.keys() != tensors.keys() else None


def _equal(one: Tensors, other: Tensors, names: Mapping[str, Any]) -> bool:
    return all(one[name] is other[name] or torch.equal(one[name], other[name]) for name in names)


def further_copies(given: Tensors, expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names that lie under a prefix of which the whole model's names lie, beside those without it."""
    first = next(iter(expected))
    prefixes = [name.removesuffix(first) for name in given if name.endswith(f".{first}")]
    whole = tuple(prefix for prefix in prefixes if all(prefix + name in given for name in expected))
    return [name for name in given if whole and name.startswith(whole)]


def passed_over(tables: Sequence[Table], chosen: Candidate) -> list[str]:
    """Return what else a checkpoint holds, by the first part of its names, with numbers of tensors."""
    counts: Counter[str] = Counter()
    for table in tables:
        same = table.path == chosen.table.path
        for name in table.tensors:
            if same and name.startswith(chosen.prefix):
                continue
            counts[(name if same else table.path or name).partition(".")[0]] += 1
    return [f"{name} ({count} tensor{'s' * (count > 1)})" for name, count in counts.items()]

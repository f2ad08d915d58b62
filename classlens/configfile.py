"""Which config a working directory runs with: a run leaves its own there, and later commands take it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens import yaml12
from classlens.catalog.configs import as_meant
from classlens.config.read import read_words
from classlens.digest import write_atomically
from classlens.errors import InputError
from classlens.shipped import CACHE

LAST = CACHE / "config.yaml"
PLACES = (Path("config/config.yaml"), Path("config.yaml"))
"""Where a config is looked for in a working directory that has seen no run."""
SOURCE = "# as in "
TEMPLATES = "__use_yte__"
"""Key of a config file by which Snakemake takes it for a template."""


def keep_config(config: Mapping[str, Any], files: Sequence[Path | str]) -> None:
    """Leave a run's config in the working directory.

    Args:
        config: as `as_written` returns it.
        files: that it was loaded from. Where one file says the same, it is named, so that its later edits count.
    """
    first = Path(files[0]).absolute() if len(files) == 1 else None
    source = f"{SOURCE}{first}\n" if first and _read(first) == config else ""
    text = source + yaml12.dump(config)
    if not LAST.is_file() or LAST.read_text() != text:
        write_atomically(LAST, text)


def find_config(working: Path) -> Path:
    """Return the config of the last run in a working directory, else one that lies there.

    Raises:
        InputError: there is none.
    """
    last = working / LAST
    if last.is_file():
        source = Path(last.read_text().partition("\n")[0].removeprefix(SOURCE))
        return source if source.is_absolute() and source.is_file() else last
    found = next((working / place for place in PLACES if (working / place).is_file()), None)
    if found is None:
        raise InputError(
            f"{working.absolute()} has seen no run and holds no {' or '.join(map(str, PLACES))}; name the config with "
            f"--configfile, or the run's folder with --directory"
        )
    return found.absolute()


Read = Callable[[Any], Mapping[str, Any]]
Merge = Callable[[dict[str, Any], Mapping[str, Any]], None]


def as_written(config: Mapping[str, Any], workflow: Any, read: Read, merge: Merge) -> dict[str, Any]:
    """Return a workflow's config as its files and its command line say it, in the types that the schema wants.

    Snakemake reads YAML of version 1.1, where `on` is true and 1e-3 is text, and makes text of nested values of
    `--config`. So its files are read again, and put together as Snakemake does.

    Args:
        config: of the workflow; of a module, the part of the whole that it was given. Where a workflow's code made
            another one, words in it are taken as written without quotes.
        workflow: Snakemake's.
        read: a config file, as Snakemake does.
        merge: updates a config by another one in place, as Snakemake does.

    Raises:
        InputError: a file gives a key twice, or is no YAML of version 1.2.
    """
    seen = _put_together(workflow, read, merge, workflow.config_settings.config)
    try:
        words = _put_together(workflow, read_words, merge, yaml12.plain(workflow.config_settings.config))
    except InputError:
        if seen == config:
            raise
        words = {}  # another part of a larger config is at fault, if any, and Snakemake took it
    is_template = words.pop(TEMPLATES, None) not in (None, "false")
    found = None if is_template else _same_part(config, seen, words)
    return as_meant(found or yaml12.plain(config))


def _put_together(workflow: Any, read: Read, merge: Merge, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config files and `--config` say together, in Snakemake's order."""
    named = workflow.config_settings.configfiles
    typed: dict[str, Any] = {}
    for part in (*map(read, named), given):
        merge(typed, part)
    whole = copy.deepcopy(typed)
    for file in workflow.configfiles[len(named) :]:
        merge(whole, read(file))
        if typed:
            whole = {} if workflow.config_settings.replace_workflow_config else whole
            merge(whole, typed)
    return whole


def _same_part(config: Mapping[str, Any], seen: Mapping[Any, Any], words: Any) -> Any:
    """Return the part of `words` that stands where `seen`, the same by another reader, is the config; else None."""
    if seen == config:
        return words
    parts = [(words.get(str(key)), part) for key, part in seen.items() if isinstance(part, Mapping)]
    found = (_same_part(config, part, words) for words, part in parts if isinstance(words, Mapping))
    return next((one for one in found if one is not None), None)


def _read(path: Path) -> Any:
    try:
        return as_meant(read_words(path))
    except InputError:
        return None

"""Which config a working directory runs with: a run leaves its own there, and later commands take it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from classlens.cache import CACHE
from classlens.digest import write_atomically
from classlens.errors import InputError

LAST = CACHE / "config.yaml"
PLACES = (Path("config/config.yaml"), Path("config.yaml"))
"""Where a config is looked for in a working directory that has seen no run."""
SOURCE = "# as in "


def keep_config(config: Mapping[str, Any], files: Sequence[Path | str]) -> None:
    """Leave a run's config in the working directory.

    Args:
        config: as it was loaded.
        files: that it was loaded from. Where one file says the same, it is named, so that its later edits count.
    """
    first = Path(files[0]).absolute() if len(files) == 1 else None
    source = f"{SOURCE}{first}\n" if first and _read(first) == config else ""
    # Snakemake's tables are of a type of their own.
    text = source + yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False)
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


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError):
        return None

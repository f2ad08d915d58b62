"""The `snakemake` of this environment: takes targets after `--resources gpu=2` and `--configfile my.yaml`, too.

Snakemake's own parser takes every word after such an option for one more value, and stops at `--resources gpu=2 all`.
Here words that can be no value are targets; all else is passed on as it is. A home folder that cannot be written, where
Snakemake keeps a cache, is told of with the way out. `make env` puts this file into the environment; `python -m
snakemake` is the original.
"""

import sys
import tempfile
from pathlib import Path

PAIRS = frozenset(
    {
        *("--resources", "--res", "--default-resources", "--default-res"),
        *("--set-resources", "--set-threads", "--set-scatter", "--set-resource-scopes"),
        *("--config", "-C", "--groups", "--group-components"),
    }
)
"""Options whose values are NAME=VALUE pairs."""
CONFIG_FILES = frozenset({"--configfile", "--configfiles"})
"""Options whose values are config files."""


def rearranged(arguments: list[str]) -> list[str]:
    """Return the arguments with the targets where Snakemake's parser finds them.

    Args:
        arguments: words of the command line after `snakemake`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    targets: list[str] = []
    rest: list[str] = []
    option, among_targets = "", False
    for word in arguments[:end]:
        if word.startswith("-"):
            option, among_targets = word, False
        elif not _can_be_value(word, option):
            among_targets = True
        (targets if among_targets else rest).append(word)
    # Words on both sides of other options would be taken for targets on one side alone.
    return [*rest, *arguments[end:], *targets] if end < len(arguments) else [*targets, *rest]


def _can_be_value(word: str, option: str) -> bool:
    if option in PAIRS:
        return "=" in word
    return option not in CONFIG_FILES or word.endswith((".yaml", ".yml", ".json"))


def unwritable_cache() -> str:
    """Return what to do where Snakemake cannot write its cache, "" where it can."""
    from snakemake.common import get_appdirs

    folder = Path(get_appdirs().user_cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return (
            f"error: Snakemake keeps a cache in {folder}, which cannot be written ({error.strerror}); name a folder "
            f"that can be, on this machine and on the nodes that run jobs: export XDG_CACHE_HOME=/path/to/cache "
            f"(docs/troubleshooting.md)"
        )
    return ""


if __name__ == "__main__":
    from snakemake.cli import main

    sys.argv[1:] = rearranged(sys.argv[1:])
    # With this option Snakemake may keep the cache elsewhere.
    if not any(word.startswith("--shared-fs-usage") for word in sys.argv) and (fault := unwritable_cache()):
        sys.exit(fault)
    sys.exit(main())

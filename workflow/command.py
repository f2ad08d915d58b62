"""The `snakemake` of this environment: takes targets behind `--resources gpu=2` and `--configfile my.yaml`, too.

Snakemake's own parser takes every word behind such an option for one more value, and stops at `--resources gpu=2 all`.
Here words that can be no value are targets; all else is passed on as it is. `make env` puts this file into the
environment; `python -m snakemake` is the original.
"""

import sys

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
        arguments: words of the command line behind `snakemake`.
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


if __name__ == "__main__":
    from snakemake.cli import main

    sys.argv[1:] = rearranged(sys.argv[1:])
    sys.exit(main())

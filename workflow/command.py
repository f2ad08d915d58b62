"""The `snakemake` of this environment: takes targets behind `--resources gpu=2`, too.

Snakemake's own parser takes every word behind an option of NAME=VALUE pairs for one more pair, and stops at
`--resources gpu=2 all`. Here such words are targets; all else is passed on as it is. `make env` puts this file into the
environment; `python -m snakemake` is the original.
"""

import sys

ASSIGNING = frozenset(
    {
        *("--resources", "--res", "--default-resources", "--default-res"),
        *("--set-resources", "--set-threads", "--set-scatter", "--set-resource-scopes"),
        *("--config", "-C", "--groups", "--group-components"),
    }
)
"""Options whose values are NAME=VALUE pairs."""


def rearranged(arguments: list[str]) -> list[str]:
    """Return the arguments with the targets where Snakemake's parser finds them.

    Args:
        arguments: words of the command line behind `snakemake`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    targets: list[str] = []
    rest: list[str] = []
    where = "elsewhere"
    for word in arguments[:end]:
        if word.startswith("-"):
            where = "pairs" if word in ASSIGNING else "elsewhere"
        elif where == "pairs" and "=" not in word:
            where = "targets"
        (targets if where == "targets" else rest).append(word)
    # Words on both sides of other options would be taken for targets on one side alone.
    return [*rest, *arguments[end:], *targets] if end < len(arguments) else [*targets, *rest]


if __name__ == "__main__":
    from snakemake.cli import main

    sys.argv[1:] = rearranged(sys.argv[1:])
    sys.exit(main())

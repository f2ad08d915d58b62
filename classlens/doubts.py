"""What a run could do and its user hardly means: doubts, each in one line that names the way out.

`classlens check` lists them and ends with status 3; a run prints them in its first second and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from classlens.config import Config


def doubts(config: Config) -> list[str]:
    """Return what is doubtful about a config's data sets and models, from names and counts alone.

    Args:
        config: with the facts about architectures.

    Raises:
        InputError: a data set cannot be listed.
    """
    return [doubt for name in config.datasets for doubt in config.source(name).doubts(config.datasets[name])]

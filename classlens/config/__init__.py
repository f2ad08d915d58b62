"""The config: contract, defaults, checks."""

from classlens.config.config import Config, twin_name

__all__ = ["Config", "twin_name"]

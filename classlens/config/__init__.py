"""The config: contract, defaults, checks."""

from classlens.config.config import Config, twin_name
from classlens.config.load import load_config, read_config, schema

__all__ = ["Config", "load_config", "read_config", "schema", "twin_name"]

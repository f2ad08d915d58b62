"""What a file of envs/ pins."""

import yaml

PYPI = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
"""Names of conda-forge that PyPI has otherwise."""


def pinned(path):
    """Return versions by the name that PyPI has, in small letters, without Python's own."""
    pins = dict(pin.split(" =") for pin in yaml.safe_load(path.read_text())["dependencies"])
    assert pins.pop("python") == "3.11"
    return {PYPI.get(name, name): version for name, version in pins.items()}

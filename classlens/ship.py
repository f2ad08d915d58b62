"""Write the facts about every architecture that the project's own configs name (models/architectures.json).

    python -m classlens.ship

By these the workflow is planned without timm. Run it again when a config names another architecture, or with another
version of timm; a test says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from classlens.catalog.configs import read_config
from classlens.config.architecture import Request, request_of
from classlens.digest import digest_json
from classlens.models.describe import describe
from classlens.shipped import ARCHITECTURES, workflow_folder

CLASSES = {"imagenet_s": 1000, "cifar100": 100}
"""Of published data sets, which need not lie here."""


def requests() -> Iterator[Request]:
    """Yield the architectures of all configs with their options, each once."""
    seen = set()
    for file in sorted((workflow_folder() / "config").glob("*.yaml")):
        config = read_config(file)
        config.known_classes(
            {name: CLASSES[dataset["kind"]] for name, dataset in config.datasets.items() if dataset["kind"] in CLASSES}
        )
        for name in config.models:
            request = request_of(config, name)
            if (digest := digest_json(request)) not in seen:
                seen.add(digest)
                yield request


def shipped() -> dict[str, Any]:
    """Return what the file holds: timm's version, and the facts by digest of the request."""
    return {"timm": version("timm"), "facts": {digest_json(request): describe(*request) for request in requests()}}


if __name__ == "__main__":
    ARCHITECTURES.write_text(json.dumps(shipped(), indent=1) + "\n")

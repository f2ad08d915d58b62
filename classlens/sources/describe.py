"""Facts about a model of timm or of another library: the counts that the workflow must know before it loads a model.

Run as a program (`python -m classlens.sources.describe PARENT`) it reads a JSON list of [architecture, options] or
[architecture, options, size] from standard input and writes a JSON list of facts or of {"error": message}. It ends with
the process PARENT.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from threading import Thread
from typing import Any

from classlens.data.geometry import Size
from classlens.errors import InputError
from classlens.models.describe import describe
from classlens.sources.find import find
from classlens.sources.place import is_source, named


def described(architecture: str, options: Mapping[str, Any], size: Size | None = None) -> dict[str, Any]:
    """Return the facts about an architecture, or about a model that a SOURCE names, which its files say.

    They are those of `classlens.models.describe.describe`, and of a model of another library also `source`, library and
    kind.

    Raises:
        InputError: as `describe` and `find`.
    """
    if not is_source(architecture):
        return describe(architecture, options, size)
    found = find(named(architecture), options.get("img_size"))
    if isinstance(found, str):
        return {"built_as": [found, dict(options)], **describe(found, options, size)}
    built = {**found.options, **{key: options[key] for key in ("num_classes", "one_output") if key in options}}
    facts = describe(found.architecture, built, size)
    return {
        "built_as": [found.architecture, built],
        **facts,
        "published_classes": found.options.get("num_classes", facts["num_classes"]),
        "class_names": None if found.class_names is None else list(found.class_names),
        "transform": {**found.transform, "size": facts["image_size"]},
        "source": {"library": found.library, "kind": found.kind},
    }


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """Answer the requests on standard input."""
    Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    answers = []
    for request in json.load(sys.stdin):
        try:
            answers.append(described(*request))
        except InputError as error:
            answers.append({"error": str(error)})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()

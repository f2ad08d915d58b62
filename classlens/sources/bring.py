"""Weights of a source in canonical form, with the certificate that they compute the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from PIL import Image

from classlens.data.source import Place
from classlens.data.source import Source as Images
from classlens.data.stimulus import read_stimuli
from classlens.models.build import create
from classlens.models.canonical import save_weights
from classlens.models.facts import SCORE
from classlens.models.head import head_shape
from classlens.models.parallel import canonical_form
from classlens.models.weights import set_head
from classlens.sources.certificate import certify
from classlens.sources.find import find
from classlens.sources.place import spread
from classlens.sources.source import Source, timm_model
from classlens.sources.texts import tower_of, with_texts

TIMMS = {"certified": False, "library": "timm", "text": "timm's own model"}


def write_brought(
    files: Sequence[str],
    head: Sequence[str],
    stimuli: str,
    weights: str,
    certificate: str,
    *,
    brought: str,
    published: str | None,
    transform: Mapping[str, Any],
    one_output: str,
    source: type[Images],
    texts: Mapping[str, Any] | None = None,
    tower: str = "",
    **place: Unpack[Place],
) -> dict[str, Any]:
    """Write a source's weights and certificate.

    Args:
        files: of the source; nothing where a library or a hub has it.
        head: the user's own head, or nothing.
        stimuli: stimuli.csv of the data set, some of whose evaluation images are compared.
        weights, certificate: the files to write.
        brought: SOURCE.
        published: the same where a library or a hub has it, so that it is part of the key.
        transform: how pictures become the model's input.
        one_output: what a model with one output says, `binary` or `score`.
        source: kind of data set.
        texts: texts that are the classes, and their templates, see `classlens.sources.texts.with_texts`; None: none.
        tower: SOURCE of the text tower that embeds them.
        place: of the data set, see `Place`.

    Returns:
        provenance: the certificate, and which tensors had no part.

    Raises:
        InputError: as `certified`.
    """
    images = source(**place)
    digests = {one.file: one.sha256 for one in read_stimuli(stimuli, "evaluation")}
    shown = [images.image(file, digests[file]) for file in spread(list(digests))]
    found, model, told = certified(brought, shown, transform, texts, tower)
    if head:
        model.reset_classifier(head_shape(head[0])[0])
        set_head(model, Path(head[0]))
    model.puts_out_score = one_output == SCORE and model.num_classes == 1
    save_weights(canonical_form(model), weights, described_as=brought)
    Path(certificate).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    return {"certificate": told, **({"source": found.note()} if isinstance(found, Source) else {})}


def certified(
    name: str,
    pictures: Sequence[Image.Image],
    transform: Mapping[str, Any],
    texts: Mapping[str, Any] | None = None,
    tower: str = "",
) -> tuple[Source | str, Any, dict[str, Any]]:
    """Return what a SOURCE is, the timm model that is made of it, and its certificate.

    Args:
        name: SOURCE.
        pictures: that both models are shown.
        transform: how they become the model's input.
        texts, tower: see `write_brought`.

    Raises:
        InputError: as `find`, `timm_model`, `tower_of`, `with_texts` and `certify`.
    """
    found = find(name, transform["size"])
    if isinstance(found, Source):
        model = timm_model(found)
    else:
        model = create(found, {"img_size": transform["size"]}, pretrained=True)
    spoken = with_texts(model, tower_of(tower), texts["texts"], texts["templates"]) if texts else None
    told = certify(name, found, model, pictures, transform, spoken) if isinstance(found, Source) else TIMMS
    return found, model if spoken is None else spoken.model, told

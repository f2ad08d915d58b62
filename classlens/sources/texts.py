"""Texts as classes of CLIP and SigLIP: a head of the embeddings of a text tower (docs/method.md, texts as classes)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from classlens.errors import InputError
from classlens.models.one_output import linear_head
from classlens.models.pooling import head_width
from classlens.sources.find import find, folders_of
from classlens.sources.openclip import asked_of
from classlens.sources.source import Source

AT_ONCE = 256
"""Prompts in one forward pass of a text tower."""
OPENAI = "openai"
WITHOUT = "whose texts cannot be embedded: take a whole CLIP or SigLIP of transformers or open_clip"

Templates = str | Sequence[str] | None
"""`openai` (the 80 of CLIP's ImageNet), sentences with {} where the text goes, or None for texts as they are."""


@dataclass(frozen=True)
class TextTower:
    """The text tower of a model, and how it makes logits of cosines.

    Attributes:
        embed: returns embeddings (n, E) of n prompts.
        scale, bias: the model's logit of an image and a text is scale * cosine + bias.
    """

    embed: Callable[[list[str]], torch.Tensor]
    scale: float
    bias: float

    @torch.no_grad()
    def directions(self, texts: Sequence[str], templates: Templates = None) -> torch.Tensor:
        """Return a direction of length 1 for each text (M, E): the mean over templates of embeddings of length 1.

        Raises:
            InputError: there are no texts, or a template has no place for one.
        """
        if isinstance(texts, str) or not texts:
            raise InputError("texts are a list of words or sentences; give at least one")
        forms = forms_of(templates)
        prompts = [form.format(text) for text in texts for form in forms]
        parts = [prompts[start : start + AT_ONCE] for start in range(0, len(prompts), AT_ONCE)]
        found = torch.cat([normalize(self.embed(part).float(), dim=-1) for part in parts])
        return normalize(found.reshape(len(texts), len(forms), -1).mean(1), dim=-1)

    def logits(self, embeddings: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Return the model's logits (n, M) of embeddings of images (n, E) and directions of texts (M, E)."""
        return self.scale * normalize(embeddings, dim=-1) @ directions.T + self.bias

    def frozen(self, logits: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Return logits (n, M) of texts as a head, divided by the length of embeddings of images (n, E)."""
        lengths: torch.Tensor = embeddings.norm(dim=-1, keepdim=True)
        return (logits - self.bias) / lengths + self.bias


@dataclass(frozen=True)
class ZeroShot:
    """A model with texts as classes, and what its head was made of.

    Attributes:
        model: an image tower of timm with a head of texts.
        tower: that the texts were embedded by.
        directions: of the texts (C, E), of length 1.
    """

    model: Any
    tower: TextTower
    directions: torch.Tensor


def forms_of(templates: Templates) -> list[str]:
    """Return sentences with {} where a text goes.

    Raises:
        InputError: there is no such set of templates, or one has no {}.
    """
    if templates is None:
        return ["{}"]
    if templates == OPENAI:
        try:
            from open_clip import OPENAI_IMAGENET_TEMPLATES
        except ModuleNotFoundError:
            raise InputError("templates: open_clip has those of openai; run pip install 'classlens[sources]'") from None
        return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    if isinstance(templates, str) or not templates or any(form.count("{}") != 1 for form in templates):
        raise InputError("templates: give openai, or a list of sentences with {} where the text goes, once in each")
    return list(templates)


def tower_of(name: str | Path) -> TextTower:
    """Return the text tower of a SOURCE, see `classlens.sources.find.find`.

    Raises:
        InputError: it has none, or its library is not installed.
    """
    name = str(name)
    found = find(name)
    making = {"open_clip": _of_open_clip, "transformers": _of_transformers}
    if not isinstance(found, Source) or found.library not in making:
        raise InputError(f"{name} is a model of images alone, {WITHOUT}")
    try:
        return making[found.library](name)
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: {error.name} is not installed; run pip install 'classlens[sources]'") from None


def _of_open_clip(name: str) -> TextTower:
    import open_clip

    known, asked = asked_of(name)
    model: Any = open_clip.create_model(known, **asked).eval()
    tokenizer: Any = open_clip.get_tokenizer(known)
    return _tower(model, lambda prompts: model.encode_text(tokenizer(prompts)))


def _of_transformers(name: str) -> TextTower:
    import transformers

    place = folders_of(name)[1]
    models: Any = transformers.AutoModel
    model: Any = models.from_pretrained(place, dtype=torch.float32, local_files_only=True).eval()
    if not hasattr(model, "get_text_features"):
        raise InputError(f"{name} is a {type(model).__name__}, {WITHOUT}")
    tokenizers: Any = transformers.AutoTokenizer
    try:
        tokenizer = tokenizers.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        told = str(error).partition("\n")[0]
        raise InputError(f"{name} has no tokenizer ({told}); save it beside the model with save_pretrained") from error
    # SigLIP was trained with texts of full length, and reads the last token.
    padding = True if getattr(model, "logit_bias", None) is None else "max_length"
    most = model.config.text_config.max_position_embeddings
    asked = {"padding": padding, "truncation": True, "max_length": most}

    def embed(prompts: list[str]) -> torch.Tensor:
        found = model.get_text_features(**tokenizer(prompts, return_tensors="pt", **asked))
        embedded: torch.Tensor = found if isinstance(found, torch.Tensor) else found.pooler_output
        return embedded

    return _tower(model, embed)


def _tower(model: Any, embed: Callable[[list[str]], torch.Tensor]) -> TextTower:
    bias = getattr(model, "logit_bias", None)
    return TextTower(embed, float(model.logit_scale.detach().exp()), 0.0 if bias is None else float(bias.detach()))


def pulled(model: Any, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return directions (M, E) of image embeddings at what the model's head reads (M, R), and what its bias adds (M).

    Args:
        model: an image tower of timm whose head is the projection to embeddings, or which has none.
        directions: of length 1.

    Raises:
        InputError: its embeddings have another length.
    """
    head = model.head
    width = head.out_features if isinstance(head, nn.Linear) else head_width(model)
    if directions.shape[1] != width:
        raise InputError(
            f"embeddings of texts have {directions.shape[1]} numbers, those of images {width}; take the text tower "
            f"that belongs to the images' one, and a model without a head of other classes"
        )
    if not isinstance(head, nn.Linear):
        return directions, directions.new_zeros(len(directions))
    directions = directions.to(head.weight)
    bias = directions.new_zeros(len(directions)) if head.bias is None else directions @ head.bias
    return (directions @ head.weight).detach(), bias.detach()


def with_texts(model: Any, tower: TextTower, texts: Sequence[str], templates: Templates = None) -> ZeroShot:
    """Return a model with texts as classes; all other parameters are shared with the given one, which stays as it is.

    Args:
        model: see `pulled`.
        tower: that belongs to it.
        texts: C of them, which name the classes.
        templates: see `Templates`.

    Raises:
        InputError: there are fewer than two texts; otherwise as `pulled` and `TextTower.directions`.
    """
    if isinstance(texts, str) or len(set(texts)) < max(2, len(texts)):
        raise InputError("texts as classes are two or more that differ; give a list")
    directions = tower.directions(texts, templates)
    rows, bias = pulled(model, directions)
    kept = {id(one): one for one in (*model.parameters(), *model.buffers())}
    made: Any = copy.deepcopy(model, kept)
    made.head, made.num_classes = linear_head(tower.scale * rows, tower.scale * bias + tower.bias), len(texts)
    labels = {"label_names": list(texts), "label_descriptions": None, "num_classes": len(texts)}
    made.pretrained_cfg = {**(made.pretrained_cfg or {}), **labels}
    return ZeroShot(made.eval(), tower, directions)

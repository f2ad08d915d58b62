"""A lens on one model: it shows how the model sees images, intact or under interventions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from classlens.arrays import Array
from classlens.catalog.kinds import require_attention_kind
from classlens.data.geometry import Size
from classlens.errors import InputError
from classlens.explanations.explain import model_name
from classlens.inference.activations import capture_activations
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.batches import collect
from classlens.inference.interventions import ablate_heads, patch_tokens
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.probe import (
    AttentionBehaviour,
    Behaviour,
    attention_behaviour,
    behaviour,
    close,
    image_parameter,
    readout,
)
from classlens.lens.arguments import Values, as_values, require_place, require_places, require_site, values_of
from classlens.lens.classes import Class, Classes, Names, in_order
from classlens.lens.view import View
from classlens.models.build import has_head, require_supported
from classlens.models.facts import SCORE
from classlens.models.opening import one_output_warning, open_model
from classlens.models.pictures import Picture, as_inputs
from classlens.passes.attention_perturbation import restrict
from classlens.sources.find import load
from classlens.sources.live import brought
from classlens.sources.texts import Templates, pulled, tower_of, with_texts
from classlens.terms import SITES
from classlens.tuned_lens.maps import read_maps

KEPT_BYTES = 2**33
"""Memory that the tokens of a view may take."""

Intervention = Callable[[slice, int], AbstractContextManager[None]]
"""Called as intervention(part, N) for a part of the N images; returns the context of their forward pass."""


class Lens:
    """Looks into a vision transformer through class embedding space.

        lens = Lens(model)
        view = lens("cat.jpg")
        view.rank(class_index=281)  # (B, N, T): blocks, images, tokens

    Interventions are contexts of the `with` statement, and nest. They are made while a lens looks at images, so that
    the model itself is never changed.

    Args:
        model: a vision transformer of timm that classlens supports, on any device; or one of transformers, torchvision
            or open_clip, which is brought to timm (docs/models.md). Without a head it has no classes: tokens, output,
            heads and interventions are there, methods that need classes say how to get some. Wrappers (DataParallel,
            torch.compile, AveragedModel, ModelEma, PEFT) are taken off: `lens.model` is the model that is looked into,
            with adapters merged into copies of their layers. The head may be any module.
        class_names: names of the model's C classes, in their order, or as a mapping by index (id2label) or by name
            (class_to_idx). None: those that came with the weights, or timm's where the classes are ImageNet's.
        one_output: how to read a model with a single output z. "binary": two classes with logits -z/2 and z/2, where
            `class_names` may name the positive one alone. "score": a number such as a regression's, for which there
            are logits, attributions, explanations and interventions, but no ranks. None: "binary", with a warning
            unless `class_names` has two names.
        batch_size: images per forward pass, at most.
        tuned: the folder `results/{model}/tuned_lens` of a run of this model, or its files in block order. Then views
            read the site residual through the tuned lens: an affine map of the block's output in front of norms and
            head, at every block but the last (docs/method.md, tuned lens). The sites attn and mlp are read by the logit
            lens; tokens themselves, output, explanations and attributions stay the model's own. None: the logit lens.

    Raises:
        InputError: the model is not supported, there are not C names, or `tuned` is not of this model. Every method
            raises it where it is asked for something that does not exist.
    """

    def __init__(
        self,
        model: Any,
        class_names: Names | None = None,
        *,
        one_output: str | None = None,
        batch_size: int = 32,
        tuned: str | Path | Sequence[str | Path] | None = None,
    ) -> None:
        self._given, self._one_output, self._batch_size, self._tuned = model, one_output, batch_size, tuned
        self._names = None if class_names is None else in_order(class_names)
        self._tower: str | None = None
        self._base: Any = None
        self._active: tuple[Intervention, ...] = ()
        self._maps_for: tuple[int, int, int] | None = None
        self._now()
        if self._has_one_output and one_output is None and len(self._names or ()) != 2:
            warnings.warn(one_output_warning(), stacklevel=2)

    @classmethod
    def load(
        cls,
        source: str | Path,
        img_size: Size | None = None,
        class_names: Names | None = None,
        *,
        texts: Sequence[str] | None = None,
        templates: Templates = None,
        **options: Any,
    ) -> Lens:
        """Return a lens on a model that lies somewhere, also one of transformers, torchvision or open_clip.

            Lens.load("facebook-dinov2-folder")
            Lens.load("torchvision:vit_b_16")
            Lens.load("open_clip:ViT-B-16/openai", texts=["a cat", "a dog"])

        Args:
            source: a name of timm's; `hf-hub:OWNER/NAME`; a folder as `save_pretrained` or a Trainer leave it, also of
                LoRA; `torchvision:vit_b_16` or a state dict under torchvision's names; `open_clip:ViT-B-16/TAG` (or a
                file in place of the tag). See docs/models.md.
            img_size: pixels of its images, a side, or height and width; None: its preprocessor's, else its config's.
            class_names: see `Lens`; None: the source's own (id2label).
            texts, templates: classes of CLIP or SigLIP, see `with_texts`.
            options: further arguments of `Lens`.

        Raises:
            InputError: there is no such model, or it cannot be looked into.
        """
        lens = cls(load(source, img_size), class_names, **options)
        lens._tower = str(source)
        return lens if texts is None else lens.with_texts(texts, templates)

    def with_texts(self, texts: Sequence[str], templates: Templates = None, *, tower: str | Path | None = None) -> Lens:
        """Return a lens on the same image tower whose classes are texts.

        Logits are those of the source's own zero-shot classifier times the length of the image's embedding, which is
        the same for all classes, so that ranks and predictions agree (docs/method.md, texts as classes).

        Args:
            texts: C of them, two at least.
            templates: "openai"; sentences with {} where the text goes; None: texts as they are.
            tower: the SOURCE whose text tower embeds them; None: the one that `Lens.load` was given.

        Raises:
            InputError: the source has no text tower, or one whose embeddings do not fit.
        """
        base, name = self._towerless(), self._text_tower(tower)
        named = with_texts(base, tower_of(name), texts, templates).model
        made = Lens(named, batch_size=self._batch_size, tuned=self._tuned)
        made._tower, made._base = name, base
        return made

    def directions(
        self, texts: Sequence[str], templates: Templates = None, *, tower: str | Path | None = None
    ) -> dict[str, Array]:
        """Return directions (R) of texts in the space that the model's head reads, e.g. for `View.words`.

        Args:
            texts, templates, tower: see `with_texts`.
        """
        rows, _ = pulled(self._towerless(), tower_of(self._text_tower(tower)).directions(texts, templates))
        return dict(zip(texts, rows.float().cpu().numpy(), strict=True))

    def _towerless(self) -> Any:
        """Return the image tower, with the projection to embeddings as its head."""
        self._now()
        return self.model if self._base is None else self._base

    def _text_tower(self, given: str | Path | None) -> str:
        if (name := given or self._tower) is None:
            raise InputError("texts need a text tower; open the model with Lens.load, or name one: tower='SOURCE'")
        return str(name)

    def _now(self) -> Behaviour:
        """Open the model as it is now, which may have been changed since the last time, and return what it does."""
        opened = open_model(brought(self._given), self._one_output)
        self.model: Any = opened.model
        self._name, self._has_one_output = model_name(self.model), opened.one_output
        require_supported(self.model, self._name, headless=True)
        facts, self._depth = behaviour(self.model), len(self.model.blocks)
        one_output = opened.one_output and self._one_output != SCORE
        self.classes = Classes(self.model, self._names, one_output=one_output, exist=has_head(self.model))
        shape = (self._depth, facts.width, facts.classes)
        if self._maps_for != shape:
            self._maps = None if self._tuned is None else read_maps(self._tuned, *shape)
            self._maps_for = shape
        return facts

    def __call__(self, images: Picture | Sequence[Picture]) -> View:
        """Look at images.

        Args:
            images: a path, a PIL image, a uint8 array (H, W, 3) or a normalised tensor (channels, H, W) or
                (n, channels, H, W); or several in a list.

        Raises:
            InputError: an image cannot be read or has the wrong shape, or all together need too much memory.
        """
        facts, model = self._now(), self.model
        inputs = as_inputs(model, images, facts.channels)
        shape = (self._depth, len(inputs), facts.tokens, facts.width)
        needed = len(SITES) * torch.Size(shape).numel() * facts.kept_dtype.itemsize
        if needed > KEPT_BYTES:
            raise InputError(
                f"{len(inputs)} images would keep {needed / 2**30:.1f} GiB of tokens, more than "
                f"{KEPT_BYTES / 2**30:.0f}; look at fewer at a time, or take the workflow for whole data sets"
            )
        # Every entry is written: the hooks are counted, and one that does not fire is an error.
        tokens = {site: torch.empty(shape, dtype=facts.kept_dtype) for site in SITES}
        output = torch.empty(len(inputs), self.classes.count)

        def run(batch: torch.Tensor, part: slice) -> None:
            def read(block: int, site: str, values: torch.Tensor) -> None:
                tokens[site][block, part] = values.cpu()

            with capture_activations(model, read):
                output[part] = model(batch).float().cpu()

        self._forward(inputs, run)
        self._require_readout(tokens["residual"][-1, :1], output[:1])
        return View(
            model,
            self.classes,
            inputs,
            tokens,
            output,
            batch_size=self._batch_size,
            perturbed=bool(self._active),
            maps=self._maps,
        )

    def _require_readout(self, residual: torch.Tensor, output: torch.Tensor) -> None:
        """Check that the output still is what norms and head make of the last residual: hooks may come at any time."""
        with torch.no_grad(), frozen_eval_mode(self.model):
            found = readout(self.model, residual.to(image_parameter(self.model).device))
        if not close(found.cpu(), output):
            raise InputError(
                "the output is not what the model's norm and forward_head make of the last block's output; if there "
                "are hooks of yours that change what the model or its head puts out, remove them"
            )

    def heads(self, images: Picture | Sequence[Picture], block: int) -> Array:
        """Return the outputs of a block's heads (N, H, T, d), e.g. to average them for `ablate`."""
        facts = self._now()
        attention_behaviour(self.model)
        place = require_place(block, self._depth, "block")

        def run(batch: torch.Tensor, _part: slice) -> torch.Tensor:
            found = []

            def attend(index: int, attention: Attention) -> torch.Tensor:
                output = attention.output()
                if index == place:
                    found.append(output.float().cpu())
                return output

            with patch_attention(self.model, attend):
                self.model(batch)
            return found[0]

        heads: Array = torch.cat(self._forward(as_inputs(self.model, images, facts.channels), run)).numpy()
        return heads

    def ablate(
        self,
        heads: Iterable[tuple[int, int]] | None = None,
        *,
        words: Class | None = None,
        tokens: Iterable[int] | None = None,
        block: int | None = None,
        value: Values | str = "zero",
        view: View | None = None,
        least: float = 0.2,
        vocabulary: Mapping[str, Any] | None = None,
    ) -> AbstractContextManager[None]:
        """Silence heads, or tokens after a block.

        Args:
            heads: pairs (block, head), counted from 0. Their outputs, before the branch's projection, become `value`.
            words: the word of the heads to silence, in place of `heads`: those of `view.heads_of(words)`.
            tokens: positions among all T tokens, prefix tokens first. Their residual after `block` becomes `value`.
            block: the block after which tokens are silenced; for tokens only.
            value: "zero"; or an array (a mean, say), broadcast to (n, heads, T, d) or to (n, tokens, D).
            view: of the pictures on which words are found; for words only.
            least, vocabulary: of words, see `View.heads_of`.
        """
        if sum(one is not None for one in (heads, words, tokens)) != 1:
            raise InputError("ablate takes heads, words or tokens; for several, nest contexts")
        if (words is None) != (view is None):
            raise InputError("words are of heads on pictures: give words=... and view=lens(pictures), many of them")
        if view is not None and words is not None:
            heads = _spoken(view, words, least, vocabulary)
        facts = self._now()
        if tokens is not None:
            if block is None:
                raise InputError("ablate takes tokens after a block; say which: block=...")
            return self.patch("residual", block, tokens, value)
        if block is not None:
            raise InputError("ablate takes heads as (block, head); leave block out")
        attention = attention_behaviour(self.model)
        places = [self._head(one, attention) for one in heads or ()]
        if not places:
            raise InputError("there are no heads; give at least one as (block, head)")
        width = attention.head_width[0]
        values = as_values(value, (len(places), facts.tokens, width), "(n, heads, T, d)")

        def intervention(part: slice, images: int) -> AbstractContextManager[None]:
            of_heads = values_of(values, part, images).unbind(1)
            return patch_attention(self.model, ablate_heads(dict(zip(places, of_heads, strict=True))))

        return self._with(intervention)

    def patch(self, site: str, block: int, tokens: Iterable[int], values: Values | str) -> AbstractContextManager[None]:
        """Replace what a site holds at some tokens (activation patching).

        Args:
            site: residual (after the block), attn or mlp (what the branch adds to it).
            block: from 0.
            tokens: positions among all T tokens, prefix tokens first.
            values: what replaces it, broadcast to (n, tokens, D), e.g. `view.tokens(site, block)[:, tokens]` of other
                images.
        """
        require_site(site)
        facts = self._now()
        place = require_place(block, self._depth, "block")
        places = require_places(tokens, facts.tokens, "token")
        numbers = as_values(values, (len(places), facts.width), "(n, tokens, D)")

        def intervention(part: slice, images: int) -> AbstractContextManager[None]:
            return patch_tokens(self.model, site, place, places, values_of(numbers, part, images))

        return self._with(intervention)

    def attention(self, kind: str) -> AbstractContextManager[None]:
        """Restrict what image tokens attend to in every block: self_only, no_cls or no_cls_renormalised.

        See docs/method.md, perturbations.
        """
        self._now()
        require_attention_kind(kind, self._name, has_class_token=self.model.cls_token is not None)
        attention_behaviour(self.model)
        attend = restrict(kind, self.model.num_prefix_tokens)
        return self._with(lambda _part, _images: patch_attention(self.model, attend))

    @contextmanager
    def _with(self, intervention: Intervention) -> Iterator[None]:
        before = self._active
        self._active = (*before, intervention)
        try:
            yield
        finally:
            self._active = before

    def _forward(self, inputs: torch.Tensor, run: Callable[[torch.Tensor, slice], Any]) -> list[Any]:
        """Return what run(batch, part) returns for all images in order, under the interventions."""
        like = image_parameter(self.model)

        def one(part: slice) -> Any:
            with ExitStack() as stack:
                for intervention in self._active:
                    stack.enter_context(intervention(part, len(inputs)))
                return run(inputs[part].to(like), part)

        with torch.no_grad(), frozen_eval_mode(self.model):
            return collect(len(inputs), self._batch_size, one)

    def _head(self, place: Any, attention: AttentionBehaviour) -> tuple[int, int]:
        try:
            block, head = place
        except (TypeError, ValueError):
            raise InputError(f"head {place!r} is not (block, head); give pairs, e.g. heads=[(9, 3)]") from None
        block = require_place(block, self._depth, "block")
        return block, require_place(head, attention.heads[block], "head")


def _spoken(view: View, word: Class, least: float, vocabulary: Mapping[str, Any] | None) -> Sequence[tuple[int, int]]:
    """Return the heads of a word, see `View.heads_of`.

    Raises:
        InputError: there are none; the message has the words that do have some.
    """
    if heads := view.heads_of(word, least, vocabulary):
        return heads
    words = view.words(vocabulary, draws=1)
    counts = words["word"][words["share"] >= least].value_counts()
    some = ", ".join(f"{other!r} ({count})" for other, count in counts.items()) or "none"
    raise InputError(
        f"no head has the word {word!r} with a share of {least:g} or more; words that have heads, and how many: {some}"
    )

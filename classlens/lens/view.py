"""What a model sees of images: every token of every site, in class embedding space when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from classlens.arrays import Array
from classlens.attribution.decompose import Attribution, LogitAttribution
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.explanations.explain import Explanation, Target, explain_inputs
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.attention_rows import row_of
from classlens.inference.batches import collect
from classlens.inference.modes import differentiable, frozen_eval_mode
from classlens.inference.probe import close, image_parameter, readout, state
from classlens.inference.projection import Projection
from classlens.inference.ranks import require_sound, summarise
from classlens.inference.tokens import TokenModel
from classlens.lens.arguments import require_place, require_site
from classlens.lens.classes import Class, Classes
from classlens.lens.words import words_on
from classlens.measures.layers import token_groups
from classlens.models.pictures import photos
from classlens.terms import SITES, TOP, chance
from classlens.tuned_lens.maps import Maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Chosen = Class | Sequence[Class] | Array | torch.Tensor | None
"""A class, or one per image, by index or name; None: the model's own prediction for each image."""


CLASS_FREE = ("attention", "rollout", "random")
"""Explanations that ask for no class, so that models without a head have them, too."""


class View:
    """N images as seen by a model of B blocks, T tokens (prefix tokens first, P image tokens last) and C classes.

    All indices count from 0; -1 is the last. Sites are residual, attn and mlp, see docs/method.md, projection. Where a
    method takes `block`, None stacks all blocks along a new first axis. Tokens are kept in main memory; logits are
    computed when they are asked for, a block at a time; at the site residual by the tuned lens, where the lens has one.

    Made by `Lens`. Methods raise InputError where they are asked for something that does not exist, and where logits
    are not finite or all equal.

    Attributes:
        output: the model's own logits (N, C); of one without a head what it puts out in their place (N, D).
    """

    def __init__(
        self,
        model: Any,
        classes: Classes,
        inputs: torch.Tensor,
        tokens: Mapping[str, torch.Tensor],
        output: torch.Tensor,
        *,
        batch_size: int,
        perturbed: bool,
        maps: Maps | None = None,
    ) -> None:
        self.output: Array = output.numpy()
        self._model, self._classes, self._inputs, self._tokens = model, classes, inputs, tokens
        self._batch_size, self._perturbed, self._maps = batch_size, perturbed, maps
        self._depth, self._project, self._state = len(tokens["residual"]), Projection(model), state(model)
        self._dtype = image_parameter(model).dtype

    def __len__(self) -> int:
        """Return N."""
        return len(self._inputs)

    def tokens(self, site: str = "residual", block: int | None = None) -> Array:
        """Return the tokens themselves: (N, T, D) float32, or (B, N, T, D)."""
        found = self._tokens[require_site(site)]
        kept = found if block is None else found[require_place(block, self._depth, "block")]
        array: Array = kept.float().numpy()
        array.flags.writeable = False  # Other methods compute from the same memory.
        return array

    def rank(self, site: str = "residual", class_index: Chosen = None, block: int | None = None) -> Array:
        """Return how many classes have a larger logit than the class of interest: (N, T), or (B, N, T)."""
        self._require_classes("ranks")
        return self._summary(site, class_index, block)["rank"]

    def logit(self, site: str = "residual", class_index: Chosen = None, block: int | None = None) -> Array:
        """Return the logit of the class of interest: (N, T), or (B, N, T)."""
        return self._summary(site, class_index, block)["logit"]

    def identifiability(self, site: str = "residual", class_index: Chosen = None, block: int | None = None) -> Array:
        """Return 1 - rank / C: (N, T), or (B, N, T)."""
        self._require_classes("identifiability")
        return 1 - self.rank(site, class_index, block) / self._classes.count

    def top(self, k: int | None = None, site: str = "residual", block: int | None = None) -> Array:
        """Return the k classes with the largest logits, largest first: (N, T, k), or (B, N, T, k).

        By default k is five, or C where there are fewer classes.
        """
        k = self._require_k(k)
        return self._reduced(site, block, lambda logits, _part: {"top": logits.topk(k, dim=-1).indices})["top"]

    def of_logits(
        self, site: str, block: int | None, reduce: Callable[[torch.Tensor, slice], dict[str, torch.Tensor]]
    ) -> dict[str, Array]:
        """Return what a function makes of a site's logits, block by block: several measures by one projection.

        Args:
            site, block: as in other methods.
            reduce: called with the logits (n, T, C) of some images and which of the N these are; returns tensors
                (n, ...) by name.
        """
        self._require_classes("ranks")
        return self._reduced(site, block, reduce)

    def names(self, indices: Array) -> Array:
        """Return the names of classes, e.g. of `top()`, in the shape of their indices."""
        return self._classes.names(indices)

    def predictions(self, k: int | None = None) -> Array:
        """Return the k strongest classes of the model's own output, strongest first (N, k); k as for `top`."""
        k = self._require_k(k)
        best: Array = torch.from_numpy(self.output).topk(k, dim=-1).indices.numpy()
        return best

    def token_logits(self, token: int, image: int = 0, site: str = "residual") -> Array:
        """Return the logits of all classes at one token, block by block (B, C)."""
        self._classes.require("logits")
        place, only = require_place(token, self._tokens["residual"].shape[2], "token"), self._only(image)
        return only._reduced(site, None, lambda logits, _part: {"logits": logits[:, place]})["logits"][:, 0]

    def frame(self, site: str = "residual", class_index: Chosen = None) -> pd.DataFrame:
        """Return a site as a tidy frame, a row per image, block and token.

        Columns: image, block, token, group (`cls`, `prefix`, `image`), class_index, rank, logit, identifiability.
        """
        self._require_classes("ranks")
        summary = {name: values.swapaxes(0, 1) for name, values in self._summary(site, class_index, None).items()}
        images, blocks, tokens = summary["rank"].shape
        groups = token_groups(tokens, self._model.num_prefix_tokens, has_class_token=self._model.cls_token is not None)
        image, block, token = np.indices((images, blocks, tokens)).reshape(3, -1)
        return pd.DataFrame(
            {
                "image": image,
                "block": block,
                "token": token,
                "group": groups[token],
                "class_index": self._indices(class_index)[image],
                "rank": summary["rank"].ravel(),
                "logit": summary["logit"].ravel(),
                "identifiability": 1 - summary["rank"].ravel() / self._classes.count,
            }
        )

    def explain(
        self,
        class_index: Chosen = None,
        method: str | None = None,
        image: int | None = 0,
        *,
        seed: int = 0,
        target: Target | None = None,
    ) -> Explanation | list[Explanation]:
        """Explain which image tokens support a class, or raise another number; see docs/method.md, explanations.

        Args:
            class_index: see `Chosen`.
            method: any of `classlens.catalog.methods.METHODS` except probe, e.g. gradient, attn_lrp, legrad, chefer;
                None: gradient, or attn_lrp of a target.
            image: its index; None for a list of the explanations of all.
            seed: for the method `random`.
            target: what is explained in place of a class's logit, also of models without a head: a differentiable
                function of the output (n, C) that returns (n). It is called on a batch at a time, so that each number
                must follow from its own row alone. By methods that are gradients or relevance.

        Raises:
            InputError: the method does not apply; or the view was taken under interventions.
        """
        self._require_intact("explanations", "explain")
        if target is not None and class_index is not None:
            raise InputError("explain takes a class or a target; leave one out")
        method = method or ("gradient" if target is None else "attn_lrp")
        free = target is not None or (class_index is None and method in CLASS_FREE)
        classes = np.zeros(len(self), np.int64) if free else self._indices(class_index)
        first = None if image is None else require_place(image, len(self), "image")
        chosen = slice(None) if first is None else slice(first, first + 1)
        found = explain_inputs(
            self._model,
            self._inputs[chosen],
            classes[chosen],
            method,
            seed=seed,
            first=first or 0,
            batch_size=self._batch_size,
            target=target,
        )
        return found if first is None else found[0]

    def attribution(self, class_index: Chosen = None) -> Attribution:
        """Return what each head writes into the output logit of a class from each token, and all other parts.

        See docs/method.md, direct logit attribution.

        Args:
            class_index: see `Chosen`.

        Returns:
            tensors, among them heads (N, B, H, T); summed over all axes but images, they add up to `logit`.

        Raises:
            InputError: attribution does not apply; or the view was taken under interventions.
        """
        self._require_intact("attributions", "attribute")
        classes = torch.from_numpy(self._indices(class_index))
        with frozen_eval_mode(self._model), differentiable(self._model):
            attribute, like = LogitAttribution(self._model), image_parameter(self._model)

            def run(part: slice) -> Attribution:
                return attribute(self._inputs[part].to(like), classes[part].to(like.device))

            found = collect(len(self), min(self._batch_size, attribute.images_that_fit), run)
        parts = {part.name: torch.cat([getattr(one, part.name).cpu() for one in found]) for part in fields(Attribution)}
        return Attribution(**parts)

    def attention(self, block: int, token: int = 0) -> Array:
        """Return the weights with which a token attends to all tokens at a block: (N, H, T), each row with the sum 1.

        As the model computes them, with its biases, rotary positions and norms of queries and keys. No other rows and
        blocks are computed.

        Args:
            block: from 0.
            token: its position among all T tokens; 0 is [CLS] where there is one.

        Raises:
            InputError: its attention cannot be reached; or the view was taken under interventions.
        """
        self._require_intact("attention weights", "read them off")
        place = require_place(block, self._depth, "block")
        at = require_place(token, self._tokens["residual"].shape[2], "token")
        tokens = TokenModel(self._model)

        def run(part: slice) -> torch.Tensor:
            rows = []

            def attend(_block: int, attention: Attention) -> torch.Tensor:
                rows.append(row_of(attention, at))
                return attention.output()

            if place:
                entering = self._given_back(self._tokens["residual"][place - 1, part])
            else:
                entering = tokens.embed(self._inputs[part].to(image_parameter(self._model)))
            with patch_attention(self._model, attend):
                tokens.run(entering, slice(place, place + 1))
            return rows[0].float().cpu()

        with torch.no_grad(), frozen_eval_mode(self._model):
            weights: Array = torch.cat(collect(len(self), self._batch_size, run)).numpy()
        return weights

    def save(self, folder: str | Path, class_index: Chosen = None) -> None:
        """Write what the view says of a class: `tokens.csv` (`frame` of all sites), and `image_N.png` (`plot`) of each.

        Args:
            folder: made if it is missing; files of these names in it are replaced.
            class_index: see `Chosen`.
        """
        place = Path(folder)
        frames = {site: self.frame(site, class_index) for site in SITES}
        place.mkdir(parents=True, exist_ok=True)
        write_table(pd.concat(frames, names=["site"]).reset_index("site"), str(place / "tokens.csv"))
        for image in range(len(self)):
            self.plot(image, class_index=class_index).savefig(place / f"image_{image}.png")

    def words(
        self, vocabulary: Mapping[str, Any] | None = None, *, per_head: int = 5, draws: int = 9999, seed: int = 0
    ) -> pd.DataFrame:
        """Return in words what each head writes into the logits: directions that explain its variance over images.

        See docs/method.md, heads in words. The more images, the better.

        Args:
            vocabulary: directions (R) by word, in the space that the model's own head reads, which R numbers of are
                (D mostly); None: the classes, by their rows of the head.
            per_head: words of a head, at most.
            draws: random dictionaries that its first word is compared with.
            seed: of the draws.

        Returns:
            A row per block, head and word: block, head (from 0), place (from 1), word, share (of the head's variance),
            cumulative; in rows of place 1 also null (95th percentile of random directions), p_value, p_corrected (Holm,
            over heads) and name, the word where that is below 0.05.

        Raises:
            InputError: the model's readout is not linear, there is only one image, or directions do not fit; or the
                view was taken under interventions.
        """
        self._require_intact("words", "ask")
        self._classes.require("words")
        names = [self._classes.label(index) for index in range(self._classes.count)]
        counts = {"per_head": per_head, "draws": draws, "seed": seed}
        return words_on(self._model, self._inputs, names, vocabulary, **counts, batch_size=self._batch_size)

    def heads_of(
        self, word: Class, least: float = 0.2, vocabulary: Mapping[str, Any] | None = None
    ) -> list[tuple[int, int]]:
        """Return the heads (block, head) of which a word explains a share of `least` or more, e.g. for `Lens.ablate`.

        Args:
            word: of the vocabulary; by default a class, by name or index.
            least: share of a head's variance over images.
            vocabulary: see `words`.

        Raises:
            InputError: there is no such word; otherwise as `words`.
        """
        if vocabulary is None:
            word = self._classes.label(int(self._classes.indices(word, 1)[0]))
        elif word not in vocabulary:
            raise InputError(f"there is no word {word!r} in the vocabulary; take one of its {len(vocabulary)} words")
        words = self.words(vocabulary, draws=1)
        chosen = words[(words["word"] == word) & (words["share"] >= least)]
        return list(zip(chosen["block"].tolist(), chosen["head"].tolist(), strict=True))

    def plot(
        self,
        image: int = 0,
        blocks: Sequence[int] | None = None,
        class_index: Chosen = None,
        site: str = "residual",
    ) -> Figure:
        """Draw the image tokens of blocks over the photo, coloured by the identifiability of a class.

        Args:
            image: its index.
            blocks: from 0; None for at most seven, evenly spread. (Titles count from 1.)
            class_index, site: as in other methods.
        """
        from classlens.figures.one_image import draw_blocks, spread
        from classlens.figures.style import shared_style
        from classlens.lens.plots import SITE_LABELS

        self._require_classes("identifiability")
        index = int(self._indices(class_index)[require_place(image, len(self), "image")])
        if blocks is not None and not len(blocks):
            raise InputError("there are no blocks; give at least one")
        places = spread(self._depth) if blocks is None else [require_place(b, self._depth, "block") for b in blocks]
        only = self._only(image)
        rows, columns = self._model.patch_embed.grid_size
        shown = {place: only.identifiability(site, index, place)[0] for place in places}
        has_class_token = self._model.cls_token is not None
        with shared_style():
            return draw_blocks(
                photos(self._model, only._inputs)[0],
                {place: values[-rows * columns :].reshape(rows, columns) for place, values in shown.items()},
                {place: f", [CLS] {values[0]:.2f}" if has_class_token else "" for place, values in shown.items()},
                chance=chance(self._classes.count),
                title=f"{self._classes.label(index)}, {SITE_LABELS[require_site(site)]}",
            )

    def plot_token(
        self, token: int, image: int = 0, k: int | None = None, site: str = "residual", show: str = "probability"
    ) -> Figure:
        """Draw over blocks the k classes that are strongest at a token in the last block.

        Args:
            token: its position among all T tokens; 0 is [CLS] where there is one.
            image, site: as in other methods.
            k: number of classes; None: five, or all where there are fewer.
            show: probability (the softmax of the token's logits) or logit.
        """
        from classlens.lens.plots import draw_token

        if show not in ("probability", "logit"):
            raise InputError(f"there is no {show!r} to show; take probability or logit")
        k = 1 if show == "logit" and self._is_score else self._require_k(k)
        logits = torch.from_numpy(self.token_logits(token, image, site))
        values = (logits.softmax(-1) if show == "probability" else logits).numpy()
        place = require_place(token, self._tokens["residual"].shape[2], "token")
        best = logits[-1].topk(k).indices.tolist()
        return draw_token(
            [(self._classes.label(index), values[:, index]) for index in best],
            title=self._token_label(place),
            site=site,
            show=show,
        )

    def _token_label(self, token: int) -> str:
        model = self._model
        if token == 0 and model.cls_token is not None:
            return "[CLS]"
        if token < model.num_prefix_tokens:
            return f"prefix token {token}"
        row, column = divmod(token - model.num_prefix_tokens, int(model.patch_embed.grid_size[1]))
        return f"token {token} (row {row + 1}, column {column + 1})"

    def through(self, maps: Maps | None) -> View:
        """Return the same view with the site residual read through a tuned lens, or by the logit lens (None)."""
        other = copy(self)
        other._maps = maps
        return other

    def _only(self, image: int) -> View:
        """Return one image of the view."""
        place = require_place(image, len(self), "image")
        part, one = slice(place, place + 1), copy(self)
        one.output, one._inputs = self.output[part], self._inputs[part]
        one._tokens = {site: values[:, part] for site, values in self._tokens.items()}
        return one

    def _indices(self, chosen: Chosen) -> Array:
        if chosen is None and self._is_score:
            chosen = 0
        return self.predictions(1)[:, 0] if chosen is None else self._classes.indices(chosen, len(self))

    @property
    def _is_score(self) -> bool:
        return self._classes.count == 1

    def _require_classes(self, what: str) -> None:
        self._classes.require(what)
        if self._is_score:
            raise InputError(
                f"a score has no {what}, which compare classes; take logit, token_logits, attribution or explain, or "
                f"Lens(model, one_output='binary') where the one output tells two classes apart"
            )

    def _require_intact(self, what: str, advice: str) -> None:
        if self._perturbed:
            raise InputError(f"{what} are of the model itself; {advice} a view that was taken outside interventions")
        self._require_unchanged(whole=True)

    def _require_unchanged(self, *, whole: bool = False) -> None:
        """Check that norms and head, or the whole model, are those that the view was taken of.

        Where the model lies and its type may be others.
        """
        if whole and self._state == (now := state(self._model)):
            return
        output = torch.from_numpy(self.output[:1])
        with torch.no_grad(), frozen_eval_mode(self._model):
            found = [readout(self._model, self._given_back(self._tokens["residual"][-1, :1]))]
            if whole:
                found.append(self._model(self._inputs[:1].to(image_parameter(self._model))))
        if not all(close(one.cpu(), output) for one in found):
            raise InputError("the model was changed after it looked at these images; let the lens look at them again")
        self._project = Projection(self._model)
        if whole:
            self._state = now

    def _given_back(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens where the model lies, in the type that they had, or in the model's if it was changed."""
        like = image_parameter(self._model)
        return tokens.to(like.device, tokens.dtype if like.dtype == self._dtype else like.dtype)

    def _require_k(self, k: int | None) -> int:
        self._require_classes("strongest classes")
        if k is None:
            return min(TOP, self._classes.count)
        if not 1 <= k <= self._classes.count:
            raise InputError(f"k is {k}, but the model has {self._classes.count} classes; take 1 to as many")
        return k

    def _summary(self, site: str, class_index: Chosen, block: int | None) -> dict[str, Array]:
        classes = torch.from_numpy(self._indices(class_index))

        def reduce(logits: torch.Tensor, part: slice) -> dict[str, torch.Tensor]:
            found = summarise(logits, classes[part].to(logits.device))
            return {"rank": found["rank"], "logit": found["logit"]}

        return self._reduced(site, block, reduce)

    def _reduced(
        self, site: str, block: int | None, reduce: Callable[[torch.Tensor, slice], dict[str, torch.Tensor]]
    ) -> dict[str, Array]:
        """Return what becomes of a site's logits (n, T, C), a batch at a time, for all images of a block or of all."""
        require_site(site)
        self._require_unchanged()
        if block is not None:
            return self._of_block(site, require_place(block, self._depth, "block"), reduce)
        blocks = [self._of_block(site, each, reduce) for each in range(self._depth)]
        return {name: np.stack([of_block[name] for of_block in blocks]) for name in blocks[0]}

    def _of_block(
        self, site: str, place: int, reduce: Callable[[torch.Tensor, slice], dict[str, torch.Tensor]]
    ) -> dict[str, Array]:
        def run(part: slice) -> dict[str, Array]:
            tokens = self._given_back(self._tokens[site][place, part])
            if self._maps is not None and site == "residual":
                tokens = self._maps(place, tokens)
            logits = self._project(tokens)
            require_sound(logits.amax(-1), logits.amin(-1), logits.shape[-1], f"{site} of block {place}")
            return {name: values.cpu().numpy() for name, values in reduce(logits, part).items()}

        with torch.no_grad(), frozen_eval_mode(self._model):
            kept = collect(len(self), self._batch_size, run)
        return {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}

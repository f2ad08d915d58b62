"""The lens page of some pictures: the workflow's own page, fed by a lens's views instead of a run's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.batching import batches
from classlens.catalog.methods import METHODS, require_method
from classlens.catalog.reading import pooling_notes, prefix_names
from classlens.errors import InputError
from classlens.inference.probe import behaviour
from classlens.inference.ranks import summarise
from classlens.lens.lens import Lens
from classlens.lens.view import View
from classlens.models.needs import lacks
from classlens.models.pictures import as_inputs, photos
from classlens.page.document import Shown, document
from classlens.page.pack import rounded
from classlens.progress import Progress
from classlens.shipped import workflow_folder
from classlens.terms import SITES
from classlens.tuned_lens.maps import read_maps

MOST_CHOSEN = 30
"""Classes that a page has at every token, beside the class of interest."""
KEPT_BYTES = 2**30
"""Memory for the tokens of a batch."""
LOGIT_STEPS, RANK_STEPS = 63, 127
"""Steps of a chosen class's logits and ranks. Few, since they are most of the page: ranks are exact up to 128 classes,
else identifiability is to within 0.004; what is among the five strongest classes is exact."""


class Gathered:
    """A lens's numbers of some pictures, as a page takes them.

    Without labels, the class of interest of each picture is the model's own prediction, or the class that is given.

    Args:
        lens: on a model with classes.
        name: what the model is called.
        pictures: files, each with its name for display.
        methods: explanations of the class of interest.
        class_of_interest: of all pictures, by index or name; None: each one's prediction.
        tuned: folder of the model's tuned lens, see `Lens`, that the page can switch to; None: the logit lens alone.

    Raises:
        InputError: the model has no classes, the class or a method does not exist or does not apply, the tuned lens is
            of another model, a picture cannot be decoded.
    """

    def __init__(
        self,
        lens: Lens,
        name: str,
        pictures: Mapping[Path, str],
        methods: Sequence[str] = (),
        class_of_interest: int | str | None = None,
        tuned: Path | None = None,
    ) -> None:
        lens.classes.require("ranks (classlens attention shows what tokens attend to)")
        self._lens, self._name, self._pictures, self._methods = lens, name, pictures, methods
        for method in methods:
            require_method(method, name, lacks(lens.model))
        given = None if class_of_interest is None else int(lens.classes.indices(class_of_interest, 1)[0])
        facts, self._paths = behaviour(lens.model), list(pictures)
        self._depth, self._channels = len(lens.model.blocks), facts.channels
        self._maps = None if tuned is None else read_maps(tuned, self._depth, facts.width, facts.classes)
        each = len(SITES) * self._depth * facts.tokens * facts.width * facts.kept_dtype.itemsize
        self._parts = list(batches(len(pictures), max(1, KEPT_BYTES // each)))
        # A single batch is looked at once. Of several, each is looked at again for its numbers: which classes are
        # chosen depends on all, and keeping the tokens of all would take memory without bound.
        self._look = lru_cache(maxsize=1)(self._looked)
        outputs = np.concatenate(list(self._outputs()))
        strongest = np.argsort(-outputs, axis=1, kind="stable")[:, : max(MOST_CHOSEN, 5)]
        self._probability = torch.from_numpy(outputs).softmax(1).amax(1).tolist()
        self._top = strongest[:, :5]
        self._interest = strongest[:, 0] if given is None else np.full(len(outputs), given)
        # Every picture's strongest class before any's second one.
        ranked = chain([] if given is None else [given], strongest.T.ravel().tolist())
        self._chosen = list(dict.fromkeys(ranked))[:MOST_CHOSEN]
        self._given = given is not None

    def about(self, of: int) -> dict[str, Any]:
        """Return what the page says of the model and the pictures.

        Args:
            of: how many pictures there are, of which these were chosen.
        """
        model, classes = self._lens.model, self._lens.classes
        has_class_token, missing = model.cls_token is not None, lacks(model)
        height, width = model.patch_embed.img_size
        return {
            "model": self._name,
            "label": self._name,
            "grid": [int(side) for side in model.patch_embed.grid_size],
            **({"ratio": width / height} if width != height else {}),
            "prefix": prefix_names(
                model.num_prefix_tokens,
                has_class_token=has_class_token,
                distilled=getattr(model, "head_dist", None) is not None,
            ),
            "notes": pooling_notes(
                missing, has_class_token=has_class_token, class_token_pooling=model.global_pool == "token"
            ),
            "others": [],
            "methods": [{"name": name, "label": METHODS[name].label} for name in self._methods],
            "sites": SITES,
            "blocks": self._depth,
            "num_classes": classes.count,
            "classes": [classes.label(index) for index in range(classes.count)],
            "sample": {"of": of},
            "interest": "given" if self._given else "prediction",
            "chosen": self._chosen,
            "images": [
                {
                    "image": image,
                    "file": self._pictures[path],
                    "class": int(self._interest[image]),
                    "probability": round(self._probability[image], 3),
                    "top5": self._top[image].tolist(),
                }
                for image, path in enumerate(self._paths)
            ],
        }

    def images(self) -> Iterator[Shown]:
        """Yield what the page holds of each picture."""
        total = len(self._paths) * self._depth * len(SITES)
        with Progress(total, "read off", unit="site") as progress:
            for place, part in enumerate(self._parts):
                yield from self._shown(place, part, progress)

    def _outputs(self) -> Iterator[Array]:
        """Yield what the model says of each batch."""
        with Progress(len(self._paths), "look") as progress:
            for place, part in enumerate(self._parts):
                yield self._look(place)[0].output
                progress.advance(part.stop - part.start)

    def _looked(self, place: int) -> tuple[View, Array]:
        """Return a batch's view, and its photos (n, H, W, 3) uint8."""
        inputs = as_inputs(self._lens.model, self._paths[self._parts[place]], self._channels)
        return self._lens(inputs), np.rint(255 * photos(self._lens.model, inputs)).astype(np.uint8)

    def _shown(self, place: int, part: slice, progress: Progress) -> Iterator[Shown]:
        view, pixels = self._look(place)
        interest, chosen = torch.from_numpy(self._interest[part]), torch.tensor(self._chosen)

        def read(site: str) -> dict[str, Array]:
            def reduce(logits: torch.Tensor, some: slice) -> dict[str, torch.Tensor]:
                found = summarise(logits, interest[some].to(logits.device))
                kept = {name: found[name] for name in ("rank", "logit", "top5")}
                if site == SITES[0]:
                    kept |= several(logits, chosen)
                progress.advance(len(logits))
                return kept

            return view.of_logits(site, None, reduce)

        sites = [read(site) for site in SITES]
        importance = [self._importance(view, method, interest) for method in self._methods]
        tuned = {} if self._maps is None else self._tuned(view.through(self._maps), interest, chosen)
        small = np.uint16 if self._lens.classes.count <= 2**16 else np.int32
        for one, photo in enumerate(pixels):
            # (site, block, token, ...) to (site, token, block, ...): a token keeps its classes over blocks.
            rank, logit, top5 = (
                np.array([values[name][:, one] for values in sites]).swapaxes(1, 2)
                for name in ("rank", "logit", "top5")
            )
            codes, unit = rounded(logit, (1,))
            arrays = {"rank": rank.astype(small), "top5": top5.astype(small), "logit": codes, "logit_unit": unit}
            # (block, token, class) to (class, block, token).
            logits = sites[0]["logits"][:, one].transpose(2, 0, 1)
            for lens, values in (("", sites[0]), *((("tuned_", tuned),) if tuned else ())):
                codes = np.rint(values["ranks"][:, one].transpose(2, 0, 1) / rank_step(self._lens.classes.count))
                arrays[f"{lens}chosen_rank"] = _steps_of_depth(codes, np.uint8)
            codes, arrays["chosen_unit"] = rounded(logits, (2,), LOGIT_STEPS)
            arrays["chosen_logit"] = _steps_of_depth(codes, np.int8)
            # (block, token, ...) to (token, block, ...).
            for name in ("rank", "top5") if tuned else ():
                arrays[f"tuned_{name}"] = tuned[name][:, one].swapaxes(0, 1).astype(small)
            if importance:
                arrays["importance"], _ = rounded(np.array([values[one] for values in importance]), (1,))
            yield part.start + one, arrays, photo

    def _tuned(self, view: View, interest: torch.Tensor, chosen: torch.Tensor) -> dict[str, Array]:
        def reduce(logits: torch.Tensor, some: slice) -> dict[str, torch.Tensor]:
            found = summarise(logits, interest[some].to(logits.device))
            return {"rank": found["rank"], "top5": found["top5"], "ranks": several(logits, chosen)["ranks"]}

        return view.of_logits(SITES[0], None, reduce)

    def _importance(self, view: View, method: str, interest: torch.Tensor) -> Array:
        found = view.explain(interest, method, image=None)
        assert isinstance(found, list)
        values = np.array([one.importance for one in found])
        if not np.isfinite(values).all():
            raise InputError(f"{self._name}: explanation {method} has values that are not finite; leave it out")
        return values


def page_of(gathered: Gathered, of: int, beside: tuple[str, str] | None = None) -> str:
    """Return the page's text.

    Args:
        gathered: a model's numbers of some pictures.
        of: how many pictures there are, of which these were chosen.
        beside: name of another model, and its page of the same pictures, which this one then holds.
    """
    folder = workflow_folder() / "workflow/page"
    sources = {"template": str(folder / "page.html"), "style": str(folder / "page.css")}
    scripts = sorted(map(str, folder.glob("*.js")))
    about, held = gathered.about(of), ""
    if beside is not None:
        about["others"] = [{"model": beside[0], "label": beside[0], "held": True}]
        held = beside[1]
    return "".join(document(about, gathered.images(), scripts=scripts, held=held, **sources))


def _steps_of_depth(codes: Array, dtype: type[np.generic]) -> Array:
    """Return codes (class, block, token), those after the first block as differences to the block before, in a byte."""
    return np.diff(codes.astype(dtype), axis=1, prepend=np.zeros_like(codes[:, :1], dtype))


def several(logits: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return ranks and logits (n, T, K) of K classes among logits (n, T, C).

    A rank is the number of classes with a larger logit, looked up among the sorted logits.
    """
    # numpy's sort is several times as fast as torch's here.
    found, ordered = logits[..., classes.to(logits.device)], torch.from_numpy(np.sort(logits.cpu().numpy(), axis=-1))
    above = logits.shape[-1] - torch.searchsorted(ordered, found.cpu().contiguous(), right=True)
    return {"ranks": above, "logits": found}


def rank_step(count: int) -> float:
    """Return how many ranks a step of the codes of chosen classes is: 1 where a byte holds all of them."""
    return max(1.0, (count - 1) / RANK_STEPS)

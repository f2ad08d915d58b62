"""What every explanation that runs a model is made into."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from classlens.inference.cuda_graph import CudaGraph


@dataclass(frozen=True)
class Explainer:
    """One explanation of one model, which is in evaluation mode and wants no gradient of its parameters.

    Attributes:
        compute: called as compute(images (n, 3, H, W), classes (n)) with normalised images and the classes of interest;
            returns importance (n, P) float32, or where there are maps, maps (n, B, H, P) float32.
        importance: what importance says, for readers of files.
        maps: what maps say, for readers of files; None: there are none. Importance is their sum.
        images_that_fit: how many images go through at once, at most.
    """

    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    importance: str
    maps: str | None = None
    images_that_fit: int = sys.maxsize

    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `importance` (n, P) and, where there are any, `maps` (n, B, H, P), both float32."""
        return self._replayed(images, classes)

    @cached_property
    def _replayed(self) -> CudaGraph:
        return CudaGraph(self._explain)

    def _explain(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.compute(images, classes)
        if self.maps is None:
            return {"importance": found}
        # In which order torch adds depends on how numbers lie in memory. Stored results were added with gaps between
        # tokens, so these are, too: files keep their bytes.
        spaced = torch.stack([found, found], dim=-1)[..., 0]
        return {"maps": found, "importance": spaced.sum((1, 2))}


Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""What an explanation is of: called as score(output (n, C), classes (n)), returns (n), each of its own row alone."""


def class_logit(output: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the logit (n) of the class of interest of each image."""
    return output.gather(1, classes[:, None])[:, 0]


Explain = Callable[[Any], Explainer]
"""Makes the explainer of a model."""


def mapped_by(attention: Callable[[Any], Any]) -> Callable[[Explain], Explain]:
    """Say of an explanation by which attention's heads its maps are; without that they are by those of the blocks.

    It is said beside the explanation, so that a pass which writes maps need not know, and a key need not cover, others.
    """

    def note(explain: Explain) -> Explain:
        explain.mapped_by = attention  # type: ignore[attr-defined]
        return explain

    return note


def heads_of_maps(explain: object, model: Any) -> int:
    """Return by how many heads the maps of an explanation of a model are."""
    attention = getattr(explain, "mapped_by", lambda model: model.blocks[0].attn)
    return int(attention(model).num_heads)

"""What the tuned lens and the logit lens see at every token of every image, and the sums that it is fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import Column, index_dtype
from classlens.inference.activations import residuals
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.inference.ranks import require_sound, summarise_tokens
from classlens.passes.base import Columns, Files, Part, Pass, Sums, Tensors
from classlens.terms import TOP, block_name
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.held_out import fitted_images, inside
from classlens.tuned_lens.maps import Maps
from classlens.tuned_lens.ridge import AffineSums


class TunedLensSums(Sums):
    """The sums of `AffineSums` over those training images that are not held out; labels are not looked at.

    Args:
        seed: of the held-out images.
    """

    doing = "sums of the tuned lens"

    def __init__(self, loaded: LoadedModel, images: int, *, seed: int) -> None:
        self._loaded, self._chosen = loaded, fitted_images(images, seed)
        self._sums = AffineSums.of(loaded)

    def add(self, images: torch.Tensor, start: int) -> None:
        some = images[inside(self._chosen, slice(start, start + len(images)))]
        if len(some):
            outputs = residuals(self._loaded.model, some)
            if not all(bool(torch.isfinite(output).all()) for output in outputs):
                raise InputError("residuals are not finite; check the weights, or set extraction.precision to float32")
            self._sums.add([output.to(self._sums.device) for output in outputs])

    def totals(self) -> Tensors:
        return self._sums.totals()

    @property
    def count(self) -> int:  # type: ignore[override]
        """Tokens that were added."""
        return self._sums.count


class TunedLens(Pass):
    """What both lenses see, a group per block: rank (N, T), top5 (N, T, min(5, C)), kl and kl_logit_lens (N, T).

    Args:
        files: `maps`, the file of `classlens.tuned_lens.write.fit_tuned_lens`.
    """

    doing = "looking through the tuned lens"
    inputs = ("maps",)

    def __init__(self, loaded: LoadedModel, files: Files) -> None:
        super().__init__(loaded)
        self._tuned_by = _read(str(files["maps"]), len(loaded.model.blocks)).to(loaded.device)
        self._project = Projection(loaded.model)

    @classmethod
    def columns(cls, model: Any) -> Columns:
        of_block = seen_columns(model.num_prefix_tokens + model.patch_embed.num_patches, model.num_classes)
        blocks = map(block_name, range(len(model.blocks)))
        return {f"{block}/{name}": column for block in blocks for name, column in of_block.items()}

    @classmethod
    def stand_in(cls, name: str, path: str, model: Any) -> None:
        width = model.embed_dim
        with h5py.File(path, "w") as file:
            for block in range(len(model.blocks)):
                file[f"{block_name(block)}/weight"] = np.eye(width, dtype=np.float32)
                file[f"{block_name(block)}/bias"] = np.zeros(width, np.float32)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        model, found = self.loaded.model, dict[str, torch.Tensor]()
        outputs = residuals(model, images)
        last = self._project(outputs[-1]).log_softmax(-1)
        for block, residual in enumerate(outputs):
            tuned = self._tuned_by(block, residual)
            # Ranks come as extraction makes them, so that without a map they are those of the layer files.
            seen = summarise_tokens(self._project, tuned, classes)
            try:
                require_sound(seen["largest"], seen["smallest"], model.num_classes)
            except InputError as error:
                raise InputError(f"tuned lens of block {block}: {error}") from None
            plain = divergence(last, self._project(residual))
            kl = divergence(last, self._project(tuned)) if self._tuned_by.changes[block] else plain
            of_both = {"rank": seen["rank"], "top5": seen["top5"], "kl": kl, "kl_logit_lens": plain}
            found |= {f"{block_name(block)}/{name}": values for name, values in of_both.items()}
        return found


def _read(maps: str, blocks: int) -> Maps:
    with h5py.File(maps, "r") as file:
        groups = [file[block_name(block)] for block in range(blocks)]
        weight, bias = (np.stack([group[name][:] for group in groups]) for name in ("weight", "bias"))
    return Maps(torch.from_numpy(weight), torch.from_numpy(bias))


def seen_columns(tokens: int, num_classes: int) -> Columns:
    """Return what a block's group in a file of `TunedLens` holds."""
    index = index_dtype(num_classes)
    where = "at the block's output behind the block's map"
    apart = "KL divergence of the last block's class distribution at the same token from that of the"
    rank = f"number of classes with a larger logit than the correct one, {where}"
    top = f"classes with the largest logits, largest first, {where}"
    return {
        "rank": Column((tokens,), index, rank, "classes"),
        "top5": Column((tokens, min(TOP, num_classes)), index, top, "class index"),
        "kl": Column((tokens,), np.float32, f"{apart} tuned lens", "nat"),
        "kl_logit_lens": Column((tokens,), np.float32, f"{apart} logit lens", "nat"),
    }

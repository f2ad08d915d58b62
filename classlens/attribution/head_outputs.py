"""What every head writes into what the model's own head reads, with norms frozen as in direct logit attribution.

After frozen norms, what a head writes is a fixed matrix times a few numbers of the image: c[b, h] = maps[b, h] z[b, h],
where z (F) is what the head puts out at the destination of the readout, d numbers, times the scales of the frozen norms
on its way; of an average over destinations their weighted mean; of several readouts (two heads, or those of a pool) one
after the other. So a covariance of c (R, R) follows from one of z (F, F), which is far smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from classlens.arrays import Array
from classlens.attribution.decompose import LogitAttribution
from classlens.attribution.frozen import Frozen, freezing
from classlens.attribution.words import Span, span_of
from classlens.inference.attention import Attention, patch_attention


class HeadOutputs:
    """Reads what heads write; R numbers that the model's own head reads, of which a model with two heads has 2 D.

    Takes and refuses what `LogitAttribution` does.
    """

    def __init__(self, model: Any) -> None:
        of = LogitAttribution(model)
        self._model, self._norm, self._readouts, self._branches = model, of.norm, of.readouts, of.branches

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return z (n, B, H, F) of images (n, 3, H, W), normalised, in one forward pass."""
        passes = [_Outputs(self._norm, readout, self._branches, len(images)) for readout in self._readouts]

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            output = attention.output()
            for one in passes:
                one.read_heads(output)
            return output

        with patch_attention(self._model, attend), freezing(self._model, self._branches, passes):
            self._model(images)
        with torch.autocast(images.device.type, enabled=False):
            return torch.cat([one.weighted() for one in passes], dim=-1)

    @torch.no_grad()
    def maps(self) -> Iterator[torch.Tensor]:
        """Yield maps (H, R, F) of every block."""
        widths = [readout.weight.shape[1] for readout in self._readouts]
        places = [sum(widths[:number]) for number in range(len(widths))] if self._stacked else [0] * len(widths)
        size = sum(widths) if self._stacked else widths[0]
        for branch in self._branches:
            found = []
            for readout, place, width in zip(self._readouts, places, widths, strict=True):
                one = torch.eye(width, dtype=self.dtype, device=readout.weight.device)
                pulled = branch.pull_back(self._norm.pull_back(readout.pull_back(one)))
                at_place = pulled.new_zeros(size, *pulled.shape[1:])
                at_place[place : place + width] = pulled
                found.append(at_place)
            yield torch.cat(found, dim=-1).transpose(0, 1)

    def rows(self) -> torch.Tensor:
        """Return the directions of the classes (C, R), whose products with c, summed over heads, are part of logits."""
        rows = [readout.share * readout.weight.detach().to(self.dtype) for readout in self._readouts]
        return torch.cat(rows, dim=1) if self._stacked else rows[0]

    @property
    def dtype(self) -> torch.dtype:
        """The model's own type, float32 at least."""
        return torch.promote_types(self._readouts[0].weight.dtype, torch.float32)

    @property
    def _stacked(self) -> bool:
        """Readouts have places of their own in what the head reads; those of a pool's heads share it."""
        return self._readouts[0].of_pool is None


def spans_of(outputs: HeadOutputs, covered: Array) -> list[list[Span]]:
    """Return the spans of what the heads of every block write, given the covariance of z (B, H, F, F)."""
    return [
        [span_of(to_head, of_head) for to_head, of_head in zip(maps.double().cpu().numpy(), of_block, strict=True)]
        for maps, of_block in zip(outputs.maps(), covered, strict=True)
    ]


class _Outputs(Frozen):
    """What heads put out at the destinations of one readout."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._heads: list[torch.Tensor] = []

    def read_heads(self, output: torch.Tensor) -> None:
        """Keep what a block's heads put out (n, H, Q, d) of all tokens' (n, H, T, d)."""
        self._heads.append(output[:, :, self.readout.tokens])

    def weighted(self) -> torch.Tensor:
        """Return the mean over destinations, each with its scales (n, B, H, d)."""
        found, weight = [], self.weight()
        for heads, inner, post in zip(self._heads, self._scales, self._post_scales, strict=True):
            scales = (weight * post * inner)[:, None, None]
            found.append((scales @ heads.to(self._dtype))[:, :, 0])
        return torch.stack(found, dim=1)

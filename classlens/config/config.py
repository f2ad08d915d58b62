"""The checked and completed config, and the questions that jobs ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from classlens.data.geometry import Geometry
from classlens.data.select import has_masks, raw_images, raw_masks, select
from classlens.data.stimulus import Stimulus


def twin_name(model: str) -> str:
    """Return the name of a model's random twin."""
    return f"{model}-random"


@dataclass(frozen=True)
class Config:
    """A complete config. `models` and `datasets` keep the order of the file; twins follow their models."""

    seed: int
    datasets: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    extraction: dict[str, Any]
    statistics: dict[str, Any]
    figures: list[str] | None
    store: str | None
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts about each model's architecture, see `classlens.models.card`."""
    _chosen: dict[str, list[Stimulus]] = field(default_factory=dict, compare=False, repr=False)
    """Selected images by data set: listing folders takes time, and every job asks for them."""

    def stimuli(self, dataset: str) -> list[Stimulus]:
        """Return the images of a data set, see `classlens.data.select`."""
        if dataset not in self._chosen:
            self._chosen[dataset] = select(self.datasets[dataset], dataset)
        return self._chosen[dataset]

    def raw_images(self, dataset: str) -> list[str]:
        """Return the raw files that a data set's images come from."""
        return raw_images(self.datasets[dataset], self.stimuli(dataset), dataset)

    def raw_masks(self, dataset: str) -> list[str]:
        """Return the raw files that the masks of a data set's evaluation images come from."""
        return raw_masks(self.datasets[dataset], self.stimuli(dataset), dataset)

    def twin(self, model: str) -> str | None:
        """Return the name of a model's random twin, None where it has none."""
        return twin_name(model) if twin_name(model) in self.models else None

    def is_twin(self, model: str) -> bool:
        """Tell whether a model is some other model's random twin."""
        return any(twin_name(other) == model for other in self.models)

    def card(self, model: str) -> dict[str, Any]:
        """Return the card of a model's architecture."""
        return self.cards[model]

    def dataset(self, model: str) -> dict[str, Any]:
        """Return the data set that a model looks at."""
        return self.datasets[self.models[model]["dataset"]]

    def trained(self, model: str) -> bool:
        """Tell whether the workflow itself trains a model."""
        return isinstance(self.models[model]["weights"], dict)

    def transform(self, model: str) -> dict[str, Any]:
        """Return a model's transform in full; timm's own comes from the card."""
        given = self.models[model]["transform"]
        return dict(self.card(model)["transform"] if given == "timm" else given)

    def geometry(self, model: str) -> Geometry:
        """Return the part of a model's transform that moves pixels."""
        transform = self.transform(model)
        return Geometry(
            size=transform["size"],
            resize=transform["resize"],
            crop=transform["crop"],
            interpolation=transform["interpolation"],
        )

    def models_with(self, analysis: str, twins: bool = False) -> list[str]:
        """Return the models that a table or figure of an analysis puts side by side, in display order.

        These are the models that run it; if none does, so that it was asked for by name, all to which it applies.

        Args:
            twins: with the random twins.
        """
        own = self.runs(analysis) or [name for name in self.models if self._compares(name, analysis)]
        return [name for name in self.models if name in own or (twins and self.is_twin(name))]

    def runs(self, analysis: str) -> list[str]:
        """Return the models for which `all` runs an analysis; random twins are only compared with."""
        return [
            name
            for name, entry in self.models.items()
            if self._compares(name, analysis) and (entry["analyses"] is None or analysis in entry["analyses"])
        ]

    def _compares(self, model: str, analysis: str) -> bool:
        return not self.is_twin(model) and self.applies(model, analysis)

    def applies(self, model: str, analysis: str) -> bool:
        """Tell whether an analysis has a meaning for a model: token labels need masks."""
        return analysis != "class_vs_context" or has_masks(self.dataset(model))

    def shows(self, figure: str) -> bool:
        """Tell whether `all` draws a figure, as far as the list of figures says."""
        return self.figures is None or figure in self.figures

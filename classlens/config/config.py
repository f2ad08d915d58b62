"""The checked and completed config, and the questions that jobs ask of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from classlens.data.geometry import Geometry
from classlens.data.select import class_count, has_masks, raw_images, raw_masks, select
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError
from classlens.explanations.methods import applicable_methods
from classlens.perturbation.kinds import applicable_attention_kinds

NEED_MASKS = ("class_vs_context", "token_perturbation", "segmentation")
NEED_CLASS_TOKEN = ("agreement_vs_accuracy", "heatmaps")
NEED_TRAINING = ("linear_probes",)
TWIN_SUFFIX = "-random"

Answer = TypeVar("Answer")


def twin_name(model: str) -> str:
    """Return the name of a model's random twin."""
    return f"{model}{TWIN_SUFFIX}"


@dataclass(frozen=True)
class Config:
    """A complete config. `models` and `datasets` keep the order of the file; twins follow their models."""

    seed: int
    datasets: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    extraction: dict[str, Any]
    statistics: dict[str, Any]
    memories: dict[str, Any]
    explanations: dict[str, Any]
    faithfulness: dict[str, Any]
    probes: dict[str, Any]
    figures: list[str] | None
    store: str | None
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts about each model's architecture, see `classlens.models.card`."""
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)
    """Answers by question and data set: listing folders takes time, and each of thousands of jobs asks."""

    def stimuli(self, dataset: str) -> list[Stimulus]:
        """Return the images of a data set, see `classlens.data.select`."""
        return self._once("stimuli", dataset, lambda: select(self.datasets[dataset], dataset))

    def images(self, dataset: str, split: str = "evaluation") -> int:
        """Return the number of images in a split of a data set."""
        return self._once(split, dataset, lambda: sum(item.split == split for item in self.stimuli(dataset)))

    def classes(self, dataset: str) -> int:
        """Return the number of classes that a data set's class indices come from."""
        return self._once("classes", dataset, lambda: class_count(self.datasets[dataset], dataset))

    def raw_images(self, dataset: str) -> list[str]:
        """Return the raw files that a data set's images come from."""
        return raw_images(self.datasets[dataset], self.stimuli(dataset), dataset)

    def raw_masks(self, dataset: str) -> list[str]:
        """Return the raw files that the masks of a data set's evaluation images come from."""
        return raw_masks(self.datasets[dataset], self.stimuli(dataset), dataset)

    def _once(self, question: str, dataset: str, answer: Callable[[], Answer]) -> Answer:
        if (question, dataset) not in self._known:
            self._known[question, dataset] = answer()
        known: Answer = self._known[question, dataset]
        return known

    def twin(self, model: str) -> str | None:
        """Return the name of a model's random twin, None where it has none."""
        return twin_name(model) if twin_name(model) in self.models else None

    def is_twin(self, model: str) -> bool:
        """Tell whether a model is some other model's random twin."""
        return model.removesuffix(TWIN_SUFFIX) in self.models and model.endswith(TWIN_SUFFIX)

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
        """Tell whether an analysis has a meaning for a model: some need masks, [CLS] or training images."""
        if analysis in NEED_MASKS:
            return has_masks(self.dataset(model))
        if analysis in NEED_TRAINING:
            return self.images(self.models[model]["dataset"], "training") > 0
        return analysis not in NEED_CLASS_TOKEN or bool(self.card(model)["has_class_token"])

    def attention_kinds(self, model: str) -> list[str]:
        """Return the attention perturbations that apply to a model."""
        return list(applicable_attention_kinds(has_class_token=self.card(model)["has_class_token"]))

    def methods(self, model: str) -> list[str]:
        """Return the explanations of a model that `all` compares: those that apply, of those that are listed."""
        card = self.card(model)
        applicable = applicable_methods(
            has_class_token=card["has_class_token"], class_token_pooling=card["class_token_pooling"]
        )
        everywhere = self.probes["blocks"] is None and self.probes["tokens"] is None
        probe = ["probe"] if everywhere and self.applies(model, "linear_probes") else []
        wanted = self.explanations["methods"]
        return [name for name in (*applicable, *probe) if wanted is None or name in wanted]

    def removal_counts(self, model: str) -> list[int] | None:
        """Return the numbers of tokens that removal curves of a model keep, None for the default.

        Raises:
            InputError: a number is larger than the model's number of image tokens.
        """
        rows, columns = self.card(model)["grid"]
        counts, tokens = self.faithfulness["counts"], rows * columns
        if counts is None:
            return None
        if isinstance(counts, int):
            steps = max(1, min(counts, tokens) - 1)
            return sorted({1 + round(step * (tokens - 1) / steps) for step in range(steps + 1)})
        if max(counts) > tokens:
            raise InputError(f"config: faithfulness.counts: {model} has {tokens} image tokens, not {max(counts)}")
        return sorted(set(counts))

    def probed_blocks(self, depth: int) -> list[int]:
        """Return the blocks that linear probes of a model of this depth read."""
        wanted = self.probes["blocks"]
        return [block for block in range(depth) if wanted is None or block in wanted]

    def shows(self, figure: str) -> bool:
        """Tell whether `all` draws a figure, as far as the list of figures says."""
        return self.figures is None or figure in self.figures

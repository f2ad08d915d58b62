"""The checked and completed config, and what it says of data sets and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, TypeVar

from classlens.data.geometry import Geometry, Size, sides, simple
from classlens.data.groups import attribute_names
from classlens.data.kinds import kind_of, open_dataset
from classlens.data.select import digest_of_choice, select
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.models.imagenet import IMAGENET_CLASSES, imagenet_indices, is_wnid, knows_imagenet, may_know_imagenet

TWIN_SUFFIX, REPAIRED_SUFFIX = "-random", "-repaired"

Answer = TypeVar("Answer")


class ArchitectureInfo(TypedDict):
    """What the workflow knows of an architecture before it loads a model; see `classlens.models.describe`.

    A model with one output counts as one with two classes.
    """

    depth: int
    heads: int
    width: int
    head_width: int
    num_classes: int
    published_classes: int
    one_output: bool
    tokens: int
    num_prefix_tokens: int
    has_class_token: bool
    distilled: bool
    class_token_pooling: bool
    lacks: dict[str, str]
    grid: list[int]
    patch: list[int]
    image_size: Size
    channels: int
    transform: dict[str, Any]
    built_as: NotRequired[tuple[str, dict[str, Any]]]
    class_names: NotRequired[list[str] | None]
    source: NotRequired[dict[str, str]]


def _yaml(number: int | None) -> str:
    return "null, which is all" if number is None else str(number)


def _pieces(count: int, size: int) -> int:
    return -(-count // size)


def _bounds(count: int, size: int, piece: int) -> tuple[int, int]:
    return piece * size, min((piece + 1) * size, count)


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
    words: dict[str, Any]
    explanations: dict[str, Any]
    faithfulness: dict[str, Any]
    probes: dict[str, Any]
    tuned_lens: dict[str, Any]
    outliers: dict[str, Any]
    lens_page: dict[str, Any]
    series: dict[str, Any]
    repair: dict[str, Any]
    differences: list[list[str]]
    figures: list[str] | None
    store: str | None
    locks: str
    architectures: dict[str, ArchitectureInfo] = field(default_factory=dict)
    """Facts about each model's architecture, see `classlens.config.architecture`."""
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)
    """Answers by question and data set: listing folders takes time, and each of thousands of jobs asks."""

    def source(self, dataset: str) -> Source:
        """Return access to a data set."""
        return self._once("source", dataset, lambda: open_dataset(self.datasets[dataset], dataset))

    def selection(self, dataset: str) -> dict[str, Any]:
        """Return what chooses the images of a data set, see `classlens.data.select`."""
        indices = self.class_indices(dataset)
        return {**self.datasets[dataset], **({"class_indices": indices} if indices else {})}

    def stimuli(self, dataset: str) -> list[Stimulus]:
        """Return the images of a data set, see `classlens.data.select`."""
        return self._once("stimuli", dataset, lambda: select(self.source(dataset), self.selection(dataset)))

    def chosen(self, dataset: str) -> str:
        """Return the digest of which images are chosen of a data set, see `digest_of_choice`."""
        return self._once("chosen", dataset, lambda: digest_of_choice(self.stimuli(dataset)))

    def images(self, dataset: str, split: str = "evaluation") -> int:
        """Return the number of images in a split of a data set."""
        return self._once(split, dataset, lambda: sum(item.split == split for item in self.stimuli(dataset)))

    def classes(self, dataset: str) -> int:
        """Return the number of classes that a data set's class indices come from."""
        mapped = "classes", dataset
        if mapped not in self._known and self.class_indices(dataset):
            return IMAGENET_CLASSES
        return self._once(*mapped, lambda: self.source(dataset).class_count())

    def class_indices(self, dataset: str) -> dict[str, int] | None:
        """Return ImageNet's indices of a data set's classes, None where these have their own.

        They have ImageNet's if all are named by its wnids, no list says their order, and a model that looks at them is
        said to have its 1,000 classes: pretrained by a name of timm's, or by `num_classes` or head.
        """
        return self._once("class_indices", dataset, lambda: self._imagenet_indices(dataset))

    def _imagenet_indices(self, dataset: str) -> dict[str, int] | None:
        models = [entry for entry in self.models.values() if entry["dataset"] == dataset]
        # Most data sets have other names, or no such model, and then nothing is read.
        if not any(map(may_know_imagenet, models)):
            return None
        names = self.source(dataset).wnids()
        if not names or not all(map(is_wnid, names)) or not any(map(knows_imagenet, models)):
            return None
        indices = imagenet_indices()
        found = {name: indices.get(name) for name in names}
        if None in found.values() or [*found.values()] == [*range(len(names))]:
            return None
        return {name: index for name, index in found.items() if index is not None}

    def notes(self, dataset: str) -> list[str]:
        """Return what of a data set is taken for what, in a line each."""
        indices, notes = self.class_indices(dataset), self.source(dataset).notes()
        if indices:
            name, index = list(indices.items())[-1]
            notes.append(
                f"classes are named by ImageNet's wnids and have its indices ({name} is {index}), since models know "
                f"its 1,000 classes; write classes.txt where another order is meant"
            )
        return [f"datasets.{dataset}: {note}" for note in notes]

    def raw_images(self, dataset: str) -> list[str]:
        """Return the raw files that a data set's images come from."""
        return self.source(dataset).image_files(self.stimuli(dataset))

    def raw_masks(self, dataset: str) -> list[str]:
        """Return the raw files that the masks of a data set's evaluation images come from."""
        return self.source(dataset).mask_files(self.stimuli(dataset))

    def known_classes(self, counts: Mapping[str, int]) -> None:
        """Take numbers of classes, by data set, as known, so that the data sets are not asked."""
        self._known.update({("classes", dataset): count for dataset, count in counts.items()})

    def _once(self, question: str, dataset: str, answer: Callable[[], Answer]) -> Answer:
        if (question, dataset) not in self._known:
            self._known[question, dataset] = answer()
        known: Answer = self._known[question, dataset]
        return known

    def twin(self, model: str) -> str | None:
        """Return the name of a model's random twin, None where it has none."""
        series = self.models[model].get("series")
        twin = twin_name(series["name"] if series else model)
        return twin if twin in self.models else None

    def is_twin(self, model: str) -> bool:
        """Tell whether a model is some other model's, or a series', random twin."""
        if not model.endswith(TWIN_SUFFIX):
            return False
        own = model.removesuffix(TWIN_SUFFIX)
        return own in self.models or any(point.get("series", {}).get("name") == own for point in self.models.values())

    def points(self, model: str) -> list[str]:
        """Return the points of a model's series in the order of training; the model alone where it is of none."""
        series = self.models[model].get("series")
        if not series:
            return [model]
        return [name for name, entry in self.models.items() if entry.get("series", {}).get("name") == series["name"]]

    def pairs(self) -> dict[str, list[str]]:
        """Return the pairs of models whose difference is measured, by name."""
        return {"_".join(pair): pair for pair in self.differences}

    def original(self, model: str) -> str:
        """Return the model whose repaired weights a model has; itself, where it has its own."""
        own: str = self.models[model].get("repaired", model)
        return own

    def is_derived(self, model: str) -> bool:
        """Tell whether a model is beside another one: its twin, an earlier point of its series, or it repaired."""
        return self.is_twin(model) or self.is_passing(model) or self.original(model) != model

    def is_passing(self, model: str) -> bool:
        """Tell whether a model is a point of a series that training went on from."""
        series = self.models[model].get("series")
        return series is not None and not series["is_last"]

    def architecture(self, model: str) -> ArchitectureInfo:
        """Return the facts about a model's architecture."""
        return self.architectures[model]

    def dataset(self, model: str) -> dict[str, Any]:
        """Return the data set that a model looks at."""
        return self.datasets[self.models[model]["dataset"]]

    def trained(self, model: str) -> bool:
        """Tell whether the workflow itself trains a model."""
        return isinstance(self.models[model]["weights"], dict)

    def transform(self, model: str) -> dict[str, Any]:
        """Return a model's transform in full; timm's own comes from its architecture."""
        given = self.models[model]["transform"]
        return dict(self.architecture(model)["transform"] if given == "timm" else given)

    def geometry(self, model: str) -> Geometry:
        """Return the part of a model's transform that moves pixels."""
        transform = self.transform(model)
        return Geometry(
            size=simple(sides(transform["size"])),
            resize=transform["resize"],
            crop=transform["crop"],
            interpolation=transform["interpolation"],
        )

    def has_masks(self, dataset: str) -> bool:
        """Tell whether a data set has masks."""
        return self._once("masks", dataset, lambda: self.source(dataset).has_masks)

    def attributes(self, dataset: str) -> list[str]:
        """Return the attributes that images of a data set carry beside their class."""
        return self._once("attributes", dataset, lambda: attribute_names(self.datasets[dataset], self.source(dataset)))

    def spurious(self, dataset: str) -> str | None:
        """Return the attribute of a data set that `repair` is about, None where it has none, or does not say which."""
        names, given = self.attributes(dataset), self.repair["attribute"]
        return given if given in names else names[0] if given is None and len(names) == 1 else None

    def more_training(self, dataset: str) -> str:
        """Return what to do where a data set gives no training images."""
        chosen = self.datasets[dataset]
        if chosen["train_per_class"] == 0:
            return "train_per_class is 0: raise it"
        most = max(Counter(item.class_id for item in self.stimuli(dataset)).values())
        return (
            f"{most} images of a class at most are taken for evaluation (per_class = {_yaml(chosen['per_class'])}), "
            f"none is left for training (train_per_class = {_yaml(chosen['train_per_class'])}): "
            f"{self.source(dataset).more_training}"
        )

    def shards(self, model: str, split: str = "evaluation") -> int:
        """Return the number of shards of a model's images."""
        return _pieces(self.images(self.models[model]["dataset"], split), self.extraction["shard_size"])

    def shard_bounds(self, model: str, shard: int, split: str = "evaluation") -> tuple[int, int]:
        """Return first and last + 1 image of a shard of a model's images."""
        return _bounds(self.images(self.models[model]["dataset"], split), self.extraction["shard_size"], shard)

    def packed(self, dataset: str) -> bool:
        """Tell whether a data set's images are packed into shards; they are decoded in parts, by a job each."""
        return kind_of(self.datasets[dataset]).packed

    def parts(self, dataset: str, split: str) -> int:
        """Return the number of parts that a split of a packed data set is decoded in."""
        return _pieces(self.images(dataset, split), self.datasets[dataset]["images_per_job"])

    def part_bounds(self, dataset: str, split: str, part: int) -> tuple[int, int]:
        """Return first and last + 1 image of a part of a split, in the order in which images are stored."""
        return _bounds(self.images(dataset, split), self.datasets[dataset]["images_per_job"], part)

"""The kinds of data sets. Each is imported where a config uses it, so that planning stays light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classlens.data.source import Source
from classlens.declared import load

KINDS = {
    "digits": "classlens.data.digits:Digits",
    "patched_digits": "classlens.data.patched_digits:PatchedDigits",
    "imagenet_s": "classlens.data.imagenet_s:ImageNetS",
    "cifar100": "classlens.data.cifar100:Cifar100",
    "image_folder": "classlens.data.image_folder:ImageFolder",
    "webdataset": "classlens.data.webdataset:WebDataset",
    "parquet": "classlens.data.parquet:Parquet",
}

ARRANGED_BY = ("labels", "group_by", "patched")
"""See `Source.arranged_by`."""


def kind_of(dataset: Mapping[str, Any]) -> type[Source]:
    """Return the class of a data set's kind, given its section of the config."""
    kind: type[Source] = load(KINDS[dataset["kind"]])
    return kind


def open_dataset(dataset: Mapping[str, Any], name: str = "NAME") -> Source:
    """Return access to a data set, given its section of the config and its name there."""
    decoding = dataset.get("value_range"), dataset.get("channels")
    return kind_of(dataset)(dataset["root"], dataset["masks"], name, *decoding, arrangement_of(dataset))


def arrangement_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a data set's section of the config says of how its images are arranged."""
    return {key: dataset[key] for key in ARRANGED_BY if dataset.get(key) is not None}

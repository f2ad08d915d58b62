"""The interface of all kinds of data sets. A kind is one class in one module; `classlens.data.kinds` lists them."""

from __future__ import annotations

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict

from classlens.data.mask import Mask
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


class Place(TypedDict):
    """Keywords that every job on raw data takes: the arguments of `Source`."""

    root: str | None
    mask_root: str | None
    name: NotRequired[str]
    value_range: NotRequired[Sequence[float] | None]
    channels: NotRequired[int | None]
    arrangement: NotRequired[Mapping[str, Any]]


class Source(ABC):
    """A data set in its place on disk. It reads nothing until it is asked to, and threads may share it.

    Args:
        root: its folder, for kinds that need one.
        mask_root: the folder of the user's own masks, for kinds that take them.
        name: its name in the config, for messages.
        value_range: the stored values that mean black and white, for kinds that decode image files; None where the type
            of the values says it.
        channels: of each image, for kinds that take other images than pictures; None: pictures, of three.
        arrangement: further keys of its section of the config, those of `arranged_by`, that say how it is arranged.
    """

    needs_root: ClassVar[bool] = True
    holds: ClassVar[str] = ""
    """What `root` holds, for messages."""
    packed: ClassVar[bool] = False
    """Whether files hold many images each, which are decoded in parts."""
    takes_masks: ClassVar[bool] = False
    """Whether the user may name a folder of masks."""
    takes_channels: ClassVar[bool] = False
    """Whether images may have other channels than pictures."""
    arranged_by: ClassVar[tuple[str, ...]] = ()
    """Keys of the config that say how images are arranged."""
    decodes: ClassVar[bool] = True
    """Whether images are files of whatever type, whose range of values the user may name."""
    without_masks: ClassVar[str] = "the data set has no masks"
    """What to say where masks are asked for that do not exist."""
    published: ClassVar[tuple[str, ...]] = ()
    """How to get a data set that is published, one step each."""

    def __init__(
        self,
        root: str | None,
        mask_root: str | None = None,
        name: str = "NAME",
        value_range: Sequence[float] | None = None,
        channels: int | None = None,
        arrangement: Mapping[str, Any] | None = None,
    ) -> None:
        self.root, self.mask_root, self.name, self.value_range = Path(root or ""), mask_root, name, value_range
        self.channels, self.arrangement = channels, arrangement or {}

    def layout(self) -> dict[Path, str]:
        """Return the files and folders of a published data set that a config needs, with what each holds."""
        return {}

    @abstractmethod
    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return every image, class by class; `classlens.data.select` chooses among them.

        Args:
            selection: what will be chosen: `per_class`, `train_per_class`, `exclude_classes` and `too_few` of the
                config. Excluded classes may be missing.

        Raises:
            InputError: a file or folder is missing or wrong.
        """

    @abstractmethod
    def class_ids(self) -> list[str]:
        """Return the ids of all classes among which class indices count, in the order of the indices."""

    def class_count(self) -> int:
        """Return the number of classes among which class indices count."""
        return len(self.class_ids())

    @property
    def listed(self) -> bool | None:
        """Whether a classes.txt of the user's says which class has which index; None for kinds that take none."""
        return None

    def wnids(self) -> list[str]:
        """Return the names of classes whose indices are mere positions, where ImageNet's may be meant."""
        return []

    def without_images(self) -> dict[str, str]:
        """Return classes that exist but have no readable image for evaluation, each with the reason."""
        return {}

    def notes(self) -> list[str]:
        """Return how the data set is understood (what is taken for what), in a line each."""
        return []

    def doubts(self, selection: Mapping[str, Any]) -> list[str]:
        """Return what about the data set is probably a mistake, in a line each with the way out.

        See `classlens.check.doubts`. Arguments and errors are those of `stimuli`.
        """
        known = {composed(one) for one in self.class_ids()}
        other = [one for one in selection.get("exclude_classes", ()) if composed(one) not in known]
        if not other:
            return []
        near = get_close_matches(composed(other[0]), known, 1)
        return [
            f"datasets.{self.name}.exclude_classes: there is no class {other[0]}"
            f"{f' ({len(other)} such)' if len(other) > 1 else ''}"
            f"{f'; did you mean {near[0]}?' if near else f'; give ids, such as {next(iter(self.class_ids()))}'}"
        ]

    @property
    def has_masks(self) -> bool:
        """Whether evaluation images have masks."""
        return False

    @property
    def carries(self) -> tuple[str, ...]:
        """Attributes that images have beside their class, where the data set itself says them without being asked."""
        return ()

    def attributes(self, files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
        """Return what images carry beside their class, by attribute.

        Args:
            files: of the images in stimuli.csv.
            names: of the attributes.

        Raises:
            InputError: the data set says nothing of them.
        """
        raise InputError(f"datasets.{self.name}.groups: this kind holds no {', '.join(names)}; name a table of images")

    @property
    def more_training(self) -> str:
        """How a class gets more training images than it has, for messages."""
        return "add images, or lower train_per_class"

    @abstractmethod
    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the raw files that chosen images come from."""

    def mask_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the raw files that the masks of the chosen evaluation images come from.

        Raises:
            InputError: there are no masks, or an image has none.
        """
        raise self.no_masks()

    @abstractmethod
    def content(self, file: str) -> bytes:
        """Return the raw content of an image, given its file name in stimuli.csv."""

    @abstractmethod
    def decode(self, content: bytes, file: str) -> Image.Image:
        """Return the RGB image in raw content; `file` is for messages."""

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Return the raw content that an image's mask is made from."""
        raise self.no_masks()

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Return the mask made from such content, in the image's own size; `file` is for messages."""
        raise self.no_masks()

    def require_root(self) -> None:
        """Refuse a data set that is not there."""
        if not self.root.is_dir():
            raise InputError(
                f"datasets.{self.name}.root: there is no folder {self.root}"
                f"{'' if self.root.is_absolute() else f' in {Path.cwd()}'}; point it to the one that holds {self.holds}"
            )

    def no_masks(self) -> InputError:
        """Return the error for masks that do not exist."""
        return InputError(f"datasets.{self.name}: {self.without_masks}")

    def digest(self, file: str) -> str:
        """Return the SHA-256 of an image's raw content."""
        return _sha256(self.content(file))

    def image(self, file: str, digest: str | None = None) -> Image.Image:
        """Return an image as RGB.

        Args:
            file: its name in stimuli.csv.
            digest: what its raw content must have, if given.

        Raises:
            InputError: the content has another digest, or is no image.
        """
        return self.decode(_unchanged(self.content(file), digest, file), file)

    def mask_digest(self, file: str, class_id: str) -> str:
        """Return the SHA-256 of the raw content that an image's mask is made from."""
        return _sha256(self.mask_content(file, class_id))

    def mask(self, file: str, class_id: str, digest: str | None = None) -> Mask:
        """Return an image's mask; arguments and errors are those of `image`."""
        content = _unchanged(self.mask_content(file, class_id), digest, f"the mask of {file}")
        return self.decode_mask(content, file)


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC): file names that come from macOS are decomposed."""
    return unicodedata.normalize("NFC", text)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unchanged(content: bytes, digest: str | None, what: str) -> bytes:
    if digest is not None and _sha256(content) != digest:
        raise InputError(f"{what} changed after it was listed; run again")
    return content

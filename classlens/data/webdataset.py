"""Tar shards as the webdataset library writes them: KEY.jpg (.jpeg, .png, .webp) and KEY.cls, the class index as text.

KEY.mask.png is an image's mask, where there are any: pixels that are not zero are class. A name's key ends at its first
dot, after the last slash. Other members (KEY.json, KEY.txt) are left alone. See `classlens.data.packed` for folders.

Headers are read with the standard library. The webdataset library gives samples one after the other, with everything
in them: it knows no offsets, so that one image would cost its whole shard, and leaves out what is refused here. Tests
compare what both read. Nothing is extracted: a member is read at its offset.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens.data.packed import Packed
from classlens.data.raw import require_text
from classlens.errors import InputError

IMAGES = ("jpg", "jpeg", "png", "webp")
LABEL, MASK = "cls", "mask.png"
MOST_HEADER = 2**16
"""Bytes of a header, with long names: what declares more is damaged, or meant to fill the memory."""
MOST_LABEL = 32
"""Bytes of a class index."""
MOST_TEXT = 1000
"""Bytes of an attribute's value."""
MOST_BYTES = 2**30
"""Of an image file: far more than the pixels that are decoded at most."""
DAMAGED = (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError)
"""What tarfile raises for headers that it cannot read."""


class WebDataset(Packed):
    """Images and masks in tar files."""

    suffix = ".tar"
    version = 1
    without_masks = "there are no masks; put KEY.mask.png beside each KEY.jpg of the evaluation shards"

    @staticmethod
    def look(shard: str) -> dict[str, Any]:
        """Return names, labels, offsets and sizes (bytes) of a tar file's images, and its masks' by image.

        It reads headers and labels.
        """
        images: dict[str, tarfile.TarInfo] = {}
        masks: dict[str, tarfile.TarInfo] = {}
        labels: dict[str, int] = {}
        names = set()
        with _Headers(io.FileIO(shard)) as file:
            for name, member in _members(file, shard):
                key, stem, kind = _parted(name)
                kind = kind.lower()
                if not stem or kind not in (*IMAGES, LABEL, MASK):
                    continue
                if name in names:
                    raise InputError(f"{shard}: {name} is there twice; take one away")
                names.add(name)
                if kind == LABEL:
                    labels[key] = _label(file, member, f"{shard}: {name}")
                elif kind == MASK:
                    masks[key] = member
                elif key in images:
                    raise InputError(f"{shard}: {name} and {images[key].name} share a key; give each image its own")
                else:
                    images[key] = member
        _require_whole(shard, images, labels, masks)
        return {
            "images": [member.name for member in images.values()],
            "labels": [labels[key] for key in images],
            "offsets": [member.offset_data for member in images.values()],
            "sizes": [member.size for member in images.values()],
            "masks": {images[key].name: [member.offset_data, member.size] for key, member in masks.items()},
        }

    def masked(self, index: Mapping[str, Any], image: str) -> bool:
        """Tell whether there is a mask beside an image."""
        return image in index["masks"]

    def read(self, shard: Path, index: Mapping[str, Any], row: int, *, mask: bool = False) -> bytes:
        """Read a member at its offset."""
        image = index["images"][row]
        offset, size = index["masks"][image] if mask else (index["offsets"][row], index["sizes"][row])
        with shard.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise InputError(f"{shard}: {image} is cut off; replace the shard")
        return content

    def carried(self, shard: Path, index: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
        """Read the members KEY.NAME.txt of a shard."""
        texts: dict[tuple[str, str], str] = {}
        with _Headers(io.FileIO(shard)) as file:
            for name, member in _members(file, str(shard)):
                key, _, kind = _parted(name)
                attribute = kind.removesuffix(".txt")
                if attribute in names and kind != attribute:
                    if member.size > MOST_TEXT:
                        raise InputError(f"{shard}: {name} has {member.size:,} bytes; write a short value there")
                    file.seek(member.offset_data)
                    texts[key, attribute] = file.read(member.size).decode(errors="replace").strip()
        for name in names:
            if not any(attribute == name for _, attribute in texts):
                raise InputError(f"{shard} has no members KEY.{name}.txt; pack the attribute beside its images")
        keys = [_parted(image)[0] for image in index["images"]]
        return {name: [texts.get((key, name), "") for key in keys] for name in names}


class _Headers(io.BufferedReader):
    """A tar file of which headers are read, and nothing large."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MOST_HEADER:
            raise tarfile.ReadError(f"it has a header of {size or 0:,} bytes")
        return super().read(size)


def _parted(name: str) -> tuple[str, str, str]:
    """Return a member's key, the key's last part, and what comes after its first dot."""
    folder, _, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return f"{folder}/{stem}" if folder else stem, stem, kind


def _members(file: _Headers, shard: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the plain files of a tar file, by their names without a leading `./`, and refuse what is not whole."""
    length = os.fstat(file.fileno()).st_size
    try:
        with tarfile.TarFile(fileobj=file, encoding="utf-8", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # which would keep every member
                member.name = member.name.removeprefix("./")
                _require_plain(member, shard, length)
                if not member.isdir():
                    yield member.name, member
            end = archive.offset
    except DAMAGED as error:
        raise InputError(f"{shard} is no tar file, or is damaged ({error}); pack it again, uncompressed") from error
    # tarfile takes a header that is damaged or cut off for the end; a whole archive ends with zeros.
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"{shard} is damaged or cut off at byte {end:,} of {length:,}; restore it, or pack it again")


def _require_plain(member: tarfile.TarInfo, shard: str, length: int) -> None:
    """Refuse members that are no files, lie outside of the archive, or have names that lead somewhere else."""
    try:
        require_text(member.name)
    except InputError as error:
        raise InputError(f"{shard}: {error}") from None
    where = f"{shard}: {member.name}"
    if not member.isdir() and (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse()):
        raise InputError(f"{where} is a link, a device or a sparse file; pack the plain file")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise InputError(f"{where}: the name leads out of the shard; rename it")
    if not 0 <= member.size <= MOST_BYTES:
        raise InputError(f"{where} has {member.size:,} bytes; no image has, take it out of the shard")
    if member.offset_data + member.size > length:
        raise InputError(f"{where} is cut off: the shard ends before its {member.size:,} bytes do; restore the shard")


def _label(file: _Headers, member: tarfile.TarInfo, where: str) -> int:
    if member.size > MOST_LABEL:
        raise InputError(f"{where} has {member.size:,} bytes; write a class index there")
    file.seek(member.offset_data)
    text = file.read(member.size).strip()
    if not text.isdigit():
        raise InputError(f"{where}: {text.decode(errors='replace')!r} is no class index; write a whole number from 0")
    return int(text)


def _require_whole(
    shard: str, images: Mapping[str, tarfile.TarInfo], labels: Mapping[str, int], masks: Mapping[str, tarfile.TarInfo]
) -> None:
    """Refuse an image without label, and a label or mask without image."""
    for key, member in images.items():
        if key not in labels:
            raise InputError(f"{shard}: {member.name} has no class; put {key}.{LABEL} beside it")
    for key in (*labels, *masks):
        if key not in images:
            kind = LABEL if key in labels else MASK
            raise InputError(
                f"{shard}: {key}.{kind} has no image; put {key}.jpg (or .jpeg, .png, .webp) beside it, or take it away"
            )

"""What files and folders are that hold no checkpoint of a timm model, told from their first bytes and names."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile, is_zipfile

from classlens.errors import InputError

Kind = Literal["safetensors", "torch", "legacy", "npz"]
"""Formats that are read; "legacy" is what torch.save wrote before it wrote archives."""

SAVE = 'save its tensors where it was made: torch.save(model.state_dict(), "weights.pth")'
AGAIN = "copy or download it again"
FORMATS = "give a file of torch.save (.pth, .pt, .bin, .ckpt), .safetensors, or JAX's .npz"
FOREIGN = (
    "whose names and parts are not timm's: leave the key `architecture` out, and it is brought to timm "
    "(docs/models.md); in Python classlens.Lens.load(...)"
)
FIRST = 512
TORCH_LEGACY = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
"""torch's magic number as pickle writes it."""
TENSORFLOW_TABLE = bytes.fromhex("57fb808b247547db")
"""Last bytes of a table file of TensorFlow 1, and of the .index of later checkpoints."""
STARTS = {
    b"version https://git-lfs": "is a git-LFS pointer, not the file that it stands for; run `git lfs pull` beside it",
    b"\x89HDF": f"is an HDF5 file, as Keras saves weights; load them into the timm model and {SAVE}",
    b"\x93NUMPY": f"is one array of numpy, not a model's tensors by name; {SAVE}",
    b"GGUF": f"is a GGUF file; {FORMATS}",
    **dict.fromkeys(
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"),
        "is a packed archive; unpack it and name the checkpoint that was in it",
    ),
}
TENSORFLOW = f"is of a TensorFlow checkpoint; load it into the timm model in Python and {SAVE}"
ENDS = {
    r"\.(index|meta|pb|tflite|data-\d+-of-\d+)": TENSORFLOW,
    r"\.onnx": f"is an ONNX graph; take the model that it was exported from and {SAVE}",
    r"\.msgpack": f"is a checkpoint of Flax; load it into the timm model in Python and {SAVE}",
}

NAMES = {
    r"(^|\.)(embeddings\.patch_embeddings\.|encoder\.layer\.\d+\.attention\.|vision_model\.)": "Hugging Face's "
    "transformers{kind}; give its folder, with config.json",
    r"(^|\.)(conv_proj\.weight|encoder\.layers\.encoder_layer_\d+\.)": f"torchvision's VisionTransformer, {FOREIGN}",
    r"(^|\.)visual\.(transformer\.resblocks\.|conv1\.)": "CLIP; leave the key `architecture` out and name its model in "
    "open_clip, `weights: open_clip:ViT-B-16/{path}` (docs/models.md)",
    r"(^|\.)(layer[1-4]\.\d+\.(conv|bn)\d|layers\.\d+\.blocks\.|stages\.\d+\.)": "a convolutional or staged network, "
    "not of a plain vision transformer",
}
"""Patterns of tensors' names, whose they are, and what to do."""


def kind_of(path: Path) -> Kind:
    """Return the format of a checkpoint, by its content.

    Raises:
        InputError: it is missing, or something else; the message says what it is and what to do.
    """
    if path.is_dir():
        raise InputError(f"{path} {folder(path)}")
    if not path.exists():
        beside = Path(f"{path}.index").exists()
        raise InputError(f"{path}{TENSORFLOW[2:] if beside else ': no such file; correct the key `weights`'}")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or device, no file; correct the key `weights`")
    try:
        with path.open("rb") as file:
            first, size = file.read(FIRST), path.stat().st_size
            file.seek(-min(size, 8), 2)
            last = file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if first.startswith(b"PK"):
        return _archive(path)
    if first[8:9] == b"{" or (path.suffix == ".safetensors" and not _told(path, first, last)):
        _require_whole(path, first, size)
        return "safetensors"
    if told := _told(path, first, last):
        raise InputError(f"{path} {told}")
    if TORCH_LEGACY in first[:32]:
        return "legacy"
    if first[:1] == b"\x80":
        raise InputError(f"{path} is a pickle that torch.save did not write; {SAVE}")
    raise InputError(f"{path} is refused as a checkpoint: it is damaged or of another kind; {FORMATS}")


def _told(path: Path, first: bytes, last: bytes) -> str | None:
    """Return what a file is, None where neither its bytes nor its name tell."""
    if not first:
        return f"is empty; {AGAIN}"
    for start, text in STARTS.items():
        if first.startswith(start):
            return text
    for end, text in ENDS.items():
        if re.search(end + r"\Z", path.name):
            return text
    if last == TENSORFLOW_TABLE:
        return TENSORFLOW
    if first[257:262] == b"ustar":
        return STARTS[b"Rar!"]
    if first[:1] == b"\x08" and re.search(rb"onnx|pytorch|tensorflow", first[:64]):
        return ENDS[r"\.onnx"]
    shown = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if shown[:1] == b"<":
        return "is a web page (HTML), so the download went wrong; open its address in a browser and download the file"
    if path.name.endswith(".index.json"):
        return "is the list of a checkpoint in several files; load it in Python and save model.state_dict() as one file"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in first):
        return f"is text ({shown[:40].decode('ascii', 'replace')!r} ...), not a checkpoint; {FORMATS}"
    return None


def _archive(path: Path) -> Kind:
    """Return the format of a zip archive, which torch and numpy write, too."""
    if not is_zipfile(path):
        raise InputError(f"{path} is cut off or damaged: its end is missing; {AGAIN}")
    try:
        with ZipFile(path) as archive:
            entries = archive.infolist()
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} is a damaged archive ({error}); {AGAIN}") from error
    names = [entry.filename for entry in entries]
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        raise InputError(f"{path} is a TorchScript program, not a table of tensors; {SAVE}")
    if "data.pkl" in inner:
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > path.stat().st_size:  # torch does not compress
            raise InputError(
                f"{path} cannot be read as a checkpoint: it unpacks to {unpacked / 1e9:.3g} GB, and torch.save does "
                f"not compress; take the original file"
            )
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if "model.weights.h5" in names:
        raise InputError(f"{path} is a model of Keras; load it into the timm model in Python and {SAVE}")
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    raise InputError(f"{path} is a zip archive of other files ({shown}); unpack it and name the checkpoint in it")


def _require_whole(path: Path, first: bytes, size: int) -> None:
    """Refuse a safetensors file that is shorter than it says, or no such file."""
    header = int.from_bytes(first[:8], "little")
    if first[8:9] != b"{":
        raise InputError(f"{path} is no safetensors file; {AGAIN}, or {SAVE}")
    if 8 + header > size:
        raise InputError(f"{path} is cut off or damaged: its header alone should have {header:,} bytes; {AGAIN}")


def folder(path: Path) -> str:
    """Return what a folder is that was given as weights, and what to write instead."""
    known = config_of(path)
    if "architecture" in known and ("pretrained_cfg" in known or "num_features" in known or "num_classes" in known):
        return f'is a folder as timm saves models; write `architecture: "local-dir:{path}"` and `weights: pretrained`'
    if "model_type" in known or "architectures" in known:
        return f"is a folder of Hugging Face's transformers{_of_transformers(known)}"
    if (path / "saved_model.pb").exists():
        return f"is a folder {TENSORFLOW[3:]}"
    if (path / "data.pkl").exists():
        return f"is an unpacked archive of torch.save; {AGAIN}, and name the file"
    files = sorted(file.name for file in path.iterdir() if re.search(r"\.(pth?|bin|ckpt|safetensors|npz)$", file.name))
    return f"is a folder; name the checkpoint in it{f', such as {files[0]}' if files else ''}"


def _of_transformers(config: dict[str, Any]) -> str:
    """Return what to do with a model of transformers, to be put after its name."""
    kind = config.get("model_type")
    return f"{f' (model_type {kind})' if kind else ''}, {FOREIGN}"


def config_of(path: Path, name: str = "config.json") -> dict[str, Any]:
    """Return what a JSON file in a folder says, nothing where there is none or it is damaged."""
    try:
        found = json.loads((path / name).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def of_names(path: Path, names: Collection[str]) -> str | None:
    """Return whose checkpoint a file is, by the names of its tensors, and what to do; None where that is not known."""
    told = next((told for pattern, told in NAMES.items() if any(re.search(pattern, name) for name in names)), None)
    kind = _of_transformers(config_of(path.parent))
    return told and f"{path} is a checkpoint of {told.format(path=path, kind=kind)}"

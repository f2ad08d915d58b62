"""Which analyses apply to which models of other libraries, each tried on a tiny one: `what_applies.py docs/models.md`
writes the table there."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # as pytest does

import h5py
import numpy as np
import torch
from test_huggingface import CASES
from test_huggingface import made as of_transformers
from test_openclip import made as of_open_clip
from test_peft import SMALL as ADAPTED
from test_peft import adapted
from tiny_transformers import loaded_of
from torchvision.models import VisionTransformer

from classlens import Lens
from classlens.catalog.methods import METHODS, applicable_methods
from classlens.errors import InputError
from classlens.explanations import integrated
from classlens.measures.memory_parameters import read_class_values, write_parameters
from classlens.models.build import has_head
from classlens.models.canonical import save_weights
from classlens.models.facts import CLASS_EMBEDDING, SUM_OVER_TOKENS
from classlens.models.needs import lacks
from classlens.passes.tuned_lens_fit import Recipe, fit_maps

OPENING, CLOSING = "<!-- what applies: made by tests/sources/what_applies.py -->\n", "<!-- end of what applies -->\n"
COLUMNS = ("library", "models", "lens", "memories", "attribution", "tuned lens", "explanations")
COMPUTED = [name for name in METHODS if METHODS[name].compute or name == "random"]
OTHERWISE = {"use_mean_pooling": "without mean pooling"}
"""Names of settings that make another readout of the same class."""


def models() -> list[tuple[str, str, Any]]:
    """Return library, class and model, live, of every family."""
    import transformers

    found = []
    for name, config, options in CASES:
        aside = [f" ({words})" for key, words in OTHERWISE.items() if key in options]
        found.append(("transformers", f"`{name}`{''.join(aside)}", of_transformers(name, config, options)))
    torch.manual_seed(0)
    tower = VisionTransformer(32, 8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=50, num_classes=5).eval()
    torch.nn.init.normal_(tower.heads.head.weight)
    found.append(("torchvision", "`VisionTransformer`", tower))
    for pool in ("tok", "avg"):
        found.append(("open_clip", f"`VisionTransformer` (`pool_type: {pool}`)", of_open_clip(pool_type=pool)[0]))
    base = transformers.ViTForImageClassification(transformers.ViTConfig(**ADAPTED, image_size=32, patch_size=8))
    return [*found, ("peft", "LoRA on `ViTForImageClassification`", adapted(base))]


def tried(do: Any) -> bool:
    """Tell whether something runs, or is refused by name."""
    try:
        do()
    except InputError:
        return False
    return True


def applies(lens: Lens, folder: Path) -> list[str]:
    """Return what applies to a model, having run it and compared it with what planning says."""
    model, images = lens.model, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    view, headed, missing = lens(images), has_head(lens.model), lacks(lens.model)
    assert np.isfinite(view.output).all()
    asked = 0 if headed else None
    attribution = tried(lambda: view.attribution(0).gap().max())
    explained = [name for name in COMPUTED if tried(lambda name=name: view.explain(asked, name))]
    embedding = headed and CLASS_EMBEDDING not in missing
    if headed:
        assert tried(view.rank)
        assert attribution == (SUM_OVER_TOKENS not in missing)
        assert explained == [name for name in applicable_methods(missing) if name in COMPUTED]
        assert fit_maps(loaded_of(model), str(folder / "pixels.h5"), Recipe(1, 4, 0.01, 1e-3, 0), 8)
    else:
        assert not any(map(tried, (view.rank, view.top)))
        assert not attribution
    if embedding:
        save_weights(model, folder / "weights.safetensors", described_as="a tiny model")
        write_parameters(folder / "weights.safetensors", folder / "memories.h5")
        assert np.isfinite(read_class_values(folder / "memories.h5").scores["mlp"]).all()
    absent = [f"`{name}`" for name in COMPUTED if name not in explained]
    few = len(explained) <= len(absent)
    named = ", ".join(f"`{name}`" for name in explained) if few else f"all but {', '.join(absent)}" if absent else "all"
    marks = ["yes" if one else "no" for one in (embedding, attribution, headed)]
    return ["classes" if headed else "tokens", *marks, named]


def table() -> str:
    """Return the table in Markdown: models of a library to which the same applies share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    before, integrated.STEPS = integrated.STEPS, 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with h5py.File(folder / "pixels.h5", "w") as file:
                file["pixels"] = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
                file["class_index"] = np.zeros(8, np.uint16)
            for library, kind, model in models():
                kinds = rows.setdefault((library, *applies(Lens(model), folder)), [])
                kinds += [kind] if kind not in kinds else []
    finally:
        integrated.STEPS = before
        torch.set_num_threads(threads)
    cells = [(library, ", ".join(kinds), *rest) for (library, *rest), kinds in rows.items()]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def between(text: str) -> re.Match[str]:
    """Return the table in a text, between its comments."""
    found = re.search(f"(?<={re.escape(OPENING)}).*(?={re.escape(CLOSING)})", text, re.DOTALL)
    assert found
    return found


if __name__ == "__main__":
    path = Path(sys.argv[1])
    kept = path.read_text(encoding="utf-8")
    place = between(kept)
    path.write_text(f"{kept[: place.start()]}{table()}{kept[place.end() :]}", encoding="utf-8")

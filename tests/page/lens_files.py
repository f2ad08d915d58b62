"""Small result files of an imaginary model and the lens page made of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
from conftest import CHECKOUT

from classlens.data.stimulus import Stimulus, write_stimuli
from classlens.extraction.files import layer_attributes
from classlens.hdf5 import index_dtype
from classlens.page.write import write_lens_page
from classlens.terms import SITES, TOP, block_name

SOURCES = CHECKOUT / "workflow/page"
SIDE = 24
METHODS = (("gradient", "gradient"), ("chefer", "Chefer"))


class Made(SimpleNamespace):
    """What the files hold: arrays (B, N, T[, 5]) by site, (N, P), and `arguments`, the keywords of the page's job."""

    def write(self, page: Path, **changes: Any) -> Path:
        """Write the page."""
        page.parent.mkdir(parents=True, exist_ok=True)
        write_lens_page(page=str(page), **{**self.arguments, **changes})
        return page


def made(
    folder: Path,
    *,
    seed=0,
    images=8,
    blocks=4,
    grid=(3, 4),
    prefix=("[CLS]",),
    classes=7,
    masks=True,
    methods=METHODS,
    names="class {}",
    files="{}.png",
    tuned=False,
    **facts: Any,
) -> Made:
    """Write the files of a model whose values are random; images are of four classes, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    patches, kind = grid[0] * grid[1], index_dtype(classes)
    shape = (blocks, images, len(prefix) + patches)

    def drawn() -> dict[str, np.ndarray]:
        top = np.argsort(random.random((*shape, min(classes, 50))), axis=-1)[..., :TOP]
        return {"rank": random.integers(0, classes, shape), "top5": top}

    def write(name: str, rows: dict[str, np.ndarray]) -> str:
        with h5py.File(folder / name, "w") as file:
            file.attrs.update(layer_attributes(classes, len(prefix), "[CLS]" in prefix))
            for key, values in rows.items():
                file[key] = values.astype(kind) if values.dtype == int else values
        return str(folder / name)

    class_index, correct = np.sort(np.arange(images) % 4), np.arange(images) % 3 > 0
    sites = {site: drawn() | {"logit": random.normal(0, 5, shape).astype(np.float32)} for site in SITES}
    rank, top, logit = ({site: sites[site][name] for site in SITES} for name in ("rank", "top5", "logit"))
    seen = drawn()
    importance = {name: random.standard_normal((images, patches)).astype(np.float32) for name, _ in methods}
    label = random.integers(-1, 2, (images, patches), np.int8)
    pixels = random.integers(0, 256, (images, SIDE, SIDE, 3), np.uint8)
    best = np.where(correct, class_index, class_index + 1)
    top5 = (best[:, None] + np.arange(TOP)) % classes
    listed = [
        Stimulus("evaluation", int(index), f"id{index}", names.format(index), files.format(image))
        for image, index in enumerate(class_index)
    ]
    listed.append(Stimulus("training", 0, "id0", names.format(0), files.format("training")))
    write_stimuli(listed, ["0" * 64] * len(listed), folder / "stimuli.csv")
    layers, maps = [], []
    for block in range(blocks):
        rows = {f"{site}/{name}": values[block] for site, own in sites.items() for name, values in own.items()}
        layers.append(write(f"{block_name(block)}.h5", rows))
        maps.append(write(f"tuned_{block_name(block)}.h5", {name: values[block] for name, values in seen.items()}))
    arguments = {
        "layers": layers,
        "output": write("output.h5", {"class_index": class_index, "correct": correct, "top5": top5}),
        "pixels": write("pixels.h5", {"pixels": pixels}),
        "stimuli": str(folder / "stimuli.csv"),
        "labels": [write("labels.h5", {"label": label})] if masks else [],
        "explanations": [write(f"{name}.h5", {"importance": values}) for name, values in importance.items()],
        "tuned": maps if tuned else [],
        "template": str(SOURCES / "page.html"),
        "style": str(SOURCES / "page.css"),
        "scripts": sorted(map(str, SOURCES.glob("*.js"))),
        "images": images,
        "seed": 0,
        "methods": [list(method) for method in methods],
        "facts": {
            "model": "vit",
            "label": "A model",
            "dataset": "things",
            "grid": list(grid),
            "prefix": list(prefix),
            "notes": [],
            "others": [],
            **facts,
        },
    }
    held = {"rank": rank, "logit": logit, "top": top, "tuned": seen, "importance": importance, "label": label}
    return Made(**held, class_index=class_index, correct=correct, arguments=arguments)

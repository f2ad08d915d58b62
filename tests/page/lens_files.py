"""Small result files of an imaginary model and the lens page made of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from conftest import CHECKOUT

from classlens.data.stimulus import Stimulus, write_stimuli
from classlens.extraction.files import layer_attributes, layer_columns, output_columns
from classlens.hdf5 import Column, RowWriter
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
    patches = grid[0] * grid[1]
    shape = (blocks, images, len(prefix) + patches)

    def drawn_classes() -> np.ndarray:
        return np.argsort(random.random((*shape, min(classes, 50))), axis=-1)[..., :TOP]

    class_index = np.sort(np.arange(images) % 4)
    rank = {site: random.integers(0, classes, shape) for site in SITES}
    logit = {site: random.normal(0, 5, shape).astype(np.float32) for site in SITES}
    top = {site: drawn_classes() for site in SITES}
    importance = {name: random.standard_normal((images, patches)).astype(np.float32) for name, _ in methods}
    label = random.integers(-1, 2, (images, patches))
    pixels = random.integers(0, 256, (images, SIDE, SIDE, 3), np.uint8)
    correct = np.arange(images) % 3 > 0
    attributes = layer_attributes(classes, len(prefix), "[CLS]" in prefix)
    columns = {
        name: column
        for name, column in layer_columns(shape[2], classes, {"attn": 8, "mlp": 8}).items()
        if not name.startswith("keys/") and name != "residual/norm"
    }

    def write(name: str, columns: dict[str, Column], rows: dict[str, np.ndarray]) -> str:
        with RowWriter(folder / name, images, columns, attributes) as writer:
            writer.append(rows)
        return str(folder / name)

    arrays = {"rank": rank, "logit": logit, "top5": top}
    layers = [
        write(
            f"{block_name(block)}.h5",
            columns,
            {f"{site}/{name}": values[site][block] for name, values in arrays.items() for site in SITES},
        )
        for block in range(blocks)
    ]
    best = np.where(correct, class_index, class_index + 1)
    own = {"class_index": class_index, "correct": correct, "top5": (best[:, None] + np.arange(TOP)) % classes}
    listed = [
        Stimulus("evaluation", int(index), f"id{index}", names.format(index), files.format(image))
        for image, index in enumerate(class_index)
    ]
    extra = Stimulus("training", 0, "id0", names.format(0), files.format("training"))
    write_stimuli([*listed, extra], ["0" * 64] * (images + 1), folder / "stimuli.csv")
    seen = {"rank": random.integers(0, classes, shape), "top5": drawn_classes()}
    of_lens = {name: columns[f"residual/{name}"] for name in seen}
    maps = [
        write(f"tuned_{block_name(block)}.h5", of_lens, {name: values[block] for name, values in seen.items()})
        for block in range(blocks)
    ]
    labels = write("labels.h5", {"label": Column((patches,), np.int8, "")}, {"label": label})
    arguments = {
        "layers": layers,
        "output": write("output.h5", output_columns(classes), own),
        "pixels": write("pixels.h5", {"pixels": Column((SIDE, SIDE, 3), np.uint8, "")}, {"pixels": pixels}),
        "stimuli": str(folder / "stimuli.csv"),
        "labels": [labels] if masks else [],
        "explanations": [
            write(f"{name}.h5", {"importance": Column((patches,), np.float32, "")}, {"importance": importance[name]})
            for name, _ in methods
        ],
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
    return Made(
        rank=rank,
        logit=logit,
        top=top,
        tuned=seen,
        importance=importance,
        label=label,
        class_index=class_index,
        correct=correct,
        arguments=arguments,
    )

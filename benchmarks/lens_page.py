"""Size and speed of a lens page in Chromium: 200 images of a ViT-B/16 with 1,000 classes.

    python benchmarks/lens_page.py [--images 200] [--blocks 12] [--grid 14] [--keep FOLDER]

The result files are made up, but not easier to compress than real ones: ranks and classes come from projecting random
walks over blocks, with noise in every token, onto random classes; photos are crops of scikit-learn's sample photos. The
page is opened from disk; times are medians. The last image is that of a link to it, which waits for the whole file. A
block change is timed from the key to the second frame after it, which shows it.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_sample_images

from classlens.data.stimulus import Stimulus, write_stimuli
from classlens.extraction.files import layer_attributes, layer_columns, output_columns
from classlens.hdf5 import Column, RowWriter
from classlens.page.write import write_lens_page
from classlens.terms import SITES, TOP, block_name

CLASSES, WIDTH, SIDE = 1000, 64, 224
METHODS = ["gradient", "chefer", "rollout", "random"]
KEYS = {"attn": TOP, "mlp": TOP}
SOURCES = Path(__file__).resolve().parents[1] / "workflow/page"
CHANGE = """
key => new Promise(done => {
  const start = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=200)
    options.add_argument("--blocks", type=int, default=12)
    options.add_argument("--grid", type=int, default=14)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--chromium", default="/usr/bin/chromium")
    options.add_argument("--keep", type=Path, help="write the page into this folder and leave it there")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_results(folder, given.images, given.blocks, given.grid)
        page = (given.keep or folder) / "vit.html"
        write_page(folder, page, made, given)
        size, tokens = page.stat().st_size / 1e6, given.grid**2 + 1
        print(f"{given.images} images, {given.blocks} blocks, {tokens} tokens: {size:.1f} MB")
        first, last, change = measure(page, given)
        print(f"first view {first:.0f} ms, last image {last:.0f} ms, block change {change:.0f} ms")


def make_results(folder: Path, images: int, blocks: int, grid: int) -> dict[str, list[str]]:
    random = np.random.default_rng(0)
    tokens = 1 + grid**2
    classes = random.standard_normal((CLASSES, WIDTH), dtype=np.float32)
    correct = np.sort(random.permutation(np.arange(images) % CLASSES))
    # Tokens of an image share a part, drift towards the class, and keep noise of their own.
    walk = random.standard_normal((images, tokens, WIDTH), dtype=np.float32)
    walk += random.standard_normal((images, 1, WIDTH), dtype=np.float32)
    # Some tokens are pulled to the class, most hardly.
    strength = random.random((images, tokens, 1), dtype=np.float32) ** 4
    attributes = layer_attributes(CLASSES, 1, True)
    paths = []
    for block in range(blocks):
        paths.append(str(folder / f"{block_name(block)}.h5"))
        columns = layer_columns(tokens, CLASSES, KEYS)
        with RowWriter(paths[-1], images, columns, {**attributes, "block": block}) as writer:
            branches = {site: random.standard_normal(walk.shape, dtype=np.float32) for site in ("attn", "mlp")}
            for site, noise in branches.items():
                branches[site] = 0.4 * noise + 0.1 * strength * classes[correct][:, None]
                walk += branches[site]
            for image in range(images):
                row = {name: np.zeros((1, *column.shape), column.dtype) for name, column in columns.items()}
                for site in SITES:
                    logits = branches.get(site, walk)[image] @ classes.T
                    own = logits[:, correct[image]]
                    row[f"{site}/logit"][0], row[f"{site}/rank"][0] = own, (logits > own[:, None]).sum(1)
                    top = np.argpartition(-logits, TOP, axis=1)[:, :TOP]
                    order = np.argsort(-np.take_along_axis(logits, top, 1), axis=1)
                    row[f"{site}/top5"][0] = np.take_along_axis(top, order, 1)
                writer.append(row)
    with RowWriter(folder / "output.h5", images, output_columns(CLASSES), attributes) as writer:
        right = random.random(images) < 0.8
        others = (correct[:, None] + 1 + np.arange(TOP)) % CLASSES
        top = np.where(right[:, None], np.column_stack([correct, others[:, 1:]]), others)
        writer.append({"class_index": correct, "correct": right, "top5": top})
    pixels = {"pixels": Column((SIDE, SIDE, 3), np.uint8, "", compress=False)}
    with RowWriter(folder / "evaluation.h5", images, pixels) as writer:
        for _ in range(images):
            writer.append({"pixels": crop(random)[None]})
    explanations = [str(folder / f"{method}.h5") for method in METHODS]
    for path in explanations:
        with RowWriter(path, images, {"importance": Column((grid**2,), np.float32, "")}) as writer:
            writer.append({"importance": random.standard_normal((images, grid**2))})
    labels = str(folder / "token_labels.h5")
    with RowWriter(labels, images, {"label": Column((grid**2,), np.int8, "")}) as writer:
        writer.append({"label": random.integers(0, 2, (images, grid**2))})
    listed = [
        Stimulus("evaluation", c, f"n{c:08}", f"class number {c}", f"n{c:08}/{n}.JPEG") for n, c in enumerate(correct)
    ]
    write_stimuli(listed, ["0" * 64] * images, folder / "stimuli.csv")
    return {"layers": paths, "explanations": explanations, "labels": [labels]}


def crop(random: np.random.Generator) -> np.ndarray:
    photo = load_sample_images().images[random.integers(2)]
    top, left = (random.integers(size - SIDE) for size in photo.shape[:2])
    part = photo[top : top + SIDE, left : left + SIDE]
    return part[:, ::-1] if random.random() < 0.5 else part


def write_page(folder: Path, page: Path, made: dict[str, list[str]], given: argparse.Namespace) -> None:
    write_lens_page(
        **made,
        output=str(folder / "output.h5"),
        pixels=str(folder / "evaluation.h5"),
        stimuli=str(folder / "stimuli.csv"),
        template=str(SOURCES / "page.html"),
        style=str(SOURCES / "page.css"),
        scripts=sorted(map(str, SOURCES.glob("*.js"))),
        page=str(page),
        images=given.images,
        seed=0,
        methods=[[method, method] for method in METHODS],
        facts={
            "model": "vit",
            "label": "ViT-B/16",
            "dataset": "made up",
            "grid": [given.grid] * 2,
            "prefix": ["[CLS]"],
            "notes": [],
            "others": [],
        },
    )


def measure(page_file: Path, given: argparse.Namespace) -> tuple[float, float, float]:
    views: dict[str, list[float]] = {"": [], f"#image={given.images - 1}": []}
    changes = []
    with sync_playwright() as playwright:
        for _ in range(given.turns):
            for fragment, times in views.items():
                browser = playwright.chromium.launch(
                    executable_path=given.chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page()
                page.goto(page_file.resolve().as_uri() + fragment)
                page.wait_for_selector("html[data-ready]", state="attached")
                times.append(page.evaluate("performance.getEntriesByName('first view')[0].startTime"))
                changes += [page.evaluate(CHANGE, key) for key in ["ArrowLeft"] * (given.blocks - 1)]
                browser.close()
    first, last = map(statistics.median, views.values())
    return first, last, statistics.median(changes)


if __name__ == "__main__":
    main()

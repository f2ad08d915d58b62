"""The pictures of README and docs, from the default run: pictures.py RESULTS IMAGES.

Needs Chromium, e.g. Debian's package chromium, for the lens page.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FIGURE = "figures/identifiability_comparison.png"
PAGE = "lens/vit_cls.html"
VIEW = "image=303&site=residual&block=3&token=0&colour=identifiability"
"""What the lens page shows: the fragment of its address. An eight that [CLS] takes for a zero up to block 4."""
WINDOW = {"width": 1360, "height": 1010}
COLOURS = 128
MOST_BYTES = 200_000


def main(results: Path, images: Path) -> None:
    """Make all pictures.

    Raises:
        SystemExit: something that they are made from is missing, or a picture is too large to be kept with the code.
    """
    missing = [str(results / name) for name in (FIGURE, PAGE) if not (results / name).is_file()]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; run the default workflow first (make all)")
    keep(Image.open(results / FIGURE), images / "identifiability_comparison.png")
    keep(screenshot(results / PAGE, VIEW), images / "lens_page.png")


def screenshot(page_file: Path, fragment: str) -> Image.Image:
    """Return what a browser shows of a page at a fragment of its address."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("the picture of the lens page needs Chromium, e.g. from Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=WINDOW, color_scheme="light")
        page.goto(f"{page_file.resolve().as_uri()}#{fragment}")
        page.wait_for_timeout(1000)
        shot = page.screenshot()
        browser.close()
    return Image.open(io.BytesIO(shot))


def keep(image: Image.Image, path: Path) -> None:
    """Write a picture with few colours, so that it is small."""
    image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}; show less, or in fewer colours")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

"""A real browser for the pages that the workflow writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, e.g. from Debian's package chromium")


@contextmanager
def launched() -> Iterator[Any]:
    """Start Chromium and yield it, for tests that open many pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(page_file: Path, heard: list[str] | None = None, browser: Any = None, **context: Any) -> Iterator[Any]:
    """Open a file in Chromium and yield the page.

    Args:
        page_file: the file.
        heard: takes every dialog, error and request for anything but the file itself.
        browser: one that is launched; without it, one of its own.
        context: of the browser, e.g. viewport or color_scheme.
    """
    notes = [] if heard is None else heard
    address = page_file.resolve().as_uri()

    def dialog(box: Any) -> None:
        notes.append(f"dialog: {box.message}")
        box.dismiss()

    def request(asked: Any) -> None:
        if asked.url.partition("#")[0] != address and not asked.url.startswith(("data:", "blob:")):
            notes.append(f"request: {asked.url}")

    with launched() if browser is None else nullcontext(browser) as chromium:
        own = chromium.new_context(**context)
        try:
            page = own.new_page()
            page.on("dialog", dialog)
            page.on("pageerror", lambda error: notes.append(f"error: {error}"))
            page.on("console", lambda said: notes.append(f"console: {said.text}") if said.type == "error" else None)
            page.on("request", request)
            page.goto(address)
            yield page
        finally:
            own.close()

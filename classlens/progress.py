"""Progress of long work: a bar on a terminal, a line every ten seconds in the log, which `classlens.watch` reads."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

LOG_EVERY_SECONDS = 10.0

log = logging.getLogger(__name__)


class Progress:
    """Count of things done out of `total`.

    The bar is drawn only where standard error is a terminal; a batch system's job leaves its traces in the log.
    """

    def __init__(self, total: int, what: str, unit: str = "image") -> None:
        self._bar = tqdm(total=total, desc=what, unit=unit, disable=None, leave=False)
        self._what, self._unit, self._total = what, unit, total
        self._done = 0
        self._start = self._logged = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Report `count` more things done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            self._log(now)

    def _log(self, now: float) -> None:
        rate = self._done / max(now - self._start, 1e-9)
        shown = f"{rate:.1f}" if rate >= 1 or not rate else f"{rate:.2g}"
        log.info("%s: %d of %d %ss, %s/s", self._what, self._done, self._total, self._unit, shown)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        self._log(time.monotonic())

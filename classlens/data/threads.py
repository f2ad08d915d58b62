"""Work through items in threads, with a progress bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from classlens.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, what: str
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with the function's value, in order, computed in threads that run a few items ahead."""
    listed = list(items)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool, Progress(len(listed), what) as progress:
        for item in listed:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > 4 * threads:
                yield _next(waiting, progress)
        while waiting:
            yield _next(waiting, progress)


def _next(waiting: deque[tuple[Item, Any]], progress: Progress) -> tuple[Item, Any]:
    item, future = waiting.popleft()
    result = future.result()
    progress.advance()
    return item, result

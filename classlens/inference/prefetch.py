"""Work in order in a thread beside the caller's, at most two steps ahead of it or after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
DEPTH = 2
"""Steps that one side may be ahead of the other."""


def prefetch(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield `function(item)` in order; the next two are computed while the caller works on one.

    An error of the function is raised where its result would be yielded.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > DEPTH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def background(function: Callable[Arguments, None]) -> Iterator[Callable[Arguments, None]]:
    """Give a function that returns at once and does its work in the background, in order.

    It waits while two calls are unfinished. An error of a call is raised by one of the next, and by all after that, at
    the latest on leaving the context; no call is begun after one that failed.
    """
    failed: BaseException | None = None

    def call(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> None:
        nonlocal failed
        if failed:
            raise failed
        try:
            function(*arguments, **keywords)
        except BaseException as error:
            failed = error
            raise

    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[None]] = deque()

        def submit(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> None:
            waiting.append(thread.submit(call, *arguments, **keywords))
            while len(waiting) > DEPTH:
                waiting.popleft().result()

        yield submit
        while waiting:
            waiting.popleft().result()

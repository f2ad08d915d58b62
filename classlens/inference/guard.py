"""See to it that hooks fire: what is read or changed in a block is counted, once in every forward pass.

A hook that does not fire is silent. So whatever reads or changes activations does it through `watch`, which compares
what it saw of each block with what the model's depth says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

from classlens.errors import InputError
from classlens.models.linear import replaced

Read = Callable[[int, torch.Tensor], torch.Tensor | None]
"""Called as read(block, values); what it returns, if anything, takes the place of the values."""


@dataclass(frozen=True)
class Spot:
    """Where a block is read.

    Attributes:
        name: for messages, the module's name in a block; "" for the block itself.
        module: of a block.
        read: what is done there.
        before: with the module's input rather than with its output.
        blocks: in which blocks; None: in all.
    """

    name: str
    module: Callable[[Any], Any]
    read: Read
    before: bool = False
    blocks: Collection[int] | None = None

    @property
    def label(self) -> str:
        """Of what is seen there."""
        return f"the input of {self.name or 'the block'}" if self.before else self.name or "the output"


class Guard:
    """Counts what is seen of each block, in every forward pass.

    Attributes:
        block: which one runs; None: none.
    """

    def __init__(self, blocks: list[Any]) -> None:
        self.block: int | None = None
        self._blocks = blocks
        self._due: list[dict[str, tuple[str, Any]]] = [{} for _ in blocks]
        self._seen: Counter[str] = Counter()
        self._next = 0
        self._ran = False

    def expect(self, block: int, label: str, name: str, module: Any) -> None:
        """Say that a module, by its name in a block, is to be seen whenever the block runs, once."""
        self._due[block][label] = name, module

    def see(self, label: str) -> None:
        """Take note that the block that runs showed something."""
        self._seen[label] += 1

    def begin(self, block: int) -> None:
        """Take note that a block begins.

        Raises:
            InputError: it is another one's turn.
        """
        self.block = block
        self._seen.clear()
        if recomputed():
            return
        if not _piecewise.get() and block != self._next:
            if self._ran and block == (self._next or len(self._blocks)) - 1:
                raise _unseen(block, "", self._blocks[block], "ran more than once in a forward pass")
            raise _unseen(self._next, "", self._blocks[self._next], "did not run in a forward pass")
        self._ran = True
        self._next = 0 if _piecewise.get() else (block + 1) % len(self._blocks)

    def end(self, block: int) -> None:
        """Compare what was seen of a block with what was expected.

        Raises:
            InputError: something was not seen, or more than once.
        """
        self.block = None
        if recomputed():
            return
        for label, (name, module) in self._due[block].items():
            if self._seen[label] != 1:
                how = f"was seen {self._seen[label]} times" if self._seen[label] else "was not seen"
                raise _unseen(block, name, module, f"{how} in a forward pass", label)

    def close(self) -> None:
        """Check that forward passes came to their end, and that there was one.

        Raises:
            InputError: a block did not run.
        """
        if self._next or not self._ran:
            raise _unseen(self._next, "", self._blocks[self._next], "did not run in a forward pass")


@contextmanager
def guarded(model: Any) -> Iterator[Guard]:
    """Count the blocks of every forward pass in the context, at least one.

    Args:
        model: a supported timm model.

    Raises:
        InputError: a block did not run, or not once in its turn, or showed something not exactly once. It is not raised
            in place of an error that is on its way.
    """
    blocks = list(model.blocks)
    for block, module in enumerate(blocks):
        if any(module is other for other in blocks[:block]):
            raise InputError(
                f"block {block} is the same object as an earlier block, so that what is read of them cannot be told "
                f"apart; give each a copy of its own: model.blocks[{block}] = copy.deepcopy(model.blocks[{block}])"
            )
    guard = Guard(blocks)
    with ExitStack() as stack:
        stack.enter_context(_eager())
        for block, module in enumerate(blocks):
            stack.callback(module.register_forward_pre_hook(lambda *_, block=block: guard.begin(block)).remove)
        yield guard
        guard.close()


@contextmanager
def watch(model: Any, *spots: Spot) -> Iterator[Guard]:
    """Read spots of the blocks of every forward pass in the context, in the order in which they are given.

    Raises:
        InputError: see `guarded`.
    """
    with ExitStack() as stack:
        guard = stack.enter_context(guarded(model))
        for block, module in enumerate(model.blocks):
            for spot in spots:
                if spot.blocks is None or block in spot.blocks:
                    hooked = spot.module(module)
                    guard.expect(block, spot.label, spot.name, hooked)
                    hook = _hook(guard, block, spot)
                    register = hooked.register_forward_pre_hook if spot.before else hooked.register_forward_hook
                    stack.callback(register(hook).remove)
        with finishing(model, guard):
            yield guard


@contextmanager
def finishing(model: Any, guard: Guard) -> Iterator[None]:
    """Compare counts whenever a block ends. It is entered last, since hooks fire in the order in which they came."""
    with ExitStack() as stack:
        for block, module in enumerate(model.blocks):
            stack.callback(module.register_forward_hook(lambda *_, block=block: guard.end(block)).remove)
        yield


@contextmanager
def piecewise() -> Iterator[None]:
    """Let the caller run blocks itself, those that it wants to; each that runs is still to show what it should."""
    token = _piecewise.set(True)
    try:
        yield
    finally:
        _piecewise.reset(token)


_piecewise: ContextVar[bool] = ContextVar("piecewise", default=False)


def _hook(guard: Guard, block: int, spot: Spot) -> Callable[..., Any]:
    def hook(_module: Any, inputs: tuple[torch.Tensor, ...], *output: torch.Tensor) -> Any:
        # Blocks may share a module.
        if guard.block != block:
            return None
        guard.see(spot.label)
        return spot.read(block, output[0] if output else inputs[0])

    return hook


def recomputed() -> bool:
    """Tell whether a backward pass is under way, in which checkpointed blocks run once more."""
    return bool(torch._C._current_graph_task_id() != -1)  # as torch.utils.checkpoint asks


def _eager() -> AbstractContextManager[Any]:
    """Return a context in which compiled code is not run, since it may have been made before the hooks."""
    if "_dynamo" not in torch.__dict__:  # nothing was compiled; asked otherwise, torch would import it
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _unseen(block: int, name: str, module: Any, what: str, label: str = "") -> InputError:
    where = f"model.blocks[{block}]" + (f".{name}" if name else "")
    part = f"{label} of block {block}" if label else f"block {block}"
    kind = f"its `forward` was replaced: undo that (del {where}.forward)" if replaced(module) else "take timm's own"
    return InputError(
        f"{part} ({type(module).__name__}) {what}, so that it can be neither read nor changed; {kind}, and read what "
        f"you need by classlens.Lens or by hooks"
    )

"""Save a model as it is trained, as a series of checkpoints that a config takes (docs/series.md)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model

from classlens.errors import InputError

CALLBACKS = {
    "lightning.pytorch": "Callback",
    "pytorch_lightning": "Callback",
    "transformers.trainer_callback": "TrainerCallback",
}
"""Modules of libraries that train, and what each wants a callback to be."""
UNITS = ("epoch", "step")


class SaveSeries:
    """A callback of PyTorch Lightning and of transformers' Trainer that saves weights while they train, nothing else.

    Files are called `epoch_1.safetensors`, `epoch_2.safetensors`, ... (a folder `epoch_1` with its config of a model of
    transformers), so that `checkpoints: FOLDER/epoch_*` names them in the order of training. 0 is before training.

    Args:
        folder: where to write; made if it is missing.
        every: of how many epochs or steps one is saved.
        at: what is counted, `epoch` or `step` (of the optimiser).
        of: the attribute of a LightningModule that holds the vision transformer; without such an attribute the module
            itself is saved.

    Raises:
        InputError: `every` or `at` is none of these.
    """

    def __new__(cls, *_args: Any, **_options: Any) -> SaveSeries:
        # Both libraries want callbacks to be of a class of theirs. Only what was imported can be about to train.
        bases = [getattr(sys.modules[name], kind) for name, kind in CALLBACKS.items() if name in sys.modules]
        made: SaveSeries = object.__new__(type(cls.__name__, (cls, *bases), {}) if bases else cls)
        return made

    def __init__(self, folder: Path | str, *, every: int = 1, at: str = "epoch", of: str = "model") -> None:
        if every < 1 or at not in UNITS:
            raise InputError(f"every is {every!r} and at {at!r}; give a number from 1, and {' or '.join(UNITS)}")
        self.folder, self.every, self.at, self.of = Path(folder), every, at, of
        self._last = -1

    def save(self, model: torch.nn.Module, number: int) -> None:
        """Save a model if it is its turn."""
        if number % self.every or number == self._last:
            return
        self._last = number
        path = self.folder / f"{self.at}_{number}"
        self.folder.mkdir(parents=True, exist_ok=True)
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(path)  # type: ignore[operator]
        else:
            save_model(model, f"{path}.safetensors")

    def _of_lightning(self, trainer: Any, module: Any, at: str, number: int) -> None:
        if at == self.at and trainer.is_global_zero and not getattr(trainer, "sanity_checking", False):
            self.save(getattr(module, self.of, module), number)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Lightning is about to train."""
        done = trainer.global_step if self.at == "step" else trainer.current_epoch
        self._of_lightning(trainer, pl_module, self.at, done)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_batch: Any) -> None:
        """Lightning has taken a batch."""
        self._of_lightning(trainer, pl_module, "step", trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning has ended an epoch."""
        self._of_lightning(trainer, pl_module, "epoch", trainer.current_epoch + 1)

    def _of_transformers(self, state: Any, model: Any, at: str, number: int) -> None:
        if at == self.at and state.is_world_process_zero:
            self.save(model, number)

    def on_train_begin(self, _args: Any, state: Any, _control: Any, model: Any = None, **_more: Any) -> None:
        """Trainer is about to train."""
        done = state.global_step if self.at == "step" else round(state.epoch or 0)
        self._of_transformers(state, model, self.at, done)

    def on_step_end(self, _args: Any, state: Any, _control: Any, model: Any = None, **_more: Any) -> None:
        """Trainer has taken a step."""
        self._of_transformers(state, model, "step", state.global_step)

    def on_epoch_end(self, _args: Any, state: Any, _control: Any, model: Any = None, **_more: Any) -> None:
        """Trainer has ended an epoch."""
        self._of_transformers(state, model, "epoch", round(state.epoch))

    def on_train_end(self, *_args: Any, **_more: Any) -> None:
        """Do nothing: both libraries call this, in ways of their own."""

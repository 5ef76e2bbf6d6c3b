"""One bar for a whole training: the stage, the loss beside its floor, the time left."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm


class TrainingProgress(ProgressBar):
    """Counts optimizer steps over all epochs; off a terminal it prints a line every so often."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True

    def disable(self) -> None:
        """Called by Lightning on all but the first process."""
        self._enabled = False

    def enable(self) -> None:
        """Called by Lightning to switch the bar on again."""
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the step a resumed run stands at."""
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=int(trainer.estimated_stepping_batches),
            initial=trainer.global_step,
            desc="training",
            unit="step",
            disable=not self._enabled,
            dynamic_ncols=terminal,
            mininterval=0.2 if terminal else 20.0,
            file=sys.stderr,
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance to the trainer's step."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the epoch and its loss beside the prior's."""
        metrics = trainer.callback_metrics
        if self._bar is None or "val/loss" not in metrics:
            return
        self._bar.set_postfix_str(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, val/loss {float(metrics['val/loss']):.3f} "
            f"(prior {float(metrics['val/loss_prior']):.3f})"
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the terminal clean for the message."""
        if self._bar is not None:
            self._bar.close()

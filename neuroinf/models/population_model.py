"""What every Lightning model of a population's latents does beside its training: begin at data, log, save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

LOGGED = ("train/loss", "val/loss", "val/loss_prior", "val/reconstruction")


class PopulationModel(L.LightningModule, ABC):
    """A model whose checkpoint says what it takes to build it again.

    Args:
        architecture: Which one, as the configuration names it.
        design: Arguments of its network, plain values.

    Attributes:
        population: Bins, kind and neurons of the training data.
        provenance: Where they are from.
        seconds: Of training.
        history: Losses after each epoch.
    """

    begun: Tensor

    def __init__(self, architecture: str, design: dict[str, Any]) -> None:
        super().__init__()
        self.architecture, self.design = architecture, design
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self.history: list[dict[str, float]] = []
        self.population: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}
        self.seconds = 0.0

    @abstractmethod
    def begin(self, sessions: Sequence[Sequence[Tensor]]) -> None:
        """Start from training data, sequences (T, K) of each session."""

    def on_train_start(self) -> None:
        """A model that was given no training data to begin at begins at the loader's windows."""
        if not self.begun:
            batches = list(self.trainer.train_dataloader or [])
            self.begin([[x for windows in found for x in windows] for found in zip(*batches, strict=True)])

    def on_validation_epoch_end(self) -> None:
        """Add a line to the learning curve."""
        logged = self.trainer.callback_metrics
        self.history.append(
            {"epoch": float(self.current_epoch)} | {key: float(logged[key]) for key in LOGGED if key in logged}
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build this model again, in plain types."""
        checkpoint["neuroinf"] = {
            "format": 1,
            "model": "latents",
            "architecture": self.architecture,
            "prior": None,
            "observation": None,
            "encoder": self.design,
            "density": None,
            "population": self.population,
            "history": self.history,
            "training_seconds": self.seconds,
            "provenance": self.provenance,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the learning curve and the clock."""
        content = checkpoint["neuroinf"]
        self.history, self.seconds = list(content["history"]), float(content["training_seconds"])

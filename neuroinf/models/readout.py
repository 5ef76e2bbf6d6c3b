"""The second stage of a training: what follows the encoder, on features computed once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from neuroinf.datasets.enriched_features import Weighted
from neuroinf.errors import InputError
from neuroinf.models.amortized import AmortizedInference, Batch, one_cycle
from neuroinf.networks.pooling import SweepPooling


@dataclass(frozen=True)
class ReadoutStage:
    """How pooling and density are trained further, with the encoder as it is.

    A step of the density costs a hundredth of a step of the encoder, yet needs many more of them to become calibrated.
    With the encoder's features of every training row computed once, the same time affords them.

    Args:
        epochs: Number of epochs; 0 leaves this stage out.
        views: Views of each row that are encoded, each with its own noise, stretch and missing channels.
        batch_size: Sweeps per batch.
        lr: Largest learning rate.
        weight_decay: Decoupled weight decay.

    Raises:
        InputError: on an impossible value.
    """

    epochs: int = 0
    views: int = 2
    batch_size: int = 512
    lr: float = 1.0e-3
    weight_decay: float = 1.0e-2

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("views", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(f"readout.{name} must be at least {least}, found {getattr(self, name)}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"readout.lr must be a positive number, found {self.lr}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"readout.weight_decay must not be negative, found {self.weight_decay}")


class ReadoutTraining(L.LightningModule):
    """Trains the pooling and the density of a model on stored features of its encoder.

    Args:
        model: Trained; its learning curve and clock go on.
        stage: How.
        epochs: That the model was trained for before.
    """

    def __init__(self, model: AmortizedInference, stage: ReadoutStage, epochs: int) -> None:
        super().__init__()
        self.model, self.stage, self.epochs = model, stage, epochs
        self.pooling = model.encoder if isinstance(model.encoder, SweepPooling) else None
        self._train_loss: list[Tensor] = []
        self._started = 0.0

    def _loss(self, batch: Batch | Weighted) -> Tensor:
        features, z, *weight = batch
        if self.pooling is not None:
            sets = features[:, None] if features.ndim == 2 else features
            features = self.pooling.pool(sets, torch.ones(sets.shape[:2], dtype=torch.bool, device=sets.device))
        loss = self.model.density.loss(features, z)
        return (loss * weight[0]).sum() / weight[0].sum() if weight else loss.mean()

    def training_step(self, batch: Batch | Weighted, batch_index: int) -> Tensor:
        """Mean loss of a batch (f, z), or with weights (f, z, w)."""
        loss = self._loss(batch)
        self._train_loss.append(loss.detach())
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the loss beside that of the prior."""
        z = batch[1]
        self.log("val/loss", self._loss(batch), batch_size=len(z))
        self.log("val/loss_prior", self.model.density.floor(z).mean(), batch_size=len(z))

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate rising and falling once."""
        parts = [self.model.density] if self.pooling is None else [self.pooling.readout, self.model.density]
        parameters = [p for part in parts for p in part.parameters()]
        return one_cycle(parameters, self.stage.lr, self.stage.weight_decay, self.trainer)

    def on_fit_start(self) -> None:
        """The encoder stays as it is; start the clock."""
        for parameter in self.model.encoder.parameters():
            parameter.requires_grad_(False)
        if self.pooling is not None:
            for parameter in self.pooling.readout.parameters():
                parameter.requires_grad_(True)
        self._started = time.perf_counter()

    def on_fit_end(self) -> None:
        for parameter in self.model.encoder.parameters():
            parameter.requires_grad_(True)

    def on_train_epoch_start(self) -> None:
        self._train_loss.clear()

    def on_validation_epoch_end(self) -> None:
        """Add a line to the model's learning curve."""
        now = time.perf_counter()
        self.model.seconds, self._started = self.model.seconds + now - self._started, now
        logged = self.trainer.callback_metrics
        line = {
            "epoch": float(self.epochs + self.current_epoch),
            "seconds": self.model.seconds,
            "val/loss": float(logged["val/loss"]),
            "val/loss_prior": float(logged["val/loss_prior"]),
        }
        if self._train_loss:
            line["train/loss"] = float(torch.stack(self._train_loss).mean())
        self.model.history.append(line)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See AmortizedInference."""
        self.model.on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See AmortizedInference."""
        self.model.on_load_checkpoint(checkpoint)

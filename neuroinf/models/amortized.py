"""Amortized inference: an encoder and a density trained on simulations, for any neuron of the prior."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.networks.densities import Density
from neuroinf.networks.encoders import Encoder
from neuroinf.networks.glm_encoder import NeedsModel
from neuroinf.networks.pooling import SweepPooling
from neuroinf.networks.traces import NeedsRecordings
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import Simulator
from neuroinf.specification import Plain, specify

Batch = tuple[Tensor, Tensor]
SHOWN = 50_000  # sweeps: the sampling error of a covariance's eigenvalues is then below a per cent


class AmortizedInference(L.LightningModule):
    r"""Minimises :math:`-\log q(z \mid x)` over simulations, with z the parameters in the prior's unconstrained space.

    The loss is logged as train/loss and val/loss, and beside it, as val/loss_prior, what the prior alone would have.

    Args:
        prior: Prior over P parameters.
        observation: What is observed: defines the C rows of x.
        encoder: Makes the encoder from C.
        density: Makes the density from the encoder's number of features and P.
        pooling: Makes, from the encoder of one sweep, the encoder of a neuron's sweeps: x is then (B, C, T) or
            (B, S, C, T). None: every sweep is a neuron of its own.
        simulator: The model, for an encoder that is made for one (see `glm_encoder.NeedsModel`).
        lr: Largest learning rate.
        weight_decay: Decoupled weight decay.
        schedule: "one_cycle" over the whole training, or "constant".
    """

    def __init__(
        self,
        prior: Prior,
        observation: Observation,
        encoder: Callable[[int], nn.Module],
        density: Callable[[int, int], nn.Module],
        pooling: Callable[[nn.Module], nn.Module] | None = None,
        simulator: Simulator | None = None,
        lr: float = 2.0e-3,
        weight_decay: float = 1.0e-4,
        schedule: Literal["one_cycle", "constant"] = "one_cycle",
    ) -> None:
        super().__init__()
        if not (math.isfinite(lr) and lr > 0):
            raise InputError(f"model.lr must be a positive number, found {lr}")
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise InputError(f"model.weight_decay must not be negative, found {weight_decay}")
        self.prior, self.observation = prior, observation
        one = encoder(observation.width)
        if isinstance(one, NeedsModel):
            one.told(prior, simulator, observation.dt)
        self.encoder = cast(Encoder, one if pooling is None else pooling(one))
        self.density = cast(Density, density(self.encoder.features, len(prior.names)))
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.provenance: Plain = {}
        self._started = 0.0
        self._train_loss: list[Tensor] = []

    @property
    def sweep_encoder(self) -> nn.Module:
        """The encoder of one sweep."""
        whole = cast(nn.Module, self.encoder)
        return whole.encoder if isinstance(whole, SweepPooling) else whole

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of observations (B, C, T) or, of several sweeps each, (B, S, C, T)."""
        return self.encoder(x)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mean loss of a batch (x, z)."""
        x, z = batch
        loss = self.density.loss(self(x).float(), z).mean()
        self._train_loss.append(loss.detach())
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the loss beside that of the prior."""
        x, z = batch
        loss = self.density.loss(self(x).float(), z).mean()
        self.log("val/loss", loss, batch_size=len(z), sync_dist=True)
        self.log("val/loss_prior", self.density.floor(z).mean(), batch_size=len(z), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate rising and falling once over the training."""
        return one_cycle(list(self.parameters()), self.lr, self.weight_decay, self.trainer, self.schedule == "constant")

    def on_fit_start(self) -> None:
        """Start the clock; time spent before an interruption is already in the checkpoint."""
        self._started = time.perf_counter()

    def on_train_start(self) -> None:
        """Show the encoder some of the training's recordings, if it asks for them and has not seen any."""
        one = self.sweep_encoder
        if isinstance(one, NeedsRecordings) and not one.ready:
            one.shown(self._recordings())

    def _recordings(self) -> Iterator[Tensor]:
        data = cast(Any, self.trainer).datamodule
        loader, found = data.train_dataloader() if data is not None else self.trainer.train_dataloader, 0
        for x, _ in cast(Iterable[Batch], loader):
            yield x.to(self.device)
            found += math.prod(x.shape[:-2])
            if found >= SHOWN:
                return

    def on_train_epoch_start(self) -> None:
        self._train_loss.clear()

    def on_validation_epoch_end(self) -> None:
        """Add a line to the learning curve."""
        if self.trainer.sanity_checking:
            return
        now = time.perf_counter()
        self.seconds, self._started = self.seconds + now - self._started, now
        logged = self.trainer.callback_metrics
        line = {
            "epoch": float(self.current_epoch),
            "seconds": self.seconds,
            "val/loss": float(logged["val/loss"]),
            "val/loss_prior": float(logged["val/loss_prior"]),
        }
        if self._train_loss:
            line["train/loss"] = float(torch.stack(self._train_loss).mean())
        self.history.append(line)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build this model again and to say where it came from, in plain types."""
        checkpoint["neuroinf"] = {
            "format": 1,
            "model": "amortized",
            "prior": specify(self.prior),
            "observation": specify(self.observation),
            "encoder": specify(self.encoder),
            "density": specify(self.density),
            "history": self.history,
            "training_seconds": self.seconds,
            "provenance": self.provenance,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the learning curve and the clock."""
        content = checkpoint["neuroinf"]
        self.history, self.seconds = list(content["history"]), float(content["training_seconds"])


def one_cycle(
    parameters: list[nn.Parameter], lr: float, weight_decay: float, trainer: L.Trainer, constant: bool = False
) -> Any:
    """AdamW for Lightning, with the learning rate rising and falling once over the training, or constant."""
    decayed, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    # gradients of a likelihood change scale within a few hundred steps: a second moment of 0.999 lags behind
    optimizer: Optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99))
    if constant:
        return optimizer
    steps = max(int(trainer.estimated_stepping_batches), 4)
    # a tenth of the training, but two steps at least: torch divides by the number of rising steps less one
    cycle: LRScheduler = OneCycleLR(optimizer, lr, total_steps=steps, pct_start=max(0.1, 2 / steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

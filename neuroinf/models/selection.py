"""Which of several models made a response: probabilities of the candidates of a `simulators.Choice`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.models.amortized import Batch, one_cycle
from neuroinf.networks.encoders import Encoder
from neuroinf.networks.glm_encoder import NeedsModel
from neuroinf.networks.response import Standardise
from neuroinf.priors import Prior
from neuroinf.simulators.choice import CLASS, Choice
from neuroinf.simulators.protocol import Simulator
from neuroinf.specification import Plain, specify

LARGEST_TEMPERATURE = 20.0


class ModelSelection(L.LightningModule):
    r"""Minimises the cross-entropy :math:`-\log q(c \mid x)` over simulations of K candidates.

    .. math:: q(c \mid x) = \mathrm{softmax}(l(x) / \tau)_c

    with logits l and a temperature :math:`\tau` that is found on validation rows after the training. The loss is logged as
    train/loss and val/loss, and beside it, as val/loss_prior, that of equal probabilities.

    Args:
        prior: Of the choice's parameters; its column ``class`` runs from 0 to K.
        observation: What is observed: defines the C rows of x.
        encoder: Makes the encoder from C. One without weights is run once for each training row, not in each epoch.
        simulator: The choice.
        hidden: Widths of the layers between features and logits.
        lr: Largest learning rate.
        weight_decay: Decoupled weight decay.

    Attributes:
        names: Of the candidates.

    Raises:
        InputError: if the simulator is no choice, or the prior's classes are not its candidates.

    Source:
        Temperature: Guo et al., On calibration of modern neural networks (ICML 2017).
    """

    temperature: Tensor

    def __init__(
        self,
        prior: Prior,
        observation: Observation,
        encoder: Callable[[int], nn.Module],
        simulator: Simulator | None = None,
        hidden: Sequence[int] = (64, 64),
        lr: float = 2.0e-3,
        weight_decay: float = 1.0e-2,
    ) -> None:
        super().__init__()
        if not isinstance(simulator, Choice):
            raise InputError(f"model selection needs simulations of a Choice, found {type(simulator).__name__}")
        number, column = len(simulator.names), prior.parameters[CLASS]
        if (column.low, column.high, column.scale) != (0, number, "linear"):
            raise InputError(
                f"prior of {CLASS}: expected low 0, high {number}, scale linear for {', '.join(simulator.names)}, "
                f"found {column.low:g}, {column.high:g}, {column.scale}"
            )
        if not (math.isfinite(lr) and lr > 0):
            raise InputError(f"model.lr must be a positive number, found {lr}")
        self.prior, self.observation, self.simulator = prior, observation, simulator
        self.names, self.hidden, self.lr, self.weight_decay = simulator.names, list(hidden), lr, weight_decay
        made = encoder(observation.width)
        if isinstance(made, NeedsModel):
            made.told(prior, simulator, observation.dt)
        self.encoder = cast(Encoder, made)
        width = self.encoder.features
        layers: list[nn.Module] = []
        layers.append(Standardise(width))
        for size in self.hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        self.head = nn.Sequential(*layers, nn.Linear(width, number))
        self.register_buffer("temperature", torch.ones(()))
        self.history: list[dict[str, float]] = []
        self.provenance: Plain = {}
        self.seconds = 0.0

    @property
    def fixed_encoder(self) -> bool:
        """Whether there is nothing to train in the encoder."""
        return not any(True for _ in self.encoder.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of observations (B, C, T), or of their features (B, F)."""
        return self.head(x if x.ndim == 2 else self.encoder(x).float())

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Calibrated probabilities (B, K) of observations (B, C, T)."""
        return (self.eval()(x) / self.temperature).softmax(1)

    def classes(self, z: Tensor) -> Tensor:
        """Which candidate made each row (B,): from its parameters in unconstrained space (B, P)."""
        last = self.prior.from_unconstrained(z.double())[:, self.prior.names.index(CLASS)]
        return last.floor().long().clamp(0, len(self.names) - 1)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mean loss of a batch (x, z)."""
        loss = nn.functional.cross_entropy(self(batch[0]), self.classes(batch[1]))
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log loss and accuracy beside the loss of equal probabilities."""
        logits, made = self(batch[0]), self.classes(batch[1])
        self.log("val/loss", nn.functional.cross_entropy(logits, made), batch_size=len(made), sync_dist=True)
        self.log("val/loss_prior", math.log(len(self.names)), batch_size=len(made), sync_dist=True)
        self.log("val/accuracy", (logits.argmax(1) == made).float().mean(), batch_size=len(made), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Add a line to the learning curve."""
        logged = self.trainer.callback_metrics
        keys = [key for key in ("train/loss", "val/loss", "val/loss_prior", "val/accuracy") if key in logged]
        self.history.append({"epoch": float(self.current_epoch)} | {key: float(logged[key]) for key in keys})

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate rising and falling once over the training."""
        return one_cycle(list(self.parameters()), self.lr, self.weight_decay, self.trainer)

    def calibrate(self, logits: Tensor, made: Tensor) -> None:
        """Find the temperature at which logits (n, K) of rows not trained on are likeliest.

        Where they tell nothing the likeliest temperature is infinite, and the largest allowed is taken.
        """
        self.temperature.fill_(best_temperature(logits, made))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build this model again, in plain types."""
        checkpoint["neuroinf"] = {
            "format": 1,
            "model": "selection",
            "prior": specify(self.prior),
            "observation": specify(self.observation),
            "encoder": specify(self.encoder),
            "density": None,
            "simulator": specify(self.simulator),
            "hidden": self.hidden,
            "history": self.history,
            "training_seconds": self.seconds,
            "provenance": self.provenance,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the learning curve and the clock."""
        content = checkpoint["neuroinf"]
        self.history, self.seconds = list(content["history"]), float(content["training_seconds"])


def best_temperature(logits: Tensor, made: Tensor) -> float:
    """The temperature, between 1 / 20 and 20, of lowest mean cross-entropy: (n, K), (n,)."""
    grid = torch.logspace(-math.log10(LARGEST_TEMPERATURE), math.log10(LARGEST_TEMPERATURE), 400, dtype=torch.float64)
    losses = torch.stack([nn.functional.cross_entropy(logits.double() / each, made) for each in grid])
    return float(grid[losses.argmin()])

"""Training of the manifold study's autoencoder on windows of a population's activity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuroinf.datasets.population_module import SessionWindows
from neuroinf.datasets.populations import Kind
from neuroinf.errors import InputError, expect
from neuroinf.models.population_model import PopulationModel
from neuroinf.models.sharpness import SharpnessAware
from neuroinf.networks.bilstm_autoencoder import BiLSTMAutoencoder, FeedbackAutoencoder

Network = BiLSTMAutoencoder | FeedbackAutoencoder

# of the windows in which something is hidden, those in which it is whole neurons; of neurons that are hidden together in validation
WHOLE_NEURONS, FOLDS = 0.5, 4
# a prime: no two steps of two small seeds share a stream
STREAMS = 1_000_003


class BiLSTMReconstruction(PopulationModel):
    r"""Minimises the squared error of the reconstruction of standard scores, of all entries or of those that are hidden.

    .. math:: \mathcal L = \langle (\hat x_{tk} - x_{tk})^2 \rangle_{t, k}

    As published nothing is hidden, and the error measures how well noise is copied; with `hidden` the encoder does not see a
    share of the entries (single ones in half of the windows, whole neurons in the others), and these alone are scored.

    val/loss is the mean squared error of neurons of which a quarter at a time is hidden, val/loss_prior that of their mean alone,
    val/reconstruction that of entries which the encoder sees.

    Args:
        neurons: K, as the only one of a list: the network's read-in is of one session's neurons.
        kind: counts or trace.
        factors: D.
        feedback: The study's second network.
        layers: Of the LSTM.
        dropout: Before the perceptron's last layer.
        hidden: Share of hidden entries; 0: as published.
        rho: Of sharpness-aware minimisation; None: Adam alone.
        lr: Of Adam, at the start; it falls to 0 along half a cosine.
        weight_decay: Of Adam.

    Raises:
        InputError: if a number is out of its range, or there are several sessions.
    """

    mean: Tensor
    scale: Tensor
    transition: Tensor
    drift: Tensor

    def __init__(
        self,
        neurons: list[int],
        kind: Kind,
        factors: int,
        feedback: bool = False,
        layers: int = 1,
        dropout: float = 0.25,
        hidden: float = 0.0,
        rho: float | None = None,
        lr: float = 1.0e-2,
        weight_decay: float = 0.0,
    ) -> None:
        if len(neurons) != 1:
            raise InputError(
                f"architecture: expected sequential for {len(neurons)} sessions, found bilstm, whose read-in is of one session's "
                f"neurons"
            )
        expect(
            "model.",
            ("factors", factors, 1 <= factors <= neurons[0], f"1 to {neurons[0]}, the number of neurons"),
            ("layers", layers, layers == 1 or (layers > 1 and not feedback), "at least 1, and 1 with feedback"),
            ("dropout", dropout, 0 <= dropout < 1, "a share in [0, 1)"),
            ("hidden", hidden, 0 <= hidden < 1, "a share in [0, 1)"),
            ("rho", rho, rho is None or 0 <= rho < math.inf, "null, 0 or a positive number"),
            ("lr", lr, 0 < lr < math.inf, "a positive number"),
            ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or a positive number"),
        )
        design = {"neurons": neurons[0], "factors": factors, "feedback": feedback, "layers": layers, "dropout": dropout}
        super().__init__("bilstm", design | {"kind": kind})
        self.network = bilstm(**design)
        self.hidden, self.rho, self.lr, self.weight_decay = hidden, rho, lr, weight_decay
        self.register_buffer("mean", torch.zeros(neurons[0]))
        self.register_buffer("scale", torch.ones(neurons[0]))
        # of the trained network's latents: the regression on those of the bin before
        self.register_buffer("transition", torch.eye(factors))
        self.register_buffer("drift", torch.zeros(factors))

    def begin(self, sessions: Sequence[Sequence[Tensor]]) -> None:
        """Take mean and standard deviation of each neuron from training data."""
        x = torch.cat(list(sessions[0]))
        self.mean.copy_(x.mean(0))
        spread = x.std(0, correction=0)
        self.scale.copy_(torch.where(spread > 1e-9 * (1 + self.mean.abs()), spread, 1.0))  # of one that never changes
        self.begun.fill_(True)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """The loss of windows (B, T, K)."""
        seed = (torch.initial_seed() * STREAMS + self.trainer.global_step) % 2**63
        # of the step alone: a continued training draws what an uninterrupted one would have drawn, and both passes of a
        # sharpness-aware step the same
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # of dropout
            loss = self.loss(batch[0], torch.Generator().manual_seed(seed))
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def loss(self, batch: Tensor, draws: torch.Generator) -> Tensor:
        """Of windows (B, T, K) in the neurons' own units."""
        x = (batch - self.mean) / self.scale
        if not self.hidden:
            return (self.network(x) - x).square().mean()
        hidden = hide(x, self.hidden, draws).to(x.device)
        return masked_error(self.network(x, ~hidden), x, hidden)

    def validation_step(self, batch: SessionWindows, batch_index: int) -> None:
        """Errors of hidden neurons, of their mean, and of what was seen."""
        x = (batch.activity - self.mean) / self.scale
        folds, found = min(FOLDS, x.shape[2]), torch.zeros_like(x)
        for fold in range(folds):
            hidden = (torch.arange(x.shape[2], device=x.device) % folds == fold).expand(x.shape)
            found = torch.where(hidden, self.network(x, ~hidden), found)
        number = x.numel()
        self.log("val/loss", (found - x).square().mean(), batch_size=number)
        self.log("val/loss_prior", x.square().mean(), batch_size=number)
        self.log("val/reconstruction", (self.network(x) - x).square().mean(), batch_size=number)

    def configure_optimizers(self) -> Any:
        """Adam, sharpness-aware if there is a rho."""
        adam: torch.optim.Optimizer = torch.optim.Adam(
            self.network.parameters(), self.lr, weight_decay=self.weight_decay
        )
        optimizer = adam if self.rho is None else SharpnessAware(adam, self.rho)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def bilstm(neurons: int, factors: int, feedback: bool, layers: int, dropout: float) -> Network:
    """The study's network, or its second one, with weights drawn from torch's own generator.

    Raises:
        InputError: if a number is out of its range.
    """
    network: Network = (
        FeedbackAutoencoder(neurons, factors, dropout)
        if feedback
        else BiLSTMAutoencoder(neurons, factors, layers, dropout)
    )
    # torch draws the first LSTM's input weights by the number of states, D: with 1,131 inputs of variance 1 and 8 states the gates
    # would begin at +-7, where their gradient is nearly 0
    with torch.no_grad():
        for name, weights in network.rnn.named_parameters():
            if name.startswith("weight_ih_l0"):
                weights.mul_(min(1.0, (factors / neurons) ** 0.5))
    return network


def hide(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Which entries (B, T, K) to hide: single ones in some windows, all bins of some neurons in the others."""
    entries = torch.rand(x.shape, generator=generator) < share
    neurons = torch.rand((len(x), 1, x.shape[2]), generator=generator) < share
    whole = torch.rand((len(x), 1, 1), generator=generator) < WHOLE_NEURONS
    return torch.where(whole, neurons, entries)


def masked_error(predicted: Tensor, x: Tensor, scored: Tensor) -> Tensor:
    """Mean squared error over the scored entries."""
    return torch.where(scored, predicted - x, 0.0).square().sum() / scored.sum().clamp_min(1)

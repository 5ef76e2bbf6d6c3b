"""Training of a latent autoencoder on windows of the activity of one population, or of several that share their latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuroinf.datasets.population_module import SessionWindows
from neuroinf.errors import InputError, expect
from neuroinf.models.population_model import PopulationModel
from neuroinf.networks.evidence import Kind
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder

# of neurons that are hidden together in validation, and of windows in training in which whole neurons are hidden
FOLDS, WHOLE_NEURONS = 4, 0.5
# the generator's own weights are shrunk: a forecast of many steps multiplies what they got wrong
GENERATOR_DECAY, ENCODER_DECAY = 1.0, 0.1
# forecasts from every so many bins: those from neighbouring ones say the same
ROLLOUT_STRIDE = 5
# of sparse counts: the largest weight of the KL
SPARSE_BETA = 0.1
# a prime: no two steps of two small seeds share a stream
STREAMS = 1_000_003


class LatentAutoencoder(PopulationModel):
    r"""Maximises a bound on the likelihood of all entries, given those that are not hidden from the encoder.

    .. math::
        \mathcal L = \frac1T \sum_t \Big[ (1 - w) \sum_k \log p(x_{tk} \mid z_t) + \frac{w}{h} \sum_{k\ \mathrm{hidden}}
        \log p(x_{tk} \mid z_t) \Big] - \beta\, \mathrm{KL}(q \,\|\, p) - \rho\, \langle \| \hat z_{t+s} - z_{t+s} \|^2 \rangle

    with z drawn from :math:`q(z \mid x_{\mathrm{observed}})`, a share h of the entries hidden (single ones in half of the windows,
    whole neurons in the others), and :math:`\hat z_{t+s}` the generator's forecasts. :math:`\beta` rises from 0 to its largest
    value, and forecasts count from then on.

    val/loss is what hidden neurons cost: minus the mean log-likelihood of the entries of a quarter of the neurons, predicted from
    the others; val/loss_prior is that of each neuron's own mean and variance. val/reconstruction is the log-likelihood cost of
    entries that the encoder did see: it falls with every further latent, and chooses none.

    Args:
        neurons: K, or those of each session.
        kind: counts or trace.
        factors: D.
        channels: Of the encoder's convolutions.
        levels: Of the encoder's dilated convolutions.
        generator: Widths of the generator's hidden layers; none: linear dynamics.
        inputs: Number of inputs to the latents that are inferred; 0: none.
        hidden: h, of the entries.
        emphasis: w, on the hidden entries.
        rollout: Steps of the forecasts that are compared with what was inferred; 0: none.
        rollout_weight: :math:`\rho`.
        warm_up: Part of the training in which :math:`\beta` rises.
        sparse: For counts that say little of their bin: the largest :math:`\beta` is .1 instead of 1, forecasts teach the generator
            alone, and training begins at factor analysis. Else what latents tell can be less than a posterior of independent bins
            costs, or than they gain by being easy to forecast, and they vanish.
        lr: Largest learning rate.

    Raises:
        InputError: if a number is out of its range.

    Source:
        Keshtkaran and Pandarinath (2019), NeurIPS 32, for hiding entries (coordinated dropout).
    """

    def __init__(
        self,
        neurons: int | list[int],
        kind: Kind,
        factors: int,
        channels: int = 48,
        levels: int = 5,
        generator: tuple[int, ...] = (64, 64),
        inputs: int = 0,
        hidden: float = 0.25,
        emphasis: float = 0.2,
        rollout: int = 10,
        rollout_weight: float = 5.0,
        warm_up: float = 0.3,
        sparse: bool = False,
        lr: float = 4.0e-3,
    ) -> None:
        expect(
            "model.",
            ("hidden", hidden, 0 < hidden < 1, "a share between 0 and 1"),
            ("emphasis", emphasis, 0 <= emphasis <= 1, "0 to 1"),
            ("rollout", rollout, rollout >= 0, "0 or more steps"),
            ("rollout_weight", rollout_weight, 0 <= rollout_weight < math.inf, "0 or a positive number"),
            ("warm_up", warm_up, 0 <= warm_up <= 1, "0 to 1"),
            ("lr", lr, 0 < lr < math.inf, "a positive number"),
        )
        design: dict[str, Any] = {
            "neurons": neurons,
            "kind": kind,
            "factors": factors,
            "channels": channels,
            "levels": levels,
            "generator": list(generator),
            "inputs": inputs,
        }
        super().__init__("sequential", design)
        try:
            self.network = SequentialAutoencoder(neurons, kind, factors, channels, levels, tuple(generator), inputs)
        except InputError as error:
            raise InputError(f"model.{error}") from error
        self.hidden, self.emphasis, self.rollout, self.rollout_weight = hidden, emphasis, rollout, rollout_weight
        self.warm_up, self.sparse, self.lr = warm_up, sparse, lr

    def begin(self, sessions: Sequence[Sequence[Tensor]]) -> None:
        """Start at the linear solution of training data, sequences (T, K) of each session."""
        self.network.start(sessions, self.sparse)
        self.begun.fill_(True)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """Minus the bound of windows (B, T, K) of each session."""
        step, total = self.trainer.global_step, max(int(self.trainer.estimated_stepping_batches), 1)
        # of the step alone: a continued training draws what an uninterrupted one would have drawn
        draws = torch.Generator().manual_seed((torch.initial_seed() * STREAMS + step) % 2**63)
        beta = 1.0 if self.warm_up == 0 else min(1.0, step / (self.warm_up * total))
        loss = self.loss(batch, beta, draws)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch))
        return loss

    def loss(self, batch: Sequence[Tensor], beta: float, draws: torch.Generator) -> Tensor:
        """Minus the bound, per bin, at a part `beta` of the KL's largest weight, with forecasts at 1: mean over sessions."""
        losses = [self._loss(windows, session, beta, draws) for session, windows in enumerate(batch)]
        return torch.stack(losses).mean()

    def _loss(self, batch: Tensor, session: int, beta: float, draws: torch.Generator) -> Tensor:
        network, readout = self.network, self.network.readout(session)
        x = readout.normalised(batch)
        hide = self._hidden_entries(x, draws)
        posterior = network.encode(x, (~hide).to(x.dtype), session)
        z = _sample(posterior.mean, posterior.log_sd, draws)
        bins = x.shape[0] * x.shape[1]
        push, divergence = None, torch.zeros((), device=x.device)
        if network.inputs is not None:
            inputs = network.inputs(network.departures(posterior.mean))
            push = _sample(inputs.mean, inputs.log_sd, draws) @ network.inputs.weights.T
            divergence = network.inputs.divergence(inputs) / bins
        divergence = divergence + network.divergence(posterior, z, push)
        each = readout.log_likelihood(x, readout.drive(z))
        likelihood = (1 - self.emphasis) * each.sum() + self.emphasis / self.hidden * (each * hide).sum()
        loss = (SPARSE_BETA if self.sparse else 1.0) * beta * divergence - likelihood / bins
        steps = min(self.rollout, x.shape[1] - 1)
        # at first the latents are noise and there is nothing to forecast
        if steps and beta == 1.0:
            pushed = None if push is None else _stretches(push, steps)
            start, target = z[:, :-steps:ROLLOUT_STRIDE], _stretches(posterior.mean, steps)
            if self.sparse:
                start, target = start.detach(), target.detach()
            ahead = network.generator.roll(start, steps, pushed)
            loss = loss + self.rollout_weight * (ahead - target).square().mean()
        return loss

    def _hidden_entries(self, x: Tensor, draws: torch.Generator) -> Tensor:
        count, bins, neurons = x.shape
        entries = torch.rand((count, bins, neurons), generator=draws) < self.hidden
        whole = torch.rand((count, 1, neurons), generator=draws) < self.hidden
        which = torch.rand((count, 1, 1), generator=draws) < WHOLE_NEURONS
        return torch.where(which, whole, entries).to(x.device)

    def validation_step(self, batch: SessionWindows, batch_index: int) -> None:
        """Costs of hidden neurons, of their own mean, and of what was seen."""
        session, activity = batch
        readout, number = self.network.readout(session), activity.numel()
        x = readout.normalised(activity)
        scored = torch.zeros_like(x)
        folds = min(FOLDS, x.shape[2])
        for fold in range(folds):
            hide = (torch.arange(x.shape[2], device=x.device) % folds == fold).expand(x.shape)
            scored = torch.where(hide, self._predicted(x, (~hide).to(x.dtype), session), scored)
        floor = readout.log_likelihood(x, readout.mean.clamp_min(1e-3).log()) if readout.kind == "counts" else None
        if floor is None:
            floor = -0.5 * (x.square() + math.log(2 * math.pi))  # standard scores
        seen = self._predicted(x, torch.ones_like(x), session)
        self.log("val/loss", -scored.mean(), batch_size=number)
        self.log("val/loss_prior", -floor.mean(), batch_size=number)
        self.log("val/reconstruction", -seen.mean(), batch_size=number)

    def _predicted(self, x: Tensor, observed: Tensor, session: int) -> Tensor:
        """Log-likelihood of every entry, given the observed ones."""
        mean, log_sd = self.network.encode(x, observed, session)
        readout = self.network.readout(session)
        return readout.log_likelihood(x, readout.drive(mean), (2 * log_sd).exp() @ readout.loadings.T.square())

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Always: a rare window of many spikes has a gradient of its own size."""
        nn.utils.clip_grad_norm_(self.parameters(), 5.0 if gradient_clip_val is None else gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate rising and falling once over the training."""
        network = self.network
        parts = [
            {"params": list(network.readouts.parameters()), "weight_decay": 0.0},
            {"params": [network.generator.linear, network.generator.log_noise], "weight_decay": 0.0},
            {"params": list(network.encoder.parameters()), "weight_decay": ENCODER_DECAY},
        ]
        if network.generator.mlp is not None:
            parts.append({"params": list(network.generator.mlp.parameters()), "weight_decay": GENERATOR_DECAY})
        if network.inputs is not None:
            parts.append({"params": list(network.inputs.parameters()), "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(parts, lr=self.lr)
        steps = max(int(self.trainer.estimated_stepping_batches), 4)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=steps, pct_start=max(0.1, 2 / steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def _sample(mean: Tensor, log_sd: Tensor, draws: torch.Generator) -> Tensor:
    return mean + log_sd.exp() * torch.randn(mean.shape, generator=draws).to(mean.device)


def _stretches(x: Tensor, steps: int) -> Tensor:
    """What follows every so many bins of x (B, T, D): (B, starts, steps, D)."""
    return x.unfold(1, steps, 1)[:, 1::ROLLOUT_STRIDE].transpose(-1, -2)

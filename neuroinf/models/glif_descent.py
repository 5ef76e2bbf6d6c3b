r"""One fit per neuron, made directly through the differentiable twin, a batch of neurons at once: the baseline to beat.

With the spikes forced at their observed times, the simulated voltage v(z) and threshold h(z) are smooth in the prior's
unconstrained coordinates z, and the fit is the posterior mode

.. math:: \min_{z, \sigma, w} \; \sum_t \frac{(y_t - v_t)^2}{2 \sigma^2} + n \log \sigma
    + \sum_{t\,\text{spike}} \log(1 + e^{-(v_t - h_t) / w}) + \sum_{t\,\text{silent}} \log(1 + e^{(v_t - h_t) / w})
    + \tfrac12 |z|^2 + \tfrac12 (\log w / 3)^2 .

The first sum compares voltages (output error, sd :math:`\sigma` known or estimated). The next two make the neuron
cross its threshold when it did and not otherwise; their width w is fitted too, from a wide start: it shrinks until it
hardly matters for a neuron that keeps to the model, and stays at its own threshold noise for one that does not.
Samples that were not observed drop out. Each step is Levenberg-Marquardt's on the generalised Gauss-Newton matrix,
from Jacobians in forward mode.
"""

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from neuroinf.models.glif_likelihood import Layout, sums
from neuroinf.priors import Prior
from neuroinf.simulators.glif_segments import Segments
from neuroinf.simulators.glif_twin import GLIFTwin

FIRST_NOISE = 5.0  # mV, where the noise is to be estimated
WIDTH_PRIOR = 3.0  # sd of log(width / 1 mV): a factor of 20 either way
NARROWEST = 0.05  # mV, about what the voltage moves in one step of 0.1 ms near threshold
NEGLIGIBLE = 1e-2  # change of a log-likelihood
LONGEST_STEP = 1.5  # in z, where the prior's sd is 1
DAMPING = (1e-3, 1e-9, 1e6)  # first, least and most
WIDEST = 8.0  # mV, width of the threshold at the start: half the distance from rest to threshold
NOISE_FLOOR = 1e-3  # mV, so that data without noise do not divide by zero


@dataclass(frozen=True)
class Quadratic:
    """A point of each row, its noise, width and loss, the loss's gradient and curvature, and the threshold's free
    play."""

    z: Tensor
    noise: Tensor
    width: Tensor
    loss: Tensor
    gradient: Tensor
    curvature: Tensor
    down: Tensor
    up: Tensor

    def where(self, better: Tensor, other: "Quadratic") -> "Quadratic":
        """Each row from here where `better`, else from `other`."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Quadratic(*(torch.where(better.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def rows(self, index: Tensor) -> "Quadratic":
        return Quadratic(*(x[index] for x in vars(self).values()))

    def put(self, index: Tensor, rows: "Quadratic") -> "Quadratic":
        """With the rows at `index` replaced."""
        pairs = zip(vars(self).values(), vars(rows).values(), strict=True)
        return Quadratic(*(a.index_copy(0, index, b) for a, b in pairs))


class GradientDescent(L.LightningModule):
    """Fits R = starts x B rows at once; one training step is one Levenberg-Marquardt step of every row still moving.

    The batch given to :meth:`training_step` is ignored: the observation is the module's own.

    Args:
        twin: The differentiable simulator.
        prior: Of the twin's parameters, in their order.
        voltage: :math:`(B, W)`, mV; nan: not observed. Sample j is the state after the last step of window j.
        stimulus: :math:`(B, W)`, pA, without nan.
        where: The windows and spikes of the B neurons.
        dt: The simulation's step, ms.
        start: :math:`(starts, B, P)`, natural units.
        free: :math:`(P,)` bool, the parameters that are fitted; the others stay where they start.
        noise: Sd of the voltage noise, mV; None: estimated for each neuron.
        race: Steps after which only the best start of each neuron goes on.
        widths: Of the threshold at the start, mV; the one with the least loss is taken.
    """

    def __init__(
        self,
        twin: GLIFTwin,
        prior: Prior,
        voltage: Tensor,
        stimulus: Tensor,
        where: Segments,
        dt: float,
        start: Tensor,
        free: Tensor,
        noise: float | None = None,
        race: int = 5,
        widths: tuple[float, ...] = (WIDEST,),
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.twin, self.prior, self.dt, self.free = twin, prior, dt, free
        self.noise, self.race = noise, race
        self.starts, self.neurons = start.shape[:2]
        self.observation = (voltage, stimulus, where)
        self.neuron = torch.arange(self.neurons).repeat(self.starts)
        z = prior.to_unconstrained(start).flatten(0, 1)
        sd = torch.full_like(z[:, 0], noise or FIRST_NOISE)
        self.moving = torch.arange(len(z))
        self._observe(self.neuron)
        _, self.at = self._expand(z, sd, torch.full_like(sd, widths[0]))
        for width in widths[1:]:
            _, other = self._expand(z, sd, torch.full_like(sd, width))
            self.at = other.where(other.loss < self.at.loss, self.at)
        self.damping = torch.full_like(sd, DAMPING[0])
        self.losses: list[Tensor] = []

    def _observe(self, neuron: Tensor) -> None:
        """Lays out the observation of the rows under way."""
        voltage, stimulus, where = self.observation
        self.layout = Layout(voltage[neuron], stimulus[neuron], where.rows(neuron))

    def _expand(self, z: Tensor, noise: Tensor, width: Tensor) -> tuple[Tensor, Quadratic]:
        """The loss at z with this noise and width; and its expansion there with the noise that suits z better."""
        found, count = sums(self.twin, self.prior, z, self.free, width, self.layout, self.dt), self.layout.count
        rest = found.crossing + 0.5 * z.square().sum(1) + 0.5 * (width.log() / WIDTH_PRIOR) ** 2

        def loss(noise: Tensor) -> Tensor:
            return found.squares / (2 * noise.square()) + count * noise.log() + rest

        before = loss(noise)
        if self.noise is None:
            likeliest = (found.squares / count.clamp(min=1)).sqrt().clamp(min=NOISE_FLOOR)
            noise = torch.where(count > 0, likeliest, noise)
        # the coordinates are z and log w
        every = torch.cat((self.free, torch.tensor([True]))).nonzero()[:, 0]
        index, weight = every[:-1], noise.pow(-2)
        precision = torch.ones(z.shape[1] + 1, dtype=z.dtype)
        precision[-1] = WIDTH_PRIOR**-2
        gradient = torch.cat((z * self.free, width.log()[:, None]), dim=1) * precision
        gradient[:, every] += found.slope
        gradient[:, index] -= found.pull * weight[:, None]
        curvature = torch.diag(precision).repeat(len(z), 1, 1)
        curvature[:, every[:, None], every] += found.bend
        curvature[:, index[:, None], index] += found.stiffness * weight[:, None, None]
        # a width at its least that would shrink further stands still
        held = (width <= NARROWEST) & (gradient[:, -1] > 0)
        gradient[held, -1] = 0.0
        curvature[held, -1], curvature[held, :, -1] = precision.new_zeros(()), precision.new_zeros(())
        curvature[held, -1, -1] = 1.0
        return before, Quadratic(z, noise, width, loss(noise), gradient, curvature, found.down, found.up)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One damped step of every moving row, kept where it lowers the row's loss."""
        at, damping = self.at.rows(self.moving), self.damping[self.moving]
        scale = torch.diagonal(at.curvature, dim1=1, dim2=2)
        step = -torch.linalg.solve(at.curvature + torch.diag_embed(scale * damping[:, None]), at.gradient)
        promised = -(step * at.gradient).sum(1)
        step = step * (LONGEST_STEP / step.abs().amax(1, keepdim=True).clamp(min=LONGEST_STEP))
        loss, trial = self._expand(
            at.z + step[:, :-1], at.noise, (at.width * step[:, -1].exp()).clamp(NARROWEST, WIDEST)
        )
        better = loss < at.loss
        gained = torch.where(better, at.loss - trial.loss, torch.inf)
        still = (promised < NEGLIGIBLE) | (gained < NEGLIGIBLE) | (damping >= DAMPING[2])
        self.at = self.at.put(self.moving, trial.where(better, at))
        self.damping[self.moving] = torch.where(better, damping / 10, damping * 10).clamp(*DAMPING[1:])

        losses = torch.full_like(self.at.loss, torch.nan)
        losses[self.moving] = self.at.loss[self.moving]
        self.losses.append(losses.view(self.starts, self.neurons))
        moving = self.moving[~still]
        if len(self.losses) >= self.race:
            best = self.best()
            moving = moving[best[self.neuron[moving]] == moving]
        if len(moving) < len(self.moving):
            self.moving = moving
            self._observe(self.neuron[moving])

    def on_train_epoch_end(self) -> None:
        """Stops when nothing moves any more."""
        if len(self.moving) == 0:
            self.trainer.should_stop = True

    def best(self) -> Tensor:
        """The row of the best start of each neuron, :math:`(B,)`."""
        best = self.at.loss.view(self.starts, self.neurons).argmin(0)
        return best * self.neurons + torch.arange(self.neurons)

    def configure_optimizers(self) -> None:
        """None: the step is the module's own."""

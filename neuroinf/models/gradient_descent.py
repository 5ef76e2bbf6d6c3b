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
from torch.nn.functional import softplus

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
OUT_DIMS: Any = (
    (None, None),
    (0, 0),
)  # values are shared by all directions, slopes are not; torch types flat ones only


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
        _, self.at = self._expand(z, sd, torch.full_like(sd, WIDEST))
        self.damping = torch.full_like(sd, DAMPING[0])
        self.losses: list[Tensor] = []

    def _observe(self, neuron: Tensor) -> None:
        """Lays out the observation of the rows under way."""
        voltage, stimulus, where = self.observation
        voltage, self.stimulus, self.where = voltage[neuron], stimulus[neuron], where.rows(neuron)
        self.end = self.where.observed.clamp(min=0)
        self.seen = ~voltage.isnan() & (self.where.observed >= 0)
        self.voltage = torch.where(self.seen, voltage, 0.0)
        self.count = self.seen.sum(1)
        self.tested = self.where.spike | self.where.silent
        self.sign = torch.where(self.where.spike, 1.0, -1.0).to(torch.float64)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Voltage at the samples :math:`(R, W)`, distance above threshold at the segments' ends :math:`(R, S)`."""
        out = self.twin.forced(self.prior.from_unconstrained(z), self.stimulus, self.dt, self.where)
        return out.voltage.gather(1, self.end), out.voltage - out.threshold

    def crossing(self, distance: Tensor, width: Tensor) -> Tensor:
        """Negative log-likelihood of spikes and silence, :math:`(R,)`."""
        return torch.where(self.tested, softplus(-self.sign * distance / width[:, None]), 0.0).sum(1)

    def _expand(self, z: Tensor, noise: Tensor, width: Tensor) -> tuple[Tensor, Quadratic]:
        """The loss at z with this noise and width; and its expansion there with the noise that suits z better."""
        basis = torch.eye(z.shape[1], dtype=z.dtype)[self.free]

        def along(direction: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
            value, slope = torch.func.jvp(self.forward, (z,), (direction.expand_as(z),))[:2]
            return value, slope

        (voltage, distance), (dv, dd) = torch.func.vmap(along, out_dims=OUT_DIMS)(basis)
        dv, dd = dv.movedim(0, 1), dd.movedim(0, 1)
        residual = torch.where(self.seen, self.voltage - voltage, 0.0)
        squares = residual.square().sum(1)

        def loss(noise: Tensor) -> Tensor:
            gaussian = squares / (2 * noise.square()) + self.count * noise.log()
            return (
                gaussian
                + self.crossing(distance, width)
                + 0.5 * z.square().sum(1)
                + 0.5 * (width.log() / WIDTH_PRIOR) ** 2
            )

        before = loss(noise)
        if self.noise is None:
            noise = torch.where(
                self.count > 0, (squares / self.count.clamp(min=1)).sqrt().clamp(min=NOISE_FLOOR), noise
            )
        # the last coordinate is log w: d/w has the slopes dd/w along z and -d/w along it
        scaled = distance / width[:, None]
        slopes = torch.cat((dd / width[:, None, None], -scaled[:, None]), dim=1)
        p = torch.sigmoid(-self.sign * scaled)
        weight = torch.where(self.seen, noise[:, None].pow(-2), 0.0)
        index = torch.cat((self.free, torch.tensor([True]))).nonzero()[:, 0]
        gradient = torch.cat((z, width.log()[:, None] / WIDTH_PRIOR**2), dim=1)
        gradient[:, :-1] *= self.free
        gradient[:, index] += (slopes @ torch.where(self.tested, -self.sign * p, 0.0)[..., None])[..., 0]
        gradient[:, index[:-1]] -= (dv @ (weight * residual)[..., None])[..., 0]
        precision = torch.ones(z.shape[1] + 1, dtype=z.dtype)
        precision[-1] = WIDTH_PRIOR**-2
        curvature = torch.diag(precision).repeat(len(z), 1, 1)
        curvature[:, index[:, None], index] += (
            slopes * torch.where(self.tested, p * (1 - p), 0.0)[:, None]
        ) @ slopes.mT
        curvature[:, index[:-1, None], index[:-1]] += (dv * weight[:, None]) @ dv.mT
        # a width at its least that would shrink further stands still
        held = (width <= NARROWEST) & (gradient[:, -1] > 0)
        gradient[held, -1] = 0.0
        curvature[held, -1], curvature[held, :, -1] = precision.new_zeros(()), precision.new_zeros(())
        curvature[held, -1, -1] = 1.0
        return before, Quadratic(z, noise, width, loss(noise), gradient, curvature, *self._interval(distance))

    def _interval(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """How far the threshold may move, mV, before a silent step would spike (down) or a spike fail (up)."""
        silent = torch.where(self.where.silent, distance, -torch.inf).amax(1)
        return silent, torch.where(self.where.spike, distance, torch.inf).amin(1)

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

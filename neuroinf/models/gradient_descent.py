r"""One fit per neuron, made directly through the differentiable twin, a batch of neurons at once: the baseline to beat.

With the spikes forced at their observed times, the simulated voltage v(z) and threshold h(z) are smooth in the prior's unconstrained
coordinates z, and the fit is the posterior mode

.. math:: \min_{z, \sigma, w} \; \sum_t \frac{(y_t - v_t)^2}{2 \sigma^2} + n \log \sigma
    + \sum_{t\,\text{spike}} \log(1 + e^{-(v_t - h_t) / w}) + \sum_{t\,\text{silent}} \log(1 + e^{(v_t - h_t) / w})
    + \tfrac12 |z|^2 + \tfrac12 (\log w / 3)^2 .

The first sum compares voltages (output error, sd :math:`\sigma` known or estimated). The next two make the neuron cross its threshold
when it did and not otherwise; their width w is fitted too, from a wide start: it shrinks until it hardly matters for a neuron that keeps
to the model, and stays at its own threshold noise for one that does not. Samples that were not observed drop out. Each step is
Levenberg-Marquardt's on the generalised Gauss-Newton matrix, from Jacobians in forward mode.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import Segments, segments
from neuroinf.simulators.glif_twin import GLIFTwin

FloatArray = NDArray[np.float64]
VOLTAGE, SPIKES, STIMULUS = range(3)
FIRST_NOISE = 5.0  # mV, where the noise is to be estimated
WIDTH_PRIOR = 3.0  # sd of log(width / 1 mV): a factor of 20 either way
NEGLIGIBLE = 1e-3  # change of a log-likelihood
LONGEST_STEP = 1.5  # in z, where the prior's sd is 1
DAMPING = (1e-3, 1e-9, 1e6)  # first, least and most
WIDEST = 8.0  # mV, width of the threshold at the start: half the distance from rest to threshold
NOISE_FLOOR = 1e-3  # mV, so that data without noise do not divide by zero
IDENTIFIED_BELOW = 0.9  # posterior over prior sd in z


@dataclass(frozen=True)
class Fit:
    """What the fits of B neurons found.

    Attributes:
        theta: :math:`(B, P)`, natural units; nan where the method cannot say (see :func:`fit`).
        sd: :math:`(B, P)`, posterior sd on the scale of z by the curvature at the mode (the prior's is 1).
        identified: :math:`(B, P)`, sd below 0.9: the data, not the prior, chose the number.
        noise: :math:`(B,)`, sd of the voltage residual, mV.
        width: :math:`(B,)`, width of the threshold, mV.
        losses: :math:`(steps, starts, B)`, nan where a start had been given up.
        seconds_per_neuron: Wall time over B.
    """

    theta: FloatArray
    sd: FloatArray
    identified: NDArray[np.bool_]
    noise: FloatArray
    width: FloatArray
    losses: FloatArray
    seconds_per_neuron: float


@dataclass(frozen=True)
class _Quadratic:
    """A point of each row, its noise, width and loss, the loss's gradient and curvature, and the threshold's free play."""

    z: Tensor
    noise: Tensor
    width: Tensor
    loss: Tensor
    gradient: Tensor
    curvature: Tensor
    down: Tensor
    up: Tensor

    def where(self, better: Tensor, other: "_Quadratic") -> "_Quadratic":
        """Each row from here where `better`, else from `other`."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Quadratic(*(torch.where(better.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def rows(self, index: Tensor) -> "_Quadratic":
        return _Quadratic(*(x[index] for x in vars(self).values()))

    def put(self, index: Tensor, rows: "_Quadratic") -> "_Quadratic":
        """With the rows at `index` replaced."""
        pairs = zip(vars(self).values(), vars(rows).values(), strict=True)
        return _Quadratic(*(a.index_copy(0, index, b) for a, b in pairs))


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
        """Voltage at the samples :math:`(R, W)` and its distance above threshold at the segments' ends :math:`(R, S)`, mV."""
        out = self.twin.forced(self.prior.from_unconstrained(z), self.stimulus, self.dt, self.where)
        return out.voltage.gather(1, self.end), out.voltage - out.threshold

    def crossing(self, distance: Tensor, width: Tensor) -> Tensor:
        """Negative log-likelihood of spikes and silence, :math:`(R,)`."""
        return torch.where(self.tested, softplus(-self.sign * distance / width[:, None]), 0.0).sum(1)

    def _expand(self, z: Tensor, noise: Tensor, width: Tensor) -> tuple[Tensor, _Quadratic]:
        """The loss at z with this noise and width; and its expansion there with the noise that suits z better."""
        basis = torch.eye(z.shape[1], dtype=z.dtype)[self.free]

        def along(direction: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
            return torch.func.jvp(self.forward, (z,), (direction.expand_as(z),))

        (voltage, distance), (dv, dd) = torch.func.vmap(along, out_dims=((None, None), (0, 0)))(basis)
        dv, dd = dv.movedim(0, 1), dd.movedim(0, 1)
        residual = torch.where(self.seen, self.voltage - voltage, 0.0)
        squares = residual.square().sum(1)

        def loss(noise: Tensor) -> Tensor:
            gaussian = squares / (2 * noise.square()) + self.count * noise.log()
            return gaussian + self.crossing(distance, width) + 0.5 * z.square().sum(1) + 0.5 * (width.log() / WIDTH_PRIOR) ** 2

        before = loss(noise)
        if self.noise is None:
            noise = torch.where(self.count > 0, (squares / self.count.clamp(min=1)).sqrt().clamp(min=NOISE_FLOOR), noise)
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
        curvature[:, index[:, None], index] += (slopes * torch.where(self.tested, p * (1 - p), 0.0)[:, None]) @ slopes.mT
        curvature[:, index[:-1, None], index[:-1]] += (dv * weight[:, None]) @ dv.mT
        return before, _Quadratic(z, noise, width, loss(noise), gradient, curvature, *self._interval(distance))

    def _interval(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """How far the threshold may move, down and up, before a silent step would spike or a spike fail, each :math:`(R,)`, mV."""
        silent = torch.where(self.where.silent, distance, -torch.inf).amax(1)
        return silent, torch.where(self.where.spike, distance, torch.inf).amin(1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One damped step of every moving row, kept where it lowers the row's loss."""
        at, damping = self.at.rows(self.moving), self.damping[self.moving]
        scale = torch.diagonal(at.curvature, dim1=1, dim2=2)
        step = -torch.linalg.solve(at.curvature + torch.diag_embed(scale * damping[:, None]), at.gradient)
        promised = -(step * at.gradient).sum(1)
        step = step * (LONGEST_STEP / step.abs().amax(1, keepdim=True).clamp(min=LONGEST_STEP))
        loss, trial = self._expand(at.z + step[:, :-1], at.noise, at.width * step[:, -1].exp())
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


def fit(
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    rng: np.random.Generator,
    dt: float = 0.1,
    starts: int = 3,
    steps: int = 40,
    noise: float | None = None,
) -> Fit:
    """Fits each neuron by itself, all at once.

    A row of theta is nan where the method has nothing to go on: the stimulus is not known at all times, or neither voltage nor a
    spike was observed, or the spike times are unknown (None). Without a voltage the crossings alone decide, and a number they
    do not identify is nan. With a voltage an unidentified number is the prior's mode given the rest, and marked as such. spike_cut_length, if it is to be inferred,
    has no gradient: nan, the rest being fitted at its prior median.

    Args:
        x: Observations :math:`(B, 3, W)`, channels voltage (mV), spikes (not used: `spikes` is exact), stimulus (pA); nan: not
            observed; trailing steps that are nan in all channels are padding.
        spikes: The spike times of each neuron, ms.
        simulator: The model.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms: a sample is the state at the end of its step, a stimulus is held during it.
        rng: For the starts, drawn from the prior.
        dt: Step of the simulation, ms.
        starts: Number of starts for each neuron; the best is chosen after 5 steps.
        steps: Most Levenberg-Marquardt steps.
        noise: Sd of the voltage noise, mV; None: estimated for each neuron.

    Raises:
        InputError: if shapes, parameters or steps do not fit together.
    """
    begin = time.perf_counter()
    k = round(observation_dt / dt)
    if x.ndim != 3 or x.shape[1] != 3 or x.shape[0] != len(spikes):
        raise InputError(f"expected observations (B, 3, T) and B spike trains, found shape {x.shape} and {len(spikes)} trains")
    if k < 1 or abs(k * dt - observation_dt) > 1e-9 * observation_dt:
        raise InputError(f"the observation's step must be a multiple of the simulation's, found {observation_dt} and {dt} ms")
    if prior.names != simulator.parameters:
        raise InputError(f"the prior's parameters must be the simulator's {simulator.parameters}, found {prior.names}")

    x = x.astype(np.float64)
    last = x.shape[2] - np.argmax(~np.isnan(x).all(1)[:, ::-1], axis=1)
    inside = np.arange(x.shape[2]) < last[:, None]
    known = ~(np.isnan(x[:, STIMULUS]) & inside).any(1) & ~np.isnan(x).all((1, 2))
    trains = [np.empty(0) if s is None else np.asarray(s, np.float64) for s in spikes]
    has_voltage = ~np.isnan(x[:, VOLTAGE]).all(1)
    usable = known & np.array([s is not None for s in spikes]) & (has_voltage | np.array([len(s) > 0 for s in trains]))
    index = np.flatnonzero(usable)
    count, width = len(x), len(prior.names)
    theta, sd = np.full((count, width), np.nan), np.full((count, width), np.nan)
    found_noise, found_width, losses = np.full(count, np.nan), np.full(count, np.nan), np.full((0, starts, count), np.nan)
    if len(index):
        twin, free = GLIFTwin(simulator), torch.tensor([name != "spike_cut_length" for name in prior.names])
        start = torch.from_numpy(prior.sample(starts * len(index), rng)).view(starts, len(index), width)
        start = torch.where(free, start, prior.from_unconstrained(torch.zeros(width, dtype=torch.float64)))
        where = segments([trains[b] for b in index], twin.cut_steps(start[0], dt).numpy(), x.shape[2], k, dt)
        where = where.until(torch.from_numpy(last[index]))
        voltage, stimulus = torch.from_numpy(x[index, VOLTAGE]), torch.from_numpy(np.nan_to_num(x[index, STIMULUS]))
        module = GradientDescent(twin, prior, voltage, stimulus, where, dt, start, free, noise)
        _run(module, steps)
        at = module.at.rows(module.best())
        theta[index] = _centred(at, prior, simulator).numpy()
        sd[index] = torch.linalg.inv(at.curvature).diagonal(dim1=1, dim2=2)[:, :-1].sqrt().numpy()
        found_noise[index] = np.where(has_voltage[index], at.noise.numpy(), np.nan)
        found_width[index] = at.width.numpy()
        losses = np.full((len(module.losses), starts, count), np.nan)
        losses[:, :, index] = torch.stack(module.losses).numpy()
        theta[:, ~free.numpy()], sd[:, ~free.numpy()] = np.nan, np.nan
    identified = sd < IDENTIFIED_BELOW
    theta[~has_voltage] = np.where(identified, theta, np.nan)[~has_voltage]
    return Fit(theta, sd, identified, found_noise, found_width, losses, (time.perf_counter() - begin) / count)


def _run(module: GradientDescent, steps: int) -> None:
    """Trains on a loader of one empty batch, since the module holds its observation."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)  # announcements about hardware would be repeated for every batch of neurons
    try:
        trainer = L.Trainer(accelerator="cpu", devices=1, max_epochs=steps, barebones=True)
        trainer.fit(module, [0])
    finally:
        logger.setLevel(level)


def _centred(at: _Quadratic, prior: Prior, simulator: GLIF) -> Tensor:
    """theta :math:`(B, P)`, with th_inf in the middle, on its own scale, of where the spikes and silences allow it to be.

    Given all else, every value between the highest silent voltage and the lowest spiking one has the same likelihood. Where the threshold
    moves (levels 2, 4, 5), or no value suits all, th_inf stays.
    """
    theta = prior.from_unconstrained(at.z)
    if simulator.reset_rules or "th_inf" not in prior.names:
        return theta
    j = prior.names.index("th_inf")
    low, high = (torch.full_like(theta, 1.0) * theta for _ in range(2))
    low[:, j] = (theta[:, j] + at.down).clamp(prior.low[j], prior.high[j])
    high[:, j] = (theta[:, j] + at.up).clamp(prior.low[j], prior.high[j])
    middle = prior.from_unit((prior.to_unit(low) + prior.to_unit(high)) / 2)
    return torch.where((at.down < at.up)[:, None], middle, theta)

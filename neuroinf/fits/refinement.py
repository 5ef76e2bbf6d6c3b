r"""From an answer nearby to the posterior's mode in two passes through the twin, and from there to weighted samples.

What the network says lies within a few hundredths of the prior's sd of the mode, where voltage and distance from
threshold are nearly linear in z. Each pass expands them there (`models/glif_linearisation.py`) and solves the linear
problem to the end, threshold width included (`models/crossing_fit.py`); a fit that starts cold has to find its way
first. The curvature at the mode is the Laplace approximation of the posterior; :func:`resample` weighs draws from it
with the twin's own likelihood.

The approximation is not exact. Without noise inside the neuron, each spike and each silent step next to threshold is a
hard limit on the parameters: the posterior is that of the voltage, cut off at many walls. A logistic threshold 0.006 mV
wide smooths them, and its curvature at one point knows those nearby only. Of neurons of the model, intervals of
parameters that spike times tell most about (C and the after-spike currents) are therefore somewhat too wide. And where
the voltage has less noise than 0.001 mV they are those of 0.001 mV.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.windows import steps_per_window
from neuroinf.models.crossing_fit import WIDTHS, Mode, mode
from neuroinf.models.glif_descent import WIDEST, GradientDescent, Quadratic
from neuroinf.models.glif_likelihood import Layout
from neuroinf.models.glif_linearisation import linearise
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import Segments, segments
from neuroinf.simulators.glif_twin import GLIFTwin

FloatArray = NDArray[np.float64]
VOLTAGE, SPIKES, STIMULUS = range(3)
AT_ONCE = 100  # neurons expanded together: their arrays stay in the cache
LONGEST_STEP = 1.5  # in z, where the prior's sd is 1
NEGLIGIBLE = 1e-2  # change of a log-likelihood
RETRIES = 4  # more passes, for a neuron whose steps are long
SETTLED = 2.0  # posterior sds, below which a last step is taken unseen
DOWNHILL = 40  # steps of GradientDescent at most


@dataclass(frozen=True)
class Refined:
    """The posterior's mode and curvature of B neurons.

    Attributes:
        theta: :math:`(B, P)`, natural units; nan where voltage, stimulus or spike times were not observed.
        z: The mode, :math:`(B, P)`; equal to theta but for th_inf, which theta has in the middle of what the spikes
            and silences allow.
        covariance: :math:`(B, P, P)` in z, by the curvature at the mode.
        noise: Sd of the voltage residual, :math:`(B,)`, mV.
        width: Of the threshold, :math:`(B,)`, mV.
        passes: Through the recording, :math:`(B,)`.
        descended: Whether two passes and a few more did not do and `GradientDescent` went on, :math:`(B,)`.
        seconds_per_neuron: Wall time over B.
    """

    theta: FloatArray
    z: FloatArray
    covariance: FloatArray
    noise: FloatArray
    width: FloatArray
    passes: NDArray[np.int64]
    descended: NDArray[np.bool_]
    seconds_per_neuron: float

    @property
    def sd(self) -> FloatArray:
        """Posterior sd :math:`(B, P)` on the scale of z, where the prior's is 1."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def sample(self, number: int, rng: np.random.Generator) -> FloatArray:
        """Draws :math:`(B, S, P)` of z from the Laplace approximation."""
        factor = np.full_like(self.covariance, np.nan)
        known = np.isfinite(self.covariance).all((1, 2))
        factor[known] = np.linalg.cholesky(self.covariance[known])
        draws = rng.standard_normal((len(self.z), number, self.z.shape[1]))
        return self.z[:, None] + draws @ factor.transpose(0, 2, 1)


@dataclass(frozen=True)
class Observed:
    """The neurons among B that can be fitted, as the twin reads them.

    Attributes:
        twin: The model.
        prior: Of its parameters.
        index: Which of the B neurons they are.
        voltage, stimulus: :math:`(N, W)`.
        trains: Their spikes, ms.
        last: Number of windows of each before the padding.
        dt: Step of the simulation, ms.
        k: Steps in a window.
    """

    twin: GLIFTwin
    prior: Prior
    index: NDArray[np.int64]
    voltage: Tensor
    stimulus: Tensor
    trains: list[FloatArray]
    last: Tensor
    dt: float
    k: int

    def layout(self, rows: NDArray[np.int64]) -> Layout:
        """Some of them, laid out in time."""
        return Layout(self.voltage[rows], self.stimulus[rows], self.segments(rows))

    def segments(self, rows: NDArray[np.int64]) -> Segments:
        """The segments of some of them."""
        cut = np.full(len(rows), round(self.twin.simulator.fixed["spike_cut_length"] / self.dt))
        where = segments([self.trains[i] for i in rows], cut, self.voltage.shape[1], self.k, self.dt)
        return where.until(self.last[rows])


def observed(
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    dt: float = 0.1,
) -> Observed:
    """The neurons whose voltage, stimulus and spike times are known.

    Args:
        x: Observations :math:`(B, 3, W)`, channels voltage (mV), spikes (not used: `spikes` is exact), stimulus (pA);
            nan: not observed; trailing steps that are nan in all channels are padding.
        spikes: The spike times of each neuron, ms; None: not known.
        simulator: The model, its spike cut fixed.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms.
        dt: Step of the simulation, ms.

    Raises:
        InputError: if shapes, parameters or steps do not fit together, or the spike cut is not fixed.
    """
    k = steps_per_window(x, spikes, observation_dt, dt)
    if prior.names != simulator.parameters or "spike_cut_length" in prior.names:
        raise InputError(
            f"the prior's parameters must be the simulator's {simulator.parameters} with the spike cut fixed, "
            f"found {prior.names}"
        )
    seen = np.isfinite(x)
    last = x.shape[2] - np.argmax(np.asarray(seen.any(1))[:, ::-1], axis=1)
    unknown = ~seen[:, STIMULUS] & (np.arange(x.shape[2]) < last[:, None])
    usable = ~unknown.any(1) & seen[:, VOLTAGE].any(1) & np.array([s is not None for s in spikes], bool)
    index = np.flatnonzero(usable)
    return Observed(
        GLIFTwin(simulator),
        prior,
        index,
        torch.from_numpy(x[index, VOLTAGE].astype(np.float64)),
        torch.from_numpy(np.nan_to_num(x[index, STIMULUS].astype(np.float64))),
        [np.asarray(spikes[i], np.float64) for i in index.tolist()],
        torch.from_numpy(last[index]),
        dt,
        k,
    )


def refine(
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    start: FloatArray,
    dt: float = 0.1,
    steps: int = 2,
    noise: float | None = None,
) -> Refined:
    """The mode nearest to a start, for each neuron.

    The loss is that of `GradientDescent`, with the noise and the width of the threshold that suit a point best. A step
    that makes it larger is taken back by three quarters. A neuron whose last step would be longer than two posterior sds
    has up to four passes more. One that has not settled then, or whose threshold turns out as wide as 0.4 mV, because
    it does not keep to the model, is handed to `GradientDescent`, which starts from here and there and goes downhill
    only. So no answer has a larger loss than its start, but for what a last step of less than two sds, taken unseen,
    may lose.

    Args:
        x: Observations, as for :func:`observed`.
        spikes: Spike times, as for :func:`observed`.
        simulator: The model, its spike cut fixed.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms.
        start: :math:`(B, P)`, natural units, such as an amortized posterior's mean.
        dt: Step of the simulation, ms.
        steps: Most passes through the recording, but for steps that were too long.
        noise: Sd of the voltage noise, mV; None: estimated for each neuron.

    Raises:
        InputError: as :func:`observed`.
    """
    begin = time.perf_counter()
    data = observed(x, spikes, simulator, prior, observation_dt, dt)
    count, p = len(x), len(prior.names)
    theta, z = np.full((count, p), np.nan), np.full((count, p), np.nan)
    covariance, passes = np.full((count, p, p), np.nan), np.zeros(count, np.int64)
    sd, width = np.full(count, np.nan), np.full(count, np.nan)
    descended = np.zeros(count, bool)
    for rows in np.split(np.arange(len(data.index)), range(AT_ONCE, len(data.index), AT_ONCE)):
        if not len(rows):
            continue
        into = data.index[rows]
        at = prior.to_unconstrained(torch.from_numpy(start[into])).numpy()
        z[into], found, passes[into], settled = _descend(data, data.layout(rows), at, steps, noise)
        covariance[into], sd[into], width[into] = np.linalg.inv(found.curvature), found.noise, found.width
        theta[into] = _centred(z[into], found.down, found.up, prior, simulator)
        hard = np.flatnonzero(~settled | (found.width >= WIDTHS[0]))
        if len(hard):
            some = into[hard]
            descended[some] = True
            low = _downhill(data, rows[hard], np.stack((z[some], at[hard])), noise)
            z[some], sd[some], width[some] = low.z.numpy(), low.noise.numpy(), low.width.numpy()
            covariance[some] = np.linalg.inv(low.curvature.numpy())[:, :p, :p]
            theta[some] = _centred(z[some], low.down.numpy(), low.up.numpy(), prior, simulator)
    seconds = (time.perf_counter() - begin) / max(count, 1)
    return Refined(theta, z, covariance, sd, width, passes, descended, seconds)


def _downhill(data: Observed, rows: NDArray[np.int64], starts: FloatArray, noise: float | None) -> Quadratic:
    """The lowest point that Levenberg-Marquardt reaches from starts :math:`(S, N, P)`, z, and the expansion there."""
    theta = data.prior.from_unconstrained(torch.from_numpy(starts))
    free = torch.ones(theta.shape[-1], dtype=torch.bool)
    seen = (data.voltage[rows], data.stimulus[rows], data.segments(rows))
    module = GradientDescent(data.twin, data.prior, *seen, data.dt, theta, free, noise, widths=(1.0, 0.2, WIDEST))
    while len(module.moving) and len(module.losses) < DOWNHILL:
        module.training_step(None, len(module.losses))
    return module.at.rows(module.best())


def _descend(
    data: Observed, layout: Layout, start: FloatArray, steps: int, noise: float | None
) -> tuple[FloatArray, Mode, NDArray[np.int64], NDArray[np.bool_]]:
    """z, what was found there, the number of passes, and whether that was enough."""
    n = len(start)
    z, base, move = start.copy(), start.copy(), np.zeros_like(start)
    active, passes, lowest = np.arange(n), np.zeros(n, np.int64), np.full(n, np.inf)
    settled = np.zeros(n, bool)
    found: Mode | None = None
    while len(active):
        at = linearise(data.twin, data.prior, torch.from_numpy(z[active]), layout.rows(active), data.dt)
        passes[active] += 1
        new = mode(at, z[active], noise, None if found is None else found.width[active])
        worse = new.before > lowest[active] + NEGLIGIBLE
        kept, back = active[~worse], active[worse]
        if found is None:
            found = new
        else:
            for part, value in zip(found, new, strict=True):
                part[kept] = value[~worse]
        base[kept], lowest[kept] = z[kept], new.before[~worse]
        longest = np.abs(new.step[~worse]).max(1, keepdims=True, initial=LONGEST_STEP)
        move[kept] = new.step[~worse] * (LONGEST_STEP / longest)
        move[back] /= 4
        z[active] = base[active] + move[active]
        sd = np.sqrt(np.diagonal(np.linalg.inv(new.curvature), axis1=1, axis2=2))
        short = ~worse & (np.abs(new.step) < SETTLED * sd).all(1)
        done = ~worse & (new.before - new.after < NEGLIGIBLE)
        settled[active] = short
        active = active[~done & ~(short & (passes[active] >= steps)) & (passes[active] < steps + RETRIES)]
    z[~settled] = base[~settled]
    assert found is not None
    return z, found, passes, settled


def _centred(z: FloatArray, down: FloatArray, up: FloatArray, prior: Prior, simulator: GLIF) -> FloatArray:
    """theta :math:`(B, P)`, with th_inf in the middle, on its own scale, of where the spikes and silences allow it to
    be (see `trajectory`)."""
    theta = prior.from_unconstrained(torch.from_numpy(z)).numpy()
    if simulator.reset_rules or "th_inf" not in prior.names:
        return theta
    j = prior.names.index("th_inf")
    low, high = theta.copy(), theta.copy()
    low[:, j] = np.clip(theta[:, j] + down, prior.low[j], prior.high[j])
    high[:, j] = np.clip(theta[:, j] + up, prior.low[j], prior.high[j])
    middle = prior.from_unit((prior.to_unit(low) + prior.to_unit(high)) / 2)
    return np.where((down < up)[:, None], middle, theta)

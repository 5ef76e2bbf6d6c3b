r"""What of a recording its model cannot explain: the voltage less that of the model, told when the neuron spiked.

The network's answer is where it starts. A few Levenberg-Marquardt steps in the prior's unconstrained space bring the
parameters z, and the deviation a of the state at the beginning from rest, to

.. math:: \min_{z, a} \sum_t \frac{(y_t - v_t(z, a))^2}{2 \sigma^2} + \tfrac12 |z|^2 + \tfrac12 |a / s|^2

so that nothing is left of the network's own error: for a recording that the model did produce, the residual is its
observation noise, and every classical test of whiteness applies. Derivatives are forward differences, so that all that
is asked of a simulator is :class:`neuroinf.simulators.protocol.FollowsSpikes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.datasets.simulation import Simulation
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import FollowsSpikes

FloatArray = NDArray[np.float64]
STEPS = 10  # Levenberg-Marquardt, at most: the voltage given the spikes is nearly linear, and 3 are enough as a rule
DIFFERENCE = 1e-4  # in z, and of a state's scale: forward differences in double precision
LONGEST = 1.5  # of a step, in z
NEGLIGIBLE = 0.1  # change of a log-likelihood
INSIDE = 1e-3  # of the prior's range: how near to its ends a fit may begin
FLOOR = 0.05  # mV: what departs from the model by less is of no interest, and numerical error stays below it
DAMPING = (1e-3, 1e-9, 1e6)  # first, least and most


@dataclass(frozen=True)
class Residuals:
    """Of B recordings of W samples.

    Attributes:
        residual: Observed less model (B, W), mV; nan where not observed; all nan without voltage or stimulus.
        model: The model's voltage (B, W), mV.
        observed: As recorded (B, W), mV.
        spikes: Their times, ms.
        gap: How far the voltage rose without a spike above where it spiked at another time (B,), mV; negative if a
            single threshold explains all; nan without spikes.
        theta: The parameters (B, P) at which this is.
        duration: Samples (B,) without padding.
        ramp: A drift by 1 mV from beginning to end (B, W), less what the parameters can absorb of it.
    """

    residual: FloatArray
    model: FloatArray
    observed: FloatArray
    spikes: list[FloatArray]
    gap: FloatArray
    theta: FloatArray
    duration: NDArray[np.integer[Any]]
    ramp: FloatArray


@numba.njit(cache=True)
def _unbin(grid: FloatArray) -> tuple[FloatArray, int]:
    times, found, carry = np.empty(2 * len(grid)), 0, 0.0
    for i in range(len(grid)):
        early = grid[i] - carry
        carry = 0.0
        if early < 1e-3:
            continue
        number = max(int(np.ceil(early - 1e-3)), 1)
        late = max(1.0 - early / number, 0.0)
        if i + 1 < len(grid) and grid[i + 1] < number * late - 1e-2:
            continue  # the second half of a spike before the beginning
        carry = number * late
        for _ in range(min(number, len(times) - found)):
            times[found] = i + late
            found += 1
    return times[:found], found


def spike_times(grid: FloatArray, dt: float) -> FloatArray:
    """The spike times, ms, that :func:`neuroinf.datasets.observation.bin_spikes` put on a grid (W,) of step dt.

    Exact for spikes more than two bins apart, as a spike cut keeps them. A spike that a stretch's beginning cut in two
    is left out.
    """
    return _unbin(np.ascontiguousarray(grid, np.float64))[0] * dt


def fits_residuals(simulation: Simulation | None, observation: Observation) -> bool:
    """Whether residuals can be had: one voltage, spikes and one current of a simulator that can be told its spikes."""
    return (
        simulation is not None
        and isinstance(simulation.simulator, FollowsSpikes)
        and observation.inputs == 1
        and set(observation.channels) == {"voltage", "spikes", "stimulus"}
    )


def residuals(
    x: NDArray[np.floating], start: FloatArray, simulation: Simulation, observation: Observation
) -> Residuals:
    """Residuals of recordings, each on its own.

    Args:
        x: Observations (B, C, W); nan: not observed; trailing samples without any channel are padding.
        start: Parameters in the prior's unit cube (B, P), the network's answer.
        simulation: Of the model.
        observation: Of the channels.
    """
    y, grid, current = (x[:, observation.rows(c).start].astype(np.float64) for c in ("voltage", "spikes", "stimulus"))
    begun: NDArray[np.bool_] = np.asarray(np.isfinite(x).any(1))
    last = np.where(begun.any(1), x.shape[-1] - begun[:, ::-1].argmax(1), 0)
    inside = np.arange(x.shape[-1]) < last[:, None]
    known = (np.isfinite(current) | ~inside).all(1) & np.isfinite(grid).any(1) & (last > 0)
    trains = [spike_times(np.nan_to_num(row), observation.dt) for row in grid]
    y = np.where(known[:, None], y, np.nan)
    fit = _Fit(y, np.nan_to_num(current), trains, last, simulation, observation.dt)
    z = fit.prior.to_unconstrained(fit.prior.from_unit(torch.from_numpy(start.clip(INSIDE, 1 - INSIDE)))).numpy()
    with np.errstate(invalid="ignore"):
        return fit.run(z, known)


@dataclass(frozen=True)
class _Point:
    """Coordinates (B, Q), model voltage, slopes (Q, B, W), gap, and the sum of squares (B,)."""

    u: FloatArray
    model: FloatArray
    slopes: FloatArray
    gap: FloatArray
    squares: FloatArray


class _Fit:
    """The minimisation, for B recordings at once; coordinates u are z and the state's deviation over its scale."""

    def __init__(
        self,
        y: FloatArray,
        current: FloatArray,
        trains: list[FloatArray],
        last: NDArray[np.int64],
        simulation: Simulation,
        record_dt: float,
    ) -> None:
        self.y, self.current, self.trains, self.last = y, current, trains, last
        self.seen, self.inside = np.isfinite(y), np.arange(y.shape[1]) < last[:, None]
        self.prior: Prior = simulation.prior
        assert isinstance(simulation.simulator, FollowsSpikes)
        self.simulator, self.dt, self.record_dt = simulation.simulator, simulation.dt, record_dt
        self.order = [self.prior.names.index(name) for name in simulation.simulator.parameters]
        self.scales = np.array(self.simulator.state_scales)
        # windows of padding hold neither spikes nor tests
        self.trains = [t[t < n * record_dt] for t, n in zip(trains, last, strict=True)]

    def expand(self, u: FloatArray) -> _Point:
        """Model, slopes and sum of squares at u (B, Q)."""
        size, parameters = u.shape[1], len(self.prior.names)
        every = np.repeat(u[None], size + 1, 0)
        every[np.arange(size) + 1, :, np.arange(size)] += DIFFERENCE
        theta = self.prior.from_unconstrained(torch.from_numpy(every[..., :parameters])).numpy()[..., self.order]
        found = self.simulator.given_spikes(
            theta, every[..., parameters:] * self.scales, self.current, self.trains, self.dt, self.record_dt
        )
        model = found.voltage[0]
        seen = self.seen & np.isfinite(model)
        slopes = np.where(seen, (found.voltage[1:] - model) / DIFFERENCE, 0.0)
        squares = np.where(seen, np.square(self.y - model), 0.0).sum(-1)
        # where there is a voltage, only its samples say that the neuron was silent, and before the first nothing does
        told = np.where(self.seen.any(1, keepdims=True), self.seen, self.inside)
        begun = np.maximum.accumulate(told, axis=1)
        highest = np.where(told & np.isfinite(found.silent[0]), found.silent[0], -np.inf).max(-1, initial=-np.inf)
        lowest = np.where(begun & np.isfinite(found.spiking[0]), found.spiking[0], np.inf).min(-1, initial=np.inf)
        return _Point(u, model, slopes, highest - lowest, squares)

    def run(self, z: FloatArray, known: NDArray[np.bool_]) -> Residuals:
        """From z (B, P)."""
        at = self.expand(np.concatenate([z, np.zeros((len(z), len(self.scales)))], 1))
        count = self.seen.sum(1)
        damping = np.full(len(z), DAMPING[0])
        one = np.eye(at.u.shape[1])
        for _ in range(STEPS if count.any() else 0):
            weight = 1 / np.maximum(at.squares / np.maximum(count, 1), FLOOR**2)
            residual = np.where(self.seen & np.isfinite(at.model), self.y - at.model, 0.0)
            slopes = at.slopes.transpose(1, 0, 2)
            curvature = weight[:, None, None] * (slopes @ slopes.transpose(0, 2, 1)) + one
            gradient = weight[:, None] * (slopes @ residual[..., None])[..., 0] - at.u
            curvature += damping[:, None, None] * curvature * one
            step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
            step *= np.minimum(1, LONGEST / np.abs(step).max(1, initial=1e-12, keepdims=True))
            trial = self.expand(at.u + step)
            before, after = (weight * p.squares + np.square(p.u).sum(1) for p in (at, trial))
            better = after < before
            still = np.abs(before - after) < 2 * NEGLIGIBLE
            damping = np.where(better, damping / 10, damping * 10).clip(*DAMPING[1:])
            at = _Point(
                np.where(better[:, None], trial.u, at.u),
                np.where(better[:, None], trial.model, at.model),
                np.where(better[:, None], trial.slopes, at.slopes),
                np.where(better, trial.gap, at.gap),
                np.where(better, trial.squares, at.squares),
            )
            if still.all():
                break
        theta = self.prior.from_unconstrained(torch.from_numpy(at.u[:, : z.shape[1]])).numpy()
        model = np.where(self.inside & known[:, None], at.model, np.nan)
        gap = np.where(known & np.isfinite(at.gap), at.gap, np.nan)
        return Residuals(self.y - model, model, self.y, self.trains, gap, theta, self.last, self._ramp(at))

    def _ramp(self, at: _Point) -> FloatArray:
        """The part of a rising line that is orthogonal to the slopes of the voltage in all coordinates."""
        seen = self.seen & np.isfinite(at.model)
        line = np.where(seen, np.arange(self.y.shape[1]) / self.last.clip(1)[:, None], 0.0)
        slopes = at.slopes.transpose(1, 0, 2)
        power = np.square(slopes).sum(-1)
        # relative to each slope's own size, so that a coordinate without effect does no harm
        scaled = slopes / np.sqrt(power + FLOOR**2)[..., None]
        gram = scaled @ scaled.transpose(0, 2, 1) + 1e-6 * np.eye(slopes.shape[1])
        weight = np.linalg.solve(gram, scaled @ line[..., None])
        return line - (scaled.transpose(0, 2, 1) @ weight)[..., 0]

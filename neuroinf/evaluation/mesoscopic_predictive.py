"""Circuits left to themselves, and pushed: what estimated parameters predict, beside the microscopic network's own behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.evaluation.population_statistics import Levels, dominance, dwell_times, is_bistable, levels, switches
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.mesoscopic import MesoscopicNetwork
from neuroinf.simulators.microscopic import MicroscopicNetwork
from neuroinf.simulators.protocol import Response
from neuroinf.stimuli.noise_windows import CurrentStep

FloatArray = NDArray[np.float64]
DT, TRIAL_DT = 4.0, 20.0  # bins of free simulations, and of trials, ms
BEFORE, STEP, AFTER = 1000.0, 1000.0, 2000.0  # of a trial, ms
# 1/s: at the published a of 50 1/s this moves the resting voltage by 2 units of the escape noise, of 14.4
AMPLITUDE = 100.0


class Network(Protocol):
    """What parameters are simulated with."""

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """See :class:`MicroscopicNetwork`."""
        ...


def microscopic(circuit: Circuit) -> MicroscopicNetwork:
    """For parameters inferred from microscopic data by a network that was trained on such."""
    return MicroscopicNetwork(circuit, recorded=1)


def published_mesoscopic(circuit: Circuit) -> MesoscopicNetwork:
    """For parameters of the published fit: they are effective ones of its own scheme, Euler at 4 ms with Gaussian noise."""
    return MesoscopicNetwork(circuit, step=DT, scheme="euler", noise="gaussian", recorded=1)


@dataclass(frozen=True)
class FreeRun:
    """A circuit of two competing populations without input.

    Attributes:
        rates: :math:`(M, T)`, Hz, in bins of 4 ms.
        levels: Of the leading population, of the other, and of the rest, Hz.
        changes: Of the leader, in 100 s.
        dwell: How long each one led, ms; first and last left out.
    """

    rates: FloatArray
    levels: Levels
    changes: float
    dwell: FloatArray

    def like(self, truth: Levels, tolerance: float = 2.0) -> bool:
        """Whether it changes its leader, between levels within the tolerance of the true ones, Hz."""
        return is_bistable(self.levels, truth, self.changes, tolerance)


def free_runs(network: Network, theta: ArrayLike, populations: int, duration: float, seed: int) -> list[FreeRun]:
    """One for each row of theta :math:`(n, P)`, each of this duration in ms."""
    silence = np.zeros((1, populations, round(duration / DT)))
    rates = network.simulate(theta, silence, DT, seed)["latent/rates"]
    return [described(one) for one in rates]


def described(rates: FloatArray) -> FreeRun:
    """States of rates :math:`(M, T)`."""
    states = dominance(rates, DT)
    return FreeRun(rates, levels(rates, states), switches(states, DT), dwell_times(states, DT))


def pooled_levels(runs: Sequence[FreeRun]) -> Levels:
    """Means over runs of equal length."""
    each = [run.levels for run in runs]
    rest = np.mean([one.rest for one in each], 0)
    return Levels(float(np.mean([o.winner for o in each])), float(np.mean([o.loser for o in each])), rest)


def step_input(populations: int, target: int = 0, amplitude: float = AMPLITUDE) -> FloatArray:
    """A step of input to one population :math:`(M, T)`, 1/s, in bins of 20 ms."""
    total = BEFORE + STEP + AFTER
    step = CurrentStep(populations, [target], total, TRIAL_DT, amplitude, BEFORE, BEFORE + STEP)
    return step.sample(np.random.default_rng(0))


def step_responses(network: Network, theta: ArrayLike, waveform: FloatArray, trials: int, seed: int) -> FloatArray:
    """Mean rates over trials :math:`(n, M, T)`, Hz, for each row of theta; trials begin in random states."""
    values = np.asarray(theta, np.float64)
    response = network.simulate(np.repeat(values, trials, 0), waveform[None], TRIAL_DT, seed)
    rates = np.asarray(response["latent/rates"])
    return rates.reshape(len(values), trials, *rates.shape[1:]).mean(1)


def response_r2(predicted: FloatArray, truth: FloatArray) -> float:
    """1 for the true mean response :math:`(M, T)`, 0 for saying that each population stays as it truly was before the step."""
    before = truth[:, : round(BEFORE / TRIAL_DT)].mean(1, keepdims=True)
    return float(1 - np.square(predicted - truth).sum() / np.square(truth - before).sum())

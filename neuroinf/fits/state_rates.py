r"""What a recording in which two populations take turns says of the rates in either state.

The number k of spikes of n neurons in a state that lasts for T in all, in v visits, has the variance of a renewal process,

.. math:: \operatorname{Var} k = C_V^2\, k + n v / 6

with the coefficient of variation of the recorded intervals within that state, 1 if there are too few of them. (Neurons of the
published circuit are far more regular than Poisson's: 0.1 is the square of the leading population's.)

Source:
    Cox 1962, Renewal Theory, section 4.5: mean and variance of the number of renewals; 1/6 is that of a regular train, n v times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.recordings.network_recording import NetworkRecording

FloatArray = NDArray[np.float64]

SHORTEST = 300.0  # ms: of a state whose rates are compared
FEWEST = 20  # intervals by which their irregularity is known


@dataclass(frozen=True)
class StateRates:
    """Rates of M populations while the first and while the second of them leads.

    Attributes:
        rates: Of the recorded neurons :math:`(2, M)`, Hz.
        sd: Of these as estimates of the populations' rates in the recorded time :math:`(2, M)`, Hz.
        times: How long either leads :math:`(2,)`, ms.
        changes: Number of changes of the leader.
    """

    rates: FloatArray
    sd: FloatArray
    times: FloatArray
    changes: int

    def log_likelihood(self, found: FloatArray, sd: FloatArray) -> FloatArray:
        """Up to a constant, of rates :math:`(n, 2, M)` that have an error of their own :math:`(2, M)`: (n,)."""
        variance = np.square(self.sd) + np.square(sd)
        return -0.5 * (np.square(found - self.rates) / variance).sum((1, 2))


def state_rates(recording: NetworkRecording, activity: FloatArray, dt: float) -> StateRates:
    """What of a recording is compared.

    Args:
        recording: Spikes of n neurons of each population, without external input.
        activity: Rates of the populations :math:`(M, T)`, Hz, by which it is told who leads; the first two compete.
        dt: Their bin, ms.

    Raises:
        InputError: if one of the two hardly ever leads, a population has no neuron, or there is external input.
    """
    if recording.inputs is not None and recording.inputs.any():
        raise InputError(
            f"{recording.name}: expected no external input, found some: which population leads is then not the circuit's own "
            "doing; take the amortized posterior"
        )
    states, bins = dominance(activity, dt), activity.shape[1]
    number = np.bincount(recording.groups, minlength=len(activity))
    leads = np.stack([states == 1, states == 0])
    times = leads.sum(1) * dt
    if times.min() < SHORTEST or number.min() < 1:
        raise InputError(
            f"{recording.name}: expected both of the competing populations to lead for {SHORTEST:g} ms or more and a neuron of "
            f"each population, found {times[0]:g} and {times[1]:g} ms and {number.tolist()} neurons: take the amortized posterior"
        )
    visits = np.array([np.count_nonzero(np.diff(lead.astype(np.int64), prepend=0) == 1) for lead in leads])
    counts = np.zeros((2, len(activity)))
    intervals: dict[tuple[int, int], list[FloatArray]] = {}
    for train, group in zip(recording.spikes, recording.groups, strict=True):
        state = 1 - states[np.minimum((train / dt).astype(np.int64), bins - 1)]
        for s in (0, 1):
            counts[s, group] += np.count_nonzero(state == s)
            within = (state[1:] == s) & (state[:-1] == s)
            intervals.setdefault((s, int(group)), []).append(np.diff(train)[within])
    irregular = np.array([[_irregularity(intervals[s, m]) for m in range(len(activity))] for s in (0, 1)])
    exposed = times[:, None] / 1000 * number
    counts += 0.5
    variance = irregular * counts + visits[:, None] * number / 6
    return StateRates(counts / exposed, np.sqrt(variance) / exposed, times, int(np.count_nonzero(np.diff(states))))


def _irregularity(intervals: list[FloatArray]) -> float:
    """Square of the coefficient of variation, at most 1."""
    every = np.concatenate(intervals)
    return min(1.0, float(every.var() / every.mean() ** 2)) if len(every) >= FEWEST else 1.0

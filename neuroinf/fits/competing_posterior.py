r"""Circuits that agree with a recording in which two populations take turns: Monte Carlo for this recording alone.

What is compared are the rates :math:`r_{sm}` of the recorded neurons of population m while the first (s = 1) or the second
(s = 2) population leads, and that both do. With infinite populations' stationary rates :math:`A_{sm}(\theta)`
(:mod:`neuroinf.simulators.circuit_states`) the target of a Markov chain is

.. math:: p(\theta)\; 1[\theta \text{ has both states}]\;
    \prod_{sm} \mathcal N\big(r_{sm};\, A_{sm}(\theta),\, \sigma_{sm}^2 + (0.05\, r_{sm})^2\big), \qquad
    \sigma_{sm}^2 = \frac{r_{sm}}{n_m T_s}

with n neurons recorded for a time T in a state. Every circuit that the chain ends in is then simulated as long as the recording
was: those that do not change their leader are dropped. (Weights by the simulations' own rates in place of the infinite populations'
leave one circuit in sixty.) A trained network's posterior is where the chain begins; it has no part in the target.
Recordings without external input only.

Source:
    The chain: ter Braak 2006, A Markov chain Monte Carlo version of the genetic algorithm differential evolution,
    Stat Comput 16:239.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.priors import Prior
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.circuit_states import competing_states
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]

DT = 4.0  # ms, of the simulations
SETTLED = 5000.0  # ms, before a simulation: what leaves the state that it happened to begin in does not take turns
SHORTEST = 300.0  # ms: of a state whose rates are compared
ROUGH = 0.05  # of a rate: error of infinite populations' rates
LEAD = 3.0  # Hz: by which a population leads in its state
CHAINS, JITTER, JUMP = 120, 1e-4, 0.1  # chains; noise of a step, of the prior's width; part of steps between modes
SCALES = (0.15, 0.4, 1.0)  # of a step's 2.38 / sqrt(2 P)


@dataclass(frozen=True)
class StateRates:
    """Rates while the first and while the second population leads.

    Attributes:
        rates: :math:`(2, M)`, Hz.
        sd: :math:`(2, M)`, Hz.
    """

    rates: FloatArray
    sd: FloatArray

    def log_likelihood(self, found: FloatArray, rough: float = 0.0) -> FloatArray:
        """Of rates :math:`(n, 2, M)`, known but for this part of them: (n,)."""
        variance = np.square(self.sd) + np.square(rough * self.rates)
        return -0.5 * (np.square(found - self.rates) / variance).sum((1, 2))


@dataclass(frozen=True)
class CompetingPosterior:
    """Circuits that agree with a recording.

    Attributes:
        samples: Parameters :math:`(S, P)`, equally likely.
        switching: Part of the chain's circuits that changed their leader when simulated.
        seconds: Processor time.
    """

    samples: FloatArray
    switching: float
    seconds: float


def state_rates(recording: NetworkRecording, activity: FloatArray, dt: float) -> StateRates:
    """What of a recording is compared.

    Args:
        recording: Spikes of n neurons of each population.
        activity: Rates of the populations :math:`(M, T)`, Hz, by which it is told who leads; the first two compete.
        dt: Their bin, ms.

    Raises:
        InputError: if one of the two hardly ever leads, or a population has no neuron.
    """
    states, bins = dominance(activity, dt), activity.shape[1]
    number = np.bincount(recording.groups, minlength=len(activity))
    times = np.array([np.count_nonzero(states == state) for state in (1, 0)]) * dt
    if times.min() < SHORTEST or number.min() < 1:
        raise InputError(
            f"{recording.name}: expected both of the competing populations to lead for {SHORTEST:g} ms or more and a neuron of "
            f"each population, found {times[0]:g} and {times[1]:g} ms and {number.tolist()} neurons: take the amortized posterior"
        )
    counts = np.zeros((2, len(activity)))
    for train, group in zip(recording.spikes, recording.groups, strict=True):
        leads = states[np.minimum((train / dt).astype(np.int64), bins - 1)]
        counts[:, group] += np.count_nonzero(leads == 1), np.count_nonzero(leads == 0)
    exposed = times[:, None] / 1000 * number
    rates = (counts + 0.5) / exposed
    return StateRates(rates, np.sqrt(rates / exposed))


def competing_posterior(
    circuit: Circuit,
    prior: Prior,
    observed: StateRates,
    start: FloatArray,
    duration: float,
    seed: int,
    steps: int = 600,
    simulated: int = 240,
    samples: int = 200,
) -> CompetingPosterior:
    """Draw circuits that agree with a recording.

    Args:
        circuit: Populations and wiring.
        prior: Over its free parameters, in their order; constant where it is not 0.
        observed: From :func:`state_rates`.
        start: Draws of an approximate posterior :math:`(n, P)`, in which the chains begin.
        duration: Of the recording, ms.
        seed: Of chains and simulations.
        steps: Of each chain.
        simulated: Number of circuits that are simulated.
        samples: Number of draws.

    Raises:
        InputError: if the chains find no circuit with two states, or none of the simulated ones switches.
    """
    begin, rng = time.process_time(), np.random.default_rng(seed)
    target = _Target(circuit, prior, observed)
    value = target(start)
    best = np.argsort(-value)[:CHAINS]
    found = _chains(target, start[best], value[best], steps, -(-simulated // CHAINS), rng)
    found = found[rng.permutation(len(found))[:simulated]]
    if not np.isfinite(target(found)).any():
        raise InputError("none of the circuits has two states like the recording's: take the amortized posterior")
    network = MicroscopicNetwork(circuit, recorded=1, burn_in=SETTLED)
    silence = np.zeros((1, len(circuit.names), round(duration / DT)))
    rates = network.simulate(found, silence, DT, int(rng.integers(2**62)))["latent/rates"]
    own = np.array([_own_rates(one) for one in rates])
    switches = np.isfinite(own).all((1, 2))
    if not switches.any():
        raise InputError(f"none of {len(found)} circuits switched in {duration:g} ms: take the amortized posterior")
    drawn = rng.choice(np.flatnonzero(switches), samples)
    return CompetingPosterior(found[drawn], float(switches.mean()), time.process_time() - begin)


class _Target:
    """Log density of the chain, up to a constant."""

    def __init__(self, circuit: Circuit, prior: Prior, observed: StateRates) -> None:
        self.circuit, self.prior, self.observed = circuit, prior, observed

    def __call__(self, theta: FloatArray) -> FloatArray:
        """Of circuits (n, P): (n,), -inf where there are no two states."""
        value = np.full(len(theta), -np.inf)
        inside = np.flatnonzero(self.prior.inside(torch.from_numpy(theta)).numpy())
        if len(inside):
            rates = np.stack(competing_states(self.circuit, theta[inside]), 1)
            both = (rates[:, 0, 0] - rates[:, 0, 1] > LEAD) & (rates[:, 1, 1] - rates[:, 1, 0] > LEAD)
            value[inside] = np.where(both, self.observed.log_likelihood(rates, ROUGH), -np.inf)
        return value


def _chains(
    target: _Target, x: FloatArray, value: FloatArray, steps: int, kept: int, rng: np.random.Generator
) -> FloatArray:
    """Where chains from x (n, P) are at `kept` times in the second half of their steps (kept n, P)."""
    x, value, found = x.copy(), value.copy(), []
    width = target.prior.high - target.prior.low
    usual = 2.38 / np.sqrt(2 * x.shape[1])
    at = set(np.linspace(steps, steps // 2, kept, endpoint=False, dtype=int).tolist())
    for step in range(1, steps + 1):
        for half in (0, 1):  # each half moves along differences of the other
            moved, others = np.arange(half, len(x), 2), np.arange(1 - half, len(x), 2)
            one, two = (rng.choice(others, len(moved)) for _ in range(2))
            scale = 1.0 if rng.random() < JUMP else usual * rng.choice(SCALES)
            proposed = (
                x[moved] + scale * (x[one] - x[two]) + JITTER * width * rng.standard_normal((len(moved), x.shape[1]))
            )
            new = target(proposed)
            # a chain that began without two states takes the first ones that it finds
            better = np.log(rng.random(len(moved))) + np.maximum(value[moved], -1e300) < new
            x[moved[better]], value[moved[better]] = proposed[better], new[better]
        if step in at:
            found.append(x.copy())
    return np.concatenate(found)


def _own_rates(rates: FloatArray) -> FloatArray:
    """Mean rates (2, M) of a simulation (M, T) in either state; nan where one is not seen long enough."""
    states = dominance(rates, DT)
    parts = [rates[:, states == state] for state in (1, 0)]
    if min(part.shape[1] for part in parts) * DT < SHORTEST:
        return np.full((2, len(rates)), np.nan)
    return np.stack([part.mean(1) for part in parts])

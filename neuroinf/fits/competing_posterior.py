r"""Circuits that agree with a recording in which two populations take turns: Monte Carlo for this recording alone.

What is compared are the rates :math:`r_{sm}` of the recorded neurons of population m while the first (s = 1) or the second
(s = 2) population leads, and the number C of changes of the leader within the recorded time:

.. math:: p(\theta)\; P(\text{both lead}, |C - C_r| \le \max(1, \sqrt{C_r}) \mid \theta)
    \prod_{sm} \mathcal N\big(r_{sm};\, R_{sm}(\theta),\, \sigma_{sm}^2 + f_{sm}^2\, \tau (1/T_s + 1/T_R)\big)

with :math:`\sigma` the recorded neurons' error (:mod:`neuroinf.fits.state_rates`), R the rates of the finite network, one
simulation pushed into both states for a time :math:`T_R` (:mod:`neuroinf.fits.finite_states`), and f the fluctuations of means
over :math:`\tau` within a state, which R and the recorded time :math:`T_s` both have.

1. Chains with the rates of infinite populations in the place of R, begun at a trained network's draws, which have no part in the
   target.
2. Their ends are simulated. This gives f, and how far R is from the rates of infinite populations: a bias and its spread.
3. In each of several rounds, chains with those rates so corrected propose, a simulation decides, and the proposal is taken with
   the ratio of both likelihoods (delayed acceptance).
4. What is left is simulated without pushes, for as long as the recording was; circuits in which not both populations lead, or
   the leader changes far more or less often than the recorded number :math:`C_r`, are dropped.

Recordings without external input only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.fits.difference_chains import moved, taken
from neuroinf.fits.finite_states import BLOCK, HELD, LEAD, SETTLING, FiniteStates, finite_states
from neuroinf.fits.state_rates import SHORTEST, StateRates
from neuroinf.priors import Prior
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.circuit_states import competing_states
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]

DT = 4.0  # ms, of the simulations
# ms, before the last simulation: what leaves the state that it happened to begin in does not take turns
SETTLED = 15_000.0
# error of infinite populations' rates: before simulations, part of the rate; at least after them, Hz
ROUGH, LEAST_ROUGH = 0.05, 0.3
CHAINS, FIRST_STEPS, STEPS = 120, 600, 60  # chains; their steps before the first simulation, and before each other
ARCHIVED, ARCHIVE = 10, 2400  # steps between states that are kept, and how many are
# nats of the first simulations that count as one, so that more than one of them is begun from
SOFTENED = 8.0
NONE = "none of the circuits that were found has two states like the recording's: take the amortized posterior"


@dataclass(frozen=True)
class CompetingPosterior:
    """Circuits that agree with a recording.

    Attributes:
        samples: Parameters :math:`(S, P)`, equally likely.
        accepted: Part of the proposals that simulations accepted in the later half of the rounds.
        switching: Part of the circuits that took turns like the recorded ones when simulated for as long.
        seconds: Processor time.
    """

    samples: FloatArray
    accepted: float
    switching: float
    seconds: float


def competing_posterior(
    circuit: Circuit,
    prior: Prior,
    observed: StateRates,
    start: FloatArray,
    duration: float,
    seed: int,
    rounds: int = 10,
    samples: int = 200,
    progress: bool = False,
) -> CompetingPosterior:
    """Draw circuits that agree with a recording; about a minute of a processor.

    Args:
        circuit: Populations and wiring; the first two compete.
        prior: Over its free parameters, in their order; constant where it is not 0.
        observed: From :func:`neuroinf.fits.state_rates.state_rates`.
        start: Draws of an approximate posterior :math:`(n, P)`, in which the chains begin.
        duration: Of the recording, ms.
        seed: Of chains and simulations.
        rounds: Of proposals that are simulated, two at least.
        samples: Number of draws.
        progress: Whether to show a bar.

    Raises:
        InputError: if no circuit is found that has two states, or none of the found ones takes turns.
    """
    if rounds < 2:
        raise InputError(f"rounds: expected 2 or more, found {rounds}")
    begin, rng = time.process_time(), np.random.default_rng(seed)
    width = prior.high - prior.low
    with tqdm(total=rounds + 2, disable=not progress, desc="circuits") as bar:
        surrogate = _Surrogate(circuit, prior, observed)
        found = _first_chains(surrogate, start, rng)
        if not np.isfinite(surrogate(found)).any():
            raise InputError(NONE)
        states = finite_states(circuit, found, int(rng.integers(2**62)))
        if not states.held.any():
            raise InputError(NONE)
        own = _own_error(states, observed.times)
        surrogate.correct(found, states)
        value = _simulated(observed, states, own)
        weight = np.exp((value - value.max()) / SOFTENED)
        chosen = rng.choice(len(found), CHAINS, p=weight / weight.sum())
        x, value, archive, kept, accepted = found[chosen], value[chosen], found, [], []
        bar.update()
        for k in range(rounds):
            before = surrogate(x)
            proposed, after = moved(surrogate, x, before, archive, width, STEPS, rng)
            states = finite_states(circuit, proposed, int(rng.integers(2**62)))
            new = _simulated(observed, states, own)
            good = taken(value, new, before, after, rng)
            x[good], value[good] = proposed[good], new[good]
            archive = np.concatenate([archive, x])[-ARCHIVE:]
            if k < rounds // 2:
                surrogate.correct(proposed, states)
            else:
                accepted.append(good.mean())
            if k in (rounds - 1, rounds - 1 - rounds // 3):
                kept.append(x.copy())
            bar.update()
        last = np.concatenate(kept)
        turns = _takes_turns(circuit, last, observed.changes, duration, int(rng.integers(2**62)))
        bar.update()
    if not turns.any():
        raise InputError(
            f"none of {len(last)} circuits takes turns as often in {duration:g} ms: take the amortized posterior"
        )
    drawn = np.resize(rng.permutation(np.flatnonzero(turns)), samples)
    spent = time.process_time() - begin
    return CompetingPosterior(last[drawn], float(np.mean(accepted)), float(turns.mean()), spent)


class _Surrogate:
    """Log density with the rates of infinite populations, corrected by a bias that has a spread; up to a constant."""

    def __init__(self, circuit: Circuit, prior: Prior, observed: StateRates) -> None:
        self.circuit, self.prior, self.observed = circuit, prior, observed
        self.bias, self.spread = np.zeros_like(observed.rates), ROUGH * observed.rates

    def rates(self, theta: FloatArray) -> FloatArray:
        """Of circuits (n, P) in both states (n, 2, M)."""
        return np.stack(competing_states(self.circuit, theta), 1)

    def correct(self, theta: FloatArray, states: FiniteStates) -> None:
        """Learn bias and spread from simulations; medians, because some circuits oscillate."""
        held = states.held
        if np.count_nonzero(held) >= 20:
            error = (states.rates - self.rates(theta))[held]
            self.bias = np.median(error, 0)
            self.spread = np.maximum(1.48 * np.median(np.abs(error - self.bias), 0), LEAST_ROUGH)

    def __call__(self, theta: FloatArray) -> FloatArray:
        """Of circuits (n, P): (n,), -inf where there are no two states."""
        value = np.full(len(theta), -np.inf)
        inside = np.flatnonzero(self.prior.inside(torch.from_numpy(theta)).numpy())
        if len(inside):
            rates = self.rates(theta[inside])
            both = (rates[:, 0, 0] - rates[:, 0, 1] > LEAD) & (rates[:, 1, 1] - rates[:, 1, 0] > LEAD)
            value[inside] = np.where(both, self.observed.log_likelihood(rates + self.bias, self.spread), -np.inf)
        return value


def _first_chains(target: _Surrogate, start: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Where chains from the best of `start` are after three quarters of the steps, and after all (2 CHAINS, P)."""
    value = target(start)
    best = np.argsort(-value)[:CHAINS]
    x, value, archive, found = start[best], value[best], start[best], []
    width = target.prior.high - target.prior.low
    for done in range(ARCHIVED, FIRST_STEPS + 1, ARCHIVED):
        x, value = moved(target, x, value, archive, width, ARCHIVED, rng)
        archive = np.concatenate([archive, x])[-ARCHIVE:]
        if 4 * done in (3 * FIRST_STEPS, 4 * FIRST_STEPS):
            found.append(x)
    return np.concatenate(found)


def _own_error(states: FiniteStates, times: FloatArray) -> FloatArray:
    """Error (2, M), Hz, of the simulated rates and of the populations' own in the recorded time, by their fluctuations."""
    known = np.isfinite(states.fluctuation).all((1, 2))
    typical = np.median(states.fluctuation[known if known.any() else states.held], 0)
    return np.nan_to_num(typical) * np.sqrt(BLOCK / times + BLOCK / (HELD - SETTLING))[:, None]


def _simulated(observed: StateRates, states: FiniteStates, own: FloatArray) -> FloatArray:
    """Log likelihood (n,), -inf where a state is not held."""
    return np.where(states.held, observed.log_likelihood(np.nan_to_num(states.rates), own), -np.inf)


def _takes_turns(circuit: Circuit, theta: FloatArray, changes: int, duration: float, seed: int) -> NDArray[np.bool_]:
    """Whether both populations lead for long enough, in about as many turns, in a simulation without pushes (n,)."""
    silence = np.zeros((1, len(circuit.names), round(duration / DT)))
    network = MicroscopicNetwork(circuit, recorded=1, burn_in=SETTLED)
    states = np.array([dominance(rates, DT) for rates in network.simulate(theta, silence, DT, seed)["latent/rates"]])
    both = np.minimum(states.sum(1), (1 - states).sum(1)) * DT >= SHORTEST
    off = np.abs(np.count_nonzero(np.diff(states, axis=1), axis=1) - changes)
    return both & (off <= max(1.0, np.sqrt(changes)))

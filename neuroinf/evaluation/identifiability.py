"""Which parameters can be known at all? Those that move the response, and then only as far as the posterior says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.metrics import SIGNIFICANCE, information_p, nrmse
from neuroinf.identification import TRADE_OFF, UNIDENTIFIED, correlation, sd_over_prior
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import Simulator

FloatArray = NDArray[np.float64]
_AT_ONCE = 200  # neurons whose samples are moved to the unconstrained space together


@dataclass(frozen=True)
class Effect:
    """Whether one parameter alone, all else equal, ever changes the response.

    Args:
        parameter: Its name.
        changed: Number of neurons (or groups of simulations) whose response it changed.
        compared: Number of them looked at; 0 if the data hold no two simulations that differ in this parameter alone.
        evidence: How it was found out, in words.
    """

    parameter: str
    changed: int
    compared: int
    evidence: str

    @property
    def moves_response(self) -> bool | None:
        """False: the parameter has no effect, no method can find it. None: not known."""
        return None if self.compared == 0 else self.changed > 0


def posterior_over_prior_sd(samples: FloatArray, prior: Prior) -> FloatArray:
    r"""Root-mean-square posterior standard deviation over the prior's, per parameter, on the prior's own scale.

    .. math:: \rho_p = \sqrt{\tfrac{1}{n} \sum_i \operatorname{var}_s u_{isp}} \Big/ \operatorname{sd} u_p

    1: the data say nothing. For an honest posterior :math:`1 - \rho^2` is the R2 that its mean should reach.

    Args:
        samples: Posterior samples (n, S, P), natural units; rows with a nan are left out.
        prior: Their prior.

    Returns:
        (P,); nan without rows.
    """
    known = np.isfinite(samples).all(axis=(1, 2))
    if not known.any():
        return np.full(samples.shape[2], math.nan)
    variance = prior.to_unit(samples[known]).var(axis=1, ddof=1).mean(axis=0)
    return np.sqrt(variance) / prior.unit_moments[1]


def effects_by_simulation(
    simulator: Simulator,
    prior: Prior,
    theta: FloatArray,
    stimulus: NDArray[np.floating[Any]],
    dt: float,
    rng: np.random.Generator,
    values: int = 8,
) -> list[Effect]:
    """Move each parameter over its prior, all others, the stimulus and the seed fixed: does the response ever change?

    "Change" is any difference in any bit of any channel or spike time, so that only a parameter without any effect at
    all is called ineffective; how well an effective one can be known is the posterior's matter.

    Args:
        simulator: Simulator of the prior's parameters.
        prior: Prior, from which each parameter's other values are drawn.
        theta: Parameters (n, P) of the neurons to begin from, say 32 of the test rows.
        stimulus: Their waveforms (n or 1, K, T), in the simulator's unit.
        dt: Step, ms.
        rng: Source of the draws.
        values: Number of other values that each parameter takes in each neuron.

    Returns:
        One effect for each parameter, in the prior's order.
    """
    n = len(theta)
    seeds = rng.integers(2**31, size=n).tolist()
    reference = _fingerprints(simulator.simulate(theta, stimulus, dt, seeds), n)
    effects = []
    for column, name in enumerate(prior.names):
        changed = np.zeros(n, dtype=bool)
        for _ in range(values):
            other = theta.copy()
            other[:, column] = prior.sample(n, rng)[:, column]
            moved = _fingerprints(simulator.simulate(other, stimulus, dt, seeds), n)
            changed |= [a != b for a, b in zip(reference, moved, strict=True)]
        evidence = f"each of {n} neurons simulated with {values} other values of it, all else equal"
        effects.append(Effect(name, int(changed.sum()), n, evidence))
    return effects


def effects_in_data(
    theta: FloatArray, responses: Mapping[str, Any], names: Sequence[str], stimulus_index: NDArray[np.integer[Any]]
) -> list[Effect]:
    """Do simulations that differ in one parameter alone differ in their response? For grids and frozen stimuli.

    Args:
        theta: Parameters (n, P).
        responses: The rows' responses, as a simulator gives them: channels (n, T), spikes as n arrays.
        names: Names of the P parameters.
        stimulus_index: Which waveform each row received (n,).

    Returns:
        One effect for each parameter; its `compared` counts the groups of simulations that are equal in all else.
    """
    prints = np.unique(np.array([p.hex() for p in _fingerprints(responses, len(theta))]), return_inverse=True)[1]
    effects = []
    for column, name in enumerate(names):
        others = np.column_stack([np.delete(theta, column, axis=1), stimulus_index])
        group = np.unique(others, axis=0, return_inverse=True)[1].reshape(-1)
        # two rows of one group are worth comparing only if this parameter differs between them
        several = _distinct(group, theta[:, column]) > 1
        changed = several & (_distinct(group, prints) > 1)
        evidence = "simulations in the data set that differ in it alone"
        effects.append(Effect(name, int(changed.sum()), int(several.sum()), evidence))
    return effects


def combine_effects(*found: Sequence[Effect]) -> dict[str, Effect]:
    """For each parameter the first of several lists that knows about it; one that knows nothing if none does."""
    combined: dict[str, Effect] = {}
    for effects in found:
        for effect in effects:
            known = combined.get(effect.parameter)
            if known is None or known.moves_response is None:
                combined[effect.parameter] = effect
    return combined


def identifiability(
    truth: FloatArray,
    estimates: Sequence[Estimates],
    prior: Prior,
    effects: Mapping[str, Effect],
    rng: np.random.Generator,
) -> dict[str, dict[str, Any]]:
    """The entry "identifiability" of metrics.json: what is known about each parameter's being knowable.

    Args:
        truth: True parameters (n, P).
        estimates: Every method's answers; the first that has samples gives `posterior_over_prior_sd`.
        prior: The prior.
        effects: From :func:`effects_by_simulation` or :func:`effects_in_data`; may be empty.
        rng: Source of the permutations.

    Returns:
        For each parameter: `posterior_over_prior_sd`; `moves_response` and its `evidence`; `response_changed`, the
        fraction of neurons whose response it changed; `information_p`, by method, the p-value of knowing nothing of
        it; `recovered_by`, the methods that know something and have a smaller error than the prior's mean;
        `unidentified`, the fraction of neurons whose own posterior is as wide as the prior (see `identification`);
        `correlation` and `trades_off`, by other parameter: the median over neurons of their posterior correlation, and the
        fraction of neurons in which it is so strong that to know one would more than halve the other's sd.
    """
    sampled = next((e.samples for e in estimates if e.samples is not None), None)
    nothing = np.full(len(prior.names), math.nan)
    ratio = nothing if sampled is None else posterior_over_prior_sd(sampled, prior)
    known = None if sampled is None else sampled[np.isfinite(sampled).all(axis=(1, 2))]
    pairs = {} if known is None or not len(known) else _single_neurons(known, prior)
    p = {e.method: information_p(truth, e.mean, prior, rng) for e in estimates if e.method != "prior_mean"}
    better = {
        e.method: np.less(nrmse(truth, e.mean, prior), _floor_on_same_rows(truth, e.mean, prior)).tolist()
        for e in estimates
    }
    entries: dict[str, dict[str, Any]] = {}
    for j, name in enumerate(prior.names):
        effect = effects.get(name)
        entries[name] = {
            "posterior_over_prior_sd": float(ratio[j]),
            "moves_response": effect.moves_response if effect else None,
            "response_changed": effect.changed / effect.compared if effect and effect.compared else None,
            "evidence": effect.evidence if effect and effect.compared else None,
            "information_p": {method: float(value[j]) for method, value in p.items()},
            "recovered_by": [m for m, value in p.items() if value[j] < SIGNIFICANCE and better[m][j]],
            **pairs.get(name, {"unidentified": None, "correlation": None, "trades_off": None}),
        }
    return entries


def _single_neurons(samples: FloatArray, prior: Prior) -> dict[str, dict[str, Any]]:
    """For each parameter what neurons' own posteriors (n, S, P) say: `unidentified`, `correlation`, `trades_off`."""
    unidentified = (sd_over_prior(samples, prior) > UNIDENTIFIED).mean(axis=0)
    r = np.concatenate([correlation(part, prior) for part in np.array_split(samples, -(-len(samples) // _AT_ONCE))])
    # without any spread there is no correlation, and nothing trades off
    middle, strong = np.median(np.nan_to_num(r), axis=0), (np.abs(r) > TRADE_OFF).mean(axis=0)
    entries = {}
    for j, name in enumerate(prior.names):
        others = [(k, other) for k, other in enumerate(prior.names) if k != j]
        entries[name] = {
            "unidentified": float(unidentified[j]),
            "correlation": {other: float(middle[j, k]) for k, other in others},
            "trades_off": {other: float(strong[j, k]) for k, other in others},
        }
    return entries


def _floor_on_same_rows(truth: FloatArray, estimate: FloatArray, prior: Prior) -> FloatArray:
    """nrmse (P,) of the prior's mean over the rows that a method answered."""
    mean = np.broadcast_to(prior.from_unit(prior.unit_moments[0]), truth.shape)
    known = np.isfinite(estimate).all(axis=1, keepdims=True)
    return nrmse(truth, np.where(known, mean, math.nan), prior)


def _distinct(group: NDArray[np.integer[Any]], values: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Number of different values in each group."""
    pairs = np.unique(np.column_stack([group, np.unique(values, return_inverse=True)[1].reshape(-1)]), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(group.max()) + 1)


def _fingerprints(response: Mapping[str, Any], n: int) -> list[bytes]:
    """A digest of each row's whole response: equal if and only if all channels and spike times are, nan included."""
    digests = [hashlib.blake2b(digest_size=16) for _ in range(n)]
    for channel in sorted(response):
        for digest, row in zip(digests, response[channel], strict=True):
            # + 0.0: minus zero is no other response than zero
            content = np.ascontiguousarray(row) + 0.0
            content[np.isnan(content)] = math.nan  # one nan, whatever its sign and payload
            digest.update(f"{channel}:{content.shape}".encode() + content.tobytes())
    return [digest.digest() for digest in digests]

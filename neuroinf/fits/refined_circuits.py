"""One recording's posterior, refined by simulation: circuits whose populations take turns as the recorded ones do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from neuroinf.doubts import doubts
from neuroinf.errors import InputError
from neuroinf.estimator import Estimator
from neuroinf.fits.competing_posterior import CompetingPosterior, competing_posterior
from neuroinf.fits.state_rates import state_rates
from neuroinf.population_inference import ActivityEstimate, infer_population
from neuroinf.posterior import Posterior
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]
DRAWS = 4000  # of the network's posterior, among which the chains find where to begin
FEW = 20  # circuits that differ
NARROW = 1e-3


@dataclass(frozen=True)
class RefinedCircuits(Posterior):
    """Draws of circuits that agree with the recording, each equally likely.

    Args:
        found: The draws, and how they were found.
    """

    found: CompetingPosterior = field(kw_only=True)

    @cached_property
    def distribution(self) -> Distribution:
        """Over the prior's unconstrained space: the draws, each as a normal far narrower than they lie apart."""
        z = self.prior.to_unconstrained(torch.from_numpy(self.found.samples))
        return MixtureSameFamily(Categorical(logits=torch.zeros(self._number)), Independent(Normal(z, NARROW), 1))

    @property
    def _number(self) -> int:
        return len(self.found.samples)

    @cached_property
    def pooled(self) -> None:
        """None: the recording was compared as one piece."""
        return None

    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """n of the draws (n, P), none of them more than once more often than another; the same for the same seed."""
        order = np.random.default_rng(seed).permutation(self._number)
        return self.found.samples[np.resize(order, n)]

    def log_prob(self, theta: ArrayLike) -> FloatArray:
        """Not to be had of draws.

        Raises:
            InputError: always.
        """
        raise InputError("circuits found by simulation have no density: take their samples, or the network's posterior")


def refined_circuits(
    estimator: Estimator,
    recording: NetworkRecording,
    answer: tuple[Posterior, ActivityEstimate] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> RefinedCircuits:
    """The network's posterior of one recording, replaced by that of :func:`neuroinf.fits.competing_posterior.competing_posterior`.

    Args:
        estimator: The opened checkpoint, of microscopic networks whose first two populations compete.
        recording: In which either of them leads for a while, without external input.
        answer: The network's, see :func:`neuroinf.population_inference.infer_population`; by default it is asked.
        seed: Of chains and simulations.
        progress: Whether to show a bar; it takes about a minute.

    Returns:
        With the network's warnings about the recording in its `warnings`.

    Raises:
        InputError: if the recording or the checkpoint is none of those, or no circuit is found.
    """
    simulator = getattr(estimator.simulation, "simulator", None)
    if not isinstance(simulator, MicroscopicNetwork) or len(simulator.circuit.names) < 2:
        raise InputError(
            f"{estimator.path}: expected a network trained on microscopic networks of two populations or more, found "
            f"{type(simulator).__name__}: do not refine"
        )
    start, activity = infer_population(estimator, recording) if answer is None else answer
    observed = state_rates(recording, activity.mean, activity.dt)
    found = competing_posterior(
        simulator.circuit, start.prior, observed, start.sample(DRAWS), recording.duration, seed, progress=progress
    )
    # what the network's own posterior has against itself does not hold for this one
    before = doubts(start)
    warnings = [warning for warning in start.warnings if warning not in before]
    distinct = len(np.unique(found.samples, axis=0))
    if distinct < FEW:
        warnings.append(f"{distinct} different circuits were found: the intervals are rough; try another seed")
    refined = RefinedCircuits(
        start.prior,
        start.density,
        start.features,
        warnings,
        novelty=start.novelty,
        simulation=start.simulation,
        found=found,
    )
    warnings.extend(doubts(refined))
    return refined

"""What a per-neuron fit is given, and what it and a refinement give back: the same for every model family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation

FloatArray = NDArray[np.float64]
Observations = NDArray[np.floating[Any]]
SpikeTrains = Sequence[FloatArray | None]


@dataclass(frozen=True)
class Evidence:
    """What is known of n neurons.

    Args:
        x: What the network sees (n, C, T), nan where not observed.
        observation: Which rows of x are what, and their step.
        spikes: Exact spike times, ms, which the network's channel encodes; None where they are not observed.
        hidden: Activity (n, T) or (n, K, T) of inputs that are hidden from the network: only for a fit whose name says that it
            is given them. None if there are none.
        stimulus: The same inputs (n, K, T) as the network sees, at the simulation's step and without its noise: what a
            response to them is computed from. None where they are not observed, or partly hidden.
        sweeps: So many consecutive rows of all of these are sweeps of one neuron; n counts rows.
    """

    x: Observations
    observation: Observation
    spikes: SpikeTrains
    hidden: FloatArray | None = None
    stimulus: Observations | None = None
    sweeps: int = 1

    def first(self, n: int) -> Evidence:
        """That of the first n neurons."""
        rows = n * self.sweeps
        hidden = None if self.hidden is None else self.hidden[:rows]
        stimulus = None if self.stimulus is None else self.stimulus[:rows]
        return replace(self, x=self.x[:rows], spikes=self.spikes[:rows], hidden=hidden, stimulus=stimulus)

    def channel(self, name: str) -> Observations | None:
        """The rows (n, k, T) of a channel; None if the network has no such channel, or it is not observed at all."""
        if name not in self.observation.channels:
            return None
        rows = self.x[:, self.observation.rows(name)]
        return rows if np.isfinite(rows).any() else None


@dataclass(frozen=True)
class PerNeuronFit:
    """A fit made for one neuron at a time.

    Args:
        run: Evidence of n neurons to their parameters (n, P), natural units, nan where it cannot, and seconds per neuron.
        most: It takes at most so many neurons; None: as many as one likes.
        everywhere: Whether it is run under every condition, or being slow only under the first.
        compiled: Whether its first call compiles code, which belongs to no neuron.
    """

    run: Callable[[Evidence], tuple[FloatArray, float]]
    most: int | None = None
    everywhere: bool = True
    compiled: bool = False


@dataclass(frozen=True)
class Answer:
    """What a refinement says about n neurons, natural units; nan where it cannot.

    Args:
        mean: (n, P).
        samples: (n, S, P).
        doubtful: Fraction of the answered neurons whose weighted samples were too few, and are those of the Laplace
            approximation.
        seconds: For one neuron, samples not included unless they take more than drawing.
    """

    mean: FloatArray
    samples: FloatArray
    doubtful: float
    seconds: float


@dataclass(frozen=True)
class Start:
    """What a refinement of n neurons begins from: the network's answer.

    Args:
        theta: D points of each neuron (n, D, P), natural units.
        log_density: The network's log-density (n, D) there, natural units; None where the points are no draws of it.
    """

    theta: FloatArray
    log_density: FloatArray | None = None


@dataclass(frozen=True)
class Refinement:
    """How the network's answer is made exact, neuron by neuron.

    Args:
        run: Evidence of n neurons, a start, a number of samples S and a generator to an answer; None if it cannot with
            what is observed.
        draws: Number D of posterior samples that it starts from; 0: from the posterior's centre alone, D = 1.
        samples: Number S that it gives.
        answers: The neurons that it has an answer for, in words; empty: any.
    """

    run: Callable[[Evidence, Start, int, np.random.Generator], Answer | None]
    draws: int = 0
    samples: int = 1000
    answers: str = ""

"""The law of a GLM neuron's hidden input, as far as a simulation and the neuron's observed inputs say it."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.simulation import Simulation
from neuroinf.fits.evidence import FloatArray, Observations
from neuroinf.fits.glm_likelihood import HiddenLaw
from neuroinf.simulators import GLM
from neuroinf.stimuli import GaussianInputs, Stack

# values of a hidden input from which its law is read
VALUES = 4096
SEED = 20_260_103
# standard errors that skewness, kurtosis or a correlation of as many values may be off before it counts as not being 0
ERRORS = 5.0


def hidden_laws(simulation: Simulation, x: Observations) -> list[HiddenLaw]:
    """The law of each neuron's hidden input in a bin, as far as its observed inputs and the simulation's stimulus say it.

    Where all inputs come from one stimulus, a hidden one is like the observed ones of its neuron; where they are a stack,
    the last component's. Of several hidden inputs summed into one (`GLM.summed`), it is that of the sum.

    Args:
        simulation: Its stimulus says which inputs go together.
        x: Observed inputs (n, I, T).
    """
    stimulus = simulation.stimulus
    while isinstance(stimulus, Stack):
        stimulus = stimulus.components[-1]
    if isinstance(stimulus, GaussianInputs) and stimulus.sd[0] == stimulus.sd[1] and stimulus.correlation == 0:
        return [HiddenLaw.gaussian(0.0, stimulus.sd[0])] * len(x)  # of a sum as well: its shares are on the unit sphere
    rng = np.random.default_rng(SEED)
    if isinstance(simulation.stimulus, Stack):
        x = np.stack([stimulus.sample(rng) for _ in x])
    return [_law(simulation, row, rng) for row in x]


def independent(x: Observations) -> NDArray[np.bool_]:
    """Whether each neuron's observed inputs (n, I, T) are uncorrelated, as then a hidden one of their kind is with them."""
    found = np.ones(len(x), bool)
    inputs, steps = x.shape[1:]
    pairs = np.triu_indices(inputs, 1)
    for i, row in enumerate(x):
        seen = row[:, np.isfinite(row).all(axis=0)]
        if inputs > 1 and seen.shape[1] > 2:
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = float(np.nanmean(np.corrcoef(seen)[pairs]))
            found[i] = abs(mean) < ERRORS / np.sqrt(len(pairs[0]) * steps)
    return found


def _law(simulation: Simulation, like: Observations, rng: np.random.Generator) -> HiddenLaw:
    """Of a hidden input that is one of the rows (I, T), or a sum of some: normal if nothing speaks against it."""
    values = like[np.isfinite(like)].astype(np.float64)
    n, mean, sd = values.size, float(values.mean()), float(values.std())
    if sd > 0 and len(np.unique(values)) > n // 2:
        z = (values - mean) / sd
        if abs(np.mean(z**3)) < ERRORS * np.sqrt(6 / n) and abs(np.mean(z**4) - 3) < ERRORS * np.sqrt(24 / n):
            # a sum's shares are on the unit sphere; where the mean is 0 the law has to be even
            return HiddenLaw.gaussian(0.0 if abs(mean) < ERRORS * sd / np.sqrt(n) else mean, sd)
    return HiddenLaw.sample(_values(simulation, like, rng))


def _values(simulation: Simulation, like: Observations, rng: np.random.Generator) -> FloatArray:
    """Values (J,) of such an input."""
    simulator = cast(GLM, simulation.simulator)
    like = like[:, np.isfinite(like).all(axis=0)]
    if not simulator.summed:
        every = like.ravel().astype(np.float64)
        return every if every.size <= VALUES else rng.choice(every, VALUES, replace=False)
    times = rng.integers(like.shape[1], size=VALUES)
    # each value has its own number of inputs and shares of them, as each simulated neuron has
    most = min(simulator.hidden, len(like))
    shares = rng.standard_normal((VALUES, most))
    shares[np.arange(most) >= rng.integers(1, most + 1, VALUES)[:, None]] = 0.0
    shares *= (np.where(shares.sum(axis=1) > 0, 1.0, -1.0) / np.linalg.norm(shares, axis=1))[:, None]
    rows = np.argsort(rng.random((VALUES, len(like))), axis=1)[:, :most]
    return (shares * like[rows, times[:, None]]).sum(axis=1)


def moments(law: HiddenLaw) -> tuple[float, float]:
    """Mean and sd of a law."""
    mean = float((law.atoms * law.weights).sum())
    return mean, float(((law.atoms - mean).square() * law.weights).sum().sqrt())

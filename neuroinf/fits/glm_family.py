"""GLM neurons: their closed form and maximum-likelihood fits, one neuron at a time, and what makes an answer exact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuroinf.datasets.simulation import Simulation
from neuroinf.fits.evidence import Answer, Evidence, FloatArray, Observations, PerNeuronFit, Refinement, Start
from neuroinf.fits.glm_design import design
from neuroinf.fits.glm_likelihood import GLMLikelihood, HiddenLaw
from neuroinf.fits.glm_refinement import Posterior, refine
from neuroinf.fits.glm_sampling import ROUNDS, Resampled, resample, reweigh
from neuroinf.fits.hidden_law import hidden_laws, independent, moments
from neuroinf.fits.logit_regression import regress, regress_counts
from neuroinf.priors import Prior
from neuroinf.simulators import GLM

# draws that are weighed, of the network and about the modes: of counts each takes a pass over all bins and atoms
DRAWS = 800
SAMPLES = 1000
STARTS = 2
# neurons that are fitted by gradient descent of their free hidden activity: one takes as long as thousands of the others
DESCENTS = 6


def fits(simulation: Simulation, simulator: GLM, prior: Prior, rng: np.random.Generator) -> dict[str, PerNeuronFit]:
    """The closed form and direct gradient descent for rates; maximum likelihood and least squares for counts.

    Fits of counts have no hidden input, but for `maximum_likelihood_with_hidden`, an oracle that is given it.

    Args:
        simulation: Says of which law the hidden inputs are.
        simulator: What the neurons are models of.
        prior: Over its parameters, in any order.
        rng: For starts.
    """
    family = _Fits(simulation, simulator, [simulator.parameters.index(name) for name in prior.names], rng)
    if simulator.output == "rate":
        descent = PerNeuronFit(family.gradient_descent, DESCENTS, everywhere=False)
        return {"per_neuron_fit": PerNeuronFit(family.regression)} | (
            {"gradient_descent": descent} if simulator.hidden else {}
        )
    told = (
        {"maximum_likelihood_with_hidden": PerNeuronFit(family.maximum_likelihood_with_hidden)}
        if simulator.hidden
        else {}
    )
    return {
        "per_neuron_fit": PerNeuronFit(family.maximum_likelihood),
        **told,
        "least_squares_on_counts": PerNeuronFit(family.regression_on_counts),
    }


def refinements(simulation: Simulation, simulator: GLM, prior: Prior) -> dict[str, Refinement]:
    """Samples of the exact posterior by the likelihood with the hidden inputs integrated out; see `glm_refinement`.

    It has an answer where that likelihood is known: for inputs that are not correlated with one another, and if a rate is
    observed for a normal hidden input, without which it has no density.

    Args:
        simulation: Says of which law the hidden inputs are.
        simulator: What the neurons are models of.
        prior: Over its parameters, in any order.
    """

    def run(evidence: Evidence, start: Start, samples: int, rng: np.random.Generator) -> Answer | None:
        seen = observed(evidence, simulator, simulation.dt)
        groups = [] if seen is None else _of_one_law(simulation, seen, simulator.output == "rate")
        if seen is None or not groups:
            return None
        begin = time.perf_counter()
        n, _, p = start.theta.shape
        mean, drawn, doubtful = np.full((n, p), np.nan), np.full((n, samples, p), np.nan), 0
        for law, rows in groups:
            likelihood = GLMLikelihood(simulator.output, simulator.nonlinearity, law)
            hidden = len(simulator.sign_symmetric)
            posterior = Posterior(likelihood, prior, simulator.parameters, hidden, seen.design[rows], seen.y[rows])
            own = None if start.log_density is None else start.log_density[rows]
            found, laplace = _sampled(posterior, start.theta[rows], own, samples, rng)
            poor = found.doubtful
            drawn[rows] = np.where(poor[:, None, None], laplace, found.theta)
            mean[rows] = np.where(poor[:, None], laplace.mean(axis=1), found.mean)
            doubtful += int(poor.sum())
        answered = sum(len(rows) for _, rows in groups)
        return Answer(mean, drawn, doubtful / answered, (time.perf_counter() - begin) / answered)

    normal = "normal and " if simulator.output == "rate" else ""
    return {"amortized_refined": Refinement(run, DRAWS, SAMPLES, f"inputs that are {normal}not correlated")}


def _sampled(
    posterior: Posterior, theta: FloatArray, log_density: FloatArray | None, samples: int, rng: np.random.Generator
) -> tuple[Resampled, FloatArray]:
    """Samples from whichever says more: the network's draws weighed, or draws about the modes; and Laplace's (n, S, P).

    About the modes of spike counts' likelihood the posterior is bent: a larger hidden weight goes with larger weights.
    """
    modes = refine(posterior, theta[:, :STARTS])
    laplace = posterior.prior.from_unconstrained(torch.from_numpy(modes.sample(samples, rng))).numpy()
    found = resample(posterior, modes, samples, rng, DRAWS // ROUNDS)
    if log_density is None:
        return found, laplace
    other = reweigh(posterior, theta, log_density, samples, rng)
    better = other.effective > found.effective
    return (
        Resampled(
            np.where(better[:, None, None], other.theta, found.theta),
            np.where(better[:, None], other.mean, found.mean),
            np.maximum(other.effective, found.effective),
        ),
        laplace,
    )


@dataclass(frozen=True)
class Observed:
    """Responses y (n, T), design matrices (n, D, T) and observed inputs x (n, I, T) of n neurons."""

    y: FloatArray
    design: FloatArray
    x: Observations


def observed(evidence: Evidence, simulator: GLM, dt: float) -> Observed | None:
    """What of the evidence a GLM is fitted to; None if response or inputs are not observed."""
    y, x = (evidence.channel(name) for name in (next(iter(simulator.channels)), "stimulus"))
    if x is None or y is None:
        return None
    y = np.asarray(y[:, 0], np.float64)
    return Observed(y, design(simulator, x, y, dt), x)


def _of_one_law(simulation: Simulation, seen: Observed, normal: bool) -> list[tuple[HiddenLaw, list[int]]]:
    """Neurons whose likelihood is known, those with the same law of the hidden input together."""
    groups: dict[object, tuple[HiddenLaw, list[int]]] = {}
    for row, (law, apart) in enumerate(zip(hidden_laws(simulation, seen.x), independent(seen.x), strict=True)):
        if apart and (law.moments is not None or not normal):
            groups.setdefault(law.moments or row, (law, []))[1].append(row)
    return list(groups.values())


class _Fits:
    """The fits of one simulator, each for evidence of n neurons.

    Args:
        simulation: Says of which law the hidden inputs are.
        simulator: The model.
        columns: Of the simulator's parameters, in the order in which they are wanted.
        rng: For starts.
    """

    def __init__(
        self, simulation: Simulation, simulator: GLM, columns: Sequence[int], rng: np.random.Generator
    ) -> None:
        self.simulation, self.simulator, self.columns, self.rng = simulation, simulator, list(columns), rng
        self.dt = simulation.dt

    def regression(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """Least squares on the link of the rate."""
        begin = time.perf_counter()
        seen = observed(evidence, self.simulator, self.dt)
        if seen is None:
            return self._nothing(evidence), 0.0
        found = regress(seen.y, np.delete(seen.design, self._bias, axis=1), self.simulator.nonlinearity)
        seconds = (time.perf_counter() - begin) / len(seen.y)
        if not self.simulator.hidden:
            return self._theta(found.weights, found.bias), seconds
        mean, sd = np.array([moments(law) for law in hidden_laws(self.simulation, seen.x)]).T
        weight = found.sign * found.hidden_weight / sd
        return self._theta(found.weights, found.bias - weight * mean, weight), seconds

    def regression_on_counts(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """Least squares on binned counts, without a hidden input."""
        begin = time.perf_counter()
        seen = observed(evidence, self.simulator, self.dt)
        if seen is None or self.simulator.output == "rate":
            return self._nothing(evidence), 0.0
        inputs = np.delete(seen.design, self._bias, axis=1)
        found = regress_counts(seen.y, inputs, self.simulator.output, self.simulator.nonlinearity)
        return self._theta(found[:, :-1], found[:, -1]), (time.perf_counter() - begin) / len(seen.y)

    def gradient_descent(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """The published study's, with free hidden activity and as many epochs; its variance penalty knows that of the law."""
        from neuroinf.fits.hidden_descent import descend  # Lightning takes seconds to import

        seen = observed(evidence, self.simulator, self.dt)
        if seen is None:
            return self._nothing(evidence), 0.0
        variance = np.array([moments(law)[1] ** 2 for law in hidden_laws(self.simulation, seen.x)])
        inputs, seed = np.delete(seen.design, self._bias, axis=1), int(self.rng.integers(2**31))
        found = descend(
            seen.y, inputs, variance, seed, nonlinearity=self.simulator.nonlinearity, progress="gradient_descent"
        )
        return self._theta(found.weights, found.bias, found.hidden_weight), found.seconds / len(seen.y)

    def maximum_likelihood(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """A GLM without the hidden input."""
        return self._maximum_likelihood(evidence, None)

    def maximum_likelihood_with_hidden(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """A GLM that is given the hidden input."""
        if evidence.hidden is None:
            return self._nothing(evidence), 0.0
        return self._maximum_likelihood(evidence, evidence.hidden.reshape(len(evidence.x), -1, evidence.x.shape[-1]))

    def _maximum_likelihood(self, evidence: Evidence, hidden: FloatArray | None) -> tuple[FloatArray, float]:
        from neuroinf.fits.glm_regression import fit  # statsmodels takes a second to import

        seen = observed(evidence, self.simulator, self.dt)
        if seen is None or self.simulator.output == "rate":
            return self._nothing(evidence), 0.0
        found = fit(seen.y, seen.design, self.simulator.output, self.simulator.nonlinearity, hidden)
        theta = np.zeros((len(seen.y), len(self.simulator.parameters)))
        theta[:, : found.coefficients.shape[1]] = found.coefficients
        return theta[:, self.columns], found.seconds_per_neuron

    @property
    def _bias(self) -> int:
        return self.simulator.parameters.index("b")

    def _theta(self, weights: FloatArray, bias: FloatArray, hidden: FloatArray | None = None) -> FloatArray:
        """Parameters (n, P) in the order wanted; hidden weights that a fit does not have are 0.

        Of several hidden inputs only the drive's size is known: it is shared out evenly.
        """
        theta = np.zeros((len(bias), len(self.simulator.parameters)))
        known = np.insert(weights, self._bias, bias, axis=1)
        theta[:, : known.shape[1]] = known
        each = theta.shape[1] - known.shape[1]
        if hidden is not None and each:
            theta[:, known.shape[1] :] = hidden[:, None] / np.sqrt(each)
        return theta[:, self.columns]

    def _nothing(self, evidence: Evidence) -> FloatArray:
        return np.full((len(evidence.x), len(self.columns)), np.nan)

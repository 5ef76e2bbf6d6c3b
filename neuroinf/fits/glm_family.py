"""GLM neurons: their closed form and maximum-likelihood fits, one neuron at a time, and what makes an answer exact."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from neuroinf.datasets.simulation import Simulation
from neuroinf.fits.evidence import Evidence, FloatArray, PerNeuronFit
from neuroinf.fits.glm_design import design
from neuroinf.fits.glm_likelihood import HiddenLaw
from neuroinf.fits.logit_regression import regress, regress_counts
from neuroinf.priors import Prior
from neuroinf.simulators import GLM
from neuroinf.stimuli import GaussianInputs, Stack, Stimulus

# waveforms from which a law other than the normal is read
LAW_WAVEFORMS = 64
LAW_SEED = 20_260_103
# neurons that are fitted by gradient descent of their free hidden activity: one takes as long as thousands of the others
DESCENTS = 6


def hidden_law(simulation: Simulation) -> HiddenLaw:
    """The law of a hidden input in a bin, by the simulation's stimulus: normal, or a sample's.

    Of several hidden inputs summed into one (`GLM.summed`), it is the law of the normalised sum.
    """
    last = _last(simulation.stimulus)
    if isinstance(last, GaussianInputs):
        low, high = last.sd
        if low == high:
            return HiddenLaw.gaussian(0.0, low)
    simulator, rng = simulation.simulator, np.random.default_rng(LAW_SEED)
    assert isinstance(simulator, GLM)
    drawn = [simulation.stimulus.sample(rng)[simulation.observed_inputs :] for _ in range(LAW_WAVEFORMS)]
    if simulator.summed:
        theta = np.zeros((len(drawn), len(simulator.parameters)))
        seen = np.zeros((len(drawn), simulation.observed_inputs, drawn[0].shape[-1]))
        stimulus = np.concatenate([seen, np.stack(drawn)], axis=1)
        return HiddenLaw.sample(simulator.simulate(theta, stimulus, simulation.dt, LAW_SEED)["latent/hidden"])
    return HiddenLaw.sample(np.concatenate(drawn, axis=-1))


def _last(stimulus: Stimulus) -> Stimulus:
    return _last(stimulus.components[-1]) if isinstance(stimulus, Stack) else stimulus


def fits(simulation: Simulation, simulator: GLM, prior: Prior, rng: np.random.Generator) -> dict[str, PerNeuronFit]:
    """The closed form and direct gradient descent for rates; maximum likelihood and least squares for counts.

    `maximum_likelihood_with_hidden` is an oracle: it is given the hidden input.

    Args:
        simulation: Says of which law the hidden inputs are.
        simulator: What the neurons are models of.
        prior: Over its parameters, in any order.
        rng: For starts.
    """
    family = _Fits(simulation, simulator, [simulator.parameters.index(name) for name in prior.names], rng)
    if simulator.output == "rate":
        return {"per_neuron_fit": PerNeuronFit(family.regression)}
    return {"least_squares_on_counts": PerNeuronFit(family.regression_on_counts)}


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
        self.simulator, self.columns, self.rng = simulator, list(columns), rng
        self.dt = simulation.dt
        self.law = hidden_law(simulation) if simulator.hidden else HiddenLaw.gaussian()
        self.mean = float((self.law.atoms * self.law.weights).sum())
        self.sd = float(((self.law.atoms - self.mean).square() * self.law.weights).sum().sqrt())

    def regression(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """Least squares on the link of the rate."""
        begin = time.perf_counter()
        seen = self._seen(evidence)
        if seen is None:
            return self._nothing(evidence), 0.0
        y, matrix = seen
        found = regress(y, np.delete(matrix, self._bias, axis=1), self.simulator.nonlinearity, self.mean, self.sd)
        theta = self._theta(found.weights, found.bias, found.sign * found.hidden_weight)
        return theta, (time.perf_counter() - begin) / len(y)

    def regression_on_counts(self, evidence: Evidence) -> tuple[FloatArray, float]:
        """Least squares on binned counts, without a hidden input."""
        begin = time.perf_counter()
        seen = self._seen(evidence)
        if seen is None or self.simulator.output == "rate":
            return self._nothing(evidence), 0.0
        y, matrix = seen
        inputs = np.delete(matrix, self._bias, axis=1)
        found = regress_counts(y, inputs, self.simulator.output, self.simulator.nonlinearity)
        return self._theta(found[:, :-1], found[:, -1]), (time.perf_counter() - begin) / len(y)

    @property
    def _bias(self) -> int:
        return self.simulator.parameters.index("b")

    def _seen(self, evidence: Evidence) -> tuple[FloatArray, FloatArray] | None:
        """Responses (n, T) and design matrices (n, D, T); None if either cannot be had."""
        y, x = (evidence.channel(name) for name in (next(iter(self.simulator.channels)), "stimulus"))
        if x is None or y is None:
            return None
        y = np.asarray(y[:, 0], np.float64)
        return y, design(self.simulator, x, y, self.dt)

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

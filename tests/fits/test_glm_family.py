"""Fits of GLM neurons as evaluation calls them: parameters in the order asked for, what cannot be answered, exact samples."""

import math
from typing import Any

import numpy as np
import pytest

from neuroinf.datasets import Observation, Simulation
from neuroinf.evaluation.calibration import coverage, coverage_p
from neuroinf.fits import Evidence, Start, per_neuron_fits, refinements
from neuroinf.fits.hidden_law import hidden_laws, independent, moments
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM
from neuroinf.stimuli import BernoulliInputs, GaussianInputs, PoissonInputs, Stack, Stimulus

NAMES = ("w_1", "w_2", "w_3", "b", "w_hidden")


def prior(names: tuple[str, ...] = NAMES, size: float = 0.3) -> Prior:
    return Prior({name: Parameter("1", -size, size) for name in names})


def neurons(
    n: int, bins: int, stimulus: Stimulus | None = None, names: tuple[str, ...] = NAMES, **neuron: Any
) -> tuple[Simulation, Evidence, np.ndarray]:
    """A simulation, what is observed of n of its neurons, and their parameters in the order of `names`."""
    size = neuron.pop("size", 0.3)
    model = GLM(inputs=3, **neuron)
    stimulus = GaussianInputs(4, float(bins)) if stimulus is None else stimulus
    simulation = Simulation(model, prior(names, size), stimulus, n, 1.0, 1.0)
    rng = np.random.default_rng(0)
    theta = simulation.prior.sample(n, rng)
    waveforms = np.stack([stimulus.sample(rng) for _ in range(n)])
    columns = [names.index(name) for name in model.parameters]
    response = model.simulate(theta[:, columns], waveforms, 1.0, range(n))
    channel = next(iter(model.channels))
    x = np.concatenate([np.asarray(response[channel])[:, None], waveforms[:, :3]], axis=1)
    observation = Observation(channels=[channel, "stimulus"], inputs=3)
    return simulation, Evidence(x, observation, [None] * n, np.asarray(response["latent/hidden"])), theta


def test_the_order_of_parameters_is_the_priors() -> None:
    shuffled = ("w_hidden", "w_3", "b", "w_1", "w_2")
    found = []
    for names in (NAMES, shuffled):
        simulation, evidence, theta = neurons(20, 1000, names=names)
        fit = per_neuron_fits(simulation, simulation.prior, 1.0, np.random.default_rng(0))["per_neuron_fit"]
        estimate, seconds = fit.run(evidence)
        assert seconds > 0
        column = names.index("w_hidden")
        estimate[:, column], theta[:, column] = abs(estimate[:, column]), abs(theta[:, column])
        # a standard error is |w_h| / sqrt(1000) < 0.01: four of them
        np.testing.assert_allclose(estimate, theta, atol=0.04)
        found.append(estimate)


def test_a_mean_of_the_hidden_input_is_taken_out_of_the_bias() -> None:
    simulation, evidence, theta = neurons(20, 2000, PoissonInputs(4, 2000.0))
    fit = per_neuron_fits(simulation, simulation.prior, 1.0, np.random.default_rng(0))["per_neuron_fit"]
    estimate, _ = fit.run(evidence)
    # counts are skewed: even the sign is right, wherever the hidden weight is not almost 0
    seen = abs(theta[:, 4]) > 0.05
    np.testing.assert_allclose(estimate[seen], theta[seen], atol=0.05)


def test_without_what_it_needs_a_fit_has_no_answer() -> None:
    simulation, evidence, theta = neurons(3, 200)
    x = evidence.x.copy()
    x[:, 1:] = np.nan
    blind = Evidence(x, evidence.observation, evidence.spikes)
    spikes = neurons(3, 200, output="bernoulli")
    for fitted, seen in ((simulation, blind), (spikes[0], Evidence(x, spikes[1].observation, [None] * 3))):
        fits = per_neuron_fits(fitted, fitted.prior, 1.0, np.random.default_rng(0))
        assert fits and all(np.isnan(fit.run(seen)[0]).all() for fit in fits.values())
    for refinement in refinements(simulation, simulation.prior, 1.0).values():
        assert refinement.run(blind, Start(theta[:, None]), 10, np.random.default_rng(0)) is None


def test_maximum_likelihood_of_counts_without_and_with_the_hidden_input() -> None:
    """Told the hidden input, the fit has its weight; not told, it has none, and its weights are nearer to 0."""
    simulation, evidence, theta = neurons(30, 4000, output="poisson", size=1.0)
    fits = per_neuron_fits(simulation, simulation.prior, 1.0, np.random.default_rng(0))
    told, _ = fits["maximum_likelihood_with_hidden"].run(evidence)
    blind, _ = fits["per_neuron_fit"].run(evidence)
    assert (blind[:, 4] == 0).all()
    # the information of a logistic rate of at most 1 is at least 0.1 a bin: a standard error of 0.05, five of them
    np.testing.assert_allclose(told, theta, atol=0.25)
    hidden = abs(theta[:, 4]) > 0.5
    sizes = [np.linalg.norm(part[hidden, :3], axis=1) for part in (blind, theta)]
    assert np.median(sizes[0] / sizes[1]) < 1
    least, _ = fits["least_squares_on_counts"].run(evidence)
    assert np.corrcoef(least[:, 0], theta[:, 0])[0, 1] > 0.8


def test_gradient_descent_is_slow_and_for_few() -> None:
    simulation, evidence, _ = neurons(2, 60)
    fits = per_neuron_fits(simulation, simulation.prior, 1.0, np.random.default_rng(0))
    assert list(fits) == ["per_neuron_fit", "gradient_descent"]
    assert fits["gradient_descent"].most is not None and not fits["gradient_descent"].everywhere
    theta, seconds = fits["gradient_descent"].run(evidence)
    # v_h starts at 1 and keeps its sign
    assert theta.shape == (2, 5) and (theta[:, 4] > 0).all() and seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize(("neuron", "bins"), [({"output": "rate"}, 150), ({"output": "bernoulli", "size": 1.0}, 300)])
def test_refined_samples_cover_from_any_start(neuron: dict[str, Any], bins: int) -> None:
    """90 % intervals of an exact posterior, each rejected with probability 1e-4; from draws of the prior itself."""
    simulation, evidence, theta = neurons(60, bins, **neuron)
    rng = np.random.default_rng(1)
    start = simulation.prior.sample(60 * 200, rng).reshape(60, 200, 5)
    density = np.full((60, 200), -5 * math.log(2 * neuron.get("size", 0.3)))
    refinement = refinements(simulation, simulation.prior, 1.0)["amortized_refined"]
    answer = refinement.run(evidence, Start(start, density), 500, rng)
    assert answer is not None and answer.samples.shape == (60, 500, 5) and answer.doubtful < 0.1
    truth, samples = theta.copy(), answer.samples.copy()
    truth[:, 4], samples[:, :, 4] = abs(truth[:, 4]), abs(samples[:, :, 4])
    assert (coverage_p(coverage(truth, samples), 60) >= 1e-4).all()
    assert (abs((answer.samples[:, :, 4] > 0).mean(axis=1) - 0.5) < 0.3).all()


def test_refinement_leaves_correlated_inputs_and_rates_of_counts_alone() -> None:
    for stimulus in (GaussianInputs(4, 1000.0, correlation=0.5), PoissonInputs(4, 1000.0)):
        simulation, evidence, theta = neurons(3, 1000, stimulus)
        refinement = refinements(simulation, simulation.prior, 1.0)["amortized_refined"]
        assert refinement.run(evidence, Start(theta[:, None]), 10, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("stimulus", "mean", "sd", "normal"),
    [
        (GaussianInputs(4, 5000.0, sd=[1.5, 1.5]), 0.0, 1.5, True),
        (PoissonInputs(4, 5000.0, rate=2.0), 2.0, math.sqrt(2), False),
        (Stack([GaussianInputs(3, 5000.0), BernoulliInputs(1, 5000.0, probability=0.2)]), 0.2, 0.4, False),
        (Stack([PoissonInputs(3, 5000.0), GaussianInputs(1, 5000.0)]), 0.0, 1.0, True),
    ],
)
def test_the_law_is_that_of_the_observed_inputs_or_of_the_last_component(
    stimulus: Stimulus, mean: float, sd: float, normal: bool
) -> None:
    simulation, evidence, _ = neurons(3, 5000, stimulus)
    for law in hidden_laws(simulation, evidence.x[:, 1:]):
        assert (law.moments is not None) == normal
        # of 4,096 values or more: four standard errors of mean and sd
        assert moments(law) == pytest.approx((mean, sd), abs=4 * sd / 64)


def test_the_law_of_a_sum_has_the_variance_of_one() -> None:
    simulation, evidence, _ = neurons(4, 3000, PoissonInputs(6, 3000.0, standardised=True), hidden=3, summed=True)
    for law in hidden_laws(simulation, evidence.x[:, 1:]):
        # shares are on the unit sphere; a kurtosis of at most 4 gives the sd of 4,096 values a standard error of 0.014
        assert moments(law)[1] == pytest.approx(1.0, abs=0.06) and law.moments is None
    assert math.isclose(float(law.weights.sum()), 1.0)


def test_correlation_of_inputs_is_noticed() -> None:
    rng = np.random.default_rng(3)
    apart = np.stack([GaussianInputs(9, 500.0).sample(rng) for _ in range(50)])
    together = np.stack([GaussianInputs(9, 500.0, correlation=0.2).sample(rng) for _ in range(50)])
    assert independent(apart).all() and not independent(together).any()

"""Maximum likelihood by statsmodels against our own Newton steps, with and without the hidden input."""

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from neuroinf.errors import InputError
from neuroinf.fits.glm_curvature import Data
from neuroinf.fits.glm_design import design
from neuroinf.fits.glm_likelihood import GLMLikelihood, HiddenLaw
from neuroinf.fits.glm_regression import fit
from neuroinf.simulators import GLM

Output = Literal["bernoulli", "poisson"]
Nonlinearity = Literal["logistic", "exponential"]


@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
def test_the_maximum_is_where_the_gradient_vanishes(output: Output, nonlinearity: Nonlinearity) -> None:
    """Of the likelihood that the refinement uses, with no hidden input; and the curvature there is the covariance."""
    rng = np.random.default_rng(0)
    simulator = GLM(3, 0, nonlinearity=nonlinearity, output=output)
    theta = 0.4 * rng.standard_normal((4, 4))
    x = rng.standard_normal((4, 3, 500))
    y = np.asarray(simulator.simulate(theta, x, 1.0, seed=1)["count"], np.float64)
    y[0, :9] = np.nan
    matrix = design(simulator, x, y, 1.0)
    found = fit(y, matrix, output, nonlinearity)
    assert found.converged.all()
    likelihood = GLMLikelihood(output, nonlinearity, HiddenLaw.gaussian())
    at = Data(likelihood, torch.from_numpy(matrix), torch.from_numpy(y), 0).expand(torch.from_numpy(found.coefficients))
    covariance = torch.from_numpy(found.covariance)
    assert (at.gradient[:, None] @ covariance @ at.gradient[..., None]).max() < 1e-8
    np.testing.assert_allclose(at.value.numpy(), found.log_likelihood, rtol=1e-9)
    # the observed information differs from the expected one by chance, where the link is not the family's own
    own = (output, nonlinearity) in (("bernoulli", "logistic"), ("poisson", "exponential"))
    product = (-at.hessian @ covariance).numpy()
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), product.shape), atol=1e-6 if own else 0.3)


def test_given_the_hidden_input_the_errors_are_honest_and_without_it_the_likelihood_is_lower() -> None:
    """chi-squared of the coefficients of 60 neurons; false-alarm rate 1e-4."""
    rng = np.random.default_rng(1)
    simulator = GLM(2, 1, nonlinearity="exponential", output="poisson")
    theta = rng.uniform(-0.5, 0.5, (60, 4))
    x = rng.standard_normal((60, 3, 1000))
    y = np.asarray(simulator.simulate(theta, x, 1.0, seed=2)["count"], np.float64)
    matrix = design(simulator, x[:, :2], y, 1.0)
    oracle, without = fit(y, matrix, "poisson", "exponential", x[:, 2:]), fit(y, matrix, "poisson", "exponential")
    error = oracle.coefficients - theta
    squares = np.einsum("bi,bij,bj->", error, np.linalg.inv(oracle.covariance), error)
    low, high = chi2.ppf([0.5e-4, 1 - 0.5e-4], error.size)
    assert low < squares < high
    assert (oracle.log_likelihood >= without.log_likelihood).all()
    assert oracle.standard_errors.shape == (60, 4) and without.coefficients.shape == (60, 3)


def test_no_maximum_is_no_answer() -> None:
    """A silent neuron, and one whose spikes an input tells exactly; the third has one."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 1, 80))
    y = np.stack((np.zeros(80), (x[1, 0] > 0).astype(float), (rng.random(80) < 0.5).astype(float)))
    found = fit(y, np.concatenate((x, np.ones((3, 1, 80))), axis=1), "bernoulli", "logistic")
    assert found.converged.tolist() == [False, False, True]
    assert np.isnan(found.coefficients[:2]).all() and np.isfinite(found.coefficients[2]).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="expected counts"):
        fit(np.ones((1, 5)), np.ones((1, 2, 6)), "poisson", "exponential")
    with pytest.raises(InputError, match="expected hidden"):
        fit(np.ones((1, 5)), np.ones((1, 2, 5)), "poisson", "exponential", np.ones((1, 5)))

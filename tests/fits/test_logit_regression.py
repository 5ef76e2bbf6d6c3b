"""The closed form against its own guarantees, numpy's least squares and what the published study's neurons gave."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom, chi2

from neuroinf.errors import InputError
from neuroinf.fits.glm_design import design
from neuroinf.fits.logit_regression import regress, regress_counts
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import RaisedCosines, Taps
from neuroinf.simulators.glm_twin import GLMTwin

FALSE_ALARM = 1e-4
EDGE = 1 / np.sqrt(10)
FloatArray = NDArray[np.float64]


def neurons(n: int, bins: int, rng: np.random.Generator, law: str = "gaussian") -> tuple[FloatArray, FloatArray]:
    """Parameters (n, 11) of the study's law and inputs (n, 10, T), the last hidden."""
    theta = rng.uniform(-EDGE, EDGE, (n, 11))
    shape = (n, 10, bins)
    x = rng.standard_normal(shape) if law == "gaussian" else rng.poisson(1.0, shape).astype(np.float64)
    return theta, x


def rates(theta: FloatArray, x: FloatArray) -> FloatArray:
    return np.asarray(GLM().simulate(theta, x, 1.0)["rate"], np.float64)


def test_without_hidden_input_the_weights_are_exact() -> None:
    """A3, at a thousandth of its bar."""
    rng = np.random.default_rng(0)
    theta, x = neurons(50, 1000, rng)
    simulator = GLM(10, 0)
    y = np.asarray(simulator.simulate(theta, x, 1.0)["rate"], np.float64)
    found = regress(y, x)
    error = np.linalg.norm(found.weights - theta[:, :10], axis=1) / np.linalg.norm(theta[:, :10], axis=1)
    assert error.max() < 1e-6
    assert np.abs(found.bias - theta[:, 10]).max() < 1e-6 and found.hidden_weight.max() < 1e-6


def test_it_is_ordinary_least_squares_with_its_standard_errors() -> None:
    rng = np.random.default_rng(1)
    theta, x = neurons(3, 200, rng)
    y = rates(theta, x)
    y[0, 5] = np.nan
    y[1, 7] = 1.0
    found = regress(y, x[:, :9])
    for b in range(3):
        used = np.isfinite(y[b]) & (y[b] < 1)
        columns = np.column_stack((x[b, :9, used], np.ones(used.sum())))
        drive = np.log(y[b, used] / (1 - y[b, used]))
        solution, squares, *_ = np.linalg.lstsq(columns, drive, rcond=None)
        np.testing.assert_allclose(np.append(found.weights[b], found.bias[b]), solution, atol=1e-10)
        covariance = np.linalg.inv(columns.T @ columns) * squares[0] / (used.sum() - 10)
        errors = np.append(found.weights_error[b], found.bias_error[b])
        np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=1e-8)
        assert np.isnan(found.residual[b]).sum() == (~used).sum()


def test_standard_errors_are_honest() -> None:
    """The normalised squared errors of 200 neurons' 9 weights, each of an F distribution close to chi-squared."""
    rng = np.random.default_rng(2)
    theta, x = neurons(200, 1000, rng)
    found = regress(rates(theta, x), x[:, :9])
    squares = np.square((found.weights - theta[:, :9]) / found.weights_error).sum()
    # t with 990 degrees of freedom: variance 1.002
    low, high = chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 1800)
    assert low < squares / 1.002 < high


def test_the_hidden_activity_and_weight_are_the_residual() -> None:
    """Published numbers of the closed form at T = 1000 (r 0.996 / 0.992 at the 5 % quantile, error 0.025), to 0.01."""
    rng = np.random.default_rng(3)
    theta, x = neurons(300, 1000, rng)
    found = regress(rates(theta, x), x[:, :9])
    r = np.array([abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(found.hidden, x[:, 9], strict=True)])
    error = np.linalg.norm(found.weights - theta[:, :9], axis=1) / np.linalg.norm(theta[:, :9], axis=1)
    assert np.median(r) == pytest.approx(0.996, abs=0.01)
    assert np.quantile(r, 0.05) == pytest.approx(0.992, abs=0.01)
    assert np.median(error) == pytest.approx(0.025, abs=0.01)
    assert np.median(found.hidden_weight / np.abs(theta[:, 10])) == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(found.theta[:, 10], found.sign * found.hidden_weight)


@pytest.mark.parametrize("law", ["gaussian", "poisson"])
def test_the_sign_is_known_where_the_law_is_skewed(law: str) -> None:
    rng = np.random.default_rng(4)
    theta, x = neurons(300, 1000, rng, law)
    mean = 0.0 if law == "gaussian" else 1.0
    found = regress(rates(theta, x), x[:, :9], hidden_mean=mean)
    right = int((found.sign == np.sign(theta[:, 10])).sum())
    if law == "poisson":
        assert right == 300 and found.sign_z.min() > 5
        # and with it bias and level of the hidden activity
        assert np.median(np.abs(found.bias - theta[:, 9])) < 0.02
        assert np.median(np.abs(found.hidden - x[:, 9])) < 0.2
    else:
        low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 300, 0.5)
        assert low <= right <= high
        assert found.sign_z.max() < 5  # a normal z of 300 neurons: false alarm 2e-4


def test_the_sign_symmetry_is_exact() -> None:
    rng = np.random.default_rng(5)
    theta, x = neurons(4, 300, rng)
    mirrored, other = theta.copy(), x.copy()
    mirrored[:, 10] *= -1
    other[:, 9] *= -1
    np.testing.assert_array_equal(rates(theta, x), rates(mirrored, other))


def test_an_input_that_does_not_vary_has_no_standard_error() -> None:
    rng = np.random.default_rng(6)
    theta, x = neurons(2, 100, rng)
    x[0, 2] = 0.0
    found = regress(rates(theta, x), x[:, :9])
    assert np.isinf(found.weights_error[0, 2]) and np.isfinite(np.delete(found.weights_error[0], 2)).all()
    assert np.isfinite(found.weights).all() and np.isfinite(found.weights_error[1]).all()


def test_the_exponential_has_the_logarithm_as_link() -> None:
    rng = np.random.default_rng(7)
    theta, x = neurons(3, 500, rng)
    y = np.asarray(GLM(nonlinearity="exponential").simulate(theta, x, 1.0)["rate"], np.float64)
    found = regress(y, x[:, :9], "exponential")
    drive = np.log(y) - np.einsum("bi,bit->bt", theta[:, :9], x[:, :9]) - theta[:, 9:10]
    for mine, true in zip(found.residual, drive, strict=True):
        assert np.corrcoef(mine, true)[0, 1] > 0.97


def test_counts_are_binned() -> None:
    """Of the true direction: a window of 10 bins keeps a tenth of the inputs' variance, hence sd 0.045 of each weight of
    a norm of 0.55, a cosine of 0.97."""
    rng = np.random.default_rng(8)
    theta, x = neurons(20, 20_000, rng)
    p = expit(np.einsum("bi,bit->bt", theta[:, :9], x[:, :9]) + theta[:, 9:10])
    found = regress_counts((rng.random(p.shape) < p).astype(np.float64), x[:, :9], "bernoulli", "logistic")
    cosine = (found[:, :9] * theta[:, :9]).sum(1)
    cosine /= np.linalg.norm(found[:, :9], axis=1) * np.linalg.norm(theta[:, :9], axis=1)
    assert np.median(cosine) > 0.95
    rate = np.exp(np.einsum("bi,bit->bt", theta[:, :9], x[:, :9]))
    counts = rng.poisson(rate).astype(np.float64)
    found = regress_counts(counts, x[:, :9], "poisson", "exponential")
    assert np.median(np.linalg.norm(found[:, :9] - theta[:, :9], axis=1)) < 0.15


def test_the_design_reproduces_the_simulators_drive() -> None:
    rng = np.random.default_rng(9)
    simulator = GLM(
        inputs=2,
        hidden=1,
        coupled=2,
        filters=RaisedCosines(3, 0.0, 60.0),
        coupling=Taps(2),
        history=RaisedCosines(2, 0.0, 5.0),
        nonlinearity="exponential",
        output="poisson",
    )
    theta = 0.2 * rng.standard_normal((3, len(simulator.parameters)))
    theta[:, simulator.parameters.index("a_1") :] = -0.3
    x = rng.standard_normal((3, 5, 150))
    x[:, 2:4] = rng.poisson(0.5, (3, 2, 150))
    y = np.asarray(simulator.simulate(theta, x, 1.0, seed=1)["count"], np.float64)
    matrix = design(simulator, x[:, :4], y, 1.0)
    eta = np.einsum("bd,bdt->bt", theta[:, :-1], matrix)
    twin = GLMTwin(simulator).drive(
        torch.from_numpy(theta), torch.from_numpy(x[:, :4]), 1.0, torch.zeros(3, 150).double(), torch.from_numpy(y)
    )
    np.testing.assert_allclose(eta, twin.numpy(), atol=1e-10)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="expected responses"):
        regress(np.ones((2, 5)), np.ones((2, 3, 6)))
    with pytest.raises(InputError, match="needs 5 or more"):
        regress(np.full((1, 4), 0.5), np.ones((1, 3, 4)))
    with pytest.raises(InputError, match="observed inputs"):
        design(GLM(3), np.ones((1, 2, 5)), None, 1.0)
    with pytest.raises(InputError, match="has a history"):
        design(GLM(2, history=Taps(1)), np.ones((1, 2, 5)), None, 1.0)

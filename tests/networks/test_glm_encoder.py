"""The GLM encoder: its anchors against statsmodels-free closed forms, its errors, and what it leaves alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.networks.anchored import anchor_width
from neuroinf.networks.anchoring import half
from neuroinf.networks.glm_encoder import GLMEncoder, Moments
from neuroinf.networks.regression import drive_columns, moments, regress
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM

EDGE = 0.1**0.5
NAMES = [*(f"w_{i + 1}" for i in range(9)), "b", "w_hidden"]
PRIOR = Prior({name: Parameter("1", -EDGE, EDGE) for name in NAMES})
OUTPUTS = [("rate", "logistic"), ("rate", "exponential"), ("bernoulli", "logistic"), ("poisson", "exponential")]
EVERY = pytest.mark.parametrize(("output", "nonlinearity"), OUTPUTS, ids=["-".join(pair) for pair in OUTPUTS])
COUNTS = [*OUTPUTS[2:], ("bernoulli", "exponential"), ("poisson", "logistic")]


def encoder(simulator: GLM) -> GLMEncoder:
    made = GLMEncoder(10)
    made.told(PRIOR, simulator, 1.0)
    return made.eval()


def recordings(simulator: GLM, n: int, bins: int, correlation: float = 0.0, seed: int = 0) -> tuple[np.ndarray, Tensor]:
    """Parameters (n, P), and what the encoder reads (n, C, T)."""
    rng = np.random.default_rng(seed)
    theta = PRIOR.sample(n, rng)
    shared, own = np.sqrt(correlation), np.sqrt(1 - correlation)
    x = shared * rng.standard_normal((n, 1, bins)) + own * rng.standard_normal((n, 10, bins))
    response = simulator.simulate(theta, x, 1.0, list(range(n)))[next(iter(simulator.channels))]
    return theta, torch.from_numpy(np.concatenate([response[:, None], x[:, :9]], 1)).float()


def distances(theta: np.ndarray, features: Tensor) -> np.ndarray:
    """(truth - anchor) / anchor's error, of the anchor of the true sign (n, P)."""
    n, p = theta.shape
    size = p * (p + 1) // 2
    row, column = torch.tril_indices(p, p)
    factor = torch.zeros(n, 2, p, p)
    factor[..., row, column] = features[:, 2 * p : 2 * p + 2 * size].reshape(n, 2, size)
    z = PRIOR.to_unconstrained(torch.from_numpy(theta))
    sign = (z[:, -1] < 0).long()
    zeta = torch.cat([z[:, :-1], half(z[:, -1:])], 1).float()
    every = torch.arange(n)
    apart = zeta - features[:, : 2 * p].reshape(n, 2, p)[every, sign]
    return torch.linalg.solve_triangular(factor[every, sign], apart[..., None], upper=False)[..., 0].numpy()


@EVERY
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_anchor_of_the_true_sign_is_about_right(output: str, nonlinearity: str, correlation: float) -> None:
    simulator = GLM(hidden=1, output=output, nonlinearity=nonlinearity)
    theta, x = recordings(simulator, 200, 1000, correlation)
    with torch.no_grad():
        r = distances(theta, encoder(simulator)(x))
    if output != "rate":
        r = r[:, :9]  # counts hardly see the hidden input, and say so
        if correlation:
            return  # nor is what it does to the weights given back
    # normal distances of sd 1 would scatter by 0.05 (sd of 200) and 0.07 (their mean); the anchor is an approximation
    assert 0.75 < r.std() < 1.3 and (abs(r.mean(0)) < 0.4).all()


def test_correlated_inputs_bias_the_regression_and_not_the_anchor() -> None:
    simulator = GLM(hidden=1)
    theta, x = recordings(simulator, 200, 1000, correlation=0.5)
    columns = drive_columns(simulator, x[:, 1:].double(), x[:, 0].double(), 1.0)
    found = regress(simulator, columns, x[:, 0].double(), torch.ones_like(x[:, 0], dtype=torch.bool), torch.zeros(10))
    bias = (found.weights[:, :9].numpy() - theta[:, :9]) / theta[:, -1:]
    # S^-1 c of 10 equicorrelated inputs: 0.5 / (1 + 8 * 0.5) of the hidden weight
    assert np.allclose(np.median(bias, 0), 0.1, atol=0.02)


@pytest.mark.parametrize(("output", "nonlinearity"), COUNTS)
def test_scoring_solves_the_likelihood_equations(output: str, nonlinearity: str) -> None:
    simulator = GLM(hidden=0, inputs=9, output=output, nonlinearity=nonlinearity)
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.standard_normal((20, 9, 500)))
    theta = torch.from_numpy(rng.uniform(-0.3, 0.3, (20, 10)))
    y = torch.from_numpy(simulator.simulate(theta.numpy(), x.numpy(), 1.0, list(range(20)))["count"]).double()
    columns = drive_columns(simulator, x, y, 1.0)
    found = regress(simulator, columns, y, torch.ones(20, 500, dtype=torch.bool), torch.zeros(10))
    mean, slope, variance = moments(simulator, (found.weights[:, None] @ columns)[:, 0])
    score = (columns @ ((y - mean) * slope / variance)[..., None])[..., 0]
    # of a standard error of about 10
    assert score.abs().max() < 1e-2
    # errors of the size they are said to be: 200 squared distances of mean 1 scatter by 0.1; bound at 5 of these
    z = (found.weights - theta) / found.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    assert abs(float(z.square().mean()) - 1) < 0.5


def test_bins_that_were_not_observed_change_nothing() -> None:
    simulator = GLM(hidden=1)
    _, x = recordings(simulator, 5, 300)
    longer = torch.cat([x, torch.full((5, 10, 77), float("nan"))], -1)
    made = encoder(simulator)
    assert torch.allclose(made(x), made(longer), atol=1e-5)


@EVERY
def test_few_silent_or_constant_bins_still_give_numbers(output: str, nonlinearity: str) -> None:
    simulator = GLM(hidden=1, output=output, nonlinearity=nonlinearity)
    _, x = recordings(simulator, 4, 20)
    x[0, 0] = 0.0
    x[1, 1:] = 0.0
    x[2] = x[2, :, :1]
    assert torch.isfinite(encoder(simulator)(x)).all()


def test_sign_flip_of_the_hidden_input_exchanges_the_anchors() -> None:
    simulator = GLM(hidden=1)
    rng = np.random.default_rng(2)
    theta, x = PRIOR.sample(6, rng), rng.standard_normal((6, 10, 400))
    flipped, mirrored = theta.copy(), x.copy()
    flipped[:, -1] *= -1
    mirrored[:, -1] *= -1
    made, pairs = encoder(simulator), []
    for parameters, inputs in ((theta, x), (flipped, mirrored)):
        rate = simulator.simulate(parameters, inputs, 1.0, 0)["rate"]
        pairs.append(made(torch.from_numpy(np.concatenate([rate[:, None], inputs[:, :9]], 1)).float()))
    assert torch.equal(*pairs)


LAWS = {
    "normal": (lambda rng, shape: rng.standard_normal(shape), False),
    "even": (lambda rng, shape: rng.binomial(1, 0.5, shape), False),
    "poisson": (lambda rng, shape: rng.poisson(1.0, shape), True),
    "rare": (lambda rng, shape: rng.binomial(1, 0.1, shape), True),
}


@pytest.mark.parametrize("bins", [100, 1000])
@pytest.mark.parametrize("law", LAWS)
def test_only_skewed_inputs_let_anything_but_the_prior_tell_the_sign(law: str, bins: int) -> None:
    draw, shows = LAWS[law]
    rng = np.random.default_rng(3)
    x = torch.from_numpy(draw(rng, (200, 10, bins))).float()
    x[:, 0] = torch.sigmoid(0.2 * x[:, 0])
    told = encoder(GLM(hidden=1))(x)[:, anchor_width(len(NAMES), True) - 1]
    # of 200 symmetric laws' skewness one in 16,000 is beyond 4 standard errors, where the feature is a half: two or more have
    # a chance of 1e-4
    assert (told > 0.9).all() if shows else (told > 0.5).sum() <= 1


def test_sign_shows_less_surely_in_inputs_that_are_correlated_in_time() -> None:
    rng, errors = np.random.default_rng(4), []
    white = rng.standard_normal((400, 10, 1000))
    slow = white.copy()
    for t in range(1, 1000):
        slow[..., t] = 0.9 * slow[..., t - 1] + 0.436 * white[..., t]
    for x in (white, slow):
        inputs = Moments(torch.from_numpy(x[:, 1:]), torch.ones(400, 1000, dtype=torch.bool))
        z = (inputs.skewness / inputs.skewness_error).numpy()
        errors.append(float(inputs.skewness_error.mean()))
        # sd of 400 z values of sd 1 has an error of 0.035; a tenth more for what skewness is at finite length
        assert abs(z.std() - 1) < 0.25
    assert errors[1] > 2 * errors[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encoder(GLM(hidden=2)), "w_hidden"),
        (lambda: GLMEncoder(7).told(PRIOR, GLM(hidden=1), 1.0), "expected 10 channels"),
        (lambda: GLMEncoder(10).told(PRIOR, None, 1.0), "NoneType"),
        (lambda: GLMEncoder(10).told(Prior({k: Parameter("1", -1.0, 2.0) for k in NAMES}), GLM(), 1.0), "symmetric"),
    ],
)
def test_a_model_that_it_cannot_read_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()

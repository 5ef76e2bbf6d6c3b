"""The hidden input: exact from a rate, by Bayes' rule from counts, and never with a sign it cannot know."""

import numpy as np
import pytest
from scipy import stats

from neuroinf.errors import InputError
from neuroinf.hidden_activity import hidden_activity
from neuroinf.simulators import GLM

NAMES = ("w_1", "w_2", "b", "w_hidden")
THETA = np.array([[0.3, -0.2, 0.1, 0.5]])


def neuron(simulator: GLM, bins: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed inputs, response and hidden input."""
    x = np.random.default_rng(0).standard_normal((1, 3, bins))
    response = simulator.simulate(THETA, x, 1.0, 5)
    return x[0, :2], response[next(iter(simulator.channels))][0].astype(float), x[0, 2]


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
def test_known_parameters_give_the_hidden_input_of_a_rate_exactly(nonlinearity: str) -> None:
    simulator = GLM(inputs=2, hidden=1, nonlinearity=nonlinearity)
    x, y, h = neuron(simulator)
    found = hidden_activity(np.repeat(THETA, 3, 0), x, y, simulator, NAMES)
    # rates are kept in float32: 1e-7 of them, magnified by the nonlinearity's slope and the weight
    assert np.allclose(found.mean, h, atol=1e-4) and np.allclose(found.sd, 0, atol=1e-6)
    assert found.positive == 1.0 and found.sign == 1


def test_the_mirror_image_is_as_good_an_answer() -> None:
    simulator = GLM(inputs=2, hidden=1)
    x, y, h = neuron(simulator)
    both = np.concatenate([np.repeat(THETA, 4, 0), np.repeat(THETA * [1, 1, 1, -1], 6, 0)])
    assert np.allclose(hidden_activity(both, x, y, simulator, NAMES, sign=1).mean, h, atol=1e-4)
    assert np.allclose(hidden_activity(both, x, y, simulator, NAMES, sign=-1).mean, -h, atol=1e-4)
    likelier = hidden_activity(both, x, y, simulator, NAMES)
    assert likelier.sign == -1 and likelier.positive == 0.4


@pytest.mark.parametrize(
    ("output", "nonlinearity"),
    [("bernoulli", "logistic"), ("bernoulli", "exponential"), ("poisson", "logistic"), ("poisson", "exponential")],
)
def test_counts_follow_the_rule_of_bayes(output: str, nonlinearity: str) -> None:
    simulator = GLM(inputs=2, hidden=1, output=output, nonlinearity=nonlinearity)
    x, y, _ = neuron(simulator, 30)
    atoms = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    found = hidden_activity(THETA, x, y, simulator, NAMES, atoms)
    drive = THETA[0, :2] @ x + THETA[0, 2]
    for t in range(30):
        eta = drive[t] + THETA[0, 3] * atoms
        rate = 1 / (1 + np.exp(-eta)) if nonlinearity == "logistic" else np.exp(eta)
        if output == "bernoulli":
            p = stats.bernoulli.pmf(y[t], rate if nonlinearity == "logistic" else 1 - np.exp(-rate))
        else:
            p = stats.poisson.pmf(y[t], rate)
        p /= p.sum()
        mean = p @ atoms
        assert abs(found.mean[t] - mean) < 1e-9 and abs(found.sd[t] - np.sqrt(p @ (atoms - mean) ** 2)) < 1e-9
        below = np.cumsum(p)
        assert found.low[t] == atoms[np.searchsorted(below, 0.05)]
        assert found.high[t] == atoms[np.searchsorted(below, 0.95)]


def test_intervals_of_counts_hold_what_they_say() -> None:
    simulator = GLM(inputs=2, hidden=1, output="poisson", nonlinearity="exponential")
    x, y, h = neuron(simulator, 5000)
    found = hidden_activity(THETA, x, y, simulator, NAMES, stats.norm.ppf((np.arange(200) + 0.5) / 200))
    held = ((found.low <= h) & (h <= found.high)).mean()
    # binomial of 5,000 at 0.9: 1e-4 is at 3.9 standard errors of 0.0042; the atoms' steps add less than 0.005
    assert abs(held - 0.9) < 3.9 * 0.0042 + 0.005
    # and the mean knows something: its error is smaller than that of the prior's mean, 0
    assert np.mean((found.mean - h) ** 2) < 0.95 * np.mean(h**2)


def test_unobserved_bins_are_nan_and_change_no_other() -> None:
    simulator = GLM(inputs=2, hidden=1)
    x, y, _ = neuron(simulator)
    gap = y.copy()
    gap[7] = np.nan
    whole, cut = (hidden_activity(THETA, x, v, simulator, NAMES).mean for v in (y, gap))
    assert np.isnan(cut[7]) and np.allclose(np.delete(whole, 7), np.delete(cut, 7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sign": -1}, "no posterior sample has the sign -1"),
        ({"names": ("w_1", "w_2", "b", "gain")}, "no hidden input"),
        ({"simulator": GLM(inputs=2, output="poisson")}, "expected atoms"),
    ],
)
def test_what_cannot_be_answered_is_refused(changes: dict, message: str) -> None:
    x, y, _ = neuron(GLM(inputs=2, hidden=1))
    arguments = {"theta": THETA, "x": x, "y": y, "simulator": GLM(inputs=2), "names": NAMES} | changes
    with pytest.raises(InputError, match=message):
        hidden_activity(**arguments)

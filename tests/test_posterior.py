"""What a posterior says of itself: what it does not know, what trades off, and how it looks. Against closed forms."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from neuroinf.corner_plot import BINS
from neuroinf.doubts import doubts
from neuroinf.errors import InputError
from neuroinf.networks import Flow, Gaussian, Point
from neuroinf.posterior import SUMMARY_SAMPLES, Posterior, draw
from neuroinf.priors import GridParameter, GridPrior, Parameter, Prior

FALSE_ALARM = 1e-4
BOX = Prior(
    {
        "C": Parameter("pF", 40.0, 200.0, "log"),
        "El": Parameter("mV", -84.0, -60.0),
        "amp": Parameter("pA", -75.0, 0.0),
        "label": Parameter("1", 1.0, 100.0, "log"),
    }
)


def normal(prior: Prior, mean: Sequence[float], factor: np.ndarray) -> Posterior:
    """The posterior that is normal in z, with this mean (P,) and Cholesky factor (P, P)."""
    p = len(prior.names)
    density = Gaussian(1, p, hidden=[])
    sd = np.diag(factor)
    lower = (factor / sd[:, None])[np.tril_indices(p, -1)]
    with torch.no_grad():
        density.network[-1].bias.copy_(torch.tensor(np.concatenate([mean, np.log(sd), lower])))
    return Posterior(prior, density, torch.zeros(1, 1))


def test_what_is_left_as_the_prior_has_it_is_named_and_nothing_else() -> None:
    posterior = normal(BOX, [0.0, 0.5, 0.0, 0.0], np.diag([0.3, 0.05, 1.0, 1.0]))
    assert list(posterior.unidentified) == ["amp", "label"]
    (doubt,) = doubts(posterior)
    named = re.findall(r"(\w+) \(sd ([\d.]+) of the prior's\)", doubt)
    assert [name for name, _ in named] == ["amp", "label"]
    # the sd of S uniform values is off by 1 part in sqrt((kurtosis - 1) / 4 S), kurtosis 9/5, and is printed to 0.01
    off = stats.norm.isf(FALSE_ALARM / 4) * np.sqrt(0.2 / SUMMARY_SAMPLES) + 0.005
    assert all(abs(float(ratio) - 1) < off for _, ratio in named)
    document = posterior.to_dict()
    assert document["unidentified"] == ["amp", "label"]
    assert document["parameters"]["El"]["posterior_over_prior_sd"] == posterior.sd_over_prior["El"]
    assert doubts(normal(BOX, [0.0, 0.5, 0.0, 0.0], np.diag([0.3, 0.05, 0.2, 0.5]))) == []


def test_the_ratio_of_standard_deviations_is_that_of_the_own_scale() -> None:
    # u = Phi(z): for z of variance s^2 about 0, E[u] = 1/2 and E[u^2] = P(x, y < 0) of two normals of correlation
    # s^2 / (1 + s^2), which is 1/4 + asin(that) / 2 pi
    sds = np.array([0.3, 0.7, 1.0, 1.5])
    posterior = normal(BOX, [0.0] * 4, np.diag(sds))
    exact = np.sqrt(12 * np.arcsin(sds**2 / (1 + sds**2)) / (2 * np.pi))
    # relative error of a standard deviation: sqrt((kurtosis - 1) / 4 n), the kurtosis at most a normal's, 3
    allowed = stats.norm.isf(FALSE_ALARM / 4 / 2) * np.sqrt(2 / (4 * SUMMARY_SAMPLES))
    np.testing.assert_allclose([posterior.sd_over_prior[name] for name in BOX.names], exact, rtol=allowed)


def test_an_untrained_flow_says_that_it_knows_nothing() -> None:
    density = Flow(1, 4, hidden=[8], context=2, transforms=2, bins=4, spline_hidden=[8])  # training starts at the prior
    posterior = Posterior(BOX, density, torch.zeros(1, 1))
    assert list(posterior.unidentified) == list(BOX.names) and posterior.trade_offs == {}
    theta = BOX.sample(20, np.random.default_rng(0))
    expected = BOX.log_prob(torch.from_numpy(theta)).numpy()
    np.testing.assert_allclose(posterior.log_prob(theta), expected, atol=1e-3)
    assert len(posterior.plot().axes) == 16


def test_a_grid_is_measured_by_its_own_points() -> None:
    grid = GridPrior({"a": GridParameter("ms", [1.0, 10.0, 100.0], "log"), "b": GridParameter("mV", [0.0, 1.0, 5.0])})
    posterior = normal(grid, [0.0, 0.0], np.diag([1.0, 0.2]))
    assert list(posterior.unidentified) == ["a"]
    assert posterior.sd_over_prior["b"] == pytest.approx(0.2, rel=0.05)
    assert len(posterior.plot({"b": 1.0}).axes) == 4
    # a normal distribution over the own scales: it has a density between the grid's points, too
    points = np.array([[1.0, 0.0], [10.0, 1.0], [30.0, 4.0]])
    own, sd = np.log(grid.values[0]), np.std(grid.values[1])
    a = stats.norm.logpdf(np.log(points[:, 0]), own.mean(), own.std()) - np.log(points[:, 0])
    b = stats.norm.logpdf(points[:, 1], np.mean(grid.values[1]), 0.2 * sd)
    np.testing.assert_allclose(posterior.log_prob(points), a + b, rtol=1e-4)


def test_correlations_are_the_gaussians_own() -> None:
    factor = np.linalg.cholesky(
        [[0.04, 0.038, 0.0, 0.0], [0.038, 0.04, 0.0, 0.02], [0.0, 0.0, 1.0, -0.3], [0.0, 0.02, -0.3, 0.25]]
    )
    covariance = factor @ factor.T
    sd = np.sqrt(np.diag(covariance))
    exact = covariance / np.outer(sd, sd)
    posterior = normal(BOX, [0.3, -0.2, 0.0, 1.0], factor)
    pairs = list(combinations(range(4), 2))
    # Fisher: atanh r is normal with variance 1 / (n - 3)
    allowed = stats.norm.isf(FALSE_ALARM / len(pairs) / 2) / np.sqrt(SUMMARY_SAMPLES - 3)
    for i, j in pairs:
        found = posterior.correlation[BOX.names[i]][BOX.names[j]]
        assert abs(np.arctanh(found) - np.arctanh(exact[i, j])) < allowed
        assert posterior.correlation[BOX.names[j]][BOX.names[i]] == found
    assert list(posterior.trade_offs) == [("C", "El")]  # 0.95; the next, -0.6, leaves 0.8 of the sd
    (entry,) = posterior.to_dict()["trade_offs"]
    assert entry["parameters"] == ["C", "El"]
    assert "trade off: C and El (correlation 0.95)" in posterior.table()
    assert "trade off" not in normal(BOX, [0.0] * 4, np.eye(4) * 0.1).table()


def test_the_figure_holds_posterior_prior_and_truth() -> None:
    posterior = normal(BOX, [0.0, 0.5, 0.0, 0.0], np.diag([0.3, 0.05, 1.0, 1.0]))
    truth = {"C": 90.0, "El": -40.0, "amp": -20.0}  # El far outside: still on the axis
    figure = posterior.plot(truth, title="cell 3")
    panels = np.array(figure.axes).reshape(4, 4)
    samples = posterior.sample(SUMMARY_SAMPLES)
    for j, name in enumerate(BOX.names):
        ax = panels[j, j]
        assert ax.get_xscale() == BOX.parameters[name].scale
        low, high = ax.get_xlim()
        assert low < np.quantile(samples[:, j], 0.01) < np.quantile(samples[:, j], 0.99) < high
        verticals = [
            float(line.get_xdata()[0])
            for line in ax.lines
            if len(set(line.get_xdata())) == 1 and line.get_ydata()[-1] == 1
        ]
        assert verticals == ([truth[name]] if name in truth else [])
        assert panels[3, j].get_xlabel() == (f"{name} ({BOX.units[j]})" if BOX.units[j] != "1" else name)
    # a posterior that is the prior: its bars have the height of the prior's line, but for chance
    ax = panels[2, 2]
    (level,) = {float(line.get_ydata()[0]) for line in ax.lines if np.ptp(line.get_xdata()) > 1}
    edges = np.linspace(*ax.get_xlim(), BINS + 1)
    inside = np.histogram(samples[:, 2], edges)[0][3:-3]  # away from the prior's edges
    p = level / SUMMARY_SAMPLES
    bound = stats.norm.isf(FALSE_ALARM / len(inside) / 2) * np.sqrt(SUMMARY_SAMPLES * p * (1 - p))
    assert np.abs(inside - level).max() < bound
    # and of one a twentieth as wide the prior is a low line
    ax = panels[1, 1]
    heights = np.histogram(samples[:, 1], np.linspace(*ax.get_xlim(), BINS + 1))[0]
    lines = [float(line.get_ydata()[0]) for line in ax.lines if np.ptp(line.get_xdata()) > 0]
    assert lines and max(lines) < heights.max()
    assert [text.get_text() for text in panels[1, 0].texts] == [f"r = {posterior.correlation['El']['C']:.2f}"]
    assert figure.legends[0].get_title().get_text() == "cell 3"
    assert len(figure.legends[0].get_texts()) == 3
    assert len(posterior.plot().legends[0].get_texts()) == 2  # no truth, none in the legend
    alone = normal(Prior({"C": BOX.parameters["C"]}), [0.0], np.eye(1))  # type: ignore[dict-item]
    assert len(alone.plot([100.0]).axes) == 1


def test_what_cannot_be_drawn_is_refused_in_words() -> None:
    point = Posterior(BOX, Point(1, 4, hidden=[]), torch.zeros(1, 1))
    with pytest.raises(InputError, match="point estimate has no distribution to plot"):
        point.plot()
    assert point.unidentified == {} and point.trade_offs == {} and doubts(point) == []
    assert point.to_dict()["parameters"]["C"]["posterior_over_prior_sd"] is None
    posterior = normal(BOX, [0.0] * 4, np.eye(4) * 0.1)
    with pytest.raises(InputError, match="expected 4 values"):
        posterior.plot([1.0, 2.0])
    with pytest.raises(InputError, match="found 'R'"):
        posterior.plot({"R": 1.0})
    with pytest.raises(InputError, match="C: expected a positive number, found -1"):
        posterior.plot({"C": -1.0})
    with pytest.raises(InputError, match="El: expected a number, found nan"):
        posterior.plot([100.0, np.nan, -20.0, 2.0])


def test_many_neurons_at_once_each_get_their_own_samples() -> None:
    density = Gaussian(1, 4, hidden=[])
    features = torch.linspace(-1, 1, 5)[:, None]
    with torch.no_grad():
        density.network[-1].weight[:4] = 1.0  # the mean in z is the feature
        density.network[-1].bias[4:8] = np.log(0.1)
        distribution = density.posterior(features)
    state = torch.get_rng_state()
    samples = draw(distribution, BOX, 1000, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert samples.shape == (5, 1000, 4) and np.array_equal(samples, draw(distribution, BOX, 1000, seed=1))
    z = BOX.to_unconstrained(torch.from_numpy(samples)).numpy()
    bound = stats.norm.isf(FALSE_ALARM / 20 / 2) * 0.1 / np.sqrt(1000)
    assert np.abs(z.mean(1) - features.numpy()).max() < bound

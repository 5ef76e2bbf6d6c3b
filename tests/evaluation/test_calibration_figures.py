"""The figures of calibration draw what is honest beside what was found."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from neuroinf.evaluation.calibration_figures import drawn
from neuroinf.evaluation.estimates import Estimates
from neuroinf.priors import Prior

N, S = 300, 99


def figures(prior: Prior, width: float) -> dict[str, Figure]:
    """Of a posterior that is normal in z, with standard deviation 0.1, stated `width` times as wide; 10 rows unknown."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 4))
    mean = (z + 0.1 * rng.normal(size=z.shape)) / 1.01
    sd = width * 0.1 / np.sqrt(1.01)
    samples = mean[:, None] + sd * rng.normal(size=(N, S, 4))
    log_prob, of_samples = (stats.norm.logpdf(at, loc, sd).sum(-1) for at, loc in ((z, mean), (samples, mean[:, None])))
    theta, answers = prior.from_unit(stats.norm.cdf(z)), prior.from_unit(stats.norm.cdf(samples))
    answers[:10], of_samples[:10] = np.nan, np.nan
    estimates = Estimates("network", answers.mean(1), answers, None, log_prob, 0.1, of_samples)
    return {name: figure for name, _, figure in drawn(theta, estimates, prior)}


def outside(figure: Figure) -> list[bool]:
    """Whether the found line leaves the widest band, panel by panel."""
    left = []
    for axes in figure.axes:
        band = axes.collections[0].get_paths()[0].vertices
        line = next(line for line in axes.lines if len(line.get_xdata()) > 3)
        x, y = (np.asarray(values, float) for values in line.get_data())
        low, high = (np.array([f(band[np.isclose(band[:, 0], at), 1]) for at in x]) for f in (np.min, np.max))
        left.append(bool(((y < low - 1e-9) | (y > high + 1e-9)).any()))
    return left


@pytest.mark.parametrize(("width", "rejected"), [(1.0, False), (0.5, True), (2.0, True)])
def test_line_leaves_the_band_where_the_posterior_is_dishonest(prior: Prior, width: float, rejected: bool) -> None:
    """Half or twice the width: at the quartiles of 290 ranks the fraction is off by at least 0.11, four standard
    deviations, and more in the joint regions."""
    found = figures(prior, width)
    assert list(found) == ["sbc", "joint_coverage", "contraction"]
    assert outside(found["sbc"]) == [rejected] * 4
    assert outside(found["joint_coverage"]) == [rejected] * 2
    for figure in found.values():
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
        assert figure._suptitle is not None and "network" in figure._suptitle.get_text()
    for axes in found["contraction"].axes:
        assert "posterior = prior" in [line.get_label() for line in axes.lines]
        assert len(axes.lines[-1].get_xdata()) == N - 10


def test_without_samples_there_is_nothing_to_draw(prior: Prior) -> None:
    theta = prior.sample(N, np.random.default_rng(1))
    assert drawn(theta, Estimates("point", theta), prior) == []
    assert drawn(theta, Estimates("silent", theta, np.full((N, S, 4), np.nan)), prior) == []

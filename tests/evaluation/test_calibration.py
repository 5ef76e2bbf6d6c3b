"""Each diagnostic accepts an honest posterior and rejects a biased, a narrow and a wide one."""

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation.calibration import coverage, coverage_curve, coverage_p, sbc_p, sbc_ranks

N, S = 600, 199
BAD = {"biased": (0.5, 1.0), "narrow": (0.0, 0.6), "wide": (0.0, 1.7)}


def gaussian_posterior(
    rng: np.random.Generator, n: int = N, shift: float = 0.0, width: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Truth ~ N(0, 1), datum ~ N(truth, 0.5^2): the posterior is known. `shift` and `width` are in units of its sd."""
    truth = rng.normal(size=(n, 2))
    datum = truth + 0.5 * rng.normal(size=(n, 2))
    sd = np.sqrt(0.25 / 1.25)
    mean = datum / 1.25 + shift * sd
    return truth, mean[:, None] + width * sd * rng.normal(size=(n, S, 2))


def test_an_honest_posterior_is_accepted() -> None:
    truth, samples = gaussian_posterior(np.random.default_rng(0))
    assert (sbc_p(truth, samples) >= 1e-4).all()
    for level in (0.5, 0.9):
        assert (coverage_p(coverage(truth, samples, level), N, level) >= 1e-4).all()


@pytest.mark.parametrize("kind", BAD)
def test_a_dishonest_posterior_is_rejected(kind: str) -> None:
    shift, width = BAD[kind]
    truth, samples = gaussian_posterior(np.random.default_rng(1), shift=shift, width=width)
    assert (sbc_p(truth, samples) < 1e-4).all()
    assert (coverage_p(coverage(truth, samples, 0.9), N, 0.9) < 1e-4).all() or kind == "biased"


@pytest.mark.parametrize(("kind", "too_low"), [("narrow", True), ("wide", False), ("biased", True)])
def test_coverage_is_what_the_normal_distribution_says(kind: str, too_low: bool) -> None:
    shift, width = BAD[kind]
    truth, samples = gaussian_posterior(np.random.default_rng(2), shift=shift, width=width)
    half = stats.norm.isf(0.05) * width
    expected = stats.norm.cdf(half + shift) - stats.norm.cdf(-half + shift)
    assert (expected < 0.9) == too_low
    seen = coverage(truth, samples, 0.9)
    # the interval's ends are themselves estimated from 199 samples: sd of a 5 % quantile is about 0.15 sd of the
    # posterior, which costs less than 0.01 of coverage
    spread = stats.norm.isf(0.25e-4) * np.sqrt(expected * (1 - expected) / N)
    assert seen == pytest.approx([expected, expected], abs=spread + 0.01)


def test_p_values_are_uniform_for_honest_posteriors() -> None:
    """False alarms at their nominal rate: 300 x 2 p-values, their number below 0.05 within a binomial bound (1e-4)."""
    rng = np.random.default_rng(3)
    p = np.concatenate([sbc_p(*gaussian_posterior(rng, n=200)) for _ in range(300)])
    low, high = stats.binom.ppf([0.5e-4, 1 - 0.5e-4], len(p), 0.05)
    assert low <= (p < 0.05).sum() <= high


def test_coverage_is_exact_by_counting_ranks() -> None:
    """One truth at each possible rank: the middle 90 % of the 200 ranks lie in the 90 % interval, and so on."""
    samples = np.tile(np.arange(1.0, S + 1)[None, :, None], (S + 1, 1, 1))
    truth = np.arange(S + 1)[:, None] + 0.5
    assert sbc_ranks(truth, samples)[:, 0].tolist() == list(range(S + 1))
    assert coverage_curve(truth, samples, [0.5, 0.9])[:, 0] == pytest.approx([0.5, 0.9], abs=1 / (S + 1))
    assert sbc_p(truth, samples)[0] == pytest.approx(1.0)


def test_too_few_rows_say_nothing_and_unanswered_rows_are_left_out() -> None:
    truth, samples = gaussian_posterior(np.random.default_rng(4))
    assert np.isnan(sbc_p(truth[:39], samples[:39])).all()
    holes = samples.copy()
    holes[:100] = np.nan
    assert coverage(truth, holes).tolist() == coverage(truth[100:], samples[100:]).tolist()
    assert np.isnan(coverage(truth, np.full_like(samples, np.nan))).all()
    with pytest.raises(ValueError, match="expected truth"):
        coverage(truth, samples[:, :, :1])
    with pytest.raises(ValueError, match="levels"):
        coverage(truth, samples, 1.0)

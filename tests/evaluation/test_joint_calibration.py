"""Expected coverage, TARP, contraction, z-score and C2ST: right on what is right, and what each must and cannot see.

Truth ~ N(0, I) in P dimensions, datum ~ N(truth, 0.25 I): the posterior is known, and so is how far a posterior that is
shifted, too narrow or too wide is off. Every test accepts or rejects at 1e-4.
"""

import time

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation.calibration import (
    c2st,
    contraction,
    ecdf_p,
    expected_coverage,
    sbc_p,
    sbc_ranks,
    tarp,
    z_score,
)

N, S, P = 600, 199, 2
FALSE_ALARM = 1e-4
SD = np.sqrt(0.25 / 1.25)
# shift and width in posterior standard deviations
BAD = {"biased": (1.0, 1.0), "narrow": (0.0, 0.7), "wide": (0.0, 1.4)}

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def conjugate(rng: np.random.Generator, shift: float = 0.0, width: float = 1.0, n: int = N) -> Case:
    """Truth (n, P), samples (n, S, P), and the log-densities of both under the stated posterior."""
    truth = rng.normal(size=(n, P))
    mean = (truth + 0.5 * rng.normal(size=(n, P))) / 1.25 + shift * SD
    samples = mean[:, None] + width * SD * rng.normal(size=(n, S, P))
    log_prob, sample_log_prob = (
        stats.norm.logpdf(theta, loc, width * SD).sum(axis=-1)
        for theta, loc in ((truth, mean), (samples, mean[:, None]))
    )
    return truth, samples, log_prob, sample_log_prob


def is_prior(rng: np.random.Generator) -> Case:
    """Posterior := prior: nothing learnt, and nothing wrong."""
    truth, samples = rng.normal(size=(N, P)), rng.normal(size=(N, S, P))
    return truth, samples, stats.norm.logpdf(truth).sum(-1), stats.norm.logpdf(samples).sum(-1)


def p_values(case: Case) -> dict[str, float]:
    truth, samples, log_prob, sample_log_prob = case
    return {
        "sbc": float(ecdf_p(sbc_ranks(truth, samples), S).min()),
        "highest density": expected_coverage(log_prob, sample_log_prob)[2],
        "tarp": tarp(truth, samples, np.random.default_rng(100))[2],
    }


@pytest.mark.parametrize("make", [conjugate, is_prior])
def test_what_is_right_is_accepted(make) -> None:
    assert all(p >= FALSE_ALARM for p in p_values(make(np.random.default_rng(0))).values())


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_rejected(kind: str) -> None:
    """Each by many standard deviations.

    The ranks' distribution function at 1/4, 1/2, 3/4 has a standard deviation of at most 0.02 (N = 600). SBC: a shift
    of 1 sd moves the fraction below the median from 0.50 to 0.84; sd 0.7 that in the middle half from 0.50 to 0.36, and
    1.4 to 0.66. Highest density: the fraction in the 50 % region is 0.29, 0.29 and 0.74. TARP sees a ball around a point
    some 1.4 sd away instead, thus less of it: the sizes here are those that it rejects in 99.9 % of draws.
    """
    p = p_values(conjugate(np.random.default_rng(1), *BAD[kind]))
    assert all(value < FALSE_ALARM for value in p.values()), p


@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), *BAD.values()])
def test_expected_coverage_is_what_theory_says(shift: float, width: float) -> None:
    """The region of credibility a is a disc; the truth's distance in it is noncentral chi-squared."""
    _, _, log_prob, sample_log_prob = conjugate(np.random.default_rng(2), shift, width)
    levels, fraction, _ = expected_coverage(log_prob, sample_log_prob)
    squared = stats.chi2.ppf(levels, P) * width**2
    expected = stats.ncx2.cdf(squared, P, P * shift**2) if shift else stats.chi2.cdf(squared, P)
    # the samples' own noise blurs a level by sqrt(a (1 - a) / S) <= 0.036: its second-order effect is below 0.005
    low, high = stats.binom.ppf([[FALSE_ALARM / 200], [1 - FALSE_ALARM / 200]], N, expected) / N
    assert ((fraction >= low - 0.005) & (fraction <= high + 0.005)).all()


@pytest.mark.parametrize("test", ["highest density", "tarp"])
def test_false_alarms_at_their_nominal_rate(test: str) -> None:
    """200 p-values of honest posteriors: those below 0.05 within a binomial bound (1e-4)."""
    rng, p = np.random.default_rng(3), []
    for _ in range(200):
        truth, samples, log_prob, sample_log_prob = conjugate(rng, n=150)
        curve = expected_coverage(log_prob, sample_log_prob) if test == "highest density" else tarp(truth, samples, rng)
        p.append(curve[2])
    assert int((np.array(p) <= 0.05).sum()) <= stats.binom.isf(FALSE_ALARM, len(p), 0.05)


def test_references_on_one_side_see_a_small_shift() -> None:
    """0.3 sd in each parameter is 0.42 sd along the diagonal: the fraction nearer than the median is 0.34, not 0.50,
    8 standard deviations. References all around see a spread wider by sqrt(1 + 0.3^2) only, 1.5 standard deviations."""
    truth, samples, _, _ = conjugate(np.random.default_rng(4), shift=0.3)
    rng = np.random.default_rng(0)
    assert tarp(truth, samples, rng)[2] >= FALSE_ALARM
    assert tarp(truth, samples, rng, np.full_like(truth, 20.0))[2] < FALSE_ALARM


def test_blind_spot_the_prior_as_posterior() -> None:
    """Ranks accept it, whatever the test; contraction tells it apart, and so do references that look at the data."""
    rng = np.random.default_rng(5)
    truth, samples, log_prob, sample_log_prob = is_prior(rng)
    assert all(p >= FALSE_ALARM for p in p_values((truth, samples, log_prob, sample_log_prob)).values())
    nothing = contraction(truth, samples, np.ones(P)).mean(axis=0)
    learnt = contraction(*conjugate(rng)[:2], np.ones(P)).mean(axis=0)
    # of a variance estimated from S samples the relative sd is sqrt(2 / S) = 0.1, over N rows 0.004: ten of these
    assert nothing == pytest.approx([0.0] * P, abs=0.04)
    assert learnt == pytest.approx([1 - SD**2] * P, abs=0.04)
    datum = truth + 0.5 * rng.normal(size=truth.shape)
    assert tarp(truth, samples, rng, references=datum)[2] < FALSE_ALARM


def test_blind_spot_of_one_parameter_at_a_time() -> None:
    """A posterior whose correlation of 0.9 is lost: each parameter alone is right, both together are not."""
    rng = np.random.default_rng(6)
    factor = np.linalg.cholesky([[1.0, 0.9], [0.9, 1.0]])
    truth, samples = rng.normal(size=(N, P)) @ factor.T, rng.normal(size=(N, S, P))
    log_prob, sample_log_prob = (stats.norm.logpdf(theta).sum(axis=-1) for theta in (truth, samples))
    assert (sbc_p(truth, samples) >= FALSE_ALARM).all()
    assert expected_coverage(log_prob, sample_log_prob)[2] < FALSE_ALARM
    # all around, too wide in some directions makes up for too narrow in others; along the diagonal it does not
    assert tarp(truth, samples, rng)[2] >= FALSE_ALARM
    assert tarp(truth, samples, rng, np.full_like(truth, 20.0))[2] < FALSE_ALARM


@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), *BAD.values()])
def test_z_score_has_the_stated_moments(shift: float, width: float) -> None:
    """Normal with mean shift / width and sd 1 / width: mean and mean square within 3.9 standard errors (1e-4)."""
    z = z_score(*conjugate(np.random.default_rng(7), shift, width)[:2])
    mean, sd = shift / width, 1 / width
    bound = stats.norm.isf(FALSE_ALARM / 2 / P)
    assert z.mean(axis=0) == pytest.approx([mean] * P, abs=bound * sd / np.sqrt(N) + 0.01)
    assert z.var(axis=0) == pytest.approx([sd**2] * P, rel=bound * np.sqrt(2 / N) + 0.02)


SETS = {
    "same": (0.0, 1.0, 0.5),
    # two normals d apart are told with accuracy Phi(d / 2)
    "shifted": (0.5, 1.0, stats.norm.cdf(0.25 * np.sqrt(6))),
    # of two spheres of sd 1 and s, by the radius at which the densities are equal
    **{
        name: (
            0.0,
            s,
            (lambda q, s: 0.5 + 0.5 * abs(stats.chi2.cdf(q / s**2, 6) - stats.chi2.cdf(q, 6)))(
                12 * np.log(s) / (1 - s**-2), s
            ),
        )
        for name, s in (("narrow", 0.6), ("wide", 1.6))
    },
}


@pytest.mark.parametrize("kind", SETS)
def test_c2st_comes_near_the_best_accuracy_that_there_is(kind: str) -> None:
    """6-D, 1,000 samples each: within 3.9 binomial standard deviations (1e-4), and 0.05 below for what is not learnt."""
    shift, width, best = SETS[kind]
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(1000, 6)), shift + width * rng.normal(size=(1000, 6))
    begin = time.process_time()
    accuracy = c2st(a, b, rng)
    noise = stats.norm.isf(FALSE_ALARM / 2) * np.sqrt(best * (1 - best) / 2000)
    assert best - noise - (0.05 if kind != "same" else 0) <= accuracy <= best + noise
    assert time.process_time() - begin < 5  # 0.4 s of work, and scikit-learn's import


def test_c2st_is_the_same_for_the_same_generator() -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(2, 200, 3))
    assert c2st(a, b, np.random.default_rng(1)) == c2st(a, b, np.random.default_rng(1))
    assert c2st(a, np.where([[True, False, False]], a, a), np.random.default_rng(1)) < 0.6
    with pytest.raises(ValueError, match="as many"):
        c2st(a, b[:100], rng)


def test_rows_without_an_answer_are_left_out() -> None:
    truth, samples, log_prob, sample_log_prob = conjugate(np.random.default_rng(10))
    samples[:100], log_prob[:100] = np.nan, np.nan
    assert tarp(truth, samples, np.random.default_rng(0))[1] == pytest.approx(
        tarp(truth[100:], samples[100:], np.random.default_rng(0))[1]
    )
    unknown = np.where(np.arange(N)[:, None] < 200, np.nan, 20.0) * np.ones(P)
    assert tarp(truth, samples, np.random.default_rng(0), unknown)[1] == pytest.approx(
        tarp(truth[200:], samples[200:], np.random.default_rng(0), unknown[200:])[1]
    )
    assert expected_coverage(log_prob, sample_log_prob)[1] == pytest.approx(
        expected_coverage(log_prob[100:], sample_log_prob[100:])[1]
    )
    assert np.isnan(z_score(truth, samples)[:100]).all() and np.isfinite(z_score(truth, samples)[100:]).all()
    assert np.isnan(contraction(truth, samples)[:100]).all()
    nothing = tarp(truth, np.full_like(samples, np.nan), np.random.default_rng(0))
    assert np.isnan(nothing[2]) and np.isnan(nothing[1]).all()
    with pytest.raises(ValueError, match="log-densities"):
        expected_coverage(log_prob, sample_log_prob[:10])

"""The band of ranks and its p-value are exact: against enumeration of all cases, and by their false-alarm rate."""

import itertools

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation.uniformity import ecdf, ecdf_bands, ecdf_p


def every_case(n: int, s: int) -> tuple[np.ndarray, np.ndarray]:
    """All ways in which n ranks can fall on 0 to s, as (n, cases), each of the same probability; and their p-values."""
    ranks = np.array(list(itertools.product(range(s + 1), repeat=n))).T
    return ranks, ecdf_p(ranks, s)


@pytest.mark.parametrize(("n", "s"), [(1, 1), (3, 2), (5, 3), (4, 6)])
def test_p_is_exact_by_enumeration(n: int, s: int) -> None:
    """p is the fraction of all equally probable cases with so small a p: its definition, discreteness included."""
    _, p = every_case(n, s)
    for value in np.unique(p.round(9)):
        assert (p <= value + 1e-8).mean() == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_band_is_the_narrowest_that_holds_its_level(level: float) -> None:
    """Of 7 ^ 5 cases at least `level` stay inside; and the band excludes exactly the cases of the smallest p."""
    ranks, p = every_case(5, 6)
    z, low, high = ecdf_bands(5, 6, level)
    points, fraction = ecdf(ranks, 6)
    assert points == pytest.approx(z)
    inside = ((fraction >= low[:, None] - 1e-9) & (fraction <= high[:, None] + 1e-9)).all(axis=0)
    assert inside.mean() >= level
    assert p[~inside].max(initial=0.0) < p[inside].min()
    # one more case shut out would be one too many
    assert (p > p[inside].min() + 1e-9).mean() < level


@pytest.mark.parametrize(("n", "s"), [(40, 9), (600, 199), (1000, 1000)])
def test_false_alarms_at_their_nominal_rate(n: int, s: int) -> None:
    """At most the nominal rate, within a binomial bound (1e-4), and not much less where ranks are many."""
    trials = 1000
    ranks = np.random.default_rng(n).integers(0, s + 1, (n, trials))
    z, low, high = ecdf_bands(n, s, 0.95)
    fraction = ecdf(ranks, s)[1]
    outside = ((fraction < low[:, None] - 1e-9) | (fraction > high[:, None] + 1e-9)).any(axis=0)
    p = ecdf_p(ranks, s)
    assert np.array_equal(outside, p < p[~outside].min())
    for alarms in (int(outside.sum()), int((p <= 0.05).sum())):
        assert alarms <= stats.binom.isf(1e-4, trials, 0.05)
        assert n < 500 or alarms >= stats.binom.ppf(1e-4, trials, 0.04)
    assert len(z) == min(s, 100)


def test_many_ranks_and_certain_rejection() -> None:
    """100,000 uniform ranks pass; the same with one in a hundred moved to 0 do not (10 standard deviations there)."""
    ranks = np.random.default_rng(1).integers(0, 100, 100_000)
    assert ecdf_p(ranks, 99) >= 1e-4
    ranks[:1000] = 0
    assert ecdf_p(ranks, 99) < 1e-4


def test_what_is_no_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="ranks from 0 to 9"):
        ecdf(np.array([0, 10]), 9)
    with pytest.raises(ValueError, match="found none"):
        ecdf_p(np.array([], dtype=int), 9)
    with pytest.raises(ValueError, match="level"):
        ecdf_bands(10, 9, 1.0)

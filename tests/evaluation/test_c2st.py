"""The benchmark's classifier two-sample test: accepts what is equal, rejects what is shifted, narrow or correlated."""

import math

import numpy as np
import pytest
from scipy import stats

from neuroinf.errors import InputError
from neuroinf.evaluation.c2st import benchmark_c2st, best_accuracy

N, P = 500, 2
# accuracy of guessing on 2 N rows, each tested once: sd sqrt(1 / (4 * 2 N)); folds share training rows, hence twice that
CHANCE = 2 * stats.norm.isf(0.5e-4) * math.sqrt(1 / (8 * N))


def normal(seed: int, scale: float = 1.0, shift: float = 0.0, r: float = 0.0) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((N, P))
    draws[:, 1] = r * draws[:, 0] + math.sqrt(1 - r**2) * draws[:, 1]
    return shift + scale * draws


def test_equal_distributions_are_not_told_apart() -> None:
    assert abs(benchmark_c2st(normal(0), normal(1)) - 0.5) < CHANCE


@pytest.mark.parametrize(
    ("other", "best"),
    [
        # the best accuracy there is, 1/2 + TV/2: Phi(d / 2) for a shift by d standard deviations
        (normal(1, shift=1.0), stats.norm.cdf(math.sqrt(P) / 2)),
        # N(0, 1/4) and N(0, 1) in the plane have equal density at the squared radius c = 4/3 log 2
        (normal(1, scale=0.5), 0.5 + 0.5 * (math.exp(-2 / 3 * math.log(2)) - math.exp(-8 / 3 * math.log(2)))),
        # only a classifier that sees products of coordinates can tell these: N(0, S) with correlation 0.9
        (normal(1, r=0.9), None),
    ],
    ids=["shifted", "narrow", "correlated"],
)  # fmt: skip
def test_others_are_told_apart_nearly_as_well_as_can_be(other: np.ndarray, best: float | None) -> None:
    found = benchmark_c2st(normal(0), other)
    if best is None:
        assert found > 0.65
    else:
        assert best - 0.03 - CHANCE < found < best + CHANCE


def test_units_do_not_matter_and_neither_does_the_state_outside() -> None:
    """Powers of two: z-scores are then the same to the last bit."""
    scale = np.array([2.0**10, 2.0**-7])
    a, b = normal(0)[:200], normal(1, shift=1.0)[:200]
    np.random.seed(5)  # noqa: NPY002
    assert benchmark_c2st(a, b) == benchmark_c2st(a * scale, b * scale)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((50, 2)), np.zeros((40, 2)), "as many"),
        (np.zeros((50, 2)), np.zeros((50, 3)), "as many"),
        (np.full((50, 2), math.nan), np.zeros((50, 2)), "finite"),
        (np.zeros((50, 2)), np.ones((50, 2)), "varies"),
        (np.zeros((4, 2)), np.ones((4, 2)), "at least 10"),
    ],
)
def test_bad_input(a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        benchmark_c2st(a, b)


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_the_best_accuracy_needs_no_normalised_target(shift: float) -> None:
    """Phi(|d| / 2) for normal densities d apart.

    Error: of the mean of n = 4,000 terms in [0, 1], halved, sd at most 1 / (4 sqrt(n)) = 0.004; of log Z, in which the accuracy
    has a slope of at most 1/2, sqrt((exp(d^2) - 1) / n) as importance weights of normals have it. A false alarm in 1e4 at 3.9 sd.
    """
    n, rng = 4000, np.random.default_rng(6)
    reference, samples = rng.standard_normal(n), shift + rng.standard_normal(n)
    target = [-0.5 * np.square(x) + 17.0 for x in (reference, samples)]
    density = [stats.norm.logpdf(x, shift) for x in (reference, samples)]
    found = best_accuracy(target[0], density[0], target[1], density[1])
    error = 3.9 * math.hypot(1 / (4 * math.sqrt(n)), 0.5 * math.sqrt(math.expm1(shift**2) / n))
    assert abs(found - stats.norm.cdf(shift / 2)) < error
    if shift == 0:
        assert found == pytest.approx(0.5, abs=1e-12)

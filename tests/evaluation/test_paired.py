"""A comparison of two methods is made in words only where the neurons are enough to make it."""

import numpy as np
import pytest

from neuroinf.evaluation.paired import FEWEST, paired
from neuroinf.priors import Parameter, Prior

BOX = Prior({name: Parameter("1", 0.0, 1.0) for name in ("a", "b", "c")})


def answers(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, and two answers: the second is better for a, worse for b and as good for c."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.3, 0.7, (n, 3))
    one = truth + np.array([0.05, 0.01, 0.03]) * rng.standard_normal((n, 3))
    other = truth + np.array([0.01, 0.05, 0.03]) * rng.standard_normal((n, 3))
    return truth, one, other


def test_a_difference_is_found_on_the_neurons_that_both_answered() -> None:
    truth, one, other = answers(120)
    one[40:] = np.nan
    other[:10] = np.nan
    found = paired(truth, one, other, BOX, np.random.default_rng(1))
    assert found["n"] == 30
    assert found["p"]["a"] < 1e-4 and found["nrmse_other"]["a"] < found["nrmse"]["a"]
    assert found["p"]["b"] < 1e-4 and found["nrmse_other"]["b"] > found["nrmse"]["b"]
    assert found["p"]["c"] > 1e-4
    both = slice(10, 40)
    assert found["nrmse"]["a"] == pytest.approx(np.sqrt(np.mean((one - truth)[both, 0] ** 2)))


def test_few_neurons_decide_nothing() -> None:
    truth, one, other = answers(FEWEST - 1)
    found = paired(truth, one, other, BOX, np.random.default_rng(1))
    assert found["n"] == FEWEST - 1 and all(np.isnan(p) for p in found["p"].values())
    # 2 / 2^n is what chance alone gives n neurons that all say the same
    assert 2 / 2**FEWEST < 1e-4 <= 2 / 2 ** (FEWEST - 1)


def test_the_same_answers_do_not_differ() -> None:
    truth, one, _ = answers(50)
    assert set(paired(truth, one, one, BOX, np.random.default_rng(1))["p"].values()) == {1.0}


def test_false_alarms_are_as_often_as_stated() -> None:
    """Answers alike but for chance: p is at most 0.05 with probability 0.05; 600 draws, bound of 1e-4 (binomial): 52."""
    low = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = np.full((20, 3), 0.5)
        one, other = (truth + 0.1 * rng.standard_t(3, (20, 3)) for _ in range(2))
        found = paired(truth, one, other, BOX, rng, permutations=199)
        low += sum(p <= 0.05 for p in found["p"].values())
    assert low <= 52

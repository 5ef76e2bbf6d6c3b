"""Scores of a folded sign: an exact posterior stays exact, and pretending to know the sign is told."""

import math

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation.calibration import coverage, coverage_p, ecdf_p, sbc_ranks
from neuroinf.evaluation.comparison import Condition, run
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.metrics import method_metrics
from neuroinf.evaluation.symmetry import bimodal, fold_comparison, fold_estimates, sign_scores
from neuroinf.evaluation.verdict import known_signs
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM
from neuroinf.symmetry import SignSymmetry

PRIOR = Prior({"w_1": Parameter("1", -1.0, 1.0), "b": Parameter("1", -1.0, 1.0), "w_hidden": Parameter("1", -0.5, 0.5)})
NEURON = GLM(inputs=1, hidden=1)
CONDITION = Condition("as trained", {})


@pytest.fixture(scope="module")
def symmetry() -> SignSymmetry:
    return SignSymmetry.of(NEURON, PRIOR)


def answers(n: int, rng: np.random.Generator, narrow: float = 1.0) -> tuple[np.ndarray, Estimates]:
    """Exact posteriors of w from data that do not know its sign: |w| + noise is seen; by inversion."""
    truth = PRIOR.sample(n, rng)
    seen = np.abs(truth[:, 2]) + 0.05 * rng.standard_normal(n)
    low, high = stats.norm.cdf(-seen / 0.05), stats.norm.cdf((0.5 - seen) / 0.05)
    u = low[:, None] + (high - low)[:, None] * rng.random((n, 400))
    size = seen[:, None] + 0.05 * stats.norm.ppf(u)
    size = np.median(size, axis=1, keepdims=True) + narrow * (size - np.median(size, axis=1, keepdims=True))
    samples = rng.uniform(-1, 1, (n, 400, 3))
    samples[:, :, 2] = np.where(rng.random((n, 400)) < 0.5, size, -size)
    return truth, Estimates("amortized", samples.mean(axis=1), samples)


def test_an_exact_bimodal_posterior_passes_folded_and_a_narrow_one_does_not(symmetry: SignSymmetry) -> None:
    """Each test rejects an exact posterior with probability 1e-4."""
    rng = np.random.default_rng(2)
    for narrow, honest in ((1.0, True), (0.5, False)):
        truth, estimates = answers(1000, rng, narrow)
        folded = fold_estimates(symmetry, estimates)
        assert folded.samples is not None
        size = symmetry.fold(truth)
        fraction = coverage(size, folded.samples, 0.9)
        assert (ecdf_p(sbc_ranks(size, folded.samples), 400)[2] >= 1e-4) == honest
        assert (coverage_p(fraction, 1000)[2] >= 1e-4) == honest
    # the fold leaves the parameters alone that have a sign
    assert estimates.samples is not None
    assert (folded.samples[:, :, :2] == estimates.samples[:, :, :2]).all() and (size[:, :2] == truth[:, :2]).all()


def test_scores_are_of_the_size(symmetry: SignSymmetry) -> None:
    """The mean of a bimodal posterior is 0 and says nothing; that of its fold explains the size."""
    truth, estimates = answers(500, np.random.default_rng(3))
    comparison = run({"amortized": lambda x, c: estimates}, lambda c: np.zeros((500, 1, 5)), truth, PRIOR, [CONDITION])
    raw, folded = (part.metrics(CONDITION) for part in (comparison, fold_comparison(symmetry, comparison)))
    assert raw["amortized"] is not None and folded["amortized"] is not None and folded["prior_mean"] is not None
    assert raw["amortized"]["r2"]["w_hidden"] < 0.1
    # the noise's variance over that of |w|, 0.05^2 / (0.5^2 / 12) = 0.12
    assert folded["amortized"]["r2"]["|w_hidden|"] > 0.8
    # the folded prior's mean is a quarter, not |0|: its error is that of a uniform variable, 1 / sqrt(12) of the range
    assert folded["prior_mean"]["nrmse"]["|w_hidden|"] == pytest.approx(1 / math.sqrt(12), rel=0.1)
    reference = method_metrics(fold_estimates(symmetry, estimates), symmetry.fold(truth), symmetry.folded)
    assert folded["amortized"]["sbc_p"] == reference["sbc_p"]


def test_sign_scores_accept_ignorance_and_reject_pretence() -> None:
    rng = np.random.default_rng(4)
    n, s = 1000, 500
    truth = rng.uniform(-1, 1, n)
    size = np.abs(truth)[:, None] * (1 + 0.02 * rng.standard_normal((n, s)))
    ignorant = sign_scores(truth, size * rng.choice([-1, 1], (n, s)))
    assert ignorant["undecided"] == pytest.approx(1.0, abs=0.01) and ignorant["bimodal"] == 1.0
    assert ignorant["brier"] == pytest.approx(0.25, abs=0.005)
    pretending = sign_scores(truth, size * rng.choice([-1, 1], (n, 1)))
    assert pretending["brier"] == pytest.approx(0.5, abs=0.07) and pretending["bimodal"] == 0  # 4 binomial sd: 0.063
    knowing = sign_scores(truth, size * np.sign(truth)[:, None])
    assert knowing["right"] == 1 and knowing["brier"] == 0 and knowing["probability"] == 1
    nothing = sign_scores(truth, np.full((n, s), math.nan))
    assert nothing["n"] == 0 and math.isnan(nothing["brier"])

    def sentence(entry: dict[str, float]) -> str:
        return " ".join(known_signs({"symmetries": {"w_hidden": {"amortized": entry}}}, "amortized"))

    assert "is not known, and the network says so" in sentence(ignorant)
    assert "too sure of the sign of w_hidden" in sentence(pretending)
    assert "is known in part: the likelier sign is the true one for 100 %" in sentence(knowing)


@pytest.mark.parametrize(
    ("shape", "expected"), [("normal", False), ("uniform", False), ("one side", False), ("two", True), ("uneven", True)]
)
def test_two_modes(shape: str, expected: bool) -> None:
    rng = np.random.default_rng(5)
    e = rng.standard_normal((50, 1000))
    right = rng.random((50, 1000)) < (0.8 if shape == "uneven" else 0.5)
    samples = {
        "normal": e,
        "uniform": rng.uniform(-1, 1, e.shape),
        "one side": 5 + e,
        "two": np.where(right, 3 + e, -3 - e),
        "uneven": np.where(right, 4 + e, -4 - e),
    }[shape]
    assert (bimodal(samples) == expected).all()

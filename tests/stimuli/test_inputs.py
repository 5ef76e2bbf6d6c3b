"""Inputs without memory, stacks and given waveforms: each against its law, pair by pair of entries."""

import math
from itertools import pairwise

import numpy as np
import pytest
from input_designs import FALSE_ALARM, draws, rng, scaled_error, table_agrees
from numpy.typing import NDArray
from scipy import special, stats

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.specification import specify
from neuroinf.stimuli import (
    BernoulliInputs,
    CoxInputs,
    GaussianInputs,
    Given,
    Modes,
    OrnsteinUhlenbeck,
    PoissonInputs,
    SourceMixture,
    Stack,
    Stimulus,
)

FloatArray = NDArray[np.float64]
MATRIX = [[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]]
HIDDEN = OrnsteinUhlenbeck(200.0, mean=0.0, sd=1.0, tau=10.0, unit="1")
ALL: list[Stimulus] = [
    GaussianInputs(4, 200.0, sd=(0.5, 2.0), correlation=(0.0, 0.6)),
    GaussianInputs(3, 200.0, correlation=MATRIX),
    PoissonInputs(4, 200.0, rate=(0.5, 2.0), correlation=(0.0, 0.5)),
    PoissonInputs(4, 200.0, variable=True, standardised=True),
    BernoulliInputs(4, 200.0, probability=(0.05, 0.2), correlation=0.3),
    CoxInputs(4, 200.0, correlation=(0.0, 0.15)),
    CoxInputs(3, 200.0, rates=[10.0, 20.0, 30.0], cv=[0.5, 1.0, 1.5], correlation=0.4, of="rates", spikes="poisson"),
    SourceMixture(3, 200.0, rates=[10.0, 20.0, 30.0], correlation=0.2),
    Modes(4, 200.0, modes=2),
    Stack([PoissonInputs(3, 200.0), HIDDEN]),
]


def named(stimulus: Stimulus) -> str:
    return type(stimulus).__name__


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stimulus", ALL, ids=named)
def test_contract_and_reproducible_from_the_generator_alone(stimulus: Stimulus) -> None:
    generator = rng(3)
    state = generator.bit_generator.state
    first, second = stimulus.sample(generator), stimulus.sample(generator)
    assert isinstance(stimulus, Stimulus) and stimulus.unit == "1" and not stimulus.frozen
    assert first.shape == (stimulus.inputs, 200) and first.dtype == np.float64 and np.isfinite(first).all()
    generator.bit_generator.state = state
    assert (stimulus.sample(generator) == first).all() and (first != second).any()


@pytest.mark.parametrize("stimulus", [*ALL, Given([[1.0, 2.0], [3.0, 4.0]])], ids=named)
def test_made_again_from_its_specification(stimulus: Stimulus) -> None:
    again = build(specify(stimulus), Stimulus)
    assert type(again) is type(stimulus)
    assert (again.sample(rng(5)) == stimulus.sample(rng(5))).all()


@pytest.mark.parametrize("stimulus", ALL, ids=named)
def test_an_unknown_key_or_a_wrong_type_is_refused(stimulus: Stimulus) -> None:
    description = specify(stimulus)
    first = next(iter(description["init_args"]))
    for key, value in {"rat": 1.0, first: "many"}.items():
        with pytest.raises(InputError, match=r"rat|many|components"):
            build({**description, "init_args": {**description["init_args"], key: value}}, Stimulus)


# -- Gaussian ----------------------------------------------------------------------------------------------------------

NEGATIVE = [[1.0, -0.9, -0.9], [-0.9, 1.0, -0.9], [-0.9, -0.9, 1.0]]


@pytest.mark.parametrize(
    ("correlation", "design"),
    [
        (0.0, np.eye(3)),
        (0.5, 0.5 + 0.5 * np.eye(3)),
        (-0.5, -0.5 + 1.5 * np.eye(3)),  # singular: the most negative coefficient for three
        (MATRIX, np.array(MATRIX)),
        (NEGATIVE, -0.5 + 1.5 * np.eye(3)),  # nearest of its kind, by symmetry
    ],
)
def test_gaussian_inputs_have_their_covariance_in_every_direction(
    correlation: float | list[list[float]], design: FloatArray
) -> None:
    steps, sd = 20_000, 1.7
    x = GaussianInputs(3, steps, sd=sd, correlation=correlation, nearest=True).sample(rng())
    pairs = np.triu_indices(3, 1)
    axes = np.eye(3)
    directions = np.concatenate([axes, axes[pairs[0]] + axes[pairs[1]], axes[pairs[0]] - axes[pairs[1]]])
    # along u the steps are independent N(0, sd^2 u'Cu): their squares sum to chi2, whose quantiles are exact
    low, high = stats.chi2(steps).ppf([FALSE_ALARM / 2 / len(directions), 1 - FALSE_ALARM / 2 / len(directions)])
    for u in directions:
        variance = sd**2 * (u @ design @ u)
        assert low * variance - 1e-9 <= ((u @ x) ** 2).sum() <= high * variance + 1e-9
        # and one step says nothing of the next: given the first, the sum of products is normal
        if variance > 1e-9:
            y = u @ x / math.sqrt(variance)
            assert abs((y[:-1:2] * y[1::2]).sum()) < stats.norm.isf(FALSE_ALARM / 2) * math.sqrt((y[:-1:2] ** 2).sum())


def test_gaussian_ranges_are_drawn_for_each_waveform() -> None:
    x = draws(GaussianInputs(2, 2000.0, sd=(1.0, 3.0), correlation=(0.2, 0.8)), 400)
    # 2,000 steps make an estimate blurred by 1/sqrt(4000) of itself in sd and (1 - c^2) / sqrt(2000) in c: far below the
    # width of the range, so that the uniform law stands to within the test's power
    sd = np.sqrt((x**2).mean((1, 2)))
    c = (x[:, 0] * x[:, 1]).mean(1) / (x**2).mean((1, 2))
    assert stats.kstest(sd, stats.uniform(1, 2).cdf).pvalue > FALSE_ALARM
    assert stats.kstest(c, stats.uniform(0.2, 0.6).cdf).pvalue > FALSE_ALARM


# -- counts ------------------------------------------------------------------------------------------------------------


def binned(pmf: FloatArray) -> FloatArray:
    """A law cut after its first entries: the last one is "or more"."""
    return np.append(pmf[:-1], 1 - pmf[:-1].sum())


def poisson_pair(rate: float, c: float, most: int = 8) -> FloatArray:
    """P(a, b) of two counts that share a Poisson part, the last entries "or more"."""
    exact = np.zeros((60, 60))
    for shared in range(40):
        own = np.pad(stats.poisson.pmf(np.arange(60 - shared), (1 - c) * rate), (shared, 0))
        exact += stats.poisson.pmf(shared, c * rate) * np.outer(own, own)
    table = exact[: most + 1, : most + 1].copy()
    table[most, :most], table[:most, most] = exact[most:, :most].sum(0), exact[:most, most:].sum(1)
    table[most, most] = exact[most:, most:].sum()
    return table


@pytest.mark.parametrize(("rate", "c"), [(1.0, 0.0), (0.5, 0.3), (2.0, 0.8), (1.0, 1.0)])
def test_poisson_counts_have_their_joint_law(rate: float, c: float) -> None:
    x = PoissonInputs(3, 50_000.0, rate=rate, correlation=c).sample(rng())
    joint = poisson_pair(rate, c)
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert table_agrees(x[i], x[j], joint)
    marginal = binned(stats.poisson.pmf(np.arange(9), rate))
    assert table_agrees(x[0, :-1:2], x[0, 1::2], np.outer(marginal, marginal)), "steps must be independent"
    k = np.arange(60)
    pair = poisson_pair(rate, c, 59)
    covariance = k @ pair @ k - rate**2
    assert covariance == pytest.approx(c * rate), "the joint law itself has the correlation asked for"


@pytest.mark.parametrize("rate", [1.0, 4.0])
def test_variable_rates_are_drawn_for_each_entry(rate: float) -> None:
    x = PoissonInputs(2, 50_000.0, rate=rate, variable=True).sample(rng())
    # integral of a Poisson law over its mean from 0 to r: the regularised gamma function
    marginal = binned(special.gammainc(np.arange(12) + 1, rate) / rate)
    joint = np.outer(marginal, marginal)
    assert table_agrees(x[0], x[1], joint) and table_agrees(x[0, :-1:2], x[0, 1::2], joint)


@pytest.mark.parametrize("variable", [False, True])
def test_standardised_counts_are_the_same_counts_with_the_law_s_mean_and_variance(variable: bool) -> None:
    rate = 3.0
    plain = PoissonInputs(4, 1000.0, rate=rate, variable=variable)
    scaled = PoissonInputs(4, 1000.0, rate=rate, variable=variable, standardised=True)
    x, z = draws(plain, 400), draws(scaled, 400)
    slope = (z.max() - z.min()) / (x.max() - x.min())
    np.testing.assert_allclose(z, slope * (x - x.min()) + z.min(), atol=1e-9)
    assert scaled_error(z.mean(2), np.zeros(4)) < 1 and scaled_error((z**2).mean(2), np.ones(4)) < 1


@pytest.mark.parametrize(("p", "c"), [(0.1, 0.0), (0.1, 0.3), (0.5, 0.9), (0.3, 1.0)])
def test_bernoulli_inputs_have_their_joint_law(p: float, c: float) -> None:
    x = BernoulliInputs(3, 50_000.0, probability=p, correlation=c).sample(rng())
    assert set(np.unique(x)) <= {0.0, 1.0}
    both = p * p + c * p * (1 - p)
    joint = np.array([[1 - 2 * p + both, p - both], [p - both, both]])
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert table_agrees(x[i], x[j], joint)
    assert table_agrees(x[0, :-1:2], x[0, 1::2], np.outer([1 - p, p], [1 - p, p]))


# -- stack and given ---------------------------------------------------------------------------------------------------


def test_a_stack_has_its_components_rows_in_order_each_with_its_own_law() -> None:
    parts: list[Stimulus] = [PoissonInputs(2, 200.0), Given([[5.0] * 200]), HIDDEN]
    stack = Stack(parts)
    x = stack.sample(rng(1))
    generator = rng(1)
    assert stack.inputs == 4 and (x == np.concatenate([p.sample(generator) for p in parts])).all()
    hidden = draws(stack, 400)[:, 3]
    lag = np.stack([hidden[:, :-10] * hidden[:, 10:], hidden[:, :-10] ** 2]).mean(2).T
    assert scaled_error(lag, np.array([math.exp(-1), 1.0])) < 1, "an OU hidden input keeps its correlation time"
    assert Stack([Given([[1.0]]), Given([[2.0]])]).frozen and not stack.frozen


def test_a_given_waveform_is_always_the_same_and_cannot_be_damaged() -> None:
    stimulus = Given([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dt=2.0)
    first = stimulus.sample(rng())
    assert (stimulus.inputs, stimulus.duration, stimulus.unit, stimulus.frozen) == (2, 6.0, "1", True)
    first *= 0
    assert (stimulus.sample(rng()) == [[1, 2, 3], [4, 5, 6]]).all()


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianInputs(0, 100.0), "at least one input"),
        (lambda: GaussianInputs(3, 100.5), "whole number of steps"),
        (lambda: GaussianInputs(3, 100.0, sd=-1.0), "sd must lie within"),
        (lambda: GaussianInputs(3, 100.0, correlation=(0.5, 0.2)), "reversed range"),
        (lambda: GaussianInputs(3, 100.0, correlation=1.5), "correlation must lie within"),
        (lambda: GaussianInputs(3, 100.0, correlation=[[1.0, 0.2], [0.2, 1.0]]), r"must be \(3, 3\)"),
        (lambda: GaussianInputs(2, 100.0, correlation=[[1.0, 0.2], [0.2]]), "2 rows of 2 numbers"),
        (
            lambda: GaussianInputs(2, 100.0, correlation=[[1.0, 0.2], [0.3, 1.0]]),
            "symmetric, found 0.2 for inputs 1, 2",
        ),
        (
            lambda: GaussianInputs(2, 100.0, correlation=[[2.0, 0.2], [0.2, 1.0]]),
            "1 on the diagonal, found 2 at input 1",
        ),
        (lambda: GaussianInputs(2, 100.0, correlation=[[1.0, math.nan], [math.nan, 1.0]]), "finite"),
        (lambda: PoissonInputs(3, 100.0, rate=-1.0), "rate must lie within"),
        (lambda: PoissonInputs(3, 100.0, rate=(0.0, 1.0), standardised=True), "rate above 0"),
        (lambda: PoissonInputs(3, 100.0, variable=True, correlation=0.2), "no shared part"),
        (lambda: PoissonInputs(3, 100.0, correlation=-0.1), "correlation must lie within"),
        (lambda: BernoulliInputs(3, 100.0, probability=1.2), "probability must lie within"),
        (lambda: Stack([]), "at least one component"),
        (lambda: Stack([PoissonInputs(3, 100.0), PoissonInputs(3, 200.0)]), r"same duration, found \[100.0, 200.0\]"),
        (lambda: Stack([PoissonInputs(3, 100.0), OrnsteinUhlenbeck(100.0)]), "same unit"),
        (lambda: Given([]), "rows of numbers"),
        (lambda: Given([[1.0, 2.0], [3.0]]), r"equal length, found rows of length \[2, 1\]"),
        (lambda: Given([[1.0, math.inf]]), "found inf in row 1 at step 1"),
        (lambda: Given([[1.0]], dt=0.0), "dt must be positive"),
        (lambda: CoxInputs(3, 100.0, rates=[10.0, 20.0]), "a list of 3, found 2"),
        (lambda: CoxInputs(3, 100.0, rates=0.0), "rates must be above 0"),
        (lambda: CoxInputs(3, 100.0, cv=0.0), "cv must be above 0"),
        (lambda: CoxInputs(3, 100.0, tau=0.0), "tau must be above 0"),
        (lambda: CoxInputs(3, 99.0, dt=3.0), "whole number of bins"),
        (lambda: CoxInputs(3, 100.0, rates=300.0, cv=3.0), "more than one spike"),
        (lambda: CoxInputs(3, 100.0, correlation=0.5), "inputs 1 and 2 can have correlations of counts from"),
        (lambda: SourceMixture(3, 100.0, rates=-1.0), "rates must be above 0"),
        (lambda: SourceMixture(3, 100.0, tau=-1.0), "tau must be 0 ms or more"),
        (lambda: SourceMixture(3, 100.0, sources=0), "at least one source"),
        (lambda: SourceMixture(3, 100.0, correlation=0.7), r"within \[0, 0.568\].*inputs 1, 2"),
        (lambda: SourceMixture(3, 100.0, rates=[1.0, 20.0, 20.0], correlation=0.4), "no sources were found"),
        (lambda: Modes(3, 100.0, modes=1), "at least 2 modes"),
        (lambda: Modes(3, 100.0, evenness=1.1), "evenness must lie within"),
    ],
)
def test_a_bad_design_is_refused_in_one_clear_line(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=message) as found:
        make()
    assert "\n" not in str(found.value)


def test_correlation_between_draws_of_a_range_is_never_beyond_it() -> None:
    c = [float(np.corrcoef(w)[0, 1]) for w in draws(PoissonInputs(2, 20_000.0, correlation=(0.0, 0.5)), 60)]
    assert min(c) > -0.05 and max(c) < 0.55 and all(a != b for a, b in pairwise(c))

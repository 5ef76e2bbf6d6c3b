"""The choice of the number of latents: the rule by hand, what scores may see, and populations of known dimension."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import split_time
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import DimensionScore, choose, score_dimension, score_dimensions
from neuroinf.evaluation.latent_figures import forecast_skill, score_against_dimension, trajectories
from neuroinf.evaluation.latents import Forecasts, bits_per_spike, explained_variance
from neuroinf.fits.latent_model import LatentEstimate, LatentModel
from neuroinf.fits.linear_latents import fit_pca, fit_ppca
from neuroinf.simulators import GaussianObservation, LinearDynamics, Lorenz, Population


def recorded(dynamics: LinearDynamics | Lorenz, seed: int, bins: int = 2500) -> PopulationData:
    source = Population(dynamics, GaussianObservation(snr=1.5), neurons=40, seed=seed)
    found = source.simulate(np.empty((1, 0)), np.zeros((1, 1, bins)), 10.0, seed=seed)
    data = population(found["activity"][0].T, 10.0, "trace")
    return replace(data, rates=(np.ascontiguousarray(found["latent/rates"][0].T, dtype=np.float32),))


@pytest.mark.parametrize(
    ("dynamics", "truth"),
    [(LinearDynamics(2), 2), (LinearDynamics(5), 5), (LinearDynamics(8), 8), (Lorenz(period=600.0), 3)],
    ids=["lds2", "lds5", "lds8", "lorenz"],
)
def test_hidden_neurons_choose_the_true_dimension_and_reconstruction_does_not(
    dynamics: LinearDynamics | Lorenz, truth: int
) -> None:
    train, test = split_time(recorded(dynamics, seed=11))
    dimensions = list(range(1, truth + 4))
    scores = score_dimensions(fit_ppca, train, test, dimensions)
    assert choose(dimensions, [s.neurons for s in scores]).dimension == truth
    assert choose(dimensions, [s.entries for s in scores]).dimension == truth
    # more latents copy more noise
    assert dimensions[int(np.argmax([np.mean(s.reconstruction) for s in scores]))] > truth


def test_noise_alone_has_no_better_dimension_than_the_first() -> None:
    data = population(np.random.default_rng(0).standard_normal((2500, 40)), 10.0, "trace")
    train, test = split_time(data)
    scores = score_dimensions(fit_ppca, train, test, [1, 2, 3, 5])
    assert choose([1, 2, 3, 5], [s.neurons for s in scores]).dimension == 1
    # hidden neurons of noise cannot be told: the score is that of the mean, less what the fit's noise costs
    assert all(-0.05 < np.mean(s.neurons) < 0.002 for s in scores)


def test_rule_by_hand() -> None:
    scores = [[0.0, 0.0, 0.0, 0.0], [0.8, 1.2, 0.9, 1.1], [0.9, 1.3, 0.8, 1.2], [0.7, 1.1, 0.9, 1.1]]
    found = choose([1, 2, 4, 8], scores)
    # 4 is best by .05 on average; its differences from 2 are .1 .1 -.1 .1: standard error .05
    assert found.best == 4 and found.dimension == 2
    assert found.deficit[1] == pytest.approx(0.05) and found.error[1] == pytest.approx(0.05)
    surely = [[0.0, 0.5, 0.2, 0.3], [1.0, 3.0, 2.0, 0.5], [1.1, 3.1, 2.1, 0.7]]
    # blocks differ by far more than dimensions do: paired sees the difference, unpaired does not
    assert choose([1, 2, 3], surely).dimension == 3
    assert choose([1, 2, 3], surely, paired=False).dimension == 2


def test_best_alone_is_chosen_when_all_blocks_agree() -> None:
    assert choose([1, 2, 3], [[0.1, 0.1], [0.2, 0.2], [0.15, 0.15]]).dimension == 2


@pytest.mark.parametrize("scores", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan], [0.0, 1.0]]])
def test_bad_scores_are_refused(scores: list[list[float]]) -> None:
    with pytest.raises(InputError, match="scores"):
        choose([1, 2], scores)


class Spy:
    """Gives what it is told of each fold, and keeps what it saw."""

    dimension = 1

    def __init__(self, model: LatentModel) -> None:
        self.model = model
        self.masks: list[Any] = []

    def infer(self, activity: Any, observed: Any = None) -> LatentEstimate:
        self.masks.append(observed)
        if observed is not None:
            activity = np.where(observed, activity, np.nan)
        return self.model.infer(activity, observed)

    def forecast(self, factors: Any, steps: int) -> Any:
        return self.model.forecast(factors, steps)

    def rates_of(self, factors: Any) -> Any:
        return self.model.rates_of(factors)


@pytest.mark.parametrize("kind", ["trace", "counts"])
def test_scores_are_of_what_was_hidden(kind: Literal["trace", "counts"]) -> None:
    rng = np.random.default_rng(5)
    x = rng.poisson(np.exp(rng.standard_normal((400, 1)) @ rng.standard_normal((1, 8)) * 0.5 + 1)).astype(float)
    data = replace(population(x, 10.0, kind), group=np.repeat([0, 1], 4))
    train, test = split_time(data)
    spy = Spy(fit_pca(train, 1))
    found = score_dimension(spy, train.mean, test)
    hidden = np.stack([~m for m in spy.masks[:4]])
    assert (hidden.sum(0) == 1).all()  # every neuron is hidden once
    assert all(h[0, :4].sum() == 1 and h[0, 4:].sum() == 1 for h in hidden)  # one of each group
    rates = np.empty(test.activity[0].shape)
    for m in spy.masks[:4]:
        rates[:, ~m[0]] = spy.model.infer(test.activity[0], m).rates[:, ~m[0]]
    whole = bits_per_spike if kind == "counts" else explained_variance
    assert np.mean(found.neurons) == pytest.approx(whole(test.activity[0], rates, train.mean), rel=1e-5)
    assert DimensionScore.from_dict(found.to_dict()) == found


def test_impossible_folds_are_refused() -> None:
    data = population(np.random.default_rng(0).standard_normal((60, 3)), 10.0, "trace")
    with pytest.raises(InputError, match="folds"):
        score_dimension(fit_pca(data, 1), data.mean, data)


def test_figures_show_the_truth_and_the_baseline() -> None:
    scores = [DimensionScore(d, (0.1 * d, 0.11 * d), (0.1, 0.2), 0.2 * d, None) for d in (1, 2, 3)]
    left, right = score_against_dimension(scores, "trace", truth=2).axes
    for ax in (left, right):
        labels = ax.get_legend_handles_labels()[1]
        assert "truth: 2" in labels and "each neuron's mean" in labels
    assert "bits per spike" in score_against_dimension(scores, "counts").axes[0].get_ylabel()
    z = np.random.default_rng(0).standard_normal((50, 2))
    assert len(trajectories(z, np.ones_like(z), z, 10.0).axes) == 2
    found = Forecasts(z[:10].reshape(2, 5, 2), z[:10].reshape(2, 5, 2), z[:10].reshape(2, 5, 2), z[:2])
    (ax,) = forecast_skill(found, 10.0, 4.0).axes
    np.testing.assert_allclose(np.asarray(ax.get_lines()[0].get_ydata(), float), 1.0)


def test_margin_is_half_a_per_cent_of_the_best() -> None:
    """Differences are the same in every block, so that the standard error is 0: the margin alone decides."""
    block = np.linspace(0.5, 1.5, 10)
    scores = [block - 0.006, block - 0.004, block]
    assert choose([1, 2, 3], scores).dimension == 2
    assert choose([1, 2, 3], scores, margin=0.0).dimension == 3
    assert choose([1, 2, 3], scores, margin=0.01).dimension == 1

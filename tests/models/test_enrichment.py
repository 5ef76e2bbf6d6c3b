"""More simulations of a part of the prior, weighted, leave the posterior as it is."""

import numpy as np
import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.models.enrichment import EnrichmentStage, Share, importance

N = 40_000
WIDTH = 0.25  # of the stretches of x in which posterior means are compared
FAR = 4.3  # standard errors: 2e-5 of each of five places, two-sided; all five 1e-4


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """theta ~ N(0, 1), x = theta + N(0, 1): the posterior's mean is x / 2. The part is theta > 1.5."""
    rng = np.random.default_rng(0)
    prior, many = rng.standard_normal(N), rng.standard_normal(12 * N)
    part = many[many > 1.5]
    theta = np.concatenate([prior, part])
    return theta, theta + rng.standard_normal(len(theta)), theta > 1.5, float((many > 1.5).mean())


def distances(theta: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean of theta - x / 2 near five places, in standard errors."""
    found = []
    for place in (-1.0, 0.0, 1.0, 2.0, 3.0):
        near = np.abs(x - place) < WIDTH
        w, apart = weight[near], (theta - x / 2)[near]
        mean = (w * apart).sum() / w.sum()
        found.append(mean / (np.sqrt((w**2 * (apart - mean) ** 2).sum()) / w.sum()))
    return np.array(found)


def test_weighted_rows_have_the_posterior_of_the_prior(rows: tuple) -> None:
    theta, x, inside, fraction = rows
    weight = importance(inside, N, len(theta) - N, fraction)
    assert np.abs(distances(theta, x, weight)).max() < FAR


def test_a_weight_of_what_is_observed_changes_nothing_and_evens_the_shares(rows: tuple) -> None:
    theta, x, inside, fraction = rows
    weight = importance(inside, N, len(theta) - N, fraction)
    features = torch.from_numpy(np.stack([x, x**2], 1)).float()
    share = Share(features, torch.from_numpy(inside), float(weight.min()))(features).numpy()
    assert share.min() >= 1 and share.max() <= 1 / weight.min()
    assert np.abs(distances(theta, x, weight * share)).max() < FAR
    # recordings that mostly the part shows count about as much as they are many, not as they are rare
    shown = x > 2.5
    assert (weight * share)[shown].sum() / (weight * share).sum() == pytest.approx(shown.mean(), rel=0.25)
    assert weight[shown].sum() / weight.sum() < 0.5 * shown.mean()


def test_without_weights_the_posterior_is_another(rows: tuple) -> None:
    theta, x, _, _ = rows
    assert np.abs(distances(theta, x, np.ones(len(theta)))).max() > 5 * FAR


def test_weights_bring_the_part_to_its_mass(rows: tuple) -> None:
    theta, _, inside, fraction = rows
    weight = importance(inside, N, len(theta) - N, fraction)
    # binomial: of N rows of the prior the part's share has an sd of sqrt(Z (1 - Z) / N)
    assert abs((weight * inside).sum() / weight.sum() - fraction) < 4 * np.sqrt(fraction / N)


@pytest.mark.parametrize("given", [{"n": -1}, {"lead": [3.0]}, {"lead": [5.0, 2.0]}, {"lead": [0.0, 2.0]}])
def test_impossible_values_are_refused(given: dict) -> None:
    with pytest.raises(InputError, match=r"enrichment\."):
        EnrichmentStage(**given)

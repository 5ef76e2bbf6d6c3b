"""Groups of neurons by their latents: p uniform without structure, structure found, and nothing from rotations or signs."""

import numpy as np
import pytest
from scipy import stats

from neuroinf.datasets.populations import population
from neuroinf.errors import InputError
from neuroinf.evaluation.latent_clusters import cluster_agreement, embedding, group_test
from neuroinf.fits.linear_latents import fit_fa
from neuroinf.simulators import GaussianObservation, LinearDynamics, Population


def layered(private: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fitted loadings and layers of 3 x 30 neurons, which share 1 latent and have, or do not have, 2 of their own in each layer."""
    own = LinearDynamics(2) if private else None
    simulator = Population(LinearDynamics(1 if private else 3), GaussianObservation(3.0), 30, 3, own, seed=seed)
    made = simulator.simulate(np.empty((1, 0)), np.zeros((1, 1, 1500)), dt=10.0, seed=seed)
    model = fit_fa(population(made["activity"][0].T, 10.0, "trace"), simulator.dimension)
    return model.loadings, simulator.groups


@pytest.mark.parametrize("seed", range(3))
def test_layers_with_latents_of_their_own_are_found(seed: int) -> None:
    loadings, layers = layered(True, seed)
    features, rng = embedding(loadings, 3), np.random.default_rng(seed)
    found = group_test(features, layers, rng, shuffles=99)
    assert found.p == 1 / 100 and found.accuracy > 0.9
    assert cluster_agreement(features, layers, rng) >= 0.8


def test_p_is_uniform_without_structure() -> None:
    """300 populations whose labels mean nothing; p takes 1/20, ..., 1 with equal probability.

    Accept: chi-square of the 20 counts below its 1 - 1e-4 quantile. Reject: the same test must not take p values of populations in
    which a fifth have structure (p = 1/20 there): then 300 (1/5 + 4/5 / 20) = 72 of 300 are 1/20, against 15.
    """
    rng, shuffles, n = np.random.default_rng(7), 19, 300
    labels = np.repeat(np.arange(3), 10)
    p = np.array([group_test(rng.standard_normal((30, 3)), labels, rng, shuffles, folds=2).p for _ in range(n)])
    counts = np.bincount(np.rint(p * 20).astype(int) - 1, minlength=20)
    limit = stats.chi2.isf(1e-4, 19)
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < limit
    p[: n // 5] = 1 / 20
    spoilt = np.bincount(np.rint(p * 20).astype(int) - 1, minlength=20)
    assert ((spoilt - n / 20) ** 2 / (n / 20)).sum() > limit


def test_layers_that_share_all_latents() -> None:
    """10 populations: p <= .01 in at most 2 of them (binomial: more has probability 1.1e-4); agreement is near 0."""
    small, agreement = 0, []
    for seed in range(10):
        loadings, layers = layered(False, seed)
        features, rng = embedding(loadings, 3), np.random.default_rng(seed)
        small += group_test(features, layers, rng, shuffles=99).p <= 0.01
        agreement.append(cluster_agreement(features, layers, rng))
    assert small <= 2
    assert np.mean(agreement) < 0.1


def test_axes_of_the_latents_and_signs_have_no_effect() -> None:
    """Any invertible change of the latents, and any sign of a neuron."""
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((20, 4))
    changed = (loadings * rng.choice([-1.0, 1.0], 20)[:, None]) @ rng.standard_normal((4, 4))
    one, two = embedding(loadings, 3), embedding(changed, 3)
    assert np.allclose(one @ one.T, two @ two.T)


def test_neurons_of_separate_latents_are_apart() -> None:
    """Two groups without a common latent: two connected parts of the graph, so two points."""
    rng = np.random.default_rng(0)
    loadings = np.zeros((24, 4))
    loadings[:12, :2], loadings[12:, 2:] = rng.standard_normal((2, 12, 2))
    features = embedding(loadings @ rng.standard_normal((4, 4)), 2)
    groups = np.repeat([0, 1], 12)
    assert cluster_agreement(features, groups, rng) == 1
    assert np.allclose((features @ features.T)[:12, 12:], 0, atol=1e-6)


def test_ties_do_not_count_as_evidence() -> None:
    """Features that are all the same: every accuracy is a tie, and p is anything; its mean over 200 is 1/2 to 5 standard errors."""
    rng, labels = np.random.default_rng(1), np.repeat([0, 1], 10)
    p = [group_test(np.zeros((20, 1)), labels, rng, shuffles=9, folds=2).p for _ in range(200)]
    assert abs(np.mean(p) - 0.55) < 5 * np.std(np.arange(1, 11) / 10) / 200**0.5


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="at least 2 groups of at least 5"):
        group_test(np.zeros((10, 2)), np.repeat([0, 1], [8, 2]), rng)
    with pytest.raises(InputError, match="one group for each"):
        group_test(np.zeros((10, 2)), np.zeros(9), rng)
    with pytest.raises(InputError, match="not all of them 0"):
        embedding(np.zeros((5, 2)), 2)
    with pytest.raises(InputError, match="as many dimensions as neurons"):
        embedding(np.ones((5, 2)), 6)

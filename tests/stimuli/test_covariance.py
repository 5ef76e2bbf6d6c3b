"""Correlation designs: what is refused, and that the projection is the nearest correlation matrix."""

import numpy as np
import pytest
from input_designs import rng
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli import CoxInputs, GaussianInputs, SourceMixture
from neuroinf.stimuli.covariance import factor, nearest_correlation

FloatArray = NDArray[np.float64]


def indefinite(n: int, seed: int) -> FloatArray:
    """A symmetric matrix with unit diagonal and entries in [-1, 1] that is not positive semidefinite."""
    generator = rng(seed)
    a = np.eye(n)
    while np.linalg.eigvalsh(a)[0] > -0.1:
        a = generator.uniform(-1, 1, (n, n))
        a = np.tril(a, -1) + np.tril(a, -1).T + np.eye(n)
    return a


def random_correlation(n: int, seed: int) -> FloatArray:
    b = rng(seed).standard_normal((n, 1 + seed % n))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    return b @ b.T


@pytest.mark.parametrize(("n", "seed"), [(3, 0), (5, 0), (10, 0), (10, 1), (20, 2)])
def test_the_projection_is_the_nearest_correlation_matrix(n: int, seed: int) -> None:
    a = indefinite(n, seed)
    x = nearest_correlation(a)
    assert np.linalg.eigvalsh(x)[0] > -1e-12 and (np.diag(x) == 1).all() and (x == x.T).all()
    # X is the projection of A onto a convex set if and only if <A - X, Z - X> <= 0 for all Z of the set
    for s in range(200):
        z = random_correlation(n, s)
        assert ((a - x) * (z - x)).sum() < 1e-6
    values, vectors = np.linalg.eigh(a)
    clipped = (vectors * np.maximum(values, 0)) @ vectors.T
    rescaled = clipped / np.sqrt(np.outer(np.diag(clipped), np.diag(clipped)))
    assert np.linalg.norm(a - x) < np.linalg.norm(a - rescaled)


def test_the_projection_reproduces_the_published_example() -> None:
    # Higham 2002, section 5
    x = nearest_correlation(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(x[[0, 0, 1], [1, 2, 2]], [0.7607, 0.1573, 0.7607], atol=5e-5)


def test_what_is_possible_stays_as_it_is() -> None:
    for seed in range(6):
        design = random_correlation(6, seed)  # singular ones among them
        np.testing.assert_allclose(nearest_correlation(design), design, atol=1e-9)
        np.testing.assert_allclose(factor(design) @ factor(design).T, design, atol=1e-9)


@pytest.mark.parametrize("kind", [GaussianInputs, CoxInputs, SourceMixture])
def test_an_impossible_design_is_refused_or_projected_when_asked(
    kind: type[GaussianInputs] | type[CoxInputs] | type[SourceMixture],
) -> None:
    small = 0.15 * (indefinite(8, 3) - np.eye(8)) * 4 + np.eye(8)
    if kind is CoxInputs:  # counts of 20 ms reach 0.18 at these rates: let a few pairs contradict each other there
        small = np.eye(8)
        small[0, 1:] = small[1:, 0] = 0.17
        small[1:4, 4:] = small[4:, 1:4] = -0.15
    else:
        assert np.linalg.eigvalsh(small)[0] < 0
    with pytest.raises(InputError, match=r"not positive semidefinite, its smallest eigenvalue is -.*nearest: true"):
        kind(8, 100.0, correlation=small.tolist())
    stimulus = kind(8, 100.0, correlation=small.tolist(), nearest=True)
    assert np.isfinite(stimulus.sample(rng())).all()
    if isinstance(stimulus, CoxInputs | SourceMixture):
        assert np.linalg.eigvalsh(stimulus.design)[0] > 0 and np.abs(stimulus.design - small).max() < 0.5


def test_too_negative_a_coefficient_is_refused_or_becomes_the_most_negative_one() -> None:
    with pytest.raises(InputError, match=r"smallest eigenvalue is -0\.5; use -0\.25 or more, or nearest: true"):
        GaussianInputs(5, 100.0, correlation=-0.375)
    x = GaussianInputs(5, 100.0, correlation=-0.375, nearest=True).sample(rng())
    np.testing.assert_allclose(x.sum(0), 0, atol=1e-6)  # at -1 / (K - 1) the rows cancel

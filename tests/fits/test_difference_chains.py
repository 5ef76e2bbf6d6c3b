"""Chains of differences, on densities that are known."""

import numpy as np
import pytest

from neuroinf.fits.difference_chains import moved, taken

MEAN = np.array([1.0, -2.0, 0.5])
# two very unlike widths, correlated by 0.9
COVARIANCE = np.array([[1.0, 0.09, 0.0], [0.09, 0.01, 0.0], [0.0, 0.0, 4.0]])


def normal(theta: np.ndarray) -> np.ndarray:
    away = theta - MEAN
    return -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(COVARIANCE), away)


def test_chains_of_differences_draw_from_their_target() -> None:
    rng, n = np.random.default_rng(2), 400
    start = rng.normal(0, 3, (n, 3))
    archive, x, value = start, start, normal(start)
    for _ in range(60):
        x, value = moved(normal, x, value, archive, np.full(3, 40.0), 10, rng)
        archive = np.concatenate([archive, x])[-2400:]
    np.testing.assert_allclose(value, normal(x))
    # chains are independent of one another but for the archive: means within 4.5 standard errors, variances (of which the relative
    # one is sqrt(2 / n)) likewise
    sd = np.sqrt(np.diag(COVARIANCE))
    assert (np.abs(x.mean(0) - MEAN) < 4.5 * sd / np.sqrt(n)).all()
    assert (np.abs(x.var(0) / np.square(sd) - 1) < 4.5 * np.sqrt(2 / n)).all()
    assert np.corrcoef(x[:, 0], x[:, 1])[0, 1] == pytest.approx(0.9, abs=4.5 * (1 - 0.81) / np.sqrt(n))


def test_chains_outside_take_what_they_find_and_never_leave_it() -> None:
    def inside(theta: np.ndarray) -> np.ndarray:
        return np.where((theta > 0).all(1), 0.0, -np.inf)

    rng = np.random.default_rng(3)
    start = rng.normal(0, 1, (200, 2))
    found, value = moved(inside, start, inside(start), start, np.full(2, 10.0), 200, rng)
    assert (value == inside(found)).all()
    began = np.isfinite(inside(start))
    assert np.isfinite(value[began]).all() and np.isfinite(value).mean() > 0.95


def test_a_cheap_density_proposes_and_the_other_one_decides() -> None:
    def cheap(theta: np.ndarray) -> np.ndarray:
        return -0.5 * np.square(theta / 2.0).sum(1)

    def true(theta: np.ndarray) -> np.ndarray:
        return -0.5 * np.square(theta - 1.0).sum(1)

    rng, n = np.random.default_rng(4), 2000
    x = rng.normal(0, 2, (n, 2))
    archive, value = x.copy(), true(x)
    for _ in range(30):
        before = cheap(x)
        proposed, after = moved(cheap, x, before, archive, np.full(2, 10.0), 10, rng)
        new = true(proposed)
        good = taken(value, new, before, after, rng)
        x[good], value[good] = proposed[good], new[good]
    # mean 1 and variance 1, not the cheap density's 0 and 4: of 2,000 independent chains
    assert (np.abs(x.mean(0) - 1) < 4.5 / np.sqrt(n)).all()
    assert (np.abs(x.var(0) - 1) < 4.5 * np.sqrt(2 / n)).all()


def test_what_the_other_density_forbids_is_not_taken() -> None:
    rng, four = np.random.default_rng(5), np.zeros(4)
    value, new = np.array([0.0, -np.inf, -np.inf, -5.0]), np.array([-np.inf, -50.0, -np.inf, -50.0])
    before = np.array([0.0, 0.0, 0.0, -np.inf])
    assert taken(value, new, before, four, rng).tolist() == [False, True, False, True]

"""A Sobol design: even, a draw from the prior at each point, the same whatever made it; a grid in order."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from neuroinf.datasets.designs import sobol
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.priors import GaussianPrior, GridParameter, GridPrior, Parameter, Prior
from neuroinf.simulators import Cascade
from neuroinf.stimuli import ShortSquare

GRAPH = str(Path(__file__).parents[2] / "configs" / "cascades" / "lnl.yaml")
RANGES = {"gain": Parameter("1", 5.0, 25.0, "log"), "loc": Parameter("1", 2.0, 30.0)}
PRIOR = Prior(RANGES)
GRID = {"gain": GridParameter("1", [5.0, 10.0, 20.0], "log"), "loc": GridParameter("1", [4.0, 8.0])}


def simulation(n: int, prior: Prior = PRIOR, sweeps: int = 1, design: str = "sobol") -> Simulation:
    stimulus = ShortSquare(20.0, 0.1, (0.0, 60.0), 2.0, 5.0, unit="1")
    simulator = Cascade(GRAPH, parameters=["gain", "loc"], record=["dendrite"])
    return Simulation(simulator, prior, stimulus, n, 0.1, 1.0, seed=3, sweeps=sweeps, design=design)  # type: ignore[arg-type]


def test_every_interval_has_its_share() -> None:
    """Of 2^m points of a scrambled Sobol sequence each 2^-m-th of every margin has one; a pair's boxes nearly as evenly."""
    u = PRIOR.to_unit(sobol(PRIOR, 0, 0, 256))
    for column in u.T:
        np.testing.assert_array_equal(np.sort((256 * column).astype(int)), np.arange(256))
    # the first two dimensions are a (0, 8, 2)-net: every 16 x 16 and every 2 x 128 box has exactly one
    for first, second in ((16, 16), (2, 128), (128, 2)):
        boxes = second * (first * u[:, 0]).astype(int) + (second * u[:, 1]).astype(int)
        np.testing.assert_array_equal(np.sort(boxes), np.arange(256))


def test_each_point_is_a_draw_from_the_prior() -> None:
    """Over scramblings a point is uniform. 1,500 seeds, 2 x 3 points x 8 bins at a false alarm rate of 1e-4 together."""
    points = np.stack([sobol(PRIOR, seed, 0, 3) for seed in range(1500)])
    u = PRIOR.to_unit(points.reshape(-1, 2)).reshape(points.shape)
    counts = np.stack([np.bincount((8 * u[:, i, j]).astype(int), minlength=8) for i in range(3) for j in range(2)])
    low, high = binom.ppf([1e-4 / 96, 1 - 1e-4 / 96], 1500, 1 / 8)
    assert counts.min() >= low and counts.max() <= high


def test_a_point_depends_on_seed_and_number_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = sobol(PRIOR, 5, 0, 100)
        parts = [sobol(PRIOR, 5, start, stop) for start, stop in ((0, 1), (1, 2), (2, 37), (37, 100))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not (sobol(PRIOR, 6, 0, 100) == whole).any()
    # so close that a mean over them has a hundredth of the error of one over as many draws, 0.3 / sqrt(4096)
    assert np.abs(PRIOR.to_unit(sobol(PRIOR, 5, 0, 4096)).mean(0) - 0.5).max() < 1e-4


def test_a_normal_prior_is_spread_over_in_its_own_coordinates() -> None:
    prior = GaussianPrior(["a", "b"], [1.0, -2.0], [[4.0, 1.5], [1.5, 1.0]])
    theta = sobol(prior, 0, 0, 4096)
    assert np.isfinite(theta).all()
    u = ndtr(np.linalg.solve(prior.factor, (theta - prior.mean).T))
    np.testing.assert_array_equal(np.sort((4096 * u[1]).astype(int)), np.arange(4096))
    np.testing.assert_allclose(np.cov(theta.T), [[4.0, 1.5], [1.5, 1.0]], rtol=0.02)


def test_draws_of_a_grid_have_each_point_equally_often() -> None:
    points, counts = np.unique(sobol(GridPrior(GRID), 0, 0, 3 * 256), axis=0, return_counts=True)
    assert len(points) == 6 and np.abs(counts - 128).max() <= 4


@pytest.mark.parametrize("sweeps", [1, 3])
def test_the_file_is_the_same_whoever_makes_it(sweeps: int, tmp_path: Path) -> None:
    """Any size of shard, any number of processes, interrupted or not, and the beginning of a longer one."""
    n = 20 * sweeps
    made = simulation(n, sweeps=sweeps)
    one = Dataset(generate(made, tmp_path / "one.h5", workers=1, progress=False))
    two = Dataset(generate(made, tmp_path / "two.h5", workers=2, shard_rows=7, progress=False))
    longer = Dataset(generate(dataclasses.replace(made, n=2 * n), tmp_path / "longer.h5", workers=1, progress=False))
    theta = np.repeat(sobol(PRIOR, 3, 0, 20), sweeps, axis=0)
    for file in (one, two, longer):
        np.testing.assert_array_equal(file.parameters[:n], theta)
        np.testing.assert_array_equal(
            file.rows(np.arange(n)).continuous["dendrite"], one.rows(np.arange(n)).continuous["dendrite"]
        )
    assert one.design == "sobol" and "Sobol" in one.describe()
    other = Dataset(generate(simulation(n, sweeps=sweeps, design="random"), tmp_path / "draws.h5", progress=False))
    # stimuli are the rows' own, and have no part in the design
    np.testing.assert_array_equal(other.waveform_index, one.waveform_index)
    assert other.design == "random" and not (other.parameters == one.parameters).any()


def test_tests_are_draws() -> None:
    """SBC asks for independent draws from the prior."""
    made = simulation(64)
    tests = made.with_stimulus(made.stimulus, 64, seed=4)
    assert tests.design == "random" and tests.n == 64


def test_grid_in_order_with_sweeps(tmp_path: Path) -> None:
    prior = GridPrior(GRID, enumerate=True)
    file = Dataset(generate(simulation(12, prior, 2, "random"), tmp_path / "grid.h5", workers=1, progress=False))
    np.testing.assert_array_equal(file.parameters, np.repeat(prior.grid(), 2, axis=0))
    assert "all points in order of a grid of 6" in file.describe()


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="enumerated grid"):
        simulation(6, GridPrior(GRID, enumerate=True))
    with pytest.raises(InputError, match="random or sobol, found 'halton'"):
        simulation(6, design="halton")
    with pytest.raises(InputError, match="at most"):
        simulation(2**31)

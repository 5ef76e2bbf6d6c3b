"""The benchmark of real recordings: nothing of the held-out time reaches a parameter."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from neuroinf.simulators import GLM
from neuroinf.simulators.bases import RaisedCosines

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_bins_that_see_held_out_time_are_those_within_reach_after_it(module) -> None:
    reached = module("real_glm_scores").reached
    held = np.array([0, 1, 1, 0, 0, 0, 0, 1, 0], bool)
    assert reached(held, 2).tolist() == [False, False, False, True, True, False, False, False, True]
    assert not reached(np.zeros(5, bool), 3).any()


def test_no_fit_changes_with_the_held_out_spikes(module) -> None:
    grasshopper = module("real_glm_grasshopper")
    model = GLM(
        inputs=1, hidden=1, filters=RaisedCosines(2, 1.0, 3.0, None), history=RaisedCosines(2, 1.0, 10.0, 2.0),
        nonlinearity="logistic", output="bernoulli",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    level, y = rng.standard_normal(5000), (rng.random(5000) < 0.1).astype(float)
    fits = []
    for other in (y, 1 - y):
        fold = grasshopper.Fold(model, level, np.where(_held(len(y)), other, y), 1.0, 1)
        beta, _, _ = grasshopper.maximum_likelihood(fold)
        _, drive = grasshopper.with_drive(fold, beta, 5.0)
        fits.append(np.concatenate([beta, drive["coefficients"], [drive["weight"]]]))
    # a history convolved by FFT rounds with the counts a second away; a leak of other counts would be a thousand times this
    assert np.allclose(*fits, atol=1e-4)


def test_coupling_fits_do_not_change_with_the_held_out_spikes(module) -> None:
    ca1 = module("real_glm_ca1")
    rng = np.random.default_rng(1)
    y, others = rng.poisson(0.1, 12_000).astype(float), rng.poisson(0.1, (2, 12_000)).astype(float)
    block = np.arange(len(y)) // 1000
    fits = []
    for seed in (2, 3):
        held = np.random.default_rng(seed).poisson(0.5, y.shape)
        target = ca1.Target(np.where(block % 2 == 1, held, y), block)
        x = target.columns(ca1.couplings(np.where(block % 2 == 1, held, others)).reshape(-1, len(y)))
        fits.append(target.fit("any", x)[0])
    assert np.allclose(*fits, atol=1e-9)


def test_bits_are_those_of_a_known_rate(module) -> None:
    # a rate known to be twice as high in the held-out bins: log2 e (ln 2 - 1 + 1/2) bits a spike, as counted by hand
    scores = module("real_glm_scores")
    y, block = np.array([1.0, 0.0, 2.0, 2.0]), np.array([0, 0, 1, 1])
    test = block == 1
    constant = scores.log_probability(y, np.full(4, np.log(1.0)), "poisson")
    better = scores.log_probability(y, np.full(4, np.log(2.0)), "poisson")
    found = scores.HeldOut.of(better, constant, y, block, test)
    assert found.bits == pytest.approx((4 * np.log(2.0) - 2 * (2.0 - 1.0)) / 4 / np.log(2.0))


@pytest.mark.real_data
def test_a_drive_with_memory_predicts_a_place_cell(module, real_data_dir: Path) -> None:
    ca1 = module("real_glm_ca1")
    counts = ca1.read(real_data_dir)
    assert counts.shape[0] == 31
    from neuroinf.fits.latent_drive import fit_latent_drive, predictive_log_likelihood

    y = counts[4][: len(counts[4]) // 10 * 10].reshape(-1, 10).sum(1)
    test = np.arange(len(y)) // 100 % 2 == 1
    x, seen, rate = np.ones((len(y), 1)), np.where(test, np.nan, y), np.log(y[~test].mean())
    found = fit_latent_drive(x, seen, np.array([rate]), "exponential", "poisson", states=9, starts=(10.0,))
    ahead = predictive_log_likelihood(
        x[:, 0] * found.coefficients[0], y, found.weight, found.tau, "exponential", "poisson", 9
    )
    constant = y * rate - np.exp(rate)
    # a place cell's field lasts longer than a bin: by far more than the 2 nats that two idle parameters bring
    assert (ahead - constant)[test].sum() > 50


def _held(bins: int) -> np.ndarray:
    return np.arange(bins) // 2500 % 2 == 1

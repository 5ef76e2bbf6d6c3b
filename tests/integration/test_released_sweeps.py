"""The released network on several sweeps of a neuron: narrower than one, calibrated, whatever their number and order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import neuroinf
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.evaluation.calibration import coverage
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.inference import Estimator
from neuroinf.posterior import draw

CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "glif.ckpt"
NEURONS, SWEEPS, SEED = 200, 5, 20_261_122


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    return neuroinf.load(CHECKPOINT)


@pytest.fixture(scope="module")
def sweeps(estimator: Estimator, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Observations (N, S, C, T) of new neurons under the training stimuli, and their parameters (N, P)."""
    trained = estimator.simulation
    assert trained is not None and trained.sweeps == SWEEPS
    simulation = replace(trained, n=NEURONS * SWEEPS, seed=SEED)
    file = Dataset(generate(simulation, tmp_path_factory.mktemp("sweeps") / "sweeps.h5"))
    test = HeldOut(file, simulation, np.arange(file.n), estimator.observation)
    x = test.observe(Condition("0.5 mV", {"voltage": 0.5}))
    return x.reshape(NEURONS, SWEEPS, *x.shape[1:]), test.truth[::SWEEPS]


def samples(estimator: Estimator, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        posterior = estimator.density.posterior(estimator.features(x, batch=32))
    assert posterior is not None
    return draw(posterior, estimator.prior, 200, 1)


def test_five_are_narrower_than_one_and_calibrated(estimator: Estimator, sweeps: tuple[np.ndarray, np.ndarray]) -> None:
    """Coverage of 90 % intervals within binomial bounds at 1e-4 over all parameters, and at least 0.02 either way for
    what is the network's own."""
    x, truth = sweeps
    prior, width = estimator.prior, {}
    low, high = stats.binom.ppf([0.5e-4 / 6, 1 - 0.5e-4 / 6], NEURONS, 0.9) / NEURONS
    for number in (1, SWEEPS):
        drawn = samples(estimator, x[:, :number])
        covered = coverage(truth, drawn)
        assert (covered > low - 0.02).all() and (covered < high + 0.02).all(), (number, covered)
        width[number] = np.median(prior.to_unit(drawn).std(1), axis=0)
    assert (width[SWEEPS] < 0.9 * width[1]).all()


def test_any_number_and_order(estimator: Estimator, sweeps: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = sweeps
    turned = estimator.features(x[:8, ::-1].copy())
    torch.testing.assert_close(turned, estimator.features(x[:8]), rtol=1e-3, atol=1e-3)
    padded = np.concatenate([x[:8, :2], np.full_like(x[:8, :3], np.nan)], axis=1)
    torch.testing.assert_close(estimator.features(padded), estimator.features(x[:8, :2]), rtol=1e-3, atol=1e-3)
    one_at_a_time = torch.cat([estimator.features(x[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(estimator.features(x[:8]), one_at_a_time, rtol=1e-3, atol=1e-3)


def test_more_sweeps_than_it_was_trained_on(estimator: Estimator, sweeps: tuple[np.ndarray, np.ndarray]) -> None:
    """12 sweeps of a neuron are taken in groups: the posterior is narrower than that of one in every parameter."""
    x, truth = sweeps
    row = int(np.argmin(np.abs(estimator.prior.to_unit(truth) - 0.5).max(1)))  # far from the prior's ends
    many = np.concatenate([x[row], x[row], x[row][:2]])
    posterior = estimator.posterior(many)
    single = estimator.posterior(x[row][:1])
    assert posterior.to_dict()["pieces"] == 12
    assert all(posterior.std[name] < single.std[name] for name in estimator.prior.names)

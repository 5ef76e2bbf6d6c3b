"""Sessions of different neurons with one generator: each is told by its neurons' names, and their latents mean the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroinf.datasets.population_module import Windows, training_loader
from neuroinf.datasets.populations import PopulationData, population
from neuroinf.errors import InputError
from neuroinf.fits.autoencoder_latents import AutoencoderLatents, fit_autoencoder
from neuroinf.networks.session_alignment import aligned
from neuroinf.simulators import GaussianObservation, Population, Roessler

SIZES, BINS = (14, 10), 500


def roessler(neurons: int, number: int) -> tuple[PopulationData, np.ndarray]:
    """A stretch of its own of the same dynamics, seen through neurons of its own."""
    simulator = Population(Roessler(period=400.0), GaussianObservation(3.0), neurons, seed=number)
    made = simulator.simulate(np.empty((1, 0)), np.zeros((1, 1, BINS)), dt=10.0, seed=10 + number)
    names = [f"{'ab'[number]}{k}" for k in range(neurons)]
    data = population(made["activity"][0].T, 10.0, "trace", names=names, name=f"session {number}")
    return data, made["latent/factors"][0].T


@pytest.fixture(scope="module")
def sessions() -> list[tuple[PopulationData, np.ndarray]]:
    return [roessler(neurons, number) for number, neurons in enumerate(SIZES)]


@pytest.fixture(scope="module")
def model(sessions: list[tuple[PopulationData, np.ndarray]]) -> AutoencoderLatents:
    return fit_autoencoder([data for data, _ in sessions], 3, steps=40, channels=8, batch_size=6)


def test_latents_of_one_session_read_by_the_regression_of_the_other(
    model: AutoencoderLatents, sessions: list[tuple[PopulationData, np.ndarray]]
) -> None:
    """Coordinates in which latents are turned at random would leave an R2 of 0 on average, and far below it as often as not."""
    (first, truth), (second, other) = sessions
    inferred, new = (model.infer_population(data)[0].factors for data in (first, second))
    weights = np.linalg.lstsq(np.column_stack([inferred, np.ones(BINS)]), truth, rcond=None)[0]
    error = np.column_stack([new, np.ones(BINS)]) @ weights - other
    assert 1 - (error**2).sum() / ((other - other.mean(0)) ** 2).sum() > 0.8


def test_a_recording_finds_its_session_by_its_neurons(
    model: AutoencoderLatents, sessions: list[tuple[PopulationData, np.ndarray]]
) -> None:
    for number, (data, _) in enumerate(sessions):
        own = model.of(data)
        assert (own.session, own.neurons) == (number, SIZES[number])
        np.testing.assert_array_equal(own.infer(data.activity[0]).rates, model.infer_population(data)[0].rates)
    with pytest.raises(InputError, match=r"one of 2 sessions \(a0, a1, ...; b0, b1, ...\).*found 'c0' first"):
        model.of(replace(sessions[0][0], names=tuple(f"c{k}" for k in range(SIZES[0]))))
    with pytest.raises(InputError, match=r"one session's neurons, \[14, 10\], found 9"):
        model.of(sessions[1][0].select(np.arange(9)))


def test_sessions_that_cannot_be_shared_are_refused(sessions: list[tuple[PopulationData, np.ndarray]]) -> None:
    first, second = (data for data, _ in sessions)
    for bad, message in (
        (replace(second, dt=20.0), "expected bins of 10 ms"),
        (first, "other names"),
        (population(np.ones((50, 10)), 10.0, "counts", name="spikes"), "spikes: expected trace"),
    ):
        with pytest.raises(InputError, match=message):
            fit_autoencoder([first, bad], 2, steps=1)


def test_batches_have_windows_of_each_session(sessions: list[tuple[PopulationData, np.ndarray]]) -> None:
    found = list(training_loader([data for data, _ in sessions], 20, 6, 3, 0))
    assert [[tuple(x.shape) for x in batch] for batch in found] == [[(3, 20, 14), (3, 20, 10)]] * 3
    windows = Windows([sessions[1][0]], 20)[[np.array([[0, 7]])]][0]
    torch.testing.assert_close(windows[0], torch.from_numpy(sessions[1][0].activity[0][7:27]))


def test_alignment_undoes_a_rotation_of_other_bins() -> None:
    """Roessler's attractor is unlike any rotated image of itself; what is left is noise and the moments of 2,000 bins."""
    paths = np.asarray(Roessler(period=400.0).paths([0, 1], 2000, 10.0))
    first, second = (x if len(x) == 2000 else x.T for x in paths)
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    noisy = [x + 0.3 * rng.standard_normal(x.shape) for x in (first, second @ turn)]
    found = aligned([torch.from_numpy(noisy[0])], [torch.from_numpy(noisy[1])]).double().numpy()
    np.testing.assert_allclose(turn @ found, np.eye(3), atol=0.1)

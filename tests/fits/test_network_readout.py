"""A network of counts: superfluous latents, sparse events and long intervals do not bring it below each neuron's mean rate."""

import numpy as np
import pytest

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import split_time
from neuroinf.evaluation.dimension import score_dimension
from neuroinf.fits.autoencoder_latents import AutoencoderLatents, fit_autoencoder

K, BINS = 30, 500


def bursts(seed: int) -> tuple[PopulationData, PopulationData]:
    """Neurons of .15 spikes a bin that two latents drive: one comes and goes within a few bins, one lasts."""
    rng = np.random.default_rng(seed)
    z = np.zeros((BINS, 2))
    for t in range(1, BINS):
        z[t] = np.array([0.3, 0.95]) * z[t - 1] + np.sqrt(1 - np.array([0.3, 0.95]) ** 2) * rng.standard_normal(2)
    drive = np.log(0.15) + z @ rng.normal(0, 0.7, (2, K))
    return split_time(population(rng.poisson(np.exp(drive)), 100.0, "counts"), (0.8, 0.2))  # pyright: ignore


@pytest.fixture(scope="module")
def fitted() -> tuple[AutoencoderLatents, PopulationData, PopulationData]:
    train, test = bursts(0)
    return fit_autoencoder(train, 8, steps=40, channels=8, batch_size=4, window=60), train, test


def test_superfluous_latents_on_a_short_recording_stay_above_the_mean_rate(
    fitted: tuple[AutoencoderLatents, PopulationData, PopulationData],
) -> None:
    model, train, test = fitted
    assert np.mean(score_dimension(model, train.mean, test).neurons) > 0.0


def test_expected_counts_do_not_grow_with_the_intervals(
    fitted: tuple[AutoencoderLatents, PopulationData, PopulationData],
) -> None:
    """Widths come from simulations of the learned model and may be anything where that is wrong; rates are the data's."""
    model, _, test = fitted
    before = model.infer(test.activity[0])
    model.network.widths.mul_(3.0)
    after = model.infer(test.activity[0])
    model.network.widths.div_(3.0)
    np.testing.assert_allclose(after.sd, 3 * before.sd, rtol=1e-5)
    np.testing.assert_array_equal(after.rates, before.rates)


def test_no_expected_count_beyond_the_largest_in_training(
    fitted: tuple[AutoencoderLatents, PopulationData, PopulationData],
) -> None:
    model, train, test = fitted
    loud = test.activity[0] * 20
    most = np.maximum(train.activity[0].max(0), 1)
    assert (model.infer(loud).rates <= most * (1 + 1e-5)).all()
    assert (model.rates_of(np.full((1, 8), 50.0)) <= most * (1 + 1e-5)).all()


def test_rates_of_hidden_neurons_add_up(fitted: tuple[AutoencoderLatents, PopulationData, PopulationData]) -> None:
    """A Poisson regression's fitted counts sum to the counts; hidden in its own fold, each neuron's do, but where the cap cuts."""
    model, train, _ = fitted
    x = train.activity[0]
    for fold in range(4):
        hidden = np.arange(K) % 4 == fold
        rates = model.infer(x, np.broadcast_to(~hidden, x.shape)).rates[:, hidden]
        np.testing.assert_allclose(rates.sum(0), x[:, hidden].sum(0), rtol=0.1)

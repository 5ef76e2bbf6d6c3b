"""The study's network fitted to a population: better than the mean, masks respected, the seed's alone, and what is refused."""

import numpy as np
import pytest
import torch

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.errors import InputError
from neuroinf.fits.bilstm_latents import BiLSTMTraining, fit_bilstm, windows
from neuroinf.models.bilstm import hide
from neuroinf.simulators import GaussianObservation, LinearDynamics, Population

NEURONS, BINS = 20, 600


@pytest.fixture(scope="module")
def sequences() -> tuple[PopulationData, PopulationData, np.ndarray]:
    """A training and a test stretch of two latents, and the test's noise-free rates."""
    simulator = Population(LinearDynamics(2), GaussianObservation(snr=3.0), neurons=NEURONS)
    made = simulator.simulate(np.empty((2, 0)), np.zeros((1, 1, BINS)), dt=10.0, seed=4)
    activity = made["activity"].transpose(0, 2, 1)
    rates = made["latent/rates"].transpose(0, 2, 1)
    return population(activity[:1], 10.0, "trace"), population(activity[1:], 10.0, "trace"), rates[1]


def r2(estimate: np.ndarray, truth: np.ndarray) -> float:
    return 1 - float(((estimate - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum())


# at 1e-2 an LSTM of two cells has not converged after 400 steps
FAST = {"iterations": 400, "window": 60, "dropout": 0.0, "lr": 3e-2}


@pytest.mark.parametrize("how", [{}, {"hidden": 0.25}, {"rho": 0.02}, {"feedback": True}, {"batch": 8}])
def test_finds_the_rates_of_another_stretch(sequences, how) -> None:
    train, test, rates = sequences
    model = fit_bilstm(train, 2, BiLSTMTraining(**{**FAST, **how}))
    found = model.infer(test.activity[0])
    # the activity itself, all of its noise copied, would have 1 - 1/3
    assert r2(found.rates, rates) > 0.75
    assert found.factors.shape == (BINS, 2) and np.isnan(found.sd).all()
    assert np.array_equal(model.rates_of(found.factors), found.rates)
    assert np.mean(model.losses[-10:]) < 0.75 * model.losses[0]


def test_predicts_hidden_neurons(sequences) -> None:
    train, test, rates = sequences
    model = fit_bilstm(train, 2, BiLSTMTraining(**FAST, hidden=0.25))
    observed = np.ones((BINS, NEURONS), bool)
    observed[:, :5] = False
    spoilt = np.where(observed, test.activity[0], np.nan)
    found = model.infer(spoilt, observed)
    assert r2(found.rates[:, :5], rates[:, :5]) > 0.6
    assert np.array_equal(found.rates, model.infer(test.activity[0], observed).rates)


def test_begins_as_the_mean() -> None:
    """The first loss of a network whose latents are nearly 0 is the variance: the read-out's constant is the mean."""
    rng = np.random.default_rng(0)
    data = population(5 + rng.standard_normal((300, 10)), 10.0, "trace")
    model = fit_bilstm(data, 1, BiLSTMTraining(iterations=1))
    assert model.losses[0] == pytest.approx(float(data.activity[0].var(0).mean()), rel=0.2)


def test_same_seed_same_network(sequences) -> None:
    train, _, _ = sequences
    how = {"iterations": 5, "window": 50, "batch": 3, "hidden": 0.2}
    before = torch.random.get_rng_state()
    one, two, other = (fit_bilstm(train, 2, BiLSTMTraining(**how, seed=seed)) for seed in (1, 1, 2))
    assert one.losses == two.losses != other.losses
    assert torch.equal(before, torch.random.get_rng_state())


def test_sequences_of_unequal_length() -> None:
    """What fills up the shorter sequence has no effect: its own bins' losses are those of a training without the longer one."""
    rng = np.random.default_rng(1)
    long, short = rng.standard_normal((80, 6)), rng.standard_normal((30, 6))
    model = fit_bilstm(population([long, short], 10.0, "trace"), 2, BiLSTMTraining(iterations=3))
    assert np.isfinite(model.losses).all()
    assert model.infer(short).factors.shape == (30, 2)


def test_forecast_of_a_linear_system(sequences) -> None:
    """One step ahead, the regression on latents beats their mean on the stretch it was fitted to (a property of least squares)."""
    train, _, _ = sequences
    model = fit_bilstm(train, 2, BiLSTMTraining(**FAST))
    factors = model.infer(train.activity[0]).factors
    forecast = model.forecast(factors[:-5], 5)
    assert forecast.shape == (BINS - 5, 5, 2)
    ahead = factors[1:-4]
    assert ((forecast[:, 0] - ahead) ** 2).sum() < ((ahead - factors.mean(0)) ** 2).sum()
    assert np.allclose(model.forecast(forecast[:, 0], 1)[:, 0], forecast[:, 1], atol=1e-5)


@pytest.mark.parametrize("length", [30, 64, 100])
def test_windows_cover_every_bin(length: int) -> None:
    rows = np.arange(100.0)[:, None] * np.ones(2)
    cut = windows(population([rows, rows + 200], 10.0, "trace"), length)
    assert {len(part) for part in cut} == {length}
    assert set(torch.cat(cut)[:, 0].tolist()) == {*range(100), *range(200, 300)}
    for part in cut:
        assert bool((part[:, 0].diff() == 1).all())


def test_hidden_share() -> None:
    """Entries in half of the windows and whole neurons in the others; shares within 5 binomial standard errors (4e-6)."""
    shape = (400, 20, 50)
    hidden = hide(torch.zeros(shape), 0.25, torch.Generator().manual_seed(0))
    whole = (hidden == hidden[:, :1]).all(1).all(1)
    assert abs(float(whole.float().mean()) - 0.5) < 5 * 0.5 / 400**0.5
    neurons = hidden[whole][:, 0].float()
    assert abs(float(neurons.mean()) - 0.25) < 5 * (0.25 * 0.75 / neurons.numel()) ** 0.5
    entries = hidden[~whole].float()
    assert abs(float(entries.mean()) - 0.25) < 5 * (0.25 * 0.75 / entries.numel()) ** 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": 0}, {"lr": 0.0}, {"hidden": 1.0}, {"window": 1}, {"batch": 0}, {"layers": 2, "feedback": True}],
)
def test_refusals(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"bilstm.{next(iter(wrong))}: expected"):
        BiLSTMTraining(**wrong)


def test_windows_longer_than_a_sequence(sequences) -> None:
    with pytest.raises(InputError, match=r"window: expected at most the 600 bins"):
        windows(sequences[0], 601)

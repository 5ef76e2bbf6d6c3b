"""Rates in either of two states: what they are, and how well they are known."""

import numpy as np
import pytest
from scipy.stats import chi2

from neuroinf.errors import InputError
from neuroinf.fits.state_rates import StateRates, state_rates
from neuroinf.recordings.network_recording import NetworkRecording

NEURONS, SECONDS, DT = 3, 40.0, 4.0
LEADING, OTHER, REST = 20.0, 6.0, 25.0


def activity() -> np.ndarray:
    """The first population leads in the first and third quarter, the second in the others."""
    rates = np.empty((3, round(1000 * SECONDS / DT)))
    quarter = rates.shape[1] // 4
    for k in range(4):
        part = slice(k * quarter, (k + 1) * quarter)
        rates[k % 2, part], rates[1 - k % 2, part], rates[2, part] = LEADING, OTHER, REST
    return rates


def train(rates: np.ndarray, shape: float, rng: np.random.Generator) -> np.ndarray:
    """Spikes, ms, whose intervals in operational time have a gamma law of this shape: a squared CV of 1 / shape."""
    cumulated = np.concatenate([[0.0], np.cumsum(rates) * DT / 1000])
    # far more intervals than fit, begun long before the recording so that its first spike is in no special place
    spikes = np.cumsum(rng.gamma(shape, 1 / shape, round(2 * cumulated[-1]) + 200)) - 100 + rng.random()
    kept = spikes[(spikes > 0) & (spikes < cumulated[-1])]
    return np.interp(kept, cumulated, np.arange(len(cumulated)) * DT)


def recording(shape: float, rng: np.random.Generator) -> NetworkRecording:
    trains = [train(row, shape, rng) for row in activity() for _ in range(NEURONS)]
    return NetworkRecording(tuple(trains), np.repeat([0, 1, 2], NEURONS), 1000 * SECONDS)


@pytest.mark.parametrize("shape", [1.0, 4.0, 10.0])
def test_rates_are_right_and_as_well_known_as_is_said(shape: float) -> None:
    rng, n = np.random.default_rng(round(shape)), 120
    found = [state_rates(recording(shape, rng), activity(), DT) for _ in range(n)]
    true = np.array([[LEADING, OTHER, REST], [OTHER, LEADING, REST]])
    z = np.array([(one.rates - true) / one.sd for one in found])
    # the squared error over the stated variance, of n independent recordings for each of the six rates: chi-squared with n
    # degrees of freedom, within a factor for the variance stated, which is itself an estimate and on the safe side (1/6 of a
    # spike for each visit, and half a spike added)
    low, high = chi2.ppf([1e-4 / 12, 1 - 1e-4 / 12], n) / n
    spread = np.square(z).mean(0)
    assert (spread < 1.15 * high).all() and (spread > 0.5 * low).all()
    # an error as of Poisson neurons is far too large for regular ones
    if shape == 10.0:
        poisson = np.array([np.sqrt(true / (NEURONS * SECONDS / 2))] * n)
        errors = np.array([one.rates - true for one in found])
        assert (np.square(errors / poisson).mean(0) < 0.5 * low).all()


def test_intervals_across_a_change_say_nothing_of_a_neuron() -> None:
    # regular neurons, and a change every 2.5 s between 20 Hz and one: the last interval of a population that hardly fires ends when
    # it leads, ten times as long as the others there
    rates = np.empty((3, round(1000 * SECONDS / DT)))
    leads = (np.arange(rates.shape[1]) // round(2500 / DT)) % 2 == 0
    rates[0], rates[1], rates[2] = np.where(leads, LEADING, 1.0), np.where(leads, 1.0, LEADING), REST
    rng = np.random.default_rng(6)
    trains = [train(row, 1e6, rng) for row in rates for _ in range(NEURONS)]
    found = state_rates(NetworkRecording(tuple(trains), np.repeat([0, 1, 2], NEURONS), 1000 * SECONDS), rates, DT)
    # what is left is a sixth for each neuron and visit
    left = np.sqrt((found.changes + 1) / 2 * NEURONS / 6) / (NEURONS * SECONDS / 2)
    assert found.changes == 15
    assert found.sd.diagonal() == pytest.approx([left, left], rel=0.25)


def test_times_in_either_state_are_told() -> None:
    found = state_rates(recording(4.0, np.random.default_rng(0)), activity(), DT)
    # who leads is told from a mean over 200 ms, once it is 6 of 14 Hz over the middle: within 100 ms of each of 3 changes
    assert found.times == pytest.approx([20_000.0, 20_000.0], abs=300.0)
    assert found.changes == 3


def test_the_likelihood_is_highest_at_the_recorded_rates_and_widens_with_an_error() -> None:
    observed = StateRates(np.full((2, 3), 10.0), np.ones((2, 3)), np.full(2, 5000.0), 1)
    rates = np.array([np.full((2, 3), 10.0), np.full((2, 3), 11.0)])
    none, other = np.zeros((2, 3)), np.ones((2, 3))
    assert observed.log_likelihood(rates, none) == pytest.approx([0.0, -3.0])
    assert observed.log_likelihood(rates, other) == pytest.approx([0.0, -1.5])


def test_recordings_that_say_nothing_of_two_states_are_refused() -> None:
    one = recording(4.0, np.random.default_rng(0))
    with pytest.raises(InputError, match="both of the competing populations to lead for 300 ms"):
        state_rates(one, np.repeat(activity()[:, :1], 10_000, 1), DT)
    pushed = NetworkRecording(one.spikes, one.groups, one.duration, np.ones((3, 10_000)), DT)
    with pytest.raises(InputError, match="expected no external input"):
        state_rates(pushed, activity(), DT)
    without = NetworkRecording(one.spikes[:6], one.groups[:6], one.duration)
    with pytest.raises(InputError, match="a neuron of each population"):
        state_rates(without, activity(), DT)

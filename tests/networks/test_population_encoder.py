"""Statistics of recorded populations: what must not change them, and what they must say of known trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.networks import PopulationEncoder
from neuroinf.networks.population_statistics import AGES, LAGS, correlograms, hazards, pool_units, smoothed, statistics

GROUPS = torch.tensor([0, 0, 0, 1, 1, 2])


def trains(rows: int = 2, bins: int = 600, rate: float = 0.1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(rows, len(GROUPS), bins, generator=generator) < rate).float()


def unknown(units: Tensor) -> Tensor:
    return torch.full((len(units), 3, units.shape[-1]), torch.nan)


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-3, equal_nan=True)


def test_order_of_neurons_does_not_matter() -> None:
    units = trains()
    order = torch.tensor([2, 5, 0, 3, 1, 4])
    same(
        statistics(units[:, order], unknown(units), GROUPS[order], 3, 4.0),
        statistics(units, unknown(units), GROUPS, 3, 4.0),
    )


def test_absent_neurons_are_as_if_they_were_not_there() -> None:
    units = trains()
    absent = torch.cat([units, torch.full((2, 4, 600), torch.nan)], 1)
    groups = torch.cat([GROUPS, torch.tensor([0, 1, 2, 2])])
    same(
        statistics(absent, unknown(units), groups, 3, 4.0),
        statistics(units, unknown(units), GROUPS, 3, 4.0),
    )


def test_bins_that_were_not_recorded_are_as_if_they_were_not_there() -> None:
    """But for the smoothed rates of the last bins, of which every fifth is looked at."""
    units, inputs = trains(bins=600), torch.randn(2, 3, 600)
    longer = torch.nn.functional.pad(units, (0, 200), value=torch.nan)
    padded = torch.nn.functional.pad(inputs, (0, 200), value=torch.nan)
    same(statistics(longer, padded, GROUPS, 3, 4.0), statistics(units, inputs, GROUPS, 3, 4.0))


def test_population_without_neuron_and_recording_without_spike_are_finite_or_unknown() -> None:
    units = trains()
    units[0, GROUPS == 1] = torch.nan
    units[1] = 0.0
    found = statistics(units, unknown(units), GROUPS, 3, 4.0)
    assert not torch.isinf(found).any()
    encoder = PopulationEncoder(9, GROUPS.tolist()).eval()
    assert encoder(torch.cat([units, unknown(units)], 1)).isfinite().all()


def test_other_numbers_of_neurons_are_read_by_the_same_encoder() -> None:
    encoder = PopulationEncoder(9, GROUPS.tolist()).eval()
    units = trains()
    few = torch.cat([units[:, [0, 3, 5]], unknown(units)], 1)
    missing = units.clone()
    missing[:, [1, 2, 4]] = torch.nan
    same(encoder.read(few, torch.tensor([0, 1, 2])), encoder(torch.cat([missing, unknown(units)], 1)))


def test_hazard_of_a_regular_neuron() -> None:
    """One spike every 8 bins: the hazard is 1 at age 8 (its range is 7 to 9), and 0 before."""
    units = torch.zeros(1, 6, 800)
    units[:, :, ::8] = 1.0
    log_hazard = hazards(pool_units(units, GROUPS, 3, 4.0))[0, 0, 0, 0]
    at = [age for age in AGES if age <= 8][-1]
    # 3 neurons x 99 intervals, each with bins of ages 7 and 8, and one bin of age 7 after the last spike
    expected = np.log((3 * 99 + 0.5) / (3 * (2 * 99 + 1) + 5.0))
    assert float(log_hazard[AGES.index(at)]) == pytest.approx(expected, abs=1e-3)
    assert float(log_hazard[0]) < np.log(0.5 / 290)


def test_correlogram_of_independent_and_of_delayed_trains() -> None:
    """Populations that fire independently have a log ratio of 0 within 5 standard errors; a copy has a peak at its delay."""
    units = trains(1, 20_000)
    units[0, 3] = units[0, 0].roll(3)
    found = correlograms(pool_units(units, GROUPS, 3, 4.0))[0, 1]
    own_and_others = 6  # of three populations with themselves
    forward, backward = found[own_and_others], found[own_and_others + 1]
    peak = LAGS.index(3)
    assert max(forward[peak], backward[peak]) > 20
    independent = found[own_and_others + 2 :]
    # (joint - expected) / sd is standard normal but for the sum over a range: 4 x 13 numbers, beyond 5 once in 40,000 tries
    assert independent.abs().max() < 5.0


def test_smoothing_keeps_a_constant_rate() -> None:
    units = torch.ones(1, 6, 500)
    rate = smoothed(pool_units(units, GROUPS, 3, 4.0), 25.0)
    torch.testing.assert_close(rate, torch.full_like(rate, 250.0), rtol=1e-3, atol=0.1)


@pytest.mark.parametrize(("channels", "groups"), [(8, [0, 0, 1, 1]), (4, [0, 2]), (3, [])])
def test_groups_that_do_not_fit_are_refused(channels: int, groups: list[int]) -> None:
    with pytest.raises(InputError, match="expected groups of populations from 0"):
        PopulationEncoder(channels, groups)

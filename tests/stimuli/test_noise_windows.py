"""External input of populations: noise in windows against its law, steps of current sample by sample."""

import math
from typing import Any

import numpy as np
import pytest
from input_designs import FALSE_ALARM, rng
from scipy import stats

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.specification import specify
from neuroinf.stimuli import CurrentStep, NoiseWindows, Stimulus

ALL: list[Stimulus] = [
    NoiseWindows(3, 2000.0, law="white"),
    NoiseWindows(2, 2000.0, law="modulated", depth=2.0),
    CurrentStep(3, [0, 2], 2000.0, amplitude=(-300.0, 300.0), start=(0.0, 900.0), stop=(1000.0, 2000.0)),
    CurrentStep(2, [1], 2000.0, start=400.0, stop=800.0),
]
LIMIT = stats.norm.isf(FALSE_ALARM / 2)


@pytest.mark.parametrize("stimulus", ALL)
def test_contract_and_made_again_from_its_specification(stimulus: Stimulus) -> None:
    first = stimulus.sample(rng(3))
    assert isinstance(stimulus, Stimulus) and stimulus.unit == "1/s"
    assert first.shape == (stimulus.inputs, 500) and first.dtype == np.float64 and np.isfinite(first).all()
    assert (stimulus.sample(rng(3)) == first).all() and stimulus.frozen == (stimulus.sample(rng(4)) == first).all()
    again = build(specify(stimulus), Stimulus)
    assert type(again) is type(stimulus) and (again.sample(rng(3)) == first).all()
    with pytest.raises(InputError, match="widht"):
        description = specify(stimulus)
        build({**description, "init_args": {**description["init_args"], "widht": 1.0}}, Stimulus)


@pytest.mark.parametrize("law", ["white", "modulated"])
@pytest.mark.parametrize(
    ("dt", "period", "width"), [(4.0, 1000.0, 500.0), (0.1, 7.0, 2.1), (0.7, 7.0, 4.9), (4.0, 100.0, 100.0)]
)
def test_zero_outside_the_windows_and_nowhere_within(law: Any, dt: float, period: float, width: float) -> None:
    """To the step, where times on the grid are not exact in binary."""
    x = NoiseWindows(2, 6 * period, dt, law=law, period=period, width=width, depth=0.5).sample(rng())
    of_period, of_window = round(period / dt), round(width / dt)
    inside = np.arange(x.shape[1]) % of_period < of_window
    assert ((x != 0) == inside).all()


def test_white_noise_is_independent_from_input_to_input_and_step_to_step() -> None:
    sd = 3.0
    x = NoiseWindows(3, 200_000.0, sd=sd).sample(rng())
    x = x[:, np.arange(50_000) % 250 < 125] / sd
    n = x.shape[1]
    # sums of squares of n standard normal numbers are chi2(n); of products of two, given the first, N(0, sum of squares)
    low, high = stats.chi2(n).ppf([FALSE_ALARM / 6, 1 - FALSE_ALARM / 6])
    assert ((low < (x**2).sum(1)) & ((x**2).sum(1) < high)).all()
    pairs = [(x[i], x[j]) for i, j in ((0, 1), (0, 2), (1, 2))] + [(row[:-1:2], row[1::2]) for row in x]
    limit = stats.norm.isf(FALSE_ALARM / 2 / len(pairs))
    assert all(abs(u @ v) < limit * math.sqrt(u @ u) for u, v in pairs)


def test_modulated_noise_is_one_ornstein_uhlenbeck_process_for_all_inputs() -> None:
    dt, tau, sd, steps = 4.0, 7.0, 2.0, 50_000
    x = NoiseWindows(2, dt * steps, dt, sd, "modulated", width=1000.0, depth=0.0, tau=tau).sample(rng(1))
    assert (x[0] == x[1]).all()
    y, rho = x[0] / sd, math.exp(-dt / tau)
    # innovations of the stationary process are independent N(0, 1 - rho^2), and its first value is N(0, 1)
    innovations = (y[1:] - rho * y[:-1]) / math.sqrt(1 - rho**2)
    low, high = stats.chi2(steps - 1).ppf([FALSE_ALARM / 4, 1 - FALSE_ALARM / 4])
    assert low < (innovations**2).sum() < high
    assert abs(y[:-1] @ innovations) < stats.norm.isf(FALSE_ALARM / 4) * math.sqrt(y[:-1] @ y[:-1])
    first = [NoiseWindows(1, 8.0, dt, 1.0, "modulated").sample(rng(seed))[0, 0] for seed in range(2000)]
    assert stats.kstest(first, stats.norm.cdf).pvalue > FALSE_ALARM


def test_modulation_multiplies_the_standard_deviation() -> None:
    plain, deep = (
        NoiseWindows(1, 10_000.0, law="modulated", depth=depth, modulation=3000.0).sample(rng(2))
        for depth in (0.0, 20.0)
    )
    time = 4.0 * np.arange(2500)
    np.testing.assert_allclose(deep[0], plain[0] * (1 + 20 * np.sin(2 * np.pi * time / 3000.0)), atol=1e-9)


def test_noise_of_no_size_is_none() -> None:
    for law in ("white", "modulated"):
        assert not NoiseWindows(2, 1000.0, sd=0.0, law=law).sample(rng()).any()


def test_a_step_is_there_for_its_targets_and_its_time_alone() -> None:
    x = CurrentStep(3, [0, 2], 400.0, amplitude=-70.0, start=101.0, stop=199.0).sample(rng())
    expected = np.zeros((3, 100))
    expected[[0, 2], 25:50] = -70.0  # edges to the nearest step
    np.testing.assert_array_equal(x, expected)
    shorter = CurrentStep(1, [0], 400.0, amplitude=5.0, start=100.0, stop=100.5).sample(rng())
    assert np.flatnonzero(shorter[0]).tolist() == [25]


def test_ranges_of_a_step_are_drawn_for_each_waveform() -> None:
    step = CurrentStep(2, [0, 1], 4000.0, amplitude=(10.0, 300.0), start=(0.0, 1000.0), stop=(2000.0, 4000.0))
    generator = rng(5)
    x = np.stack([step.sample(generator) for _ in range(1000)])
    assert (x[:, 0] == x[:, 1]).all()
    first, last = (x[:, 0] != 0).argmax(1), 1000 - (x[:, 0, ::-1] != 0).argmax(1)
    sizes = x[np.arange(1000), 0, first]
    assert ((x[:, 0] == sizes[:, None]).sum(1) == last - first).all()
    jitter = generator.uniform(-0.5, 0.5, (2, 1000))  # edges are rounded to 4 ms
    for value, low, high in (
        (sizes, 10, 300),
        (4 * (first + jitter[0]), 0, 1000),
        (4 * (last + jitter[1]), 2000, 4000),
    ):
        # rounding adds less than 2 ms in 1,000: a distance of .002, far below the 0.07 that raises an alarm
        assert stats.kstest(value, stats.uniform(low, high - low).cdf).pvalue > FALSE_ALARM / 3
    independent = np.corrcoef([sizes, first, last])[np.triu_indices(3, 1)]
    assert (abs(independent) < stats.norm.isf(FALSE_ALARM / 6) / math.sqrt(1000)).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": 0}, "inputs"),
        ({"duration": -1.0}, "positive duration"),
        ({"duration": 1001.0}, "whole number of steps"),
        ({"dt": math.nan}, "positive duration and dt"),
        ({"law": "pink"}, "law must be one of white, modulated, found 'pink'"),
        ({"period": 0.0}, "period must be above 0 ms"),
        ({"width": math.inf}, "width must be above 0 ms, found inf"),
        ({"width": 1500.0}, "width must be at most the period of 1000 ms, found 1500"),
        ({"modulation": -5.0}, "modulation must be above 0"),
        ({"tau": 0.0}, "tau must be above 0"),
        ({"sd": -1.0}, "sd must be a number that is not negative"),
        ({"depth": math.nan}, "depth must be a number that is not negative"),
    ],
)
def test_impossible_noise(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        NoiseWindows(**{"inputs": 2, "duration": 1000.0, **changed})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"targets": []}, "targets must be some of the inputs 0 to 1"),
        ({"targets": [2]}, "inputs 0 to 1, found .2."),
        ({"targets": [-1]}, "inputs 0 to 1"),
        ({"inputs": 0}, "inputs"),
        ({"amplitude": (3.0, 1.0)}, "amplitude .* reversed range"),
        ({"amplitude": math.inf}, "amplitude must be finite"),
        ({"start": -4.0}, "start must lie within"),
        ({"stop": 1004.0}, "stop must lie within .0, 1000., found"),
        ({"start": (0.0, 600.0), "stop": (500.0, 900.0)}, "stop must be after start"),
        ({"start": 500.0, "stop": 500.0}, "stop must be after start"),
        ({"duration": 998.0}, "whole number of steps"),
    ],
)
def test_impossible_steps(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        CurrentStep(**{"inputs": 2, "targets": [0], "duration": 1000.0, "start": 100.0, "stop": 900.0, **changed})
    assert "\n" not in str(told.value)

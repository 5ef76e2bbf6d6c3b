"""What the GLIF simulator refuses, and that its message says what was expected and what was found."""

import math
from typing import Any

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.simulators import GLIF

GOOD = {"C": 100.0, "R_input": 0.2, "El": 0.0, "th_inf": 25.0, "spike_cut_length": 2.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0}, "expected 1, 2, 3, 4 or 5, found 0"),
        ({"level": 6}, "expected 1, 2, 3, 4 or 5, found 6"),
        ({"frame": "relative"}, "expected one of rest, absolute, found 'relative'"),
        ({"fixed": {"Cm": 100.0}}, "no parameter 'Cm'; it has C, R_input"),
        ({"level": 1, "fixed": {"asc_amp_1": 1.0}}, "level 1 has no parameter 'asc_amp_1'"),
        ({"fixed": {"C": 0.0}}, r"C \(pF\) must be positive, found 0.0"),
        ({"fixed": {"spike_cut_length": -1.0}}, r"spike_cut_length \(ms\) must be not negative, found -1.0"),
        ({"fixed": {"El": math.nan}}, r"El \(mV\) must be finite, found nan"),
        ({"fixed": {"El": "high"}}, "El must be a number of mV, found .*high"),
        ({"record": ["Voltage"]}, "expected a list of any of voltage, .*, found 'Voltage'"),
        ({"record": "voltage"}, "expected a list"),
        ({"level": 2, "record": ["asc_1"]}, "at level 2, found 'asc_1'"),
    ],
)
def test_refuses_a_wrong_configuration(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GLIF(**arguments)


@pytest.mark.parametrize(
    ("change", "shape", "dt", "message"),
    [
        ({"C": -1.0}, (2, 1, 10), 0.1, r"theta row 1: C \(pF\) must be positive, found -1.0"),
        ({"R_input": 0.0}, (2, 1, 10), 0.1, r"R_input \(GOhm\) must be positive, found 0.0"),
        ({"th_inf": math.inf}, (2, 1, 10), 0.1, r"th_inf \(mV\) must be finite, found inf"),
        ({"spike_cut_length": -0.1}, (2, 1, 10), 0.1, "spike_cut_length .* must be not negative"),
        ({}, (2, 1, 10), 0.0, "dt: expected a positive number of ms, found 0.0"),
        ({}, (2, 1, 10), -0.1, "dt: expected a positive number of ms, found -0.1"),
        ({}, (2, 1, 10), math.nan, "dt: expected a positive number of ms, found nan"),
        ({}, (3, 1, 10), 0.1, r"expected shape \(2, 1, T\) or \(1, 1, T\), found \(3, 1, 10\)"),
        ({}, (2, 2, 10), 0.1, r"expected shape .*, found \(2, 2, 10\)"),
        ({}, (2, 10), 0.1, r"expected shape .*, found \(2, 10\)"),
    ],
)
def test_refuses_a_wrong_simulation(change: dict[str, float], shape: tuple[int, ...], dt: float, message: str) -> None:
    theta = [list(GOOD.values()), list({**GOOD, **change}.values())]
    with pytest.raises(InputError, match=message):
        GLIF(level=1).simulate(theta, np.zeros(shape), dt)


@pytest.mark.parametrize("theta", [np.zeros((2, 4)), np.zeros(5), np.zeros((1, 2, 5))])
def test_refuses_theta_of_another_width(theta: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected shape \(n, 5\) with columns C, R_input, .*, found shape \("):
        GLIF(level=1).simulate(theta, np.zeros((1, 1, 10)), 0.1)

"""What the GLM simulator refuses, and that its message says what was expected and what was found."""

from typing import Any

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import Taps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": -1}, "GLM inputs: expected a whole number that is not negative, found -1"),
        ({"hidden": -2}, "GLM hidden: expected a whole number that is not negative, found -2"),
        ({"coupled": 1.5}, "GLM coupled: expected a whole number that is not negative, found 1.5"),
        ({"inputs": True}, "GLM inputs: expected a whole number"),
        ({"inputs": 0, "hidden": 0}, "needs an observed, hidden or coupled input"),
        ({"hidden": 0, "summed": True}, "there are no hidden inputs to be summed"),
        ({"summed": 1}, "GLM summed: expected true or false, found 1"),
        ({"coupled": 2}, "2 coupled neurons need a basis; set coupling"),
        ({"coupling": Taps(2)}, "there are no coupled neurons; set coupled, or coupling to null"),
        ({"inputs": 0, "filters": Taps(2)}, "there are no observed inputs to be filtered"),
        ({"filters": 5}, "GLM filters: expected a basis, .* found 5"),
        ({"history": "raised"}, "GLM history: expected a basis, .* found 'raised'"),
        ({"nonlinearity": "relu"}, "GLM nonlinearity: expected one of logistic, exponential, found 'relu'"),
        ({"output": "spikes"}, "GLM output: expected one of rate, bernoulli, poisson, found 'spikes'"),
    ],
)
def test_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GLM(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"theta": np.zeros((2, 5))},
            r"expected shape \(n, 4\) with columns w_1, w_2, b, w_hidden, found shape \(2, 5\)",
        ),
        ({"theta": np.zeros(4)}, r"found shape \(4,\)"),
        ({"theta": [["a"] * 4]}, "theta: expected numbers, one row per neuron"),
        ({"theta": [[0.0] * 4, [0.0, 0.0, np.nan, 0.0]]}, "theta row 1: b must be finite, found nan"),
        ({"stimulus": np.zeros((2, 2, 10))}, r"expected shape \(2, 3, T\) or \(1, 3, T\), .* found \(2, 2, 10\)"),
        ({"stimulus": np.zeros((3, 3, 10))}, r"found \(3, 3, 10\)"),
        ({"stimulus": np.zeros((3, 10))}, r"found \(3, 10\)"),
        ({"stimulus": np.zeros((2, 3, 10), complex)}, "expected real numbers, found dtype complex128"),
        ({"dt": 0.0}, "dt: expected a positive number of ms, found 0.0"),
        ({"dt": "1"}, "dt: expected a positive number of ms, found '1'"),
        ({"seed": -1}, r"seed: expected whole numbers from 0 to 2\^64 - 1, found -1"),
        ({"seed": [0, 2**64]}, "seed: expected whole numbers"),
        ({"seed": [0]}, "seed: expected one number or 2, one for each row, found 1"),
        ({"seed": [0, 0.5]}, "found 0.5"),
    ],
)
def test_refuses_calls(change: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"theta": np.zeros((2, 4)), "stimulus": np.zeros((2, 3, 10)), "dt": 1.0, "seed": 0}
    with pytest.raises(InputError, match=message) as caught:
        GLM(inputs=2).simulate(**(call | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output", ["rate", "bernoulli", "poisson"])
@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_a_stimulus_that_is_not_finite(output: Any, nonlinearity: Any, value: float) -> None:
    simulator = GLM(2, 1, filters=Taps(8), nonlinearity=nonlinearity, output=output)
    for row, theta in ((0, 1.0), (1, 0.0), (2, 1.0), (2, 0.0)):
        stimulus = np.zeros((3, 3, 20))
        stimulus[1, row, 7] = value
        with pytest.raises(InputError, match=f"stimulus row 1: input {row + 1} must be finite, found .* in bin 7"):
            simulator.simulate(np.full((3, len(simulator.parameters)), theta), stimulus, 1.0)


def test_refuses_a_drive_that_overflows() -> None:
    with pytest.raises(InputError, match="row 0: the drive is not a finite number"):
        GLM(1, 0).simulate([[1e300, 0.0]], np.full((1, 1, 3), 1e300), 1.0)


def test_numbers_of_other_types_are_taken() -> None:
    simulator = GLM(np.int64(1), 0)  # type: ignore[arg-type]
    whole = simulator.simulate([[1, 0]], [[[1, 0, 2]]], 1, seed=np.int64(3))  # type: ignore[arg-type]
    same = simulator.simulate(np.array([[1.0, 0.0]]), np.array([[[1.0, 0.0, 2.0]]]), 1.0, seed=3)
    np.testing.assert_array_equal(whole["rate"], same["rate"])
    assert simulator.simulate(np.zeros((0, 2)), np.zeros((0, 1, 5)), 1.0)["rate"].shape == (0, 5)  # type: ignore[union-attr]

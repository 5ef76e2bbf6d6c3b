"""Trees, parameters and stimuli that a hierarchical neuron refuses."""

import math
from typing import Any

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.simulators import HierarchicalGLM

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "cycle": ({"parents": [0, 3, 2], "excitatory": [[1], [], []], "inhibitory": [[], [], []]}, "cycle"),
    "parent after child": (
        {"parents": [0, 3, 1], "excitatory": [[], [1], []], "inhibitory": [[], [], []]},
        "before its parent",
    ),
    "no root": ({"parents": [1], "excitatory": [[1]], "inhibitory": [[]]}, "one root"),
    "two roots": ({"parents": [0, 0], "excitatory": [[1], []], "inhibitory": [[], []]}, "one root"),
    "missing parent": ({"parents": [0, 7], "excitatory": [[1], []], "inhibitory": [[], []]}, "subunits are 1 to 2"),
    "missing subunit": ({"parents": [0], "excitatory": [[1], [2, 3]], "inhibitory": [[]]}, r"\[2, 3\].*does not exist"),
    "too few lists": ({"parents": [0, 1], "excitatory": [[1]], "inhibitory": [[], []]}, "each of the 2 subunits"),
    "input 0": ({"parents": [0], "excitatory": [[0]], "inhibitory": [[]]}, "from 1"),
    "twice": ({"parents": [0], "excitatory": [[1, 1]], "inhibitory": [[]]}, "twice"),
    "both kinds": ({"parents": [0], "excitatory": [[1]], "inhibitory": [[1]]}, "one kind"),
    "gap": ({"parents": [0], "excitatory": [[1, 3]], "inhibitory": [[]]}, "without gaps"),
    "no input": ({"parents": [0], "excitatory": [[]], "inhibitory": [[]]}, "at least one"),
    "delay": ({"parents": [0], "excitatory": [[1]], "inhibitory": [[]], "delay": -1.0}, "delay"),
    "sharing": ({"parents": [0], "excitatory": [[1]], "inhibitory": [[]], "synapses": "all"}, "individual, shared"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_trees(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(InputError, match=message):
        HierarchicalGLM(**arguments)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("tau_1_1", -1.0, "tau_1_1.*above 0"),
        ("tau_1_1", 500.1, "at most 500"),
        ("J_1", 0.0, "J_1.*positive"),
        ("w_1_1", math.nan, "finite"),
    ],
)
def test_bad_parameters(parameter: str, value: float, message: str) -> None:
    simulator = HierarchicalGLM([0], [[1]], [[]])
    theta = np.ones((2, 5))
    theta[1, simulator.parameters.index(parameter)] = value
    with pytest.raises(InputError, match=f"row 1.*{message}"):
        simulator.simulate(theta, np.zeros((1, 1, 10)), 1.0)


def test_bad_calls() -> None:
    simulator = HierarchicalGLM([0], [[1]], [[]])
    with pytest.raises(InputError, match="theta: expected shape"):
        simulator.simulate(np.ones((1, 4)), np.zeros((1, 1, 10)), 1.0)
    with pytest.raises(InputError, match="stimulus: expected shape"):
        simulator.simulate(np.ones((1, 5)), np.zeros((1, 2, 10)), 1.0)
    with pytest.raises(InputError, match="dt"):
        simulator.simulate(np.ones((1, 5)), np.zeros((1, 1, 10)), 0.0)
    with pytest.raises(InputError, match="architecture"):
        HierarchicalGLM.named("5N", 1, 1)

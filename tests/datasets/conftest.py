"""A toy simulation, whose package other processes can import too."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroinf.datasets.generation import Simulation
from neuroinf.priors import Parameter, Prior


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package of the toy simulator."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("toy_neurons")


@pytest.fixture
def simulation(toy: Any) -> Callable[..., Simulation]:
    """Makes a simulation of toy neurons, some arguments changed."""

    def make(delay: float = 0.0, fail: str = "", **changes: Any) -> Simulation:
        # the other way round than in the simulator
        prior = Prior({"leak": Parameter("1/ms", 0.05, 0.5, "log"), "gain": Parameter("1", 0.0, 1.0)})
        arguments: dict[str, Any] = {
            "simulator": toy.Toy(delay, fail),
            "prior": prior,
            "stimulus": toy.Pulses(),
            "n": 60,
            "dt": 0.5,
            "record_dt": 2.0,
            "seed": 3,
            "waveforms": 16,
        }
        return Simulation(**(arguments | changes))

    return make

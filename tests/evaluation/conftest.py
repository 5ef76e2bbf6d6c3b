"""A prior, a small made-up simulator, and methods of known quality; GLM neurons importable by their module's name."""

import sys
from pathlib import Path

import numpy as np
import pytest

from neuroinf.priors import Parameter, Prior

sys.path.insert(0, str(Path(__file__).parent))


class Leak:
    """Voltage relaxing to gain * stimulus with time constant tau; a spike where it passes th. `label` does nothing."""

    parameters = ("tau", "gain", "th", "label")
    units = ("ms", "mV/pA", "mV", "1")
    channels = {"voltage": "mV"}  # noqa: RUF012
    stimulus_unit = "pA"

    def simulate(self, theta, stimulus, dt, seed=0):
        """See Simulator; noise 0.1 mV from each row's seed."""
        n, steps = len(theta), stimulus.shape[-1]
        seeds = seed if isinstance(seed, list) else [seed] * n
        current = np.broadcast_to(stimulus[:, 0], (n, steps))
        voltage, v = np.empty((n, steps)), np.zeros(n)
        for t in range(steps):
            v = v + dt / theta[:, 0] * (theta[:, 1] * current[:, t] - v)
            voltage[:, t] = v
        voltage = voltage + np.stack([0.1 * np.random.default_rng(s).standard_normal(steps) for s in seeds])
        above = voltage > theta[:, 2:3]
        crossings = above[:, 1:] & ~above[:, :-1]
        return {"voltage": voltage, "spikes": [(np.flatnonzero(row) + 1) * dt for row in crossings]}


@pytest.fixture(scope="session")
def simulator() -> Leak:
    return Leak()


@pytest.fixture(scope="session")
def prior() -> Prior:
    return Prior(
        {
            "tau": Parameter("ms", 5.0, 50.0, "log"),
            "gain": Parameter("mV/pA", 0.05, 0.2),
            "th": Parameter("mV", 5.0, 15.0),
            "label": Parameter("1", -1.0, 1.0),
        }
    )

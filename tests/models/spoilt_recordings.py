"""Recordings of known neurons with noise, and ways of spoiling them, for the tests of the novelty score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.datasets.simulation import Simulation
from neuroinf.models.departures import Departures, departures
from neuroinf.models.residuals import residuals
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLIF
from neuroinf.stimuli import OrnsteinUhlenbeck

FloatArray = NDArray[np.float64]
NOISE = (0.05, 2.0)
FIXED = {"spike_cut_length": 3.8, "asc_tau_1": 100.0, "asc_tau_2": 10.0}
PRIOR = Prior(
    {
        "C": Parameter("pF", 40.0, 200.0, "log"),
        "R_input": Parameter("GOhm", 0.07, 0.7, "log"),
        "El": Parameter("mV", -84.0, -60.0),
        "th_inf": Parameter("mV", 16.0, 41.0, "log"),
        "asc_amp_1": Parameter("pA", -75.0, 0.0),
        "asc_amp_2": Parameter("pA", -470.0, 20.0),
    }
)
OBSERVATION = Observation(noise={"voltage": list(NOISE)}, spike_cut=3.8)
STIMULUS = OrnsteinUhlenbeck(duration=1000.0, dt=1.0, mean=(0.5, 1.5), sd=(0.2, 0.8), tau=(1.0, 30.0))
SIMULATION = Simulation(GLIF(level=3, frame="absolute", fixed=FIXED), PRIOR, STIMULUS, 400, 0.1, 1.0)


@dataclass(frozen=True)
class Recordings:
    """Observations x (n, 3, T) of neurons with parameters theta (n, P), with their noise's sd (n,)."""

    x: NDArray[np.float32]
    theta: FloatArray
    noise: FloatArray

    def departures(self, rng: np.random.Generator) -> Departures:
        """From starts a tenth of the prior's range off, as a network's answers may be."""
        start = PRIOR.to_unit(self.theta)
        start = (start + 0.1 * rng.uniform(-1, 1, start.shape)).clip(0, 1)
        return departures(residuals(self.x, start, SIMULATION, OBSERVATION), OBSERVATION.dt, NOISE[1])


def record(n: int, seed: int, noise: float | None = None, simulation: Simulation = SIMULATION) -> Recordings:
    """n recordings, with noise of one sd (mV) or as in training."""
    simulation = replace(simulation, n=n, seed=seed)
    rows = simulation.rows(0, n, *simulation.bank())
    content = rows.datasets()
    bank = simulation.bank()[1]
    stimulus = content["stimulus/scale"][:, None, None] * bank[content["stimulus/index"]]
    voltage = (content["response/voltage"], 1.0)
    x = OBSERVATION.assemble(n, simulation.duration, {"voltage": voltage}, rows.spikes, (stimulus, 1.0))
    rng = np.random.default_rng(seed)
    sd = np.exp(rng.uniform(np.log(NOISE[0]), np.log(NOISE[1]), n)) if noise is None else np.full(n, noise)
    x[:, 0] += sd[:, None] * rng.standard_normal(x[:, 0].shape)
    return Recordings(x, rows.theta, sd)


def spoil(good: Recordings, how: str, rng: np.random.Generator) -> Recordings:
    """The recordings spoilt: "hum", "drift", "current", "clipped", "noise" or "constant"."""
    x = good.x.copy()
    time = np.arange(x.shape[-1])
    if how == "hum":
        x[:, 0] += 2.0 * np.sin(2 * np.pi * 0.06 * time + rng.uniform(0, 2 * np.pi, (len(x), 1)))
    elif how == "drift":
        x[:, 0] += 5.0 * time / len(time)
    elif how == "current":
        x[:, 2] = np.roll(x[:, 2], 1, axis=0)
    elif how == "clipped":
        x[:, 0] = np.minimum(x[:, 0], (good.theta[:, 2] + good.theta[:, 3] - 2.0)[:, None])
    else:
        x[:, 0] = -65.0 + (5.0 if how == "noise" else 0.0) * rng.standard_normal(x[:, 0].shape)
        x[:, 1] = 0.0
    return replace(good, x=x)

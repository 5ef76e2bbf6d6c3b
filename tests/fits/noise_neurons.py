"""GLIF neurons under pink noise, observed with noise: what the fits are tried on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.glif import GLIF

FIXED = {"spike_cut_length": 3.8, "asc_tau_1": 100.0, "asc_tau_2": 10.0}
RANGES = {
    "C": Parameter("pF", 38.7, 202.7, "log"),
    "R_input": Parameter("GOhm", 0.068, 0.758, "log"),
    "El": Parameter("mV", -84.0, -60.0),
    "th_inf": Parameter("mV", 16.0, 41.2, "log"),
    "asc_amp_1": Parameter("pA", -75.0, 0.0),
    "asc_amp_2": Parameter("pA", -470.0, 20.0),
}
PRIOR, SIMULATOR = Prior(RANGES), GLIF(3, "absolute", FIXED)


class Observed(NamedTuple):
    theta: NDArray[np.float64]
    x: NDArray[np.float64]
    spikes: list[NDArray[np.float64]]


def observe(
    n: int,
    noise: float,
    rng: np.random.Generator,
    duration: int = 3000,
    simulator: GLIF = SIMULATOR,
    prior: Prior = PRIOR,
) -> Observed:
    """n neurons under pink noise around 0.75, 1 and 1.5 times their rheobase, at 1 ms."""
    theta = prior.sample(n, rng)
    frequency = np.fft.rfftfreq(duration, 1e-3)
    size = np.where((frequency >= 1) & (frequency <= 100), np.maximum(frequency, 1) ** -0.5, 0)
    z = np.fft.irfft(size * np.exp(2j * np.pi * rng.random(len(size))), duration)
    level = np.repeat([0.75, 1.0, 1.5], duration // 3)
    stimulus = simulator.rheobase(theta)[:, None] * level * (1 + 0.2 * z / z.std())
    response = simulator.simulate(theta, np.repeat(stimulus, 10, axis=1)[:, None], 0.1)
    voltage = np.asarray(response["voltage"])[:, 9::10]
    x = np.stack(
        [voltage + noise * rng.standard_normal(voltage.shape), np.full_like(voltage, np.nan), stimulus], axis=1
    )
    return Observed(theta, x, list(response["spikes"]))

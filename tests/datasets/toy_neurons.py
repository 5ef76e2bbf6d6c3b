"""A small simulator and stimulus in a package of their own, as a user would write them."""

import os
import time

import numpy as np


class Toy:
    """A noisy leaky integrator, which fails on request; noise from each row's own seed."""

    parameters = ("gain", "leak")
    units = ("1", "1/ms")
    stimulus_unit = "pA"

    def __init__(self, delay: float = 0.0, fail: str = "") -> None:
        self.delay, self.fail = delay, fail
        self.channels = {"voltage": "mV"}

    def rheobase(self, theta):
        return 1.0 + theta[:, 0]

    def simulate(self, theta, stimulus, dt, seed=0):
        if self.fail == "raise":
            raise RuntimeError("the membrane tore")
        if self.fail == "exit":
            os._exit(3)
        n, steps = len(theta), stimulus.shape[-1]
        time.sleep(self.delay * n)
        gain, leak = theta.T
        noise = np.stack([np.random.default_rng(s).standard_normal(steps) for s in seed])
        voltage, v = np.empty((n, steps)), np.zeros(n)
        for t in range(steps):
            v = v + dt * (gain * stimulus[:, 0, t] - leak * v) + 0.1 * noise[:, t]
            voltage[:, t] = v
        spikes = [dt * np.flatnonzero((row[1:] > 1) & (row[:-1] <= 1)) for row in voltage]
        # every kind of failure, told by the gain
        voltage[gain < 0.1, 5] = np.inf
        spikes = [times[:0] if 0.1 <= g < 0.2 else times for times, g in zip(spikes, gain, strict=True)]
        return {
            "voltage": voltage,
            "spikes": spikes,
            "terminated": (gain >= 0.2) & (gain < 0.3),
            "latent/final": voltage[:, -1:],
        }


class Pulses:
    """Independent uniform samples."""

    inputs = 1

    def __init__(self, unit: str = "pA", frozen: bool = False, duration: float = 20.0) -> None:
        self.unit, self.frozen, self.duration, self.dt = unit, frozen, duration, 1.0

    def sample(self, rng):
        return rng.random((1, round(self.duration / self.dt)))

"""A simulator of one's own: a leaky integrate-and-fire neuron with a noisy current."""

import numpy as np


class LeakyIntegrator:
    """C dV/dt = I + noise - V / R, from V = 0; above the threshold a spike, and V returns to 0."""

    parameters = ("C", "R")
    units = ("pF", "GOhm")
    stimulus_unit = "pA"

    def __init__(self, threshold: float = 20.0, noise: float = 5.0) -> None:
        self.threshold, self.noise, self.channels = threshold, noise, {"voltage": "mV"}

    def simulate(self, theta, stimulus, dt, seed=0):
        C, R = theta.T
        n, steps = len(theta), stimulus.shape[-1]
        seeds = seed if np.ndim(seed) else [(seed, row) for row in range(n)]
        noise = np.stack([np.random.default_rng(s).standard_normal(steps) for s in seeds])
        current = stimulus[:, 0] + self.noise * noise
        voltage, fired, v = np.empty((n, steps)), np.empty((n, steps), bool), np.zeros(n)
        for t in range(steps):
            v = v + dt / C * (current[:, t] - v / R)
            fired[:, t] = v > self.threshold
            voltage[:, t] = v = np.where(fired[:, t], 0.0, v)
        return {"voltage": voltage, "spikes": [dt * np.flatnonzero(row) for row in fired]}

    def rheobase(self, theta):
        return self.threshold / theta[:, 1]

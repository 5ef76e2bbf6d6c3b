"""The mesoscopic equations age by age, with arrays that are shifted, in plain numpy: to compare with, and to draw from."""

from __future__ import annotations

import numpy as np


def stationary(circuit, values, rates, ages, dt):
    """Voltage and survivors by age before the first bin, without the published code's quirks."""
    a, weights, mu, theta = values
    level, finer = mu + rates @ weights / a, max(1, round(dt / 1e-3))
    voltage, survivors = [], []
    for m in range(len(a)):
        fine = np.arange((ages - 1) * finer + 1) * dt / finer
        held = fine < np.floor(circuit.refractory[m] / 1000 / dt + 1e-9) * dt - 1e-9
        v = np.where(held, 0.0, level[m] * (1 - np.exp(-fine * a[m])))
        f = np.where(held, 0.0, np.exp(v - theta[m]))
        voltage.append(v[::finer])
        survivors.append(np.exp(-np.cumsum(f) * dt / finer)[::finer])
    return np.array(voltage), np.array(survivors)


def run(circuit, values, rates, since, population, scheme, ages, dt, external, z=None, fired=None, rng=None):
    """Activity (M, T), spikes (Q, T), and -log likelihood of both: of those given, or of drawn ones where there are none."""
    a, weights, mu, theta = values
    populations, steps = external.shape
    sizes = np.array(circuit.sizes, float)
    held = np.floor(np.array(circuit.refractory) / 1000 / dt + 1e-9).astype(int)
    voltage, survivors = stationary(circuit, values, rates, ages, dt)
    own = np.array([voltage[m, age] for m, age in zip(population, since, strict=True)])
    since, current = since.copy(), rates.astype(float).copy()
    past = np.repeat(rates[:, None] * dt, ages, 1)  # by age: the youngest first
    keep = np.exp(-dt * 1000 / np.array(circuit.synapse))
    drawn_z, drawn_y = np.zeros((populations, steps)), np.zeros((len(population), steps), bool)
    by_spikes = by_activity = 0.0
    for t in range(steps):
        if t:
            current = keep * current + (1 - keep) * past[:, 0] / dt
        h = current @ weights + external[:, t]

        def step(v, m, h=h):
            if scheme == "euler":
                return v + dt * a[m] * (mu[m] - v) + dt * h[m]
            return np.exp(-dt * a[m]) * v + (1 - np.exp(-dt * a[m])) * mu[m] + dt * h[m]

        now = np.zeros(populations)
        for m in range(populations):
            voltage[m] = step(voltage[m], m)
            voltage[m, : held[m]] = 0.0
            load = np.exp(voltage[m] - theta[m]) * dt
            load[: held[m]] = 0.0
            p = 1 - np.exp(-load)
            alive = survivors[m] * past[m]
            missing = (1 - survivors[m]) * alive
            expected = (alive * p).sum() + (missing * p).sum() / missing.sum() * (1 - alive.sum())
            expected = min(max(expected, 0.0), 1.0)
            variance = (expected + 0.1 * dt) / sizes[m]
            now[m] = z[m, t] if z is not None else max(rng.normal(expected, np.sqrt(variance)), 0.0)
            by_activity += (now[m] - expected) ** 2 / variance / 2 + np.log(2 * np.pi * variance) / 2
            voltage[m, 1:] = voltage[m, :-1].copy()
            voltage[m, 0] = 0.0
            survivors[m, 1:] = (survivors[m] * np.exp(-load))[:-1]
            survivors[m, 0] = 1.0
        for i, m in enumerate(population):
            own[i] = 0.0 if since[i] < held[m] else step(own[i], m)
            p = -np.expm1(-np.exp(own[i] - theta[m]) * dt)
            y = fired[i, t] if fired is not None else rng.random() < p and since[i] >= held[m]
            by_spikes -= np.log(p) if y else np.log1p(-p)
            drawn_y[i, t], since[i] = y, 0 if y else since[i] + 1
            own[i] = 0.0 if y else own[i]
        past = np.concatenate([now[:, None], past[:, :-1]], 1)
        drawn_z[:, t] = now
    return drawn_z, drawn_y, by_spikes / (populations * steps), by_activity / (populations * steps)

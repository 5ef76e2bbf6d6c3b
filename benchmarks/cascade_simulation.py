"""Dendro-somatic simulations per second: the compiled cascade beside a loop over steps in numpy.

A simulation is 410 ms at 0.1 ms of the dendro-somatic loop with parameters drawn around the published ones and a noise
current of its own in soma and dendrite, float32 as a file of simulations has them. The peer is the straightforward
program: the same recursions as one line of numpy for all rows, step by step, in double precision, cut kernels included.
Every program is run once per round, round after round, in calls of the same number of rows as a file's generation
makes; its processor time is taken and the fastest round counts, as nothing but other work makes a round slower. The two
must give the same spikes in all but a few rows, in which a voltage meets the threshold to rounding.

    python benchmarks/cascade_simulation.py --output cascade_simulation.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuroinf.simulators import Cascade

GRAPH = Path(__file__).parents[1] / "configs" / "cascades" / "dendrosomatic.yaml"
DT, STEPS = 0.1, 4100
TAU = 5.0  # of the noise currents, ms
BAR = 10_000  # simulations a second on one core
Floats = NDArray[Any]


def with_numpy(p: dict[str, Floats], x: Floats) -> Floats:
    """Whether the soma spiked in each step (n, T), by a loop over steps with all rows at once."""
    n, _, steps = x.shape

    def taps(tau: Floats, length: float) -> tuple[Floats, Floats, int]:
        a, number = np.exp(-DT / tau), round(length / DT)
        return a, (1 - a) / (1 - a**number), number

    a_s, k_s, n_s = taps(p["soma_tau"], 100.0)
    a_d, k_d, n_d = taps(p["dendrite_tau"], 50.0)
    a_a, k_a, n_a = taps(p["adaptation_tau"], 200.0)
    k_a = p["adaptation"] * k_a
    into_soma, into_dendrite, spike = np.zeros((3, steps, n))
    soma, dendrite, adaptation, output = np.zeros((4, n))
    for t in range(1, steps):
        old_soma, old_dendrite = soma, dendrite
        soma = a_s * soma + k_s * into_soma[t - 1]
        dendrite = a_d * dendrite + k_d * into_dendrite[t - 1]
        adaptation = a_a * adaptation + spike[t - 1] + (a_a * (k_a - 1) * spike[t - 2] if t > 1 else 0)
        if t > n_s:
            soma -= k_s * a_s**n_s * into_soma[t - 1 - n_s]
        if t > n_d:
            dendrite -= k_d * a_d**n_d * into_dendrite[t - 1 - n_d]
        if t > n_a:
            adaptation -= k_a * a_a**n_a * spike[t - 1 - n_a]
        spike[t] = p["spike_height"] * (old_soma >= p["threshold"])
        output = p["gain"] / (1 + np.exp(-(old_dendrite - p["loc"]) / p["width"]))
        into_soma[t] = x[:, 0, t] + output - adaptation
        into_dendrite[t] = x[:, 1, t] + spike[t]
    return spike.T > 0


def main() -> None:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128, help="rows of one call")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    simulator = Cascade(str(GRAPH), record=["soma"])
    theta = simulator.reference * rng.uniform(0.8, 1.2, (options.rows, len(simulator.parameters)))
    noise = lfilter([1.0], [1.0, -np.exp(-DT / TAU)], rng.standard_normal((options.rows, 2, STEPS)))
    noise = np.asarray(noise) * np.sqrt(1 - np.exp(-2 * DT / TAU))
    x = (np.array([[1.0], [1.5]]) + np.array([[1.5], [2.0]]) * noise).astype(np.float32)
    p = dict(zip(simulator.parameters, theta.T, strict=True))
    seconds: dict[str, list[float]] = {"neuroinf": [], "numpy": []}
    spikes: list[Any] = []
    spiked = np.zeros((0, 0), bool)
    simulator.simulate(theta[:1], x[:1], DT)  # compiled before the clock runs
    for _ in range(options.rounds):
        start = time.process_time()
        spikes = list(simulator.simulate(theta, x, DT)["spikes"])
        seconds["neuroinf"].append(time.process_time() - start)
        start = time.process_time()
        spiked = with_numpy(p, x)
        seconds["numpy"].append(time.process_time() - start)
    onsets = [np.flatnonzero(row[1:] & ~row[:-1]) + 1 for row in spiked]
    same = np.mean([np.array_equal(a, np.rint(b / DT)) for a, b in zip(onsets, spikes, strict=True)])
    rates = {name: options.rows / min(each) for name, each in seconds.items()}
    ratio = rates["neuroinf"] / rates["numpy"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, numba {numba.__version__}, numpy {np.__version__}")
    print(f"{options.rows} rows a call, {np.mean([len(train) for train in spikes]):.1f} spikes a simulation")
    for name, rate in rates.items():
        print(f"{name:10} {rate:10,.0f} simulations per second of processor time")
    print(f"ratio {ratio:.1f}; the same spikes in {100 * same:.1f} % of rows")
    print(f"bar {BAR:,} on one core: {'met' if rates['neuroinf'] >= BAR else 'missed'}")
    if options.output is not None:
        result = {"rows": options.rows, "per_second": rates, "ratio": ratio, "same_spikes": float(same), "bar": BAR}
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Input-samples per second of the GLM simulator on one core, beside numpy and torch.

An input-sample is one bin of one input of one neuron. The model is the study's: 9 observed and 1 hidden Gaussian input,
logistic, weights and bias uniform within 1/sqrt(10), every neuron with a stimulus of its own in float32. The peers do
the same for the whole batch in a line each, in the stimulus' precision:

- numpy: ``1 / (1 + exp(-(w @ x + b)))``, then ``rng.random(...) < rate`` or ``rng.poisson(rate)``,
- torch: ``sigmoid(baddbmm(b, w, x))``, then ``bernoulli`` or ``poisson``.

They have one random stream for all neurons, no checks, and do not return the hidden input. A second table has filters
of up to 172 bins and history of up to 159, against the plain loop over bins in numpy, all neurons at once, that history
forces on it. Every program is run once per round, round after round, and its processor time taken; the medians are
compared.

The third table holds the moments of 100 such neurons against their analytic values, in standard errors over the neurons
(root mean square of single neurons' z, which is 1 in expectation, and z of their sum). Bar: 3.

    python benchmarks/glm_simulation.py --output glm_simulation.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.simulators import GLM
from neuroinf.simulators.bases import RaisedCosines
from neuroinf.simulators.glm import Nonlinearity, Output

OUTPUTS: tuple[Output, ...] = ("rate", "bernoulli", "poisson")
BAR = 1e8  # input-samples a second, for every model, output and length
MOMENT_BAR = 3.0  # standard errors
LIMIT = 10**-0.5
FILTERS, HISTORY = RaisedCosines(5, 0.0, 30.0), RaisedCosines(4, 0.0, 20.0)
DT = 1.0
Pass = Callable[[], object]


def study(n: int, steps: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Parameters (n, 11) and stimulus (n, 10, T) of the study's neurons."""
    return rng.uniform(-LIMIT, LIMIT, (n, 11)), rng.standard_normal((n, 10, steps)).astype(np.float32)


def study_passes(output: Output, theta: NDArray[np.float64], x: NDArray[np.float32]) -> dict[str, Pass]:
    """One call of each program."""
    simulator = GLM(output=output)
    weights, bias = np.delete(theta, 9, axis=1).astype(np.float32)[:, None], theta[:, 9, None, None].astype(np.float32)
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    w, b, inputs = torch.from_numpy(weights), torch.from_numpy(bias), torch.from_numpy(x)

    def with_numpy() -> NDArray[Any]:
        rate = 1 / (1 + np.exp(-(weights @ x + bias)))
        if output == "bernoulli":
            return rng.random(rate.shape, np.float32) < rate
        return rng.poisson(rate) if output == "poisson" else rate

    def with_torch() -> torch.Tensor:
        rate = torch.sigmoid(torch.baddbmm(b, w, inputs))
        if output == "bernoulli":
            return torch.bernoulli(rate, generator=generator)
        return torch.poisson(rate, generator=generator) if output == "poisson" else rate

    return {"neuroinf": lambda: simulator.simulate(theta, x, DT, 1), "numpy": with_numpy, "torch": with_torch}


def history_passes(output: Output, n: int, steps: int, rng: np.random.Generator) -> dict[str, Pass]:
    """One call each, with filters of the inputs and the neurons' own history."""
    simulator = GLM(9, 1, filters=FILTERS, history=HISTORY, output=output)
    theta = rng.uniform(-0.1, 0.1, (n, len(simulator.parameters)))
    x = rng.standard_normal((n, 10, steps)).astype(np.float32)
    basis, after = FILTERS.kernels(DT), HISTORY.kernels(DT)[:, ::-1]
    lags, own = basis.shape[1], after.shape[1]

    def with_numpy() -> NDArray[Any]:
        draws = np.random.default_rng(1)
        kernels = theta[:, :45].reshape(n, 9, 5) @ basis
        size = 1 << (steps + lags).bit_length()
        spectrum = np.fft.rfft(x[:, :9], size) * np.fft.rfft(kernels, size)
        eta = np.fft.irfft(spectrum.sum(1), size)[:, :steps] + theta[:, 45:46] + theta[:, -1:] * x[:, 9]
        history = theta[:, 46:50] @ after
        y = np.zeros((n, own + steps))
        for t in range(steps):
            rate = 1 / (1 + np.exp(-(eta[:, t] + (history * y[:, t : t + own]).sum(1))))
            if output == "bernoulli":
                rate = draws.random(n) < rate
            y[:, own + t] = draws.poisson(rate) if output == "poisson" else rate
        return y[:, own:]

    return {"neuroinf": lambda: simulator.simulate(theta, x, DT, 1), "numpy": with_numpy}


def measure(passes: dict[str, Pass], samples: int, rounds: int) -> dict[str, float]:
    """Median input-samples a second of each program, run in turn."""
    for once in passes.values():
        once()
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, once in passes.items():
            start = time.process_time()
            once()
            seconds[name].append(time.process_time() - start)
    return {name: samples / statistics.median(each) for name, each in seconds.items()}


def moments(neurons: int, steps: int, seed: int) -> dict[str, tuple[float, float]]:
    """Root mean square of the neurons' z and z of their sum, for each moment."""
    theta, x = study(neurons, steps, np.random.default_rng(seed))
    seeds = range(neurons)
    rate = np.asarray(GLM().simulate(theta, x.astype(np.float64), DT)["rate"])
    eta, b = np.log(rate / (1 - rate)), theta[:, 9:10]
    power = (theta**2).sum(1, keepdims=True) - b**2
    found: dict[str, NDArray[Any]] = {
        "drive, mean": (eta - b) / np.sqrt(power),
        "drive, variance": ((eta - b) ** 2 / power - 1) / np.sqrt(2),
    }
    count = np.asarray(GLM(output="bernoulli").simulate(theta, x.astype(np.float64), DT, seeds)["count"])
    found["bernoulli, mean"] = (count - rate) / np.sqrt(rate * (1 - rate))
    nonlinearities: tuple[tuple[Nonlinearity, Any], ...] = (("logistic", rate), ("exponential", np.exp(eta)))
    for nonlinearity, mean in nonlinearities:
        simulator = GLM(nonlinearity=nonlinearity, output="poisson")
        count = np.asarray(simulator.simulate(theta, x.astype(np.float64), DT, seeds)["count"])
        found[f"poisson {nonlinearity}, mean"] = (count - mean) / np.sqrt(mean)
        found[f"poisson {nonlinearity}, variance"] = ((count - mean) ** 2 - mean) / np.sqrt(mean + 2 * mean**2)
    z = {name: each.sum(1) / np.sqrt(steps) for name, each in found.items()}
    return {name: (float(np.sqrt((each**2).mean())), float(each.sum() / np.sqrt(neurons))) for name, each in z.items()}


def line(model: str, output: str, steps: int, found: dict[str, float]) -> dict[str, Any]:
    """Print a line of the table and return it, with the ratios to the peers."""
    ratios = {name: found["neuroinf"] / value for name, value in found.items() if name != "neuroinf"}
    columns = [f"{found[name]:10.2e}" if name in found else f"{'':10s}" for name in ("neuroinf", "numpy", "torch")]
    columns += [f"{ratios[name]:8.1f}" if name in ratios else f"{'':8s}" for name in ("numpy", "torch")]
    print(f"{model:24s} {output:10s} {steps:7d} {' '.join(columns)}", flush=True)
    return {"model": model, "output": output, "bins": steps, "input_samples_per_second": found, "ratio": ratios}


def main() -> None:
    """Measure, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bins", type=int, nargs="+", default=[100, 1000, 10_000], help="T of each neuron")
    parser.add_argument("--samples", type=int, default=4_000_000, help="input-samples of a pass")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    numba.config.NUMBA_NUM_THREADS = 1
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # Linux: everything on one core, also numpy's linear algebra
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    names = f"{'neuroinf':>10s} {'numpy':>10s} {'torch':>10s} {'/ numpy':>8s} {'/ torch':>8s}"
    print(f"{'input-samples a second':24s} {'output':10s} {'bins':>7s} {names}")
    rows = []
    for steps in arguments.bins:
        n = max(1, arguments.samples // (10 * steps))
        theta, x = study(n, steps, np.random.default_rng(0))
        for output in OUTPUTS:
            found = measure(study_passes(output, theta, x), x.size, arguments.rounds)
            rows.append(line("9 observed, 1 hidden", output, steps, found))
    for steps in arguments.bins:
        n = max(1, arguments.samples // (40 * steps))
        for output in OUTPUTS:
            passes = history_passes(output, n, steps, np.random.default_rng(0))
            found = measure(passes, 10 * n * steps, max(3, arguments.rounds // 3))
            rows.append(line("with filters and history", output, steps, found))
    least = min(row["input_samples_per_second"]["neuroinf"] for row in rows)
    print(f"at least {BAR:g} input-samples a second: {least:.2e}, {'holds' if least >= BAR else 'FAILS'}")
    print(f"\n{'moment':32s} {'rms z':>8s} {'z':>8s}")
    z = moments(neurons=100, steps=10_000, seed=0)
    for name, (each, total) in z.items():
        print(f"{name:32s} {each:8.2f} {total:8.2f}")
    farthest = max(abs(total) for _, total in z.values())
    print(f"at most {MOMENT_BAR:g} standard errors: {farthest:.2f}, {'holds' if farthest <= MOMENT_BAR else 'FAILS'}")
    if arguments.output:
        machine = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "torch": torch.__version__,
        }
        bar = {"bar": BAR, "least": least, "holds": least >= BAR}
        content = {"unit": "input-samples per second, one core", "results": rows, "bar": bar, "moments": z}
        arguments.output.write_text(json.dumps({**content, "machine": machine, "versions": versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()

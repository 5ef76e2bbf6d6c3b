"""What one training step of a population of the manifold study's size takes: 1,131 neurons, 3,510 bins, 75 latents.

    python benchmarks/manifold.py [--steps 3] [--only sequential] [--output manifold.json]

The study's network on the whole sequence, on windows of it, and with sharpness-aware minimisation, which takes two gradients for a
step; and the sequential model. Each runs in a process of its own with 2 threads, whose largest resident size is read at its end;
seconds are the best of the steps after the first, beside those that each thread computed for: other programs do not lengthen
these. Bars: 5 s a step, 4 GiB.
"""

import argparse
import json
import multiprocessing
import resource
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroinf.datasets.populations import population
from neuroinf.fits.bilstm_latents import BiLSTMTraining, windows
from neuroinf.models.autoencoder import LatentAutoencoder
from neuroinf.models.bilstm import hide, masked_error
from neuroinf.models.sharpness import SharpnessAware

NEURONS, BINS, FACTORS, THREADS = 1131, 3510, 75, 2
SECONDS, GIBIBYTES = 5.0, 4.0

CASES: dict[str, BiLSTMTraining] = {
    "whole sequence": BiLSTMTraining(),
    "whole sequence, sharpness-aware": BiLSTMTraining(rho=0.05),
    "windows of 90 bins": BiLSTMTraining(window=90),
    "windows of 90 bins, entries hidden": BiLSTMTraining(window=90, hidden=0.25),
    "with feedback, windows of 90 bins": BiLSTMTraining(window=90, feedback=True),
}


def measured(how: BiLSTMTraining, steps: int, answer: Connection) -> None:
    """Seconds of each step, parameters, and the process' largest resident size, GiB."""
    torch.set_num_threads(THREADS)
    x = np.random.default_rng(0).standard_normal((BINS, NEURONS), np.float32) + 1
    data = torch.stack(windows(population(x, 1200.0, "trace"), how.window))
    network = how.network(NEURONS, FACTORS).train()
    optimizer: Any = torch.optim.Adam(network.parameters(), how.lr)
    if how.rho is not None:
        optimizer = SharpnessAware(optimizer, how.rho)
    generator = torch.Generator().manual_seed(0)
    seconds, computed = [], []
    for _ in range(steps + 1):
        began, before = time.perf_counter(), time.process_time()
        hidden = hide(data, how.hidden, generator) if how.hidden else None

        def closure(hidden: torch.Tensor | None = hidden) -> torch.Tensor:
            optimizer.zero_grad()
            found = network(data, None if hidden is None else ~hidden)
            scored = torch.ones_like(data, dtype=torch.bool) if hidden is None else hidden
            loss = masked_error(found, data, scored)
            loss.backward()
            return loss

        optimizer.step(closure)
        seconds.append(time.perf_counter() - began)
        computed.append((time.process_time() - before) / THREADS)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    answer.send((seconds, computed, sum(p.numel() for p in network.parameters()), largest))


def measured_sequential(window: int, steps: int, answer: Connection) -> None:
    """The same of the sequential model, before its linear start: a step costs the same after it."""
    torch.set_num_threads(THREADS)
    x = np.random.default_rng(0).standard_normal((BINS, NEURONS), np.float32) + 1
    data = torch.stack(windows(population(x, 1200.0, "trace"), window))
    model = LatentAutoencoder(NEURONS, "trace", FACTORS).train()
    optimizer = torch.optim.Adam(model.parameters(), model.lr)
    draws, seconds, computed = torch.Generator().manual_seed(0), [], []
    for _ in range(steps + 1):
        began, before = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        model.loss([data], 1.0, draws).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
        computed.append((time.process_time() - before) / THREADS)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    answer.send((seconds, computed, sum(p.numel() for p in model.parameters()), largest))


def alone(work: Any) -> Any:
    """What `work` sends, from a new process of its own: memory of another case cannot count."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(there,))
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name begins like this")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    size = f"{NEURONS:,} neurons, {BINS:,} bins, {FACTORS} latents"
    print(f"{size}, {THREADS} threads; bars {SECONDS:g} s a step, {GIBIBYTES:g} GiB")
    print(f"{'':36}{'parameters':>12}{'s / step':>10}{'slowest':>9}{'computed':>10}{'peak GiB':>10}")
    rows = {}
    work = {name: partial(measured, how, arguments.steps) for name, how in CASES.items()}
    work |= {
        "sequential model, whole sequence": partial(measured_sequential, BINS, arguments.steps),
        "sequential model, windows of 90 bins": partial(measured_sequential, 90, arguments.steps),
    }
    for name, measure in work.items():
        if not name.startswith(arguments.only):
            continue
        seconds, computed, parameters, largest = alone(measure)
        best, worst, each = min(seconds[1:]), max(seconds[1:]), min(computed[1:])
        met = best <= SECONDS and largest <= GIBIBYTES
        verdict = "met" if met else "MISSED"
        print(f"{name:36}{parameters:12,}{best:10.2f}{worst:9.2f}{each:10.2f}{largest:10.2f}  {verdict}", flush=True)
        rows[name] = {
            "seconds": best,
            "slowest": worst,
            "computed": each,
            "peak_gib": largest,
            "parameters": parameters,
            "met": met,
        }
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

"""Recordings that no simulation of the training distribution resembles: how many of each kind the score finds.

    python benchmarks/novelty.py [--checkpoint checkpoints/glif.ckpt] [--neurons 200] [--recalibrate] [--levels]
                                 [--data ../shared/data] [--output FILE]

Held-out simulations of the checkpoint's own training distribution, each changed in one way, all through
`Estimator.infer`; `--recalibrate` fits the score anew first. `--levels` trains a network on level 1 (a few minutes) and
shows it neurons of level 5 whose adaptation changes the spike count by 30 % or more. `--data` adds the scores of real
cells.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from novelty_levels import adapting_neurons, level_one
from numpy.typing import NDArray

from neuroinf import load
from neuroinf.commands.cells import recorded_cells
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.errors import InputError
from neuroinf.inference import Estimator
from neuroinf.models.novelty import FALSE_ALARMS, Score
from neuroinf.recalibration import recalibrate

FloatArray = NDArray[np.float64]
SEED = 20_260_102
NOISE = (0.05, 0.5, 2.0)  # mV
HUM, DRIFT, CLIP = 2.0, 5.0, 2.0  # mV
SEROTONIN = ("drn156_5ht.nwb", "drn157_5ht.nwb", "drn159_5ht.nwb")
Rows = tuple[FloatArray, FloatArray, list[FloatArray]]  # voltage, stimulus, spikes


def corruptions(threshold: FloatArray, dt: float, rng: np.random.Generator) -> dict[str, Callable[[Rows], Rows]]:
    """Each way of spoiling recordings of neurons with a threshold (n,), mV."""

    def hum(rows: Rows) -> Rows:
        phase = rng.uniform(0, 2 * np.pi, (len(rows[0]), 1))
        time = np.arange(rows[0].shape[1]) * dt / 1000
        return rows[0] + HUM * np.sin(2 * np.pi * 60 * time + phase), *rows[1:]

    def noise(rows: Rows) -> Rows:
        return rng.normal(-65.0, 5.0, rows[0].shape), rows[1], [np.empty(0)] * len(rows[0])

    def constant(rows: Rows) -> Rows:
        return np.full(rows[0].shape, -65.0), rows[1], [np.empty(0)] * len(rows[0])

    return {
        "none": lambda rows: rows,
        "60 Hz hum of 2 mV": hum,
        "drift of 5 mV": lambda rows: (rows[0] + np.linspace(0, DRIFT, rows[0].shape[1]), *rows[1:]),
        "current of another sweep": lambda rows: (rows[0], np.roll(rows[1], 1, axis=0), rows[2]),
        "clipped 2 mV below threshold": lambda rows: (np.minimum(rows[0], (threshold - CLIP)[:, None]), *rows[1:]),
        "white noise instead": noise,
        "constant instead": constant,
    }


def judge(estimator: Estimator, rows: Rows, dt: float) -> list[Score]:
    """The score of each recording, inferred by itself; those that no membrane can have are refused, and left out."""
    found = []
    for voltage, stimulus, spikes in zip(*rows, strict=True):
        try:
            score = estimator.infer(voltage=voltage, stimulus=stimulus, spikes=spikes, dt=dt).novelty
        except InputError:  # after-spike currents at the prior's end take a few neurons below -150 mV
            continue
        assert score is not None
        found.append(score)
    return found


def summary(scores: list[Score]) -> dict[str, Any]:
    """Detected fraction, median score, and what is named first."""
    first = Counter(score.reasons[0].split(" of ")[0] for score in scores if score.reasons)
    return {
        "n": len(scores),
        "detected": float(np.mean([score.outside for score in scores])),
        "median_score": float(np.median([score.score for score in scores])),
        "named_first": dict(first.most_common(2)),
    }


def table(estimator: Estimator, neurons: int) -> dict[str, dict[str, Any]]:
    """Detection of each corruption at each noise level, and in all at noise drawn as in training."""
    simulation = estimator.simulation
    assert simulation is not None
    with tempfile.TemporaryDirectory() as folder:
        fresh = replace(simulation, n=neurons * simulation.sweeps, seed=simulation.seed + 3)
        file = Dataset(generate(fresh, Path(folder) / "rows.h5", workers=1))
        rows = np.arange(0, file.n, simulation.sweeps)
        x, trains = observe_rows(file, rows, estimator.observation, simulation.duration), file.rows(rows).spikes
        theta = dict(zip(file.names, file.parameters[rows].T, strict=True))
    assert trains is not None
    seen, dt = estimator.observation, estimator.observation.dt
    stimulus = x[:, seen.rows("stimulus").start].astype(np.float64)
    results: dict[str, dict[str, Any]] = {}
    for level in (*NOISE, None):
        rng = np.random.default_rng(SEED)
        noise = None if level is None else {"voltage": level}
        voltage = np.stack([seen.add_noise(row, rng, noise) for row in x])[:, seen.rows("voltage").start]
        plain = voltage.astype(np.float64)
        for name, change in corruptions(theta["El"] + theta["th_inf"], dt, rng).items():
            changed = change((plain, stimulus, [np.asarray(t, np.float64) for t in trains]))
            # a silent neuron's voltage may stay below the level at which it would be cut off
            other = [
                i
                for i in range(len(x))
                if any(_differ(a[i], b[i]) for a, b in zip(changed[:2], (plain, stimulus), strict=True))
            ]
            kept = range(len(x)) if name == "none" else other
            scores = judge(estimator, (changed[0][kept], changed[1][kept], [changed[2][i] for i in kept]), dt)
            key = "as in training" if level is None else f"{level:g} mV"
            results.setdefault(name, {})[key] = summary(scores)
            print(f"{name:<30}{key:>16}{len(scores):>6}{results[name][key]['detected']:>8.3f}", flush=True)
    return results


def _differ(a: FloatArray, b: FloatArray) -> bool:
    return not np.array_equal(a, b, equal_nan=True)


def real_cells(estimator: Estimator, folder: Path) -> list[dict[str, Any]]:
    """Scores of real serotonin neurons."""
    found = []
    for path in (folder / name for name in SEROTONIN):
        for cell in recorded_cells(path, None):
            begin = time.perf_counter()
            posterior = estimator.infer(cell.sweeps)
            score = posterior.novelty
            seconds = time.perf_counter() - begin
            found.append({"file": path.name, "seconds": seconds} | ({} if score is None else score.to_dict()))
            print(f"{path.name}: {found[-1]}")
    return found


def main() -> None:
    """Run what is asked for, print it, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/glif.ckpt"))
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--recalibrate", action="store_true", help="fit the score anew, in a copy of the checkpoint")
    parser.add_argument("--levels", action="store_true", help="train on level 1, test on level 5")
    parser.add_argument("--rows", type=int, default=20_000, help="simulations of level 1 to train on")
    parser.add_argument("--data", type=Path, help="folder of real recordings")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    results: dict[str, Any] = {"false_alarms_stated": FALSE_ALARMS}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint
        if options.recalibrate:
            checkpoint = Path(folder) / "recalibrated.ckpt"
            recalibrate(options.checkpoint, checkpoint)
        estimator = load(checkpoint)
        results["corruptions"] = table(estimator, options.neurons)
        if options.data is not None:
            results["real_cells"] = real_cells(estimator, options.data)
        if options.levels:
            begin = time.perf_counter()
            small = load(level_one(Path(folder), options.rows))
            results["level_1_training_seconds"] = time.perf_counter() - begin
            for name, (rows, dt) in adapting_neurons(small, options.neurons, options.data).items():
                results[name] = summary(judge(small, rows, dt))
                print(f"{name:<46}{results[name]['n']:>6}{results[name]['detected']:>8.3f}", flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

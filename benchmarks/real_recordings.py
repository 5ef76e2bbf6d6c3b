"""Spikes of real neurons predicted on time that was not used, from amortized and from per-neuron parameters.

    python benchmarks/real_recordings.py [--data ../shared/data] [--checkpoint checkpoints/glif.ckpt] [--output FILE]

Cells with repeated noise: parameters from the first half of one repeat; the model runs freely through the whole
stimulus; its spikes in the second half are scored against all repeats. Serotonin neurons: parameters from the training
sweep, scored on the test noise. Cortical neurons with one step each: spike counts beside the published GLIF1 and GLIF3.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.commands.cells import Cell, recorded_cells
from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.simulation import Simulation
from neuroinf.evaluation.overlay import respond, respond_as
from neuroinf.evaluation.predictive import Responses, voltage_rmse
from neuroinf.evaluation.spike_trains import (
    coincidence_factor,
    explained_variance_ratio,
    intrinsic_coincidence,
    md_star,
    rate,
)
from neuroinf.fits.glif import fit_recording
from neuroinf.inference import Estimator, load
from neuroinf.recordings import Recording, detect_spikes, observe, read, repeats
from neuroinf.simulators import GLIF

FloatArray = NDArray[np.float64]
REPEATED = ("pozzorini_cell3.nwb", "qsnmc2007_a.nwb")
SEROTONIN = ("drn156_5ht.nwb", "drn157_5ht.nwb", "drn159_5ht.nwb")
STEPS = "allen_long_square.nwb"
COUNTS = "data_vs_published_glif_spike_counts.csv"
OTHERS = ("lantyer2018_180817_me_9_cc.nwb", "ferguson2015_pyr2.abf")
# repeats that coincide less than this are no measure for a model: a ratio to it is mostly noise
LEAST_INTRINSIC = 0.2
TRAIN_DT = 0.1  # ms, of the binary trains that are smoothed for the explained variance
# a fit with a soft threshold, or a posterior mean, need not spike as often as the neuron when it runs freely: the one
# number that sets the rate is also chosen by it, as the published pipeline chooses its threshold multiplier last
RECALIBRATED = ("amortized", "gradient_descent")
THRESHOLDS = (1.0, 100.0)  # mV above rest
BISECTIONS = 12  # to 0.1 %
DRAWS = 100  # from the posterior, for the interval of spike counts

Method = Callable[[], dict[str, float]]


def beginning(sweep: Recording, duration: float) -> Recording:
    """The first `duration` ms of a sweep."""
    samples = round(duration / sweep.dt)
    assert sweep.voltage is not None and sweep.stimulus is not None
    return replace(sweep, voltage=sweep.voltage[:samples], stimulus=sweep.stimulus[:samples])


def estimates(
    part: Recording, everything: Sequence[Recording], estimator: Estimator, simulation: Simulation
) -> dict[str, tuple[dict[str, float], float]]:
    """Parameters and seconds by each method, from one stretch (and, for one method, from all that may be used)."""
    simulator, prior = simulation.simulator, simulation.prior
    assert isinstance(simulator, GLIF)
    methods: dict[str, Method] = {
        "prior_mean": lambda: dict(
            zip(prior.names, prior.from_unit(np.full((1, len(prior.names)), 0.5))[0].tolist(), strict=True)
        ),
        "amortized": lambda: estimator.infer(part).mean,
        "amortized, all sweeps": lambda: estimator.infer(everything).mean,
        "published": lambda: fit_recording(
            part, "published", simulator, prior, np.random.default_rng(0), estimator.observation.dt, simulation.dt
        ),
        "gradient_descent": lambda: fit_recording(
            part,
            "gradient_descent",
            simulator,
            prior,
            np.random.default_rng(0),
            estimator.observation.dt,
            simulation.dt,
        ),
    }
    found = {}
    for name, method in methods.items():
        begin = time.perf_counter()
        theta = method()
        found[name] = (theta, time.perf_counter() - begin)
        if name in RECALIBRATED:
            theta = with_the_rate(part, theta, simulation)
            found[f"{name}, th_inf by rate"] = (theta, time.perf_counter() - begin)
    return found


def with_the_rate(part: Recording, theta: dict[str, float], simulation: Simulation) -> dict[str, float]:
    """The parameters with the threshold at which the model, running freely, spikes as often as the neuron did."""
    assert part.voltage is not None
    wanted = len(detect_spikes(part.voltage, part.dt))
    low, high = THRESHOLDS
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        number = _count(part, simulation, theta | {"th_inf": middle})
        low, high = (low, middle) if number is not None and number < wanted else (middle, high)
    return theta | {"th_inf": math.sqrt(low * high)}


def score(data: Sequence[FloatArray], model: FloatArray | None, duration: float) -> dict[str, float]:
    """Scores of one predicted train against the repeats, nan where a score is undefined; None: no prediction."""
    if model is None:
        return {}
    found = {"rate": rate(model, duration)}
    for window in (2.0, 4.0):
        gamma = float(np.mean([coincidence_factor(train, model, duration, window) for train in data]))
        intrinsic = intrinsic_coincidence(data, duration, window)
        found[f"gamma_{window:g}"] = gamma
        found[f"gamma_{window:g}_over_intrinsic"] = gamma / intrinsic if intrinsic >= LEAST_INTRINSIC else math.nan
    found["explained_variance_ratio"] = explained_variance_ratio(data, model, duration, TRAIN_DT)
    found["md_star"] = md_star(data, [model])
    found["rate_error"] = abs(found["rate"] - float(np.mean([rate(train, duration) for train in data])))
    return found


def held_out(
    group: Sequence[Recording],
    found: dict[str, tuple[dict[str, float], float]],
    start: float,
    cut: float,
    simulation: Simulation,
) -> dict[str, Any]:
    """Scores of each method's parameters on the repeats of one stimulus from `start` (ms) to its end."""
    seen = [observe(sweep, simulation.record_dt, cut, simulation.dt) for sweep in group]
    stop = min(sweep.duration for sweep in seen)
    trains = [_between(sweep.spikes, start, stop) for sweep in seen]
    duration = stop - start
    entry: dict[str, Any] = {
        "repeats": len(group),
        "from": start,
        "to": stop,
        "rate": float(np.mean([rate(train, duration) for train in trains])),
        "intrinsic_gamma_2": intrinsic_coincidence(trains, duration, 2.0),
        "intrinsic_gamma_4": intrinsic_coincidence(trains, duration, 4.0),
        "methods": {},
    }
    for name, (theta, seconds) in found.items():
        entry["methods"][name] = {"parameters": theta, "seconds": seconds}
        if not all(map(math.isfinite, theta.values())):
            continue
        predicted = respond(group[0], simulation, theta)
        spikes = predicted.spikes[0]
        scores = score(trains, None if spikes is None else _between(spikes, start, stop), duration)
        error = voltage_rmse(*(_from(r, start) for r in (respond_as(seen[0], predicted), predicted)))[0]
        entry["methods"][name] |= scores | {"voltage_rmse": float(error)}
    return entry


def _between(spikes: FloatArray | None, start: float, stop: float) -> FloatArray:
    assert spikes is not None
    return spikes[(spikes >= start) & (spikes < stop)] - start


def _from(response: Responses, start: float) -> Responses:
    assert response.voltage is not None
    first = round(start / response.dt)
    return Responses(response.duration - start, response.dt, response.voltage[:, first:], [np.empty(0)])


def repeated_noise(path: Path, estimator: Estimator, simulation: Simulation) -> list[dict[str, Any]]:
    """One entry for each stimulus of the cell: first half to infer, second half to predict."""
    (cell,) = recorded_cells(path, range(len(read(path))))
    everything = [beginning(sweep, sweep.duration / 2) for sweep in cell.sweeps]
    results = []
    for group in repeats(cell.sweeps):
        half = group[0].duration / 2
        found = estimates(beginning(group[0], half), everything, estimator, simulation)
        stimulus = group[0].attributes.get("stimulus_description", "")
        results.append(
            {"file": path.name, "stimulus": stimulus}
            | held_out(group, found, half, estimator.observation.spike_cut, simulation)
        )
    return results


def serotonin(path: Path, estimator: Estimator, simulation: Simulation) -> dict[str, Any]:
    """Parameters from the training sweep, scored on all of the test noise."""
    (cell,) = recorded_cells(path, range(len(read(path))))
    training, test = repeats(cell.sweeps)
    found = estimates(training[0], training, estimator, simulation)
    entry = held_out(test, found, 0.0, estimator.observation.spike_cut, simulation)
    return {"file": path.name, "stimulus": test[0].attributes["stimulus_description"]} | entry


def counts(folder: Path, estimator: Estimator, simulation: Simulation) -> list[dict[str, Any]]:
    """Spike counts of the cortical cells under their step: recorded, published models, from inferred parameters."""
    with open(folder / COUNTS) as file:
        published = {row["specimen_id"]: row for row in csv.DictReader(file)}
    results = []
    for cell in recorded_cells(folder / STEPS, None):
        (sweep,) = cell.sweeps
        assert sweep.voltage is not None
        posterior = estimator.infer(sweep)
        entry: dict[str, Any] = {"cell": cell.label, "data": len(detect_spikes(sweep.voltage, sweep.dt))}
        entry |= {name: int(published[cell.label][name]) for name in ("GLIF1", "GLIF3")}
        found = estimates(sweep, [sweep], estimator, simulation)
        for name, (theta, _) in found.items():
            entry[name] = _count(sweep, simulation, theta)
        if posterior.distribution is not None:
            names = posterior.prior.names
            drawn = [
                _count(sweep, simulation, dict(zip(names, row.tolist(), strict=True)))
                for row in posterior.sample(DRAWS)
            ]
            entry["amortized_90"] = np.quantile([n for n in drawn if n is not None], [0.05, 0.95]).tolist()
        results.append(entry)
    return results


def _count(sweep: Recording, simulation: Simulation, theta: dict[str, float]) -> int | None:
    if not all(map(math.isfinite, theta.values())):
        return None
    spikes = respond(sweep, simulation, theta).spikes[0]
    return None if spikes is None else len(spikes)


def novelty(path: Path, cell: Cell, estimator: Estimator) -> dict[str, Any]:
    """How unlike the training distribution a cell is, and how much the pieces of its recording scatter."""
    begin = time.perf_counter()
    posterior = estimator.infer(cell.sweeps)
    mean = posterior.mean
    seconds = time.perf_counter() - begin
    score = posterior.novelty
    return {
        "file": path.name,
        "cell": cell.label,
        "pieces": posterior.to_dict()["pieces"],
        "seconds": seconds,
        "score": None if score is None else score.score,
        "limit": None if score is None else score.limit,
        "reasons": [] if score is None else list(score.reasons),
        "scatter": None if posterior.pooled is None else posterior.pooled.scatter,
        "mean": mean,
        "std_between_pieces": posterior.spread,
        "warnings": posterior.warnings,
    }


def _plain(value: Any) -> Any:
    """JSON has no nan: null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def show(results: dict[str, Any]) -> None:
    """Markdown tables, as they stand in docs/real_recordings.md."""
    for entry in results["held_out"]:
        low = [w for w in (2, 4) if not entry[f"intrinsic_gamma_{w}"] >= LEAST_INTRINSIC]
        print(
            f"\n**{entry['file']}, {entry['stimulus']}**: {entry['repeats']} repeats, {entry['from'] / 1000:g} to "
            f"{entry['to'] / 1000:g} s scored, {entry['rate']:.1f} Hz, repeats against each other: coincidence "
            f"{entry['intrinsic_gamma_2']:.2f} (2 ms), {entry['intrinsic_gamma_4']:.2f} (4 ms)"
            + (f"; too low to divide by at {' and '.join(f'{w} ms' for w in low)}" if low else "")
        )
        print("\n| parameters from | gamma 2 ms | / repeats' | gamma 4 ms | / repeats' | EVR | Md* | Hz | mV | s |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        keys = ("gamma_2", "gamma_2_over_intrinsic", "gamma_4", "gamma_4_over_intrinsic")
        for name, row in entry["methods"].items():
            scores = [_number(row.get(key)) for key in (*keys, "explained_variance_ratio", "md_star")]
            rest = [_number(row.get("rate"), ".1f"), _number(row.get("voltage_rmse"), ".1f")]
            print(f"| {' | '.join([name, *scores, *rest, format(row['seconds'], '.3f')])} |")
    print("\n| cell | recorded | published GLIF1 | GLIF3 | amortized (90 %) | gradient_descent | prior_mean |")
    print("|---|---|---|---|---|---|---|")
    for row in results["counts"]:
        low, high = row.get("amortized_90", (math.nan, math.nan))
        shown = [row["cell"], row["data"], row["GLIF1"], row["GLIF3"], f"{row['amortized']} ({low:.0f} to {high:.0f})"]
        print(f"| {' | '.join(map(str, [*shown, row['gradient_descent'], row['prior_mean']]))} |")
    print("\n| file | cell | pieces | score | limit | scatter | s | what looks different first |")
    print("|---|---|---|---|---|---|---|---|")
    for row in results["novelty"]:
        values = [_number(row[key], ".1f") for key in ("score", "limit")]
        tail = [_number(row["scatter"], ".1f"), format(row["seconds"], ".3f"), *row["reasons"][:1]]
        print(f"| {' | '.join([row['file'], row['cell'][:20], str(row['pieces']), *values, *tail])} |")


def main() -> None:
    """Print the tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/glif.ckpt"))
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    # the kernels and torch share their threads, which wait for each other where the machine is busy: one of each
    numba.config.NUMBA_NUM_THREADS = 1
    torch.set_num_threads(1)
    estimator = load(arguments.checkpoint)
    simulation = simulation_from_spec(estimator.provenance["simulation"])
    # compiled and imported before the clock starts
    warm = beginning(read(arguments.data / STEPS)[0], 1000.0)
    estimates(warm, [warm], estimator, simulation)
    print(f"{arguments.checkpoint.name}, one process, {torch.get_num_threads()} thread(s)")
    cells = [
        (arguments.data / name, cell)
        for name in (STEPS, *REPEATED, *SEROTONIN, *OTHERS)
        for cell in recorded_cells(arguments.data / name, None)
    ]
    results = {
        "checkpoint": arguments.checkpoint.name,
        "held_out": [
            *(entry for name in REPEATED for entry in repeated_noise(arguments.data / name, estimator, simulation)),
            *(serotonin(arguments.data / name, estimator, simulation) for name in SEROTONIN),
        ],
        "counts": counts(arguments.data, estimator, simulation),
        "novelty": [novelty(path, cell, estimator) for path, cell in cells],
    }
    show(results)
    if arguments.output:
        arguments.output.write_text(json.dumps(_plain(results), indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

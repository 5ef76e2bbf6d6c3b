"""The winner-take-all circuit's network on recordings that it was not made for: what does it say, and does it object?

    python benchmarks/real_networks.py [--data ../shared/data] [--checkpoint checkpoints/neulvm.ckpt] [--windows 20] [--output FILE]

Rat CA1 on a linear track (31 units) and the pedal ganglion of Aplysia (125 neurons). Neurons are put into three groups by
k-means on the correlations of their counts in 50 ms over the whole recording; the group with the highest mean rate stands for
the inhibitory population. Of each group the 8 neurons with the most spikes are read, in windows of 10 s that are spread evenly;
external input is not known. As a control, the same windows of a network at the published parameters, and of draws of the prior that
fire as rarely.

Printed for each recording: windows called outside the training distribution, with the most frequent reasons; median estimates,
and posterior sd over prior sd; statistics of the recorded spikes beside those of networks at posterior samples (fraction of windows
whose statistic lies within 90 % of them); and, for one neuron of each group that is hidden from the network, the gain in bits
per spike of the inferred activity of its group over the neuron's constant rate, beside that of the spikes of the same neurons
smoothed (sd 400 ms, the published first guess).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from neuroinf.errors import InputError
from neuroinf.estimator import Estimator
from neuroinf.evaluation.mesoscopic_findings import quartiles, spread, table
from neuroinf.evaluation.mesoscopic_windows import windows
from neuroinf.inference import load
from neuroinf.population_inference import infer_population
from neuroinf.recordings.correlated_groups import correlated_groups
from neuroinf.recordings.network_recording import NetworkRecording, simulated_recording
from neuroinf.simulators import MicroscopicNetwork

FloatArray = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
FILES = {"rat CA1": "rat_ca1_linear_track.npz", "Aplysia": "aplysia_pedal_ganglion.npz"}
MOST, WINDOW, SAMPLES = 8, 10_000.0, 40
BIN, SD = 50.0, 400.0  # ms
LEAST = 0.05  # of the mean, added to a course of rates
NAMES = ("rate", "interval CV", "Fano factor in 50 ms")


def grouped(path: Path, populations: int) -> NetworkRecording:
    """A recording whose neurons are put into groups by their correlations."""
    if not path.is_file():
        raise InputError(f"{path}: expected spike trains, found no file: give --data FOLDER")
    with np.load(path, allow_pickle=False) as file:
        ids, t = file["id"], file["t"].astype(np.float64)
    start, stop = float(t.min()), float(t.max())
    trains = [(t[ids == one] - start) * 1000 for one in np.unique(ids)]
    groups = correlated_groups(trains, (stop - start) * 1000, populations, BIN)
    return NetworkRecording(tuple(trains), groups, (stop - start) * 1000, name=path.stem)


def busiest(recording: NetworkRecording, most: int = MOST) -> NetworkRecording:
    """At most so many neurons of each group, those with the most spikes."""
    count = np.array([len(train) for train in recording.spikes])
    kept = []
    for group in np.unique(recording.groups):
        members = np.flatnonzero(recording.groups == group)
        kept += members[np.argsort(-count[members], kind="stable")[:most]].tolist()
    return recording.take(sorted(kept))


def spread_windows(recording: NetworkRecording, number: int) -> list[NetworkRecording]:
    """Windows of 10 s at even distances; fewer where they would overlap."""
    number = max(1, min(number, int(recording.duration / WINDOW)))
    starts = np.linspace(0, recording.duration - WINDOW, number)
    # on the grid of 4 ms
    return [recording.window(s := 4.0 * int(start / 4.0), s + WINDOW) for start in starts]


def statistics(recording: NetworkRecording, populations: int) -> FloatArray:
    """Mean rate (Hz), median coefficient of variation of intervals, mean Fano factor of counts: (3, M), nan where undefined."""
    found = np.full((3, populations), np.nan)
    bins = int(recording.duration / BIN)
    for group in np.unique(recording.groups):
        trains = [recording.spikes[k] for k in np.flatnonzero(recording.groups == group)]
        counts = np.array([np.histogram(train, bins, (0, bins * BIN))[0] for train in trains])
        found[0, group] = np.mean([len(train) for train in trains]) / recording.duration * 1000
        intervals = [np.diff(train) for train in trains if len(train) > 2]
        if intervals:
            found[1, group] = np.median([one.std() / one.mean() for one in intervals])
        fired = counts[counts.sum(1) > 0]
        if len(fired):
            found[2, group] = np.mean(fired.var(1) / fired.mean(1))
    return found


def checked(model: Estimator, recording: NetworkRecording, samples: FloatArray, seed: int) -> FloatArray:
    """Whether each statistic lies within the 5 to 95 % of networks at posterior samples (3, M); nan where undefined."""
    simulator = model.simulation.simulator if model.simulation is not None else None
    assert isinstance(simulator, MicroscopicNetwork)
    m = len(simulator.circuit.names)
    number = np.bincount(recording.groups, minlength=m)
    network = MicroscopicNetwork(simulator.circuit, recorded=[max(1, int(n)) for n in number])
    bins = round(recording.duration / 4.0)
    response = network.simulate(samples, np.zeros((1, m, bins)), 4.0, seed)
    drawn = np.array(
        [
            statistics(simulated_recording(t, u, network.groups, bins * 4.0), m)
            for t, u in zip(response["spikes"], response["units"], strict=True)
        ]
    )
    own, inside = statistics(recording, m), np.full((3, m), np.nan)
    for i in range(3):
        for j in range(m):
            known = drawn[np.isfinite(drawn[:, i, j]), i, j]
            if np.isfinite(own[i, j]) and len(known) > SAMPLES // 2:
                low, high = np.quantile(known, [0.05, 0.95])
                inside[i, j] = low <= own[i, j] <= high
    return inside


def gain(activity: FloatArray, train: FloatArray, duration: float) -> float:
    """Bits per spike by which a rate of given course (T,) beats a constant one on counts in 50 ms; both have the right mean."""
    bins = int(duration / BIN)
    counts = np.histogram(train, bins, (0, bins * BIN))[0]
    if not counts.sum():
        return np.nan
    course = np.array([part.mean() for part in np.array_split(activity, bins)])
    # a course of zeros would be infinitely wrong about a single spike
    course = course / max(float(course.mean()), 1e-9) + LEAST
    return float((counts * np.log2(course / course.mean())).sum() / counts.sum())


def hidden_neurons(model: Estimator, recording: NetworkRecording, rng: np.random.Generator) -> tuple[float, float]:
    """Gain of inferred activity, and of smoothed spikes, for a neuron of each group that is left out; means over them."""
    found = []
    for group in np.unique(recording.groups):
        members = np.flatnonzero(recording.groups == group)
        members = members[[len(recording.spikes[k]) > 0 for k in members]]
        if len(members) < 2:
            continue
        out = int(rng.choice(members))
        rest = [k for k in range(recording.neurons) if k != out]
        _, activity = infer_population(model, recording.take(rest))
        bins = activity.mean.shape[1]
        others = np.zeros(bins)
        for k in members[members != out]:
            np.add.at(others, np.minimum((recording.spikes[k] / 4.0).astype(int), bins - 1), 1.0)
        smooth = gaussian_filter1d(others, SD / 4.0, mode="reflect")
        train = recording.spikes[out]
        found.append((gain(activity.mean[group], train, recording.duration), gain(smooth, train, recording.duration)))
    one, other = np.nanmean(np.array(found), 0) if found else (np.nan, np.nan)
    return float(one), float(other)


def examined(model: Estimator, name: str, recordings: list[NetworkRecording]) -> dict[str, Any]:
    """All that is printed of one recording's windows."""
    rng, names = np.random.default_rng(0), model.prior.names
    reasons: Counter[str] = Counter()
    means, ratios, inside, gains, scores = [], [], [], [], []
    outside = 0
    for i, recording in enumerate(recordings):
        posterior, _ = infer_population(model, recording)
        outside += posterior.novelty is not None and posterior.novelty.outside
        if posterior.novelty is not None:
            reasons.update(reason.split(" (distance")[0] for reason in posterior.novelty.reasons)
            scores.append(posterior.novelty.p)
        means.append([posterior.mean[n] for n in names])
        ratios.append([posterior.sd_over_prior[n] or np.nan for n in names])
        inside.append(checked(model, recording, posterior.sample(SAMPLES), i))
        gains.append(hidden_neurons(model, recording, rng))
        print(f"{name}: {i + 1} of {len(recordings)}", file=sys.stderr, flush=True)
    shown = np.array(inside)
    with np.errstate(invalid="ignore"):
        share = [float(np.nanmean(shown[:, i])) if np.isfinite(shown[:, i]).any() else None for i in range(3)]
    return {
        "windows": len(recordings),
        "neurons": np.bincount(recordings[0].groups).tolist(),
        "rates": np.nanmean([statistics(r, int(recordings[0].groups.max()) + 1)[0] for r in recordings], 0).tolist(),
        "outside": outside / len(recordings),
        "p": quartiles(scores),
        "reasons": reasons.most_common(3),
        "estimates": {n: quartiles(np.array(means)[:, j]) for j, n in enumerate(names)},
        "sd_over_prior": {n: float(np.median(np.array(ratios)[:, j])) for j, n in enumerate(names)},
        "statistics_within": dict(zip(NAMES, share, strict=True)),
        "hidden_neuron_gain": quartiles(np.array(gains)[:, 0]),
        "hidden_neuron_gain_smoothed": quartiles(np.array(gains)[:, 1]),
    }


def controls(model: Estimator, number: int) -> dict[str, list[NetworkRecording]]:
    """Windows of a network at the published parameters, and draws of the prior with a mean rate below 5 Hz, input not known."""
    simulator = model.simulation.simulator if model.simulation is not None else None
    assert isinstance(simulator, MicroscopicNetwork)
    circuit, m = simulator.circuit, len(simulator.circuit.names)
    published = [
        NetworkRecording(w.scored.spikes, w.scored.groups, WINDOW)
        for w in windows(circuit, number, 1, WINDOW, recorded=MOST)
    ]
    theta = model.prior.sample(20 * number, np.random.default_rng(1))
    network = MicroscopicNetwork(circuit, recorded=MOST)
    rare: list[NetworkRecording] = []
    for k in range(0, len(theta), number):
        if len(rare) >= number:
            break
        silence = np.zeros((1, m, round(WINDOW / 4)))
        response = network.simulate(theta[k : k + number], silence, 4.0, [7 * 2**32 + k + i for i in range(number)])
        rates = np.asarray(response["latent/rates"]).mean((1, 2))
        for i in np.flatnonzero((rates < 5.0) & (rates > 0.2)):
            rare.append(simulated_recording(response["spikes"][i], response["units"][i], network.groups, WINDOW))
    return {"published circuit": published, "rarely firing draws": rare[:number]}


def main() -> None:
    """Parse, examine, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "neulvm.ckpt")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    try:
        model = load(options.checkpoint)
        given = {
            name: spread_windows(busiest(grouped(options.data / file, 3)), options.windows)
            for name, file in FILES.items()
        }
    except InputError as error:
        sys.exit(f"error: {error}")
    results = {
        name: examined(model, name, recordings)
        for name, recordings in (given | controls(model, options.windows)).items()
    }
    rows = [
        [
            name,
            f"{one['windows']} ({'/'.join(map(str, one['neurons']))})",
            " ".join(f"{rate:.1f}" for rate in one["rates"]),
            f"{100 * one['outside']:.0f} %",
            *("-" if share is None else f"{share:.2f}" for share in one["statistics_within"].values()),
            spread(one["hidden_neuron_gain"]),
            spread(one["hidden_neuron_gain_smoothed"]),
        ]
        for name, one in results.items()
    ]
    head = ["recording", "windows (neurons)", "rates Hz", "called outside", *(f"{n} within" for n in NAMES)]
    print(table([*head, "hidden neuron, bits", "smoothed spikes, bits"], rows))
    print()
    names = model.prior.names
    rows = [
        [name, *(f"{one['estimates'][n]['median']:.1f} ({one['sd_over_prior'][n]:.2f})" for n in names)]
        for name, one in results.items()
    ]
    print(table(["median estimate (sd over prior's)", *names], rows))
    for name, one in results.items():
        why = "; ".join(f"{reason} ({count})" for reason, count in one["reasons"]) or "nothing"
        print(f"* {name}: what looks different: {why}")
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""`neuroinf infer` for networks that read the spikes of a few neurons of each of several populations."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.activity_figure import activity_figure
from neuroinf.errors import InputError
from neuroinf.fits.refined_circuits import RefinedCircuits, refined_circuits
from neuroinf.inference import Estimator
from neuroinf.population_inference import ActivityEstimate, infer_population
from neuroinf.posterior import Posterior
from neuroinf.recordings.network_recording import NetworkRecording, read_network


def infer_populations(
    estimator: Estimator, paths: Sequence[Path], output: Path | None, as_json: bool, refine: bool = False
) -> None:
    """Read each file, infer the circuit's parameters and the populations' rates, and say what came out.

    With `output` each recording leaves a JSON file, the rates with their intervals (.npz), and figures of both. With `refine`
    the parameters are those of circuits found by simulation (:mod:`neuroinf.fits.refined_circuits`), about a minute for each file.

    Raises:
        InputError: on a bad recording, one that cannot be refined, or two files of one name; nothing is written then.
    """
    stems = [path.stem for path in paths]
    if output is not None and len(set(stems)) < len(stems):
        raise InputError(
            "neuroinf infer: two recordings have one name and would be written over each other: rename one"
        )
    recordings = [read_network(path) for path in paths]
    answers: list[tuple[dict[str, Any], Posterior, ActivityEstimate]] = []
    for path, recording in zip(paths, recordings, strict=True):
        begin = time.perf_counter()
        posterior, activity = infer_population(estimator, recording)
        if refine:
            posterior = refined_circuits(estimator, recording, (posterior, activity), progress=sys.stderr.isatty())
        _ = posterior.mean  # computed when first asked for: part of the time
        seconds = time.perf_counter() - begin
        number = np.bincount(recording.groups, minlength=len(activity.names)).tolist()
        result = {
            "recording": path.name,
            "duration": recording.duration,
            "neurons": dict(zip(activity.names, number, strict=True)),
            "seconds": seconds,
            "refined": refine,
            **posterior.to_dict(),
            "rates": {
                name: {"mean": float(mean.mean()), "interval_width": float(np.median(high - low))}
                for name, mean, low, high in zip(
                    activity.names, activity.mean, activity.low, activity.high, strict=True
                )
            },
        }
        answers.append((result, posterior, activity))
    for path, recording, (result, posterior, activity) in zip(paths, recordings, answers, strict=True):
        if not as_json:
            _show(path, recording, result, posterior, activity)
        for warning in posterior.warnings:
            print(f"warning: {path.name}: {warning}", file=sys.stderr)
    if output is not None:
        for stem, recording, (result, posterior, activity) in zip(stems, recordings, answers, strict=True):
            _write(output, stem, recording, result, posterior, activity)
    if as_json:
        print(json.dumps([result for result, _, _ in answers], indent=2, allow_nan=False))


def _show(
    path: Path, recording: NetworkRecording, result: dict[str, Any], posterior: Posterior, activity: ActivityEstimate
) -> None:
    neurons = ", ".join(f"{count} of {name}" for name, count in result["neurons"].items())
    print(f"{path.name}: {recording.duration / 1000:.1f} s, {neurons}; inferred in {1000 * result['seconds']:.0f} ms")
    if isinstance(posterior, RefinedCircuits):
        found = posterior.found
        print(
            f"circuits found by simulation; {100 * found.switching:.0f} % of them take turns within the recorded time"
        )
    print(posterior.table())
    for name, rate in result["rates"].items():
        print(
            f"rate of {name}: {rate['mean']:.2f} Hz on average, median {100 * activity.level:g} % interval of a bin of "
            f"{activity.dt:g} ms {rate['interval_width']:.1f} Hz wide"
        )
    sys.stdout.flush()


def _write(
    folder: Path,
    stem: str,
    recording: NetworkRecording,
    result: dict[str, Any],
    posterior: Posterior,
    activity: ActivityEstimate,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.json", folder / f"{stem}_rates.npz", folder / f"{stem}_rates.png"]
    written[0].write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    np.savez(
        written[1], time=activity.time, mean=activity.mean, low=activity.low, high=activity.high,
        level=np.float64(activity.level), names=np.array(activity.names),
    )  # fmt: skip
    activity_figure(recording, activity).savefig(written[2], dpi=150)
    if posterior.distribution is not None:
        written.append(folder / f"{stem}_posterior.png")
        posterior.plot(title=stem).savefig(written[-1], dpi=120)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)

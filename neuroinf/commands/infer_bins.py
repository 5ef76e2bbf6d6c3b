"""`neuroinf infer` for networks that read a rate or counts in bins."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.errors import InputError
from neuroinf.hidden_activity import HiddenActivity
from neuroinf.hidden_figure import hidden_figure
from neuroinf.inference import Estimator
from neuroinf.posterior import Posterior
from neuroinf.recordings import read_binned


def infer_bins(estimator: Estimator, paths: Sequence[Path], output: Path | None, as_json: bool) -> None:
    """Read each file of bins, infer its neuron and, where the model has one, its hidden input, and say what came out.

    With `output` each neuron leaves a JSON file, its hidden input bin by bin (.npz), and figures of both.

    Raises:
        InputError: on a bad recording, or two files of one name; nothing is written then.
    """
    stems = [path.stem for path in paths]
    if output is not None and len(set(stems)) < len(stems):
        raise InputError(
            "neuroinf infer: two recordings have one name and would be written over each other: rename one"
        )
    channel, inputs, dt = estimator.observation.channels[0], estimator.observation.width - 1, estimator.observation.dt
    recordings = [read_binned(path, channel, inputs, dt, estimator.largest_response) for path in paths]
    results: list[dict[str, Any]] = []
    answers: list[tuple[Posterior, HiddenActivity | None]] = []
    for path, recording in zip(paths, recordings, strict=True):
        begin = time.perf_counter()
        posterior = estimator.infer(recording)
        _ = posterior.mean  # computed when first asked for: part of the time
        seconds = time.perf_counter() - begin
        hidden = posterior.hidden() if "w_hidden" in posterior.prior.names else None
        answers.append((posterior, hidden))
        bins = len(recording.response)
        results.append({"recording": path.name, "bins": bins, "seconds": seconds, **posterior.to_dict()})
        if not as_json:
            print(f"{path.name}: {bins} bins of {dt:g} ms; inferred in {1000 * seconds:.0f} ms")
            print(posterior.table())
            if hidden is not None:
                width, sign = (
                    float(np.nanmedian(hidden.high - hidden.low)),
                    "positive" if hidden.sign > 0 else "negative",
                )
                print(
                    f"hidden input, given a {sign} weight: median 90 % interval {width:.3g} wide, "
                    f"against a standard deviation of {float(np.nanstd(hidden.mean)):.3g} over the bins"
                )
            sys.stdout.flush()
        for warning in posterior.warnings:
            print(f"warning: {path.name}: {warning}", file=sys.stderr)
    if output is not None:
        for stem, result, (posterior, hidden) in zip(stems, results, answers, strict=True):
            write_answer(output, stem, result, posterior, hidden)
    if as_json:
        print(json.dumps(results, indent=2, allow_nan=False))


def write_answer(
    folder: Path, stem: str, result: dict[str, Any], posterior: Posterior, hidden: HiddenActivity | None
) -> None:
    """One neuron's files, their names on stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.json"]
    written[0].write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    if hidden is not None and posterior.bins is not None:
        written += [folder / f"{stem}_hidden.npz", folder / f"{stem}_hidden.png"]
        np.savez(
            written[1], mean=hidden.mean, sd=hidden.sd, low=hidden.low, high=hidden.high,
            sign=np.int64(hidden.sign), positive=np.float64(hidden.positive),
        )  # fmt: skip
        hidden_figure(posterior.bins[0], hidden, posterior.simulation).savefig(written[2], dpi=150)
    if posterior.distribution is not None:
        written.append(folder / f"{stem}_posterior.png")
        posterior.plot(title=stem).savefig(written[-1], dpi=120)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)

"""`neuroinf infer CHECKPOINT RECORDING...`: parameters of recorded neurons, with what speaks against them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroinf.commands.arguments import Arguments
from neuroinf.commands.cells import recorded_cells
from neuroinf.construction import simulation_from_spec
from neuroinf.evaluation.overlay import overlay
from neuroinf.inference import Estimator, load
from neuroinf.posterior import Posterior
from neuroinf.recordings import Recording


def infer(arguments: Sequence[str]) -> None:
    """Read each recording, infer each cell in it from all of its sweeps, and say what came out.

    With --output, each cell leaves a JSON file and a figure: the recording with the response of the inferred model over it.

    Raises:
        InputError: on a bad checkpoint or recording; nothing is written then.
    """
    parser = Arguments("neuroinf infer", "Parameters of recorded neurons.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help=".nwb, .abf, .npz or .h5")
    parser.add_argument("--output", type=Path, help="folder for one JSON file and one figure per cell")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    parser.add_argument("--sweeps", type=int, nargs="+", help="numbers of the sweeps to use, counted from 0")
    options = parser.parse_args(list(arguments))
    estimator = load(options.checkpoint, options.trust)
    # every file is read before anything is inferred or written
    found = [(path, label, sweeps) for path in options.recordings for label, sweeps in recorded_cells(path, options.sweeps)]
    results: list[dict[str, Any]] = []
    for path, label, sweeps in found:
        begin = time.perf_counter()
        posterior = estimator.infer(sweeps)
        mean = posterior.mean
        seconds = time.perf_counter() - begin
        result = {
            "recording": path.name,
            "cell": label,
            "sweeps": [sweep.name for sweep in sweeps],
            "seconds": seconds,
            **posterior.to_dict(),
        }
        results.append(result)
        if not options.json:
            _show(path, label, sweeps, posterior, seconds)
        if options.output is not None:
            _write(options.output, path, label, sweeps, estimator, mean, result)
    if options.json:
        print(json.dumps(results if len(results) > 1 else results[0], indent=2, allow_nan=False))


def _show(
    path: Path, label: str, sweeps: Sequence[Recording], posterior: Posterior, seconds: float
) -> None:
    title = f"{path.name}{f', cell {label}' if label else ''}: {len(sweeps)} sweep{'s' if len(sweeps) > 1 else ''}"
    print(f"{title}, {1000 * seconds:.0f} ms")
    print(posterior.table())
    for warning in posterior.warnings:
        print(f"warning: {path.name}: {warning}", file=sys.stderr)


def _write(
    folder: Path,
    path: Path,
    label: str,
    sweeps: Sequence[Recording],
    estimator: Estimator,
    mean: dict[str, float],
    result: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = path.stem + (f"_{label}" if label else "")
    (folder / f"{stem}.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    simulation = simulation_from_spec(estimator.provenance["simulation"])
    figure = overlay(sweeps[0], simulation, mean)
    figure.savefig(folder / f"{stem}.png", dpi=150)
    print(f"written: {folder / stem}.json, {folder / stem}.png", file=sys.stderr)

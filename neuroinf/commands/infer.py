"""`neuroinf infer CHECKPOINT RECORDING...`: parameters of recorded neurons, with what speaks against them."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroinf.commands.arguments import Arguments
from neuroinf.commands.cells import Cell, recorded_cells
from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.simulation import Simulation
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation.overlay import overlay, typical
from neuroinf.inference import Estimator, load
from neuroinf.posterior import Posterior

# an offset of the voltage that no file states
JUNCTION = "El is as recorded: the liquid junction potential is not known, and shifts it one to one"


def infer(arguments: Sequence[str]) -> None:
    """Read each recording, infer each cell in it from its sweeps, and say what came out.

    With --output, each cell leaves a JSON file and a figure: the recording with the inferred model's response over it.

    Raises:
        InputError: on a bad checkpoint or recording; nothing is written then.
    """
    parser = Arguments("neuroinf infer", "Parameters of recorded neurons.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help=".nwb, .abf, .npz or .h5")
    parser.add_argument("--output", type=Path, help="folder for one JSON file and one figure per cell")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one entry per cell, instead of a table")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    parser.add_argument(
        "--sweeps",
        type=int,
        nargs="+",
        help="numbers of the sweeps to use, counted from 0 (default: one of each stimulus)",
    )
    options = parser.parse_args(list(arguments))
    if options.output is not None:
        check_folder(options.output, "neuroinf infer: --output")
    estimator = load(options.checkpoint, options.trust)
    # every file is read, and every cell inferred, before anything is said or written
    found = [(path, cell) for path in options.recordings for cell in recorded_cells(path, options.sweeps)]
    if options.output is not None and "simulation" not in estimator.provenance:
        raise InputError(
            f"{options.checkpoint} does not say what it was trained on, expected for --output: leave it out"
        )
    simulation = (
        None if options.output is None else simulation_from_spec(estimator.provenance["simulation"], options.trust)
    )
    answers: list[tuple[Posterior, float]] = []
    for _, cell in found:
        begin = time.perf_counter()
        posterior = estimator.infer(cell.sweeps)
        _ = posterior.mean  # computed when first asked for: part of the time
        answers.append((posterior, time.perf_counter() - begin))
    results: list[dict[str, Any]] = []
    for (path, cell), (posterior, seconds) in zip(found, answers, strict=True):
        mean = posterior.mean
        notes = [*cell.notes, *([JUNCTION] if "El" in mean else [])]
        result = {
            "recording": path.name,
            "cell": cell.label,
            "sweeps": [sweep.name for sweep in cell.sweeps],
            "seconds": seconds,
            **posterior.to_dict(),
            "notes": notes,
        }
        results.append(result)
        _show(path, cell, posterior, seconds, notes, table=not options.json)
        if simulation is not None and options.output is not None:
            _write(options.output, path, cell, estimator, simulation, mean, result)
    if options.json:
        print(json.dumps(results, indent=2, allow_nan=False))


def _show(path: Path, cell: Cell, posterior: Posterior, seconds: float, notes: Sequence[str], table: bool) -> None:
    where = path.name + (f", cell {cell.label}" if cell.label else "")
    if table:
        length = sum(sweep.duration for sweep in cell.sweeps) / 1000
        count = f"{len(cell.sweeps)} sweep{'s' if len(cell.sweeps) > 1 else ''}, {length:.1f} s in all"
        print(f"{where}: {count}; inferred in {1000 * seconds:.0f} ms")
        print(posterior.table())
        for note in notes:
            print(f"note: {note}")
        sys.stdout.flush()
    for warning in posterior.warnings:
        print(f"warning: {where}: {warning.removeprefix(path.name + ': ')}", file=sys.stderr)


def _write(
    folder: Path,
    path: Path,
    cell: Cell,
    estimator: Estimator,
    simulation: Simulation,
    mean: dict[str, float],
    result: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = path.stem if cell.alone else f"{path.stem}_{re.sub(r'[^A-Za-z0-9.-]+', '_', cell.label)}"
    written = [folder / f"{stem}.json"]
    written[0].write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    try:
        figure = overlay(typical(cell.sweeps), simulation, mean, estimator.observation.spike_cut)
    except InputError as error:
        print(f"note: no figure: {error}", file=sys.stderr)
    else:
        written.append(folder / f"{stem}.png")
        figure.savefig(written[-1], dpi=150)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)

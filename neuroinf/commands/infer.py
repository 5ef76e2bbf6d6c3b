"""`neuroinf infer CHECKPOINT RECORDING...`: parameters of recorded neurons, with what speaks against them."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroinf.checkpoints import checkpoint_kind
from neuroinf.commands.arguments import Arguments
from neuroinf.commands.cells import Cell, recorded_cells
from neuroinf.commands.infer_bins import infer_bins
from neuroinf.commands.infer_channels import infer_channels
from neuroinf.commands.infer_latents import infer_latents
from neuroinf.commands.infer_populations import infer_populations
from neuroinf.construction import simulation_from_spec
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation.overlay import overlay, predictive_check, typical
from neuroinf.evaluation.posterior_predictive import PredictiveCheck
from neuroinf.fits.posterior import refined_posterior
from neuroinf.inference import Estimator, load
from neuroinf.posterior import Posterior

# an offset of the voltage that no file states
JUNCTION = "El is as recorded: the liquid junction potential is not known, and shifts it one to one"


def infer(arguments: Sequence[str]) -> None:
    """Read each recording, infer each cell in it from its sweeps, and say what came out.

    With --output, each cell leaves a JSON file and two figures: the recording with the inferred model's response and that
    of posterior samples over it, and the posterior.

    Raises:
        InputError: on a bad checkpoint or recording; nothing is written then.
    """
    parser = Arguments("neuroinf infer", "Parameters of recorded neurons.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help=".nwb, .abf, .npz or .h5")
    parser.add_argument("--output", type=Path, help="folder for one JSON file and two figures per cell")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one entry per cell, instead of a table")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    parser.add_argument(
        "--sweeps",
        type=int,
        nargs="+",
        help="numbers of the sweeps to use, counted from 0 (default: one of each stimulus)",
    )
    parser.add_argument(
        "--refine",
        action="store_true",
        help="go on from the network's answer by a fit, one sweep per cell; of populations that take turns, by simulation",
    )
    options = parser.parse_args(list(arguments))
    if options.output is not None:
        check_folder(options.output, "neuroinf infer: --output")
    if checkpoint_kind(options.checkpoint) == "latents":
        if options.refine or options.sweeps is not None:
            raise InputError(f"neuroinf infer: {options.checkpoint} reads populations: leave out --refine and --sweeps")
        infer_latents(options.checkpoint, options.recordings, options.output, options.json)
        return
    estimator = load(options.checkpoint, options.trust)
    if estimator.reads_populations:
        if options.sweeps is not None:
            raise InputError(f"neuroinf infer: {options.checkpoint} reads populations: leave out --sweeps")
        infer_populations(estimator, options.recordings, options.output, options.json, options.refine)
        return
    if estimator.reads_bins:
        if options.refine or options.sweeps is not None:
            raise InputError(f"neuroinf infer: {options.checkpoint} reads bins: leave out --refine and --sweeps")
        infer_bins(estimator, options.recordings, options.output, options.json)
        return
    if estimator.reads_channels:
        if options.refine or options.sweeps is not None:
            raise InputError(
                f"neuroinf infer: {options.checkpoint} reads a model's channels: leave out --refine and --sweeps"
            )
        infer_channels(estimator, options.recordings, options.output, options.json)
        return
    # every file is read, and every cell inferred, before anything is said or written
    found = [(path, cell) for path in options.recordings for cell in recorded_cells(path, options.sweeps)]
    if options.output is not None and "simulation" not in estimator.provenance:
        raise InputError(
            f"{options.checkpoint} does not say what it was trained on, expected for --output: leave it out"
        )
    if options.output is not None:
        # here a class that is not trusted is an error; without --output the check is left out
        simulation_from_spec(estimator.provenance["simulation"], options.trust)
        stems = [_stem(path, cell) for path, cell in found]
        for (path, _), stem in zip(found, stems, strict=True):
            if stems.count(stem) > 1:
                raise InputError(
                    f"neuroinf infer: {path} and another recording or cell would both be written as "
                    f"{options.output / stem}.json: expected different names, or an --output for each"
                )
    answers: list[tuple[Posterior, float]] = []
    for _, cell in found:
        begin = time.perf_counter()
        posterior = estimator.infer(cell.sweeps)
        if options.refine:
            posterior = refined_posterior(estimator, cell.sweeps, posterior)
        _ = posterior.mean  # computed when first asked for: part of the time
        answers.append((posterior, time.perf_counter() - begin))
    results: list[dict[str, Any]] = []
    for (path, cell), (posterior, seconds) in zip(found, answers, strict=True):
        mean = posterior.mean
        notes = [*cell.notes, *([JUNCTION] if "El" in mean else [])]
        check, sweep = _check(cell, estimator, posterior)
        if check is not None and check.fails:
            posterior.warnings.append(
                f"posterior predictive check: {check.count} spikes recorded in {sweep}, {check.counts.min()} to "
                f"{check.counts.max()} in {len(check.counts)} simulations of neurons drawn from the posterior"
            )
        result = {
            "recording": path.name,
            "cell": cell.label,
            "sweeps": [sweep.name for sweep in cell.sweeps],
            "seconds": seconds,
            "refined": options.refine,
            **posterior.to_dict(),
            "predictive": None if check is None else {"sweep": sweep, **check.to_dict()},
            "notes": notes,
        }
        results.append(result)
        lines = [] if check is None else [f"{len(check.counts)} posterior samples, {sweep}: {check.line()}"]
        _show(path, cell, posterior, seconds, lines + [f"note: {note}" for note in notes], table=not options.json)
        if options.output is not None:
            _write(options.output, path, cell, estimator, posterior, check, result)
    if options.json:
        print(json.dumps(results, indent=2, allow_nan=False))


def _check(cell: Cell, estimator: Estimator, posterior: Posterior) -> tuple[PredictiveCheck | None, str]:
    """Responses of posterior samples to the current of the cell's typical sweep, and the sweep's name, where there are any."""
    if estimator.simulation is None or posterior.distribution is None:
        return None, ""
    try:
        sweep = typical(cell.sweeps)
        cut = estimator.observation.spike_cut
        return predictive_check(sweep, estimator.simulation, posterior, cut), sweep.name
    except InputError:  # no current was recorded: nothing can be simulated
        return None, ""


def _show(path: Path, cell: Cell, posterior: Posterior, seconds: float, lines: Sequence[str], table: bool) -> None:
    where = path.name + (f", cell {cell.label}" if cell.label else "")
    if table:
        length = sum(sweep.duration for sweep in cell.sweeps) / 1000
        count = f"{len(cell.sweeps)} sweep{'s' if len(cell.sweeps) > 1 else ''}, {length:.1f} s in all"
        print(f"{where}: {count}; inferred in {1000 * seconds:.0f} ms")
        print(posterior.table())
        for line in lines:
            print(line)
        sys.stdout.flush()
    for warning in posterior.warnings:
        print(f"warning: {where}: {warning.removeprefix(path.name + ': ')}", file=sys.stderr)


def _stem(path: Path, cell: Cell) -> str:
    """Name of a cell's files, without their ends."""
    return path.stem if cell.alone else f"{path.stem}_{re.sub(r'[^A-Za-z0-9.-]+', '_', cell.label)}"


def _write(
    folder: Path,
    path: Path,
    cell: Cell,
    estimator: Estimator,
    posterior: Posterior,
    check: PredictiveCheck | None,
    result: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(path, cell)
    written = [folder / f"{stem}.json"]
    written[0].write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    assert estimator.simulation is not None
    try:
        figure = overlay(
            typical(cell.sweeps), estimator.simulation, posterior.mean, estimator.observation.spike_cut, check
        )
    except InputError as error:
        print(f"note: no figure: {error}", file=sys.stderr)
    else:
        written.append(folder / f"{stem}.png")
        figure.savefig(written[-1], dpi=150)
    if posterior.distribution is not None:
        written.append(folder / f"{stem}_posterior.png")
        posterior.plot(title=cell.label or path.name).savefig(written[-1], dpi=120)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)

"""`neuroinf fit RECORDING --model glif`: the fit made for this neuron alone, without a network."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.commands.arguments import Arguments
from neuroinf.commands.cells import recorded_cells
from neuroinf.commands.simulate import read_data
from neuroinf.doubts import EDGE
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.recordings import Recording, concerns
from neuroinf.simulators import GLIF

DEFAULT = "configs/glif.yaml"


def fit(arguments: Sequence[str]) -> None:
    """Fit each sweep of each cell in the recording by itself, and print what came out.

    Raises:
        InputError: on a bad recording or configuration.
    """
    parser = Arguments("neuroinf fit", "The fit made for one neuron alone.")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--model", choices=["glif"], default="glif")
    parser.add_argument(
        "--config", default=DEFAULT, help=f"names the model's level, fixed parameters and ranges ({DEFAULT})"
    )
    parser.add_argument("--method", choices=["gradient_descent", "published"], default="gradient_descent")
    parser.add_argument("--sweeps", type=int, nargs="+", help="numbers of the sweeps to fit, counted from 0")
    parser.add_argument("--duration", type=float, help="fit only so many ms from the start of each sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(list(arguments))
    if not Path(options.config).is_file():
        raise InputError(f"neuroinf fit: no configuration at {options.config}: name one with --config")
    data, _ = read_data(["--config", options.config])
    simulator = data.simulation.simulator
    if not isinstance(simulator, GLIF):
        raise InputError(f"neuroinf fit --model glif: {options.config} is of a {type(simulator).__name__}")
    from neuroinf.fits.glif import fit_recording

    results: list[dict[str, Any]] = []
    remarks: list[str] = []
    for cell in recorded_cells(options.recording, options.sweeps):
        remarks.extend(cell.notes)
        for sweep in cell.sweeps:
            remarks.extend(concerns(sweep))
            begin = time.perf_counter()
            found = fit_recording(
                _start(sweep, options.duration),
                options.method,
                simulator,
                data.prior,
                np.random.default_rng(options.seed),
                data.observation.dt,
                data.simulation.dt,
            )
            remarks.extend(_at_the_edge(sweep.name, found, data.prior))
            results.append(
                {
                    "recording": options.recording.name,
                    "cell": cell.label,
                    "sweep": sweep.name,
                    "method": options.method,
                    "seconds": time.perf_counter() - begin,
                    "parameters": {
                        name: {"unit": unit, "value": None if math.isnan(found[name]) else found[name]}
                        for name, unit in zip(simulator.parameters, simulator.units, strict=True)
                    },
                }
            )
    print(json.dumps(results, indent=2, allow_nan=False) if options.json else _table(results))
    for remark in dict.fromkeys(remarks):
        print(f"note: {remark}", file=sys.stderr)


def _at_the_edge(sweep: str, found: dict[str, float], prior: Prior) -> list[str]:
    """Which fitted values lie at an end of their range: the neuron may lie beyond it, or be no such model."""
    values = np.array([found[name] for name in prior.names])
    with np.errstate(invalid="ignore"):
        u = prior.to_unit(values)
    names = [name for name, at in zip(prior.names, u, strict=True) if at < EDGE or at > 1 - EDGE]
    if not names:
        return []
    return [
        f"{sweep}: {', '.join(names)} at or beyond the end of the range in the configuration: the neuron may lie outside it, or "
        f"not be such a model; try other ranges or another level (--config)"
    ]


def _start(sweep: Recording, duration: float | None) -> Recording:
    if duration is None:
        return sweep
    if not (math.isfinite(duration) and duration >= sweep.dt):
        raise InputError(f"neuroinf fit: --duration must be at least one sample ({sweep.dt:g} ms), found {duration:g}")
    samples = int(duration / sweep.dt)
    return Recording(
        dt=sweep.dt,
        voltage=None if sweep.voltage is None else sweep.voltage[:samples],
        stimulus=None if sweep.stimulus is None else sweep.stimulus[:samples],
        spikes=None if sweep.spikes is None else sweep.spikes[sweep.spikes < duration],
        name=sweep.name,
        attributes=sweep.attributes,
    )


def _table(results: list[dict[str, Any]]) -> str:
    units = {name: entry["unit"] for name, entry in results[0]["parameters"].items()}
    lines = [f"{'sweep':<28}" + "".join(f"{f'{n} ({u})':>18}" for n, u in units.items()) + f"{'seconds':>10}"]
    for result in results:
        values = [entry["value"] for entry in result["parameters"].values()]
        shown = "".join(f"{'-' if v is None else format(v, '.4g'):>18}" for v in values)
        lines.append(f"{result['sweep'][:27]:<28}{shown}{result['seconds']:>10.2f}")
    return "\n".join(lines)

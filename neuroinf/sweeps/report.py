"""What a finished sweep says: drivers, keys without effect, in words, numbers and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.sweeps.drivers import LEVEL, NEGLIGIBLE, PERMUTATIONS, Effect, Verdict, effects
from neuroinf.sweeps.parallel_figure import parallel_coordinates
from neuroinf.sweeps.runs import Runs, read_runs

FEWEST_RUNS = 5


def report(source: Path, metric: str | None, output: Path, seed: int = 0) -> str:
    """Write report.md, metrics.json and parallel.png.

    Args:
        source: A sweep's folder, or a JSON list of runs.
        metric: Other than the sweep's own.
        output: Folder.
        seed: Of the permutations.

    Returns:
        The table and what it says.

    Raises:
        InputError: if there are no runs, too few, or no such metric.
    """
    check_folder(output, "--output")
    found = read_runs(source, metric)
    if len(found.runs) < FEWEST_RUNS:
        raise InputError(
            f"{source}: expected at least {FEWEST_RUNS} finished runs, found {len(found.runs)}: run more trials (--count)"
        )
    of = effects(found.runs, found.maximize, np.random.default_rng(seed))
    text = _text(found, of)
    output.mkdir(parents=True, exist_ok=True)
    parallel_coordinates(found, of, seed).savefig(output / "parallel.png", dpi=150)
    (output / "metrics.json").write_text(json.dumps(_document(source, found, of), indent=1, allow_nan=False))
    (output / "report.md").write_text(
        f"# Sweep {source.name}\n\n{text}\n\n![parallel coordinates](parallel.png)\n\n{_how(found)}\n"
    )
    return text


def _document(source: Path, found: Runs, of: Sequence[Effect]) -> dict[str, Any]:
    sweeps = {
        sweep: sum(run.sweep == sweep for run in found.runs) for sweep in dict.fromkeys(r.sweep for r in found.runs)
    }
    return {
        "source": source.name,
        "metric": found.metric,
        "goal": "maximize" if found.maximize else "minimize",
        "n": len(found.runs),
        "sweeps": sweeps,
        "left_out": found.left_out,
        "drivers": _keys(of, "driver"),
        "without_effect": _keys(of, "without effect"),
        "undecided": _keys(of, "undecided"),
        "keys": {effect.key: {k: v for k, v in asdict(effect).items() if k != "key"} for effect in of},
    }


def _keys(of: Sequence[Effect], verdict: Verdict) -> list[str]:
    return [effect.key for effect in of if effect.verdict == verdict]


def _text(found: Runs, of: Sequence[Effect]) -> str:
    if not of:
        return f"{len(found.runs)} runs, and no key varies within a sweep: there is nothing to say of any."
    rows = [["key", "rho", "95 % interval", "share", "beyond others", "p", "p (Holm)", "verdict"]]
    for effect in of:
        c = effect.correlation
        rho, interval = ("-", "-") if c is None else (f"{c.rho:+.2f}", f"{c.low:+.2f} to {c.high:+.2f}")
        numbers = [f"{effect.share:.2f}", f"{effect.partial:.2f}", f"{effect.p:.4f}", f"{effect.adjusted:.4f}"]
        rows.append([effect.key, rho, interval, *numbers, effect.verdict])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join([*lines, "", *_sentences(found, of)])


def _sentences(found: Runs, of: Sequence[Effect]) -> list[str]:
    sweeps = list(dict.fromkeys(run.sweep for run in found.runs))
    said = [f"{len(found.runs)} runs" + (f" of {len(sweeps)} sweeps" if len(sweeps) > 1 else "") + f", {found.metric}."]
    drivers, without, open_ = (_keys(of, v) for v in ("driver", "without effect", "undecided"))
    said[0] += f" Drivers: {', '.join(drivers) or 'none found'}."
    if without:
        said[0] += f" Without effect: {', '.join(without)}."
    if open_:
        said[0] += f" Undecided, for want of runs: {', '.join(open_)}."
    for effect in of:
        c = effect.correlation
        if effect.verdict == "without effect" and c is not None:
            most = max(abs(c.low), abs(c.high))
            said.append(
                f"{effect.key}: rank correlation {c.rho:+.2f}; the runs exclude one beyond {most:.2f} in size (95 %). If it was "
                f"meant to matter, see whether it reaches the model."
            )
    if found.left_out:
        more = f" and {len(found.left_out) - 3} more" if len(found.left_out) > 3 else ""
        said.append(f"Left out: {'; '.join(found.left_out[:3])}{more}.")
    return ["\n".join(f"- {line}" for line in said)]


def _how(found: Runs) -> str:
    return (
        "## How\n\n"
        "Sweeps may differ in their data, hence in the level of the metric: runs are ranked within their sweep, and only "
        "then put together. rho is Spearman's correlation of key and metric (of several sweeps the mean on Fisher's scale, "
        "weighted by n - 3); a negative one means that larger values of the key go with smaller values of the metric. The "
        "share is what a parabola in the key's ranks (of a key without order, its levels' means) explains of the ranks of "
        "the metric: a learning rate that can be too small and too large has a large share and a small rho. Beyond others: "
        "the same of what all other keys leave. "
        f"p: {PERMUTATIONS} permutations of these residuals within sweeps (Freedman and Lane 1983); Holm's procedure over "
        f"all keys. A driver has p (Holm) below {LEVEL}; a key without effect has p above {LEVEL} and |rho| below "
        f"{NEGLIGIBLE}; the others are undecided. Runs that were stopped early rank behind all that came farther, runs that "
        "diverged behind all."
    )


__all__ = ["report"]

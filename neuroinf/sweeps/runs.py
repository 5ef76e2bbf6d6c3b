"""Finished runs of one or several sweeps, from a sweep's folder or a JSON list."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from neuroinf.errors import InputError
from neuroinf.sweeps.logged_metrics import read_logged
from neuroinf.sweeps.storage import SPECIFICATION, VALUES, best, open_study, trial_folder

# what a published list of runs may call its validation loss, if the user does not say
_USUAL = ("val/loss", "valid_loss", "val_loss", "loss")
# of the longest run of its sweep that a run must have come to, unless it was stopped for being bad
COMPARABLE = 0.5
Config = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        name: Its own.
        sweep: Only runs of one sweep have the same data and are compared.
        config: Values by dotted key.
        score: The metric; of a sweep's folder its best epoch, of a list the last value; None if it diverged.
        steps: Values that were logged.
        stopped: Whether it was stopped early: it ranks below all that came farther.
    """

    name: str
    sweep: str
    config: Config
    score: float | None
    steps: int
    stopped: bool = False


@dataclass(frozen=True)
class Runs:
    """Those that are compared.

    Args:
        metric: What was measured.
        maximize: Whether more is better.
        runs: That are compared.
        left_out: Those that are not, each with the reason.
    """

    metric: str
    maximize: bool
    runs: list[Run]
    left_out: list[str]


def read_runs(source: Path, metric: str | None) -> Runs:
    """Of a sweep's folder or of a JSON list of {run, sweep, config, METRIC: value or values}.

    Raises:
        InputError: if it is neither, or the metric is not in it.
    """
    if not source.exists():
        raise InputError(
            f"neuroinf sweep report: expected a sweep's folder or a JSON list of runs, found nothing at {source}"
        )
    return _folder(source, metric) if source.is_dir() else _list(source, metric)


def _folder(folder: Path, metric: str | None) -> Runs:
    study = open_study(folder)
    described = study.user_attrs.get(SPECIFICATION, {})
    own, goal = described["metric"]["name"], described["metric"].get("goal", "minimize")
    maximize = goal == "maximize"
    runs, left_out, names = [], [], {}
    for trial in study.get_trials(deepcopy=False):
        name = f"trial {trial.number}"
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) and not _diverged(trial):
            left_out.append(f"{name}: {trial.user_attrs.get('reason') or 'unfinished'}")
            continue
        score, steps = best(trial, maximize), len(trial.intermediate_values)
        if metric not in (None, own):
            logged = read_logged(trial_folder(folder, trial.number), metric)
            names |= dict.fromkeys(logged.names)
            values = [value for value in logged.values.values() if math.isfinite(value)]
            if not logged.values:
                left_out.append(f"{name}: {metric} is not logged")
                continue
            score = (max if maximize else min)(values) if values else None
        stopped = trial.state == TrialState.PRUNED
        runs.append(Run(name, folder.name, _flat(trial.user_attrs[VALUES]), score, steps, stopped))
    if not runs and names:
        raise InputError(f"{folder}: --metric {metric} is never logged; expected one of {', '.join(names)}")
    return Runs(metric or own, maximize, runs, left_out)


def _diverged(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and bool(trial.intermediate_values)


def _list(file: Path, metric: str | None) -> Runs:
    try:
        given = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: expected a JSON list of runs, found no JSON: {error}") from error
    if not isinstance(given, list) or not given:
        raise InputError(f"{file}: expected a JSON list of runs, found {type(given).__name__} {str(given)[:40]}")
    for i, entry in enumerate(given):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), Mapping):
            raise InputError(
                f"{file}: run {i}: expected an object with config, and the metric, found {str(entry)[:60]}"
            )
    there = {key for entry in given for key, value in entry.items() if _series(value)}
    if metric is None:
        metric = next((name for name in _USUAL if name in there), None)
    if metric is None or metric not in there:
        raise InputError(
            f"{file}: --metric: expected one of {', '.join(sorted(there)) or 'none there is'}, found {metric}"
        )
    lengths: dict[str, int] = {}
    for entry in given:
        sweep = str(entry.get("sweep", "sweep"))
        lengths[sweep] = max(lengths.get(sweep, 0), len(_series(entry.get(metric))))
    runs, left_out = [], []
    for i, entry in enumerate(given):
        name, sweep = str(entry.get("run", f"run {i}")), str(entry.get("sweep", "sweep"))
        values = _series(entry.get(metric))
        if len(values) < COMPARABLE * lengths[sweep] or not values:
            left_out.append(f"{name} of {sweep}: {len(values)} of {lengths[sweep]} logged values")
            continue
        score = values[-1] if math.isfinite(values[-1]) else None
        runs.append(Run(name, sweep, _flat(entry["config"]), score, len(values)))
    return Runs(metric, False, runs, left_out)


def _series(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values)
    return [float(x) for x in values] if numbers else []


def _flat(config: Mapping[str, Any], above: str = "") -> Config:
    found: Config = {}
    for key, value in config.items():
        # W&B writes {"value": x}
        if isinstance(value, Mapping) and set(value) == {"value"}:
            value = value["value"]
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found


__all__ = ["Run", "Runs", "read_runs"]

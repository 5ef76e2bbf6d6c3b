"""A sweep as its YAML file describes it: the very file that `wandb sweep` reads."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from neuroinf.errors import InputError
from neuroinf.specification import Plain
from neuroinf.sweeps.distributions import Distribution, read_distribution

METHODS = ("random", "grid", "bayes")
# W&B's names of a sweep and where it is shown: nothing that a local sweep could follow
_NAMES = ("name", "description", "project", "entity", "apiVersion", "kind")
_KEYS = ("program", "method", "metric", "parameters", "early_terminate", "command", "run_cap", *_NAMES)
DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


@dataclass(frozen=True)
class Hyperband:
    """Epochs at which only the best 1 / eta of the trials that come so far go on.

    Args:
        first: The first of these epochs; each next one is eta times the one before.
        eta: Whole number above 1.
    """

    first: int
    eta: int


@dataclass(frozen=True)
class Sweep:
    """What is swept, over what, and how.

    Args:
        program: The script.
        method: "random", "grid" or "bayes".
        metric: Name of the logged value that is optimised.
        maximize: Whether more of it is better.
        target: No trial is begun once one has reached it.
        parameters: What each key, dotted where the file nests it, is drawn from.
        hyperband: When trials are stopped early; None: never.
        command: Words and ${macros}.
        run_cap: No more trials than that.
        specification: All that makes this sweep another one than another, in plain types.
    """

    program: str
    method: Literal["random", "grid", "bayes"]
    metric: str
    maximize: bool
    target: float | None
    parameters: dict[str, Distribution]
    hyperband: Hyperband | None
    command: tuple[str, ...]
    run_cap: int | None
    specification: Plain

    @property
    def swept(self) -> dict[str, Distribution]:
        """Without the constants."""
        return {key: of for key, of in self.parameters.items() if of.kind != "constant"}

    @property
    def cells(self) -> int:
        """Number of points of a grid."""
        return math.prod(len(of.values or ()) for of in self.parameters.values())


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        InputError: if the file is not one, or asks for what there is not.
    """
    if not path.is_file():
        raise InputError(f"expected a sweep file, found no file at {path}")
    try:
        given = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML: {error}") from error
    try:
        return _sweep(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _sweep(given: Any) -> Sweep:
    if not isinstance(given, Mapping) or not given:
        raise InputError("expected a sweep with program, method, metric and parameters")
    for key in given:
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}: expected some of {', '.join(_KEYS)}")
    method = given.get("method")
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    program = given.get("program")
    if not isinstance(program, str):
        raise InputError(f"program: expected the script to run, such as train.py, found {program!r}")
    metric = _mapping(given, "metric", ("name", "goal", "target"))
    if not isinstance(metric.get("name"), str):
        raise InputError("metric.name: expected the name of a logged value, such as val/loss, found nothing")
    goal, target = metric.get("goal", "minimize"), metric.get("target")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"metric.goal: expected minimize or maximize, found {goal!r}")
    if target is not None and not isinstance(target, (int, float)):
        raise InputError(f"metric.target: expected a number, found {target!r}")
    parameters = _parameters(given.get("parameters"))
    for key, of in parameters.items() if method == "grid" else ():
        if of.values is None:
            raise InputError(f"parameters.{key}: a grid needs values, found a distribution {of.kind}; list values")
    command = given.get("command", list(DEFAULT_COMMAND))
    if not isinstance(command, list) or not command:
        raise InputError(f"command: expected a list of words, found {command!r}")
    words = tuple(map(str, command))
    cap = given.get("run_cap")
    if cap is not None and not (isinstance(cap, int) and cap >= 1):
        raise InputError(f"run_cap: expected a whole number, at least 1, found {cap!r}")
    kept = {key: value for key, value in given.items() if key not in (*_NAMES, "run_cap")}
    return Sweep(
        program=program,
        method=method,
        metric=metric["name"],
        maximize=goal == "maximize",
        target=target,
        parameters=parameters,
        hyperband=_hyperband(given) if "early_terminate" in given else None,
        command=words,
        run_cap=cap,
        specification={**kept, "configurations": _digests(words)},
    )


def _mapping(given: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    found = given.get(key, {})
    if not isinstance(found, Mapping):
        raise InputError(f"{key}: expected {', '.join(known)}, found {found!r}")
    for name in found:
        if name not in known:
            raise InputError(f"{key}.{name}: unknown key; expected some of {', '.join(known)}")
    return found


def _parameters(given: Any, above: str = "") -> dict[str, Distribution]:
    """Distributions by dotted key."""
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"parameters{'.' + above[:-1] if above else ''}: expected keys to sweep, found {given!r}")
    found: dict[str, Distribution] = {}
    for key, value in given.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and "parameters" in value:
            found |= _parameters(value["parameters"], f"{name}.")
        else:
            found[name] = read_distribution(name, value)
    return found


def _hyperband(given: Mapping[str, Any]) -> Hyperband:
    r"""From the first epoch, or from the last: :math:`\lfloor` max_iter / eta^s :math:`\rfloor`."""
    stop = _mapping(given, "early_terminate", ("type", "min_iter", "max_iter", "s", "eta", "strict"))
    if stop.get("type") != "hyperband":
        raise InputError(f"early_terminate.type: expected hyperband, found {stop.get('type')!r}")
    for name in ("min_iter", "max_iter", "s", "eta"):
        if name in stop and not (isinstance(stop[name], int) and stop[name] >= (2 if name == "eta" else 1)):
            least = 2 if name == "eta" else 1
            raise InputError(f"early_terminate.{name}: expected a whole number, at least {least}, found {stop[name]!r}")
    eta = stop.get("eta", 3)
    if "min_iter" in stop:
        return Hyperband(stop["min_iter"], eta)
    if not {"max_iter", "s"} <= stop.keys():
        raise InputError("early_terminate: expected min_iter, or max_iter and s")
    first = stop["max_iter"]
    for _ in range(stop["s"]):
        if first // eta < 1:
            break
        first //= eta
    return Hyperband(first, eta)


def _digests(command: tuple[str, ...]) -> dict[str, str]:
    """Of the configurations that the command names: another content makes another sweep."""
    words = [word for part in command for word in re.split(r"=", part, maxsplit=1)]
    files = [value for key, value in pairwise(words) if key == "--config"]
    return {file: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] for file in files if Path(file).is_file()}


__all__ = ["DEFAULT_COMMAND", "METHODS", "Hyperband", "Sweep", "read_sweep"]

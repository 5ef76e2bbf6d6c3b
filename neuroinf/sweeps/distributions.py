"""What a swept key is drawn from: W&B's distributions, each as a quantile function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from neuroinf.errors import InputError

# what each distribution is given by: needed, then optional with W&B's defaults
_ARGUMENTS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "constant": (("value",), {}),
    "categorical": (("values",), {}),
    "categorical_w_probabilities": (("values", "probabilities"), {}),
    "int_uniform": (("min", "max"), {}),
    "uniform": (("min", "max"), {}),
    "q_uniform": (("min", "max"), {"q": 1}),
    "log_uniform": (("min", "max"), {}),
    "log_uniform_values": (("min", "max"), {}),
    "q_log_uniform": (("min", "max"), {"q": 1}),
    "q_log_uniform_values": (("min", "max"), {"q": 1}),
    "inv_log_uniform": (("min", "max"), {}),
    "inv_log_uniform_values": (("min", "max"), {}),
    "normal": ((), {"mu": 0.0, "sigma": 1.0}),
    "q_normal": ((), {"mu": 0.0, "sigma": 1.0, "q": 1}),
    "log_normal": ((), {"mu": 0.0, "sigma": 1.0}),
    "q_log_normal": ((), {"mu": 0.0, "sigma": 1.0, "q": 1}),
    "beta": ((), {"a": 1.0, "b": 1.0}),
    "q_beta": ((), {"a": 1.0, "b": 1.0, "q": 1}),
}
# of a normal or beta distribution these quantiles stand for its ends
TAILS = (0.05, 0.95)


@dataclass(frozen=True)
class Distribution:
    r"""A distribution with quantile function :math:`F^{-1}(u)`.

    Args:
        kind: W&B's name. ``log_uniform`` has natural logarithms as bounds, ``log_uniform_values`` the values; with
            ``inv_`` it is the reciprocal that is log-uniform; with ``q_`` values are rounded to multiples of q.
        arguments: As W&B names them.
    """

    kind: str
    arguments: Mapping[str, Any]

    @property
    def values(self) -> list[Any] | None:
        """All values, of a distribution over few that are listed or whole numbers; else None."""
        if self.kind == "constant":
            return [self.arguments["value"]]
        if self.kind == "categorical_w_probabilities":
            chances = zip(self.arguments["values"], self.arguments["probabilities"], strict=True)
            return [value for value, chance in chances if chance > 0]
        if self.kind == "categorical":
            return list(self.arguments["values"])
        if self.kind == "int_uniform":
            return list(range(self.arguments["min"], self.arguments["max"] + 1))
        return None

    @property
    def extremes(self) -> list[Any]:
        """The values that are listed, or both ends of the range."""
        if self.kind.startswith(("constant", "categorical")):
            return self.values or []
        low, high = TAILS if self.kind.endswith(("normal", "beta")) else (0.0, 1.0)
        return [self.quantile(low), self.quantile(high)]

    def quantile(self, u: float) -> Any:
        """The value at a probability from 0 to 1."""
        given = self.arguments
        if self.kind == "constant":
            return given["value"]
        if self.kind.startswith("categorical"):
            chances = given.get("probabilities", [1.0] * len(given["values"]))
            edges = np.cumsum(chances) / sum(chances)
            kept = max(i for i, chance in enumerate(chances) if chance > 0)
            return given["values"][min(int(np.searchsorted(edges, u, side="right")), kept)]
        if self.kind == "int_uniform":
            number = given["max"] - given["min"] + 1
            return given["min"] + min(int(u * number), number - 1)
        value = self._continuous(self.kind.removeprefix("q_"), u)
        if not self.kind.startswith("q_"):
            return value
        step = given["q"]
        multiple = round(value / step) * step
        # 3 * 0.1 is 0.30000000000000004, which nobody wants to read
        return multiple if isinstance(step, int) else float(f"{multiple:.12g}")

    def _continuous(self, kind: str, u: float) -> float:
        given = self.arguments
        if kind in ("normal", "log_normal"):
            value = float(stats.norm.ppf(u, given["mu"], given["sigma"]))
            return math.exp(value) if kind == "log_normal" else value
        if kind == "beta":
            return float(stats.beta.ppf(u, given["a"], given["b"]))
        low, high = float(given["min"]), float(given["max"])
        if kind.endswith("_values"):
            low, high = math.log(low), math.log(high)
            # the ends as they are written, not to rounding
            if u in (0.0, 1.0):
                return float(given["max"] if u else given["min"])
        if kind == "inv_log_uniform":  # its bounds are those of log(1 / value)
            return math.exp(-(high - u * (high - low)))
        between = low + u * (high - low)
        return math.exp(between) if "log" in kind else between


def read_distribution(key: str, given: Any) -> Distribution:
    """From what a sweep file says of a key.

    Raises:
        InputError: if W&B has no such distribution, or it has no such arguments.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"parameters.{key}: expected value, values, or min and max, found {given!r}")
    kind = given.get("distribution", _implied(given))
    if kind not in _ARGUMENTS:
        raise InputError(f"parameters.{key}.distribution: expected one of {', '.join(_ARGUMENTS)}, found {kind!r}")
    if kind == "categorical" and "probabilities" in given:
        kind = "categorical_w_probabilities"
    needed, optional = _ARGUMENTS[kind]
    arguments = {name: value for name, value in given.items() if name != "distribution"}
    unknown = [name for name in arguments if name not in (*needed, *optional)]
    missing = [name for name in needed if name not in arguments]
    if unknown or missing:
        found = ", ".join(map(str, arguments)) or "nothing"
        expected = ", ".join((*needed, *(f"{name} (optional)" for name in optional)))
        raise InputError(f"parameters.{key}: a distribution {kind} expects {expected}, found {found}")
    distribution = Distribution(kind, optional | arguments)
    _check(f"parameters.{key}", kind, distribution.arguments)
    return distribution


def _implied(given: Mapping[str, Any]) -> str:
    """The distribution that W&B takes if none is named."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if {"min", "max"} <= given.keys():
        whole = all(isinstance(given[name], int) for name in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "categorical"


def _check(where: str, kind: str, given: Mapping[str, Any]) -> None:
    """Refuse values that a distribution cannot have."""
    for name, value in given.items():
        if name in ("value", "values", "probabilities"):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(
                f"{where}.{name}: expected a number, found {value!r} (YAML reads 1e-4 as text: write 1.0e-4)"
            )
        if name in ("q", "sigma", "a", "b") and value <= 0:
            raise InputError(f"{where}.{name}: expected a positive number, found {value}")
    if "min" in given:
        if kind == "int_uniform" and not all(isinstance(given[name], int) for name in ("min", "max")):
            raise InputError(f"{where}: int_uniform expects whole numbers, found {given['min']} and {given['max']}")
        if not given["min"] < given["max"]:
            raise InputError(f"{where}: expected min below max, found {given['min']} and {given['max']}")
        if kind.endswith("_values") and given["min"] <= 0:
            raise InputError(f"{where}.min: a distribution {kind} expects a positive number, found {given['min']}")
        if "log" in kind and not kind.endswith("_values") and given["max"] > LARGEST_LOGARITHM:
            raise InputError(
                f"{where}.max: bounds of {kind} are natural logarithms, and exp({given['max']}) is no number: "
                f"did you mean log_uniform_values?"
            )
    values, chances = given.get("values"), given.get("probabilities")
    if "values" in given and not (isinstance(values, list) and values):
        raise InputError(f"{where}.values: expected a list of values, found {values!r}")
    if "probabilities" in given:
        numbers = isinstance(chances, list) and all(isinstance(c, (int, float)) and c >= 0 for c in chances)
        if not (isinstance(chances, list) and numbers and len(chances) == len(values or []) and sum(chances) > 0):
            raise InputError(f"{where}.probabilities: expected one for each of {values}, found {chances!r}")


LARGEST_LOGARITHM = math.log(np.finfo(np.float64).max)

__all__ = ["Distribution", "read_distribution"]

"""The parameters of GLIF neurons: which level has which, their units and what they may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

UNITS = {
    "C": "pF",
    "R_input": "GOhm",
    "El": "mV",
    "th_inf": "mV",
    "spike_cut_length": "ms",
    "asc_amp_1": "pA",
    "asc_amp_2": "pA",
    "asc_tau_1": "ms",
    "asc_tau_2": "ms",
    "reset_a": "1",
    "reset_b": "mV",
    "a_spike": "mV",
    "b_spike": "1/ms",
    "a_voltage": "1/ms",
    "b_voltage": "1/ms",
}
CHANNELS = {"voltage": "mV", "threshold": "mV", "asc_1": "pA", "asc_2": "pA"}
POSITIVE = ("C", "R_input", "asc_tau_1", "asc_tau_2")
NOT_NEGATIVE = ("spike_cut_length", "b_spike", "b_voltage")


def parts(level: int) -> tuple[bool, bool, bool]:
    """Whether a level has after-spike currents, reset rules, a voltage-driven threshold."""
    return level >= 3, level in (2, 4, 5), level == 5


def parameters_of(level: int) -> tuple[str, ...]:
    """All parameters of a level, in canonical order."""
    (after_spike, reset_rules, voltage_threshold), names = parts(level), tuple(UNITS)
    return (
        names[:5]
        + (names[5:9] if after_spike else ())
        + (names[9:13] if reset_rules else ())
        + (names[13:] if voltage_threshold else ())
    )


def check(name: str, values: NDArray[Any], where: str) -> None:
    """Refuse what the parameter cannot be.

    Args:
        name: Of the parameter.
        values: Its values (n,).
        where: They were given, for the message.

    Raises:
        InputError: if a value is no finite number, or not positive or negative where it must be.
    """
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(f"{where}: {name} must be a number of {UNITS[name]}, found {values.tolist()!r}")
    bad, expected = ~np.isfinite(values), "finite"
    if not bad.any() and name in POSITIVE:
        bad, expected = values <= 0, "positive"
    elif not bad.any() and name in NOT_NEGATIVE:
        bad, expected = values < 0, "not negative"
    if bad.any():
        row = int(np.argmax(bad))
        place = f"{where} row {row}" if where == "theta" else where
        raise InputError(f"{place}: {name} ({UNITS[name]}) must be {expected}, found {values[row]}")

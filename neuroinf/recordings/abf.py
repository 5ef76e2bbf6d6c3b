"""Recordings from Axon Binary Files (ABF 1 and 2), by pyabf."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyabf

from neuroinf.errors import InputError
from neuroinf.recordings.plausibility import check
from neuroinf.recordings.recording import FloatArray, Recording

_VOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3}
_AMPERES = {"A": 1e12, "uA": 1e6, "nA": 1e3, "pA": 1.0, "fA": 1e-3}


def _channel(units: list[str], table: dict[str, float]) -> int | None:
    return next((index for index, unit in enumerate(units) if unit in table), None)


def _trace(abf: Any, sweep: int, channel: int, table: dict[str, float]) -> FloatArray:
    abf.setSweep(sweep, channel=channel)
    return np.asarray(abf.sweepY, dtype=np.float64) * table[abf.adcUnits[channel]]


def _command(abf: Any, sweep: int, channel: int) -> FloatArray:
    abf.setSweep(sweep, channel=channel)
    return np.asarray(abf.sweepC, dtype=np.float64)


def _calibrate(recorded: list[FloatArray], commands: list[FloatArray]) -> tuple[float, float]:
    """Slope and offset of the recorded current on the command, from medians at each level (spikes leak into it)."""
    joined_i, joined_c = np.concatenate(recorded), np.concatenate(commands)
    levels = np.unique(joined_c)
    if len(levels) < 2 or len(levels) > 10_000:
        raise InputError("expected a command of 2 to 10000 levels to be calibrated by the recorded current")
    medians = np.array([np.median(joined_i[joined_c == level]) for level in levels])
    weights = np.sqrt([np.count_nonzero(joined_c == level) for level in levels])
    slope, offset = np.polyfit(levels, medians, 1, w=weights)
    return float(slope), float(offset)


def read_abf(path: str | Path, *, stimulus: Literal["recorded", "command"] = "recorded") -> list[Recording]:
    """Current-clamp sweeps of an ABF file.

    The voltage is the first channel in volts. With ``stimulus="recorded"`` the current is the first channel in
    amperes; if there is none, the command waveform in amperes. With ``stimulus="command"`` it is the command waveform,
    which no amplifier artefact disturbs: as it is if its unit is amperes, otherwise scaled and shifted so that it meets
    the recorded current (the median at each level), which includes the holding current.

    Raises:
        InputError: not an ABF file, no sweeps, no voltage channel, no current anywhere, or implausible values.
    """
    path = Path(path)
    try:
        abf: Any = pyabf.ABF(str(path))  # its attributes are set at run time, unseen by type checkers
    except Exception as error:  # pyabf raises plain Exception, struct and index errors alike on damaged files
        raise InputError(f"{path}: expected an ABF file, could not read it: {error}") from None
    volt, ampere = _channel(abf.adcUnits, _VOLTS), _channel(abf.adcUnits, _AMPERES)
    if volt is None:
        raise InputError(
            f"{path}: expected a channel in {', '.join(_VOLTS)}, found {', '.join(abf.adcUnits) or 'none'}"
        )
    if abf.sweepCount < 1:
        raise InputError(f"{path}: expected at least one sweep, found none")
    sweeps = range(abf.sweepCount)
    dac = next((i for i, unit in enumerate(abf.dacUnits[: abf.channelCount]) if unit in _AMPERES), None)
    source = "recorded current"
    if stimulus == "recorded" and ampere is not None:
        currents = [_trace(abf, sweep, ampere, _AMPERES) for sweep in sweeps]
    elif dac is not None:
        currents = [_command(abf, sweep, dac) * _AMPERES[abf.dacUnits[dac]] for sweep in sweeps]
        source = "command waveform"
    elif ampere is not None:
        commands = [_command(abf, sweep, 0) for sweep in sweeps]
        try:
            slope, offset = _calibrate([_trace(abf, sweep, ampere, _AMPERES) for sweep in sweeps], commands)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        currents = [command * slope + offset for command in commands]
        source = (
            f"command waveform at {slope:.4g} pA per {abf.dacUnits[0]} and {offset:.4g} pA, from the recorded current"
        )
    else:
        raise InputError(
            f"{path}: expected a current: a channel or a command in {', '.join(_AMPERES)}; found channels in "
            f"{', '.join(abf.adcUnits)} and commands in {', '.join(abf.dacUnits)}"
        )
    recordings = []
    for sweep, current in zip(sweeps, currents, strict=True):
        attributes = {
            "file": path.name,
            "sweep": str(sweep),
            "cell": path.stem,
            "protocol": str(abf.protocol),
            "stimulus_source": source,
        }
        name = f"{path.name} sweep {sweep}"
        voltage = _trace(abf, sweep, volt, _VOLTS)
        recordings.append(check(Recording(1e3 / abf.dataRate, voltage, current, None, name, attributes)))
    return recordings

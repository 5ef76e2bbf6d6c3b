"""Recordings from Neurodata Without Borders files (NWB 2), by pynwb.

NWB states volts and amperes: value = data * conversion + offset. The series' `gain` is the amplifier's and is already
part of the conversion, so it is not applied.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO
from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

from neuroinf.errors import InputError
from neuroinf.recordings.plausibility import check, current_plausible, voltage_plausible
from neuroinf.recordings.recording import FloatArray, Recording

_VOLTS = {"volts": 1e3, "volt": 1e3, "v": 1e3, "millivolts": 1.0, "millivolt": 1.0, "mv": 1.0}
_AMPERES = {"amperes": 1e12, "ampere": 1e12, "amps": 1e12, "a": 1e12, "nanoamperes": 1e3, "na": 1e3}
_AMPERES |= {"picoamperes": 1.0, "picoampere": 1.0, "pa": 1.0}

# pynwb builds its classes' attributes at run time, where no type checker sees them.
Series = Any

# A prefix applied twice by whoever wrote the file: milli to volts, pico to amperes.
_TWICE_MILLI, _TWICE_PICO = 1e3, 1e12


def _rate(series: Series, where: str) -> float:
    """Samples per second, from the rate or from evenly spaced timestamps."""
    if series.rate is not None:
        return float(series.rate)
    times = None if series.timestamps is None else np.asarray(series.timestamps[:], dtype=np.float64)
    if times is None or len(times) < 2:
        raise InputError(f"{where}: expected a rate or timestamps, found neither")
    steps = np.diff(times)
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > 0.01 * step:
        raise InputError(
            f"{where}: expected evenly spaced timestamps, found steps from {steps.min() * 1e3:g} to "
            f"{steps.max() * 1e3:g} "
            f"ms; resample the recording first"
        )
    return (len(times) - 1) / float(times[-1] - times[0])


def _values(series: Series, table: dict[str, float], span: slice, where: str) -> FloatArray:
    unit = str(series.unit).strip().lower()
    if unit not in table:
        raise InputError(f"{where}: expected a unit of {', '.join(table)}, found {series.unit!r}")
    data = np.asarray(series.data[span])
    if data.ndim != 1 or data.dtype.kind not in "fiu":
        raise InputError(f"{where}: expected real samples along one axis, found {data.dtype} of shape {data.shape}")
    return (data.astype(np.float64) * float(series.conversion) + float(series.offset or 0.0)) * table[unit]


def _table_pairs(nwb: Any) -> dict[str, tuple[slice, Series | None, slice]]:
    """Response name -> (span, stimulus, span) as the intracellular recordings table says."""
    table = nwb.intracellular_recordings
    pairs: dict[str, tuple[slice, Series | None, slice]] = {}
    if table is None:
        return pairs

    def span(start: int, count: int) -> slice:
        return slice(None) if start < 0 or count < 0 else slice(int(start), int(start) + int(count))

    responses, stimuli = table.category_tables["responses"]["response"], table.category_tables["stimuli"]["stimulus"]
    for i in range(len(table)):
        response, stimulus = responses[i], stimuli[i]
        same = (
            response.timeseries.name == stimulus.timeseries.name
        )  # pynwb's way of saying that one of the two is absent
        current = stimulus.timeseries if not same and stimulus.count != 0 else None
        pairs[response.timeseries.name] = (
            span(response.idx_start, response.count),
            current,
            span(stimulus.idx_start, stimulus.count),
        )
    return pairs


def _digits(name: str) -> str:
    found = re.findall(r"\d+", name)
    return str(int(found[-1])) if found else ""


def _pair(response: Series, stimuli: list[Series], alone: bool) -> Series | None:
    """A response's stimulus: by sweep number (and electrode), else by the number in the names, else the only one."""
    if response.sweep_number is not None:
        same = [s for s in stimuli if s.sweep_number is not None and int(s.sweep_number) == int(response.sweep_number)]
        if len(same) > 1:
            same = [s for s in same if s.electrode is response.electrode] or same
        if len(same) == 1:
            return same[0]
    same = [s for s in stimuli if _digits(s.name) and _digits(s.name) == _digits(response.name)]
    if len(same) == 1:
        return same[0]
    return stimuli[0] if alone and len(stimuli) == 1 else None


def _attributes(nwb: Any, response: Series, stimulus: Series | None, path: Path) -> dict[str, str]:
    description = str(response.description or "")
    label = f"{description} {response.stimulus_description or ''}".lower()
    cell = re.search(r"\bcell[ _:#]*([\w.-]+)", description, flags=re.IGNORECASE)
    attributes = {
        "file": path.name,
        "sweep": str(response.sweep_number) if response.sweep_number is not None else _digits(response.name),
        "description": description,
        "stimulus_description": str(response.stimulus_description or ""),
        # A trailing "_39" is the sweep's number within that cell's own experiment: the cell is what stands before it.
        "cell": re.sub(r"_\d+$", "", cell.group(1)) if cell else str(nwb.identifier),
        "session": str(nwb.session_description),
        "electrode": str(response.electrode.name) if response.electrode is not None else "",
    }
    if re.search(r"\baec\b|electrode (identification|compensation)", label):
        attributes["role"] = "electrode"
    if stimulus is None:
        attributes["stimulus_source"] = "none in the file"
    return attributes


def _prefix_applied_twice(parts: list[tuple[FloatArray, FloatArray | None]], integers: bool) -> bool:
    """Whether the file's conversions hold milli and pico twice.

    Deliberately narrow: integer samples (whose scale is nothing but the conversion), every voltage and every current
    of the file impossible as stated, and every one of them plausible with 1e3 and 1e12.
    """
    currents = [current for _, current in parts if current is not None]
    return (
        integers
        and len(currents) > 0
        and not any(
            voltage_plausible(voltage) or current_plausible(current)
            for voltage, current in parts
            if current is not None
        )
        and all(voltage_plausible(voltage * _TWICE_MILLI) for voltage, _ in parts)
        and all(current_plausible(current * _TWICE_PICO) for current in currents)
    )


def read_nwb(
    path: str | Path, *, voltage_scale: float | None = None, stimulus_scale: float | None = None
) -> list[Recording]:
    """Current-clamp sweeps of an NWB file, one recording per CurrentClampSeries.

    Response and stimulus are paired by the intracellular recordings table if it names the response, else by sweep
    number (and electrode), else by the number in their names, else because there is one of each. A response without a
    stimulus keeps ``stimulus=None``.

    A file whose integer samples carry conversion factors with the prefix applied twice (so that every voltage is below
    1 mV and every current below 1 fA) is read with 1e3 and 1e12, and each recording says so in
    ``attributes["warning"]``. Any other implausible value is refused.

    Args:
        path: The file.
        voltage_scale: Multiply every voltage by this (nothing else is then corrected).
        stimulus_scale: Multiply every current by this.

    Raises:
        InputError: not an NWB file, no current-clamp sweep, rates or lengths that differ within a pair, units that are
            not volts and amperes, nan, or implausible values.
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older files make pynwb warn about what does not concern a reader
        try:
            io: Any = NWBHDF5IO(path=str(path), mode="r", load_namespaces=True)
        except Exception as error:  # h5py and hdmf raise many kinds on damaged files
            raise InputError(f"{path}: expected an NWB file, could not open it: {error}") from None
        with io:
            try:
                nwb = io.read()
            except Exception as error:
                raise InputError(f"{path}: expected an NWB 2 file, could not read it: {error}") from None
            try:
                return _read_sweeps(nwb, path, voltage_scale, stimulus_scale)
            except OSError as error:
                raise InputError(f"{path}: damaged file, could not read its samples: {error}") from None


def _read_sweeps(nwb: Any, path: Path, voltage_scale: float | None, stimulus_scale: float | None) -> list[Recording]:
    responses: list[Series] = [s for s in nwb.acquisition.values() if isinstance(s, CurrentClampSeries)]
    stimuli: list[Series] = [s for s in nwb.stimulus.values() if isinstance(s, CurrentClampStimulusSeries)]
    if not responses:
        kinds = sorted({type(s).__name__ for s in nwb.acquisition.values()})
        raise InputError(
            f"{path}: expected at least one CurrentClampSeries among the acquisitions, "
            f"found {', '.join(kinds) if kinds else 'an empty file'}"
        )
    table = _table_pairs(nwb)
    parts: list[tuple[FloatArray, FloatArray | None]] = []
    steps: list[float] = []
    series: list[tuple[Series, Series | None]] = []
    for response in responses:
        where = f"{path.name} {response.name}"
        default = (slice(None), _pair(response, stimuli, len(responses) == 1), slice(None))
        span, stimulus, stimulus_span = table.get(response.name, default)
        rate = _rate(response, where)
        voltage = _values(response, _VOLTS, span, where)
        current = None
        if stimulus is not None:
            stimulus_rate = _rate(stimulus, f"{path.name} {stimulus.name}")
            if abs(stimulus_rate - rate) > 1e-6 * rate:
                raise InputError(
                    f"{where}: expected current and voltage at one sampling rate, found {rate:g} Hz for the voltage "
                    f"and "
                    f"{stimulus_rate:g} Hz for {stimulus.name}; resample one of them"
                )
            current = _values(stimulus, _AMPERES, stimulus_span, f"{path.name} {stimulus.name}")
        # 12 digits: a stored rate of 49999.99999999999 Hz means 0.02 ms.
        steps.append(float(f"{1e3 / rate:.12g}") if rate > 0 else float("nan"))
        parts.append((voltage, current))
        series.append((response, stimulus))
    scale_v, scale_i, warning = voltage_scale or 1.0, stimulus_scale or 1.0, ""
    if voltage_scale is None and stimulus_scale is None:
        integers = all(np.asarray(r.data[:1]).dtype.kind in "iu" for r in responses)
        sound = all(
            len(v) and np.isfinite(v).all() and (i is None or (len(i) and np.isfinite(i).all())) for v, i in parts
        )
        if sound and _prefix_applied_twice(parts, integers):
            voltage, current = parts[0][0], next(i for _, i in parts if i is not None)
            scale_v, scale_i = _TWICE_MILLI, _TWICE_PICO
            warning = (
                f"{path.name}: its conversion factors give {voltage.min():.3g} to {voltage.max():.3g} mV and at most "
                f"{np.abs(current).max():.3g} pA, which no neuron shows; read with the prefixes applied once "
                f"({voltage.min() * scale_v:.3g} to {voltage.max() * scale_v:.3g} mV, "
                f"{np.abs(current).max() * scale_i:.4g} pA)"
            )
    recordings = []
    for (voltage, current), dt, (response, stimulus) in zip(parts, steps, series, strict=True):
        attributes = _attributes(nwb, response, stimulus, path)
        if warning:
            attributes["warning"] = warning
        current = None if current is None else current * scale_i
        recordings.append(
            check(Recording(dt, voltage * scale_v, current, None, f"{path.name} {response.name}", attributes))
        )
    return recordings

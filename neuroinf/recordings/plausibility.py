"""Is this a membrane voltage in mV and a current in pA? Checked by range: no wrong unit reaches a network."""

from __future__ import annotations

import numpy as np

from neuroinf.errors import InputError
from neuroinf.recordings.recording import FloatArray, Recording

# No neuron's membrane leaves this range; an electrode's artefact under strong current needs the room on both sides.
VOLTAGE_RANGE = (-150.0, 100.0)  # mV
# A trace that never leaves +-1 mV is not an absolute membrane voltage (its resting potential alone is larger).
VOLTAGE_LEAST = 1.0  # mV
# Giant invertebrate neurons take some nA; beyond 20 nA no whole-cell electrode passes current.
CURRENT_LARGEST = 20_000.0  # pA
# Amplifier noise alone exceeds 1 fA; a stimulus below it is one in other units.
CURRENT_LEAST = 1e-3  # pA
# Below 1 pA a mammalian neuron's voltage hardly moves: worth a remark, not a refusal (spontaneous activity at zero
# current).
CURRENT_TYPICAL = 1.0  # pA
STEP_RANGE = (0.002, 10.0)  # ms: 500 kHz to 100 Hz

_PREFIXES = {1e12: "amperes", 1e9: "milliamperes", 1e6: "microamperes", 1e3: "nanoamperes", 1e-3: "femtoamperes"}
_VOLT_PREFIXES = {1e3: "volts", 1e-3: "microvolts"}


def voltage_plausible(voltage: FloatArray) -> bool:
    """Whether the finite samples lie within a membrane's range, not all next to zero (an all-zero trace passes)."""
    low, high = float(np.nanmin(voltage)), float(np.nanmax(voltage))
    largest = max(abs(low), abs(high))
    return VOLTAGE_RANGE[0] <= low and high <= VOLTAGE_RANGE[1] and (largest >= VOLTAGE_LEAST or largest == 0)


def current_plausible(stimulus: FloatArray) -> bool:
    """Whether the largest current is one that is injected into a neuron. Zero current is."""
    largest = float(np.abs(stimulus).max())
    return largest == 0 or CURRENT_LEAST <= largest <= CURRENT_LARGEST


def _guess_current(largest: float) -> str:
    for factor, unit in _PREFIXES.items():
        # 10 pA to 5 nA: where almost every stimulus of a patch-clamp experiment peaks.
        if 10 <= largest * factor <= 5_000:
            return f"; if these are {unit}, that is {largest * factor:.4g} pA: multiply by {factor:g}"
    if 10 <= largest * 1e-12 <= 5_000:
        return f"; if picoamperes were taken for amperes, that is {largest * 1e-12:.4g} pA: multiply by 1e-12"
    return "; give it in picoamperes"


def _guess_voltage(low: float, high: float) -> str:
    for factor, unit in _VOLT_PREFIXES.items():
        if voltage_plausible(np.array([low, high]) * factor) and max(abs(low), abs(high)) * factor > 10:
            return (
                f"; if these are {unit}, that is {low * factor:.4g} to {high * factor:.4g} mV: multiply by {factor:g}"
            )
    return "; give it in millivolts"


def _check_finite(recording: Recording) -> None:
    if recording.stimulus is not None and not np.isfinite(recording.stimulus).all():
        bad = np.flatnonzero(~np.isfinite(recording.stimulus))
        raise InputError(
            f"{recording.name}: stimulus: expected finite values, found {len(bad)} nan or infinite ones of "
            f"{recording.samples}, the first at sample {bad[0]} ({bad[0] * recording.dt:g} ms); cut or mend the "
            f"recording"
        )
    if recording.voltage is None:
        return
    bad = np.flatnonzero(~np.isfinite(recording.voltage))
    if len(bad) and (np.isinf(recording.voltage).any() or not _explained_by_spikes(recording)):
        raise InputError(
            f"{recording.name}: voltage: expected finite values, found {len(bad)} nan or infinite ones of "
            f"{recording.samples}, the first at sample {bad[0]} ({bad[0] * recording.dt:g} ms); cut or mend the "
            f"recording, "
            f"or give the spike times if these are cut spikes"
        )


def _explained_by_spikes(recording: Recording) -> bool:
    """Whether every run of nan begins at a spike, as a simulator's spike cut does."""
    if recording.spikes is None or recording.voltage is None or np.isnan(recording.voltage).all():
        return False
    missing = np.isnan(recording.voltage)
    starts = np.flatnonzero(missing & ~np.concatenate([[False], missing[:-1]])) * recording.dt
    if not len(recording.spikes):
        return False
    nearest = np.abs(starts[:, None] - recording.spikes[None, :]).min(axis=1)
    return bool((nearest <= 1.5 * recording.dt).all())


def check(recording: Recording) -> Recording:
    """Refuse what cannot be a membrane voltage in mV, a current in pA or a step in ms.

    Args:
        recording: Any recording; nan in its voltage is accepted only as cut spikes whose times are given.

    Returns:
        The recording itself.

    Raises:
        InputError: one line with the range expected, the values found and, where a change of unit by a power of
            1000 would explain them, the values in that unit.
    """
    low, high = STEP_RANGE
    if not low <= recording.dt <= high:
        guess = f"; if this is seconds, it is {recording.dt * 1e3:g} ms" if low <= recording.dt * 1e3 <= high else ""
        raise InputError(f"{recording.name}: dt: expected {low:g} to {high:g} ms, found {recording.dt:g} ms{guess}")
    _check_finite(recording)
    if recording.voltage is not None and not voltage_plausible(recording.voltage):
        least, most = float(np.nanmin(recording.voltage)), float(np.nanmax(recording.voltage))
        raise InputError(
            f"{recording.name}: voltage: expected within {VOLTAGE_RANGE[0]:g} to {VOLTAGE_RANGE[1]:g} mV and beyond "
            f"+-{VOLTAGE_LEAST:g} mV somewhere, found {least:.4g} to {most:.4g} mV{_guess_voltage(least, most)}"
        )
    if recording.stimulus is not None and not current_plausible(recording.stimulus):
        largest = float(np.abs(recording.stimulus).max())
        raise InputError(
            f"{recording.name}: stimulus: expected a largest current of {CURRENT_LEAST:g} to {CURRENT_LARGEST:g} pA, "
            f"found {largest:.4g} pA{_guess_current(largest)}"
        )
    return recording


def concerns(recording: Recording) -> list[str]:
    """What is odd about a recording but no reason to refuse it: sentences for the user.

    A current below 1 pA while the voltage moves by more than 10 mV implies more than 10 GOhm: nanoamperes, or spikes
    without a stimulus.
    """
    found = [recording.attributes["warning"]] if "warning" in recording.attributes else []
    if recording.stimulus is not None and recording.voltage is not None:
        largest = float(np.abs(recording.stimulus).max())
        moved = float(np.nanpercentile(recording.voltage, 95) - np.nanpercentile(recording.voltage, 5))
        if 0 < largest < CURRENT_TYPICAL and moved > 10:
            found.append(
                f"{recording.name}: the current stays below {largest:.3g} pA while the voltage moves by {moved:.3g} "
                f"mV: "
                f"is it in nanoamperes?"
            )
    return found

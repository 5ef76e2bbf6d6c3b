"""Which sweeps belong together: those of one cell, those with one stimulus, the one meant for the electrode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuroinf.recordings.recording import FloatArray, Recording


def cells(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    """Sweeps by the cell that their attributes name, in order of appearance (all in one group "" if none is named)."""
    groups: dict[str, list[Recording]] = {}
    for recording in recordings:
        groups.setdefault(recording.attributes.get("cell", ""), []).append(recording)
    return groups


def electrode_sweep(recordings: Sequence[Recording]) -> Recording | None:
    """The sweep that its description names as meant for electrode compensation, if there is one."""
    return next((r for r in recordings if r.attributes.get("role") == "electrode"), None)


def same_stimulus(first: FloatArray, second: FloatArray, tolerance: float = 0.25, gain: float = 0.04) -> bool:
    r"""Whether two measured currents are one waveform, each with its own measurement noise.

    .. math:: \mathrm{rms}(a - b) \le \mathrm{tolerance} \cdot \mathrm{sd}(a)
        \quad\text{and}\quad |\mathrm{mean}(a - b)| \le \mathrm{gain} \cdot \mathrm{rms}(a)
        \quad\text{and}\quad |\beta - 1| \le \mathrm{gain}

    with :math:`\beta` the slope of b on a. The first allows noise of a quarter of the signal; the others tell
    neighbouring amplitudes of a step protocol apart, however alike their shapes.
    """
    if len(first) != len(second):
        return False
    if np.array_equal(first, second):
        return True
    spread = float(first.std())
    level = float(np.sqrt(np.mean(first**2)))
    if spread == 0 or level == 0:
        return bool(np.abs(first - second).max() <= gain * level)
    difference = first - second
    # The same noise that the tolerance allows lets the slope fall below 1 by its variance ratio.
    noise = min(float(np.mean(difference**2)) / 2 / spread**2, tolerance**2 / 2)
    slope = float(np.mean((first - first.mean()) * (second - second.mean()))) / spread**2
    return bool(
        np.sqrt(np.mean(difference**2)) <= tolerance * spread
        and abs(difference.mean()) <= gain * level
        and abs(slope / (1 - noise) - 1) <= gain
    )


def repeats(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Groups of sweeps of one cell in which the same waveform was injected, in order of appearance.

    Sweeps without a stimulus each stand alone. `same_stimulus` says when two currents are the same.
    """
    groups: list[list[Recording]] = []
    for recording in recordings:
        for group in groups:
            head = group[0]
            if (
                head.stimulus is not None
                and recording.stimulus is not None
                and abs(head.dt - recording.dt) <= 1e-9 * head.dt
                and head.attributes.get("cell") == recording.attributes.get("cell")
                and head.attributes.get("role") == recording.attributes.get("role")
                and same_stimulus(head.stimulus, recording.stimulus)
            ):
                group.append(recording)
                break
        else:
            groups.append([recording])
    return groups

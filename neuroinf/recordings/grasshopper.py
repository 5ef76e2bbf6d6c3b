"""Two grasshopper auditory receptors, sound level and spikes, from the package nitime, which nothing else needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]
# Carrier at the cell's preferred frequency; its amplitude is modulated by Gaussian noise (in dB, cut at 3 sd) up to this frequency.
RECORDINGS = {1: "200 Hz", 2: "800 Hz"}
MODULATION = 6.0  # dB, the standard deviation that the files' headers give: the unit of the level
SAMPLING = 0.05  # ms


def grasshopper(number: int, dt: float = 1.0) -> tuple[FloatArray, FloatArray]:
    r"""Level and spike counts of one recording, 10 s long.

    .. math:: x_t = \frac{1}{\mathrm{dt}} \int_t^{t + \mathrm{dt}} \frac{20 \log_{10} A(s) - m}{6\,\mathrm{dB}}\, ds

    with the amplitude A of the carrier and m the mean of its level. The spikes of a bin thus answer what lies in the same bin or
    before.

    Args:
        number: 1: modulation up to 200 Hz, 2: up to 800 Hz.
        dt: Bin, ms; a multiple of 0.05 ms.

    Returns:
        Level in units of 6 dB, and counts, each :math:`(T,)`.

    Raises:
        InputError: if nitime is not installed, there is no such recording, or dt is no multiple of the sampling.

    Source:
        nitime's data files, BSD licence; Rokem et al. 2006, J Neurophysiol 95:2541.
    """
    per_bin = round(dt / SAMPLING)
    if per_bin < 1 or abs(dt - per_bin * SAMPLING) > 1e-9:
        raise InputError(f"grasshopper: expected dt a positive multiple of {SAMPLING} ms, found {dt:g}")
    if number not in RECORDINGS:
        raise InputError(f"grasshopper: expected recording {' or '.join(map(str, RECORDINGS))}, found {number}")
    package = importlib.util.find_spec("nitime")
    if package is None or package.origin is None:
        raise InputError(
            "grasshopper: the recordings come with the package nitime, which is not installed: pip install nitime"
        )
    folder = Path(package.origin).parent / "data"
    # amplitudes relative to the largest, every 50 us; spike times in us
    level = 20 * np.log10(np.loadtxt(folder / f"grasshopper_stimulus{number}.txt")[:, 1])
    times = np.loadtxt(folder / f"grasshopper_spike_times{number}.txt") / 1000.0
    level = (level - level.mean()) / MODULATION
    level = level[: len(level) // per_bin * per_bin].reshape(-1, per_bin).mean(1)
    counts = np.bincount((times / dt).astype(np.int64), minlength=len(level))[: len(level)]
    return level, counts.astype(np.float64)

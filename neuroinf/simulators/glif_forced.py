"""Response of GLIF neurons whose spikes are given: the twin's recurrences in one compiled pass, without derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.simulators.glif_segments import segments
from neuroinf.simulators.glif_twin import AFTER_SPIKE_LEVELS, ONE, GLIFTwin, V
from neuroinf.simulators.protocol import GivenSpikes

if TYPE_CHECKING:
    from neuroinf.simulators.glif import GLIF

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
SILENT, SPIKE = 1, 2
VOLTAGE_SCALE, CURRENT_SCALE = 20.0, 200.0  # mV and pA: how far from rest a stretch of a recording may begin


@numba.njit(cache=True, nogil=True)
def _follow(
    row_of: IntArray,
    column_of: IntArray,
    maps: FloatArray,
    offset: FloatArray,
    threshold: FloatArray,
    state: FloatArray,
    kind: IntArray,
    window: IntArray,
    sample: IntArray,
    role: IntArray,
    stimulus: FloatArray,
    voltage: FloatArray,
    silent: FloatArray,
    spiking: FloatArray,
) -> None:
    neurons = kind.shape[0]
    old, new = np.zeros(7), np.zeros(7)
    for r in range(maps.shape[0]):
        b = r % neurons
        old[:5] = state[r]
        old[6] = 1.0
        for s in range(kind.shape[1]):
            n = kind[b, s]
            if n < 0:
                break
            old[5] = stimulus[b, window[b, s]]
            new[:5] = 0.0
            for e in range(row_of.shape[0]):
                new[row_of[e]] += maps[r, n, e] * old[column_of[e]]
            old[:5] = new[:5]
            if sample[b, s] >= 0:
                voltage[r, sample[b, s]] = old[2] + offset[r]
            distance = old[2] - old[3] - old[4] - threshold[r]
            if role[b, s] == 1 and sample[b, s] >= 0:
                silent[r, sample[b, s]] = distance
            elif role[b, s] == 2:
                spiking[r, window[b, s]] = distance


def state_scales(simulator: GLIF) -> tuple[float, ...]:
    """Of the initial voltage and, where the level has them, the after-spike currents."""
    return (VOLTAGE_SCALE, CURRENT_SCALE, CURRENT_SCALE)[: 3 if simulator.level in AFTER_SPIKE_LEVELS else 1]


def given_spikes(
    simulator: GLIF,
    theta: FloatArray,
    state: FloatArray,
    stimulus: FloatArray,
    spikes: Sequence[FloatArray],
    dt: float,
    record_dt: float,
) -> GivenSpikes:
    """See :class:`neuroinf.simulators.protocol.FollowsSpikes`."""
    twin = GLIFTwin(simulator)
    variants, neurons = theta.shape[:2]
    flat = torch.from_numpy(np.ascontiguousarray(theta.reshape(variants * neurons, -1), np.float64))
    steps = round(record_dt / dt)
    where = segments(spikes, twin.cut_steps(flat[:neurons], dt).numpy(), stimulus.shape[1], steps, dt)
    row, window = torch.nonzero(where.observed >= 0, as_tuple=True)
    sample = torch.full_like(where.kind, -1)
    sample[row, where.observed[row, window]] = window
    role = (where.silent * SILENT + where.spike * SPIKE).to(torch.int8)

    row_of, column_of = (np.array(axis) for axis in zip(*twin.pattern(), strict=True))
    maps = twin.maps(flat, dt, where.longest)[:, :, row_of, column_of]
    p = twin.columns(flat)
    offset = p["El"] if twin.frame == "absolute" else torch.zeros_like(p["El"])
    initial = torch.stack(twin.initial_state(flat), dim=1).numpy().copy()
    deviation = state.reshape(variants * neurons, -1)
    initial[:, 2] += deviation[:, 0]
    if deviation.shape[1] > 1:
        initial[:, :2] += deviation[:, 1:]

    voltage = np.full((len(flat), stimulus.shape[1]), np.nan)
    silent, spiking = np.full_like(voltage, np.nan), np.full_like(voltage, np.nan)
    _follow(
        *(row_of, column_of, maps.contiguous().numpy(), offset.contiguous().numpy(), p["th_inf"].contiguous().numpy()),
        *(initial, where.kind.numpy(), where.window.numpy(), sample.numpy(), role.numpy()),
        *(np.ascontiguousarray(stimulus, np.float64), voltage, silent, spiking),
    )
    return GivenSpikes(*(found.reshape(variants, neurons, -1) for found in (voltage, silent, spiking)))


assert V == 2 and ONE == 6  # as _follow counts them

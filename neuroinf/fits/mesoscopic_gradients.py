"""The two terms of the mesoscopic likelihood of a window, over all populations, and their gradients."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroinf.fits.mesoscopic_cohorts_kernel import gaussian_terms
from neuroinf.fits.mesoscopic_recorded_kernel import free_voltages, free_voltages_back, recorded_terms

FloatArray = NDArray[np.float64]


class Storage(threading.local):
    """One array for each thread, kept: to ask the system for 15 MB takes as long as to work out the gradients in them."""

    def __init__(self) -> None:
        self._kept = np.empty(0)

    def of(self, shape: tuple[int, ...]) -> FloatArray:
        """The array, of a shape; what it holds is undefined."""
        size = math.prod(shape)
        if self._kept.size < size:
            self._kept = np.empty(size)
        return self._kept[:size].reshape(shape)


class Window(NamedTuple):
    """What is known of a recording of M populations, and how it is scored.

    Attributes:
        fired: Of each population, whether its recorded neurons fire in each scored bin, :math:`(Q_m, T)`.
        since: Of each population, bins since the last spike at the first scored bin, :math:`(Q_m,)`.
        external: Known input :math:`(M, T)`.
        rates: Before the first scored bin, Hz, :math:`(M,)`.
        keep: Factor by which a synaptic current shrinks in a bin, :math:`(M,)`.
        sizes: Neurons of each population.
        refractory: Bins after a spike in which the voltage is held at 0, :math:`(M,)`.
        dt: Bin, s.
        floor: Activity that is added to the variance, Hz.
        published_load: Hazard x dt in refractoriness as the published code has it; negative: not as it has it.
        small: Hazard x dt below which that is the probability to fire.
        storage: Room for the forward pass, kept between calls.
        expected: If given, overwritten by the expected activity, :math:`(M, T)`.
    """

    fired: tuple[NDArray[np.bool_], ...]
    since: tuple[NDArray[np.int64], ...]
    external: FloatArray
    rates: FloatArray
    keep: FloatArray
    sizes: FloatArray
    refractory: NDArray[np.int64]
    dt: float
    floor: float
    published_load: float
    small: float
    storage: Storage
    expected: FloatArray | None = None


def terms_and_gradients(
    window: Window,
    decay: FloatArray,
    drive: FloatArray,
    weights: FloatArray,
    theta: FloatArray,
    voltage: FloatArray,
    survivors: FloatArray,
    z: FloatArray,
    wanted: bool,
) -> tuple[FloatArray, tuple[FloatArray, ...]]:
    """The terms of spikes and of activity, each over M T, and the gradients of both.

    Args:
        window: The recording.
        decay: d of each population.
        drive: p of each.
        weights: W of source and target.
        theta: Thresholds.
        voltage: By age before the first bin, :math:`(M, A)`.
        survivors: By age before the first bin, :math:`(M, A)`.
        z: Activity :math:`(M, T)`.
        wanted: Whether gradients are.

    Returns:
        The terms :math:`(2,)`, and for each of the seven arrays the gradients of both, :math:`(2, ...)`; none if not wanted.
    """
    populations, steps = z.shape
    ages, dt = voltage.shape[1], window.dt
    gain = np.full(populations, dt)
    current, inputs, free = free_voltages(
        z, window.rates, window.keep, weights, window.external, decay, drive, gain, dt
    )
    history = np.concatenate([np.repeat(window.rates[:, None] * dt, ages, 1), z], 1)
    losses = np.zeros(2)
    shape = 2 if wanted else 0
    decay_bar, drive_bar, theta_bar = (np.zeros((2, populations)) for _ in range(3))
    weights_bar, z_bar = np.zeros((2, populations, populations)), np.zeros((shape, populations, ages + steps))
    voltage_bar, survivors_bar = (np.zeros((2, populations, ages)) for _ in range(2))
    free_bar, expected = np.zeros((2, populations, steps)), np.empty((populations, steps))
    unused = np.zeros(0)
    storage = window.storage.of((3, steps + 1 if wanted else 2, ages))
    for m in range(populations):
        refractory = int(window.refractory[m])
        loss, by_decay, by_theta = recorded_terms(
            window.fired[m],
            window.since[m],
            free[m],
            decay[m],
            theta[m],
            voltage[m],
            dt,
            refractory,
            window.published_load,
            window.small,
            wanted,
            free_bar[0, m],
            voltage_bar[0, m],
        )
        losses[0] += loss
        decay_bar[0, m], theta_bar[0, m] = by_decay, by_theta
        loss, by_decay, by_theta = gaussian_terms(
            free[m],
            decay[m],
            theta[m],
            voltage[m],
            survivors[m],
            history[m],
            window.sizes[m],
            dt,
            refractory,
            max(window.published_load, 0.0),
            window.floor,
            window.small,
            wanted,
            free_bar[1, m],
            z_bar[1, m] if wanted else unused,
            voltage_bar[1, m],
            survivors_bar[1, m],
            expected[m],
            storage,
        )
        losses[1] += loss
        decay_bar[1, m], theta_bar[1, m] = by_decay, by_theta
    if window.expected is not None:
        window.expected[:] = expected
    losses /= populations * steps
    if not wanted:
        return losses, ()
    for term in range(2):
        free_voltages_back(
            free_bar[term],
            current,
            inputs,
            free,
            window.keep,
            weights,
            decay,
            gain,
            dt,
            decay_bar[term],
            drive_bar[term],
            np.zeros(populations),
            weights_bar[term],
            np.zeros(populations),
            z_bar[term, :, ages:],
        )
    gradients = (decay_bar, drive_bar, weights_bar, theta_bar, voltage_bar, survivors_bar, z_bar[:, :, ages:])
    return losses, tuple(bars / (populations * steps) for bars in gradients)

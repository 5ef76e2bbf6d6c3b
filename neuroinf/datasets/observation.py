"""What the network gets to see of a neuron: channels, sampling step, noise, duration, and what may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.floating]
USUAL = 0.5  # of the training views have the usual number of neurons


@dataclass(frozen=True)
class Observation:
    r"""From a response to the network's input :math:`x` :math:`(n, C, T)`, nan wherever nothing was observed.

    The channels are the named continuous response channels, the spikes, the units and the stimulus, in the order given; the
    stimulus takes one row per input, the units, which are the spikes of a network's recorded neurons counted in bins, one per
    neuron. A sample at index t is the state at the end of the step, time (t + 1) dt. A spike
    at time :math:`s` is split over the two nearest bins, :math:`1 - f` in bin :math:`\lfloor s/dt \rfloor` and
    :math:`f` in the next, with :math:`f` the fraction of the bin that had passed: its time survives the binning.

    Args:
        channels: Observed channels; "spikes" and "stimulus" are what they say, others name a response channel.
        dt: Sampling step, ms.
        noise: Standard deviation of white observation noise per channel, in the channel's unit: a number, or
            [low, high] to draw it log-uniformly for each row in training.
        missing: Probability in training that a channel is not observed at all. At least one other stays.
        duration: [shortest, longest] ms: a random stretch of each row is kept in training; None keeps all.
        duration_probability: Probability with which a batch's rows are cut to stretches, all of one length.
        duration_scale: Whether that length is uniform, or its logarithm is: "linear" or "log".
        spike_cut: Time after a spike during which the voltage is not observed, ms. The same mask is laid on
            recordings; on simulations the simulator has laid it.
        inputs: Number of stimulus rows K.
        groups: Population of each recorded neuron, for the channel "units".
        recorded: Neurons of each population that are observed in half of the training views; in the others their number is drawn
            for each population, from one to all. None: always all.

    Raises:
        InputError: on an impossible value.
    """

    channels: Sequence[str] = ("voltage", "spikes", "stimulus")
    dt: float = 1.0
    noise: Mapping[str, float | list[float]] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    duration: list[float] | None = None
    duration_probability: float = 0.5
    duration_scale: Literal["linear", "log"] = "linear"
    spike_cut: float = 0.0
    inputs: int = 1
    groups: Sequence[int] = ()
    recorded: int | None = None

    def __post_init__(self) -> None:
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise InputError(f"observation.channels must name each channel once, found {list(self.channels)}")
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"observation.dt must be positive (ms), found {self.dt}")
        for where, mapping in (("noise", self.noise), ("missing", self.missing)):
            unknown = set(mapping) - set(self.channels)
            if unknown:
                raise InputError(
                    f"observation.{where} names {sorted(unknown)}, which observation.channels {list(self.channels)} lacks"
                )
        for channel, level in self.noise.items():
            low, high = _bounds(level)
            if not 0 <= low <= high or (low == 0 < high) or not np.isfinite(high):
                raise InputError(
                    f"observation.noise.{channel} must be a standard deviation >= 0 or an increasing positive range, "
                    f"found {level}"
                )
        for channel, probability in self.missing.items():
            if not 0 <= probability <= 1:
                raise InputError(f"observation.missing.{channel} must be a probability, found {probability}")
        if self.duration is not None and not (len(self.duration) == 2 and 0 < self.duration[0] <= self.duration[1]):
            raise InputError(f"observation.duration must be [shortest, longest] in ms, found {self.duration}")
        if not 0 <= self.duration_probability <= 1:
            raise InputError(
                f"observation.duration_probability must be a probability, found {self.duration_probability}"
            )
        if not (np.isfinite(self.spike_cut) and self.spike_cut >= 0):
            raise InputError(f"observation.spike_cut must not be negative (ms), found {self.spike_cut}")
        self._check_groups()

    def _check_groups(self) -> None:
        found = sorted(set(self.groups))
        if ("units" in self.channels) != bool(found) or found != list(range(len(found))):
            raise InputError(
                f"observation.groups: expected the population, from 0, of each recorded neuron with the channel units, and nothing "
                f"without it, found {list(self.groups)} with channels {list(self.channels)}"
            )
        least = min((list(self.groups).count(group) for group in found), default=0)
        if self.recorded is not None and not 1 <= self.recorded <= least:
            raise InputError(
                f"observation.recorded: expected 1 to {least} neurons of each population, found {self.recorded}"
            )

    @property
    def width(self) -> int:
        """Number of rows C of the network's input."""
        return sum(self._size(channel) for channel in self.channels)

    def _size(self, channel: str) -> int:
        return {"stimulus": self.inputs, "units": len(self.groups)}.get(channel, 1)

    def rows(self, channel: str) -> slice:
        """The rows of x that a channel takes."""
        start = 0
        for name in self.channels:
            size = self._size(name)
            if name == channel:
                return slice(start, start + size)
            start += size
        raise InputError(f"no channel {channel!r} is observed; there are {list(self.channels)}")

    def assemble(
        self,
        n: int,
        duration: float,
        continuous: Mapping[str, tuple[FloatArray, float]],
        spikes: Sequence[FloatArray] | None,
        stimulus: tuple[FloatArray, float] | None,
        units: Sequence[NDArray[np.integer]] | None = None,
    ) -> NDArray[np.float32]:
        """Put n responses of the same duration on the network's grid, without noise.

        Args:
            n: Number of rows.
            duration: ms; T is the number of whole steps in it.
            continuous: Channel -> (values (n, T'), step in ms).
            spikes: Sorted times per row, ms; None if they were not observed.
            stimulus: (values (n, K, T'), step in ms); None if it was not observed.
            units: Which recorded neuron each spike is of, per row, for the channel "units".

        Returns:
            x (n, C, T), nan where not observed.

        Raises:
            InputError: if a channel cannot be brought to this step.
        """
        steps = round(duration / self.dt - 1e-9) if abs(duration / self.dt % 1) < 1e-6 else int(duration / self.dt)
        x = np.full((n, self.width, steps), np.nan, np.float32)
        for channel in self.channels:
            rows = self.rows(channel)
            if channel == "spikes":
                if spikes is not None:
                    x[:, rows.start] = bin_spikes(spikes, self.dt, steps)
            elif channel == "units":
                if spikes is not None and units is not None:
                    x[:, rows] = count_spikes(spikes, units, len(self.groups), self.dt, steps)
            elif channel == "stimulus":
                if stimulus is not None:
                    held = hold_or_average(stimulus[0], stimulus[1], self.dt, steps)
                    x[:, rows, : held.shape[-1]] = held
            elif channel in continuous:
                values = decimate(*continuous[channel], self.dt, channel)[:, :steps]
                x[:, rows.start, : values.shape[-1]] = values
        return x

    def length(self, steps: int, rng: np.random.Generator) -> int:
        """Number of samples of a training batch of rows of `steps` samples: all, or a random stretch of the duration."""
        if self.duration is None or rng.random() >= self.duration_probability:
            return steps
        low, high = self.duration
        log = self.duration_scale == "log"
        drawn = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
        return min(steps, max(1, round(drawn / self.dt)))

    def view(self, x: NDArray[np.float32], length: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """One training view of a row x (C, T): a random stretch (C, length) of it, with noise, some channels missing."""
        start = int(rng.integers(0, x.shape[-1] - length + 1))
        x = self.some_units(self.add_noise(x[:, start : start + length], rng), rng)
        absent = [channel for channel in self.channels if rng.random() < self.missing.get(channel, 0.0)]
        if len(absent) < len(self.channels):
            for channel in absent:
                x[self.rows(channel)] = np.nan
        return x

    def some_units(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """A row x (C, T) without the recorded neurons that this view leaves out; written into x."""
        if self.recorded is None:
            return x
        groups, usual = np.asarray(self.groups), rng.random() < USUAL
        for group in np.unique(groups):
            own = rng.permutation(np.flatnonzero(groups == group))
            kept = self.recorded if usual else int(rng.integers(1, len(own) + 1))
            x[self.rows("units").start + own[kept:]] = np.nan
        return x

    def add_noise(
        self, x: NDArray[np.float32], rng: np.random.Generator, levels: Mapping[str, float] | None = None
    ) -> NDArray[np.float32]:
        """A copy of x (..., C, T) with observation noise, at given levels or, by default, levels drawn for this call."""
        x = x.copy()
        for channel, level in (self.noise if levels is None else levels).items():
            low, high = _bounds(level)
            sd = low if low == high else float(np.exp(rng.uniform(np.log(low), np.log(high))))
            if sd > 0:
                part = x[..., self.rows(channel), :]
                part += np.float32(sd) * rng.standard_normal(part.shape, dtype=np.float32)
        return x


def _bounds(level: float | list[float]) -> tuple[float, float]:
    return (level[0], level[-1]) if isinstance(level, (list, tuple)) else (float(level), float(level))


def decimate(values: FloatArray, step: float, dt: float, channel: str = "response") -> FloatArray:
    """Every k-th sample of (n, T'), the one at the end of each step dt (ms).

    Raises:
        InputError: if dt is no whole multiple of the stored step.
    """
    k = round(dt / step)
    if k < 1 or abs(k * step - dt) > 1e-6 * dt:
        raise InputError(
            f"channel {channel!r} is stored every {step:g} ms and cannot be observed every {dt:g} ms: "
            f"the observation's dt must be a whole multiple of the stored step"
        )
    return values[..., k - 1 :: k]


def hold_or_average(stimulus: FloatArray, step: float, dt: float, steps: int) -> FloatArray:
    """A stimulus (..., T') held over steps of `step` ms, as its mean over each step of dt ms: (..., min(T, steps)).

    Raises:
        InputError: if neither step is a whole multiple of the other.
    """
    if step >= dt:
        k = round(step / dt)
        if abs(k * dt - step) < 1e-6 * step:
            return np.repeat(stimulus[..., : -(-steps // k)], min(k, steps), axis=-1)[..., :steps]
    else:
        k = round(dt / step)
        if abs(k * step - dt) < 1e-6 * dt:
            whole = stimulus.shape[-1] // k
            return stimulus[..., : whole * k].reshape(*stimulus.shape[:-1], whole, k).mean(-1)[..., :steps]
    raise InputError(
        f"the stimulus has steps of {step:g} ms and cannot be observed every {dt:g} ms: one must be a whole multiple "
        f"of the other"
    )


def count_spikes(
    spikes: Sequence[FloatArray], units: Sequence[NDArray[np.integer]], neurons: int, dt: float, steps: int
) -> NDArray[np.float32]:
    """Counts (n, K, steps) of the K recorded neurons of n rows in bins of dt ms, from times (ms) and the neuron of each spike."""
    counts = np.empty((len(spikes), neurons, steps), np.float32)
    for row, (times, unit) in enumerate(zip(spikes, units, strict=True)):
        index = np.floor(np.asarray(times, np.float64) / dt).astype(np.int64)
        inside = (index >= 0) & (index < steps)
        flat = np.asarray(unit, np.int64)[inside] * steps + index[inside]
        counts[row] = np.bincount(flat, minlength=neurons * steps).reshape(neurons, steps)
    return counts


def bin_spikes(spikes: Sequence[FloatArray], dt: float, steps: int) -> NDArray[np.float32]:
    """Spike trains (times in ms) on a grid (n, steps), each spike shared between two bins by its time in the bin."""
    n = len(spikes)
    grid = np.zeros((n, steps + 1), np.float32)
    counts = np.fromiter((len(train) for train in spikes), np.intp, n)
    if counts.sum():
        row = np.repeat(np.arange(n), counts)
        position = np.concatenate([np.asarray(train, np.float64) for train in spikes]) / dt
        index = np.floor(position).astype(np.intp)
        inside = (index >= 0) & (index < steps)
        row, position, index = row[inside], position[inside], index[inside]
        late = (position - index).astype(np.float32)
        np.add.at(grid, (row, index), 1 - late)
        np.add.at(grid, (row, index + 1), late)
    return grid[:, :steps]

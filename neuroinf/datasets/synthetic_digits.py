"""A synthetic stand-in for the Spiking Heidelberg Digits: drawn spikes in a file of the same form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

ORIGIN = "SYNTHETIC latency-coded digits (drawn, not the Spiking Heidelberg Digits)"
# beside the seed in the streams of numbers drawn from it
CLASSES, TRAIN, TEST = 0, 1, 2


@dataclass(frozen=True)
class SyntheticDigits:
    r"""Recordings whose class is told by when each channel fires.

    One half of the channels is silent. Of each class k, every other channel i has a latency :math:`\ell_{ki}`, uniform over
    the middle of the recording, and spike j of its burst in recording s is at

    .. math:: t_{sij} = \ell_{ki} + \mathrm{shift}_s + \mathrm{jitter}_{si} + \mathrm{spread}_{sij},

    all three normal; channels fail with a probability, and spikes of no burst come at any time. Bursts are as long as it
    takes the published networks' first weights to make neurons fire: silent ones learn nothing.

    Args:
        train: Recordings in the training file.
        test: In the test file, of the same classes.
        shift: Sd of a recording's shift, s.
        jitter: Sd of a burst's latency, s.
        spread: Sd of a burst's spikes, s.
        spikes: Mean number of spikes in a channel's burst; Poisson.
        failure: Probability that an active channel is silent in a recording.
        noise: Mean number of spikes at any time, per channel.
        seed: Of all draws.

    Raises:
        InputError: on an impossible value.
    """

    train: int = 2048
    test: int = 1024
    shift: float = 0.05
    jitter: float = 0.3
    spread: float = 0.06
    spikes: float = 40.0
    failure: float = 0.5
    noise: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train < 1 or self.test < 1:
            raise InputError(
                f"data.synthetic: expected recordings, found {self.train} for training, {self.test} for test"
            )
        if min(self.shift, self.jitter, self.spread, self.spikes, self.noise) < 0 or not 0 <= self.failure <= 1:
            raise InputError(
                f"data.synthetic: expected sds, spikes and noise of 0 or more, failure in [0, 1], found {self}"
            )

    def write(self, path: Path, channels: int, classes: int, duration: float, test: bool) -> None:
        """Write one of the two files, in one move; it says in its attributes that it is synthetic.

        Args:
            path: HDF5.
            channels: Of each recording.
            classes: Number of labels.
            duration: Of a recording, s.
            test: Whether it is the test file.
        """
        template = self._stream(CLASSES)
        latency = template.uniform(0.1 * duration, 0.8 * duration, (classes, channels))
        active = template.random(channels) < 0.5
        rng = self._stream(TEST if test else TRAIN)
        recordings = self.test if test else self.train
        labels = rng.permutation(np.arange(recordings) % classes)
        times, units = [], []
        for label in labels:
            fires = np.nonzero(active & (rng.random(channels) >= self.failure))[0]
            burst = latency[label, fires] + rng.normal(0.0, self.shift) + rng.normal(0.0, self.jitter, len(fires))
            spikes = rng.poisson(self.spikes, len(fires))
            fires = np.repeat(fires, spikes)
            t = np.repeat(burst, spikes) + rng.normal(0.0, self.spread, len(fires))
            n = rng.poisson(self.noise * channels)
            t = np.concatenate((t, rng.uniform(0.0, duration, n)))
            unit = np.concatenate((fires, rng.integers(channels, size=n)))
            inside = np.nonzero((t >= 0) & (t < duration))[0]
            inside = inside[np.argsort(t[inside], kind="stable")]
            # the published precision; rounded down, so that none reaches the end
            times.append(np.minimum(t[inside], np.nextafter(np.float16(duration), np.float16(0))).astype(np.float16))
            units.append(unit[inside].astype(np.uint16))
        aside = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(aside, "w") as file:
            file.attrs.update(origin=ORIGIN, synthetic=True)
            spikes = file.create_group("spikes")
            _ragged(spikes, "times", times)
            _ragged(spikes, "units", units)
            file["labels"] = labels.astype(np.uint16)
        aside.replace(path)

    def _stream(self, key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(key,)))


def _ragged(group: h5py.Group, name: str, rows: list[NDArray[Any]]) -> None:
    stored = group.create_dataset(name, (len(rows),), h5py.vlen_dtype(rows[0].dtype))
    for i, row in enumerate(rows):
        stored[i] = row

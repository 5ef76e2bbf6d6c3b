"""From recordings to a network's input: brought to its step, and cut into pieces no longer than a training row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.recordings import Recording, observe


def seen_by(observation: Observation, sweep: Recording, dt: float | None) -> Recording:
    """A recording as the network's training rows were observed: its step, spikes detected and cut from the voltage.

    Args:
        observation: What the network sees.
        sweep: The recording.
        dt: Step of the simulations in training, ms; None if it is not known.

    Raises:
        InputError: if it has neither voltage nor stimulus.
    """
    seen = observe(sweep, observation.dt, observation.spike_cut, dt)
    if seen.voltage is None and seen.stimulus is None:
        raise InputError(f"recording {sweep.name!r} has neither voltage nor stimulus: nothing to infer from")
    return seen


def assembled(observation: Observation, seen: Recording) -> NDArray[np.float32]:
    """The channels (C, T) of what :func:`seen_by` gave."""
    return observation.assemble(
        1,
        seen.samples * observation.dt,
        {} if seen.voltage is None else {"voltage": (seen.voltage[None], observation.dt)},
        None if seen.spikes is None else [seen.spikes],
        None if seen.stimulus is None else (seen.stimulus[None, None], observation.dt),
    )[0]


def pieces(sweeps: Sequence[NDArray[np.float32]], most: int | None) -> NDArray[np.float32]:
    """Sweeps (C, T) in pieces of nearly equal length (S, C, T), filled up with nan.

    Args:
        sweeps: Channels by samples, each of its own length.
        most: Samples of a piece; None: as many as a sweep has.
    """
    cut: list[NDArray[np.float32]] = []
    for x in sweeps:
        longest = x.shape[-1] if most is None else min(x.shape[-1], most)
        count = -(-x.shape[-1] // longest)
        length = -(-x.shape[-1] // count)
        for start in range(0, x.shape[-1], length):
            piece = np.full((x.shape[0], longest), np.nan, np.float32)
            part = x[:, start : start + length]
            piece[:, : part.shape[-1]] = part
            cut.append(piece)
    width = max(piece.shape[-1] for piece in cut)
    return np.stack([np.pad(p, ((0, 0), (0, width - p.shape[-1])), constant_values=np.nan) for p in cut])


def unseen_length(steps: int, shortest: int, longest: int | None) -> list[str]:
    """What speaks against so many bins: fewer than the shortest stretch in training, or more than the longest if it is known."""
    if longest is not None and steps > longest:
        return [f"{steps} bins, more than the {longest} of the longest simulation in training"]
    if steps < shortest:
        return [f"{steps} bins, fewer than the {shortest} of the shortest stretch in training"]
    return []

"""Recordings examined for what no simulation shows, and what held-out simulations show when examined the same way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.datasets.observation import Observation
from neuroinf.datasets.simulation import Simulation
from neuroinf.models.departures import Departures, departures
from neuroinf.models.novelty import Calibration, Novelty, key
from neuroinf.models.residuals import fits_residuals, residuals
from neuroinf.networks.densities import Density
from neuroinf.priors import Prior

TOGETHER = 32  # recordings at a time: what fits into a processor's cache
FEWEST = 40  # held-out simulations whose distribution is worth stating
MOST = 4000  # of them are enough: the limit's false-alarm rate is then known to half a per cent
SHORT = 0.5  # of them are cut to stretches, where training cut any


class Examined(NamedTuple):
    """Of n recordings: embedding (n, H), departures from the model, and the name of the channels that each has."""

    embedding: Tensor
    found: Departures
    channels: list[str]


@torch.inference_mode()
def examine(
    x: NDArray[np.float32],
    features: Tensor,
    density: Density,
    prior: Prior,
    simulation: Simulation | None,
    observation: Observation,
) -> Examined:
    """Examine recordings x (n, C, T), each by itself, whose features (n, F) the encoder has made.

    Without a simulation that can be told its spikes only the embedding is looked at.
    """
    embedding = density.embedding(features)
    present = [
        [c for c in observation.channels if np.isfinite(row[observation.rows(c)]).any()] for row in np.asarray(x)
    ]
    channels = [key(names) for names in present]
    if simulation is None or not fits_residuals(simulation, observation):
        steps = np.isfinite(x).any(1).sum(1)
        return Examined(embedding, Departures.unknown(steps * observation.dt), channels)
    start = density.unit_mean(features, prior).clamp(0, 1).double().numpy()
    level = observation.noise.get("voltage", 0.0)
    largest = max(level) if isinstance(level, (list, tuple)) else float(level)
    parts = [
        departures(
            residuals(x[i : i + TOGETHER], start[i : i + TOGETHER], simulation, observation), observation.dt, largest
        )
        for i in range(0, len(x), TOGETHER)
    ]
    return Examined(embedding, Departures.join(parts), channels)


@torch.inference_mode()
def fit_novelty(
    x: NDArray[np.float32],
    encoder: Callable[[Tensor], Tensor],
    density: Density,
    prior: Prior,
    simulation: Simulation | None,
    observation: Observation,
    rng: np.random.Generator,
) -> Novelty | None:
    """The score of a trained network.

    Args:
        x: Held-out simulations (n, C, T) without noise; noise and stretches are drawn as in training.
        encoder: In evaluation mode.
        density: In evaluation mode.
        prior: Of the parameters.
        simulation: That the network was trained on, if it can be had.
        observation: What the network sees.
        rng: For noise and stretches.

    Returns:
        A calibration for each set of channels that training left; None if there are too few simulations.
    """
    if len(x) < FEWEST:
        return None
    x = x[:MOST]
    calibrations: dict[str, Calibration] = {}
    for absent in _absent(observation):
        parts: list[Examined] = []
        for i in range(0, len(x), TOGETHER):
            views = _views(x[i : i + TOGETHER], observation, absent, rng)
            features = encoder(torch.from_numpy(views))
            parts.append(examine(views, features, density, prior, simulation, observation))
        name = key([c for c in observation.channels if c not in absent])
        # a simulation that lacks a channel by itself is another case
        same = [i for i, channels in enumerate(c for part in parts for c in part.channels) if channels == name]
        if len(same) < FEWEST:
            continue
        found = Departures.join([part.found for part in parts]).rows(same)
        calibrations[name] = Calibration.fit(torch.cat([part.embedding for part in parts])[same], found)
    return Novelty(calibrations) if calibrations else None


def _absent(observation: Observation) -> list[set[str]]:
    """The sets of channels that were missing in training, the empty one first."""
    sometimes = [c for c in observation.channels if observation.missing.get(c, 0.0) > 0]
    every = [
        {c for c, gone in zip(sometimes, which, strict=True) if gone}
        for which in product(*[(False, True)] * len(sometimes))
    ]
    return [absent for absent in every if len(absent) < len(observation.channels)]


def _views(
    x: NDArray[np.float32], observation: Observation, absent: set[str], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Rows with noise of their own, without the absent channels, at times all cut to a stretch of one length."""
    length = x.shape[-1]
    if observation.duration is not None and rng.random() < SHORT:
        length = min(
            length, max(1, round(rng.uniform(observation.duration[0], observation.duration[1]) / observation.dt))
        )
    start = rng.integers(0, x.shape[-1] - length + 1, len(x))
    noisy = [observation.add_noise(row[:, s : s + length], rng) for row, s in zip(x, start, strict=True)]
    views = np.stack([observation.some_units(row, rng) for row in noisy])
    for channel in absent:
        views[:, observation.rows(channel)] = np.nan
    return views

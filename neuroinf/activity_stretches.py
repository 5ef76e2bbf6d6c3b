r"""A recording's activity from overlapping stretches of it, and from its mirror image where the circuit has one.

The network takes from the whole of what it is shown between which levels the populations go, and was trained on stretches. Its
answers for several stretches that hold a bin are averaged, :math:`\mu` and :math:`\sigma` each, with weights that fall towards a
stretch's ends. Where two populations could change their names without changing circuit or prior, the answer is the mean of that
for the recording and that for the recording with their names changed, which removes what the training's chance has made of it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuroinf.networks.activity_network import Activity, ActivityNetwork
from neuroinf.priors import Prior
from neuroinf.simulators.circuit import UNITS, Circuit

STRETCH, HOP = 3000.0, 1400.0  # ms
LEAST = 5.0  # of a weight, in bins from the end


def mirror_image(circuit: Circuit, prior: Prior) -> list[int] | None:
    """The populations (M,) with the first two in each other's place, if that leaves circuit and prior as they are."""
    if len(circuit.names) < 2:
        return None
    places = [1, 0, *range(2, len(circuit.names))]
    connections = np.asarray(circuit.connections)
    each = (circuit.sizes, circuit.a, circuit.J, circuit.mu, circuit.theta, circuit.synapse, circuit.refractory)
    same = (connections[np.ix_(places, places)] == connections).all()
    same &= all(tuple(values[place] for place in places) == tuple(values) for values in each)
    if not same or prior.kind != "box":
        return None
    first, second = circuit.names[:2]
    for symbol in UNITS:
        one, other = prior.parameters.get(f"{symbol}_{first}"), prior.parameters.get(f"{symbol}_{second}")
        if one != other:
            return None
    return places


def activity_in_stretches(
    network: ActivityNetwork, units: Tensor, inputs: Tensor, groups: Tensor, places: list[int] | None = None
) -> Activity:
    """Activity of one recording.

    Args:
        network: Trained.
        units: Counts of recorded neurons (1, K, T), nan where absent.
        inputs: External input of each population (1, M, T), 1/s, nan where not known.
        groups: Population of each recorded neuron (K,).
        places: From :func:`mirror_image`.
    """
    found = _averaged(network, units, inputs, groups)
    if places is None:
        return found
    image = _averaged(network, units, inputs[:, places], torch.tensor(places)[groups])
    mean, sd = (found.mean + image.mean[:, places]) / 2, (found.sd + image.sd[:, places]) / 2
    return Activity(mean, sd, found.scale)


def _averaged(network: ActivityNetwork, units: Tensor, inputs: Tensor, groups: Tensor) -> Activity:
    bins = units.shape[-1]
    length, hop = (round(time / network.dt) for time in (STRETCH, HOP))
    if bins <= length:
        return network(units, inputs, groups)
    starts = np.linspace(0, bins - length, -(-(bins - length) // hop) + 1).round().astype(int).tolist()
    cut = [torch.cat([x[..., start : start + length] for start in starts]) for x in (units, inputs)]
    activity = network(cut[0], cut[1], groups)
    place = torch.arange(length, dtype=units.dtype)
    inner = torch.minimum(place + 1, length - place) + LEAST
    total = units.new_zeros(bins)
    mean, sd = (units.new_zeros(1, len(network.sizes), bins) for _ in range(2))
    for k, start in enumerate(starts):
        weight = inner.clone()
        if start == 0:
            weight[: length // 2] = inner.max()
        if start == starts[-1]:
            weight[length // 2 :] = inner.max()
        part = slice(start, start + length)
        total[part] += weight
        mean[0, :, part] += activity.mean[k] * weight
        sd[0, :, part] += activity.sd[k] * weight
    return Activity(mean / total, sd / total, activity.scale)

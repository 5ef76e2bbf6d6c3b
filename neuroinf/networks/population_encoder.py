"""Encoder of the spikes of a few neurons of each of several populations, in which neurons of a population are exchangeable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.population_statistics import statistics
from neuroinf.networks.response import Standardise

AT_ONCE = 16  # rows whose spectra fit into a processor's cache


class PopulationEncoder(nn.Module):
    """The statistics of :mod:`neuroinf.networks.population_statistics`, brought to one size.

    Channels are the recorded neurons' counts, nan where one is absent, then the external input of each population, nan where it is
    not known. Nothing is learnt but each statistic's mean and size, so that a recording of other neurons, in other numbers, is read
    by the same encoder: see :meth:`read`.

    Args:
        channels: Recorded neurons and populations, K + M.
        groups: Population of each recorded neuron (K,).
        dt: Bin, ms.

    Raises:
        InputError: if groups and channels do not go together.
    """

    def __init__(self, channels: int, groups: Sequence[int], dt: float = 4.0) -> None:
        super().__init__()
        found = sorted(set(groups))
        self.channels, self.groups, self.dt, self.populations = channels, list(groups), dt, len(found)
        if found != list(range(len(found))) or channels != len(self.groups) + len(found) or not found:
            raise InputError(
                f"PopulationEncoder: expected groups of populations from 0, and a channel for each neuron and each population's "
                f"input, found groups {self.groups} and {channels} channels: give observation.channels [units, stimulus]"
            )
        one = torch.zeros(1, len(found), 2)
        width = statistics(one, one, torch.arange(len(found)), len(found), dt).shape[1]
        self.features = width
        self.standardise = Standardise(width)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, K + M, T)."""
        if x.shape[1] != self.channels:
            raise InputError(f"PopulationEncoder: expected {self.channels} channels, found {x.shape[1]}")
        return self.read(x, torch.tensor(self.groups, device=x.device))

    def read(self, x: Tensor, groups: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, K' + M, T) of any K' neurons of the populations `groups` (K',)."""
        units, inputs = x.float().split([len(groups), self.populations], 1)
        with torch.no_grad():
            parts = [
                statistics(unit, given, groups, self.populations, self.dt)
                for unit, given in zip(units.split(AT_ONCE), inputs.split(AT_ONCE), strict=True)
            ]
        return self.standardise(torch.cat(parts))

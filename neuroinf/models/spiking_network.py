"""A network of cascade neurons: layers of weights in front of neurons, and several such networks side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from neuroinf.datasets.raster import Raster, currents
from neuroinf.errors import InputError
from neuroinf.simulators.cascade import Cascade
from neuroinf.simulators.cascade_twin import CascadeTwin

# ms: the neurons' step, and the membrane's time constant, in whose units weights are drawn
DT, TAU_MEM = 1.0, 10.0


@dataclass(frozen=True)
class Layer:
    r"""Neurons of one type and the weights in front of them.

    Args:
        neuron: Graph of a cascade, or the path of one in YAML (see :class:`neuroinf.simulators.Cascade`), with the published
            value of every parameter. Its inputs get weights of their own, its first channel is its output.
        units: Number of neurons.
        scale: s of the weights :math:`W \\sim N(0, [s (1 - e^{-\\Delta t / \\tau_{mem}})]^2 / n_{in})`.

    Raises:
        InputError: on an impossible graph or number.
    """

    neuron: dict[str, Any] | str
    units: int
    scale: float

    def __post_init__(self) -> None:
        if self.units < 1 or not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(
                f"layer: expected units of 1 or more and a positive scale, found {self.units} and {self.scale}"
            )
        _ = self.cascade

    @cached_property
    def cascade(self) -> Cascade:
        """The neuron, nothing of which is trained."""
        whole = Cascade(self.neuron, parameters=[])
        return Cascade(whole.graph, parameters=[], record=whole.record[:1])


def respond(cascade: Cascade, currents: Tensor) -> Tensor:
    r"""The output of many neurons of one type, differentiable in their currents.

    Args:
        cascade: With one channel, and no parameters.
        currents: :math:`(T, P, N, B, U)`, P inputs of each neuron, in steps of 1 ms.

    Returns:
        :math:`(T, N, B, U)`: first the initial state, last the one before the last current arrives.
    """
    rows = currents.flatten(2)
    theta = rows.new_zeros(rows.shape[2], 0)
    found = CascadeTwin(cascade).response(theta, rows.permute(2, 1, 0), DT)
    return found[cascade.record[0]].T.unflatten(1, currents.shape[2:])


class SpikingNetwork(nn.Module):
    r"""N networks of the same layers, each with weights of its own; only the weights are trained.

    .. math:: I_{t} = W\, s_t, \qquad s' = \mathrm{neuron}(I)

    A layer's input at step t is the output at t of the layer before, whose first sample is its initial state.

    Args:
        layers: From the input on.
        inputs: I channels.
        generators: One for each network, of its weights.

    Attributes:
        weights: Of each layer :math:`(P, N, n_{in}, n_{out})`, P inputs of its neuron: dendrite before soma.
    """

    def __init__(self, layers: Sequence[Layer], inputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.layers, weights, width = tuple(layers), [], inputs
        for layer in self.layers:
            sd = layer.scale * (1 - math.exp(-DT / TAU_MEM)) / math.sqrt(width)
            shape = (len(layer.cascade.inputs), width, layer.units)
            weights.append(torch.stack([torch.randn(shape, generator=g) for g in generators], dim=1) * sd)
            width = layer.units
        self.weights = nn.ParameterList(weights)

    def forward(self, events: Raster) -> Tensor:
        """Outputs of the last layer :math:`(T + 1, N, B, units)` for patterns of one set or N sets.

        The last sample shows the effect of the last but one step's input: a layer is late by its neurons' delays.
        """
        x: Tensor | None = None
        for layer, weight in zip(self.layers, self.weights, strict=True):
            drive = currents(events, weight, more=1) if x is None else x[:, None] @ weight
            x = respond(layer.cascade, drive)
        assert x is not None
        return x


def scores(output: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    r"""How well the largest outputs tell the labels: a softmax over :math:`\max_t y_t`.

    Args:
        output: :math:`(T, N, B, K)`.
        labels: :math:`(N, B)` or :math:`(1, B)`.

    Returns:
        Mean negative log likelihood :math:`(N,)`, differentiable, and the part of right answers :math:`(N,)`.
    """
    largest = output.max(dim=0).values
    labels = labels.expand(largest.shape[:2])
    loss = -largest.log_softmax(dim=-1).gather(-1, labels[..., None])[..., 0]
    return loss.mean(dim=1), (largest.argmax(dim=-1) == labels).float().mean(dim=1)

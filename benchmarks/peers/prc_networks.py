"""Networks of the five training neurons as a plain loop over time in torch: the peer of neuroinf.models.SpikingNetworks.

Every subunit is a small object with two states that are updated together; autograd records each operation of each step.
Written from the equations of Harkin, Shen, Goel, Richards and Naud (Neuroscience 489, 2022), as their published program
goes about it: 1 ms steps, float32, one network and one batch at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

DT = 1.0  # ms
SYNAPSE, MEMBRANE, NA, CA, NMDA = 5.0, 10.0, 5.0, 40.0, 80.0  # time constants, ms
THRESHOLD = RESET = 15.0
STEEPNESS = 10.0  # of the surrogate derivative
Nonlinear = Callable[[Tensor], Tensor]


class Surrogate(torch.autograd.Function):
    """A step forward, 1 / (10 |x| + 1)^2 backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (STEEPNESS * x.abs() + 1.0) ** 2


def amplified(x: Tensor) -> Tensor:
    """g of the dendrite, Na and NMDA."""
    return torch.sigmoid(10.0 * (x - 2.0)) + x


def saturating(x: Tensor) -> Tensor:
    """Of Ca: without the linear part."""
    return torch.sigmoid(10.0 * (x - 4.0))


def spike(x: Tensor) -> Tensor:
    """Of the soma."""
    out = Surrogate.apply(x - THRESHOLD)
    assert isinstance(out, Tensor)
    return out


class Subunit:
    """lin <- a lin + input (- 15 of a detached spike), nonlinear <- f(lin): both from the states before."""

    def __init__(self, like: Tensor, tau: float, nonlinearity: Nonlinear | None = None, resets: bool = False) -> None:
        self.a, self.f, self.resets = math.exp(-DT / tau), nonlinearity, resets
        self.linear = self.nonlinear = torch.zeros_like(like)
        self.next = (self.linear, self.nonlinear)

    def step(self, drive: Tensor) -> None:
        """Find the next states."""
        linear = self.a * self.linear + drive
        if self.resets:
            linear = linear - RESET * self.nonlinear.detach()
        self.next = (linear, self.f(self.linear) if self.f is not None else self.nonlinear)

    def update(self) -> None:
        """Enter them."""
        self.linear, self.nonlinear = self.next


class OneCompartment:
    """Synapse and soma; currents (B, units, 1)."""

    ports = 1

    def __init__(self, currents: Tensor) -> None:
        self.synapses = [Subunit(currents[..., 0], SYNAPSE) for _ in range(self.ports)]
        self.soma = Subunit(currents[..., 0], MEMBRANE, spike, resets=True)
        self.dendrites: list[Subunit] = []

    def step(self, currents: Tensor) -> None:
        """One step of all subunits."""
        for port, synapse in enumerate(self.synapses):
            synapse.step(currents[..., port])
        self.dendrite_step()
        self.soma.step(self.into_soma())
        for unit in (*self.synapses, self.soma, *self.dendrites):
            unit.update()

    def into_soma(self) -> Tensor:
        """What the soma is driven by."""
        return self.synapses[0].linear

    def dendrite_step(self) -> None:
        """None here."""

    def output(self) -> Tensor:
        """Spikes."""
        return self.soma.nonlinear


class Readout(OneCompartment):
    """Synapse and a leaky integrator that does not spike."""

    def __init__(self, currents: Tensor) -> None:
        super().__init__(currents)
        self.soma = Subunit(currents[..., 0], MEMBRANE)

    def output(self) -> Tensor:
        """The integrator."""
        return self.soma.linear


class TwoCompartment(OneCompartment):
    """A dendrite in front of the soma; currents (B, units, 2): into the dendrite, into the soma."""

    ports = 2
    gain = 0.0

    def __init__(self, currents: Tensor) -> None:
        super().__init__(currents)
        self.dendrites = [Subunit(currents[..., 0], MEMBRANE, amplified)]

    def back(self, drive: Tensor) -> Tensor:
        """A dendrite's drive with the back-propagating spike."""
        return drive + self.gain * self.soma.nonlinear if self.gain else drive

    def dendrite_step(self) -> None:
        """One dendrite."""
        self.dendrites[0].step(self.back(self.synapses[0].linear))

    def into_soma(self) -> Tensor:
        """Synapse and dendrite."""
        return self.synapses[1].linear + self.dendrites[-1].nonlinear


class Recurrent(TwoCompartment):
    """And the spike goes back."""

    gain = 0.5


class Parallel(TwoCompartment):
    """Na and Ca side by side, then NMDA."""

    def __init__(self, currents: Tensor) -> None:
        super().__init__(currents)
        shape = currents[..., 0]
        self.dendrites = [
            Subunit(shape, NA, amplified),
            Subunit(shape, CA, saturating),
            Subunit(shape, NMDA, amplified),
        ]

    def dendrite_step(self) -> None:
        """Three."""
        na, ca, nmda = self.dendrites
        na.step(self.synapses[0].linear)
        ca.step(self.synapses[0].linear)
        nmda.step(self.back(na.nonlinear + ca.nonlinear))


class ParallelRecurrent(Parallel):
    """The whole PRC neuron."""

    gain = 0.05


NEURONS: dict[str, type[OneCompartment]] = {
    "one_compartment": OneCompartment,
    "no_bap": TwoCompartment,
    "bap": Recurrent,
    "parallel_no_bap": Parallel,
    "prc": ParallelRecurrent,
    "readout": Readout,
}


def layer(neuron: str, currents: Tensor) -> Tensor:
    """Outputs (B, T + 1, units), the first of them the initial state, of neurons driven by (B, T, units, ports)."""
    cells = NEURONS[neuron](currents[:, 0])
    outputs = [cells.output()]
    for t in range(currents.shape[1]):
        cells.step(currents[:, t])
        outputs.append(cells.output())
    return torch.stack(outputs, dim=1)


def forward(neurons: Sequence[str], weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Outputs (B, T + 1, outputs) of the last layer for input x (B, T, n_in); weights (n_in, units, ports) of each."""
    steps = x.shape[1]
    for neuron, weight in zip(neurons, weights, strict=True):
        x = layer(neuron, torch.einsum("bti,iup->btup", x[:, :steps], weight))
    return x


def loss(output: Tensor, labels: Tensor) -> Tensor:
    """Negative log likelihood of the labels (B,) under the largest output of each unit over time."""
    return torch.nn.functional.nll_loss(output.max(dim=1).values.log_softmax(dim=1), labels)

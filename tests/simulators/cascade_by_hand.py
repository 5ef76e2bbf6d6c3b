"""The nine published cascades written out by hand, as their authors' programs compute them: convolutions and plain loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def kernel(tau: float, length: float, dt: float, normalise: str) -> Floats:
    """An exponential kernel, cut and normalised in one of the three ways."""
    k = np.exp(-dt * np.arange(round(length / dt)) / tau)
    if normalise == "after":
        k[0] = 0.0
    k /= k.sum()
    if normalise == "before":
        k[0] = 0.0
    return k


def convolved(k: Floats, x: Floats) -> Floats:
    """Causal convolution."""
    return np.convolve(x, k)[: len(x)]


def sigmoid(x: Floats | float, loc: float, width: float, gain: float) -> Floats:
    """The demonstrations' sigmoid."""
    return gain / (1.0 + np.exp(-(np.asarray(x) - loc) / width))


def lnl(p: dict[str, float], x: Floats, dt: float) -> Floats:
    """The single subunit's response to a current (T,)."""
    nonlinear = sigmoid(convolved(kernel(p["tau_nl"], 100.0, dt, "after"), x), p["loc"], p["width"], p["gain"])
    return nonlinear + p["linear"] * convolved(kernel(p["tau_mem"], 100.0, dt, "after"), x)


def parallel(p: dict[str, float], epsp: Floats, block: float, dt: float) -> Floats:
    """The NMDA subunit's voltage; a block takes the sigmoids of Na and Ca away."""

    def subunit(name: str, x: Floats, memory: float, nonlinear: float, gain: float) -> Floats:
        filtered = convolved(kernel(p[f"{name}_tau"], nonlinear, dt, "before"), x)
        linear = convolved(kernel(p[f"{name}_tau"], memory, dt, "before"), x)
        return sigmoid(filtered, p[f"{name}_loc"], p[f"{name}_width"], gain) + linear

    both = subunit("na", epsp, 100.0, 100.0, p["na_gain"] * (1 - block))
    both = both + subunit("ca", epsp, 100.0, 200.0, p["ca_gain"] * (1 - block))
    return subunit("nmda", both, 200.0, 200.0, p["nmda_gain"])


def recurrent(p: dict[str, float], x: Floats, dt: float) -> tuple[Floats, Floats]:
    """Somatic and dendritic voltage, each step's input held."""
    soma = dendrite = sodium = 0.0
    since, before_u = math.inf, 0.0
    voltages = np.empty((2, len(x)))
    for t in range(len(x)):
        old = soma
        if t:
            soma += (1 - math.exp(-dt / p["soma_tau"])) * (x[t - 1] - soma)
            dendrite += (1 - math.exp(-dt / p["dendrite_tau"])) * (before_u - dendrite)
            sodium += (1 - math.exp(-dt / p["na_tau"])) * (before_u - sodium)
        since = 0.0 if old <= p["threshold"] < soma else since + dt
        pulse = p["spike_height"] if since <= 1.0 + 1e-6 else 0.0
        before_u = x[t] + pulse
        voltages[:, t] = soma + pulse, dendrite + sigmoid(sodium, p["loc"], p["width"], p["gain"])
    return voltages[0], voltages[1]


def dendrosomatic(
    p: dict[str, float], soma_current: Floats, dendrite_current: Floats, dt: float
) -> tuple[Floats, Floats]:
    """Filtered somatic voltage and the dendrite's output, by causal dot products."""
    steps = len(soma_current)
    to_soma = kernel(p["soma_tau"], 100.0, dt, "whole")
    to_dendrite = kernel(p["dendrite_tau"], 50.0, dt, "whole")
    to_adaptation = p["adaptation"] * kernel(p["adaptation_tau"], 200.0, dt, "whole")
    to_adaptation[0] = 1.0
    soma, spike, adaptation, dendrite, output = np.zeros((5, steps))
    into_soma, into_dendrite = np.zeros((2, steps))

    def dot(k: Floats, x: Floats, t: int) -> float:
        m = min(t, len(k))
        return float(k[:m] @ x[t - m : t][::-1])

    for t in range(steps):
        soma[t], adaptation[t] = dot(to_soma, into_soma, t), dot(to_adaptation, spike, t)
        dendrite[t] = dot(to_dendrite, into_dendrite, t)
        if t:
            spike[t] = p["spike_height"] * (soma[t - 1] >= p["threshold"])
            output[t] = sigmoid(dendrite[t - 1], p["loc"], p["width"], p["gain"])
        into_soma[t] = soma_current[t] + output[t] - adaptation[t]
        into_dendrite[t] = dendrite_current[t] + spike[t]
    return soma, output


def trainable(name: str, p: dict[str, float], inputs: Tensor, dt: float = 1.0) -> tuple[Tensor, Tensor]:
    """Spikes and the soma's linear state :math:`(T, n)` of a trainable neuron, in the inputs' precision.

    Args:
        name: Of its configuration.
        p: Its parameters.
        inputs: :math:`(T, I, n)`, the dendrite's first.
    """

    def decay(tau: str) -> float:
        return math.exp(-dt / p[tau])

    def g(x: Tensor, threshold: str = "dendrite_threshold") -> Tensor:
        return torch.sigmoid((1.0 / p["width"]) * (x - p[threshold]))

    zero = inputs.new_zeros(inputs.shape[2])
    syn_d, syn_s, soma, spike = zero, zero, zero, zero
    dend, dend_nl, na, na_nl, ca, ca_nl, nmda, nmda_nl = (zero,) * 8
    spikes, somata = [], []
    for step in inputs:
        spikes.append(spike)
        somata.append(soma)
        into_soma = syn_s
        if name in ("no_bap", "bap"):
            into_soma = syn_s + dend_nl
        elif name != "one_compartment":
            into_soma = syn_s + nmda_nl
        new_soma = decay("membrane_tau") * soma + into_soma - p["threshold"] * spike.detach()
        new_spike = Spike.apply(soma - p["threshold"])
        into_dend = syn_d + p["bap"] * spike if name == "bap" else syn_d
        new_dend, new_dend_nl = decay("membrane_tau") * dend + into_dend, zero
        if name in ("no_bap", "bap"):
            new_dend_nl = g(dend) + dend
        if name in ("parallel_no_bap", "prc"):
            new_na, new_na_nl = decay("na_tau") * na + syn_d, g(na) + na
            new_ca, new_ca_nl = decay("ca_tau") * ca + syn_d, g(ca, "ca_threshold")
            both = na_nl + ca_nl
            new_nmda = decay("nmda_tau") * nmda + (both + p["bap"] * spike if name == "prc" else both)
            nmda_nl, nmda = g(nmda) + nmda, new_nmda
            na, na_nl, ca, ca_nl = new_na, new_na_nl, new_ca, new_ca_nl
        syn_s = decay("synapse_tau") * syn_s + step[-1]
        syn_d = decay("synapse_tau") * syn_d + step[0]
        soma, spike, dend, dend_nl = new_soma, new_spike, new_dend, new_dend_nl
    return torch.stack(spikes), torch.stack(somata)


class Spike(torch.autograd.Function):
    """Heaviside with the published surrogate derivative."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        return grad / (10 * u.abs() + 1) ** 2

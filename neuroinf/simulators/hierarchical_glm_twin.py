r"""The hierarchical neuron in torch, differentiable in its parameters: the twin of the compiled kernel.

Time enters a hierarchical neuron by its synaptic filters alone: each depends on one parameter, :math:`\tau`, and is
differentiated in closed form. All else happens in each step by itself. With :math:`x_m` the argument of subunit m's
sigmoid and :math:`g_m(t) = \partial v(t) / \partial x_m(t)`, which is a product along the path to the root, every
parameter's effect on v is one product of series; :meth:`HierarchicalGLMTwin.jacobian` gives them all.

A spiking neuron's twin is told when it spiked; it does not draw spikes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from neuroinf.simulators.hierarchical_glm_bumps import after_spikes, cosine_bumps
from neuroinf.simulators.hierarchical_glm_kernel import SLOW_FACTOR, SLOW_OFFSET, alpha_filters

if TYPE_CHECKING:
    from neuroinf.simulators.hierarchical_glm import HierarchicalGLM

FloatArray = NDArray[np.float64]


class _AlphaFilter(torch.autograd.Function):
    """Inputs and time constants (R, T), (R,) to filtered inputs (R, T); differentiable in the time constants."""

    @staticmethod
    def forward(x: Tensor, tau: Tensor, late: Any, offset: Any, dt: float) -> tuple[Tensor, Tensor]:
        filtered, slope = torch.empty_like(x), torch.empty_like(x)
        arrays = (x.numpy(), tau.detach().numpy(), late, offset, dt, filtered.numpy(), slope.numpy())
        alpha_filters(*arrays)
        return filtered, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[1], output[1])
        ctx.save_for_forward(inputs[1], output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tau, slope = ctx.saved_tensors
        return None, (grads[0] * slope).sum(-1) / tau, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, None]:
        tau, slope = ctx.saved_tensors
        change = tangents[1]
        return (None if change is None else slope * (change / tau)[:, None]), None


class HierarchicalGLMTwin:
    """Differentiable twin of a hierarchical simulator: same parameters, columns and results, on the CPU in float64.

    Args:
        simulator: The kernel to be mirrored.
    """

    def __init__(self, simulator: HierarchicalGLM) -> None:
        self.simulator = simulator
        self.filters = [*simulator.tree, *(simulator.tree[k] for k in simulator.slow)]
        self.subunit = np.array([synapse.subunit for synapse in self.filters])
        # which synapse's time constant a filter follows, and how: tau' = offset + factor tau
        self.follows = np.array([*range(len(simulator.tree)), *simulator.slow])
        is_slow = np.arange(len(self.filters)) >= len(simulator.tree)
        self.offset, self.factor = np.where(is_slow, SLOW_OFFSET, 0.0), np.where(is_slow, SLOW_FACTOR, 1.0)
        nonlinear = range(1 if simulator.linear_soma else 0, simulator.subunits)
        self.nonlinear = {m: k for k, m in enumerate(nonlinear)}

    def summed(self, inputs: FloatArray) -> FloatArray:
        """What each filter filters :math:`(F, T)`, of inputs :math:`(N, T)`."""
        return np.stack([inputs[list(f.inputs)].sum(0) for f in self.filters]).astype(np.float64)

    def history(self, spikes: NDArray[np.bool_], dt: float) -> tuple[FloatArray, FloatArray]:
        """Bumps summed over past spikes, for the after-spike currents and for the threshold, each :math:`(8, T)`."""
        return after_spikes(spikes, cosine_bumps(dt)), after_spikes(spikes, cosine_bumps(dt, flat=True))

    def voltage(self, theta: Tensor, inputs: Tensor, dt: float, history: Tensor | None = None) -> Tensor:
        """Voltage :math:`(B, T)`, mV.

        Args:
            theta: Parameters :math:`(B, P)`, natural units.
            inputs: Spikes per step :math:`(B, N, T)` or :math:`(1, N, T)`.
            dt: Step, ms.
            history: Summed bumps of the after-spike currents :math:`(B, 8, T)`; required of a spiking neuron.
        """
        part, parents = self.simulator.columns, self.simulator.parents
        count, steps = len(theta), inputs.shape[-1]
        tau = theta[:, part["tau"]][:, self.follows] * torch.from_numpy(self.factor) + torch.from_numpy(self.offset)
        x = torch.from_numpy(np.stack([self.summed(row) for row in inputs.detach().numpy()]))
        x = x.expand(count, -1, -1).reshape(-1, steps)
        late, offset = self._delays(dt, count)
        filtered, _ = _AlphaFilter.apply(x, tau.reshape(-1), late, offset, dt)  # pyright: ignore
        weights = torch.cat((theta[:, part["w"]], theta[:, part["w2"]]), dim=1)
        weighted = weights[..., None] * filtered.view(count, -1, steps)
        drive = [weighted[:, self.subunit == m].sum(1) for m in range(self.simulator.subunits)]
        if self.simulator.spiking:
            assert history is not None
            drive[0] = drive[0] + torch.einsum("bk,bkt->bt", theta[:, part["after_spike"]], history)
        gain, shift = theta[:, part["J"]], theta[:, part["theta"]]
        for m in reversed(self.nonlinear):
            k = self.nonlinear[m]
            output = gain[:, k, None] * torch.sigmoid(drive[m] - shift[:, k, None])
            if m == 0:
                drive[0] = output
            else:
                drive[parents[m] - 1] = drive[parents[m] - 1] + output
        return theta[:, :1] + drive[0]

    def spike_log_likelihood(
        self, theta: Tensor, voltage: Tensor, spikes: Tensor, dt: float, history: Tensor
    ) -> Tensor:
        r"""Log-likelihood :math:`(B,)` of spikes :math:`(B, T)`, 0 or 1 per step, given the voltage :math:`(B, T)`.

        .. math:: \sum_{spikes} \log(1 - e^{-\lambda\, dt}) - \sum_{silent} \lambda\, dt

        Args:
            theta: Parameters :math:`(B, P)`.
            voltage: Of :meth:`voltage`, mV.
            spikes: As observed.
            dt: Step, ms.
            history: Summed bumps of the threshold :math:`(B, 8, T)`.
        """
        part = self.simulator.columns
        beta, level = theta[:, part["soft"]].split(1, dim=1)
        threshold = level + torch.einsum("bk,bkt->bt", theta[:, part["threshold"]], history)
        expected = torch.exp(beta * (voltage - threshold)) * (dt / 1000.0)
        fired = spikes > 0
        # the argument of log is kept off 0 in the branch that is not taken, whose gradient would be nan
        log_p = torch.log(-torch.expm1(-torch.where(fired, expected, 1.0)))
        return torch.where(fired, log_p, -expected).sum(1)

    def filtered(self, theta: FloatArray, summed: FloatArray, dt: float) -> tuple[FloatArray, FloatArray]:
        r"""Filtered inputs and their derivatives by the time constants they follow (1/ms), each :math:`(F, T)`.

        Args:
            theta: Parameters :math:`(P,)`.
            summed: Of :meth:`summed` :math:`(F, T)`.
            dt: Step, ms.
        """
        tau = theta[self.simulator.columns["tau"]][self.follows] * self.factor + self.offset
        filtered, slope = np.empty_like(summed), np.empty_like(summed)
        alpha_filters(summed, tau, *self._delays(dt, 1), dt, filtered, slope)
        slope *= (self.factor / tau)[:, None]
        return filtered, slope

    def jacobian(
        self, theta: FloatArray, summed: FloatArray, dt: float, history: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Voltage of one neuron :math:`(T,)` and its derivative by each parameter it depends on :math:`(V, T)`.

        Args:
            theta: Parameters :math:`(P,)`.
            summed: Of :meth:`summed` :math:`(F, T)`.
            dt: Step, ms.
            history: Summed bumps of the after-spike currents :math:`(8, T)`; required of a spiking neuron.

        Returns:
            Voltage, and derivatives for the first V columns of theta: all up to the after-spike currents.
        """
        simulator, part, parents = self.simulator, self.simulator.columns, self.simulator.parents
        filtered, slope = self.filtered(theta, summed, dt)
        weights = np.concatenate((theta[part["w"]], theta[part["w2"]]))
        drive = np.zeros((simulator.subunits, summed.shape[1]))
        for m in range(simulator.subunits):
            own = self.subunit == m
            drive[m] = weights[own] @ filtered[own]
        if simulator.spiking:
            assert history is not None
            drive[0] += theta[part["after_spike"]] @ history
        gain, shift = theta[part["J"]], theta[part["theta"]]
        output = np.empty((len(self.nonlinear), summed.shape[1]))
        for m in reversed(self.nonlinear):
            k = self.nonlinear[m]
            output[k] = expit(drive[m] - shift[k])
            if m:
                drive[parents[m] - 1] += gain[k] * output[k]
        derivatives = np.empty((part["after_spike"].stop, summed.shape[1]))
        derivatives[0] = 1.0
        reach = np.ones_like(drive)
        for m, k in self.nonlinear.items():
            above = reach[parents[m] - 1] if m else 1.0
            derivatives[part["J"].start + k] = above * output[k]
            reach[m] = gain[k] * above * output[k] * (1.0 - output[k])
            derivatives[part["theta"].start + k] = -reach[m]
        at = reach[self.subunit]
        derivatives[part["w"].start : part["w2"].stop] = at * filtered
        by_tau = derivatives[part["tau"]]
        by_tau[:] = 0.0
        slope *= at
        np.add.at(by_tau, self.follows, slope * weights[:, None])
        if simulator.spiking:
            assert history is not None
            derivatives[part["after_spike"]] = reach[0] * history
        return theta[0] + (drive[0] if simulator.linear_soma else gain[0] * output[0]), derivatives

    def _delays(self, dt: float, rows: int) -> tuple[NDArray[np.int64], FloatArray]:
        late, offset = self.simulator.late(dt)
        return np.tile(late[self.subunit], rows), np.tile(offset[self.subunit], rows)

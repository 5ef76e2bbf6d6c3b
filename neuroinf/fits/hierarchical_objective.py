r"""What a fit of a hierarchical neuron minimises, as a sum of squares.

.. math::
    \sum_t (v_t - \hat v_t)^2 + \alpha_w \sum_i (\log |a_i| - \log a_i^0)^2
        + \alpha_\tau \sum_i (\log \tau_i - \log \tau_i^0)^2

with :math:`a_i = w_i / e` times the gain from synapse i's subunit to the soma without input,
:math:`\prod_k J_k\, \sigma'(x_k)` along the path to the root: the peak of a single unitary response, in mV. It is
minimised over z: theta with :math:`\log J`, :math:`\log \tau` in the places of J and tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from neuroinf.simulators.hierarchical_glm import LONGEST, HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

FloatArray = NDArray[np.float64]

SHORTEST = 0.1  # steps: a kernel much shorter than a step has no samples left to be seen


@dataclass(frozen=True)
class Centre:
    """Where the penalties pull to, for each filter (synapses, then slow kernels), and how strongly.

    Attributes:
        log_amplitude: :math:`\\log a^0` :math:`(F,)`, a in mV.
        log_tau: :math:`\\log \\tau^0` :math:`(S,)`, of the synapses alone, tau in ms.
        weight: :math:`\\alpha_w`, mV^2.
        tau: :math:`\\alpha_\\tau`, mV^2.
    """

    log_amplitude: FloatArray
    log_tau: FloatArray
    weight: float = 10.0
    tau: float = 20.0


class Gains(NamedTuple):
    """Log gain from each subunit's argument to the voltage without input :math:`(M,)`, and its derivative by z."""

    log: FloatArray
    by_z: FloatArray


def gains(simulator: HierarchicalGLM, theta: FloatArray) -> Gains:
    """The gains at rest: :math:`(M,)` and :math:`(M, P)`; those of subunits from which no J > 0 leads on are defined too."""
    units, width, part = simulator.subunits, len(theta), simulator.columns
    first = 1 if simulator.linear_soma else 0
    J, threshold = theta[part["J"]], theta[part["theta"]]
    x, by_z = np.zeros(units), np.zeros((units, width))
    output, argument_by_z = np.zeros(units), np.zeros((units, width))
    for m in reversed(range(first, units)):
        k = m - first
        argument_by_z[m] = by_z[m]
        argument_by_z[m, part["theta"].start + k] -= 1.0
        output[m] = expit(x[m] - threshold[k])
        if m:
            above, value = simulator.parents[m] - 1, J[k] * output[m]
            x[above] += value
            by_z[above] += value * (1.0 - output[m]) * argument_by_z[m]
            by_z[above, part["J"].start + k] += value
    log, gain_by_z = np.zeros(units), np.zeros((units, width))
    for m in range(first, units):
        k = m - first
        if m:
            log[m], gain_by_z[m] = log[simulator.parents[m] - 1], gain_by_z[simulator.parents[m] - 1]
        log[m] += np.log(J[k] * output[m] * (1.0 - output[m]))
        gain_by_z[m] += (1.0 - 2.0 * output[m]) * argument_by_z[m]
        gain_by_z[m, part["J"].start + k] += 1.0
    return Gains(log, gain_by_z)


class Objective:
    """Residuals of one neuron and their derivatives.

    Args:
        simulator: The model.
        voltage: :math:`(T,)`, mV; nan where it does not count.
        inputs: Spikes per step :math:`(N, T)`.
        dt: Step, ms.
        spikes: The neuron's own :math:`(T,)`, True in a step with one; required if it has after-spike currents.
        centre: Of the penalties; None: without.
    """

    def __init__(
        self,
        simulator: HierarchicalGLM,
        voltage: FloatArray,
        inputs: FloatArray,
        dt: float,
        spikes: NDArray[np.bool_] | None = None,
        centre: Centre | None = None,
    ) -> None:
        self.simulator, self.dt, self.centre = simulator, dt, centre
        self.twin = HierarchicalGLMTwin(simulator)
        self.summed = self.twin.summed(inputs)
        self.history = None if spikes is None else self.twin.history(spikes, dt)[0]
        self.voltage, self.seen = voltage, np.isfinite(voltage)
        self.variance = float(np.nanvar(voltage))
        self.width = simulator.columns["after_spike"].stop
        part, self.is_log = simulator.columns, np.zeros(self.width, bool)
        self.is_log[part["J"]] = self.is_log[part["tau"]] = True
        self.low, self.high = np.full(self.width, -np.inf), np.full(self.width, np.inf)
        self.low[part["tau"]], self.high[part["tau"]] = np.log(SHORTEST * dt), np.log(LONGEST)

    def to_theta(self, z: FloatArray) -> FloatArray:
        """The parameters that the voltage depends on, in natural units."""
        return np.where(self.is_log, np.exp(np.where(self.is_log, z, 0.0)), z)

    def to_z(self, theta: FloatArray) -> FloatArray:
        """The inverse of :meth:`to_theta`."""
        theta = theta[: self.width]
        return np.where(self.is_log, np.log(np.where(self.is_log, theta, 1.0)), theta)

    def __call__(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Residuals :math:`(R,)`, mV, and their derivatives by z :math:`(P', R)`."""
        theta = self.to_theta(z)
        predicted, derivatives = self.twin.jacobian(theta, self.summed, self.dt, self.history)
        derivatives[self.is_log] *= theta[self.is_log, None]
        residual = predicted - self.voltage
        if not self.seen.all():
            residual, derivatives = residual[self.seen], derivatives[:, self.seen]
        if self.centre is None:
            return residual, derivatives
        pulled, by_z = self._penalty(theta)
        return np.concatenate((residual, pulled)), np.concatenate((derivatives, by_z.T), axis=1)

    def amplitudes(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log of the peaks of unitary responses :math:`(F,)`, in mV, and its derivative by z :math:`(F, P')`."""
        part = self.simulator.columns
        gain = gains(self.simulator, theta[: self.width])
        at = slice(part["w"].start, part["w2"].stop)
        with np.errstate(divide="ignore"):
            log = np.log(np.abs(theta[at])) - 1.0 + gain.log[self.twin.subunit]
        by_z = gain.by_z[self.twin.subunit]
        rows = np.arange(len(log))
        by_z[rows, at.start + rows] += 1.0 / np.where(theta[at] == 0.0, 1.0, theta[at])
        return log, by_z

    def _penalty(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        assert self.centre is not None
        centre, part = self.centre, self.simulator.columns["tau"]
        log, by_z = self.amplitudes(theta)
        by_tau = np.zeros((part.stop - part.start, self.width))
        by_tau[:, part] = np.eye(part.stop - part.start)
        strong, slow = np.sqrt(centre.weight), np.sqrt(centre.tau)
        pulled = (strong * (log - centre.log_amplitude), slow * (np.log(theta[part]) - centre.log_tau))
        return np.concatenate(pulled), np.concatenate((strong * by_z, slow * by_tau))

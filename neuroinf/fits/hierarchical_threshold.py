r"""The soft threshold of a spiking hierarchical neuron, by maximum likelihood given its voltage.

.. math:: \eta_t = \beta\, v_t - \beta\, v_{th} - \sum_b \beta h_b\, \Phi_b(t), \qquad
    P(\text{spike in } t) = 1 - \exp(-e^{\eta_t}\, dt / 1000)

is linear in :math:`(\beta, \beta v_{th}, \beta h)` and its log-likelihood, that of a complementary log-log regression,
concave: Newton's method finds the one maximum. The published program maximises a second-order approximation for small
:math:`\lambda\, dt`; here the likelihood is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.hierarchical_glm import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

FloatArray = NDArray[np.float64]

RIDGE = 0.1  # of the published program, on beta h
STEPS = 100


def fit_threshold(
    simulator: HierarchicalGLM, theta: FloatArray, voltage: FloatArray, spikes: NDArray[np.bool_], dt: float
) -> FloatArray:
    """Parameters with beta, v_th and the threshold's bumps at their maximum-likelihood values.

    Args:
        simulator: A spiking model.
        theta: Its parameters :math:`(P,)`; all others are kept.
        voltage: Without spikes, as the model predicts it :math:`(T,)`, mV.
        spikes: :math:`(T,)`, True in a step with one.
        dt: Step, ms.

    Raises:
        InputError: if the model does not spike, or there are fewer than 2 spikes.
    """
    if not simulator.spiking:
        raise InputError("threshold: expected a spiking model, found one that does not spike")
    if spikes.sum() < 2:
        raise InputError(f"threshold: expected at least 2 spikes, found {int(spikes.sum())}; record for longer")
    centre, spread = float(voltage.mean()), max(float(voltage.std()), 1e-9)
    history = HierarchicalGLMTwin(simulator).history(spikes, dt)[1]
    x = np.concatenate((((voltage - centre) / spread)[None], np.ones((1, len(voltage))), -history))
    ridge = np.array([0.0, 0.0] + [RIDGE] * len(history))
    k = np.zeros(len(x))
    k[1] = np.log(spikes.mean())

    def likelihood(k: FloatArray) -> float:
        eta = k @ x
        with np.errstate(over="ignore"):
            expected = np.exp(eta)
        return float(np.log(-np.expm1(-expected[spikes])).sum() - expected[~spikes].sum() - 0.5 * k @ (ridge * k))

    value = likelihood(k)
    for _ in range(STEPS):
        expected = np.exp(k @ x)
        odds = expected / np.expm1(expected)  # e^eta / (e^(e^eta) - 1)
        slope = np.where(spikes, odds, -expected)
        curvature = np.where(spikes, odds * (expected * (1.0 + odds / expected) - 1.0), expected)
        gradient = x @ slope - ridge * k
        step = np.linalg.solve((x * curvature) @ x.T + np.diag(ridge + 1e-9), gradient)
        size = 1.0
        while (found := likelihood(k + size * step)) < value and size > 1e-8:
            size /= 2.0
        if not np.isfinite(found) or found - value < 1e-10 * abs(value):
            break
        k, value = k + size * step, found
    beta = k[0] / spread
    fitted = np.array(theta, np.float64)
    # k_1 = log(dt / 1000) - beta (v_th - centre), as eta above is the log of the hazard per step
    fitted[simulator.columns["soft"]] = beta, centre - (k[1] - np.log(dt / 1000.0)) / beta
    fitted[simulator.columns["threshold"]] = k[2:] / beta
    return fitted

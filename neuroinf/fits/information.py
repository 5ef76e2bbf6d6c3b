r"""How well can a neuron's parameters be known at best? The Cramer-Rao bound of its voltage, through the twin.

With the spikes held at their observed times, the voltage between them is a smooth function v(z) of the parameters, and
the information of samples with independent noise of sd :math:`\sigma`, together with the prior's, which is 1 in z, is

.. math:: F = \frac{1}{\sigma^2} \sum_t \frac{\partial v_t}{\partial z} \frac{\partial v_t}{\partial z}^\top + 1, \qquad
    \operatorname{sd}(z_p) \ge \sqrt{(F^{-1})_{pp}} .

For a silent neuron, as far as it is linear, a posterior is exactly as wide. A spiking one also tells by *when* it
spiked. That is not smooth (a threshold without noise is crossed or not), no bound of this kind exists for it, and it is
left out: a posterior may be narrower than the bound of the voltage, and for a parameter that the voltage between given
spikes does not depend on, such as the threshold, there is none.

Source:
    Van Trees 1968, Detection, Estimation, and Modulation Theory I, section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.fits.refinement import observed
from neuroinf.models.glif_linearisation import linearise
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF

FloatArray = NDArray[np.float64]
AT_ONCE = 100  # neurons


def voltage_information(
    theta: FloatArray,
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    noise: float,
    dt: float = 0.1,
) -> FloatArray:
    """Fisher information of each neuron's voltage about z, without the prior's, :math:`(B, P, P)`.

    Args:
        theta: True parameters :math:`(B, P)`, natural units.
        x: Observations :math:`(B, 3, W)` as for :func:`refinement.observed`: which samples were seen, and the stimulus.
        spikes: The spike times of each neuron, ms.
        simulator: The model, its spike cut fixed.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms.
        noise: Sd of the voltage noise, mV.
        dt: Step of the simulation, ms.

    Returns:
        nan where voltage, stimulus or spike times were not observed.
    """
    data = observed(x, spikes, simulator, prior, observation_dt, dt)
    information = np.full((len(x), theta.shape[1], theta.shape[1]), np.nan)
    for rows in np.split(np.arange(len(data.index)), range(AT_ONCE, len(data.index), AT_ONCE)):
        z = prior.to_unconstrained(torch.from_numpy(theta[data.index[rows]]))
        lower = linearise(data.twin, prior, z, data.layout(rows), dt).stiffness
        information[data.index[rows]] = (lower + np.tril(lower, -1).transpose(0, 2, 1)) / noise**2
    return information


def bound(information: FloatArray) -> FloatArray:
    """Least posterior sd :math:`(B, P)` on the scale of z, where the prior's is 1.

    nan for a parameter about which there is no information, and where there is none at all.

    Args:
        information: :math:`(B, P, P)`, from :func:`voltage_information`.
    """
    known = np.isfinite(information).all((1, 2))
    sd = np.full(information.shape[:2], np.nan)
    inverse = np.linalg.inv(information[known] + np.eye(information.shape[1]))
    own = np.diagonal(information[known], axis1=1, axis2=2)
    sd[known] = np.where(own > 0, np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)), np.nan)
    return sd

r"""What recorded channels say about the parameters of cascade neurons, all sweeps of a neuron together.

Each of C channels has independent normal noise of an unknown sd with the prior :math:`1/\sigma_c`, which is integrated out:

.. math:: \log p(y \mid \theta) = -\sum_c \frac{N_c}{2} \log\Bigl(\frac{1}{N_c} \sum_i r_{ci}(\theta)^2 + \epsilon_c^2\Bigr),
    \qquad r = y - v(\theta)

over the samples i that were observed in all sweeps; :math:`\epsilon_c` is a ten-thousandth of the channel's sd. Derivatives of
v are differences through the compiled simulator. Spike times enter only as far as a channel shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_nonlinearities import Sigmoid

FloatArray = NDArray[np.float64]
FLOOR = 1e-4  # of a channel's sd: data without noise do not divide by zero
SMOOTH_STEP = 1e-4  # in z, of a difference where the model is smooth
AT_ONCE = 16 * 2**20  # bytes of stimulus and response simulated together
VALUES = 2**22  # samples of responses that are kept together


@dataclass(frozen=True)
class Expansion:
    """Of the loss at R points z.

    Attributes:
        loss: Negative log posterior (R,), but for a constant.
        gradient: (R, P).
        curvature: (R, P, P): Gauss and Newton's, the prior's 1 included.
    """

    loss: FloatArray
    gradient: FloatArray
    curvature: FloatArray


class CascadePosterior:
    """Data of B neurons, and the prior of their parameters.

    Args:
        simulator: The model; records the C channels.
        prior: Of its parameters, in any order.
        stimulus: :math:`(B, S, I, T)` at step dt, S sweeps of each neuron.
        y: :math:`(B, S, C, W)`, nan where not observed; a sample is the state at the end of every `every`-th step.
        dt: Step of the simulation, ms.
        every: Steps per sample.

    Raises:
        InputError: if shapes or names do not fit together.
    """

    def __init__(
        self,
        simulator: Cascade,
        prior: Prior,
        stimulus: NDArray[np.floating[Any]],
        y: NDArray[np.floating[Any]],
        dt: float,
        every: int,
    ) -> None:
        if set(prior.names) != set(simulator.parameters):
            raise InputError(f"expected a prior over the simulator's {simulator.parameters}, found {prior.names}")
        if (
            stimulus.ndim != 4
            or y.ndim != 4
            or stimulus.shape[:2] != y.shape[:2]
            or y.shape[2] != len(simulator.record)
        ):
            raise InputError(
                f"expected stimuli (B, S, I, T) and observations (B, S, {len(simulator.record)}, W), found {stimulus.shape} "
                f"and {y.shape}"
            )
        if every < 1 or stimulus.shape[3] < every * y.shape[3]:
            raise InputError(
                f"observations of {y.shape[3]} samples of {every} steps each need as many steps of the stimulus, found "
                f"{stimulus.shape[3]}"
            )
        self.simulator, self.prior, self.dt, self.every = simulator, prior, dt, every
        self.order = [prior.names.index(name) for name in simulator.parameters]
        self.stimulus = np.asarray(stimulus[..., : every * y.shape[3]], np.float64)
        self.seen = np.isfinite(y)
        self.y = np.where(self.seen, y, 0.0).astype(np.float64)
        self.count = self.seen.sum(axis=(1, 3))
        several = np.maximum(self.count, 1)[:, None, :, None]
        mean = self.y.sum(axis=(1, 3), keepdims=True) / several
        spread = np.where(self.seen, np.square(self.y - mean), 0.0).sum(axis=(1, 3)) / several[:, 0, :, 0]
        self.floor = np.square(FLOOR) * np.maximum(spread, 1e-12)
        nonlinearities = [subunit.nonlinearity for subunit in simulator.description.subunits.values()]
        self.smooth = all(part is None or isinstance(part, Sigmoid) for part in nonlinearities)

    def response(self, z: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """The channels :math:`(R, S, C, W)` of parameters z :math:`(R, P)` under the stimuli of given neurons (R,)."""
        theta = self.prior.from_unconstrained(torch.from_numpy(z)).numpy()[:, self.order]
        _, sweeps, inputs, steps = self.stimulus.shape
        channels, samples = self.y.shape[2:]
        row = np.repeat(np.arange(len(z)), sweeps)
        sweep = np.tile(np.arange(sweeps), len(z))
        found = np.empty((len(row), channels, samples))
        together = max(64, 64 * (AT_ONCE // (64 * 8 * steps * (inputs + channels))))
        for start in range(0, len(row), together):
            part = slice(start, start + together)
            stimulus = self.stimulus[neuron[row[part]], sweep[part]]
            response = self.simulator.simulate(theta[row[part]], stimulus, self.dt)
            for channel, name in enumerate(self.simulator.record):
                found[part, channel] = np.asarray(response[name])[:, self.every - 1 :: self.every]
        return found.reshape(len(z), sweeps, channels, samples)

    def residual(self, z: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """Observation less response, :math:`(R, S, C, W)`; 0 where nothing was observed."""
        return np.where(self.seen[neuron], self.y[neuron] - self.response(z, neuron), 0.0)

    def squares(self, z: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """Sums (R, C) of the squared residuals of each channel."""
        at_once = max(1, VALUES // self.y[0].size)
        rows = np.split(np.arange(len(z)), range(at_once, len(z), at_once))
        return np.concatenate([np.square(self.residual(z[part], neuron[part])).sum(axis=(1, 3)) for part in rows])

    def loss(self, z: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """Negative log posterior (R,) in z, but for a constant; inf where the model diverges."""
        return self._misfit(self.squares(z, neuron), neuron) + 0.5 * np.square(z).sum(1)

    def noise(self, z: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """Sd (R, C) of the residuals of each channel."""
        return np.sqrt(self.squares(z, neuron) / np.maximum(self.count[neuron], 1))

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """:math:`(B, D)` of parameters :math:`(B, D, P)` in the prior's order, natural units."""
        b, d, p = theta.shape
        z = self.prior.to_unconstrained(theta).reshape(-1, p).numpy()
        neuron = np.repeat(np.arange(b), d)
        return torch.from_numpy(-(self.loss(z, neuron) - 0.5 * np.square(z).sum(1)).reshape(b, d))

    def jacobian(self, z: FloatArray, neuron: NDArray[np.int64], step: FloatArray) -> FloatArray:
        """Derivatives of the response :math:`(R, P, S, C, W)` in z, by central differences of given steps (R, P)."""
        r, p = z.shape
        moved = z[:, None, None] + np.stack((np.eye(p), -np.eye(p))) * step[:, None, :, None]
        found = self.response(moved.reshape(-1, p), np.repeat(neuron, 2 * p)).reshape(r, 2, p, *self.y.shape[1:])
        return (found[:, 0] - found[:, 1]) / (2 * step[:, :, None, None, None])

    def expand(self, z: FloatArray, neuron: NDArray[np.int64], step: FloatArray) -> Expansion:
        """Loss, gradient and curvature.

        Args:
            z: Points (R, P).
            neuron: Whose data (R,).
            step: Half widths (R, P) of the differences; where the model jumps, a wide one sees what a jump amounts to.
        """
        residual = self.residual(z, neuron)
        squares = np.square(residual).sum(axis=(1, 3))
        count = self.count[neuron]
        weight = count / (squares + np.maximum(count, 1) * self.floor[neuron])
        slope = self.jacobian(z, neuron, step) * self.seen[neuron][:, None]
        r, p = z.shape
        root = np.sqrt(weight)[:, None, None, :, None]
        flat = (slope * root).reshape(r, p, -1)
        gradient = z - (flat @ (residual * root[:, 0]).reshape(r, -1, 1))[..., 0]
        loss = self._misfit(squares, neuron) + 0.5 * np.square(z).sum(1)
        return Expansion(loss, gradient, flat @ flat.transpose(0, 2, 1) + np.eye(p))

    def _misfit(self, squares: FloatArray, neuron: NDArray[np.int64]) -> FloatArray:
        """Negative log-likelihood (R,) from sums of squares (R, C)."""
        count = self.count[neuron]
        with np.errstate(invalid="ignore", over="ignore"):
            value = (0.5 * count * np.log(squares / np.maximum(count, 1) + self.floor[neuron])).sum(1)
        return np.where(np.isfinite(value), value, np.inf)

"""The GLM in torch, differentiable in parameters and hidden inputs: the twin of the compiled kernel.

The response is given, so that history is a convolution like any other and no loop over bins is left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import conv1d, logsigmoid, pad, softplus

from neuroinf.errors import InputError

if TYPE_CHECKING:
    from neuroinf.simulators.bases import Basis
    from neuroinf.simulators.glm import GLM

# log(1 - exp(-exp(eta))) is eta to double precision below the first, and exp(eta) would overflow above the second.
SMALL_DRIVE, LARGE_DRIVE = -40.0, 700.0


class GLMTwin:
    """Differentiable twin of a GLM: same parameters, columns and rates.

    Every tensor may be on any device; float64 agrees with the kernel to rounding.

    Args:
        simulator: The kernel to be mirrored.
    """

    def __init__(self, simulator: GLM) -> None:
        self.simulator = simulator

    def drive(
        self, theta: Tensor, observed: Tensor, dt: float, hidden: Tensor | None = None, response: Tensor | None = None
    ) -> Tensor:
        r"""The drive :math:`\eta` :math:`(n, T)`; bin t depends on earlier bins of the response alone.

        Args:
            theta: Parameters :math:`(n, P)`.
            observed: Inputs, then coupled neurons' counts :math:`(n, I + m, T)`.
            dt: Length of a bin, ms.
            hidden: The hidden inputs :math:`(n, K, T)`; for one, or if summed, ``latent/hidden`` :math:`(n, T)`.
            response: What the neuron did :math:`(n, T)`; needed where it has history.

        Raises:
            InputError: if hidden inputs or the response are missing, or a shape does not fit.
        """
        model, n, steps = self.simulator, observed.shape[0], observed.shape[-1]
        if observed.shape[1:2] != (model.inputs + model.coupled,) or theta.shape != (n, len(model.parameters)):
            raise InputError(
                f"GLMTwin: expected theta ({n}, {len(model.parameters)}) and observed (n, "
                f"{model.inputs + model.coupled}, T), found {tuple(theta.shape)} and {tuple(observed.shape)}"
            )
        sizes = [0 if basis is None else basis.size for basis in (model.coupling, model.history)]
        taps = 1 if model.filters is None else model.filters.size
        weights, bias, coupling, history, of_hidden = theta.split(
            [model.inputs * taps, 1, model.coupled * sizes[0], sizes[1], len(model.sign_symmetric)], dim=1
        )
        eta = bias.expand(n, steps)
        inputs, counts = observed.split([model.inputs, model.coupled], dim=1)
        if model.filters is not None:
            eta = eta + _filtered(inputs, weights.reshape(n, model.inputs, taps), model.filters, dt, delay=0)
        elif model.inputs:
            eta = eta + torch.einsum("ni,nit->nt", weights, inputs)
        if model.coupling is not None:
            eta = eta + _filtered(counts, coupling.reshape(n, model.coupled, -1), model.coupling, dt, delay=1)
        if model.history is not None:
            given = _needed(response, "response", (n, steps))
            eta = eta + _filtered(given[:, None], history[:, None], model.history, dt, delay=1)
        if model.sign_symmetric:
            shape = (n, steps) if len(model.sign_symmetric) == 1 else (n, model.hidden, steps)
            h = _needed(hidden, "hidden", shape).reshape(n, -1, steps)
            eta = eta + torch.einsum("nk,nkt->nt", of_hidden, h)
        return eta

    def rate(
        self, theta: Tensor, observed: Tensor, dt: float, hidden: Tensor | None = None, response: Tensor | None = None
    ) -> Tensor:
        r""":math:`f(\eta)` :math:`(n, T)`; arguments as for :meth:`drive`."""
        eta = self.drive(theta, observed, dt, hidden, response)
        return torch.sigmoid(eta) if self.simulator.nonlinearity == "logistic" else torch.exp(eta)

    def log_likelihood(
        self, theta: Tensor, observed: Tensor, response: Tensor, dt: float, hidden: Tensor | None = None
    ) -> Tensor:
        """Log probability of each bin's count given the earlier ones :math:`(n, T)`, nats; their sum is the response's.

        Raises:
            InputError: for output "rate", which has no probability: compare :meth:`rate` with it.
        """
        model = self.simulator
        if model.output == "rate":
            raise InputError('GLMTwin: output "rate" is deterministic and has no likelihood; compare rate() with it')
        eta = self.drive(theta, observed, dt, hidden, response)
        if model.output == "bernoulli" and model.nonlinearity == "logistic":
            return response * eta - softplus(eta)
        eta = eta.clamp(max=LARGE_DRIVE)
        if model.output == "bernoulli":
            small = eta < SMALL_DRIVE
            rate = eta.clamp(min=SMALL_DRIVE).exp()
            spike = torch.where(small, eta, torch.log(-torch.expm1(-rate)))
            return torch.where(response > 0, spike, -eta.exp())
        if model.nonlinearity == "logistic":
            log_rate, rate = logsigmoid(eta), torch.sigmoid(eta)
        else:
            log_rate, rate = eta, eta.exp()
        return response * log_rate - rate - torch.lgamma(response + 1.0)


def _filtered(x: Tensor, weights: Tensor, basis: Basis, dt: float, delay: int) -> Tensor:
    """The sum over inputs i of x (n, I, T), each filtered by its weights (n, I, J) of the basis: (n, T)."""
    n, inputs, steps = x.shape
    kernels = torch.as_tensor(basis.kernels(dt), dtype=x.dtype, device=x.device)
    kernel = torch.einsum("nij,jl->nil", weights, kernels[:, :steps]).flip(-1)
    past = pad(x, (kernel.shape[-1] - 1 + delay, 0))[..., : kernel.shape[-1] - 1 + steps]
    return conv1d(past.reshape(1, n * inputs, -1), kernel, groups=n)[0]


def _needed(values: Tensor | None, name: str, shape: tuple[int, ...]) -> Tensor:
    if values is None or math.prod(values.shape) != math.prod(shape) or values.shape[-1] != shape[-1]:
        found = "nothing" if values is None else f"shape {tuple(values.shape)}"
        raise InputError(f"GLMTwin: expected {name} of shape {shape}, found {found}")
    return values

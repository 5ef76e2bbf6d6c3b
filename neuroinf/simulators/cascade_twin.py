"""A cascade in torch, differentiable in its parameters and its stimulus: the twin of the compiled simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.simulators.cascade_loop import loop
from neuroinf.simulators.cascade_program import coefficients

if TYPE_CHECKING:
    from neuroinf.simulators.cascade import Cascade

Method = Literal["compiled", "loop"]


class CascadeTwin:
    r"""Differentiable twin of a cascade: same graph, parameters, columns and channels.

    Gradients are exact where the model is smooth. At a step the derivative is taken to be
    :math:`h / (10 |y - \theta| + 1)^2`, for a pulse the same at its onset.

    Args:
        simulator: The cascade to be mirrored.
        method: ``compiled``: compiled loops forth and back (CPU); ``loop``: a plain loop in torch on any device.

    Raises:
        InputError: for an unknown method.
    """

    def __init__(self, simulator: Cascade, method: Method = "compiled") -> None:
        if method not in get_args(Method):
            raise InputError(f"CascadeTwin method: expected one of {', '.join(get_args(Method))}, found {method!r}")
        self.simulator, self.method = simulator, method

    def response(self, theta: Tensor, stimulus: Tensor, dt: float) -> dict[str, Tensor]:
        """The recorded channels :math:`(n, T)`, in the stimulus' precision.

        Args:
            theta: Parameters :math:`(n, P)`.
            stimulus: :math:`(n, I, T)`, or :math:`(1, I, T)` for all rows. Fastest where n is contiguous, that is as a
                view of :math:`(T, I, n)`; so is the result.
            dt: Step, ms.

        Raises:
            InputError: if a shape does not fit, a parameter is impossible, or the tensors are not on one device.
        """
        simulator = self.simulator
        simulator.complete(theta.detach().cpu().numpy())
        n, rows = len(theta), len(simulator.inputs)
        if stimulus.ndim != 3 or stimulus.shape[0] not in (1, n) or stimulus.shape[1] != rows:
            raise InputError(
                f"stimulus: expected shape ({n}, {rows}, T) or (1, {rows}, T) with the inputs "
                f"{', '.join(simulator.inputs)}, found {tuple(stimulus.shape)}"
            )
        if theta.device != stimulus.device:
            raise InputError(f"CascadeTwin: theta is on {theta.device}, the stimulus on {stimulus.device}; move one")
        found = self.coefficients(theta, dt, stimulus.dtype)
        x = stimulus.permute(2, 1, 0)
        if self.method == "loop" or stimulus.device.type != "cpu":
            response = loop(simulator.description, simulator.record, found, x.expand(-1, -1, n), dt)
        else:
            from neuroinf.simulators.cascade_adjoint import compiled

            response = compiled(simulator.tables(dt), found, x, n)
        # the gradient of a single line need not be copied into a stack
        lines = (response.squeeze(0),) if len(simulator.record) == 1 else response.unbind()
        return {name: line.T for name, line in zip(simulator.record, lines, strict=True)}

    def coefficients(self, theta: Tensor, dt: float, dtype: torch.dtype) -> dict[str, Tensor]:
        """What the loops take, by name, each of one value or :math:`(n,)`; differentiable in theta."""
        simulator = self.simulator

        def constant(value: float) -> Tensor:
            return torch.tensor(value, dtype=torch.float64, device=theta.device)

        values = {name: constant(simulator.fixed.get(name, v)) for name, v in simulator.description.values.items()}
        values |= {name: theta[:, i] for i, name in enumerate(simulator.parameters)}
        found = coefficients(simulator.description, values, float(dt), torch.exp, constant)
        return {name: value.to(dtype) for name, value in found.items()}

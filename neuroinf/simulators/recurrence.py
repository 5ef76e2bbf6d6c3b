r"""First-order linear recurrences :math:`x_t = m_t x_{t-1} + u_t`, differentiable: the time axis of every linear
neuron model."""

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


@numba.njit(cache=True, nogil=True)
def _forward(m: np.ndarray, u: np.ndarray, x: np.ndarray) -> None:
    for n in range(u.shape[0]):
        row = n % m.shape[0]
        state = 0.0
        for t in range(u.shape[1]):
            state = m[row, t] * state + u[n, t]
            x[n, t] = state


@numba.njit(cache=True, nogil=True)
def _adjoint(m: np.ndarray, x: np.ndarray, g: np.ndarray, dm: np.ndarray, du: np.ndarray) -> None:
    steps = x.shape[1]
    for n in range(x.shape[0]):
        row = n % m.shape[0]
        state = 0.0
        for t in range(steps - 1, -1, -1):
            state = g[n, t] + (m[row, t + 1] * state if t + 1 < steps else 0.0)
            du[n, t] = state
            if t > 0:
                dm[row, t] += state * x[n, t - 1]


def _rows(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().reshape(-1, x.shape[-1]).numpy()


class _LinearRecurrence(torch.autograd.Function):
    """Compiled forward, adjoint and tangent; m's shape is that of u or of u's last dimensions."""

    @staticmethod
    def forward(m: Tensor, u: Tensor) -> Tensor:
        x = torch.empty_like(u, memory_format=torch.contiguous_format)
        _forward(_rows(m), _rows(u), x.view(-1, u.shape[-1]).numpy())
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        m, x = ctx.saved_tensors
        dm, du = torch.zeros_like(m, memory_format=torch.contiguous_format), torch.empty_like(x)
        steps = x.shape[-1]
        _adjoint(_rows(m), _rows(x), _rows(grads[0]), dm.view(-1, steps).numpy(), du.view(-1, steps).numpy())
        return dm, du

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        m, x = ctx.saved_tensors
        dm, du = tangents
        source = torch.zeros_like(x) if du is None else du
        if dm is not None:
            source = source + dm * torch.nn.functional.pad(x[..., :-1], (1, 0))
        return linear_recurrence(m, source)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], *args: Tensor) -> tuple[Tensor, int]:
        m, u = args
        if in_dims[0] is not None:
            m = m.movedim(in_dims[0], 0)
            u = u.movedim(in_dims[1], 0) if in_dims[1] is not None else u.expand(info.batch_size, *u.shape)
        elif in_dims[1] is not None:
            u = u.movedim(in_dims[1], 0)
        return linear_recurrence(m, u), 0


def scan(m: Tensor, u: Tensor) -> Tensor:
    r"""The same recurrence in :math:`\lceil \log_2 T \rceil` whole-array steps, for devices where a loop over time is
    slow.

    Composition of the affine maps :math:`x \mapsto m x + u` is associative; each round composes every map with the one
    :math:`2^r` before it (Hillis & Steele 1986).

    Args:
        m, u: :math:`(..., T)`, broadcastable.

    Returns:
        :math:`x` with :math:`x_{-1} = 0`, shape :math:`(..., T)`.
    """
    m, u = torch.broadcast_tensors(m, u)
    reach = 1
    while reach < u.shape[-1]:
        u = torch.cat((u[..., :reach], u[..., reach:] + m[..., reach:] * u[..., :-reach]), dim=-1)
        m = torch.cat((m[..., :reach], m[..., reach:] * m[..., :-reach]), dim=-1)
        reach *= 2
    return u


def linear_recurrence(m: Tensor, u: Tensor) -> Tensor:
    r"""Solves :math:`x_t = m_t x_{t-1} + u_t` with :math:`x_{-1} = 0` along the last dimension.

    Backward-mode by the adjoint recurrence :math:`\lambda_t = g_t + m_{t+1} \lambda_{t+1}`,
    :math:`\partial u_t = \lambda_t`, :math:`\partial m_t = \lambda_t x_{t-1}`; forward-mode by the same recurrence with
    source :math:`\dot m_t x_{t-1} + \dot u_t`. Compiled on the CPU, :func:`scan` elsewhere.

    Args:
        m: Multipliers, :math:`(..., T)`: the shape of u, or of its last dimensions (shared by the leading ones).
        u: Sources, :math:`(..., T)`.

    Returns:
        :math:`x`, shape and type of u.

    Raises:
        ValueError: if m's shape is not u's or a tail of it.
    """
    if m.shape != u.shape[u.ndim - m.ndim :]:
        raise ValueError(
            f"linear_recurrence: m must have the shape of u or of its last dimensions; got {m.shape}, {u.shape}"
        )
    if u.device.type != "cpu":
        return scan(m, u)
    result = _LinearRecurrence.apply(m, u)
    assert isinstance(result, Tensor)
    return result

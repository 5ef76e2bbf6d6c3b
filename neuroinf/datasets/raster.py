"""Input spikes of a batch of patterns as a list of events, and the synaptic currents that they cause."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.simulators.threads import in_threads

Integers = NDArray[np.int64]
Floats = NDArray[Any]
# a sum over time is made of this many parts whatever the number of threads: the same result everywhere
PARTS = 8
# fewer products than this (about 0.5 ms of work) are not worth waking another thread for
PRODUCTS_PER_THREAD = 500_000


class Raster(NamedTuple):
    r"""Spike counts :math:`x_{tnbi}` of T steps, N sets of B patterns and I channels: only those that are not 0.

    Attributes:
        starts: Where the events of each (t, n, b), in this order, begin: :math:`(TNB + 1,)`.
        patterns: b of each event :math:`(E,)`.
        channels: Of each event :math:`(E,)`, ascending within a (t, n, b).
        counts: Of each event :math:`(E,)`.
        shape: T, N, B and I.
    """

    starts: Tensor
    patterns: Tensor
    channels: Tensor
    counts: Tensor
    shape: tuple[int, int, int, int]

    def dense(self) -> Tensor:
        """:math:`x` :math:`(N, B, T, I)`."""
        x = torch.zeros(int(np.prod(self.shape[:3])), self.shape[3])
        rows = torch.repeat_interleave(torch.arange(len(x)), self.starts.diff())
        x[rows, self.channels] = self.counts
        return x.reshape(self.shape).permute(1, 2, 0, 3)


def raster(t: Integers, n: Integers, b: Integers, channel: Integers, shape: tuple[int, int, int, int]) -> Raster:
    """The raster of single spikes in any order; several in one step and channel are counted together.

    Args:
        t, n, b, channel: Step, set, pattern and channel of each spike (E,).
        shape: T, N, B and I.
    """
    cells, counts = np.unique(np.ravel_multi_index((t, n, b, channel), shape), return_counts=True)
    rows = cells // shape[3]
    starts = np.searchsorted(rows, np.arange(int(np.prod(shape[:3])) + 1))
    return Raster(
        torch.from_numpy(starts.astype(np.int64)),
        torch.from_numpy((rows % shape[2]).astype(np.int64)),
        torch.from_numpy((cells % shape[3]).astype(np.int64)),
        torch.from_numpy(counts.astype(np.float32)),
        shape,
    )


@njit(nogil=True, cache=True)
def _forward(
    first: int,
    last: int,
    starts: Integers,
    patterns: Integers,
    channels: Integers,
    counts: Floats,
    sets: int,
    w: Floats,
    out: Floats,
) -> None:
    """Currents (T, P, N, B, U) of steps first to last from weights (P, N, I, U), channel after channel."""
    _, ports, networks, number, units = out.shape
    for t in range(first, last):
        out[t] = 0
        for p in range(ports):
            for n in range(networks):
                row = (t * sets + n % sets) * number
                for k in range(starts[row], starts[row + number]):
                    total, weight, count = out[t, p, n, patterns[k]], w[p, n, channels[k]], counts[k]
                    for u in range(units):
                        total[u] += count * weight[u]


@njit(nogil=True, cache=True)
def _adjoint(
    first: int,
    last: int,
    starts: Integers,
    patterns: Integers,
    channels: Integers,
    counts: Floats,
    sets: int,
    g: Floats,
    dw: Floats,
) -> None:
    """Add to the weights' gradient that of steps first to last."""
    _, ports, networks, number, units = g.shape
    for t in range(first, last):
        for p in range(ports):
            for n in range(networks):
                row = (t * sets + n % sets) * number
                for k in range(starts[row], starts[row + number]):
                    gradient, weight, count = g[t, p, n, patterns[k]], dw[p, n, channels[k]], counts[k]
                    for u in range(units):
                        weight[u] += count * gradient[u]


def _arrays(events: Raster) -> tuple[Integers, Integers, Integers, Floats]:
    return events.starts.numpy(), events.patterns.numpy(), events.channels.numpy(), events.counts.numpy()


def _threads(events: Raster, weights: torch.Size) -> int:
    ports, networks, _, units = weights
    return len(events.counts) * ports * units * (networks // events.shape[1]) // PRODUCTS_PER_THREAD


class _Currents(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, events: Raster, more: int) -> Tensor:
        steps, sets, number, _ = events.shape
        ports, networks, _, units = weights.shape
        out = weights.new_empty(steps + more, ports, networks, number, units)
        out[steps:] = 0
        w = weights.detach().contiguous().numpy()
        starts, patterns, channels, counts = _arrays(events)

        def part(first: int, last: int) -> None:
            _forward(first, last, starts, patterns, channels, counts, sets, w, out.numpy())

        in_threads(part, steps, most=_threads(events, weights.shape))
        ctx.events, ctx.weights = events, weights.shape
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        events: Raster = ctx.events
        steps, sets, _, _ = events.shape
        g = grads[0].contiguous().numpy()
        starts, patterns, channels, counts = _arrays(events)
        edges = np.linspace(0, steps, PARTS + 1).astype(int)
        sums = np.zeros((PARTS, *ctx.weights), g.dtype)

        def parts(first: int, last: int) -> None:
            for i in range(first, last):
                _adjoint(edges[i], edges[i + 1], starts, patterns, channels, counts, sets, g, sums[i])

        in_threads(parts, PARTS, most=_threads(events, ctx.weights))
        return torch.from_numpy(sums.sum(0)), None, None


def currents(events: Raster, weights: Tensor, more: int = 0) -> Tensor:
    r"""Synaptic currents :math:`I_{tpnbu} = \sum_i x_{tnbi} W_{pniu}` into port p of unit u, differentiable in W.

    Compiled over the events alone, on the CPU; a matrix product of the dense raster elsewhere.

    Args:
        events: Of N sets of patterns, one for each network, or of one set for all.
        weights: :math:`(P, N, I, U)`.
        more: Steps after the last, with currents of 0.

    Returns:
        :math:`(T + more, P, N, B, U)`.

    Raises:
        InputError: if the raster does not fit the weights.
    """
    _, sets, _, inputs = events.shape
    if sets not in (1, weights.shape[1]) or inputs != weights.shape[2]:
        raise InputError(
            f"expected input of {weights.shape[2]} channels in 1 or {weights.shape[1]} sets of patterns, found {inputs} channels "
            f"in {sets} sets: see replicates of model and data"
        )
    if weights.device.type != "cpu":
        x = events.dense().to(weights)
        x = torch.nn.functional.pad(x, (0, 0, 0, more))
        return torch.einsum("nbti,pniu->tpnbu", x.expand(weights.shape[1], *x.shape[1:]), weights)
    out = _Currents.apply(weights, events, more)
    assert isinstance(out, Tensor)
    return out

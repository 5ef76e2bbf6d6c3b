"""The compiled loops of a cascade, forth and back, as one differentiable function of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuroinf.simulators.cascade_adjoint_kernel import cascade_blocks_back
from neuroinf.simulators.cascade_kernel import ROWS, cascade_blocks
from neuroinf.simulators.cascade_program import Program
from neuroinf.simulators.cascade_tape import Tape
from neuroinf.simulators.threads import in_threads

# Fewer block-steps than this (about 0.2 ms of work) are not worth waking another thread for.
BLOCK_STEPS_PER_THREAD = 200


def compiled(tables: Program, coefficients: Mapping[str, Tensor], stimulus: Tensor, n: int) -> Tensor:
    """The recorded channels :math:`(C, T, n)`, differentiable in coefficients and stimulus.

    Args:
        tables: The cascade's program.
        coefficients: By name, each of one value or :math:`(n,)`.
        stimulus: :math:`(T, I, n)`, or :math:`(T, I, 1)` for all rows, on the CPU.
        n: Number of rows.
    """
    table = torch.stack([coefficients[name].expand(n) for name in tables.names])
    response = CompiledCascade.apply(table, stimulus, tables)
    assert isinstance(response, Tensor)
    return response


class CompiledCascade(torch.autograd.Function):
    """The compiled time loop; the gradient is that of the compiled loop backwards."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, stimulus: Tensor, tables: Program) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The response :math:`(C, T, n)` to coefficients :math:`(K, n)` and stimulus :math:`(T, I, n)`."""
        c, x = table.detach().numpy(), stimulus.detach().numpy()
        n, steps = c.shape[1], x.shape[0]
        number = -(-n // ROWS)
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        starts, masks, places = tables.tape(steps) if needed else tables.rings()
        tape = Tape((number, places, ROWS) if needed else (0, 0, 0), c.dtype)
        response = np.empty((len(tables.record), steps, n), c.dtype)

        def blocks(first: int, last: int) -> None:
            cascade_blocks(
                first,
                last,
                tables.subunits,
                tables.edges,
                tables.record,
                -1,
                starts,
                masks,
                places,
                c,
                x,
                tape.values,
                response,
            )

        in_threads(blocks, number, number * steps // BLOCK_STEPS_PER_THREAD)
        ctx.save_for_backward(table)
        ctx.tables, ctx.tape, ctx.starts, ctx.shared, ctx.steps = tables, tape, starts, x.shape[2] == 1, steps
        return torch.from_numpy(response)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, response_bar: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of the coefficients and of the stimulus."""
        (table,) = ctx.saved_tensors
        tables: Program = ctx.tables
        c, n = table.detach().numpy(), table.shape[1]
        starts, masks, places = tables.rings()
        c_bar, x_bar = np.empty_like(c), np.empty((ctx.steps, tables.inputs, n), c.dtype)
        given = response_bar.to(table.dtype).contiguous().numpy()

        def blocks(first: int, last: int) -> None:
            cascade_blocks_back(
                first,
                last,
                tables.subunits,
                tables.edges,
                tables.record,
                ctx.starts,
                starts,
                masks,
                places,
                c,
                ctx.tape.values,
                given,
                ctx.needs_input_grad[0],
                c_bar,
                x_bar,
            )

        number = len(ctx.tape.values)
        in_threads(blocks, number, number * ctx.steps // BLOCK_STEPS_PER_THREAD)
        stimulus_bar = torch.from_numpy(x_bar)
        if ctx.shared:
            stimulus_bar = stimulus_bar.sum(2, keepdim=True)
        return torch.from_numpy(c_bar), stimulus_bar, None

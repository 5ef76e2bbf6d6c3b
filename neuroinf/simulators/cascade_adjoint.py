"""The compiled loops of a cascade, forth and back, as one differentiable function of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuroinf.simulators.cascade_adjoint_kernel import cascade_blocks_back
from neuroinf.simulators.cascade_kernel import cascade_blocks
from neuroinf.simulators.cascade_program import Program
from neuroinf.simulators.cascade_tape import Tape
from neuroinf.simulators.threads import in_threads

# Fewer steps of single rows than this (about 1 ms of work) are not worth waking another thread for.
ROW_STEPS_PER_THREAD = 200_000


def compiled(tables: Program, coefficients: Mapping[str, Tensor], stimulus: Tensor, n: int) -> Tensor:
    """The recorded channels :math:`(C, T, n)`, differentiable in coefficients and stimulus.

    Args:
        tables: The cascade's program.
        coefficients: By name, each of one value or :math:`(n,)`.
        stimulus: :math:`(T, I, n)`, or :math:`(T, I, 1)` for all rows, on the CPU.
        n: Number of rows.
    """
    found = [coefficients[name] for name in tables.names]
    # numbers that are the same for all rows, which nothing is to be learnt about, are not written down for each
    alike = all(value.numel() == 1 and not value.requires_grad for value in found)
    table = torch.stack([value.reshape(1) if alike else value.expand(n) for value in found])
    response = CompiledCascade.apply(table, stimulus, tables, n)
    assert isinstance(response, Tensor)
    return response


class CompiledCascade(torch.autograd.Function):
    """The compiled time loop; the gradient is that of the compiled loop backwards."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, stimulus: Tensor, tables: Program, n: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The response :math:`(C, T, n)` to coefficients :math:`(K, n)` or :math:`(K, 1)`, and stimulus."""
        c, x = table.detach().numpy(), stimulus.detach().numpy()
        steps = x.shape[0]
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        starts, masks, places = tables.tape(steps, ctx.needs_input_grad[0]) if needed else tables.rings()
        rows = tables.block_rows(n, c.itemsize)
        number = -(-n // rows)
        tape = Tape((number, places, rows) if needed else (0, 0, 0), c.dtype)
        response = np.empty((len(tables.record), steps, n), c.dtype)

        def blocks(first: int, last: int) -> None:
            cascade_blocks(
                first,
                last,
                rows,
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

        in_threads(blocks, number, n * steps // ROW_STEPS_PER_THREAD)
        ctx.save_for_backward(table)
        ctx.tables, ctx.tape, ctx.starts, ctx.shared, ctx.steps = tables, tape, starts, x.shape[2] == 1, steps
        return torch.from_numpy(response)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, response_bar: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of the coefficients and of the stimulus."""
        (table,) = ctx.saved_tensors
        tables: Program = ctx.tables
        c, n, wanted = table.detach().numpy(), response_bar.shape[2], ctx.needs_input_grad[0]
        starts, masks, places = tables.rings()
        number, _, rows = ctx.tape.values.shape
        c_bar, x_bar = np.empty((len(c), n if wanted else 0), c.dtype), np.empty((ctx.steps, tables.inputs, n), c.dtype)
        given = response_bar.to(table.dtype).contiguous().numpy()

        def blocks(first: int, last: int) -> None:
            cascade_blocks_back(
                first,
                last,
                rows,
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
                wanted,
                c_bar,
                x_bar,
            )

        in_threads(blocks, number, n * ctx.steps // ROW_STEPS_PER_THREAD)
        stimulus_bar = torch.from_numpy(x_bar)
        if ctx.shared:
            stimulus_bar = stimulus_bar.sum(2, keepdim=True)
        return torch.from_numpy(c_bar) if wanted else None, stimulus_bar, None, None

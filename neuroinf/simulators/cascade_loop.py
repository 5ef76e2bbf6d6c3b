"""A cascade as a plain loop over steps in torch, on any device and in any precision: what the compiled loops must equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuroinf.simulators.cascade_filters import Filter, Leak
from neuroinf.simulators.cascade_graph import Graph, Subunit
from neuroinf.simulators.cascade_kernel import ROUNDING
from neuroinf.simulators.cascade_nonlinearities import SURROGATE, Sigmoid, Step
from neuroinf.simulators.cascade_program import steps_late

History = dict[tuple[str, str], list[Tensor]]


class Rise(torch.autograd.Function):
    r"""1 where u is above 0 (or not below, if not strict); the derivative is taken to be :math:`1 / (10 |u| + 1)^2`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, strict: bool) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The step itself."""
        ctx.save_for_backward(u)
        return (u > 0 if strict else u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The surrogate."""
        (u,) = ctx.saved_tensors
        return grad / (SURROGATE * u.abs() + 1.0) ** 2, None


def loop(
    graph: Graph, record: tuple[str, ...], coefficients: Mapping[str, Tensor], stimulus: Tensor, dt: float
) -> Tensor:
    """The recorded channels :math:`(C, T, n)`.

    Args:
        graph: The cascade.
        record: Names of the channels.
        coefficients: By name, each of one value or :math:`(n,)`; see
            :func:`neuroinf.simulators.cascade_program.coefficients`.
        stimulus: :math:`(T, I, n)`.
        dt: Step, ms.
    """
    steps, _, n = stimulus.shape
    zero = stimulus.new_zeros(n)
    past: History = {(name, "input"): list(stimulus[:, i].unbind()) for i, name in enumerate(graph.inputs)}
    for name in graph.subunits:
        past |= {(name, port): [] for port in ("drive", "filtered", "linear", "nonlinear", "soma", "onset", "left")}

    def before(name: str, port: str, t: int) -> Tensor:
        return past[name, port][t] if t >= 0 else zero

    late = [steps_late(graph, edge, dt) for edge in graph.edges]
    for t in range(steps):
        for name, subunit in graph.subunits.items():
            drive, resets = None, list[Tensor]()
            for i, edge in enumerate(graph.edges):
                if edge.target != name:
                    continue
                source = before(edge.source, edge.port, t - late[i])
                term = coefficients[f"edge {i}"] * (source.detach() if edge.detach else source)
                if edge.source == name and isinstance(subunit.filter, Leak):
                    resets.append(term)
                else:
                    drive = term if drive is None else drive + term
            x = zero if drive is None else drive
            past[name, "drive"].append(x)
            y = x
            if subunit.filter is not None:
                y = _filtered(past, name, "filtered", subunit.filter, f"{name}.filter", coefficients, zero, dt)
            for term in resets:
                y = y + term
            past[name, "filtered"].append(y)
            lin = y
            if subunit.linear_filter is not None:
                prefix = f"{name}.linear_filter"
                lin = _filtered(past, name, "linear", subunit.linear_filter, prefix, coefficients, zero, dt)
            past[name, "linear"].append(lin)
            z = _nonlinear(past, name, subunit, coefficients, zero)
            if subunit.blocked_by is not None:
                z = z - z * past[subunit.blocked_by, "input"][t]
            past[name, "nonlinear"].append(z)
            past[name, "soma"].append(z if subunit.linear == 0 else z + coefficients[f"{name}.linear"] * lin)
    lines = []
    for channel in record:
        name, port = graph.record[channel]
        lag = graph.lag(name, port)
        lines.append(torch.stack([before(name, port, t - lag) for t in range(steps)]))
    return torch.stack(lines)


def _filtered(
    past: History,
    name: str,
    port: str,
    part: Filter,
    prefix: str,
    coefficients: Mapping[str, Tensor],
    zero: Tensor,
    dt: float,
) -> Tensor:
    drive, window = past[name, "drive"], part.taps(dt)
    state = past[name, port][-1] if past[name, port] else zero
    a, b0, b1, end = (coefficients[f"{prefix}.{tap}"] for tap in ("a", "b0", "b1", "bN"))
    if isinstance(part, Leak):
        return a * state + drive[-1]
    y = a * state + b0 * drive[-1] + b1 * (drive[-2] if len(drive) > 1 else zero)
    return y - end * drive[-1 - window] if window and len(drive) > window else y


def _nonlinear(past: History, name: str, subunit: Subunit, coefficients: Mapping[str, Tensor], zero: Tensor) -> Tensor:
    part, ys = subunit.nonlinearity, past[name, "filtered"]
    y = ys[-1]
    if part is None:
        return y
    if isinstance(part, Sigmoid):
        slope, loc = coefficients[f"{name}.slope"], coefficients[f"{name}.loc"]
        return coefficients[f"{name}.gain"] * torch.sigmoid(slope * (y - loc))
    theta, height = coefficients[f"{name}.threshold"], coefficients[f"{name}.height"]
    if isinstance(part, Step):
        return height * Rise.apply(y - theta, part.strict)  # pyright: ignore[reportOperatorIssue]
    onset, left = past[name, "onset"], past[name, "left"]
    crossed = ((ys[-2] if len(ys) > 1 else zero) <= theta) & (y > theta)
    whole = torch.floor(coefficients[f"{name}.steps"].detach() + ROUNDING) + 1
    left.append(torch.where(crossed, whole, ((left[-1] if left else zero) - 1).clamp(min=0)))
    # 1 while a pulse lasts, differentiable where it began
    onset.append(torch.where(crossed, Rise.apply(y - theta, True), onset[-1] if onset else zero))  # pyright: ignore[reportArgumentType]
    return height * torch.where(left[-1] > 0, onset[-1], zero)

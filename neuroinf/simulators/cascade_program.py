"""A graph at one step dt as tables of integers and names of coefficients: what the compiled loops run through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.cascade_filters import TAPS, Exp, Filter, Leak, Number
from neuroinf.simulators.cascade_graph import Edge, Graph
from neuroinf.simulators.cascade_nonlinearities import TERMS, Nonlinearity, Pulse, Sigmoid, Step

Integers = NDArray[np.int64]

# columns of the table of subunits: signals, then filters, nonlinearity, linear part and edges
(
    DRIVE, FILTERED, LINEAR, NONLINEAR, OUTPUT, LEFT,
    FILTER, TAPS_AT, WINDOW,
    LINEAR_FILTER, LINEAR_TAPS_AT, LINEAR_WINDOW,
    KIND, TERMS_AT, LINEAR_AT, BLOCK,
    FIRST_EDGE, FIRST_RESET, LAST_EDGE, COLUMNS,
) = range(20)  # fmt: skip
# kinds of filter and of nonlinearity
NONE, LEAK, RECURSION = range(3)
SIGMOID, STEP, STRICT_STEP, PULSE = range(1, 5)
# columns of the table of edges
SOURCE, DELAY, GAIN_AT, DETACHED = range(4)

# rows of a block, powers of 2; bytes for their rings; blocks in all, for blocks of more than the fewest rows
LEAST_ROWS, MOST_ROWS, CACHE, BLOCKS = 64, 256, 2**18, 8


@dataclass(frozen=True)
class Program:
    """Tables of a graph.

    Attributes:
        subunits, edges: See the columns above. Signals are numbered, the inputs first.
        record: Signal and lag of each channel :math:`(C, 2)`.
        spikes: Signal and lag of the spikes' nonlinearity; -1 if there is none.
        names: Of the coefficients, in the order of the table :math:`(K, n)` that the loops take.
        depth: How many steps of each signal are needed at once, the present one included.
        inputs: Their number.
    """

    subunits: Integers
    edges: Integers
    record: Integers
    spikes: tuple[int, int]
    names: tuple[str, ...]
    depth: Integers
    inputs: int

    def rings(self) -> tuple[Integers, Integers, int]:
        """Where each signal's ring begins and the mask of its index, and the number of places."""
        sizes = np.array([1 << int(depth - 1).bit_length() for depth in self.depth], np.int64)
        return np.cumsum(sizes) - sizes, sizes - 1, int(sizes.sum())

    def block_rows(self, n: int, size: int) -> int:
        """How many of n rows are simulated together, in numbers of `size` bytes.

        Many, as an operation's bookkeeping is the same for all; but their rings must stay in the second-level cache, and threads
        want several blocks each.
        """
        rows, places = MOST_ROWS, self.rings()[2]
        while rows > LEAST_ROWS and (rows * places * size > CACHE or rows * BLOCKS > n):
            rows //= 2
        return rows

    def tape(self, steps: int, whole: bool) -> tuple[Integers, Integers, int]:
        """The same for a record of all steps, with zeros before the first.

        Args:
            steps: T.
            whole: Of all signals, for gradients of all coefficients; else of what the stimulus' gradient takes: what
                nonlinearities are applied to, and what blocks them. The others have rings.
        """
        kept = np.full(len(self.depth), whole)
        curved = self.subunits[self.subunits[:, KIND] != NONE]
        kept[curved[:, FILTERED]] = True
        for column in (LEFT, BLOCK):
            kept[curved[curved[:, column] >= 0, column]] = True
        rings = np.array([1 << int(depth - 1).bit_length() for depth in self.depth], np.int64)
        sizes = np.where(kept, self.depth - 1 + steps, rings)
        ends = np.cumsum(sizes)
        return ends - np.where(kept, steps, sizes), np.where(kept, -1, rings - 1), int(sizes.sum())


def program(graph: Graph, record: tuple[str, ...], dt: float) -> Program:
    """Tables of a graph at a step of dt ms.

    Raises:
        InputError: if a delay is shorter than half a step, or a kernel than two.
    """
    names, depth = list[str](), [1] * len(graph.inputs)
    signals: dict[tuple[str, str], int] = {(name, "input"): i for i, name in enumerate(graph.inputs)}
    table = np.full((len(graph.subunits), COLUMNS), -1, np.int64)

    def signal(needed: int = 1) -> int:
        depth.append(needed)
        return len(depth) - 1

    def coefficients(*new: str) -> int:
        names.extend(new)
        return len(names) - len(new)

    def filtered(part: Filter, row: Any, first: int, prefix: str) -> int:
        """Fill in a filter's three columns; its signal."""
        window = part.taps(dt)
        row[first] = LEAK if isinstance(part, Leak) else RECURSION
        row[first + 1] = coefficients(*(f"{prefix}.{tap}" for tap in TAPS))
        row[first + 2] = window
        depth[row[DRIVE]] = max(depth[row[DRIVE]], 2, window + 1)
        return signal(2)

    for row, (name, subunit) in zip(table, graph.subunits.items(), strict=True):
        row[DRIVE] = row[FILTERED] = signal()
        row[FILTER] = row[LINEAR_FILTER] = NONE
        if subunit.filter is not None:
            row[FILTERED] = filtered(subunit.filter, row, FILTER, f"{name}.filter")
        row[LINEAR] = row[FILTERED]
        if subunit.linear_filter is not None:
            row[LINEAR] = filtered(subunit.linear_filter, row, LINEAR_FILTER, f"{name}.linear_filter")
        row[KIND], row[NONLINEAR] = NONE, row[FILTERED]
        if subunit.nonlinearity is not None:
            row[KIND], row[NONLINEAR] = _kind(subunit.nonlinearity), signal(2)
            row[TERMS_AT] = coefficients(*(f"{name}.{term}" for term in TERMS[type(subunit.nonlinearity)]))
            depth[row[FILTERED]] = max(depth[row[FILTERED]], 2)
            row[LEFT] = signal(2) if isinstance(subunit.nonlinearity, Pulse) else -1
        row[OUTPUT] = row[NONLINEAR]
        if subunit.linear != 0:
            row[OUTPUT], row[LINEAR_AT] = signal(), coefficients(f"{name}.linear")
        row[BLOCK] = -1 if subunit.blocked_by is None else signals[subunit.blocked_by, "input"]
        ports = ("soma", "filtered", "nonlinear", "linear")
        for port, column in zip(ports, (OUTPUT, FILTERED, NONLINEAR, LINEAR), strict=True):
            signals[name, port] = int(row[column])

    edges = list[list[int]]()
    for row, name in zip(table, graph.subunits, strict=True):
        mine = [(i, edge) for i, edge in enumerate(graph.edges) if edge.target == name]
        resets = [pair for pair in mine if row[FILTER] == LEAK and pair[1].source == name]
        row[FIRST_EDGE] = len(edges)
        row[FIRST_RESET] = len(edges) + len(mine) - len(resets)
        row[LAST_EDGE] = len(edges) + len(mine)
        for i, edge in [pair for pair in mine if pair not in resets] + resets:
            late, source = steps_late(graph, edge, dt), signals[edge.source, edge.port]
            depth[source] = max(depth[source], late + 1)
            edges.append([source, late, coefficients(f"edge {i}"), int(edge.detach)])

    lines = list[tuple[int, int]]()
    for channel in record:
        source, lag = signals[graph.record[channel]], graph.lag(*graph.record[channel])
        depth[source] = max(depth[source], lag + 1)
        lines.append((source, lag))
    spikes = (-1, 0)
    if graph.spikes is not None:
        spikes = signals[graph.spikes, "nonlinear"], graph.lag(graph.spikes, "nonlinear")
    return Program(
        table,
        np.array(edges, np.int64).reshape(-1, 4),
        np.array(lines, np.int64).reshape(-1, 2),
        spikes,
        tuple(names),
        np.array(depth, np.int64),
        len(graph.inputs),
    )


def coefficients(
    graph: Graph, values: Mapping[str, Any], dt: float, exp: Exp, constant: Callable[[float], Any]
) -> dict[str, Any]:
    """The coefficients by name, from each parameter's value.

    Args:
        graph: What they belong to.
        values: Of each parameter, arrays or tensors :math:`(n,)` or of one value.
        dt: Step, ms.
        exp: The exponential function of the values' library.
        constant: Makes an array or tensor of a number.

    Returns:
        Numbers, arrays or tensors of the shape of the values that they depend on.
    """

    def value(term: Number) -> Any:
        if isinstance(term, str):
            return -values[term[1:]] if term.startswith("-") else values[term]
        return constant(term)

    found: dict[str, Any] = {}
    for name, subunit in graph.subunits.items():
        for part, prefix in ((subunit.filter, "filter"), (subunit.linear_filter, "linear_filter")):
            if part is not None:
                taps = part.coefficients(value, dt, exp)
                found |= {
                    f"{name}.{prefix}.{tap}": constant(0.0) if t is None else t
                    for tap, t in zip(TAPS, taps, strict=True)
                }
        if subunit.nonlinearity is not None:
            terms = TERMS[type(subunit.nonlinearity)]
            found |= {
                f"{name}.{term}": c for term, c in zip(terms, subunit.nonlinearity.coefficients(value, dt), strict=True)
            }
        if subunit.linear != 0:
            found[f"{name}.linear"] = value(subunit.linear)
    return found | {f"edge {i}": value(edge.gain) for i, edge in enumerate(graph.edges)}


def steps_late(graph: Graph, edge: Edge, dt: float) -> int:
    """Steps from a subunit's filter, or an input, to where an edge delivers it.

    Raises:
        InputError: if a delay in ms is less than half a step.
    """
    delay = edge.steps + round(edge.delay / dt)
    if edge.delay and not delay:
        raise InputError(f"cascade edge {edge}: a delay of {edge.delay:g} ms is less than half a step of {dt:g} ms")
    return delay + graph.lag(edge.source, edge.port)


def _kind(part: Nonlinearity) -> int:
    if isinstance(part, Step):
        return STRICT_STEP if part.strict else STEP
    return SIGMOID if isinstance(part, Sigmoid) else PULSE

"""What a cascade consists of: subunits, edges, inputs and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from neuroinf.simulators.cascade_filters import Filter, Number
from neuroinf.simulators.cascade_nonlinearities import Nonlinearity

PORTS = ("soma", "filtered", "nonlinear", "linear")


@dataclass(frozen=True)
class Subunit:
    """A filter, a nonlinearity, and how much of the filtered drive is added to it.

    Attributes:
        filter: None: the drive itself.
        nonlinearity: None: the filtered drive itself.
        linear: c in output = nonlinear + c linear.
        linear_filter: Of the linear part; None: the same filter.
        lag: Steps by which nonlinearity and output come after the filter.
        blocked_by: Input of which a value of 1 takes the nonlinear part away, 0.5 half of it.
    """

    filter: Filter | None
    nonlinearity: Nonlinearity | None
    linear: Number
    linear_filter: Filter | None
    lag: int
    blocked_by: str | None


@dataclass(frozen=True)
class Edge:
    """From an input (port "input") or a subunit's port to a subunit.

    Attributes:
        delay: In ms, beside `steps`, in steps of whatever dt.
        detach: Whether gradients stop here.
    """

    source: str
    port: str
    target: str
    gain: Number
    steps: int
    delay: float
    detach: bool

    def __str__(self) -> str:
        source = self.source if self.port in ("soma", "input") else f"{self.source}.{self.port}"
        return f"{source} -> {self.target}"


@dataclass(frozen=True)
class Graph:
    """A cascade.

    Attributes:
        inputs: Names of the stimulus' rows.
        subunits: By name, in the order in which they are computed.
        edges: In the order in which they are summed.
        record: Channel to subunit and port.
        spikes: The subunit whose nonlinearity's onsets are spikes, if any.
        values, units: Of each named parameter.
    """

    inputs: tuple[str, ...]
    subunits: dict[str, Subunit]
    edges: tuple[Edge, ...]
    record: dict[str, tuple[str, str]]
    spikes: str | None
    values: dict[str, float]
    units: dict[str, str]

    def lag(self, name: str, port: str) -> int:
        """Steps by which a port comes after its subunit's filter."""
        return self.subunits[name].lag if name in self.subunits and port in ("soma", "nonlinear") else 0

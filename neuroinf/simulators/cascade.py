r"""Cascades of subunits: parallel and recurrent neurons from one description.

A subunit filters its drive x, passes it through a static nonlinearity and adds a linear part. At step t

.. math::
    x_t &= \sum_e g_e\, s_{e,\, t - d_e} \\
    y_t &= (\kappa * x)_t, \qquad l_t = (\lambda * x)_t \\
    z_t &= f(y_t), \qquad o_t = z_t + c\, l_t

over its edges e with gain g and delay d from an input or from another subunit's port: ``name`` (o), ``name.filtered``
(y), ``name.nonlinear`` (z) or ``name.linear`` (l). Everything is 0 before the first step. A graph is a YAML file:

.. code-block:: yaml

    inputs: [current]
    subunits:
      soma:                                           # all but the drive may be left out
        filter: {exponential: {tau: 10.0}}            # exponential, held or leak; the drive itself
        nonlinearity: {sigmoid: {loc: 5.0, width: 1.0, gain: 15.0}}   # sigmoid, step or pulse; y itself
        linear: c                                     # a number, or a parameter's name; 0
        linear_filter: {exponential: {tau: 20.0}}     # the same filter
        lag: 0                                        # steps by which z and o come after y and l
        blocked_by: drug                              # an input b: z becomes z (1 - b)
    edges:
      - {source: current, target: soma, gain: 1.0, steps: 0}     # or delay: in ms; detach: no gradient through it
    record: {voltage: soma}                           # channel: port
    spikes: null                                      # a subunit: spikes are onsets of its step or pulse
    parameters: {c: {unit: "1", value: 0.5}}

Any number in a filter, nonlinearity, linear part or gain may be a parameter's name ("-name" its negative). Time
constants, lengths and widths of pulses are in ms, all else has arbitrary units.

Source:
    Harkin, Shen, Goel, Richards and Naud (2022), Neuroscience 489:200.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.cascade_graph import Graph
from neuroinf.simulators.cascade_kernel import cascade_blocks
from neuroinf.simulators.cascade_program import Program, coefficients, program
from neuroinf.simulators.cascade_reading import POSITIVE, load_graph, read_graph
from neuroinf.simulators.protocol import Response
from neuroinf.simulators.stimulus_samples import stimulus_samples
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
# Fewer steps of single rows than this (about 1 ms of work) are not worth waking another thread for.
ROW_STEPS_PER_THREAD = 200_000


class Cascade:
    """A batch of neurons of one cascade; see the module for equations and format.

    Args:
        graph: The description, or the path of a YAML file with it.
        parameters: Which of the graph's parameters are columns of theta; None: all.
        fixed: Values of others, in the place of the graph's.
        record: Which of the graph's channels to return; None: all.

    Attributes:
        graph: The description itself, so that a file of simulations is complete without the YAML file.
        description: The same, checked.
        parameters, units: The columns of theta.
        channels: The recorded channels and their units.
        inputs: Names of the stimulus' rows.

    Raises:
        InputError: for an impossible graph, or unknown names.

    Example:
        >>> graph = {
        ...     "inputs": ["current"],
        ...     "subunits": {"soma": {"filter": {"held": {"tau": "tau"}}, "nonlinearity": {"step": {"threshold": 0.5}}}},
        ...     "edges": [{"source": "current", "target": "soma"}],
        ...     "record": {"voltage": "soma.filtered"},
        ...     "spikes": "soma",
        ...     "parameters": {"tau": {"unit": "ms", "value": 10.0}},
        ... }
        >>> response = Cascade(graph).simulate([[10.0], [20.0]], np.ones((1, 1, 300)), dt=0.1)
        >>> [times.round(1).tolist() for times in response["spikes"]]
        [[7.0], [13.9]]
    """

    stimulus_unit = "1"

    def __init__(
        self,
        graph: dict[str, Any] | str,
        parameters: Sequence[str] | None = None,
        fixed: Mapping[str, float] | None = None,
        record: Sequence[str] | None = None,
    ) -> None:
        self.graph: dict[str, Any] = load_graph(graph) if isinstance(graph, str) else dict(graph)
        self.description: Graph = read_graph(self.graph)
        known, channels = self.description.values, self.description.record
        self.fixed = {str(name): float(value) for name, value in (fixed or {}).items()}
        chosen = [name for name in known if name not in self.fixed] if parameters is None else list(parameters)
        for what, names, among in (
            ("parameters", chosen, known),
            ("fixed", self.fixed, known),
            ("record", record or [], channels),
        ):
            unknown = [name for name in names if name not in among]
            if unknown or isinstance(names, str):
                raise InputError(f"Cascade {what}: expected any of {', '.join(among)}, found {[*unknown, names][0]!r}")
            if len(set(names)) < len(names):
                raise InputError(f"Cascade {what}: expected each name once, found {list(names)}")
        both = [name for name in chosen if name in self.fixed]
        if both:
            raise InputError(f"Cascade: {both[0]!r} is both fixed and a column of theta; take it out of one")
        if record is not None and not record:
            raise InputError(f"Cascade record: expected one or more of {', '.join(channels)}, found none")
        self.parameters: tuple[str, ...] = tuple(chosen)
        self.units: tuple[str, ...] = tuple(self.description.units[name] for name in self.parameters)
        self.record: tuple[str, ...] = tuple(channels) if record is None else tuple(record)
        self.channels: dict[str, str] = {name: "1" for name in self.record}
        self.inputs = self.description.inputs
        self._positive = positive_parameters(self.description)
        self._tables: dict[float, Program] = {}
        self.complete(np.array([[known[name] for name in self.parameters]]))

    @property
    def reference(self) -> FloatArray:
        """The graph's own values of the columns of theta :math:`(1, P)`."""
        return np.array([[self.description.values[name] for name in self.parameters]])

    def complete(self, theta: ArrayLike) -> dict[str, FloatArray]:
        """All parameters by name, :math:`(n,)`, or (1,) where they are fixed.

        Raises:
            InputError: if theta is not :math:`(n, P)`, or holds an impossible value.
        """
        try:
            values = np.asarray(theta, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise InputError(f"theta: expected numbers, one row per neuron: {problem}") from None
        if values.ndim != 2 or values.shape[1] != len(self.parameters):
            raise InputError(
                f"theta: expected shape (n, {len(self.parameters)}) with columns {', '.join(self.parameters)}, "
                f"found shape {values.shape}"
            )
        found = {name: np.array([self.fixed.get(name, value)]) for name, value in self.description.values.items()}
        found |= {name: values[:, i] for i, name in enumerate(self.parameters)}
        for name, column in found.items():
            bad, expected = ~np.isfinite(column), "finite"
            if not bad.any() and name in self._positive:
                bad, expected = column <= 0, "positive"
            if bad.any():
                row = int(np.argmax(bad))
                where = f"theta row {row}" if name in self.parameters else "Cascade fixed"
                raise InputError(
                    f"{where}: {name} ({self.description.units[name]}) must be {expected}, found {column[row]}"
                )
        return found

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """See :class:`~neuroinf.simulators.protocol.HasLimits`."""
        for name in self.parameters:
            if name in self._positive and not low[name] > 0:
                raise InputError(
                    f"prior range of {name}: a time constant or width must be positive, found low {low[name]:g}"
                )
        if inputs != len(self.inputs):
            raise InputError(
                f"stimulus: expected {len(self.inputs)} rows, for {', '.join(self.inputs)}, found {inputs}; neuroinf.stimuli.Stack "
                f"puts them together"
            )

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n neurons; the rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: Parameters :math:`(n, P)`.
            stimulus: :math:`(n, I, T)`, or :math:`(1, I, T)` for all rows: a row for each of the graph's inputs.
            dt: Step, ms.
            seed: Without effect: the model is deterministic.

        Returns:
            The recorded channels :math:`(n, T)`, in the stimulus' precision (the state is always float64), and
            ``"spikes"`` if the graph has them, as n arrays of times in ms.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        values = self.complete(theta)
        n = np.shape(theta)[0]
        x = self._samples(stimulus, n)
        if not (isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0):
            raise InputError(f"dt: expected a positive number of ms, found {dt!r}")
        tables = self.tables(float(dt))
        found = coefficients(self.description, values, float(dt), np.exp, np.float64)
        table = np.stack([np.broadcast_to(found[name], n) for name in tables.names])
        starts, masks, places = tables.rings()
        response = np.empty((len(self.record), n, x.shape[2]), x.dtype)
        rows = tables.block_rows(n, x.itemsize)
        number = -(-n // rows)

        def blocks(first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            return cascade_blocks(
                first,
                last,
                rows,
                tables.subunits,
                tables.edges,
                tables.record,
                tables.spikes[0],
                starts,
                masks,
                places,
                table,
                x.transpose(2, 1, 0),
                np.zeros((0, 0, 0)),
                response.transpose(0, 2, 1),
            )

        pieces = in_threads(blocks, number, n * x.shape[2] // ROW_STEPS_PER_THREAD)
        result: Response = dict(zip(self.record, response, strict=True))
        if self.description.spikes is not None:
            result["spikes"] = _trains(pieces, n, tables.spikes[1], x.shape[2], float(dt))
        return result

    def tables(self, dt: float) -> Program:
        """What the compiled loops run through at a step of dt ms; made once for each."""
        if dt not in self._tables:
            self._tables[dt] = program(self.description, self.record, dt)
        return self._tables[dt]

    def _samples(self, stimulus: ArrayLike, n: int) -> NDArray[Any]:
        """The stimulus as float32 or float64; a repeated single row is not copied n times."""
        meaning = f"the inputs {', '.join(self.inputs)}"
        values = stimulus_samples(stimulus, n, len(self.inputs), meaning)
        if not np.isfinite(values).all():
            row, line, t = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"stimulus row {row}: {self.inputs[line]} must be finite, found {values[row, line, t]} at step {t}"
            )
        return np.require(values, requirements=("C", "W"))  # writable, as numba compiles anew for what is not


def positive_parameters(graph: Graph) -> set[str]:
    """The parameters that must be positive: time constants and widths."""
    found = set[str]()
    for subunit in graph.subunits.values():
        for part in (subunit.filter, subunit.linear_filter, subunit.nonlinearity):
            found |= {str(getattr(part, name)) for name in POSITIVE if isinstance(getattr(part, name, None), str)}
    return found


def _trains(
    pieces: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], n: int, lag: int, steps: int, dt: float
) -> list[FloatArray]:
    """Onsets as n arrays of times."""
    rows = np.concatenate([piece[0] for piece in pieces]) if pieces else np.zeros(0, np.int64)
    times = np.concatenate([piece[1] for piece in pieces]) + lag if pieces else rows
    rows, times = rows[times < steps], times[times < steps]
    order = np.argsort(rows, kind="stable")
    times = times[order].astype(np.float64) * dt
    return np.split(times, np.cumsum(np.bincount(rows, minlength=n))[:-1]) if n else []

"""One of several models for each row: simulations of which it is the question what made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.protocol import HasLimits, Response, Simulator

CLASS = "class"


class Choice:
    """Candidates with the same inputs and channels; the last column of theta says which one a row is of.

    Columns of theta are the union of the candidates' parameters, each once, then ``class``: the row is of candidate
    number floor(class), so that a prior from 0 to K makes K candidates equally likely. A row ignores the columns that
    its candidate does not have.

    Args:
        candidates: Name -> simulator.
        own: Parameters that candidates of the same parameter do not share: they are columns ``candidate.parameter``.

    Attributes:
        names: Of the candidates, in order.

    Raises:
        InputError: if there are fewer than two, or they differ in inputs, channels or the unit of a shared parameter.
    """

    def __init__(self, candidates: Mapping[str, Simulator], own: Sequence[str] = ()) -> None:
        if len(candidates) < 2:
            raise InputError(f"Choice: expected two or more candidates, found {list(candidates)}")
        self.candidates, self.own = dict(candidates), list(own)
        self.names = tuple(self.candidates)
        first, *others = self.candidates.values()
        for name in ("inputs", "channels", "stimulus_unit"):
            for other, label in zip(others, self.names[1:], strict=True):
                ours, theirs = getattr(first, name, None), getattr(other, name, None)
                if ours != theirs:
                    raise InputError(
                        f"Choice: {name} must be the same, found {ours} ({self.names[0]}) and {theirs} ({label})"
                    )
        self.stimulus_unit, self.channels = first.stimulus_unit, dict(first.channels)
        units: dict[str, str] = {}
        for label in self.names:
            for column, unit in zip(self.columns(label), self.candidates[label].units, strict=True):
                if units.setdefault(column, unit) != unit:
                    raise InputError(
                        f"Choice: {column} of {label} is in {unit}, that of another candidate in {units[column]}"
                    )
        unknown = [name for name in self.own if not any(name in c.parameters for c in self.candidates.values())]
        if unknown or CLASS in units:
            raise InputError(
                f"Choice: expected parameters of the candidates, none called {CLASS}; found {unknown or CLASS}"
            )
        self.parameters: tuple[str, ...] = (*units, CLASS)
        self.units: tuple[str, ...] = (*units.values(), "1")

    def columns(self, label: str) -> list[str]:
        """The columns of theta that a candidate's parameters are in, in its own order."""
        names = self.candidates[label].parameters
        return [f"{label}.{name}" if name in self.own else name for name in names]

    def part(self, label: str, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """A candidate's own theta from columns of all."""
        return theta[:, [self.parameters.index(column) for column in self.columns(label)]]

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """See :class:`~neuroinf.simulators.protocol.HasLimits`."""
        for label, candidate in self.candidates.items():
            if isinstance(candidate, HasLimits):
                own = dict(zip(candidate.parameters, (low[column] for column in self.columns(label)), strict=True))
                candidate.check_limits(own, inputs)

    def simulate(self, theta: Any, stimulus: Any, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate each row with its candidate; see :class:`~neuroinf.simulators.protocol.Simulator`.

        Raises:
            InputError: if a class is none of the candidates.
        """
        values, x = np.asarray(theta, np.float64), np.asarray(stimulus)
        if values.ndim != 2 or values.shape[1] != len(self.parameters):
            raise InputError(f"theta: expected shape (n, {len(self.parameters)}), found {values.shape}")
        made = np.floor(values[:, -1])
        bad = ~((made >= 0) & (made < len(self.names)))
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"theta row {row}: class must lie in [0, {len(self.names)}) for {', '.join(self.names)}, found {values[row, -1]}"
            )
        seeds = np.broadcast_to(np.asarray(seed), len(values))
        channels: dict[str, NDArray[Any]] = {}
        spikes: list[Any] = [None] * len(values)
        for number, (label, model) in enumerate(self.candidates.items()):
            rows = np.flatnonzero(made == number)
            if not len(rows):
                continue
            part = model.simulate(
                self.part(label, values[rows]), x if len(x) == 1 else x[rows], dt, [int(each) for each in seeds[rows]]
            )
            for name in self.channels:
                channels.setdefault(name, np.empty((len(values), x.shape[-1]), part[name].dtype))[rows] = part[name]
            for row, train in zip(rows, part.get("spikes", []), strict=False):
                spikes[row] = train
        result: Response = {name: channels[name] for name in self.channels if name in channels}
        if all(train is not None for train in spikes):
            result["spikes"] = spikes
        return result

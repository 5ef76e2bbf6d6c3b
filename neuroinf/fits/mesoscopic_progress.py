"""A run of the mesoscopic fit under way: kept in a file after each round, from which it goes on as if it had not been stopped."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.fits.mesoscopic_steps import ActivityState

FloatArray = NDArray[np.float64]
TraceRow = tuple[float, ...]
ARRAYS = ("z", "saved", "mean", "square", "lowest")


class _Scalars(NamedTuple):
    round: int
    ended: bool
    loss: float
    evaluations: int
    seconds: float
    updates: int


@dataclass
class Progress:
    """Where a run stands; `best`, `loss` and `terms` are those of the last round that saved an activity.

    The terms are those at `best` and the saved activity.
    """

    values: FloatArray
    best: FloatArray
    activity: ActivityState
    terms: FloatArray = field(default_factory=lambda: np.full(2, np.inf))
    trace: list[TraceRow] = field(default_factory=list)
    round: int = 0
    ended: bool = False
    loss: float = np.inf
    evaluations: int = 0
    seconds: float = 0.0

    @classmethod
    def new(cls, values: FloatArray, z: FloatArray) -> Progress:
        """Before the first round."""
        return cls(values.copy(), values.copy(), ActivityState.at(z))

    @classmethod
    def resumed(cls, path: Path | None, mark: str) -> Progress | None:
        """From a file, or None where there is none.

        Raises:
            InputError: if the file is not of this run, or not such a file.
        """
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as found:
                kept = {name: found[name] for name in found.files}
            scalars = _Scalars(*kept["scalars"].tolist())
            own = str(kept["mark"]) == mark
            activity = ActivityState(
                *(kept[name] for name in ARRAYS[:4]), updates=int(scalars.updates), lowest=kept["lowest"]
            )
            trace = [tuple(row) for row in kept["trace"].tolist()]
        except (OSError, ValueError, KeyError, TypeError, EOFError) as problem:
            raise InputError(f"{path}: expected a run of the mesoscopic fit, found {problem}") from None
        if not own:
            raise InputError(
                f"{path}: expected a run with this recording, start and settings; remove it or name another"
            )
        return cls(
            kept["values"],
            kept["best"],
            activity,
            kept["terms"],
            trace,
            int(scalars.round),
            bool(scalars.ended),
            scalars.loss,
            int(scalars.evaluations),
            scalars.seconds,
        )

    def save(self, path: Path, mark: str) -> None:
        """Write aside, then rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scalars = _Scalars(self.round, self.ended, self.loss, self.evaluations, self.seconds, self.activity.updates)
        aside = path.with_name(path.name + ".part")
        with aside.open("wb") as file:
            np.savez_compressed(
                file,
                mark=np.array(mark),
                scalars=np.array(scalars, np.float64),
                values=self.values,
                best=self.best,
                terms=self.terms,
                trace=np.array(self.trace, np.float64),
                z=self.activity.z,
                saved=self.activity.saved,
                mean=self.activity.mean,
                square=self.activity.square,
                lowest=self.activity.lowest,
            )
        os.replace(aside, path)


def fingerprint(
    likelihood: MesoscopicLikelihood, start: FloatArray, limits: FloatArray, z: FloatArray, rule: str
) -> str:
    """Of all that a run depends on."""
    settings = (
        likelihood.scheme,
        likelihood.published,
        likelihood.dt,
        likelihood.ages,
        rule,
        likelihood.population.tolist(),
    )
    circuit = likelihood.circuit
    wiring = (circuit.sizes, circuit.connections, circuit.synapse, circuit.refractory, circuit.parameters)
    own = (circuit.a, circuit.J, circuit.mu, circuit.theta)
    found = hashlib.sha256(repr((settings, wiring, own)).encode())
    for array in (likelihood.fired, likelihood.external, likelihood.rates, start, limits, z):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()

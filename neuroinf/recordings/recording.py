"""One sweep: what was injected and what was measured, on one clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]


def _vector(values: object, what: str, where: str) -> FloatArray | None:
    if values is None:
        return None
    try:
        array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {what}: expected real numbers, found {error}") from None
    if array.ndim != 1:
        raise InputError(f"{where}: {what}: expected one axis (time), found shape {array.shape}; give one sweep")
    return array


@dataclass(frozen=True)
class Recording:
    """One sweep of one neuron.

    Sample i of `voltage` and of `stimulus` belongs to time i * dt, the beginning of the recording being 0.

    Attributes:
        dt: Sampling step, ms.
        voltage: Membrane voltage (T,), mV; nan where it is not observed (a cut spike); None if not recorded.
        stimulus: Injected current (T,), pA; None if not known.
        spikes: Sorted spike times, ms; None if they have not been looked for.
        name: What the sweep is called in messages and figures.
        attributes: What else the file said, as text: `cell`, `sweep`, `description`, `role` ("electrode" for a sweep
            meant for electrode compensation), `warning` (what was doubtful and how it was settled), ...

    Raises:
        InputError: if nothing was recorded, if voltage and stimulus differ in length, or if dt is not a positive
        number.
    """

    dt: float
    voltage: FloatArray | None = None
    stimulus: FloatArray | None = None
    spikes: FloatArray | None = None
    name: str = "recording"
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("voltage", "stimulus", "spikes"):
            object.__setattr__(self, what, _vector(getattr(self, what), what, self.name))
        try:
            object.__setattr__(self, "dt", float(self.dt))
        except (TypeError, ValueError):
            raise InputError(f"{self.name}: dt: expected a number in ms, found {self.dt!r}") from None
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"{self.name}: dt: expected a positive sampling step in ms, found {self.dt:g}")
        if self.voltage is None and self.stimulus is None and self.spikes is None:
            raise InputError(f"{self.name}: expected a voltage, a stimulus or spike times, found none of them")
        if self.voltage is not None and self.stimulus is not None and len(self.voltage) != len(self.stimulus):
            raise InputError(
                f"{self.name}: expected current and voltage of one length, found {len(self.voltage)} samples of "
                f"voltage "
                f"and {len(self.stimulus)} of current; cut both to the same span"
            )
        for what, values in (("voltage", self.voltage), ("stimulus", self.stimulus)):
            if values is not None and len(values) == 0:
                raise InputError(f"{self.name}: {what}: expected samples, found an empty array")
        if self.spikes is not None and ((np.diff(self.spikes) < 0).any() or not np.isfinite(self.spikes).all()):
            raise InputError(
                f"{self.name}: spikes: expected sorted finite times in ms, found unsorted or non-finite ones"
            )

    @property
    def samples(self) -> int:
        """Number of samples T (0 if only spike times are known)."""
        trace = self.voltage if self.voltage is not None else self.stimulus
        return 0 if trace is None else len(trace)

    @property
    def duration(self) -> float:
        """T * dt, ms (the last spike's time if only spike times are known)."""
        if self.samples:
            return self.samples * self.dt
        return float(self.spikes[-1]) if self.spikes is not None and len(self.spikes) else 0.0

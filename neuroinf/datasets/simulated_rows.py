"""Rows of a file as they come from the simulator, and as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.layout import UNIT


@dataclass
class SimulatedRows:
    """Simulated rows: parameters (n, P), waveform index (n,), scale (n,) or None, neuron (n,) or None where each row
    is a neuron, and the response in parts of rows.
    """

    theta: NDArray[np.float64]
    index: NDArray[np.int32]
    scale: NDArray[np.float64] | None
    neuron: NDArray[np.int32] | None = None
    arrays: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    spikes: list[NDArray[np.float32]] = field(default_factory=list)
    units: list[NDArray[np.int16]] = field(default_factory=list)
    status: list[NDArray[np.uint8]] = field(default_factory=list)

    def datasets(self) -> dict[str, NDArray[Any]]:
        """As they are stored, by path."""
        found: dict[str, NDArray[Any]] = {"parameters": self.theta, "stimulus/index": self.index}
        if self.scale is not None:
            found["stimulus/scale"] = self.scale
        if self.neuron is not None:
            found["neuron"] = self.neuron
        found |= {name: np.concatenate(parts) for name, parts in self.arrays.items()}
        if self.spikes:
            found["response/spikes/offsets"] = np.cumsum([0, *map(len, self.spikes)], dtype=np.int64)
            found["response/spikes/times"] = np.concatenate(self.spikes)
        if self.units:
            found[UNIT] = np.concatenate(self.units)
        return found | {"status": np.concatenate(self.status)}


def present(waveform: NDArray[np.float32], scale: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """What rows saw: waveforms (n, K, T), times each row's scale (n,) in float64, rounded to float32 once."""
    return waveform if scale is None else (scale[:, None, None] * waveform).astype(np.float32)

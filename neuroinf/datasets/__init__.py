"""Responses to HDF5 to batches: the file's contract, its generation, and what a network sees of it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.splits import HeldOutRegion, HeldOutWaveforms, Partition, RandomRows, Split

if TYPE_CHECKING:
    from neuroinf.datasets.datamodule import SimulationDataModule
    from neuroinf.datasets.observation import Observation

# imported when asked for: a simulating process has no use for Lightning, which takes seconds and 300 MB
_LATER = {
    "Observation": "neuroinf.datasets.observation",
    "SimulationDataModule": "neuroinf.datasets.datamodule",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "HeldOutRegion",
    "HeldOutWaveforms",
    "Observation",
    "Partition",
    "RandomRows",
    "Simulation",
    "SimulationDataModule",
    "Split",
    "generate",
]

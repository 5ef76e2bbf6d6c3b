"""Responses to HDF5 to batches: the file's contract, its generation, and what a network sees of it."""

from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.splits import HeldOutRegion, HeldOutWaveforms, Partition, RandomRows, Split

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

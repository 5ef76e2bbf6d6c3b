"""What was measured: sweeps of voltage and current from NWB, ABF and array files, in the project's units.

The way through this room: `read` gives one `Recording` per sweep, `compensate` takes the electrode's artefact away,
`detect_spikes` finds spikes, `observe` cuts and resamples to what a simulator would have stored.
"""

from neuroinf.recordings.abf import read_abf
from neuroinf.recordings.arrays import from_arrays, read_arrays
from neuroinf.recordings.binned import BinnedRecording, binned, read_binned
from neuroinf.recordings.electrode import Electrode, compensate, estimate_electrode, series_resistance
from neuroinf.recordings.groups import cells, electrode_sweep, repeats
from neuroinf.recordings.nwb import read_nwb
from neuroinf.recordings.plausibility import check, concerns
from neuroinf.recordings.reading import read
from neuroinf.recordings.recording import Recording
from neuroinf.recordings.resampling import observe, resample
from neuroinf.recordings.spikes import cut_mask, cut_spikes, detect_spikes

__all__ = [
    "BinnedRecording",
    "Electrode",
    "Recording",
    "binned",
    "cells",
    "check",
    "compensate",
    "concerns",
    "cut_mask",
    "cut_spikes",
    "detect_spikes",
    "electrode_sweep",
    "estimate_electrode",
    "from_arrays",
    "observe",
    "read",
    "read_abf",
    "read_arrays",
    "read_binned",
    "read_nwb",
    "repeats",
    "resample",
    "series_resistance",
]

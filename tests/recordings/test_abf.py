"""ABF files written by pyabf: units, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from pyabf.abfWriter import writeABF1

from neuroinf.errors import InputError
from neuroinf.recordings import read
from neuroinf.recordings.abf import _calibrate

TRACES = -70 + 30 * np.random.default_rng(0).random((2, 1000))


def test_a_current_trace_alone_is_refused(tmp_path: Path) -> None:
    writeABF1(TRACES, str(tmp_path / "a.abf"), 10_000, units="pA")
    with pytest.raises(InputError, match="expected a channel in V, mV, uV, found pA"):
        read(tmp_path / "a.abf")


def test_a_voltage_without_any_current_is_refused(tmp_path: Path) -> None:
    writeABF1(TRACES, str(tmp_path / "a.abf"), 10_000, units="mV")
    with pytest.raises(InputError, match="expected a current"):
        read(tmp_path / "a.abf")


def test_a_command_is_calibrated_in_spite_of_spike_artefacts() -> None:
    rng = np.random.default_rng(1)
    commands = [np.where((np.arange(5000) > 1000) & (np.arange(5000) < 4000), 2.5 * step, 0.0) for step in range(6)]
    recorded = [10 * command - 65 + rng.normal(0, 13, 5000) for command in commands]
    for trace in recorded:
        trace[2000:2200] += 600  # spikes leaking into the amplifier's current
    slope, offset = _calibrate(recorded, commands)
    # The median of 3000 samples of sd 13 has a standard error of 0.3 pA, the artefact shifts it by 0.08 sd.
    assert slope == pytest.approx(10, abs=0.2)
    assert offset == pytest.approx(-65, abs=2.0)

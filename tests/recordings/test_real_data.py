"""Real recordings: what each file holds, spike counts against published ones, electrodes against each other."""

import csv
from pathlib import Path

import numpy as np
import pytest

from neuroinf.recordings import (
    cells,
    compensate,
    concerns,
    detect_spikes,
    electrode_sweep,
    estimate_electrode,
    observe,
    read,
    repeats,
    series_resistance,
)

pytestmark = pytest.mark.real_data

# file: sweeps, dt (ms), sizes of the groups of repeats
FILES = {
    "allen_long_square.nwb": (6, 0.02, [1] * 6),
    "drn156_5ht.nwb": (12, 0.1, [1, 10, 1]),
    "drn157_5ht.nwb": (12, 0.1, [1, 10, 1]),
    "drn159_5ht.nwb": (12, 0.1, [1, 10, 1]),
    "ferguson2015_pyr2.abf": (13, 0.1, [1] * 13),
    "lantyer2018_180817_me_9_cc.nwb": (10, 0.05, [1] * 10),
    "pozzorini_cell3.nwb": (10, 0.1, [9, 1]),
    "qsnmc2007_a.nwb": (20, 1.0, [4] * 5),
}


@pytest.mark.parametrize("name", FILES)
def test_what_each_file_holds(real_data_dir: Path, name: str) -> None:
    sweeps = read(real_data_dir / name)
    count, dt, groups = FILES[name]
    assert len(sweeps) == count
    assert {sweep.dt for sweep in sweeps} == {dt}
    assert [len(group) for group in repeats(sweeps)] == groups
    for sweep in sweeps:
        assert sweep.voltage is not None and sweep.stimulus is not None
        assert -90 < np.median(sweep.voltage) < -15
    remarks = [remark for sweep in sweeps for remark in concerns(sweep)]
    assert len(remarks) == (10 if name == "pozzorini_cell3.nwb" else 0)


def test_spike_counts_equal_the_published_ones(real_data_dir: Path) -> None:
    with open(real_data_dir / "data_vs_published_glif_spike_counts.csv") as file:
        published = {row["specimen_id"]: int(row["data_spikes"]) for row in csv.DictReader(file)}
    groups = cells(read(real_data_dir / "allen_long_square.nwb"))
    assert len(groups) == 6
    for cell, (sweep,) in groups.items():
        assert sweep.voltage is not None
        assert len(detect_spikes(sweep.voltage, sweep.dt)) == published[cell]


@pytest.mark.parametrize("name", ["pozzorini_cell3.nwb", "qsnmc2007_a.nwb"])
def test_the_rule_finds_the_spikes_that_cross_zero(real_data_dir: Path, name: str) -> None:
    """In these two every spike overshoots, so that a crossing of 0 mV, the field's crudest rule, is the truth."""
    for sweep in read(real_data_dir / name):
        assert sweep.voltage is not None
        crossings = np.flatnonzero((sweep.voltage[1:] >= 0) & (sweep.voltage[:-1] < 0)) * sweep.dt
        onsets = detect_spikes(sweep.voltage, sweep.dt)
        assert len(onsets) == len(crossings)
        assert (np.abs(crossings - onsets) <= 2.0).all()


@pytest.mark.parametrize("name", ["drn156_5ht.nwb", "drn157_5ht.nwb", "drn159_5ht.nwb"])
def test_compensation_makes_the_threshold_steadier(real_data_dir: Path, name: str) -> None:
    """Their bridge was not balanced: the electrode adds the current's noise to the voltage at which spikes start."""
    sweeps = read(real_data_dir / name)
    sweep = electrode_sweep(sweeps)
    assert sweep is not None
    electrode = estimate_electrode(sweep)
    # Two estimates that share nothing: the jumps of the spiking training sweep, and the noise sweep's first sample.
    value, uncertainty = series_resistance(sweeps[0])
    assert electrode.kernel[0] == pytest.approx(value, abs=uncertainty + 0.004)
    for before, after in zip(sweeps[:3], compensate(sweeps[:3], electrode), strict=True):
        assert before.voltage is not None and after.voltage is not None
        at = (detect_spikes(before.voltage, before.dt) / before.dt).astype(int) - 2
        assert after.voltage[at].std() < 0.95 * before.voltage[at].std()


def test_pozzorini_electrode(real_data_dir: Path) -> None:
    sweep = electrode_sweep(read(real_data_dir / "pozzorini_cell3.nwb"))
    assert sweep is not None
    electrode = estimate_electrode(sweep)
    assert electrode.explained > 0.98
    # An L5 pyramidal neuron, and thereby evidence that the file's units were mended rightly: R, tau and C = tau / R.
    assert 0.05 < electrode.membrane_resistance < 0.3
    assert 10 < electrode.membrane_time_constant < 40


def test_command_of_the_abf_file_is_free_of_spike_artefacts(real_data_dir: Path) -> None:
    path = real_data_dir / "ferguson2015_pyr2.abf"
    recorded, command = read(path)[-1], read(path, stimulus="command")[-1]
    assert recorded.stimulus is not None and command.stimulus is not None
    assert np.ptp(recorded.stimulus) > 1000  # spikes leak into the amplifier's current monitor
    assert len(np.unique(command.stimulus)) == 2
    middle = slice(6000, 10_000)
    assert np.mean(command.stimulus[middle]) == pytest.approx(np.mean(recorded.stimulus[middle]), abs=5)
    assert np.ptp(command.stimulus) == pytest.approx(13 * 25, rel=0.03)  # protocol: 25 pA a step


@pytest.mark.parametrize("name", FILES)
def test_everything_can_be_observed_at_one_millisecond(real_data_dir: Path, name: str) -> None:
    for sweep in read(real_data_dir / name)[-2:]:
        seen = observe(sweep, 1.0, 3.8, 0.1)
        assert seen.voltage is not None and seen.stimulus is not None and seen.spikes is not None
        assert np.isfinite(seen.stimulus).all()
        assert np.isnan(seen.voltage).mean() < 0.4
        # The serotonin neurons' spikes last longer than this cut, and so does the recording say.
        if not name.startswith("drn"):
            assert np.nanmax(seen.voltage) < 0


def test_broad_spikes_are_remarked_upon(real_data_dir: Path) -> None:
    observed = observe(read(real_data_dir / "drn156_5ht.nwb")[0], 1.0, 3.8, 0.1)
    assert "outlast" in concerns(observed)[0]

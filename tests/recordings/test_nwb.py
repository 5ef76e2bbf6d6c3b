"""NWB files written by pynwb come back in mV and pA, each response with its own stimulus."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries, VoltageClampSeries

from neuroinf.errors import InputError
from neuroinf.recordings import cells, electrode_sweep, read, repeats

RNG = np.random.default_rng(3)
VOLTAGE = -70 + 30 * RNG.random((3, 500))  # mV
CURRENT = 200 * RNG.random((3, 500))  # pA

Build = Callable[[NWBFile, object], None]


def write(path: Path, build: Build) -> Path:
    nwb = NWBFile("session", "cell7", datetime(2020, 1, 1, tzinfo=timezone.utc))
    device = nwb.create_device(name="amplifier")
    build(nwb, nwb.create_icephys_electrode(name="electrode", description="patch", device=device))
    with NWBHDF5IO(path=str(path), mode="w") as io:
        io.write(nwb)
    return path


def response(electrode: object, i: int, **changes: object) -> CurrentClampSeries:
    given = {"name": f"response_{i}", "data": VOLTAGE[i] * 1e-3, "rate": 10_000.0, "sweep_number": i, **changes}
    return CurrentClampSeries(electrode=electrode, gain=3.0, **given)  # pyright: ignore


def stimulus(electrode: object, i: int, **changes: object) -> CurrentClampStimulusSeries:
    given = {"name": f"stimulus_{i}", "data": CURRENT[i] * 1e-12, "rate": 10_000.0, "sweep_number": i, **changes}
    return CurrentClampStimulusSeries(electrode=electrode, gain=3.0, **given)  # pyright: ignore


def assert_paired(path: Path) -> None:
    sweeps = read(path)
    assert len(sweeps) == 3
    for sweep in sweeps:
        i = int(sweep.name[-1])
        assert sweep.dt == 0.1
        np.testing.assert_allclose(sweep.voltage, VOLTAGE[i], atol=2e-3)
        np.testing.assert_allclose(sweep.stimulus, CURRENT[i], atol=4e-3)


def test_paired_by_sweep_number_with_integer_samples(tmp_path: Path) -> None:
    def build(nwb: NWBFile, electrode: object) -> None:
        for i in range(3):
            v = {"data": np.round(VOLTAGE[i] / 3e-3).astype(np.int16), "conversion": 3e-6}
            # Names that would pair wrongly: the sweep number has to win.
            c = {"data": np.round((CURRENT[i] - 50) / 7e-3).astype(np.int16), "conversion": 7e-15, "offset": 50e-12}
            nwb.add_acquisition(response(electrode, i, **v))
            nwb.add_stimulus(stimulus(electrode, i, name=f"stimulus_{(i + 1) % 3}", **c))

    assert_paired(write(tmp_path / "a.nwb", build))


def test_paired_by_the_recordings_table_against_the_sweep_numbers(tmp_path: Path) -> None:
    def build(nwb: NWBFile, electrode: object) -> None:
        for i in range(3):
            v, c = response(electrode, i), stimulus(electrode, i, sweep_number=(i + 1) % 3)
            nwb.add_acquisition(v)
            nwb.add_stimulus(c)
            nwb.add_intracellular_recording(electrode=electrode, stimulus=c, response=v)

    assert_paired(write(tmp_path / "a.nwb", build))


def test_paired_by_name_and_by_timestamps(tmp_path: Path) -> None:
    def build(nwb: NWBFile, electrode: object) -> None:
        for i in reversed(range(3)):
            clock = {"rate": None, "timestamps": 5.0 + np.arange(500) * 1e-4, "sweep_number": None}
            nwb.add_acquisition(response(electrode, i, **clock))
            nwb.add_stimulus(stimulus(electrode, i, **clock))

    assert_paired(write(tmp_path / "a.nwb", build))


def test_a_response_without_stimulus_and_a_voltage_clamp_sweep(tmp_path: Path) -> None:
    def build(nwb: NWBFile, electrode: object) -> None:
        nwb.add_acquisition(response(electrode, 0))
        clamp = VoltageClampSeries(name="vc", data=CURRENT[0] * 1e-12, electrode=electrode, gain=1.0, rate=1e4)  # pyright: ignore
        nwb.add_acquisition(clamp)

    (sweep,) = read(write(tmp_path / "a.nwb", build))
    assert sweep.stimulus is None
    assert sweep.attributes["stimulus_source"] == "none in the file"


def test_attributes_name_cells_and_the_electrode_sweep(tmp_path: Path) -> None:
    labels = ["cell 509881736_39", "cell 518290966_57", "aec"]

    def build(nwb: NWBFile, electrode: object) -> None:
        for i, label in enumerate(labels):
            nwb.add_acquisition(response(electrode, i, description=label))
            nwb.add_stimulus(stimulus(electrode, i, data=CURRENT[0] * 1e-12))

    sweeps = read(write(tmp_path / "a.nwb", build))
    assert list(cells(sweeps)) == ["509881736", "518290966", "cell7"]
    assert electrode_sweep(sweeps) is sweeps[2]
    assert [len(group) for group in repeats(sweeps)] == [1, 1, 1]  # one waveform, but three cells


def _doubled(i: int) -> tuple[dict, dict]:
    return (
        {"data": np.round(VOLTAGE[i] / 3e-3).astype(np.int16), "conversion": 3e-9},
        {"data": np.round(CURRENT[i] / 7e-3).astype(np.int16), "conversion": 7e-27},
    )


def test_prefixes_applied_twice_are_mended_with_a_warning(tmp_path: Path) -> None:
    def build(nwb: NWBFile, electrode: object) -> None:
        for i in range(3):
            v, c = _doubled(i)
            nwb.add_acquisition(response(electrode, i, **v))
            nwb.add_stimulus(stimulus(electrode, i, **c))

    path = write(tmp_path / "a.nwb", build)
    assert_paired(path)
    assert all("conversion factors" in sweep.attributes["warning"] for sweep in read(path))
    # A scale given by the user is taken at its word, and the result checked.
    with pytest.raises(InputError, match=r"a\.nwb response_0: stimulus"):
        read(path, voltage_scale=1e3)


def _one_sided(nwb: NWBFile, electrode: object) -> None:
    for i in range(3):
        nwb.add_acquisition(response(electrode, i))
        nwb.add_stimulus(stimulus(electrode, i, **_doubled(i)[1]))


def _floats(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0, data=VOLTAGE[0] * 1e-6))
    nwb.add_stimulus(stimulus(electrode, 0, data=CURRENT[0] * 1e-24))


def _empty(nwb: NWBFile, electrode: object) -> None:
    pass


def _no_samples(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0, data=np.zeros(0)))


def _rates(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0))
    nwb.add_stimulus(stimulus(electrode, 0, rate=20_000.0))


def _lengths(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0))
    nwb.add_stimulus(stimulus(electrode, 0, data=CURRENT[0][:-7] * 1e-12))


def _picoamperes(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0))
    nwb.add_stimulus(stimulus(electrode, 0, data=CURRENT[0]))


def _millivolts(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0, data=VOLTAGE[0]))


def _nan(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0, data=np.where(np.arange(500) == 3, np.nan, VOLTAGE[0] * 1e-3)))


def _uneven(nwb: NWBFile, electrode: object) -> None:
    nwb.add_acquisition(response(electrode, 0, rate=None, timestamps=np.cumsum(RNG.random(500))))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (_empty, "CurrentClampSeries.*empty file"),
        (_no_samples, "empty array"),
        (_rates, "10000 Hz.*20000 Hz"),
        (_lengths, "500.*493"),
        (_picoamperes, "2e[+]14 pA.*200 pA|1.99.*e[+]14 pA.*199"),
        (_millivolts, "microvolts|mV"),
        (_nan, "sample 3"),
        (_uneven, "evenly spaced"),
        (_one_sided, "stimulus: expected a largest current"),
        (_floats, "voltage: expected within"),
    ],
)
def test_refused(tmp_path: Path, build: Build, expected: str) -> None:
    path = write(tmp_path / "a.nwb", build)
    with pytest.raises(InputError, match=expected) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert "a.nwb" in str(error.value)


def test_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", lambda nwb, electrode: nwb.add_acquisition(response(electrode, 0)))
    whole = path.read_bytes()
    for kept in (0.95, 0.5, 0.1):
        path.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(InputError, match=r"a\.nwb"):
            read(path)

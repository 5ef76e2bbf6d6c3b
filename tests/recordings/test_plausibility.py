"""Wrong units, gaps and shapes never get past the door, and the message says both values."""

from dataclasses import replace

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings import Recording, check, concerns, from_arrays

VOLTAGE = -70 + 30 * np.sin(np.linspace(0, 9, 400)) ** 2
STIMULUS = 310 * np.sin(np.linspace(0, 9, 400))


def test_plausible_recording_is_returned_unchanged() -> None:
    recording = from_arrays(dt=0.1, voltage=VOLTAGE, stimulus=STIMULUS)
    assert check(recording) is recording
    assert concerns(recording) == []
    np.testing.assert_array_equal(recording.voltage, VOLTAGE)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stimulus": STIMULUS * 1e-12}, ["1e-10 pA", "310 pA", "amperes", "0.001 to 20000"]),
        ({"stimulus": STIMULUS * 1e-9}, ["milliamperes", "1e+09"]),
        ({"stimulus": STIMULUS * 1e12}, ["3.1e+14 pA", "310 pA", "1e-12"]),
        ({"voltage": VOLTAGE * 1e-3}, ["-0.07 to -0.04 mV", "-70 to -40 mV", "volts", "1000"]),
        ({"voltage": VOLTAGE * 1e3}, ["-7e+04 to -4e+04 mV", "-70 to -40 mV", "microvolts", "0.001"]),
        ({"dt": 1e-4}, ["0.0001 ms", "0.1 ms", "seconds"]),
        ({"dt": 10_000.0}, ["10000 ms"]),
        ({"voltage": np.where(np.arange(400) == 7, np.nan, VOLTAGE)}, ["voltage", "1 nan", "sample 7", "0.7 ms"]),
        ({"voltage": np.where(np.arange(400) == 7, np.inf, VOLTAGE)}, ["voltage", "sample 7"]),
        ({"stimulus": np.where(np.arange(400) == 7, np.nan, STIMULUS)}, ["stimulus", "1 nan", "sample 7"]),
        ({"voltage": np.full(400, np.nan)}, ["voltage", "400 nan"]),
        ({"stimulus": STIMULUS[:-1]}, ["400", "399", "one length"]),
        ({"voltage": VOLTAGE[None]}, ["(1, 400)"]),
        ({"voltage": ["a", "b"]}, ["voltage", "real numbers"]),
        ({"voltage": VOLTAGE[:0], "stimulus": None}, ["empty"]),
        ({"voltage": None, "stimulus": None}, ["found none of them"]),
        ({"dt": 0.0}, ["positive", "found 0"]),
        ({"dt": float("nan")}, ["positive", "nan"]),
        ({"dt": "fast"}, ["'fast'"]),
        ({"spikes": [5.0, 3.0]}, ["spikes", "sorted"]),
    ],
)
def test_refused_in_one_line_with_the_values(change: dict, expected: list[str]) -> None:
    with pytest.raises(InputError) as error:
        from_arrays(**{"dt": 0.1, "voltage": VOLTAGE, "stimulus": STIMULUS, "name": "my sweep", **change})
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("my sweep: ")
    for words in expected:
        assert words in message


@pytest.mark.parametrize("amplitude", [2.0, 50.0, 19_000.0])
@pytest.mark.parametrize("offset", [-100.0, -70.0, 0.0])
def test_the_whole_physiological_range_passes(amplitude: float, offset: float) -> None:
    from_arrays(dt=0.05, voltage=offset + 40 * np.sin(np.arange(50)), stimulus=amplitude * np.sin(np.arange(50)))


def test_zero_current_passes() -> None:
    from_arrays(dt=0.1, voltage=VOLTAGE, stimulus=np.zeros(400))


def test_nan_is_accepted_as_a_spike_cut_only_with_its_spike() -> None:
    cut = VOLTAGE.copy()
    cut[100:140] = np.nan
    assert from_arrays(dt=0.1, voltage=cut, stimulus=STIMULUS, spikes=[10.0]).samples == 400
    for spikes in ([], [20.0]):
        with pytest.raises(InputError, match="40 nan"):
            from_arrays(dt=0.1, voltage=cut, stimulus=STIMULUS, spikes=spikes)


def test_nanoamperes_are_remarked_upon() -> None:
    found = concerns(from_arrays(dt=0.1, voltage=VOLTAGE, stimulus=STIMULUS * 1e-3))
    assert len(found) == 1
    assert "nanoamperes" in found[0]


def test_recording_knows_its_span() -> None:
    recording = Recording(0.5, VOLTAGE)
    assert recording.samples == 400
    assert recording.duration == 200.0
    assert replace(recording, voltage=None, spikes=np.array([3.0, 8.0])).duration == 8.0

"""Cascades against the published numbers, and against the same models written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cascade_by_hand as by_hand
import numpy as np
import pytest
from numpy.typing import NDArray

from neuroinf.construction import build
from neuroinf.simulators import Cascade, Simulator
from neuroinf.simulators.cascade_nonlinearities import Sigmoid
from neuroinf.specification import specify
from neuroinf.stimuli import AlphaInput, BiexponentialInput, ShortSquare, Steps

Floats = NDArray[Any]
GRAPHS = Path(__file__).parents[2] / "configs" / "cascades"
BLOCKED = """2.01210078e-3 3.73774384e-2 7.30845858e-2 .109274149 .146144348 .183974400 .223157166 .264244529 .308009992
.355534207 .408320070 .468444250 .538749986 .623079346 .726527375 .855669312 1.01865816 1.22501166 1.48482436 1.80711765
2.19720681 2.65345813 3.16458331 3.70917872 4.25874859 4.78368405 5.25973920 5.67219345 6.01646382 6.29594355 6.51877007
6.69491583 6.83421188 6.94530551 7.03529059 7.10972739 7.17284182 7.22777828"""
CONTROL = """.0259 .0536 .0917 .1317 .1744 .2221 .2803 .3617 .4894 .6986 1.0403 1.5808 2.3704 3.3760 4.4420 5.3721 6.0609
6.5199 6.8133 7.0039 7.1349 7.2324 7.3111 7.3787 7.4396 7.4963 7.5499 7.6013 7.6510 7.6993 7.7463 7.7923 7.8374 7.8816 7.9251
7.9680 8.0102 8.0519"""
# the published program begins an event one step before its delay
EARLY = 0.1


def cascade(name: str, **fixed: float) -> Cascade:
    """A published neuron without free parameters."""
    return Cascade(str(GRAPHS / f"{name}.yaml"), parameters=[], fixed=fixed)


def respond(simulator: Cascade, stimulus: Floats, dt: float) -> Any:
    return simulator.simulate(np.zeros((len(stimulus), 0)), stimulus, dt)


def waveform(stimulus: Any) -> Floats:
    return stimulus.sample(np.random.default_rng(0))


# -- the published numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bar"), [(np.float64, 1e-5), (np.float32, 1e-3)])
def test_parallel_amplification(dtype: Any, bar: float) -> None:
    events = np.stack(
        [waveform(BiexponentialInput(600.0, 0.1, float(a), 20 - EARLY))[0] for a in np.arange(0, 15, 0.4)]
    )
    for block, printed, rounding in ((0.0, CONTROL, 5e-5), (1.0, BLOCKED, 0.0)):
        stimulus = np.stack([events, np.full_like(events, block)], axis=1).astype(dtype)
        peaks = respond(cascade("parallel"), stimulus, 0.1)["voltage"].max(axis=1)
        # the control values are known to four decimals
        np.testing.assert_allclose(peaks, np.array(printed.split(), float), rtol=0, atol=bar + rounding)


def test_parallel_trace() -> None:
    event = waveform(BiexponentialInput(600.0, 0.1, 7.0, 20 - EARLY))
    published = {
        0.0: {"na": (4.829, 25.1), "ca": (1.424, 31.9), "voltage": (6.683, 51.1)},
        1.0: {"na": (2.729, None), "ca": (0.764, None), "voltage": (1.348, 54.2)},
    }
    for block, channels in published.items():
        response = respond(cascade("parallel"), np.concatenate([event, np.full_like(event, block)])[None], 0.1)
        for name, (peak, time) in channels.items():
            assert response[name].max() == pytest.approx(peak, abs=6e-4)
            assert time is None or response[name].argmax() * 0.1 == pytest.approx(time, abs=0.051)


@pytest.mark.reference
@pytest.mark.parametrize(("file", "changed"), [("5c1", {}), ("dataset1", {"soma_tau": 30.0})])
@pytest.mark.parametrize("sweep", range(3))
def test_recurrent_against_another_program(
    reference_dir: Path, file: str, changed: dict[str, float], sweep: int
) -> None:
    with np.load(reference_dir / "prc" / f"recurrent_na_{file}.npz") as stored:
        given = {
            name.removeprefix(f"sweep{sweep}_"): stored[name] for name in stored if name.startswith(f"sweep{sweep}_")
        }
    names = {
        "loc": "loc",
        "gain": "gain",
        "sensit": "width",
        "pulse_height": "spike_height",
        "soma_thresh": "threshold",
    }
    simulator = cascade("recurrent", **{ours: float(given[theirs]) for theirs, ours in names.items()}, **changed)
    pulse = given["time"][given["Vs_nl"] > 0]
    for dt in (0.002, 0.01):
        response = respond(simulator, waveform(AlphaInput(50.0, dt, float(given["peak"])))[None], dt)
        voltage = response["dendrite"][0]
        error = np.interp(given["time"], dt * np.arange(len(voltage)), voltage) - given["Vd"]
        assert np.abs(error).max() <= 5e-3 or dt > 0.002
        assert np.sqrt((error**2).mean()) <= 2e-3
        assert len(response["spikes"][0]) == (len(pulse) > 0)
        if len(pulse):
            assert response["spikes"][0][0] == pytest.approx(pulse[0], abs=0.03)


@pytest.mark.parametrize(("peak", "most", "time"), [(1.25, 0.2516, 7.02), (1.85, 0.58, 4.23), (2.1, 0.9691, 4.12)])
def test_recurrent_dendritic_spike_without_somatic(peak: float, most: float, time: float) -> None:
    simulator = cascade("recurrent", loc=1.8, width=0.2, gain=3.0, spike_height=2.0, threshold=1.0)
    response = respond(simulator, waveform(AlphaInput(50.0, 0.002, peak))[None], 0.002)
    assert response["dendrite"].max() == pytest.approx(most, abs=3e-4)
    assert response["dendrite"].argmax() * 0.002 == pytest.approx(time, abs=0.01)
    assert len(response["spikes"][0]) == 0


def test_dendrosomatic_bursting() -> None:
    levels = [[0, 10, 0, 0, 0, 10], [0, 0, 0, 10, 0, 10]]
    stimulus = waveform(Steps([10, 100, 50, 100, 50, 100], levels, 0.1, scale=0.2))
    response = respond(cascade("dendrosomatic"), stimulus[None], 0.1)
    onsets = [24.0, 48.5, 77.6, 106.8, 323.2, 328.4, 335.2, 360.7, 369.2, 391.7, 400.8]
    np.testing.assert_allclose(response["spikes"][0], onsets, rtol=0, atol=1e-9)
    alone = slice(1600, 2600)
    assert response["soma"][0, alone].max() == pytest.approx(0.237, abs=1e-3)
    assert response["dendrite"][0, alone].max() == pytest.approx(0.238, abs=1e-3)


@pytest.mark.parametrize(("late", "onsets"), [(-15, [5.2, 11.2]), (0, [5.6, 9.0, 14.7]), (15, [5.7])])
def test_dendrosomatic_coincidence(late: float, onsets: list[float]) -> None:
    soma = waveform(BiexponentialInput(100.0, 0.1, 4.0, 30 - EARLY, decay=20.0))
    dendrite = waveform(BiexponentialInput(100.0, 0.1, 3.0, 30 + late - EARLY, decay=20.0))
    spikes = respond(cascade("dendrosomatic"), np.concatenate([soma, dendrite])[None], 0.1)["spikes"][0]
    np.testing.assert_allclose(spikes - 30, onsets, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dendrite", "counts"), [(0.0, [1, 1, 2]), (3.0, [1, 3, 4])])
def test_dendrosomatic_gain(dendrite: float, counts: list[int]) -> None:
    def event(amplitude: float) -> Floats:
        return waveform(BiexponentialInput(50.0, 0.1, amplitude, 10 - EARLY, decay=20.0))[0]

    stimulus = np.stack([[event(a), event(dendrite)] for a in (3.0, 4.0, 5.0)])
    assert [len(train) for train in respond(cascade("dendrosomatic"), stimulus, 0.1)["spikes"]] == counts


@pytest.mark.parametrize(
    ("tau", "loc", "width", "peaks", "slope"),
    [
        (2.0, 5.0, 1.0, [0.10, 16.73, 18.93, 20.90, 26.80], 3.55),
        (30.0, 5.0, 1.0, [0.10, 2.45, 6.03, 12.57, 26.65], 0.79),
        (2.0, 30.0, 7.0, [0.20, 2.70, 6.33, 12.10, 26.40], 0.69),
        (15.0, 4.0, 1.0, [0.27, 5.55, 16.57, 20.74, 26.80], 1.26),
    ],
)
def test_lnl_exploration(tau: float, loc: float, width: float, peaks: list[float], slope: float) -> None:
    def most(amplitudes: Floats) -> Floats:
        pulses = [waveform(ShortSquare(200.0, 0.1, float(a), 20.0, 5.0, unit="1")) for a in amplitudes]
        simulator = cascade("lnl", tau_nl=tau, loc=loc, width=width)
        return respond(simulator, np.stack(pulses), 0.1)["dendrite"].max(axis=1)

    np.testing.assert_allclose(most(np.array([0.0, 10, 20, 30, 60])), peaks, rtol=0, atol=0.02)
    grid = np.linspace(0, 60, 100)
    assert (np.diff(most(grid)) / np.diff(grid)).max() == pytest.approx(slope, abs=0.02)


# -- the same by hand --------------------------------------------------------------------------------------------------


def drawn(simulator: Cascade, rng: np.random.Generator) -> tuple[Floats, dict[str, float]]:
    """Parameters up to a fifth from the published ones."""
    theta = simulator.reference * rng.uniform(0.8, 1.2, simulator.reference.shape)
    return theta, dict(zip(simulator.parameters, theta[0], strict=True))


def test_lnl_by_hand() -> None:
    simulator, rng = Cascade(str(GRAPHS / "lnl.yaml")), np.random.default_rng(1)
    theta, p = drawn(simulator, rng)
    x = rng.normal(-10, 100, 3000)
    response = simulator.simulate(theta, x[None, None], 0.1)
    np.testing.assert_allclose(response["dendrite"][0], by_hand.lnl(p, x, 0.1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("block", [0.0, 0.3, 1.0])
def test_parallel_by_hand(block: float) -> None:
    simulator, rng = Cascade(str(GRAPHS / "parallel.yaml")), np.random.default_rng(2)
    theta, p = drawn(simulator, rng)
    x = rng.uniform(0, 5, 4000)
    response = simulator.simulate(theta, np.stack([x, np.full_like(x, block)])[None], 0.1)
    np.testing.assert_allclose(response["voltage"][0], by_hand.parallel(p, x, block, 0.1), rtol=0, atol=1e-9)


def test_recurrent_by_hand() -> None:
    simulator, rng = Cascade(str(GRAPHS / "recurrent.yaml")), np.random.default_rng(3)
    theta, p = drawn(simulator, rng)
    x = np.repeat(rng.uniform(-0.5, 1.5, 40), 400)
    response = simulator.simulate(theta, x[None, None], 0.02)
    soma, dendrite = by_hand.recurrent(p, x, 0.02)
    assert len(response["spikes"][0]) >= 2
    np.testing.assert_allclose(response["soma"][0], soma, rtol=0, atol=1e-9)
    np.testing.assert_allclose(response["dendrite"][0], dendrite, rtol=0, atol=1e-9)


def test_dendrosomatic_by_hand() -> None:
    simulator, rng = Cascade(str(GRAPHS / "dendrosomatic.yaml")), np.random.default_rng(4)
    theta, p = drawn(simulator, rng)
    x = np.repeat(rng.uniform(0, 4, (2, 60)), 50, axis=1)
    response = simulator.simulate(theta, x[None], 0.1)
    soma, dendrite = by_hand.dendrosomatic(p, x[0], x[1], 0.1)
    assert len(response["spikes"][0]) >= 5
    np.testing.assert_allclose(response["soma"][0], soma, rtol=0, atol=1e-9)
    np.testing.assert_allclose(response["dendrite"][0], dendrite, rtol=0, atol=1e-9)


# -- properties --------------------------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_their_batch() -> None:
    simulator, rng = Cascade(str(GRAPHS / "dendrosomatic.yaml")), np.random.default_rng(5)
    theta = simulator.reference * rng.uniform(0.8, 1.2, (150, len(simulator.parameters)))
    stimulus = np.repeat(rng.uniform(0, 4, (150, 2, 10)), 50, axis=2)
    together = simulator.simulate(theta, stimulus, 0.1)
    for row in (0, 63, 64, 149):
        alone = simulator.simulate(theta[row : row + 1], stimulus[row : row + 1], 0.1)
        for name in simulator.channels:
            assert (alone[name][0] == together[name][row]).all()
        assert (alone["spikes"][0] == together["spikes"][row]).all()


def test_specification_holds_the_graph_itself() -> None:
    simulator = Cascade(
        str(GRAPHS / "parallel.yaml"), parameters=["na_loc", "ca_gain"], fixed={"na_tau": 6.0}, record=["voltage"]
    )
    again = build(specify(simulator), Simulator)
    assert isinstance(again, Cascade)
    assert (again.parameters, again.units, again.fixed) == (simulator.parameters, simulator.units, simulator.fixed)
    theta, stimulus = simulator.reference, np.ones((1, 2, 500))
    assert (
        again.simulate(theta, stimulus, 0.1)["voltage"] == simulator.simulate(theta, stimulus, 0.1)["voltage"]
    ).all()


def test_delay_in_ms_is_the_same_at_every_step() -> None:
    graph: dict[str, Any] = {
        "inputs": ["current"],
        "subunits": {"soma": {}},
        "edges": [{"source": "current", "target": "soma", "delay": 2.0}],
        "record": {"soma": "soma"},
    }
    for dt in (0.1, 0.5, 1.0):
        x = np.random.default_rng(0).normal(size=(1, 1, round(20 / dt)))
        late = Cascade(graph).simulate(np.zeros((1, 0)), x, dt)["soma"]
        assert (late[0, round(2 / dt) :] == x[0, 0, : -round(2 / dt)]).all()
        assert (late[0, : round(2 / dt)] == 0).all()


def test_sigmoid_conventions() -> None:
    rng = np.random.default_rng(6)
    for loc, width, gain in rng.uniform(0.05, 10, (100, 3)):
        one = Sigmoid(loc, width, gain)
        again = Sigmoid.from_slope(loc, one.slope, gain)
        assert isinstance(again.width, float)
        assert abs(again.width / width - 1) < 1e-6

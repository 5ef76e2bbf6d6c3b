"""What can be wrong with a cascade, its networks and its recordings: one line on stderr, exit code 2, not a byte written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascade_files import (
    DIGITS,
    PRC,
    STUDY,
    TAUS,
    Make,
    arrays,
    call,
    config,
    digits,
    graph,
    heidelberg,
    kind_of_study,
    prior_of,
    recording,
    simulator,
    taken,
    text,
    write_checkpoints,
)
from command_lines import LONGEST, ROOT, content, in_this_process


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Any], write_config: Any) -> Path:
    """A folder in which every command would work."""
    folder = tmp_path_factory.mktemp("good")
    for name in ("bap", "readout"):
        shutil.copy(ROOT / "configs" / "cascades" / f"{name}.yaml", folder)
    shutil.copy(ROOT / "configs" / "cascades" / "parallel.yaml", folder / "graph.yaml")
    write_config(folder / "good.yaml", tiny(PRC))
    write_config(folder / "study.yaml", STUDY)
    np.savez(folder / "good.npz", **arrays())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_checkpoints(folder)
    return folder


INFO = ("neuroinf", "info", "graph.yaml")
INFER = ("neuroinf", "infer")
SIGMOID = {"sigmoid": {"loc": 1.0, "width": 0.1, "gain": 1.0}}
CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    # graphs
    "loop without delay": (
        graph(lambda g: g["edges"].append({"source": "nmda", "target": "na"})),
        ("loop without delay", "na", "nmda", "steps: 1"),
    ),
    "loop without delay to look at": (
        graph(lambda g: g["edges"].append({"source": "nmda", "target": "na"}), *INFO),
        ("loop without delay", "na", "nmda"),
    ),
    "subunit that drives itself at once": (
        graph(lambda g: g["edges"].append({"source": "nmda", "target": "nmda"})),
        ("loop without delay", "nmda -> nmda"),
    ),
    "unknown nonlinearity": (
        graph(lambda g: g["subunits"]["na"].update(nonlinearity={"relu": {"gain": 1.0}})),
        ("cascade na nonlinearity", "expected one of", "sigmoid", "relu"),
    ),
    "unknown filter": (
        graph(lambda g: g["subunits"]["na"].update(filter={"alpha": {"tau": 1.0}})),
        ("cascade na filter", "expected one of", "exponential", "alpha"),
    ),
    "unknown argument of a nonlinearity": (
        graph(lambda g: g["subunits"]["na"].update(nonlinearity={"sigmoid": SIGMOID["sigmoid"] | {"slope": 2.0}})),
        ("na nonlinearity sigmoid", "'slope'", "loc, width, gain"),
    ),
    "negative time constant": (
        graph(lambda g: g["parameters"]["na_tau"].update(value=-5.0)),
        ("cascade na", "tau", "positive", "-5"),
    ),
    "negative time constant, fixed": (simulator(fixed=TAUS | {"na_tau": -5.0}), ("na_tau", "positive", "-5")),
    "negative time constants in the prior": (
        prior_of("na_tau", {"unit": "ms", "low": -5.0, "high": 5.0}),
        ("na_tau", "positive", "-5"),
    ),
    "widths down to 0 in the prior": (
        config(
            "good.yaml",
            lambda c: c["data"]["simulation"]["prior"]["init_args"]["parameters"]["na_width"].update(low=0.0),
            "neuroinf simulate",
        ),
        ("na_width", "positive", "0"),
    ),
    "time constant that is a word": (
        graph(lambda g: g["subunits"]["na"]["filter"]["exponential"].update(tau="slow")),
        ("cascade na filter exponential: tau", "na_tau", "'slow'"),
    ),
    "graph without a record": (graph(taken("record")), ("expected record", "graph without output")),
    "graph without subunits": (graph(taken("subunits")), ("expected subunits", "found none")),
    "record of no subunit": (
        graph(lambda g: g["record"].update(voltage="soma")),
        ("record", "na, ca, nmda", "'soma'"),
    ),
    "record that the graph does not have": (simulator(record=["soma"]), ("record", "voltage", "'soma'")),
    "subunit that nothing drives": (graph(taken("edges", "ca")), ("nothing drives the subunit 'ca'",)),
    "edge to nowhere": (
        graph(lambda g: g["edges"].append({"source": "na", "target": "soma"})),
        ("edge from 'na'", "na, ca, nmda", "'soma'"),
    ),
    "edge from nowhere": (
        graph(lambda g: g["edges"].append({"source": "soma", "target": "na"})),
        ("edge source", "epsp", "'soma'"),
    ),
    "edge that is a word": (graph(lambda g: g["edges"].append("na to nmda")), ("cascade edge", "{source, target")),
    "negative delay": (
        graph(lambda g: g["edges"][0].update(delay=-1.0)),
        ("cascade edge", "delay", "neither negative"),
    ),
    "block that is no input": (
        graph(lambda g: g["subunits"]["na"].update(blocked_by="ttx")),
        ("cascade na", "blocked_by", "epsp, block", "'ttx'"),
    ),
    "parameter that nothing uses": (
        graph(lambda g: g["parameters"].update(spare={"unit": "1", "value": 1.0})),
        ("nothing in the graph uses 'spare'",),
    ),
    "key given twice": (text("inputs: [a]\ninputs: [b]\n"), ("'inputs' is defined twice", "line 1")),
    "graph that is a list": (text("- na\n- ca\n"), ("graph.yaml", "expected a graph", "['na', 'ca']")),
    "graph that is a list, to look at": (text("- na\n- ca\n", *INFO), ("graph.yaml", "expected a graph")),
    "graph that is no YAML": (text("subunits: [1, 2\nedges: }", *INFO), ("graph.yaml", "expected YAML", "line 2")),
    "experiment for a graph": (call("neuroinf", "info", "good.yaml"), ("unknown key 'name'", "subunits")),
    "missing graph": (simulator(graph="absent.yaml"), ("found no file at absent.yaml",)),
    "missing graph to train on": (
        config(
            "good.yaml",
            lambda c: c["data"]["simulation"]["simulator"]["init_args"].update(graph="absent.yaml"),
        ),
        ("found no file at absent.yaml",),
    ),
    "unknown fixed parameter": (simulator(fixed=TAUS | {"k_tau": 1.0}), ("fixed", "na_tau", "'k_tau'")),
    "parameter both fixed and inferred": (simulator(fixed=TAUS | {"na_loc": 1.0}), ("must name", "na_loc")),
    "parameter without a range": (simulator(fixed={"na_tau": 5.0, "ca_tau": 40.0}), ("missing ['nmda_tau']",)),
    "stimulus without a row for the block": (
        config(
            "good.yaml",
            lambda c: c["data"]["simulation"].update(
                stimulus=c["data"]["simulation"]["stimulus"]["init_args"]["components"][0]
            ),
            "neuroinf simulate",
        ),
        ("stimulus", "2 rows", "epsp, block", "found 1", "Stack"),
    ),
    "unknown design": (
        config("good.yaml", lambda c: c["data"]["simulation"].update(design="halton"), "neuroinf simulate"),
        ("data.simulation.design", "sobol", "halton"),
    ),
    # recordings
    "no stimulus": (recording(stimulus=None), ("bad.npz", "voltage, stimulus", "found no stimulus")),
    "no row for the block": (recording(stimulus=np.zeros(100)), ("stimulus", "2 input(s)", "(2, T)", "(100,)")),
    "one input of two": (recording(stimulus=np.zeros((1, 100))), ("stimulus", "2 input(s)", "(1, 100)")),
    "no voltage": (recording(voltage=None), ("bad.npz", "found no voltage")),
    "another channel": (recording(soma=np.zeros(100)), ("bad.npz", "reads voltage, stimulus", "found soma")),
    "no step": (recording(dt=None), ("bad.npz", "dt", "found none")),
    "step too long": (recording(dt=np.float64(2.0)), ("sweeps of 100 ms", "found 100 samples of 2 ms: 200 ms")),
    "step that does not divide": (
        recording(dt=np.float64(0.8), voltage=np.zeros(125), stimulus=np.zeros((2, 125))),
        ("bad.npz", "0.8 ms", "1 ms", "whole multiple"),
    ),
    "negative step": (recording(dt=np.float64(-1.0)), ("dt", "positive", "-1")),
    "sweep too short": (
        recording(voltage=np.zeros(50), stimulus=np.zeros((2, 50))),
        ("sweeps of 100 ms", "50 ms"),
    ),
    "stimulus of another length": (recording(stimulus=np.zeros((2, 90))), ("as many", "1 of 90", "1 of 100")),
    "more sweeps than stimuli": (recording(voltage=np.zeros((3, 100))), ("as many sweeps", "stimulus")),
    "gap": (recording(voltage=np.full(100, np.nan)), ("voltage", "finite", "nan")),
    "words": (recording(voltage=np.array(["a"] * 100)), ("voltage", "real numbers")),
    "ABF for a cascade": (text("x", *INFER, "good.ckpt", "bad.abf", name="bad.abf"), ("bad.abf", ".npz or .h5")),
    "sweeps by number": (call(*INFER, "good.ckpt", "good.npz", "--sweeps", "0"), ("good.ckpt", "--sweeps")),
    "missing recording": (call(*INFER, "good.ckpt", "absent.npz"), ("absent.npz", "no such file")),
    # model selection
    "network of candidates to infer": (
        call(*INFER, "which.ckpt", "good.npz", "--output", "out"),
        ("which.ckpt", "parameters", "which of several models", "neuroinf.selection.load_selection"),
    ),
    "candidates beside fits": (call("evaluate.py", "which.ckpt", "--fits", "3"), ("which.ckpt", "--fits")),
    "candidates on another dataset": (
        call("evaluate.py", "which.ckpt", "--data", "absent.h5"),
        ("no dataset at absent.h5",),
    ),
    # networks of cascades
    "network of a missing graph": (
        config("study.yaml", lambda c: c["model"]["networks"]["bap"][0].update(neuron="absent.yaml")),
        ("absent.yaml", "no file"),
    ),
    "network of an unknown kind of layer": (config("study.yaml", kind_of_study), ("networks", "kind")),
    "network without a layer": (config("study.yaml", lambda c: c["model"]["networks"].update(bap=[])), ("bap",)),
    "network with a word for its units": (
        config("study.yaml", lambda c: c["model"]["networks"]["bap"][0].update(units="many")),
        ("units", "many"),
    ),
    "unknown optimizer": (config("study.yaml", lambda c: c["model"].update(optimizer="magic")), ("optimizer", "magic")),
    "digits that are not there": (
        config("study.yaml", lambda c: c.update(data=DIGITS)),
        ("train.h5", "Heidelberg", "no file"),
    ),
    "digits that are no HDF5": (digits(lambda path: path.write_text("spikes")), ("train.h5", "HDF5")),
    "digits without units": (digits(lambda path: heidelberg(path, units=None)), ("train.h5", "spikes/units")),
    "digits without labels": (digits(lambda path: heidelberg(path, labels=None)), ("train.h5", "labels")),
    "digits of fewer labels": (digits(lambda path: heidelberg(path, labels=[0, 1])), ("train.h5", "4, 4 and 2")),
    "digits of too many channels": (
        digits(lambda path: heidelberg(path, units=[[9]] * 4)),
        ("train.h5", "spikes/units", "0 to 4", "9"),
    ),
    "digits before the beginning": (digits(lambda path: heidelberg(path, times=[[-1.0]] * 4)), ("spikes/times", "-1")),
    "digits of an unknown label": (
        digits(lambda path: heidelberg(path, labels=[0, 1, 0, 7])),
        ("labels", "0 to 1", "7"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(
    case: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[case]
    folder = tmp_path / "work"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    command = make(folder)
    before = content(folder)
    code, said = in_this_process(command, capsys)
    assert content(folder) == before
    assert code == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1 and said.endswith("\n"), said
    missing = [word for word in words if word not in said]
    assert not missing, f"{said} lacks {missing}"
    assert len(said) < LONGEST and "Traceback" not in said and "<class" not in said, said


def test_the_good_files_are_good(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this, a case could pass for another reason than its own."""
    folder = tmp_path / "work"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    heidelberg(folder / "train.h5")
    for command in (
        ("neuroinf", "simulate", "--config", "good.yaml"),
        ("neuroinf", "info", "graph.yaml"),
        ("neuroinf", "info", "good.ckpt"),
        ("neuroinf", "info", "which.ckpt"),
        ("neuroinf", "infer", "good.ckpt", "good.npz", "--output", "out"),
        ("train.py", "--config", "study.yaml"),
        tuple(digits(heidelberg)(folder)),
    ):
        code, said = in_this_process(list(command), capsys)
        assert code == 0 and "error" not in said, said
    assert {path.name for path in Path("out").iterdir()} == {"good.json", "good_posterior.png"}


def test_channels_are_read_as_simulations_were(good: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Simulations as arrays at the simulation's own step give the posterior of the stored row."""
    import neuroinf

    monkeypatch.chdir(good)
    model = neuroinf.load("good.ckpt")
    simulation = model.simulation
    assert simulation is not None and model.reads_channels
    theta = simulation.prior.sample(3, np.random.default_rng(1))
    wave = simulation.stimulus.sample(np.random.default_rng(2))
    fine = np.repeat(wave, round(simulation.stimulus.dt / simulation.dt), axis=1)
    voltage = np.asarray(simulation.simulator.simulate(theta, fine[None], simulation.dt)["voltage"])
    stored = model.observation.assemble(
        3, 100.0, {"voltage": (voltage[:, 9::10], 1.0)}, None, (np.repeat(wave[None], 3, 0), simulation.stimulus.dt)
    )
    for row in range(3):
        found = model.infer_channels({"voltage": voltage[row], "stimulus": fine}, simulation.dt)
        assert found.mean == pytest.approx(model.posterior(stored[row : row + 1]).mean, rel=1e-5)
    together = model.infer_channels({"voltage": voltage, "stimulus": np.stack([fine] * 3)}, simulation.dt)
    assert together.mean == pytest.approx(model.posterior(stored).mean, rel=1e-5)

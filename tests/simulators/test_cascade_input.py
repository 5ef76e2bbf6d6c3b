"""What a cascade refuses, and that its message says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroinf.commands.info import info
from neuroinf.errors import InputError
from neuroinf.simulators import Cascade

GRAPH: dict[str, Any] = {
    "inputs": ["current"],
    "subunits": {
        "soma": {
            "filter": {"exponential": {"tau": "tau", "length": 50.0}},
            "nonlinearity": {"step": {"threshold": 1.0}},
        },
        "dendrite": {"filter": {"leak": {"tau": 5.0}}, "nonlinearity": {"sigmoid": {"loc": 1.0, "width": 0.1}}},
    },
    "edges": [
        {"source": "current", "target": "dendrite"},
        {"source": "dendrite", "target": "soma"},
        {"source": "soma", "target": "dendrite", "steps": 1},
    ],
    "record": {"voltage": "soma.filtered"},
    "parameters": {"tau": {"unit": "ms", "value": 10.0}},
}


def changed(**parts: Any) -> Callable[[dict[str, Any]], None]:
    """Replace parts of the graph; a double underscore goes one level down."""

    def change(graph: dict[str, Any]) -> None:
        for path, value in parts.items():
            *above, last = path.split("__")
            place: Any = graph
            for key in above:
                place = place[int(key) if key.isdigit() else key]
            place[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(edges__2={"source": "soma", "target": "dendrite"}), "a loop without delay: soma -> dendrite -> soma"),
        (changed(record={}), "expected record, found none: a graph without output"),
        (changed(inputs=[]), "expected inputs, found none"),
        (changed(edges__0__source="light"), "edge source: expected one of current, soma, dendrite, found 'light'"),
        (changed(edges__0__target="axon"), "its target must be one of soma, dendrite, found 'axon'"),
        (changed(edges__0__gain="strength"), "gain must be a number or one of the graph's parameters .tau., found 'strength'"),
        (changed(edges__0__steps=-1), "steps must be a whole number, not negative, found -1"),
        (changed(edges__0__delay=-1.0), "expected a delay .ms. or steps, neither negative"),
        (changed(subunits__axon={"filter": {"leak": {"tau": 1.0}}}), "nothing drives the subunit 'axon'"),
        (changed(subunits__current={}), "the name 'current' is used twice"),
        (changed(subunits__soma__nonlinearity={"relu": {}}), "nonlinearity: expected one of sigmoid, step, pulse, .* found 'relu'"),
        (changed(subunits__soma__filter={"alpha": {}}), "filter: expected one of exponential, held, leak, .* found 'alpha'"),
        (changed(subunits__soma__nonlinearity={"step": {}}), "step: threshold is missing"),
        (changed(subunits__soma__filters={}), "unknown key 'filters'"),
        (changed(subunits__soma__lag=-1), "lag must be a whole number of steps, not negative, found -1"),
        (changed(subunits__soma__blocked_by="drug"), "blocked_by must be one of the inputs current, found 'drug'"),
        (changed(subunits__dendrite__filter={"leak": {"tau": -5.0}}), "tau must be positive, found -5"),
        (changed(subunits__dendrite__nonlinearity__sigmoid__width=0.0), "width must be positive, found 0"),
        (changed(subunits__soma__filter__exponential__normalise="never"), "normalise must be one of whole, .* found 'never'"),
        (changed(subunits__soma__filter__exponential__length=-1.0), "length must be a positive number of ms or null, found -1"),
        (changed(parameters__tau__value=-1.0), "tau must be positive, found -1"),
        (changed(parameters__rho={"value": 1.0}), "nothing in the graph uses 'rho'"),
        (changed(parameters__tau={"unit": "ms"}), "cascade parameter tau: value must be a finite number, found None"),
        (changed(record__voltage="soma.voltage"), "expected soma or soma.filtered/nonlinear/linear, found 'soma.voltage'"),
        (changed(spikes="dendrite"), "expected a subunit with a step or a pulse, found 'dendrite'"),
        (changed(outputs={}), "cascade: unknown key 'outputs'"),
        (changed(subunits=["soma"]), "cascade subunits: expected name: .*, found"),
    ],
)  # fmt: skip
def test_refuses_graphs(change: Callable[[dict[str, Any]], None], message: str) -> None:
    graph = deepcopy(GRAPH)
    change(graph)
    with pytest.raises(InputError, match=message):
        Cascade(graph)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": ["rho"]}, "Cascade parameters: expected any of tau, found 'rho'"),
        ({"parameters": ["tau", "tau"]}, "expected each name once"),
        ({"fixed": {"rho": 1.0}}, "Cascade fixed: expected any of tau, found 'rho'"),
        ({"fixed": {"tau": -1.0}}, r"Cascade fixed: tau \(ms\) must be positive, found -1"),
        ({"parameters": ["tau"], "fixed": {"tau": 1.0}}, "'tau' is both fixed and a column of theta"),
        ({"record": ["spike"]}, "Cascade record: expected any of voltage, found 'spike'"),
        ({"record": []}, "Cascade record: expected one or more of voltage, found none"),
    ],
)
def test_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cascade(GRAPH, **arguments)


@pytest.mark.parametrize(
    ("theta", "stimulus", "dt", "message"),
    [
        (
            [[1.0, 2.0]],
            np.ones((1, 1, 9)),
            1.0,
            r"theta: expected shape \(n, 1\) with columns tau, found shape \(1, 2\)",
        ),
        ([[1.0], [-2.0]], np.ones((1, 1, 9)), 1.0, r"theta row 1: tau \(ms\) must be positive, found -2"),
        ([[np.nan]], np.ones((1, 1, 9)), 1.0, r"theta row 0: tau \(ms\) must be finite, found nan"),
        ([[1.0]], np.ones((1, 2, 9)), 1.0, r"stimulus: expected shape \(1, 1, T\) .* found \(1, 2, 9\)"),
        ([[1.0]], np.array([[[0.0, np.inf]]]), 1.0, "stimulus row 0: current must be finite, found inf at step 1"),
        ([[1.0]], np.ones((1, 1, 9)), 0.0, "dt: expected a positive number of ms, found 0.0"),
        ([[1.0]], np.ones((1, 1, 9)), 40.0, "a kernel of 50 ms has less than two steps of 40 ms"),
    ],
)
def test_refuses_simulations(theta: Any, stimulus: Any, dt: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cascade(GRAPH).simulate(theta, stimulus, dt)


def test_refuses_a_delay_below_half_a_step() -> None:
    graph = deepcopy(GRAPH)
    graph["edges"][2] = {"source": "soma", "target": "dendrite", "delay": 0.1}
    with pytest.raises(InputError, match=r"a delay of 0.1 ms is less than half a step of 1 ms"):
        Cascade(graph).simulate([[10.0]], np.ones((1, 1, 9)), 1.0)


def test_refuses_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no file at nowhere.yaml"):
        Cascade("nowhere.yaml")
    twice = tmp_path / "twice.yaml"
    twice.write_text("inputs: [a]\ninputs: [b]\n")
    with pytest.raises(InputError, match="'inputs' is defined twice"):
        Cascade(str(twice))
    text = tmp_path / "text.yaml"
    text.write_text("soma")
    with pytest.raises(InputError, match="expected a graph with inputs, subunits, edges and record, found 'soma'"):
        Cascade(str(text))


def test_info_draws_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Path(__file__).parents[2] / "configs" / "cascades" / "dendrosomatic.yaml"
    figure = tmp_path / "graph.png"
    info([str(graph), "--output", str(figure)])
    printed = capsys.readouterr().out
    assert "| step(threshold threshold, height spike_height)" in printed
    assert "adaptation --[x -1, 1 step]--> soma" in printed
    assert figure.stat().st_size > 1000

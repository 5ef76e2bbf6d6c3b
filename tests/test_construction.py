"""What a file describes is made again, checked, and no foreign code runs unasked."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from neuroinf.construction import build, simulation_from_spec
from neuroinf.datasets.generation import Simulation
from neuroinf.errors import InputError
from neuroinf.priors import GridPrior, Prior
from neuroinf.simulators import GLIF
from neuroinf.simulators.protocol import Simulator
from neuroinf.specification import specify
from neuroinf.stimuli import Stimulus

YAML = """
simulator:
  class_path: neuroinf.simulators.GLIF
  init_args: {level: 1, frame: absolute, fixed: {spike_cut_length: 3.0, C: 100.0}}
prior:
  class_path: neuroinf.priors.Prior
  init_args:
    parameters:
      R_input: {unit: GOhm, low: 0.1, high: 0.5, scale: log}
      El: {unit: mV, low: -80, high: -60}
      th_inf: {unit: mV, low: 16, high: 40}
stimulus:
  class_path: neuroinf.stimuli.Mixture
  init_args:
    components:
      - class_path: neuroinf.stimuli.PinkNoise
        init_args: {duration: 300.0}
      - class_path: neuroinf.stimuli.PinkNoise
        init_args: {duration: 300.0, amplitudes: [1.0]}
    weights: [0.5, 0.5]
n: 10
dt: 0.1
record_dt: 1.0
"""


def parsed() -> Simulation:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--simulation", type=Simulation)
    return parser.instantiate_classes(parser.parse_object({"simulation": yaml.safe_load(YAML)}))["simulation"]


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of someone else's, which leaves a trace when it is imported."""
    trace = tmp_path / "trace"
    package = tmp_path / "foreign_neurons"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"open({str(trace)!r}, 'w').close()\n"
        "class Silent:\n"
        "    parameters, units, channels, stimulus_unit = ('C',), ('pF',), {}, 'pA'\n"
        "    def __init__(self, gain: float = 1.0): self.gain = gain\n"
        "    def simulate(self, theta, stimulus, dt, seed=0): return {'spikes': [[] for _ in theta]}\n"
        "class Other:\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("foreign_neurons", None)
    yield trace  # type: ignore[misc]
    sys.modules.pop("foreign_neurons", None)


def test_a_simulation_from_yaml_and_back() -> None:
    simulation = parsed()
    assert isinstance(simulation.simulator, GLIF) and simulation.prior.names == ("R_input", "El", "th_inf")
    spec = specify(simulation)
    again = simulation_from_spec(spec)
    assert specify(again) == spec
    assert again.waveforms == 4096 and again.duration == 300.0


def test_expected_may_be_a_base_class_or_a_protocol() -> None:
    spec = {
        "class_path": "neuroinf.priors.GridPrior",
        "init_args": {"parameters": {"C": {"unit": "pF", "values": [1, 2]}}, "enumerate": True},
    }
    assert isinstance(build(spec, Prior), GridPrior)
    assert isinstance(build({"class_path": "neuroinf.simulators.GLIF"}, Simulator), GLIF)


def test_foreign_code_runs_only_if_trusted(foreign: Path) -> None:
    spec = {"class_path": "foreign_neurons.Silent", "init_args": {"gain": 2.0}}
    with pytest.raises(InputError, match=r"foreign_neurons\.Silent.*--trust foreign_neurons"):
        build(spec, Simulator)
    with pytest.raises(InputError, match="--trust foreign_neurons"):
        build(spec, Simulator, trust=["foreign", "neurons"])
    assert not foreign.exists()
    made: Any = build(spec, Simulator, trust=["foreign_neurons"])
    assert made.gain == 2.0 and foreign.exists()


@pytest.mark.parametrize(
    "hidden",
    [
        {"class_path": "foreign_neurons.Silent"},
        "foreign_neurons.Silent",
        '{"class_path": "foreign_neurons.Silent"}',
        "class_path: foreign_neurons.Silent",
    ],
)
def test_foreign_code_does_not_run_from_inside(foreign: Path, hidden: Any) -> None:
    mixture = {"class_path": "neuroinf.stimuli.Mixture", "init_args": {"components": [hidden]}}
    with pytest.raises(InputError):
        build(mixture, Stimulus)
    with pytest.raises(InputError):
        build({"class_path": "neuroinf.datasets.Simulation", "init_args": {"simulator": hidden}}, Simulation)
    assert not foreign.exists()


GRID = {"C": {"unit": "pF", "values": [1, 2]}}


@pytest.mark.parametrize(
    ("spec", "expected", "message"),
    [
        ({"class_path": "neuroinf.simulators.GLIF", "init_args": {"levle": 3}}, Simulator, "levle"),
        ({"class_path": "neuroinf.simulators.GLIF", "init_args": {"level": "high"}}, Simulator, "level.*high"),
        ({"class_path": "neuroinf.simulators.GLIF", "init_args": {"level": 9}}, Simulator, "level.*9"),
        ({"class_path": "neuroinf.simulators.GILF"}, Simulator, "no class neuroinf.simulators.GILF"),
        ({"class_path": "neuroinf.nothing.GLIF"}, Simulator, "no class neuroinf.nothing.GLIF"),
        ({"class_path": "neuroinf.simulators"}, Simulator, "no class"),
        ({"class_path": "neuroinf.priors.GridPrior", "init_args": {"parameters": GRID}}, Simulator, "Simulator"),
        ({"class_path": "neuroinf.priors.Prior"}, Prior, "parameters"),
        ({"class_path": 3}, Prior, "described by"),
        ([1], Prior, "described by"),
        ("neuroinf.priors.Prior", Prior, "described by"),
    ],
)
def test_errors_are_one_line(spec: Any, expected: type, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(spec, expected)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700

"""The road of docs/own_simulator.md: a simulator in a user's own package, from its YAML to a posterior."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import neuroinf
from neuroinf import cli
from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError
from neuroinf.evaluation.evaluate import evaluate
from neuroinf.training import train

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
PACKAGE = "leaky_integrator"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]) -> Path:
    """A folder with a checkpoint trained on the example, made small."""
    folder = tmp_path_factory.mktemp("own")
    config = yaml.safe_load((EXAMPLES / "leaky_integrator.yaml").read_text())
    config["data"]["simulation"]["n"] = 120
    config["data"]["simulation"]["stimulus"]["init_args"]["duration"] = 200.0
    config["data"] |= {"batch_size": 32, "test_rows": 5, "simulation_workers": 1}
    config["model"]["encoder"]["init_args"] = {"hidden": 8, "widths": [8], "kernels": [10], "strides": [5]}
    config["trainer"] = {"max_epochs": 2, "enable_progress_bar": False}
    write_config(folder / "own.yaml", config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.chdir(folder)
        patch.syspath_prepend(str(EXAMPLES))
        train(["--config", "own.yaml", "--output", "own.ckpt"])
    sys.modules.pop(PACKAGE, None)
    return folder


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is at hand, and has not been imported."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    yield
    sys.modules.pop(PACKAGE, None)


def recorded() -> dict[str, Any]:
    """What docs/own_simulator.md infers from."""
    from leaky_integrator import LeakyIntegrator  # type: ignore[import-not-found]

    stimulus = np.random.default_rng(0).normal(150, 50, (1, 1, 200)).repeat(2, axis=2)
    response = LeakyIntegrator().simulate(np.array([[100.0, 0.2]]), stimulus, dt=0.5, seed=1)
    return {
        "voltage": response["voltage"][0],
        "stimulus": stimulus[0, 0],
        "spikes": response["spikes"][0],
        "dt": 0.5,
    }


def test_it_is_simulated_trained_and_inferred(work: Path) -> None:
    file = Dataset(work / "data" / "leaky_integrator.h5")
    assert file.n == 120 and file.names == ("C", "R")
    assert file.specification["init_args"]["simulator"]["class_path"] == "leaky_integrator.LeakyIntegrator"
    estimator = neuroinf.load(work / "own.ckpt", trust=[PACKAGE])
    posterior = estimator.infer(**recorded())
    assert posterior["C"].unit == "pF" and 40.0 < posterior["C"].mean < 200.0
    assert posterior["R"].unit == "GOhm" and 0.07 < posterior["R"].mean < 0.7
    json.dumps(posterior.to_dict(), allow_nan=False)


def test_the_rows_are_those_of_the_users_own_class(work: Path) -> None:
    from leaky_integrator import LeakyIntegrator  # type: ignore[import-not-found]

    from neuroinf.construction import simulation_from_spec

    file = Dataset(work / "data" / "leaky_integrator.h5")
    simulation = simulation_from_spec(file.specification, trust=[PACKAGE])
    assert isinstance(simulation.simulator, LeakyIntegrator)
    again = simulation.rows(0, 5, *simulation.bank()).datasets()
    stored = file.rows(np.arange(5))
    assert np.array_equal(again["parameters"], stored.parameters)
    assert np.array_equal(again["response/voltage"], stored.continuous["voltage"])


def test_without_trust_its_code_is_not_imported(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is neuroinf's own: it opens. What needs the simulator is refused, with the word that would allow it."""
    assert neuroinf.load(work / "own.ckpt").prior.names == ("C", "R")
    for data in (None, work / "data" / "leaky_integrator.h5"):
        with pytest.raises(InputError, match="--trust leaky_integrator"):
            evaluate(work / "own.ckpt", data, tmp_path / "report")
    assert not (tmp_path / "report").exists()
    assert PACKAGE not in sys.modules


@pytest.mark.parametrize("trusted", [False, True])
def test_on_the_command_line(
    work: Path, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "recording.npz", **recorded())
    sys.modules.pop(PACKAGE, None)
    command = ["infer", str(work / "own.ckpt"), str(tmp_path / "recording.npz"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["neuroinf", *command, *(["--trust", PACKAGE] if trusted else [])])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr().err
    if trusted:
        assert left.value.code == 0, said
        assert json.loads((tmp_path / "out" / "recording.json").read_text())["parameters"].keys() == {"C", "R"}
        assert (tmp_path / "out" / "recording.png").stat().st_size > 0
    else:
        assert left.value.code == 2 and said.startswith("error: ") and "--trust leaky_integrator" in said
        assert not (tmp_path / "out").exists() and PACKAGE not in sys.modules

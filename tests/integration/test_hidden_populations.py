"""Hidden populations from a configuration to an answer: training in all stages, inference, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from neuroinf import load
from neuroinf.cli import COMMANDS
from neuroinf.commands import infer_populations as command
from neuroinf.errors import InputError
from neuroinf.fits import refined_circuits as module
from neuroinf.fits.competing_posterior import CompetingPosterior
from neuroinf.inference import Estimator
from neuroinf.population_inference import infer_population
from neuroinf.recordings.network_recording import NetworkRecording, simulated_recording
from neuroinf.simulators import Circuit, MicroscopicNetwork
from neuroinf.training import train

CIRCUIT: dict[str, Any] = {
    "names": ["E", "I"],
    "sizes": [50, 30],
    "connections": [[1, 1], [-1, -1]],
    "free": ["mu_E", "mu_I"],
}
RANGE = {"unit": "1", "low": 5.0, "high": 25.0}
GROUPS = [0, 0, 0, 1, 1, 1]


def configuration(folder: Path, **changed: Any) -> Path:
    """A training of seconds; keys with dots change parts of it."""
    stimulus = {"class_path": "neuroinf.stimuli.NoiseWindows", "init_args": {"inputs": 2, "duration": 1200.0}}
    config: dict[str, Any] = {
        "name": "tiny",
        "runs": str(folder / "runs"),
        "data": {
            "path": str(folder / "tiny.h5"),
            "simulation": {
                "simulator": {
                    "class_path": "neuroinf.simulators.MicroscopicNetwork",
                    "init_args": {
                        "circuit": {"class_path": "neuroinf.simulators.Circuit", "init_args": CIRCUIT},
                        "recorded": 3,
                    },
                },
                "prior": {
                    "class_path": "neuroinf.priors.Prior",
                    "init_args": {"parameters": {"mu_E": RANGE, "mu_I": RANGE}},
                },
                "stimulus": stimulus,
                "n": 400,
                "dt": 4.0,
                "record_dt": 4.0,
                "waveforms": 8,
            },
            "observation": {
                "channels": ["units", "stimulus"],
                "dt": 4.0,
                "inputs": 2,
                "groups": GROUPS,
                "recorded": 2,
                "missing": {"stimulus": 0.2},
                "duration": [600.0, 1200.0],
            },
            "split": {"class_path": "neuroinf.datasets.RandomRows", "init_args": {"val": 0.5}},
            "batch_size": 32,
            "simulation_workers": 1,
        },
        "model": {
            "encoder": {"class_path": "neuroinf.networks.PopulationEncoder", "init_args": {"groups": GROUPS}},
            "density": {"class_path": "neuroinf.networks.Flow", "init_args": {"hidden": [32], "dropout": 0.1}},
        },
        "trainer": {"max_epochs": 1, "enable_progress_bar": False},
        "readout": {"epochs": 1, "views": 1},
        "activity": {
            "epochs": 1,
            "stretch": 600.0,
            "n": [40],
            "proposals": [
                {
                    "class_path": "neuroinf.priors.GaussianPrior",
                    "init_args": {
                        "names": ["mu_E", "mu_I"],
                        "mean": [14.0, 14.0],
                        "covariance": [[4.0, 0.0], [0.0, 4.0]],
                    },
                }
            ],
        },
    }
    for key, value in changed.items():
        part = config
        *path, last = key.split(".")
        for name in path:
            part = part[name]
        part[last] = value
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Estimator:
    return load(train(["--config", str(configuration(tmp_path_factory.mktemp("populations")))]))


def recording(duration: float = 1200.0, recorded: int = 3, seed: int = 1) -> NetworkRecording:
    network = MicroscopicNetwork(Circuit(**CIRCUIT), recorded=recorded)
    inputs = np.zeros((2, round(duration / 4)))
    found = network.simulate([[14.0, 14.0]], inputs[None], 4.0, seed)
    return simulated_recording(found["spikes"][0], found["units"][0], network.groups, duration, inputs)


def test_order_of_neurons_does_not_matter(model: Estimator) -> None:
    whole = recording()
    posterior, activity = infer_population(model, whole)
    again, same = infer_population(model, whole.take([4, 2, 0, 5, 1, 3]))
    np.testing.assert_allclose(again.sample(50), posterior.sample(50), rtol=1e-3)
    np.testing.assert_allclose(same.mean, activity.mean, rtol=1e-2, atol=0.05)


@pytest.mark.parametrize(("duration", "recorded"), [(600.0, 1), (1200.0, 3), (1000.0, 7), (4000.0, 3)])
def test_other_durations_and_numbers_of_neurons(model: Estimator, duration: float, recorded: int) -> None:
    posterior, activity = infer_population(model, recording(duration, recorded))
    assert activity.mean.shape == (2, round(duration / 4.0)) and activity.names == ("E", "I")
    assert (activity.low <= activity.mean).all() and (activity.mean <= activity.high).all()
    inner = activity.interval(0.5)
    assert (inner[0] >= activity.low).all() and (inner[1] <= activity.high).all()
    assert np.isfinite(posterior.sample(10)).all()
    assert any("neurons of population" in warning for warning in posterior.warnings) == (recorded > 3)


def test_circuits_found_by_simulation_take_the_place_of_the_posterior(
    model: Estimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recording()
    posterior, activity = infer_population(model, whole)
    turns = activity.mean.copy()
    half = turns.shape[1] // 2
    turns[:, :half], turns[:, half:] = [[20.0], [5.0]], [[5.0], [20.0]]
    drawn = np.linspace([13.0, 15.0], [14.0, 19.0], 30)

    def found(circuit, prior, observed, start, duration, seed, progress):
        # it is begun at the network's draws, with the rates of both halves
        assert circuit.names == ("E", "I") and prior.inside(torch.from_numpy(start)).all() and duration == 1200.0
        assert observed.times == pytest.approx([600.0, 600.0], abs=100.0)
        return CompetingPosterior(drawn, 0.2, 0.3, 50.0)

    monkeypatch.setattr(module, "competing_posterior", found)
    refined = module.refined_circuits(model, whole, (posterior, replace(activity, mean=turns)))
    assert refined.mean == pytest.approx({"mu_E": 13.5, "mu_I": 17.0}, abs=0.05)
    low, high = refined.interval(0.9)["mu_I"]
    assert (low, high) == pytest.approx((15.2, 18.8), abs=0.2)
    # each of the draws as often as any other
    assert (np.unique(refined.sample(60), axis=0, return_counts=True)[1] == 2).all()
    assert json.loads(json.dumps(refined.to_dict()))["parameters"]["mu_E"]["mean"] == pytest.approx(13.5, abs=0.05)
    with pytest.raises(InputError, match="have no density"):
        refined.log_prob(drawn[0])
    # of few different ones intervals are rough
    monkeypatch.setattr(module, "competing_posterior", lambda *a, **k: CompetingPosterior(drawn[:3], 0.2, 0.3, 50.0))
    refined = module.refined_circuits(model, whole, (posterior, replace(activity, mean=turns)))
    assert any("3 different circuits" in warning for warning in refined.warnings)


def test_a_recording_in_which_one_population_leads_is_not_refined(
    model: Estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recording()
    posterior, activity = infer_population(model, whole)
    one = np.repeat([[20.0], [5.0]], activity.mean.shape[1], 1)
    monkeypatch.setattr(command, "infer_population", lambda *given: (posterior, replace(activity, mean=one)))
    path = tmp_path / "one.npz"
    units = np.repeat(np.arange(6), [len(train) for train in whole.spikes])
    np.savez(path, id=units, t=np.concatenate(whole.spikes) / 1000, population=whole.groups, start=0.0, stop=1.2)
    arguments = [str(model.path), str(path), "--refine", "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="both of the competing populations to lead"):
        COMMANDS["infer"][0](arguments)
    assert not (tmp_path / "out").exists()


def test_input_that_is_not_known_is_not_the_same_as_none(model: Estimator) -> None:
    whole = recording()
    unknown = NetworkRecording(whole.spikes, whole.groups, whole.duration)
    assert not np.allclose(model.infer(unknown).sample(50), model.infer(whole).sample(50))


def test_the_command_writes_what_python_gives(
    model: Estimator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = recording()
    ids = np.repeat(np.arange(6), [len(train) for train in whole.spikes])
    np.savez(
        tmp_path / "some.npz", id=ids, t=np.concatenate(whole.spikes) / 1000, population=whole.groups, unit=np.arange(6),
        start=0.0, stop=1.2, input=np.zeros((2, 300)), dt=4.0,
    )  # fmt: skip
    command = COMMANDS["infer"][0]
    command([str(model.path), str(tmp_path / "some.npz"), "--output", str(tmp_path / "out"), "--json"])
    said = json.loads(capsys.readouterr().out)[0]
    assert said["neurons"] == {"E": 3, "I": 3}
    with np.load(tmp_path / "out" / "some_rates.npz") as written:
        _, activity = infer_population(model, whole)
        np.testing.assert_allclose(written["mean"], activity.mean, rtol=1e-2, atol=0.05)
    assert (tmp_path / "out" / "some_rates.png").is_file() and (tmp_path / "out" / "some_posterior.png").is_file()


def test_recordings_that_do_not_fit_are_refused(model: Estimator) -> None:
    whole = recording()
    with pytest.raises(InputError, match="expected populations 0 to 1"):
        model.infer(NetworkRecording(whole.spikes, whole.groups + 1, whole.duration))
    with pytest.raises(InputError, match="expected at least a bin"):
        model.infer(NetworkRecording((np.zeros(0),), np.array([0]), 2.0))
    with pytest.raises(InputError, match="expected 2 populations and 300 bins"):
        model.infer(NetworkRecording(whole.spikes, whole.groups, whole.duration, np.zeros((3, 300))))
    with pytest.raises(InputError, match="expected a NetworkRecording"):
        model.infer(voltage=np.zeros(10), dt=1.0)
    with pytest.raises(InputError, match="expected a level between 0 and 1"):
        infer_population(model, whole, level=1.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data.observation.groups": [0, 0, 1, 1, 1, 1]}, "observation.groups: expected the simulator"),
        ({"data.observation.recorded": 4}, "observation.recorded: expected 1 to 3"),
        ({"data.observation.channels": ["spikes", "stimulus"]}, "observation.groups"),
        ({"model.encoder.init_args.groups": [0, 0, 0, 1, 1]}, "PopulationEncoder: expected groups"),
        ({"activity.epochs": -1}, "activity.epochs"),
        ({"activity.n": [40, 40]}, "activity.n: expected a number of simulations"),
        ({"activity.stretch": 0.0}, "activity.stretch"),
    ],
)
def test_bad_configurations_are_told_before_anything_is_written(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as told:
        train(["--config", str(configuration(tmp_path, **changed))])
    assert "\n" not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]

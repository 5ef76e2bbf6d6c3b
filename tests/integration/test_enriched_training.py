"""Training on more circuits with two states than the prior has: all stages, again, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuroinf import load
from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError
from neuroinf.priors import CompetingPrior, competing
from neuroinf.training import train

GROUPS = [0, 0, 1, 1, 2, 2]
RANGE = {"unit": "1", "low": 13.8, "high": 15.0}
FREE = ["mu_E1", "mu_E2"]
CIRCUIT = {"sizes": [40, 40, 20], "J": [9.984, 9.984, 19.968], "synapse": [3.0, 3.0, 6.0], "free": FREE}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competing, "COUNTED", 2**15)


def configuration(folder: Path, **sections: Any) -> list[str]:
    """A training of seconds of the published circuit with small populations, of which two parameters are not known."""
    config: dict[str, Any] = {
        "name": "enriched",
        "runs": str(folder / "runs"),
        "data": {
            "path": str(folder / "prior.h5"),
            "simulation": {
                "simulator": {
                    "class_path": "neuroinf.simulators.MicroscopicNetwork",
                    "init_args": {
                        "circuit": {"class_path": "neuroinf.simulators.Circuit", "init_args": CIRCUIT},
                        "recorded": 2,
                    },
                },
                "prior": {
                    "class_path": "neuroinf.priors.Prior",
                    "init_args": {"parameters": {"mu_E1": RANGE, "mu_E2": RANGE}},
                },
                "stimulus": {
                    "class_path": "neuroinf.stimuli.NoiseWindows",
                    "init_args": {"inputs": 3, "duration": 800.0, "sd": 0.0},
                },
                "n": 80,
                "dt": 4.0,
                "record_dt": 4.0,
                "waveforms": 1,
            },
            "observation": {"channels": ["units", "stimulus"], "dt": 4.0, "inputs": 3, "groups": GROUPS},
            "split": {"class_path": "neuroinf.datasets.RandomRows", "init_args": {"val": 0.5}},
            "batch_size": 16,
            "simulation_workers": 1,
        },
        "model": {
            "encoder": {"class_path": "neuroinf.networks.PopulationEncoder", "init_args": {"groups": GROUPS}},
            "density": {"class_path": "neuroinf.networks.Flow", "init_args": {"hidden": [16], "context": 4}},
        },
        "trainer": {"max_epochs": 1, "enable_progress_bar": False},
        "readout": {"epochs": 2, "views": 1, "batch_size": 16},
        "enrichment": {"n": 24},
        "activity": {"epochs": 1, "stretch": 800.0, "batch_size": 8},
    }
    path = folder / "enriched.yaml"
    path.write_text(yaml.safe_dump(config | sections))
    return ["--config", str(path)]


def test_further_circuits_have_two_states_and_an_activity_goes_on_from_another(tmp_path: Path) -> None:
    first = train(configuration(tmp_path))
    file = Dataset(tmp_path / "prior_competing.h5")
    part = file.prior
    assert isinstance(part, CompetingPrior) and file.n == 24 and part.competes(file.parameters).all()
    assert not list((tmp_path / "runs").rglob("features.npy"))
    assert len(load(first).history) == 3
    # nothing but the last stage is another's, and it starts from the first one's network
    gentle = {"epochs": 1, "stretch": 800.0, "batch_size": 8, "lr": 1e-9, "start": str(first)}
    second = train(configuration(tmp_path, activity=gentle))
    one, other = load(first).activity, load(second).activity
    assert one is not None and other is not None
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5)


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"readout\.epochs"):
        train(configuration(tmp_path, readout={"epochs": 0}))
    with pytest.raises(InputError, match="no checkpoint"):
        train(configuration(tmp_path, activity={"epochs": 1, "start": "nowhere.ckpt"}))
    assert not (tmp_path / "prior.h5").exists() and not (tmp_path / "runs").exists()

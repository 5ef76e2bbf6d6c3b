"""A tiny network for cascade neurons, from a configuration to its report: fits, refinement, predicted channels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroinf.evaluation.evaluate import evaluate
from neuroinf.evaluation.metrics import check_metrics
from neuroinf.training import train

Config = dict[str, Any]
GRAPH = Path(__file__).parents[2] / "configs" / "cascades" / "lnl.yaml"
NAMES = ["tau_nl", "loc", "gain"]
LNL: Config = {
    "name": "lnl",
    "data.path": "data/lnl.h5",
    "data.simulation.simulator": {
        "class_path": "neuroinf.simulators.Cascade",
        "init_args": {"graph": str(GRAPH), "parameters": NAMES, "record": ["dendrite"]},
    },
    "data.simulation.prior.init_args.parameters": {
        "tau_nl": {"unit": "ms", "low": 1.0, "high": 10.0, "scale": "log"},
        "loc": {"unit": "1", "low": 2.0, "high": 12.0},
        "gain": {"unit": "1", "low": 5.0, "high": 25.0, "scale": "log"},
    },
    "data.simulation.stimulus": {
        "class_path": "neuroinf.stimuli.OrnsteinUhlenbeck",
        "init_args": {"duration": 150.0, "dt": 1.0, "mean": 10.0, "sd": 18.0, "tau": 3.0, "unit": "1"},
    },
    "data.simulation.dt": 0.5,
    "data.simulation.n": 240,
    "data.simulation.sweeps": 2,
    "data.observation": {"channels": ["dendrite", "stimulus"], "dt": 1.0, "noise": {"dendrite": 0.5}},
    "data.together": 0.5,
    "data.test_rows": 8,
    "model.encoder.init_args.roles": ["response", "input"],
    "model.pooling": {"class_path": "neuroinf.networks.SweepPooling", "init_args": {"width": 8}},
    "trainer.max_epochs": 2,
}


def test_report(
    tmp_path: Path, tiny: Callable[..., Config], write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path / "lnl.yaml", tiny(LNL))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    checkpoint = train(["--config", str(path)])
    output = tmp_path / "report"
    evaluate(tmp_path / checkpoint, None, output, fits=4)
    document = json.loads((output / "metrics.json").read_text())
    check_metrics(document)
    methods = document["methods"]
    assert document["parameters"] == NAMES
    assert document["condition"] == "1 times the training noise"
    assert list(document["conditions"]) == ["0 times the training noise", "4 times the training noise"]
    # what a network of two epochs does not know, the fit does: noise of 0.5 against responses of 20 in 150 samples
    for name in ("per_neuron_fit", "amortized_refined", "amortized_resampled"):
        assert methods[name]["n"] == 4 and max(methods[name]["nrmse"].values()) < 0.2, name
    predictive = document["predictive"]
    assert predictive["per_neuron_fit"]["dendrite_rmse"] < predictive["amortized"]["dendrite_rmse"]
    assert predictive["amortized_refined"]["not_above_amortized"] == 1
    assert 0.2 < predictive["amortized_resampled"]["band_dendrite"] <= 1
    together = document["sweeps"]["2"]["nrmse"]
    fits = {"amortized_refined", "amortized_resampled", "per_neuron_fit", "gradient_descent"}
    assert together.keys() == {"amortized"} | fits
    assert max(together["per_neuron_fit"].values()) < 0.2
    page = (output / "report.html").read_text()
    for text in ("dendrite rmse", "not above amortized", "all 2 sweeps together"):
        assert text in page
    assert (output / "overlays.png").exists()

"""A tiny network for GLM neurons, from a configuration to its report: symmetries, durations, hidden activity, fits."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroinf.errors import InputError
from neuroinf.evaluation.evaluate import evaluate
from neuroinf.evaluation.metrics import check_metrics
from neuroinf.training import train

Config = dict[str, Any]
WEIGHT = {"unit": "1", "low": -0.3, "high": 0.3}
NAMES = ["w_1", "w_2", "w_3", "b", "w_hidden"]
SCORED = ["w_1", "w_2", "w_3", "b", "|w_hidden|"]
GLM: Config = {
    "name": "glm",
    "data.simulation.simulator": {
        "class_path": "neuroinf.simulators.GLM",
        "init_args": {"inputs": 3, "hidden": 1, "output": "rate"},
    },
    "data.simulation.prior.init_args.parameters": dict.fromkeys(NAMES, WEIGHT),
    "data.simulation.stimulus": {
        "class_path": "neuroinf.stimuli.GaussianInputs",
        "init_args": {"inputs": 4, "duration": 400.0},
    },
    "data.simulation.dt": 1.0,
    "data.simulation.n": 100,
    "data.observation": {
        "channels": ["rate", "stimulus"],
        "inputs": 3,
        "duration": [20.0, 400.0],
        "duration_probability": 1.0,
        "duration_scale": "log",
    },
    "model.encoder": {"class_path": "neuroinf.networks.GLMEncoder", "init_args": {}},
    "model.density": {"class_path": "neuroinf.networks.AnchoredFlow", "init_args": {"hidden": [16], "signed": True}},
    "trainer.max_epochs": 2,
}
SPIKES: Config = {
    **GLM,
    "name": "glm_spikes",
    "data.path": "data/spikes.h5",
    "data.simulation.simulator": {
        "class_path": "neuroinf.simulators.GLM",
        "init_args": {"inputs": 3, "hidden": 1, "output": "bernoulli"},
    },
    "data.observation": {**GLM["data.observation"], "channels": ["count", "stimulus"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glm")


def report(changes: Config, folder: Path, tiny: Callable[..., Config], write_config: Any) -> Path:
    """The folder of the evaluation of a network trained for two epochs."""
    path = write_config(folder / f"{changes['name']}.yaml", tiny(changes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.chdir(folder)
        checkpoint = train(["--config", str(path)])
        with pytest.raises(InputError, match=r"amortized_refined.*found best_fit"):
            evaluate(folder / checkpoint, None, folder / "report" / changes["name"], without=["best_fit"])
        # the study's 20,000 passes take longer than all the rest; tests/fits has them
        slow = [] if "spikes" in changes["name"] else ["gradient_descent"]
        evaluate(folder / checkpoint, None, folder / "report" / changes["name"], fits=4, without=slow)
    return folder / "report" / changes["name"]


def test_rates(folder: Path, tiny: Callable[..., Config], write_config: Any) -> None:
    output = report(GLM, folder, tiny, write_config)
    document = json.loads((output / "metrics.json").read_text())
    check_metrics(document)
    assert document["parameters"] == SCORED and document["n_test"] == 12
    assert document["condition"].endswith("89 ms")  # between 20 and 400, on a logarithmic scale
    assert [name.split(", ")[-1] for name in document["conditions"]] == ["20 ms", "400 ms"]
    methods = document["methods"]
    assert {"prior_mean", "nearest_neighbour", "amortized", "amortized_refined", "per_neuron_fit"} <= methods.keys()
    assert "gradient_descent" not in methods
    # the closed form is right to |w_h| / sqrt(89 bins): a twentieth of the range
    assert methods["per_neuron_fit"]["n"] == 4 and max(methods["per_neuron_fit"]["nrmse"].values()) < 0.2
    assert methods["amortized_refined"]["n"] == 4 and max(methods["amortized_refined"]["nrmse"].values()) < 0.2
    # longer is better
    longest = document["conditions"]["as trained, 400 ms"]["per_neuron_fit"]["nrmse"]
    assert sum(longest.values()) < sum(methods["per_neuron_fit"]["nrmse"].values())
    signs = document["symmetries"]["w_hidden"]
    assert signs["amortized"]["n"] == 12 and signs["amortized"]["brier_of_guessing"] == 0.25
    # nothing tells the sign of a normal hidden input: the exact posterior is even
    assert signs["amortized_refined"]["undecided"] == 1 and signs["amortized_refined"]["bimodal"] == 1
    hidden = document["hidden"]
    assert hidden["per_neuron_fit"]["r"] > 0.8 and hidden["amortized_refined"]["n"] == 4
    assert 0 < hidden["amortized_refined"]["coverage_90"] <= 1
    predictive = document["predictive"]
    assert predictive["true_parameters"]["rmse_over_true"] == 1
    assert predictive["per_neuron_fit"]["held_out_rmse"] < predictive["constant_rate"]["held_out_rmse"]
    assert document["confounding"]["methods"]["amortized"]["n"] == 12
    assert abs(document["confounding"]["input_correlation"]) < 0.1
    assert all(document["identifiability"][name]["moves_response"] for name in SCORED)
    table = (output / "table.txt").read_text()
    page = (output / "report.html").read_text()
    for text in ("|w_hidden|", "sign of w_hidden", "hidden activity", "bins to come"):
        assert text in table
    for text in ("|w_hidden|", "Sign of w_hidden", "Hidden activity", "Predicted responses"):
        assert text in page
    figures = {path.name for path in output.glob("*.png")}
    assert {"recovery.png", "hidden_scatter.png", "hidden_traces.png", "calibration.png"} <= figures


def test_spike_counts(folder: Path, tiny: Callable[..., Config], write_config: Any) -> None:
    output = report(SPIKES, folder, tiny, write_config)
    document = json.loads((output / "metrics.json").read_text())
    check_metrics(document)
    assert document["parameters"] == SCORED
    assert {"per_neuron_fit", "maximum_likelihood_with_hidden", "least_squares_on_counts"} <= document["methods"].keys()
    assert document["methods"]["least_squares_on_counts"]["n"] == 4
    predictive = document["predictive"]
    for method in ("true_parameters", "constant_rate", "amortized"):
        assert math.isfinite(predictive[method]["held_out_bits_per_bin"])
        assert predictive[method]["held_out_bits_per_bin"] < 0
    assert predictive["constant_rate"]["held_out_bits_per_spike"] == 0
    assert 0.5 < document["hidden"]["amortized"]["coverage_90"] <= 1

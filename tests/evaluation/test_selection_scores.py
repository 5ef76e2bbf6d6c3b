"""What `evaluate.py` says of a network of model selection: counted again by hand, and opened by the right function only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import neuroinf
from neuroinf.datasets.generation import generate
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.evaluation.selection_scores import evaluate_selection, selection_rows
from neuroinf.models.selection import ModelSelection
from neuroinf.networks import TraceEncoder
from neuroinf.priors import Parameter, Prior
from neuroinf.selection import load_selection
from neuroinf.simulators import Cascade, Choice
from neuroinf.specification import specify
from neuroinf.stimuli import ShortSquare

GRAPH = str(Path(__file__).parents[2] / "configs" / "cascades" / "lnl.yaml")


def candidate(tau: float) -> Cascade:
    return Cascade(GRAPH, parameters=["gain"], record=["dendrite"], fixed={"tau_nl": tau})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt nothing."""
    prior = Prior({"gain": Parameter("1", 5.0, 25.0), "class": Parameter("1", 0.0, 2.0)})
    stimulus = ShortSquare(20.0, 0.1, (0.0, 60.0), 2.0, 5.0, unit="1")
    simulator = Choice({"fast": candidate(2.0), "slow": candidate(20.0)})
    simulation = Simulation(simulator, prior, stimulus, 60, 0.1, 1.0, seed=1)
    torch.manual_seed(0)
    observation = Observation(["dendrite", "stimulus"], 1.0, {"dendrite": 0.5})
    model = ModelSelection(prior, observation, lambda c: TraceEncoder(c, 20, 8), simulator, hidden=[8])
    model.provenance = {"simulation": specify(simulation), "test_simulation": specify(simulation)}
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    path = tmp_path_factory.mktemp("selection") / "which.ckpt"
    torch.save(content, path)
    return path


def test_scores_are_those_of_the_rows(checkpoint: Path, tmp_path: Path) -> None:
    document = evaluate_selection(checkpoint, None, tmp_path / "report")
    model = load_selection(checkpoint)
    file = Dataset(tmp_path / "report" / "test_60.h5")
    made = (file.parameters[:, 1] >= 1).astype(int)
    rows = selection_rows(model, file.path)
    np.testing.assert_array_equal(rows.made, made)
    assert not rows.spiked.any()
    chosen = model.probabilities(torch.from_numpy(rows.x)).argmax(1).numpy()
    assert document["accuracy"] == pytest.approx((chosen == made).mean())
    assert document["confusion"] == [[int(((made == i) & (chosen == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == document
    table = (tmp_path / "report" / "table.txt").read_text()
    assert "taken for" in table and f"accuracy {document['accuracy']:.3f}" in table
    assert (tmp_path / "report" / "selection.png").stat().st_size > 1000
    fewer = evaluate_selection(checkpoint, file.path, tmp_path / "fewer", neurons=20)
    assert fewer["n_test"] == 20 and np.sum(fewer["confusion"]) == 20


def test_the_wrong_door(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neuroinf\.selection\.load_selection"):
        neuroinf.load(checkpoint)
    stimulus = ShortSquare(20.0, 0.1, (0.0, 60.0), 2.0, 5.0, unit="1")
    prior = Prior({"gain": Parameter("1", 5.0, 25.0)})
    path = generate(Simulation(candidate(2.0), prior, stimulus, 4, 0.1, 1.0), tmp_path / "one.h5", progress=False)
    with pytest.raises(InputError, match="of the same candidates"):
        evaluate_selection(checkpoint, path, tmp_path / "report")
    assert not (tmp_path / "report").exists()
    released = sorted((Path(__file__).parents[2] / "checkpoints").glob("prc_recurrent.ckpt"))
    for amortized in released:
        with pytest.raises(InputError, match=r"neuroinf\.load"):
            load_selection(amortized)

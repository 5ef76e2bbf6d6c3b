"""A network that says which candidate made a response, on new rows: what `evaluate.py` does with its checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf import __version__
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation.held_out import stated_simulation
from neuroinf.evaluation.metrics import plain
from neuroinf.evaluation.selection import Selection
from neuroinf.models.selection import ModelSelection
from neuroinf.selection import load_selection
from neuroinf.simulators.choice import CLASS
from neuroinf.specification import class_path

NOISE_SEED = 7
TOGETHER = 256
DPI = 130


@dataclass(frozen=True)
class SelectionRows:
    """Rows whose candidate is known.

    Attributes:
        path: Their file.
        x: Observations (n, C, T), with noise.
        made: Which candidate made each (n,).
        spiked: Whether it fired (n,); all False if the simulator has no spikes.
    """

    path: Path
    x: NDArray[np.float32]
    made: NDArray[np.int64]
    spiked: NDArray[np.bool_]


def selection_rows(model: ModelSelection, path: Path, most: int | None = None) -> SelectionRows:
    """The rows of a dataset, one sweep of each neuron, as a network observes them.

    Raises:
        InputError: if the dataset is not one of the network's candidates.
    """
    file = Dataset(path)
    if tuple(file.names) != tuple(model.prior.names):
        raise InputError(
            f"{path} holds the parameters {list(file.names)}, the network chooses between models with "
            f"{list(model.prior.names)}: expected a dataset of the same candidates"
        )
    rows = np.arange(0, file.n, file.sweeps)[:most]
    duration = file.rows(rows[:1]).stimulus.shape[-1] * file.stimulus_dt
    rng = np.random.default_rng(NOISE_SEED)
    x = [model.observation.add_noise(row, rng) for row in observe_rows(file, rows, model.observation, duration)]
    trains = file.rows(rows).spikes
    spiked = np.zeros(len(rows), bool) if trains is None else np.array([len(train) > 0 for train in trains])
    made = np.floor(file.parameters[rows, file.names.index(CLASS)]).astype(np.int64)
    return SelectionRows(path, np.stack(x), made.clip(0, len(model.names) - 1), spiked)


@torch.no_grad()
def features_of(model: ModelSelection, x: NDArray[np.float32]) -> torch.Tensor:
    """The encoder's features (n, F) of observations (n, C, T)."""
    parts = [model.encoder(torch.from_numpy(x[i : i + TOGETHER])).float() for i in range(0, len(x), TOGETHER)]
    return torch.cat(parts)


def scores(model: ModelSelection, features: torch.Tensor, made: NDArray[np.int64]) -> Selection:
    """The network's probabilities of rows whose candidate is known."""
    return Selection(model.names, model.probabilities(features).double().numpy(), made)


def evaluate_selection(
    checkpoint: Path,
    data: Path | None = None,
    output: Path | None = None,
    *,
    neurons: int | None = None,
    trust: Sequence[str] = (),
) -> dict[str, Any]:
    """Confusions, accuracy and calibration of a network of model selection.

    Writes metrics.json, table.txt and selection.png (confusion matrix beside the reliability diagram) into `output`.

    Args:
        checkpoint: Written by train.py from a configuration of a Choice.
        data: Dataset of the same candidates; by default the test set of the training configuration is simulated.
        output: Folder, by default reports/<checkpoint's name>.
        neurons: Test at most so many neurons.
        trust: Packages of one's own whose classes the checkpoint may name.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: on a bad checkpoint or dataset.
    """
    folder = output or Path("reports") / checkpoint.stem
    check_folder(folder, "output")
    model = load_selection(checkpoint, trust)
    if data is None:
        simulation = stated_simulation(model.provenance, "test_simulation", tuple(trust))
        simulation = replace(simulation, n=min(simulation.n, neurons or simulation.n))
        data = generate(simulation, folder / f"test_{simulation.n}.h5", progress=True)
    rows = selection_rows(model, data, neurons)
    began = time.perf_counter()
    found = scores(model, features_of(model, rows.x), rows.made)
    seconds = (time.perf_counter() - began) / len(rows.made)
    document = {
        "checkpoint": str(checkpoint),
        "dataset": str(rows.path),
        "simulator": class_path(type(model.simulator)),
        "n_test": len(rows.made),
        "neuroinf_version": __version__,
        "candidates": list(model.names),
        "accuracy": found.accuracy,
        "accuracy_standard_error": found.standard_error,
        "cross_entropy": found.loss,
        "cross_entropy_of_even_chances": float(np.log(len(model.names))),
        "expected_calibration_error": found.reliability.error,
        "confusion": found.confusion.tolist(),
        "reliability": {
            "confidence": found.reliability.confidence.tolist(),
            "accuracy": found.reliability.accuracy.tolist(),
            "rows": found.reliability.number.tolist(),
        },
        "temperature": float(model.temperature),
        "cost": {"training_seconds": model.seconds, "seconds_per_neuron": seconds},
    }
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "metrics.json.part"
    aside.write_text(json.dumps(plain(document), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(folder / "metrics.json")
    (folder / "table.txt").write_text(f"{found.table()}\n\n{found.summary()}\n", encoding="utf-8")
    found.figure(checkpoint.stem).savefig(folder / "selection.png", dpi=DPI, metadata={"Software": None})
    return document

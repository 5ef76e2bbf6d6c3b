"""What `train.py` does with a study of dimensions: which number of latents each score chooses, where the number is known.

Every method is fitted to the first part of a simulated population's time for every dimension, and scored on the rest: by how well
it reconstructs what it sees, by entries hidden from it and by neurons hidden from it, and against the noise-free rates.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jsonargparse import ArgumentParser

from neuroinf.configuration import one_line
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.populations import simulated
from neuroinf.datasets.preprocessing import split_time
from neuroinf.destinations import check_file, check_folder
from neuroinf.errors import expect
from neuroinf.evaluation.dimension import DimensionScore, score_dimension
from neuroinf.evaluation.dimension_table import choices, dimension_figure, dimension_table
from neuroinf.experiment import configurations
from neuroinf.fits.autoencoder_latents import fit_autoencoder
from neuroinf.fits.bilstm_latents import BiLSTMTraining, fit_bilstm
from neuroinf.fits.latent_model import LatentFit
from neuroinf.fits.linear_latents import fit_ppca

REFERENCE = "PPCA"


@dataclass(frozen=True)
class DimensionStudy:
    """A configuration.

    Attributes:
        dimensions: To fit by the linear reference.
        network_dimensions: To fit by the networks.
        sequential_steps: Of the sequential network's training.
        bilstm: Training of the published network, which sees and reconstructs every entry.
        hidden: Share of the entries hidden while the network is trained a second time; share hidden in the test.
        folds: Parts of the neurons, each hidden once in the test.
        blocks: Stretches of the test's time, over which standard errors are.
        train: Share of the time to learn from.
        simulation: The population.
        path: Its file.
        folder: Of results.
    """

    dimensions: tuple[int, ...]
    network_dimensions: tuple[int, ...]
    sequential_steps: int
    bilstm: BiLSTMTraining
    hidden: float
    folds: int
    blocks: int
    train: float
    simulation: Simulation
    path: Path
    folder: Path

    @property
    def methods(self) -> dict[str, LatentFit]:
        """PPCA; the sequential network; the published network, as published and trained on what is hidden from it."""
        masked = replace(self.bilstm, hidden=self.hidden)
        return {
            REFERENCE: fit_ppca,
            "sequential": lambda data, d: fit_autoencoder(data, d, steps=self.sequential_steps),
            "BiLSTM": lambda data, d: fit_bilstm(data, d, self.bilstm),
            "BiLSTM, entries hidden": lambda data, d: fit_bilstm(data, d, masked),
        }


def is_dimension_study(arguments: Sequence[str]) -> bool:
    """Whether the configuration that a command line names is a study of dimensions: it has `dimensions`."""
    return any(isinstance(content, dict) and "dimensions" in content for content in configurations(arguments))


def dimension_study(arguments: Sequence[str]) -> DimensionStudy:
    """The study that a command line describes; nothing is simulated or written.

    Args:
        arguments: --config FILE, then flags, which win.

    Raises:
        InputError: on a bad configuration.
    """
    parser = ArgumentParser(prog="train.py", exit_on_error=False)
    parser.add_argument("--config", action="config", help="the study's YAML")
    parser.add_argument("--name", type=str, default="dimensions", help="first part of the run folder's name")
    parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--dimensions", type=list[int], required=True, help="to fit by the reference")
    parser.add_argument(
        "--network_dimensions", type=list[int] | None, default=None, help="by networks; as `dimensions`"
    )
    parser.add_argument("--sequential_steps", type=int, default=600, help="of the sequential network's training")
    parser.add_argument("--hidden", type=float, default=0.25, help="share of hidden entries")
    parser.add_argument("--folds", type=int, default=4, help="parts of the neurons")
    parser.add_argument("--blocks", type=int, default=10, help="stretches of the test's time")
    parser.add_argument("--train", type=float, default=0.8, help="share of the time to learn from")
    parser.add_argument("--bilstm", type=BiLSTMTraining, default=BiLSTMTraining(), help="of the network")
    parser.add_argument("--data.path", type=str, required=True, help="the HDF5 file")
    parser.add_argument("--data.simulation", type=Simulation, required=True, help="what it holds")
    try:
        config = parser.parse_args(list(arguments))
        built = parser.instantiate_classes(config)
        written = parser.dump(config, skip_none=False)
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        raise one_line(error, arguments) from error
    networks = config.dimensions if config.network_dimensions is None else config.network_dimensions
    expect(
        "",
        ("dimensions", config.dimensions, bool(config.dimensions) and min(config.dimensions) >= 1, "numbers from 1"),
        ("network_dimensions", networks, bool(networks) and min(networks) >= 1, "numbers from 1"),
        ("sequential_steps", config.sequential_steps, config.sequential_steps >= 1, "at least 1"),
        ("hidden", config.hidden, 0 < config.hidden < 1, "a share between 0 and 1"),
        ("folds", config.folds, config.folds >= 2, "at least 2"),
        ("blocks", config.blocks, config.blocks >= 2, "at least 2"),
        ("train", config.train, 0 < config.train < 1, "a share between 0 and 1"),
        (
            "bilstm.hidden",
            built["bilstm"].hidden,
            built["bilstm"].hidden == 0,
            "0: the study trains without and with `hidden`",
        ),
    )
    kept = [line for line in written.splitlines() if not line.startswith("config:")]
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
    check_folder(Path(config.runs), "runs")
    check_file(Path(config.data.path), "data.path")
    return DimensionStudy(
        tuple(sorted(set(config.dimensions))),
        tuple(sorted(set(networks))),
        config.sequential_steps,
        built["bilstm"],
        config.hidden,
        config.folds,
        config.blocks,
        config.train,
        built["data"]["simulation"],
        Path(config.data.path),
        Path(config.runs) / f"{config.name}-{digest}",
    )


def study_dimensions(arguments: Sequence[str]) -> Path:
    """Fit and score every method and dimension, print and write the table.

    The run's folder gets a file for each fit, so that an interrupted study continues, then table.txt, results.json and
    dimension.png.

    Args:
        arguments: As on the command line.

    Returns:
        The table.

    Raises:
        InputError: on a bad configuration or file.
    """
    study = dimension_study(arguments)
    data = simulated(generate(study.simulation, study.path, workers=1))
    train, test = split_time(data, (study.train, 1 - study.train))
    (study.folder / "fits").mkdir(parents=True, exist_ok=True)
    found: dict[str, list[DimensionScore]] = {}
    seconds: dict[str, dict[int, float]] = {}
    for method, fit in study.methods.items():
        for d in study.dimensions if method == REFERENCE else study.network_dimensions:
            file = study.folder / "fits" / f"{method.replace(', ', '-').replace(' ', '-')}-{d}.json"
            if not file.is_file():
                print(f"{method}, {d} latents", file=sys.stderr)
                began = time.perf_counter()
                model = fit(train, d)
                taken = time.perf_counter() - began
                score = score_dimension(
                    model, train.mean, test, folds=study.folds, blocks=study.blocks, hidden=study.hidden
                )
                aside = file.with_suffix(".part")
                aside.write_text(json.dumps({"seconds": taken, "scores": score.to_dict()}))
                aside.rename(file)
            content = json.loads(file.read_text())
            found.setdefault(method, []).append(DimensionScore.from_dict(content["scores"]))
            seconds.setdefault(method, {})[d] = content["seconds"]
    truth = test.factors[0].shape[1] if test.factors is not None else None
    origin = (
        f"{data.neurons:,} neurons, {train.bins:,} bins to learn from and {test.bins:,} to test, {truth} latents; "
        f"{study.blocks} blocks of the test's time"
    )
    text = dimension_table(origin, found, seconds)
    results = {
        "data": origin,
        "true_dimension": truth,
        "scores": {method: [score.to_dict() for score in scores] for method, scores in found.items()},
        "seconds": seconds,
        "chosen": {method: choices(scores) for method, scores in found.items()},
    }
    (study.folder / "results.json").write_text(json.dumps(results, indent=1))
    figure = dimension_figure(found, truth)
    figure.savefig(study.folder / "dimension.png", dpi=120, metadata={"Software": None})
    (study.folder / "table.txt").write_text(text + "\n")
    print(text)
    return study.folder / "table.txt"

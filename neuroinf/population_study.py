"""What `train.py` does with a configuration of a population: learn its latents and their dynamics."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser

from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.population_module import PopulationDataModule, tensors
from neuroinf.datasets.populations import PopulationData
from neuroinf.destinations import check_file
from neuroinf.experiment import StudyCLI, configurations, parse
from neuroinf.fits.autoencoder_latents import finished
from neuroinf.fits.bilstm_latents import finished_bilstm
from neuroinf.models.autoencoder import LatentAutoencoder
from neuroinf.models.bilstm import BiLSTMReconstruction
from neuroinf.models.population_model import PopulationModel
from neuroinf.specification import specify
from neuroinf.training import fit

# arguments of the data module that say which bins were trained on
KEPT = ("path", "sessions", "groups_apart", "test_sequences", "validation", "divide", "bins", "dt")


@dataclass(frozen=True)
class Architecture:
    """A model, and what is done with it after its training: its training data and a seed to its answers on latents."""

    model: type[PopulationModel]
    finished: Callable[[Any, Sequence[PopulationData], int], object]


ARCHITECTURES = {
    "sequential": Architecture(LatentAutoencoder, finished),
    "bilstm": Architecture(BiLSTMReconstruction, finished_bilstm),
}


class PopulationCLI(StudyCLI):
    """A run folder named after the configuration; the population's size and kind come from the data."""

    links = ("neurons", "kind")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside others: which network."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--architecture",
            type=Literal["sequential", "bilstm"],
            default="sequential",
            help="the sequential variational model, or the manifold study's autoencoder",
        )

    def _check(self) -> None:
        super()._check()
        check_file(Path(self.config.data.path), "data.path")


def architecture(arguments: Sequence[str]) -> str:
    """Which network a command line asks for; a wrong name is left to the parser."""
    found = "sequential"
    for content in configurations(arguments):
        if isinstance(content, dict):
            found = content.get("architecture", found)
    words = [word for argument in arguments for word in argument.split("=", 1)]
    given = [value for key, value in pairwise(words) if key == "--architecture"]
    found = given[-1] if given else found
    return found if found in ARCHITECTURES else "sequential"


def is_population_study(arguments: Sequence[str]) -> bool:
    """Whether a command line's configuration is of a population: it simulates one, or its model has factors."""
    for content in configurations(arguments):
        if not isinstance(content, dict) or "dimensions" in content:
            continue
        model, data = content.get("model"), content.get("data")
        if isinstance(model, dict) and "factors" in model:
            return True
        try:
            if str(data["simulation"]["simulator"]["class_path"]).split(".")[-1] == "Population":  # pyright: ignore[reportOptionalSubscript]
                return True
        except (KeyError, TypeError):
            continue  # for the parser to tell
    return False


def population_study(arguments: Sequence[str]) -> PopulationCLI:
    """Data, model and trainer that a command line describes; nothing is simulated or written.

    Args:
        arguments: As on the command line: --config FILE, then flags, which win.

    Raises:
        InputError: on a bad configuration.
    """
    groups = {"checkpoint": ModelCheckpoint}
    model = ARCHITECTURES[architecture(arguments)].model
    return parse(PopulationCLI, model, PopulationDataModule, arguments, groups)


def train_latents(arguments: Sequence[str]) -> Path:
    """Simulate what is missing, train, calibrate the intervals, and write the checkpoint.

    A finished run is not repeated; an interrupted one continues after its last finished epoch.

    Args:
        arguments: As on the command line.

    Returns:
        The checkpoint.

    Raises:
        InputError: on a bad configuration or file.
    """
    cli = population_study(arguments)
    folder, final = cli.folder, cli.folder / "model.ckpt"
    if final.is_file():
        print(f"this configuration has been trained: {final} (delete it to train again)", file=sys.stderr)
    else:
        data, model = cli.datamodule, cli.model
        data.prepare_data()
        data.setup("fit")  # reads the file: if it is damaged, nothing has been written yet
        train = data.train
        model.population = {
            "dt": train[0].dt,
            "kind": train[0].kind,
            "sessions": [list(each.names) for each in train],
            "group": [each.group.tolist() for each in train],
            "dimension": None if train[0].factors is None else train[0].factors[0].shape[1],
        }
        model.provenance = {
            "data": {name: getattr(data, name) for name in KEPT},
            "simulation": None if data.simulation is None else specify(data.simulation),
        }
        last = folder / "last.ckpt"
        if last.is_file():
            read_checkpoint(last, "latents")
        else:
            model.begin([tensors(each) for each in train])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(cli.written)
        cli.trainer.loggers = cli.loggers(folder)
        began = time.perf_counter()
        fit(cli.trainer, model, last, folder, datamodule=data)
        model.seconds += time.perf_counter() - began
        ARCHITECTURES[model.architecture].finished(model, train, 0)
        _write(model, final)
        line = model.history[-1] if model.history else {}
        print(summary(model.architecture, line), file=sys.stderr)
    if cli.config.output:
        output = Path(cli.config.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(final, output)
        return output
    return final


def summary(network: str, line: Mapping[str, float]) -> str:
    """What the last line of a learning curve says of hidden neurons."""
    unit = "nats an entry" if network == "sequential" else "of their variance"
    cost, alone = (line.get(key, float("nan")) for key in ("val/loss", "val/loss_prior"))
    return f"hidden neurons cost {cost:.3f} {unit} (their mean alone: {alone:.3f})"


def _write(model: PopulationModel, target: Path) -> None:
    """In one move."""
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    aside = target.with_name(target.name + ".part")
    torch.save(checkpoint, aside)
    aside.replace(target)

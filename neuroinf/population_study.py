"""What `train.py` does with a configuration of a population: learn its latents and their dynamics."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser

from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.population_module import PopulationDataModule, tensors
from neuroinf.destinations import check_file, check_folder
from neuroinf.errors import InputError
from neuroinf.experiment import TrainingCLI, add_places, configurations, parse
from neuroinf.fits.autoencoder_latents import finished
from neuroinf.models.autoencoder import LatentAutoencoder
from neuroinf.specification import specify
from neuroinf.training import fit

# arguments of the data module that say which bins were trained on
KEPT = ("path", "sessions", "test_sequences", "validation", "divide", "bins", "dt")


class PopulationCLI(TrainingCLI):
    """A run folder named after the configuration; the population's size and kind come from the data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Where to put things, and what the model takes from the data."""
        add_places(parser)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "last",
                "checkpoint.save_on_train_epoch_end": True,
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.link_arguments("data.neurons", "model.neurons", apply_on="instantiate")
        parser.link_arguments("data.kind", "model.kind", apply_on="instantiate")

    def _check(self) -> None:
        epochs = self.config.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise InputError(f"trainer.max_epochs: expected at least 1, found {epochs}")
        check_folder(Path(self.config.runs), "runs")
        check_file(Path(self.config.data.path), "data.path")
        if self.config.output:
            check_file(Path(self.config.output), "output")


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
    return parse(PopulationCLI, LatentAutoencoder, PopulationDataModule, arguments, groups)


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
        finished(model, train, 0)
        _write(model, final)
        line = model.history[-1] if model.history else {}
        print(
            f"hidden neurons cost {line.get('val/loss', float('nan')):.3f} nats an entry (their mean alone: "
            f"{line.get('val/loss_prior', float('nan')):.3f})",
            file=sys.stderr,
        )
    if cli.config.output:
        output = Path(cli.config.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(final, output)
        return output
    return final


def _write(model: LatentAutoencoder, target: Path) -> None:
    """In one move."""
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    aside = target.with_name(target.name + ".part")
    torch.save(checkpoint, aside)
    aside.replace(target)

"""From a configuration to a network that says which candidate made a response, and from its file back to it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor, nn

from neuroinf.checkpoints import read_checkpoint
from neuroinf.construction import build
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.observation import Observation
from neuroinf.destinations import check_file, check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation.selection import Selection
from neuroinf.experiment import TrainingCLI, configurations, parse
from neuroinf.models.selection import ModelSelection
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import Simulator
from neuroinf.specification import specify
from neuroinf.training import fit


class SelectionCLI(TrainingCLI):
    """A run folder named after the configuration; features of fixed encoders are views of each row, computed once."""

    def _add_stages(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--views", type=int, default=1, help="noisy views of each row, if the encoder has no weights"
        )

    def _check(self) -> None:
        if self.config.views < 1:
            raise InputError(f"views: expected at least 1, found {self.config.views}")
        if self.config.trainer.max_epochs is None or self.config.trainer.max_epochs < 1:
            raise InputError(f"trainer.max_epochs: expected at least 1, found {self.config.trainer.max_epochs}")
        check_folder(Path(self.config.runs), "runs")
        check_file(Path(self.config.data.path), "data.path")


def is_selection(arguments: Sequence[str]) -> bool:
    """Whether the configuration that a command line names simulates a Choice."""
    for content in configurations(arguments):
        try:
            simulator = content["data"]["simulation"]["simulator"]["class_path"]
        except (KeyError, TypeError):
            return False  # for the parser to tell
        if isinstance(simulator, str) and simulator.endswith(".Choice"):
            return True
    return False


def selection(arguments: Sequence[str]) -> SelectionCLI:
    """Data, model and trainer that a command line describes; nothing is simulated or written.

    Args:
        arguments: As on the command line: --config FILE, then flags, which win.

    Raises:
        InputError: on a bad configuration.
    """
    groups = {"early_stopping": EarlyStopping, "checkpoint": ModelCheckpoint}
    return parse(SelectionCLI, ModelSelection, SimulationDataModule, arguments, groups)


def train_selection(arguments: Sequence[str]) -> Path:
    """Simulate what is missing, train, calibrate on the validation rows, and write the checkpoint.

    A finished run is not repeated; an interrupted one continues.

    Raises:
        InputError: on a bad configuration or file.
    """
    cli = selection(arguments)
    folder, final = cli.folder, cli.folder / "model.ckpt"
    data, model = cli.datamodule, cli.model
    if not final.is_file():
        data.prepare_data()
        data.setup("fit")
        model.provenance = {"simulation": specify(data.simulation), "test_simulation": specify(data.test_simulation())}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(cli.written)
        cli.trainer.loggers = cli.loggers(folder)
        began = time.perf_counter()
        if model.fixed_encoder:
            model.seconds += data.encode(cast(nn.Module, model.encoder), cli.config.views, 0, folder, "cpu")
            load = partial(data.feature_loader, folder, data.batch_size)
        else:
            load = partial(_loader, data)
        loaders = {"train_dataloaders": load(True), "val_dataloaders": load(False)}
        fit(cli.trainer, model, folder / "last.ckpt", folder, **loaders)
        model.seconds += time.perf_counter() - began
        best = cli.trainer.checkpoint_callback
        assert isinstance(best, ModelCheckpoint)
        model.load_state_dict(torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"])
        logits, made = _answers(model, load(False))
        model.calibrate(logits, made)
        _write(model, final)
        for encoded in folder.glob("*.npy"):  # they can be computed again
            encoded.unlink()
        (folder / "history.json").write_text(json.dumps(model.history, indent=1))
        print(Selection(model.names, (logits / model.temperature).softmax(1).double().numpy(), made.numpy()).table())
    else:
        print(f"this configuration has been trained: {final} (delete it to train again)", file=sys.stderr)
    if cli.config.output:
        output = Path(cli.config.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(final, output)
        return output
    return final


def load_selection(path: str | Path, trust: Sequence[str] = ()) -> ModelSelection:
    """The network of a checkpoint, opened without running any code that it might hold.

    Args:
        path: The checkpoint.
        trust: Packages beside neuroinf whose classes the checkpoint may name, such as your own simulator's.

    Raises:
        InputError: if it is no checkpoint of a selection, or names a class of a package that is not trusted.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path, "selection")
    content = checkpoint["neuroinf"]
    encoder = content["encoder"]
    arguments = {k: v for k, v in encoder["init_args"].items() if k not in ("prior", "simulator", "dt")}
    try:
        model = ModelSelection(
            build(content["prior"], Prior, trust),
            build(content["observation"], Observation, trust),
            lambda channels: build(
                {"class_path": encoder["class_path"], "init_args": arguments | {"channels": channels}},
                nn.Module,
                trust,
            ),
            build(content["simulator"], Simulator, trust),
            hidden=content["hidden"],
        )
        model.load_state_dict(checkpoint["state_dict"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit its own description: the file is damaged") from error
    model.on_load_checkpoint(checkpoint)
    model.provenance = content["provenance"]
    return model.eval()


def _loader(data: SimulationDataModule, train: bool) -> Any:
    return data.train_dataloader() if train else data.val_dataloader()


@torch.no_grad()
def _answers(model: ModelSelection, batches: Any) -> tuple[Tensor, Tensor]:
    """Logits and classes of all rows."""
    model.eval()
    found = [(model(x), model.classes(z)) for x, z in batches]
    return torch.cat([logits for logits, _ in found]), torch.cat([made for _, made in found])


def _write(model: ModelSelection, target: Path) -> None:
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    aside = target.with_name(target.name + ".part")
    torch.save(checkpoint, aside)
    aside.replace(target)

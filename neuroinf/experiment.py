"""The experiment that a command line describes: data, model and trainer, made and checked before anything is written."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import wandb
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from neuroinf.activity_training import check_activity
from neuroinf.configuration import one_line
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.destinations import check_file, check_folder
from neuroinf.enriched_training import check_enrichment
from neuroinf.errors import InputError
from neuroinf.models.activity import ActivityStage
from neuroinf.models.amortized import AmortizedInference
from neuroinf.models.enrichment import EnrichmentStage
from neuroinf.models.progress import TrainingProgress
from neuroinf.models.readout import ReadoutStage

# what there is to monitor
LOGGED = ("val/loss", "val/loss_prior", "train/loss")


AnyCLI = TypeVar("AnyCLI", bound="TrainingCLI")


class TrainingCLI(LightningCLI):
    """LightningCLI with a run folder named after the configuration, so that the same command continues the same run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside Lightning's: where to put things, when to stop, and what the model takes from the data."""
        add_places(parser)
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        self._add_stages(parser)
        parser.set_defaults(
            {
                "early_stopping.monitor": "val/loss",
                "early_stopping.patience": 10,
                "checkpoint.monitor": "val/loss",
                "checkpoint.filename": "best",
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
                "checkpoint.auto_insert_metric_name": False,
            }
        )
        for part in ("prior", "simulator", "observation"):
            parser.link_arguments(f"data.{part}", f"model.{part}", apply_on="instantiate")

    def _add_stages(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(ReadoutStage, "readout")
        parser.add_class_arguments(EnrichmentStage, "enrichment")
        parser.add_class_arguments(ActivityStage, "activity")

    def before_instantiate_classes(self) -> None:
        """Name the run folder: the same configuration always has the same one."""
        self._check()
        written = self.parser.dump(self.config, skip_none=False, skip_link_targets=True)
        kept = [line for line in written.splitlines() if not line.startswith(("output:", "config:"))]
        digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
        self.folder = Path(self.config.runs) / f"{self.config.name}-{digest}"
        self.written = written
        self.config.checkpoint.dirpath = str(self.folder)

    @property
    def readout(self) -> ReadoutStage:
        """The second stage."""
        return self.config_init["readout"]

    @property
    def enrichment(self) -> EnrichmentStage:
        """What the second stage and the last one have beside draws of the prior."""
        return self.config_init["enrichment"]

    @property
    def activity(self) -> ActivityStage:
        """The last stage, of populations."""
        return self.config_init["activity"]

    def _check(self) -> None:
        """Refuse now what Lightning would notice only in the middle of the training."""
        for key in ("early_stopping", "checkpoint"):
            monitor = self.config[key].monitor
            if monitor is not None and monitor not in LOGGED:
                raise InputError(f"{key}.monitor: expected one of {', '.join(LOGGED)}, found {monitor!r}")
        epochs = self.config.trainer.max_epochs
        if epochs is not None and epochs < 1:
            raise InputError(f"trainer.max_epochs: expected at least 1, found {epochs}")
        check_folder(Path(self.config.runs), "runs")
        check_file(Path(self.config.data.path), "data.path")
        if self.config.output:
            check_file(Path(self.config.output), "output")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Lightning's trainer with our progress bar, and without loggers, which would make folders: see `loggers`."""
        if self.config.trainer.logger is None:
            kwargs["logger"] = False
        shown = self.config.trainer.enable_progress_bar is not False
        try:
            # Lightning's bar starts anew each epoch and cannot tell the time left
            trainer = super().instantiate_trainer(enable_progress_bar=False, **kwargs)
        except Exception as error:  # Lightning names neither the key nor the section
            raise InputError(f"trainer: {error}") from error
        if shown:
            trainer.callbacks.append(TrainingProgress())  # pyright: ignore[reportAttributeAccessIssue]
        return trainer

    def loggers(self, folder: Path) -> list[Logger]:
        """A table of all logged values and W&B's logger, in `folder`, unless the configuration has its own."""
        if self.config.trainer.logger is not None:
            return self.trainer.loggers
        return [CSVLogger(str(folder), name="", version=""), *_wandb(self.config.name, folder)]


class StudyCLI(TrainingCLI):
    """The command line of trainings of one stage, whose checkpoint is the last epoch's.

    Attributes:
        links: What the model takes from the data, by the names that both have for it.
    """

    links: tuple[str, ...] = ()

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
        for name in self.links:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def _check(self) -> None:
        epochs = self.config.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise InputError(f"trainer.max_epochs: expected at least 1, found {epochs}")
        check_folder(Path(self.config.runs), "runs")
        if self.config.output:
            check_file(Path(self.config.output), "output")


def _wandb(name: str, folder: Path) -> list[WandbLogger]:
    """W&B's logger: offline unless an account is set up, off if WANDB_MODE=disabled; never a prompt."""
    mode = os.environ.get("WANDB_MODE")
    if mode == "disabled":
        return []
    if mode is None and not _has_account():
        os.environ["WANDB_MODE"] = "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    folder.mkdir(parents=True, exist_ok=True)
    offline = os.environ.get("WANDB_MODE") == "offline"
    settings = wandb.Settings(silent=True)
    return [WandbLogger(project="neuroinf", name=name, save_dir=str(folder), offline=offline, settings=settings)]


def _has_account() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.is_file() and "api.wandb.ai" in netrc.read_text(errors="replace")


def add_places(parser: LightningArgumentParser) -> None:
    """Where a run and its checkpoint go."""
    parser.add_argument("--name", type=str, default="run", help="first part of the run folder's name")
    parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--output", type=str | None, default=None, help="also write the checkpoint here")


def parse(
    cli: type[AnyCLI],
    model: type[L.LightningModule],
    data: type[L.LightningDataModule],
    arguments: Sequence[str],
    groups: Mapping[str, type],
    log_every: int = 20,
    any_data: bool = False,
) -> AnyCLI:
    """What a command line describes, made by one of the command lines of `train.py`.

    Args:
        cli: The command line.
        model: Class of the model.
        data: Class of the data.
        arguments: As :func:`train`.
        groups: Classes whose arguments stand in sections of their own, beside those of data, model and trainer.
        log_every: Steps between two lines of the log.
        any_data: Whether the configuration names which subclass of `data`.

    Raises:
        InputError: on a bad configuration.
    """
    for noisy in ("lightning.pytorch", "lightning.fabric"):  # hardware, seeds and tips: no news to a user
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return cli(
            model,
            data,
            subclass_mode_data=any_data,
            args=list(arguments),
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "log_every_n_steps": log_every,
                "use_distributed_sampler": False,  # the data module's own sampler shares rows among processes
            },
            parser_kwargs={"exit_on_error": False},
        )
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        raise one_line(error, arguments, {"data": data, "model": model, "trainer": Trainer} | dict(groups)) from error


def configurations(arguments: Sequence[str]) -> list[Any]:
    """The content of every file that a command line names with --config; what cannot be read is left to the parser."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    found = []
    for file in [Path(value) for key, value in pairwise(words) if key == "--config"]:
        try:
            found.append(yaml.safe_load(file.read_text()))
        except (OSError, ValueError, yaml.YAMLError):
            return found
    return found


def experiment(arguments: Sequence[str]) -> TrainingCLI:
    """The data, model and trainer that a command line describes, made and checked; nothing is simulated or written.

    Args:
        arguments: As :func:`train`.

    Raises:
        InputError: on a bad configuration.
    """
    groups = {"early_stopping": EarlyStopping, "checkpoint": ModelCheckpoint, "readout": ReadoutStage}
    groups |= {"enrichment": EnrichmentStage, "activity": ActivityStage}
    cli = parse(TrainingCLI, AmortizedInference, SimulationDataModule, arguments, groups)
    if cli.datamodule.together > 0 and cli.config.model.pooling is None:
        raise InputError(
            f"data.together is {cli.datamodule.together:g}, but the model takes one sweep at a time: give model.pooling, "
            f"such as {{class_path: neuroinf.networks.SweepPooling}}, or leave data.together at 0"
        )
    check_enrichment(cli.datamodule, cli.readout, cli.enrichment)
    check_activity(cli.model, cli.datamodule, cli.activity)
    return cli

"""From a configuration to a trained checkpoint: what `train.py` does, as a function."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import wandb
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from neuroinf.checkpoints import read_checkpoint
from neuroinf.configuration import one_line
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.schema import Dataset
from neuroinf.destinations import check_file, check_folder
from neuroinf.errors import InputError
from neuroinf.models.amortized import AmortizedInference
from neuroinf.models.novelty import Novelty
from neuroinf.models.progress import TrainingProgress
from neuroinf.specification import specify

# what there is to monitor
LOGGED = ("val/loss", "val/loss_prior", "train/loss")

# held-out simulations whose spread of embeddings is worth stating
FEWEST_EMBEDDINGS = 20


class TrainingCLI(LightningCLI):
    """LightningCLI with a run folder named after the configuration, so that the same command continues the same run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside Lightning's: where to put things, when to stop, and what the model takes from the data."""
        parser.add_argument("--name", type=str, default="run", help="first part of the run folder's name")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--output", type=str | None, default=None, help="also write the best checkpoint here")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
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
        parser.link_arguments("data.prior", "model.prior", apply_on="instantiate")
        parser.link_arguments("data.observation", "model.observation", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Name the run folder: the same configuration always has the same one."""
        self._check()
        written = self.parser.dump(self.config, skip_none=False, skip_link_targets=True)
        kept = [line for line in written.splitlines() if not line.startswith(("output:", "config:"))]
        digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
        self.folder = Path(self.config.runs) / f"{self.config.name}-{digest}"
        self.written = written
        self.config.checkpoint.dirpath = str(self.folder)

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

    def loggers(self) -> list[Logger]:
        """A table of all logged values and W&B's logger, unless the configuration has its own."""
        if self.config.trainer.logger is not None:
            return self.trainer.loggers
        return [CSVLogger(str(self.folder), name="", version=""), *_wandb(self.config.name, self.folder)]


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


def experiment(arguments: Sequence[str]) -> TrainingCLI:
    """The data, model and trainer that a command line describes, made and checked; nothing is simulated or written.

    Args:
        arguments: As :func:`train`.

    Raises:
        InputError: on a bad configuration.
    """
    for noisy in ("lightning.pytorch", "lightning.fabric"):  # hardware, seeds and tips: no news to a user
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return TrainingCLI(
            AmortizedInference,
            SimulationDataModule,
            args=list(arguments),
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "log_every_n_steps": 20,
                "use_distributed_sampler": False,  # the data module's own sampler shares rows among processes
            },
            parser_kwargs={"exit_on_error": False},
        )
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        groups = {"data": SimulationDataModule, "model": AmortizedInference, "trainer": Trainer}
        groups |= {"early_stopping": EarlyStopping, "checkpoint": ModelCheckpoint}
        raise one_line(error, arguments, groups) from error


def train(arguments: Sequence[str]) -> Path:
    """Simulate what is missing, train, and write the best checkpoint.

    Args:
        arguments: As on the command line: --config FILE, then flags, which win.

    Returns:
        The checkpoint of the lowest validation loss. If this very configuration has been trained before, its
        checkpoint, at once; if that run was interrupted, it continues after its last finished epoch.

    Raises:
        InputError: on a bad configuration or file.
    """
    cli = experiment(arguments)
    folder, final = cli.folder, cli.folder / "model.ckpt"
    output = Path(cli.config.output) if cli.config.output else None
    if not final.is_file():
        last = folder / "last.ckpt"
        if last.is_file():
            read_checkpoint(last)
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")  # reads the file: if it is damaged, nothing has been written yet
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(cli.written)
        cli.model.provenance = _provenance(cli.datamodule)
        cli.trainer.loggers = cli.loggers()
        if last.is_file():
            print(f"continuing after the last finished epoch of {folder}", file=sys.stderr)
        try:
            cli.trainer.fit(
                cli.model, datamodule=cli.datamodule, ckpt_path=str(last) if last.is_file() else None, weights_only=True
            )
        except MisconfigurationException as error:
            raise InputError(f"trainer: {error}") from error
        if cli.trainer.interrupted:
            raise KeyboardInterrupt(
                f"interrupted: the same command continues after the last finished epoch of {folder}"
            )
        if cli.trainer.is_global_zero:
            best = cli.trainer.checkpoint_callback
            if not isinstance(best, ModelCheckpoint) or not best.best_model_path:
                raise InputError(
                    f"expected the training to leave a checkpoint in {folder}, found none: see trainer and checkpoint"
                )
            release(Path(best.best_model_path), final, cli.model, cli.datamodule)
    else:
        print(f"this configuration has been trained: {final} (delete it to train again)", file=sys.stderr)
    if output is not None and cli.trainer.is_global_zero:
        output.parent.mkdir(parents=True, exist_ok=True)
        aside = output.with_name(output.name + ".part")
        shutil.copyfile(final, aside)
        aside.replace(output)
        return output
    return final


def release(best: Path, target: Path, model: AmortizedInference, data: SimulationDataModule) -> None:
    """Write the best checkpoint, in one move: without optimizer and loop states, with the whole learning curve and the
    spread of held-out simulations' embeddings, by which a recording outside the training distribution is told.
    """
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    model.eval().cpu()
    with torch.inference_mode():
        whole = [x[torch.isfinite(x).any(-1).all(-1)] for x, _ in data.val_dataloader()]  # no channel missing
        embedding = torch.cat([model.density.embedding(model(x)) for x in whole if len(x)])
    checkpoint["neuroinf"] |= {
        "history": model.history,
        "training_seconds": model.seconds,
        "novelty": vars(Novelty.fit(embedding)) if len(embedding) >= FEWEST_EMBEDDINGS else None,
    }
    for key in ("optimizer_states", "lr_schedulers", "callbacks", "loops"):
        checkpoint.pop(key, None)
    aside = target.with_name(target.name + ".part")
    torch.save(checkpoint, aside)
    aside.replace(target)


def _provenance(data: SimulationDataModule) -> dict[str, Any]:
    """What evaluation needs to simulate the training and the test rows again."""
    file = Dataset(Path(data.path))
    return {
        "dataset": Path(data.path).name,
        "duration": data.simulation.duration,
        "dt": data.simulation.dt,
        "simulation": specify(data.simulation),
        "simulation_seconds": file.seconds,
        "split": specify(data.split),
        "test_simulation": specify(data.test_simulation()),
    }

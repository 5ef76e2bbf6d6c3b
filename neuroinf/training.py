"""From a configuration to a trained checkpoint: what `train.py` does, as a function."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from neuroinf.activity_training import calibrate_activity, train_activity
from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.enriched_training import enriched_loader
from neuroinf.errors import InputError
from neuroinf.experiment import TrainingCLI, experiment
from neuroinf.models.amortized import AmortizedInference, Batch
from neuroinf.models.examination import MOST, fit_novelty
from neuroinf.models.progress import TrainingProgress
from neuroinf.models.readout import ReadoutTraining
from neuroinf.models.widths import calibrate_widths
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.specification import specify


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
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")  # reads the file: if it is damaged, nothing has been written yet
        cli.model.provenance = _provenance(cli.datamodule)
        joint = folder / "joint.ckpt"
        if not joint.is_file():
            _train_all(cli)
        # in a training on several devices the others have nothing left to do
        if cli.trainer.is_global_zero:
            best = _train_readout(cli, joint) if cli.readout.epochs else joint
            network = _activity(cli, best) if cli.activity.epochs else None
            release(best, final, cli.model, cli.datamodule, network)
    else:
        print(f"this configuration has been trained: {final} (delete it to train again)", file=sys.stderr)
    if output is not None and cli.trainer.is_global_zero:
        output.parent.mkdir(parents=True, exist_ok=True)
        _copy(final, output)
        return output
    return final


def _train_all(cli: TrainingCLI) -> None:
    """Train the whole model, and leave its best checkpoint as joint.ckpt in the run's folder."""
    folder, last = cli.folder, cli.folder / "last.ckpt"
    if last.is_file():
        read_checkpoint(last)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(cli.written)
    cli.trainer.loggers = cli.loggers(folder)
    fit(cli.trainer, cli.model, last, folder, datamodule=cli.datamodule)
    if cli.trainer.is_global_zero:
        best = cli.trainer.checkpoint_callback
        if not isinstance(best, ModelCheckpoint) or not best.best_model_path:
            raise InputError(
                f"expected the training to leave a checkpoint in {folder}, found none: see trainer and checkpoint"
            )
        checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        # the best epoch's weights, with the learning curve of all of them
        checkpoint["neuroinf"] |= {"history": cli.model.history, "training_seconds": cli.model.seconds}
        _save(checkpoint, folder / "joint.ckpt")


def _train_readout(cli: TrainingCLI, joint: Path) -> Path:
    """Train pooling and density further, on features of the encoder in `joint`; the best checkpoint."""
    model, data, stage, folder = cli.model, cli.datamodule, cli.readout, cli.folder / "readout"
    best = folder / "model.ckpt"
    if best.is_file():
        _discard_features(folder)  # still there if the run was killed at that moment
        return best
    if (folder / "last.ckpt").is_file():
        read_checkpoint(folder / "last.ckpt")  # damaged, it is refused before the encoding
    checkpoint = read_checkpoint(joint)
    model.load_state_dict(checkpoint["state_dict"])
    model.on_load_checkpoint(checkpoint)
    epochs = len(model.history)
    device = cli.trainer.strategy.root_device
    training = ReadoutTraining(model, stage, epochs)
    model.seconds += data.encode(model.sweep_encoder, stage.views, epochs, folder, str(device))
    kept = ModelCheckpoint(folder, "best", "val/loss", save_last=True, enable_version_counter=False)
    shown = [TrainingProgress()] if any(isinstance(c, TrainingProgress) for c in cli.trainer.callbacks) else []  # type: ignore[attr-defined]
    trainer = Trainer(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        max_epochs=stage.epochs,
        gradient_clip_val=cli.trainer.gradient_clip_val,
        precision=cli.config.trainer.precision,
        limit_train_batches=cli.trainer.limit_train_batches,
        limit_val_batches=cli.trainer.limit_val_batches,
        callbacks=[kept, *shown],
        logger=cli.trainer.loggers or cli.loggers(folder),
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=bool(shown),
        log_every_n_steps=20,
        use_distributed_sampler=False,
    )
    training.train()
    loaders = [data.feature_loader(folder, stage.batch_size, train) for train in (True, False)]
    if cli.enrichment.n:
        given = model.sweep_encoder, cli.enrichment, stage, epochs, folder, str(device)
        loaders[0], seconds = enriched_loader(data, *given)
        model.seconds += seconds
    fit(trainer, training, folder / "last.ckpt", cli.folder, train_dataloaders=loaders[0], val_dataloaders=loaders[1])
    before = min(line["val/loss"] for line in model.history[:epochs])
    if kept.best_model_score is not None and float(kept.best_model_score) < before:
        found = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        checkpoint["state_dict"] = {k.removeprefix("model."): v for k, v in found.items() if k.startswith("model.")}
    else:
        print(
            f"the second stage did not lower val/loss below {before:.3f}: the model is that of the first "
            f"(try more readout.epochs, or a lower readout.lr)",
            file=sys.stderr,
        )
    checkpoint["neuroinf"] |= {"history": model.history, "training_seconds": model.seconds}
    _save(checkpoint, best)
    _discard_features(folder)
    return best


def _activity(cli: TrainingCLI, best: Path) -> ActivityNetwork:
    """The network of the activity, beside the model of the parameters in `best`."""
    model = cli.model
    checkpoint = read_checkpoint(best)
    model.load_state_dict(checkpoint["state_dict"])
    model.on_load_checkpoint(checkpoint)
    shown = any(isinstance(c, TrainingProgress) for c in cli.trainer.callbacks)  # type: ignore[attr-defined]
    folder, device = cli.folder / "activity", cli.trainer.strategy.root_device.type
    loggers = cli.trainer.loggers or cli.loggers(folder)
    return train_activity(model, cli.datamodule, cli.activity, folder, shown, loggers, device, cli.enrichment)


def _discard_features(folder: Path) -> None:
    """They take gigabytes, and can be computed again."""
    for encoded in folder.rglob("*.npy"):
        encoded.unlink()


def fit(trainer: Trainer, model: LightningModule, last: Path, folder: Path, **data: Any) -> None:
    """Trainer.fit, from the last finished epoch if there is one."""
    if last.is_file():
        print(f"continuing after the last finished epoch of {last.parent}", file=sys.stderr)
    try:
        trainer.fit(model, ckpt_path=str(last) if last.is_file() else None, weights_only=True, **data)
    except MisconfigurationException as error:
        raise InputError(f"trainer: {error}") from error
    if trainer.interrupted:
        raise KeyboardInterrupt(f"interrupted: the same command continues after the last finished epoch of {folder}")


def _save(checkpoint: dict[str, Any], target: Path) -> None:
    """In one move."""
    aside = target.with_name(target.name + ".part")
    torch.save(checkpoint, aside)
    aside.replace(target)


def _copy(source: Path, target: Path) -> None:
    """In one move."""
    aside = target.with_name(target.name + ".part")
    shutil.copyfile(source, aside)
    aside.replace(target)


def release(
    best: Path,
    target: Path,
    model: AmortizedInference,
    data: SimulationDataModule,
    activity: ActivityNetwork | None = None,
) -> None:
    """Write the best checkpoint, in one move: without optimizer and loop states, with posteriors as wide as validation rows
    say, and with what those look like, by which a recording outside the training distribution is told.
    """
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    model.eval().cpu()
    file, partition = Dataset(Path(data.path)), data.partition
    # one sweep of every neuron first: further sweeps of the same ones say less
    rows = np.empty(0, np.int64) if partition is None else np.sort(partition.val)
    rows = rows.reshape(-1, file.sweeps).T.ravel()[:MOST]
    novelty = factors = None
    if len(rows):
        factors = calibrate_widths(model, model.density, cast(Iterable[Batch], data.val_dataloader()))
        checkpoint["state_dict"] = model.state_dict()
        x = observe_rows(file, rows, data.observation, data.simulation.duration)
        rng = np.random.default_rng(data.seed)
        novelty = fit_novelty(x, model, model.density, data.prior, data.simulation, data.observation, rng)
    checkpoint["neuroinf"]["width_factors"] = factors
    if activity is not None:
        checkpoint["neuroinf"]["activity_width_factors"] = calibrate_activity(activity, data)
        checkpoint["neuroinf"] |= {"activity": specify(activity), "training_seconds": model.seconds}
        checkpoint["state_dict"] |= {f"activity.{k}": v for k, v in activity.state_dict().items()}
    checkpoint["neuroinf"]["novelty"] = None if novelty is None else novelty.plain()
    for key in ("optimizer_states", "lr_schedulers", "callbacks", "loops"):
        checkpoint.pop(key, None)
    _save(checkpoint, target)


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

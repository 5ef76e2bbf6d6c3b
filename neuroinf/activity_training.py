"""The last stage of a training on populations: the network of their activity, on the training rows and on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.combined_loader import CombinedLoader

from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import generate
from neuroinf.enriched_training import enriched_file
from neuroinf.errors import InputError
from neuroinf.models.activity import ActivityStage, ActivityTraining, ActivityViews
from neuroinf.models.amortized import AmortizedInference
from neuroinf.models.enrichment import EnrichmentStage
from neuroinf.models.progress import TrainingProgress
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.networks.population_encoder import PopulationEncoder

CALIBRATED = 600  # validation rows on which the widths are calibrated
ACTIVE = 1.0  # Hz
LARGEST = 2.0  # of a width's factor or its inverse


def check_activity(model: AmortizedInference, data: SimulationDataModule, stage: ActivityStage) -> None:
    """Refuse a stage that the model or the data cannot have.

    Raises:
        InputError: in words.
    """
    if not stage.epochs:
        return
    if not isinstance(model.encoder, PopulationEncoder) or not hasattr(data.simulator, "circuit"):
        raise InputError(
            f"activity.epochs: expected the encoder PopulationEncoder and a simulator of a circuit, found "
            f"{type(model.encoder).__name__} and {type(data.simulator).__name__}: leave activity.epochs at 0"
        )
    for proposal in stage.proposals:
        if set(proposal.names) != set(data.prior.names):
            raise InputError(
                f"activity.proposals: expected the parameters {list(data.prior.names)}, found {list(proposal.names)}"
            )
    stage.simulations(data.simulation)


def train_activity(
    model: AmortizedInference,
    data: SimulationDataModule,
    stage: ActivityStage,
    folder: Path,
    shown: bool,
    loggers: list[Logger],
    device: str,
    enrichment: EnrichmentStage,
) -> ActivityNetwork:
    """Train it, or continue, or find it trained.

    Args:
        model: Of the parameters, trained; its clock goes on.
        data: Set up.
        stage: How.
        folder: Where checkpoints go.
        shown: Whether to show the progress.
        loggers: Where its losses go.
        device: Type of device that it is trained on.
        enrichment: Further rows that it learns from.
    """
    encoder = cast(PopulationEncoder, model.encoder)
    sizes = cast(Any, data.simulator).circuit.sizes
    network = ActivityNetwork(list(sizes), encoder.dt)
    if stage.start is not None:
        network.load_state_dict(_weights(Path(stage.start)))
    training = ActivityTraining(network, encoder.groups, stage)
    best = folder / "best.ckpt"
    partition = data.partition
    assert partition is not None
    done = folder / "seconds.txt"  # there once it is trained
    if not done.is_file():
        own = _views(data, Path(data.path), stage)
        loaders = [own.loader(partition.train, stage.batch_size, True)]
        for k, further in enumerate(stage.simulations(data.simulation)):
            path = Path(data.path).with_name(f"{Path(data.path).stem}_activity_{k}.h5")
            generate(further, path, workers=data.simulation_workers)
            loaders.append(_views(data, path, stage).loader(np.arange(further.n), stage.batch_size, True))
        if enrichment.n:
            path = enriched_file(data, enrichment)
            loaders.append(_views(data, path, stage).loader(np.arange(enrichment.n), stage.batch_size, True))
        kept = ModelCheckpoint(folder, "best", "activity/loss", save_last=True, enable_version_counter=False)
        activity = Trainer(
            accelerator=device,
            devices=1,
            max_epochs=stage.epochs,
            gradient_clip_val=1.0,
            callbacks=[kept, *([TrainingProgress()] if shown else [])],
            logger=loggers or False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=shown,
            use_distributed_sampler=False,
        )
        last = folder / "last.ckpt"
        # an epoch is one of the smallest file, beside as many batches of the others
        combined = CombinedLoader(loaders, "min_size") if len(loaders) > 1 else loaders[0]
        activity.fit(
            training,
            train_dataloaders=combined,
            val_dataloaders=own.loader(partition.val, stage.batch_size, False),
            ckpt_path=str(last) if last.is_file() else None,
            weights_only=True,
        )
        if activity.interrupted:
            raise KeyboardInterrupt(
                f"interrupted: the same command continues after the last finished epoch of {folder}"
            )
        done.write_text(f"{training.seconds}\n")
    model.seconds += float(done.read_text())
    state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    return network.eval().cpu()


def _weights(start: Path) -> dict[str, torch.Tensor]:
    """Of the network of the activity in a checkpoint."""
    weights = read_checkpoint(start, "amortized")["state_dict"]
    found = {k.removeprefix("activity."): v for k, v in weights.items() if k.startswith("activity.")}
    if not found:
        raise InputError(f"activity.start: expected a checkpoint with a network of the activity, found none in {start}")
    return found


def _views(data: SimulationDataModule, path: Path, stage: ActivityStage) -> ActivityViews:
    return ActivityViews(path, data.observation, data.simulation.duration, stage.stretch, data.seed)


@torch.inference_mode()
def calibrate_activity(network: ActivityNetwork, data: SimulationDataModule) -> list[float]:
    r"""Make the intervals as wide as validation rows say; the factors (M,).

    The factor of population m is the root mean square of :math:`(y - \mu) / \sigma` over rows in which it is active, and bins. The
    intervals of a silent population, which is never in doubt, say nothing of the others.
    """
    partition = data.partition
    assert partition is not None
    groups, squares, active = torch.tensor(data.observation.groups), [], []
    views = ActivityViews(
        Path(data.path), data.observation, data.simulation.duration, data.simulation.duration, data.seed
    )
    for row in partition.val[:CALIBRATED]:
        x, rates = views[0, np.array([[row]])]
        units, inputs = x.split([len(groups), x.shape[1] - len(groups)], 1)
        squares.append(network(units, inputs, groups).residual(rates)[0].square().mean(-1))
        active.append(rates[0].mean(-1) > ACTIVE)
    seen, known = torch.stack(squares), torch.stack(active)
    # a row that the network has wrong altogether counts as the worst of the others
    limit = torch.nanquantile(torch.where(known, seen, torch.nan), 0.98, 0)
    mean = torch.where(known, seen.minimum(limit), 0.0).sum(0) / known.sum(0).clamp(min=1)
    factor = torch.where(known.any(0), mean, 1.0).sqrt().clamp(1 / LARGEST, LARGEST)
    network.widen(factor.log())
    return factor.tolist()

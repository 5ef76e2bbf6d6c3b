"""The last stage of a training on populations: the network of their activity, on the training rows and on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor

from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import generate
from neuroinf.errors import InputError
from neuroinf.models.activity import ActivityStage, ActivityTraining, ActivityViews
from neuroinf.models.amortized import AmortizedInference
from neuroinf.models.progress import TrainingProgress
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.networks.population_encoder import PopulationEncoder

DRAWS = 8  # of the parameters, over which activity is averaged
CALIBRATED = 200  # validation rows on which the widths are calibrated
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
    if stage.proposal is not None and set(stage.proposal.names) != set(data.prior.names):
        raise InputError(
            f"activity.proposal: expected the parameters {list(data.prior.names)}, found {list(stage.proposal.names)}"
        )
    stage.simulation(data.simulation)


def train_activity(
    model: AmortizedInference,
    data: SimulationDataModule,
    stage: ActivityStage,
    folder: Path,
    shown: bool,
    trainer: Trainer,
) -> ActivityNetwork:
    """Train it, or continue, or find it trained.

    Args:
        model: Of the parameters, trained; its clock goes on.
        data: Set up.
        stage: How.
        folder: Where checkpoints go.
        shown: Whether to show the progress.
        trainer: Of the parameters' training, for device and limits.
    """
    encoder = cast(PopulationEncoder, model.encoder)
    sizes = cast(Any, data.simulator).circuit.sizes
    network = ActivityNetwork(list(sizes), len(data.prior.names), encoder.dt)
    training = ActivityTraining(network, encoder.groups, stage)
    best = folder / "best.ckpt"
    partition = data.partition
    assert partition is not None
    if not (folder / "done").is_file():
        own = _views(data, Path(data.path), stage)
        loaders = [own.loader(partition.train, stage.batch_size, True)]
        further = stage.simulation(data.simulation)
        if further is not None:
            path = Path(data.path).with_name(Path(data.path).stem + "_activity.h5")
            generate(further, path, workers=data.simulation_workers)
            loaders.append(_views(data, path, stage).loader(np.arange(further.n), stage.batch_size, True))
        kept = ModelCheckpoint(folder, "best", "activity/loss", save_last=True, enable_version_counter=False)
        activity = Trainer(
            accelerator=trainer.strategy.root_device.type,
            devices=1,
            max_epochs=stage.epochs,
            gradient_clip_val=1.0,
            callbacks=[kept, *([TrainingProgress()] if shown else [])],
            logger=trainer.loggers or False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=shown,
            use_distributed_sampler=False,
        )
        last = folder / "last.ckpt"
        # an epoch is one of the smaller file, beside as many batches of the other
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
        model.seconds += training.seconds
        (folder / "done").touch()
    state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    return network.eval().cpu()


def _views(data: SimulationDataModule, path: Path, stage: ActivityStage) -> ActivityViews:
    return ActivityViews(path, data.observation, data.prior, data.simulation.duration, stage.stretch, data.seed)


@torch.inference_mode()
def calibrate_activity(network: ActivityNetwork, model: AmortizedInference, data: SimulationDataModule) -> list[float]:
    r"""Make the intervals, averaged over the parameters' posterior, as wide as validation rows say; the factors (M,).

    The factor of population m is the root mean square of :math:`(y - \mu) / \sigma` over rows and bins.
    """
    partition = data.partition
    assert partition is not None
    encoder = cast(PopulationEncoder, model.encoder)
    views = ActivityViews(
        Path(data.path), data.observation, data.prior, data.simulation.duration, data.simulation.duration, data.seed
    )
    groups, found = torch.tensor(encoder.groups), []
    for row in partition.val[:CALIBRATED]:
        x, _, rates = views[0, np.array([[row]])]
        theta = drawn_parameters(model.density, encoder(x), model.prior)
        units, inputs = x.split([len(groups), x.shape[1] - len(groups)], 1)
        activity = network.averaged(units, inputs, groups, theta)
        found.append(activity.residual(rates)[0].square().mean(-1))
    # rows of a silent population are all alike, and say nothing of the others
    factor = _robust(torch.stack(found)).clamp(1 / LARGEST, LARGEST)
    network.widen(factor.log())
    return factor.tolist()


def _robust(squares: Tensor) -> Tensor:
    """Root of the mean (M,) of squared residuals (n, M), of which the highest hundredth counts as the rest's highest."""
    return squares.minimum(squares.quantile(0.99, 0)).mean(0).sqrt()


def drawn_parameters(density: Any, features: Tensor, prior: Any, draws: int = DRAWS) -> Tensor:
    """Draws of the parameters (S, P) from -1 to 1 over the prior's range, from the features (1, F) of one recording."""
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        z = density.posterior(features).sample((draws,))[:, 0]
    finally:
        torch.random.set_rng_state(generator)
    return (2 * prior.to_unit(prior.from_unconstrained(z.double())) - 1).float()

"""The second stage of a training on more simulations than the prior's draws: their files, features and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from neuroinf.datasets.batches import EpochBatches
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.enriched_features import EnrichedFeatures
from neuroinf.datasets.features import FeatureFile, Features, encode
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import Views
from neuroinf.errors import InputError
from neuroinf.models.enrichment import EnrichmentStage, Share, importance
from neuroinf.models.readout import ReadoutStage
from neuroinf.priors import CompetingPrior


def check_enrichment(data: SimulationDataModule, readout: ReadoutStage, stage: EnrichmentStage) -> None:
    """Refuse what cannot be had.

    Raises:
        InputError: in words.
    """
    if not stage.n:
        return
    stage.simulation(data.simulation)
    if not readout.epochs or data.simulation.sweeps > 1:
        raise InputError(
            f"enrichment.n: expected readout.epochs above 0 and one sweep of each neuron, found {readout.epochs} and "
            f"{data.simulation.sweeps}: give them, or leave enrichment.n at 0"
        )


def enriched_file(data: SimulationDataModule, stage: EnrichmentStage) -> Path:
    """The further simulations, simulated if they are not there."""
    path = stage.path(Path(data.path))
    return generate(stage.simulation(data.simulation), path, workers=data.simulation_workers)


def enriched_loader(
    data: SimulationDataModule,
    encoder: nn.Module,
    stage: EnrichmentStage,
    readout: ReadoutStage,
    epoch: int,
    folder: Path,
    device: str,
) -> tuple[DataLoader[Any], float]:
    """Batches of features, parameters and weights of the training rows and the further ones, and seconds of their encoding.

    Args:
        data: Set up, its own rows encoded in `folder`.
        encoder: Of one sweep.
        stage: What is added.
        readout: The second stage.
        epoch: The first of the views.
        folder: Where features are kept.
        device: Where to encode.
    """
    further = enriched_file(data, stage)
    rows, inner = np.arange(stage.n), folder / "competing"
    views = Views(further, data.observation, data.prior, data.simulation.duration, data.seed, hold=False)
    seconds = encode(views, encoder, rows, readout.views, epoch, inner, data.simulation_workers, device)
    part = cast(CompetingPrior, stage.simulation(data.simulation).prior)
    file, partition = Dataset(Path(data.path)), data.partition
    assert partition is not None
    inside = np.concatenate([part.competes(file.parameters), np.ones(stage.n, bool)])
    train = np.concatenate([partition.train, file.n + rows])
    weight = importance(inside, len(partition.train), stage.n, part.fraction)
    own = data.features(folder)
    seen = [FeatureFile(folder / "features.npy").read(0, np.searchsorted(own.rows, partition.train))]
    seen.append(FeatureFile(inner / "features.npy").read(0, rows))
    share = Share(torch.from_numpy(np.concatenate(seen)), torch.from_numpy(inside[train]), float(weight.min()))
    enriched = EnrichedFeatures(own, Features(inner, rows, views.z), file.n, weight, share)
    sampler = EpochBatches(train[:, None], readout.batch_size, data.seed + 1, True)
    return DataLoader(enriched, batch_size=None, sampler=sampler, collate_fn=_as_it_is), seconds  # pyright: ignore[reportArgumentType]


def _as_it_is(batch: Any) -> Any:
    return batch

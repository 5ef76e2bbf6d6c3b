"""What a few steps of training do: by this alone two settings are told apart, not by what objects say of themselves."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

# Two epochs: what grows from epoch to epoch, such as a warm-up, is the same in the first
EPOCHS, BATCHES = 2, 2


@dataclass(frozen=True)
class Batches:
    """The first training and validation batches of a data module, and how many there are."""

    train: list[Any]
    val: list[Any]
    number: int | None

    @property
    def digest(self) -> str:
        """Of their content."""
        return _digest([self.train, self.val, self.number])


def first_batches(data: L.LightningDataModule) -> Batches:
    """Of data that has been prepared."""
    data.setup("fit")
    train, val = data.train_dataloader(), data.val_dataloader()
    number = len(train) if hasattr(train, "__len__") else None
    return Batches(list(islice(train, BATCHES)), list(islice(val, 1)), number)


def trained_digest(model: L.LightningModule, batches: Batches) -> str:
    """Of everything that a short training leaves: weights, shapes, logged values, settings of the optimizers.

    An argument that the model takes and keeps, but that never reaches a layer or the loss, leaves no trace in it.
    """
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads may differ from run to run
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)  # of dropout and noise: the same for all
            trainer.fit(model, train_dataloaders=_loader(batches.train), val_dataloaders=_loader(batches.val))
    finally:
        torch.set_num_threads(threads)
    settings = [
        {key: value for key, value in group.items() if key != "params"}
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
    ]
    # what the first stage does not change, a later one may: which weights it is that are trained
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return _digest([dict(model.state_dict()), dict(trainer.callback_metrics), settings, trainable])


def _loader(batches: list[Any]) -> DataLoader[Any]:
    """A bare list would be taken for several loaders."""
    return DataLoader(batches, batch_size=None, collate_fn=_as_it_is)  # pyright: ignore[reportArgumentType]


def _as_it_is(batch: Any) -> Any:
    return batch


def _digest(thing: Any) -> str:
    found = hashlib.sha256()
    _add(found, thing)
    return found.hexdigest()


def _add(found: Any, thing: Any) -> None:
    """Feed plain values, arrays and containers of them to a hash."""
    if isinstance(thing, Tensor):
        _add(found, thing.detach().cpu().numpy())
    elif isinstance(thing, np.ndarray):
        found.update(f"{thing.dtype}{thing.shape}".encode())
        found.update(np.ascontiguousarray(thing).tobytes())
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            found.update(str(key).encode())
            _add(found, value)
    elif isinstance(thing, Sequence) and not isinstance(thing, (str, bytes)):
        found.update(f"[{len(thing)}".encode())
        for value in thing:
            _add(found, value)
    elif thing is None or isinstance(thing, (bool, int, float, str, bytes)):
        found.update(repr(thing).encode())
    elif hasattr(thing, "__dict__"):
        _add(found, vars(thing))
    else:
        found.update(type(thing).__qualname__.encode())


__all__ = ["Batches", "first_batches", "trained_digest"]

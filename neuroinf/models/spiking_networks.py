"""Training of networks of several neuron types, many replicates of each, on the same data."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Adamax, Optimizer

from neuroinf.datasets.memorisation import Labelled
from neuroinf.errors import InputError
from neuroinf.models.spiking_network import Layer, SpikingNetwork, scores

OPTIMIZERS: dict[str, type[Adam] | type[Adamax]] = {"adam": Adam, "adamax": Adamax}
Stage = Literal["train", "val", "test"]


class SpikingNetworks(L.LightningModule):
    r"""Minimises :math:`-\log \mathrm{softmax}(\max_t y_t)_k` of the right class k, for all networks at once.

    No sum mixes two networks, and the optimizers work number by number: each is trained as it would be alone. There is
    no penalty, clipping or schedule. A batch's accuracy is that before its step.

    Args:
        networks: Layers of each kind of network.
        inputs: I channels of the data.
        classes: Of the data: units of every last layer.
        replicates: N of each kind, with their own weights. If the data have N sets of patterns, each has its own.
        optimizer: adam or adamax, with torch's defaults but for `lr`.
        lr: Learning rate.
        seed: Of the weights.
        stuck_below: A replicate with a lower accuracy counts as stuck.
        reported: Others' results to print beside ours: of each column and kind a number.

    Attributes:
        history: Of each stage and kind, "loss" and "accuracy" of each epoch (epochs, N).
        seconds: Spent in each kind's training.

    Raises:
        InputError: on an impossible value.
    """

    def __init__(
        self,
        networks: dict[str, list[Layer]],
        inputs: int,
        classes: int,
        replicates: int = 10,
        optimizer: Literal["adam", "adamax"] = "adam",
        lr: float = 2.0e-3,
        seed: int = 0,
        stuck_below: float = 0.65,
        reported: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if not networks:
            raise InputError("model.networks: expected at least one kind of network, found none")
        for kind, layers in networks.items():
            if not layers or layers[-1].units != classes:
                raise InputError(
                    f"model.networks.{kind}: expected a last layer of {classes} units, one for each class, found "
                    f"{layers[-1].units if layers else 'no layer'}"
                )
        if replicates < 1 or not (math.isfinite(lr) and lr > 0):
            raise InputError(f"model: expected 1 or more replicates and a positive lr, found {replicates} and {lr}")
        for column, values in (reported or {}).items():
            if unknown := set(values) - set(networks):
                raise InputError(
                    f"model.reported.{column}: expected kinds of {', '.join(networks)}, found {', '.join(sorted(unknown))}"
                )
        self.networks, self.inputs, self.classes, self.replicates = networks, inputs, classes, replicates
        self.optimizer, self.lr, self.seed, self.stuck_below = optimizer, lr, seed, stuck_below
        self.reported = {column: dict(values) for column, values in (reported or {}).items()}
        self.kinds = nn.ModuleDict(
            {
                kind: SpikingNetwork(layers, inputs, self._generators(i))
                for i, (kind, layers) in enumerate(networks.items())
            }
        )
        self.history: dict[str, dict[str, list[list[float]]]] = {}
        self.seconds = dict.fromkeys(networks, 0.0)
        self._sums: dict[str, list[Tensor | float]] = {}

    def _generators(self, kind: int) -> list[torch.Generator]:
        """Of the weights of each replicate of a kind: the same however many others there are."""
        seeds = [np.random.SeedSequence(self.seed, spawn_key=(kind, n)) for n in range(self.replicates)]
        return [torch.Generator().manual_seed(int(s.generate_state(1, np.uint64)[0] >> 1)) for s in seeds]

    def configure_optimizers(self) -> Optimizer:
        """Over all weights at once."""
        return OPTIMIZERS[self.optimizer](self.parameters(), lr=self.lr)

    def training_step(self, batch: Labelled, batch_idx: int) -> None:
        """A step of every network."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        for kind, network in self.kinds.items():
            start = time.perf_counter()
            # each kind by itself, so that no more than one has its states in memory
            self.manual_backward(self._scored("train", kind, network, batch).sum())
            self.seconds[kind] += time.perf_counter() - start
        optimizer.step()

    def validation_step(self, batch: Labelled, batch_idx: int) -> None:
        """Adds up scores."""
        for kind, network in self.kinds.items():
            self._scored("val", kind, network, batch)

    def test_step(self, batch: Labelled, batch_idx: int) -> None:
        """Adds up scores."""
        for kind, network in self.kinds.items():
            self._scored("test", kind, network, batch)

    def _scored(self, stage: Stage, kind: str, network: nn.Module, batch: Labelled) -> Tensor:
        events, labels = batch
        loss, accuracy = scores(network(events), labels)
        size = labels.shape[1]
        key = f"{stage}/{kind}"
        total = self._sums.setdefault(key, [0.0, 0.0, 0.0])
        for i, value in enumerate((loss.detach(), accuracy, 1.0)):
            total[i] = total[i] + size * value
        return loss

    def _finish(self, stage: Stage) -> None:
        """An epoch's means into the history."""
        for kind in self.networks:
            loss, accuracy, size = self._sums.pop(f"{stage}/{kind}")
            found = self.history.setdefault(f"{stage}/{kind}", {"loss": [], "accuracy": []})
            for name, total in (("loss", loss), ("accuracy", accuracy)):
                assert isinstance(total, Tensor)
                mean = total / size
                found[name].append(mean.tolist())
                self.log(f"{stage}/{name}/{kind}", mean.mean())

    def on_train_epoch_end(self) -> None:
        """Scores of the epoch, each batch's before its step."""
        self._finish("train")

    def on_validation_epoch_end(self) -> None:
        """Scores of the held-out recordings."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Scores of the test."""
        self._finish("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The history goes along, and the neurons' whole graphs."""
        layers = {
            kind: [{"neuron": layer.cascade.graph, "units": layer.units, "scale": layer.scale} for layer in network]
            for kind, network in self.networks.items()
        }
        checkpoint["networks"] = {"layers": layers, "history": self.history, "seconds": self.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """And comes back."""
        self.history, self.seconds = checkpoint["networks"]["history"], checkpoint["networks"]["seconds"]

"""What `train.py` does with a configuration of networks: train all kinds and replicates, and write their table."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from neuroinf.evaluation.network_table import NAMES, Spread, network_table, spread
from neuroinf.experiment import StudyCLI, configurations, parse
from neuroinf.models.spiking_networks import SpikingNetworks
from neuroinf.training import fit


class NetworkCLI(StudyCLI):
    """A run folder named after the configuration; the data may be any module of labelled rasters."""

    links = ("inputs", "classes")


def is_network_study(arguments: Sequence[str]) -> bool:
    """Whether the configuration that a command line names is one of networks: it has model.networks."""
    models = [content.get("model") for content in configurations(arguments) if isinstance(content, dict)]
    return any(isinstance(model, dict) and "networks" in model for model in models)


def network_study(arguments: Sequence[str]) -> NetworkCLI:
    """Data, model and trainer that a command line describes; nothing is trained or written.

    Args:
        arguments: As on the command line: --config FILE, then flags, which win.

    Raises:
        InputError: on a bad configuration.
    """
    groups = {"checkpoint": ModelCheckpoint}
    return parse(NetworkCLI, SpikingNetworks, L.LightningDataModule, arguments, groups, log_every=1, any_data=True)


def train_networks(arguments: Sequence[str]) -> Path:
    """Train all networks of a configuration, test them if there is a test, print and write the tables.

    The run's folder gets model.ckpt, metrics.csv (means of each epoch), table.txt and results.json (every replicate and
    epoch). A finished run is not repeated; an interrupted one continues.

    Args:
        arguments: As on the command line.

    Returns:
        The checkpoint.

    Raises:
        InputError: on a bad configuration or file.
    """
    cli = network_study(arguments)
    folder, final = cli.folder, cli.folder / "model.ckpt"
    if final.is_file():
        print(f"this configuration has been trained: {final} (delete it to train again)", file=sys.stderr)
        print((folder / "table.txt").read_text(), end="")
        return final
    data: Any = cli.datamodule
    data.prepare_data()
    origin = data.origin  # reads the file: if it is damaged, nothing has been written yet
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(cli.written)
    cli.trainer.loggers = cli.loggers(folder)
    print(f"data: {origin}", file=sys.stderr)
    fit(cli.trainer, cli.model, folder / "last.ckpt", folder, datamodule=data)
    if type(data).test_dataloader is not L.LightningDataModule.test_dataloader:
        cli.trainer.test(cli.model, datamodule=data, verbose=False)
    text = tables(cli.model, origin)
    (folder / "table.txt").write_text(text + "\n")
    results = {"data": origin, "history": cli.model.history, "seconds": cli.model.seconds}
    results["spread"] = {
        f"{stage}/{kind}": dataclasses.asdict(found)
        for stage in NAMES
        for kind, found in spreads(cli.model, stage).items()
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    cli.trainer.save_checkpoint(final)
    print(text)
    return final


def spreads(model: SpikingNetworks, stage: str, epoch: int = -1) -> dict[str, Spread]:
    """Of each kind after an epoch; empty if there is no such stage."""
    found = {kind: model.history.get(f"{stage}/{kind}") for kind in model.networks}
    return {
        kind: spread(scores["accuracy"][epoch], scores["loss"][epoch], model.stuck_below)
        for kind, scores in found.items()
        if scores is not None
    }


def tables(model: SpikingNetworks, origin: str) -> str:
    """Accuracy at the end of the training and half way, on what was trained and on what was not; time of each kind."""
    epochs = len(model.history[f"train/{next(iter(model.networks))}"]["loss"])
    parts = []
    shown = [("train", epochs // 2), ("train", epochs), ("val", epochs), ("test", epochs)]
    last = max((stage for stage, _ in shown if spreads(model, stage)), key=list(NAMES).index)
    for stage, epoch in shown:
        # tests have one entry, whatever the number of epochs
        found = spreads(model, stage, epoch - 1 if stage != "test" else -1) if epoch else {}
        if found:
            beside = model.reported if (stage, epoch) == (last, epochs) else {}
            title = f"{NAMES[stage]} accuracy at epoch {epoch}: {origin}"
            parts.append(network_table(title, list(model.networks), found, model.stuck_below, beside))
    each = epochs * model.replicates
    times = ", ".join(f"{kind} {1e3 * seconds / each:.1f}" for kind, seconds in model.seconds.items())
    return "\n\n".join([*parts, f"training, ms per epoch and network: {times}"])

"""`neuroinf simulate --config C [--output F]`: the dataset of an experiment, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from neuroinf.configuration import one_line
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import generate
from neuroinf.destinations import check_file
from neuroinf.errors import InputError


def simulate(arguments: Sequence[str]) -> None:
    """Simulate, or complete, the dataset that an experiment's configuration describes.

    Args:
        arguments: --config FILE, optionally --output FILE and any --data.key=value of the configuration.

    Raises:
        InputError: on a bad configuration, or if the file there was made by another one.
    """
    data, output = read_data(arguments)
    target = Path(output or data.path)
    check_file(target, "--output" if output else "data.path")
    path = generate(data.simulation, target, workers=data.simulation_workers)
    print(f"dataset: {path}")


def read_data(arguments: Sequence[str]) -> tuple[SimulationDataModule, str | None]:
    """The data part of an experiment's configuration; what belongs to the training is passed over."""
    parser = ArgumentParser(
        prog="neuroinf simulate", description="Simulate the dataset of an experiment.", exit_on_error=False
    )
    parser.add_argument("--config", action="config", help="the experiment's YAML")
    parser.add_argument("--output", type=str | None, default=None, help="write here instead of data.path")
    parser.add_class_arguments(SimulationDataModule, "data")
    for training in ("model", "trainer", "early_stopping", "checkpoint", "readout"):
        parser.add_argument(f"--{training}", type=dict[str, Any] | None, default=None, help="of train.py; passed over")
    for training in ("name", "runs"):
        parser.add_argument(f"--{training}", type=str | None, default=None, help="of train.py; passed over")
    parser.add_argument("--views", type=int | None, default=None, help="of train.py; passed over")
    parser.add_argument("--seed_everything", type=Any, default=None, help="of train.py; passed over")
    if not any(argument.split("=")[0] == "--config" for argument in arguments) and not {"-h", "--help"} & set(
        arguments
    ):
        raise InputError("neuroinf simulate: expected --config FILE, found no configuration; see configs/")
    try:
        config = parser.parse_args(list(arguments))
        built = parser.instantiate_classes(config)
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        raise one_line(error, arguments, {"data": SimulationDataModule}) from error
    return built["data"], config.output

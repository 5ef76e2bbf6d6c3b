"""`neuroinf simulate --config C [--output F]`: the dataset of an experiment, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser

from neuroinf.configuration import one_line
from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.destinations import check_file
from neuroinf.errors import InputError


def simulate(arguments: Sequence[str]) -> None:
    """Simulate, or complete, the dataset that an experiment's configuration describes.

    Args:
        arguments: --config FILE, optionally --output FILE and any --data.key=value of the configuration.

    Raises:
        InputError: on a bad configuration, or if the file there was made by another one.
    """
    data, output = read_population(arguments) if is_population(arguments) else read_data(arguments)
    target = Path(output or data.path)
    check_file(target, "--output" if output else "data.path")
    path = generate(data.simulation, target, workers=data.simulation_workers)
    print(f"dataset: {path}")


def read_data(arguments: Sequence[str]) -> tuple[SimulationDataModule, str | None]:
    """The data part of an experiment's configuration; what belongs to the training is passed over."""
    parser = _parser(arguments)
    parser.add_class_arguments(SimulationDataModule, "data")
    try:
        config = parser.parse_args(list(arguments))
        built = parser.instantiate_classes(config)
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        raise one_line(error, arguments, {"data": SimulationDataModule}) from error
    return built["data"], config.output


# simulators whose configurations have other keys beside the simulation than a neuron's
POPULATIONS = ("Population", "MicroscopicNetwork", "MesoscopicNetwork")


class SimulatedPopulation(NamedTuple):
    """What of a population's configuration says how it is simulated."""

    path: str
    simulation: Simulation
    simulation_workers: int


def is_population(arguments: Sequence[str]) -> bool:
    """Whether the configuration that a command line names simulates populations."""
    try:
        simulator = _data(arguments)["simulation"]["simulator"]["class_path"]
    except (KeyError, TypeError):
        return False  # for the parser to tell
    return str(simulator).split(".")[-1] in POPULATIONS


def read_population(arguments: Sequence[str]) -> tuple[SimulatedPopulation, str | None]:
    """The part of a population's configuration that is simulated; how it is cut, hidden and learnt is passed over."""
    parser = _parser(arguments)
    parser.add_argument("--data.path", type=str, required=True, help="the HDF5 file")
    parser.add_argument("--data.simulation", type=Simulation, required=True, help="what it holds")
    parser.add_argument("--data.simulation_workers", type=int, default=2, help="processes that simulate")
    flags = [word.split("=")[0].removeprefix("--data.") for word in arguments if word.startswith("--data.")]
    for key in dict.fromkeys([*_data(arguments), *flags]):
        if str(key).split(".")[0] not in SimulatedPopulation._fields:
            parser.add_argument(f"--data.{key}", type=_as_it_is, default=None, help="of train.py; passed over")
    try:
        config = parser.parse_args(list(arguments))
        data = parser.instantiate_classes(config)["data"]
    except Exception as error:  # jsonargparse raises many types for a bad configuration
        raise one_line(error, arguments, {"data": SimulatedPopulation}) from error
    return SimulatedPopulation(data["path"], data["simulation"], data["simulation_workers"]), config.output


def _as_it_is(value: object) -> object:
    """A type for what is passed over: with Any, a class that it names would be imported and made."""
    return value


def _data(arguments: Sequence[str]) -> Mapping[str, Any]:
    """The section `data` of the configuration files; empty if they cannot be read."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    found: dict[str, Any] = {}
    for file in [Path(value) for key, value in pairwise(words) if key == "--config"]:
        try:
            found |= yaml.safe_load(file.read_text())["data"]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return {}
    return found


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    """What both kinds of configuration have.

    Raises:
        InputError: if no configuration is named.
    """
    if not any(argument.split("=")[0] == "--config" for argument in arguments) and not {"-h", "--help"} & set(
        arguments
    ):
        raise InputError("neuroinf simulate: expected --config FILE, found no configuration; see configs/")
    parser = ArgumentParser(
        prog="neuroinf simulate", description="Simulate the dataset of an experiment.", exit_on_error=False
    )
    parser.add_argument("--config", action="config", help="the experiment's YAML")
    parser.add_argument("--output", type=str | None, default=None, help="write here instead of data.path")
    for training in ("model", "trainer", "early_stopping", "checkpoint", "readout", "enrichment", "activity"):
        parser.add_argument(f"--{training}", type=dict[str, Any] | None, default=None, help="of train.py; passed over")
    for training in ("name", "runs", "architecture"):
        parser.add_argument(f"--{training}", type=str | None, default=None, help="of train.py; passed over")
    parser.add_argument("--views", type=int | None, default=None, help="of train.py; passed over")
    parser.add_argument("--seed_everything", type=Any, default=None, help="of train.py; passed over")
    return parser

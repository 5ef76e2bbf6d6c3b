"""Cascades, their networks and their recordings, good ones and ways to make them bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml

Make = Callable[[Path], list[str]]
TAUS = {"na_tau": 5.0, "ca_tau": 40.0, "nmda_tau": 80.0}
NAMES = [f"{subunit}_{name}" for subunit in ("na", "ca", "nmda") for name in ("loc", "width", "gain")]
SIMULATOR = {
    "class_path": "neuroinf.simulators.Cascade",
    "init_args": {"graph": "graph.yaml", "record": ["voltage"], "fixed": TAUS},
}
PRC: dict[str, Any] = {
    "name": "prc",
    "data.path": "data/prc.h5",
    "data.simulation.n": 20,
    "data.simulation.simulator": SIMULATOR,
    "data.simulation.prior.init_args.parameters": {name: {"unit": "1", "low": 0.5, "high": 1.0} for name in NAMES},
    "data.simulation.stimulus": {
        "class_path": "neuroinf.stimuli.Stack",
        "init_args": {
            "components": [
                {
                    "class_path": "neuroinf.stimuli.BiexponentialInput",
                    "init_args": {"duration": 100.0, "amplitude": 7.0},
                },
                {"class_path": "neuroinf.stimuli.Constant", "init_args": {"duration": 100.0, "amplitude": 0.0}},
            ]
        },
    },
    "data.observation": {"channels": ["voltage", "stimulus"], "dt": 1.0, "noise": {"voltage": 0.05}, "inputs": 2},
    "model.encoder": {
        "class_path": "neuroinf.networks.TraceEncoder",
        "init_args": {"samples": 100, "hidden": 8, "roles": ["response", "input", "input"]},
    },
}
STUDY: dict[str, Any] = {
    "name": "study",
    "model": {
        "networks": {
            "bap": [
                {"neuron": "bap.yaml", "units": 3, "scale": 3.0},
                {"neuron": "readout.yaml", "units": 2, "scale": 7.0},
            ]
        },
        "replicates": 1,
    },
    "data": {
        "class_path": "neuroinf.datasets.memorisation.RandomPatterns",
        "init_args": {"replicates": 1, "patterns": 4, "inputs": 5, "steps": 20, "classes": 2},
    },
    "trainer": {"max_epochs": 1},
}
DIGITS = {
    "class_path": "neuroinf.datasets.heidelberg.HeidelbergDigits",
    "init_args": {"train": "train.h5", "test": "test.h5", "inputs": 5, "classes": 2, "val": 0.5},
}


def arrays(**changes: Any) -> dict[str, Any]:
    """A plausible recording: one sweep of 100 ms, nothing blocked."""
    rng = np.random.default_rng(0)
    made = {"voltage": rng.normal(0, 0.05, 100), "stimulus": np.zeros((2, 100)), "dt": np.float64(1.0)} | changes
    return {key: value for key, value in made.items() if value is not None}


def write_checkpoints(folder: Path) -> None:
    """Of networks that have learnt nothing: one of parameters, one of two candidates."""
    from neuroinf.commands.simulate import read_data
    from neuroinf.datasets import RandomRows
    from neuroinf.models.amortized import AmortizedInference
    from neuroinf.models.selection import ModelSelection
    from neuroinf.networks import Gaussian, TraceEncoder
    from neuroinf.priors import Parameter, Prior
    from neuroinf.simulators import Choice
    from neuroinf.specification import specify

    simulation = read_data(["--config", "good.yaml"])[0].simulation
    observation = read_data(["--config", "good.yaml"])[0].observation
    roles = ["response", "input", "input"]

    def encoder(channels: int) -> TraceEncoder:
        return TraceEncoder(channels, 100, 8, roles=roles)  # type: ignore[arg-type]

    model = AmortizedInference(simulation.prior, observation, encoder, lambda f, p: Gaussian(f, p, [8]))
    stated = specify(simulation)
    model.provenance = {"dt": 0.1, "duration": 100.0, "simulation": stated, "test_simulation": stated}
    model.provenance["split"] = specify(RandomRows())
    candidates = Choice({"one": simulation.simulator, "other": simulation.simulator})
    parameters = {name: Parameter("1", 0.5, 1.0) for name in simulation.simulator.parameters}
    prior = Prior(parameters | {"class": Parameter("1", 0.0, 2.0)})
    selection = ModelSelection(prior, observation, encoder, candidates, hidden=[4])
    selection.provenance = {"simulation": stated, "test_simulation": stated}
    for name, each in (("good.ckpt", model), ("which.ckpt", selection)):
        saved: dict[str, Any] = {"state_dict": each.state_dict()}
        each.on_save_checkpoint(saved)
        torch.save(saved, folder / name)


def graph(change: Callable[[dict[str, Any]], Any], *command: str) -> Make:
    """The good graph, changed; command, or `neuroinf simulate`."""

    def make(folder: Path) -> list[str]:
        described = yaml.safe_load((folder / "graph.yaml").read_text())
        change(described)
        (folder / "graph.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
        return list(command or ("neuroinf", "simulate", "--config", "good.yaml"))

    return make


def text(written: str, *command: str, name: str = "graph.yaml") -> Make:
    """A file of this content."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_text(written)
        return list(command or ("neuroinf", "simulate", "--config", "good.yaml"))

    return make


def config(name: str, change: Callable[[dict[str, Any]], Any], command: str = "train.py") -> Make:
    """A good configuration, changed."""

    def make(folder: Path) -> list[str]:
        described = yaml.safe_load((folder / name).read_text())
        change(described)
        (folder / name).write_text(yaml.safe_dump(described, sort_keys=False))
        return [*command.split(), "--config", name]

    return make


def simulator(**changes: Any) -> Make:
    """Other arguments of the cascade."""
    return config(
        "good.yaml",
        lambda c: c["data"]["simulation"]["simulator"]["init_args"].update(changes),
        "neuroinf simulate",
    )


def recording(**changes: Any) -> Make:
    """A recording with other arrays."""

    def make(folder: Path) -> list[str]:
        np.savez(folder / "bad.npz", **arrays(**changes))
        return ["neuroinf", "infer", "good.ckpt", "bad.npz", "--output", "out"]

    return make


def call(*command: str) -> Make:
    """A command on the good files."""
    return lambda folder: list(command)


def digits(write: Callable[[Path], Any]) -> Make:
    """A study of digits whose training file is written so, the test file with no spikes."""

    def make(folder: Path) -> list[str]:
        write(folder / "train.h5")
        heidelberg(folder / "test.h5")
        return config("study.yaml", lambda c: c.update(data=DIGITS))(folder)

    return make


def heidelberg(path: Path, **changes: Any) -> None:
    """Four recordings of a spike each, in the published form; None: left out."""
    kind = {"times": np.float32, "units": np.int32}
    made: dict[str, Any] = {"times": [[0.1]] * 4, "units": [[1]] * 4, "labels": [0, 1, 0, 1]}
    with h5py.File(path, "w") as file:
        for name, rows in (made | changes).items():
            if rows is None:
                continue
            if name == "labels":
                file[name] = np.asarray(rows)
                continue
            stored = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(kind[name]))
            for i, row in enumerate(rows):
                stored[i] = row


def taken(part: str, *names: str) -> Callable[[dict[str, Any]], Any]:
    """Removes edges into subunits, or keys of a part."""

    def change(described: dict[str, Any]) -> None:
        if part == "edges":
            described["edges"] = [edge for edge in described["edges"] if edge["target"] not in names]
        else:
            described.pop(part)

    return change


def prior_of(name: str, described: dict[str, Any]) -> Make:
    """A time constant that is inferred, too."""

    def change(c: dict[str, Any]) -> None:
        simulation = c["data"]["simulation"]
        simulation["simulator"]["init_args"]["fixed"].pop(name)
        simulation["prior"]["init_args"]["parameters"][name] = described

    return config("good.yaml", change, "neuroinf simulate")


def kind_of_study(c: dict[str, Any]) -> None:
    c["model"]["networks"]["bap"][0]["kind"] = "lstm"

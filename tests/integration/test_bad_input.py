"""Whatever a user gets wrong: one line on stderr that begins with "error: ", exit code 2, and not a byte written."""

import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from command_lines import LONGEST, ROOT, content, in_this_process

from neuroinf import cli

# writes the bad file into a folder, by means of a writer of changed configurations; returns the command
Make = Callable[[Path, Callable[..., Path]], list[str]]

SIMULATION = "data.simulation"
SIMULATOR, PRIOR = f"{SIMULATION}.simulator", f"{SIMULATION}.prior.init_args.parameters"


# -- files, good and bad ---------------------------------------------------------------------------------------------


def sweep(**changes: Any) -> dict[str, Any]:
    """Arrays of a plausible recording: a membrane with a spike now and then under noise current."""
    rng = np.random.default_rng(0)
    arrays = {
        "dt": np.float64(1.0),
        "voltage": -70 + rng.standard_normal(200),
        "stimulus": rng.normal(100, 30, 200),
        "spikes": np.array([50.0, 120.0]),
    }
    return arrays | changes


def write_dataset(path: Path, config: Path) -> None:
    """A dataset as `neuroinf simulate` makes it."""
    from neuroinf.commands.simulate import simulate

    simulate(["--config", str(config), "--output", str(path)])


def write_checkpoint(path: Path, dataset: Path) -> None:
    """A checkpoint as train.py releases it, of a network that has learnt nothing."""
    from neuroinf.datasets import Observation, RandomRows
    from neuroinf.datasets.schema import Dataset
    from neuroinf.models.amortized import AmortizedInference
    from neuroinf.networks import BiLSTM, Gaussian
    from neuroinf.specification import specify

    file = Dataset(dataset)
    torch.manual_seed(0)
    observation = Observation(noise={"voltage": [0.05, 2.0]}, spike_cut=3.8)
    model = AmortizedInference(file.prior, observation, lambda c: BiLSTM(c, 4), lambda f, p: Gaussian(f, p, [8]))
    model.provenance = {
        "dt": 0.1,
        "duration": 200.0,
        "simulation": file.specification,
        "test_simulation": file.specification,
        "split": specify(RandomRows()),
    }
    content: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)


WEIGHT = {"unit": "1", "low": -0.3, "high": 0.3}
GLM: dict[str, Any] = {
    "name": "glm",
    "data.path": "data/glm.h5",
    f"{SIMULATION}.n": 30,
    SIMULATOR: {"class_path": "neuroinf.simulators.GLM", "init_args": {"inputs": 3, "hidden": 1, "output": "rate"}},
    PRIOR: dict.fromkeys(["w_1", "w_2", "w_3", "b", "w_hidden"], WEIGHT),
    f"{SIMULATION}.stimulus": {
        "class_path": "neuroinf.stimuli.GaussianInputs",
        "init_args": {"inputs": 4, "duration": 200.0},
    },
    f"{SIMULATION}.dt": 1.0,
    "data.observation": {"channels": ["rate", "stimulus"], "inputs": 3, "duration": [20.0, 200.0]},
    "model.encoder": {"class_path": "neuroinf.networks.GLMEncoder", "init_args": {}},
    "model.density": {"class_path": "neuroinf.networks.AnchoredFlow", "init_args": {"hidden": [8], "signed": True}},
}
COUNTS = {
    SIMULATOR: {
        "class_path": "neuroinf.simulators.GLM",
        "init_args": {"inputs": 3, "hidden": 1, "output": "bernoulli"},
    },
    "data.observation": GLM["data.observation"] | {"channels": ["count", "stimulus"]},
}


def bins(**changes: Any) -> dict[str, Any]:
    """Arrays of a plausible logistic neuron in bins, with 3 inputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 200))
    arrays = {"rate": 1 / (1 + np.exp(-0.2 * x.sum(0) - 0.1 * rng.standard_normal(200))), "stimulus": x}
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write_glm_checkpoint(path: Path, config: Path) -> None:
    """A checkpoint of a network for GLM neurons that has learnt nothing."""
    from neuroinf.commands.simulate import read_data
    from neuroinf.datasets import RandomRows
    from neuroinf.models.amortized import AmortizedInference
    from neuroinf.networks import AnchoredFlow, GLMEncoder
    from neuroinf.specification import specify

    data, _ = read_data(["--config", str(config)])
    simulation = data.simulation
    torch.manual_seed(0)
    model = AmortizedInference(
        simulation.prior,
        data.observation,
        GLMEncoder,
        lambda f, p: AnchoredFlow(f, p, [8], signed=True),
        simulator=simulation.simulator,
    )
    described = specify(simulation)
    model.provenance = {
        "dt": 1.0,
        "duration": 200.0,
        "simulation": described,
        "test_simulation": described,
        "split": specify(RandomRows()),
    }
    content: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Any], write_config: Any) -> Path:
    """A folder in which every command would work."""
    folder = tmp_path_factory.mktemp("good")
    config = write_config(folder / "good.yaml", tiny({f"{SIMULATION}.n": 30}))
    write_dataset(folder / "data" / "tiny.h5", config)
    write_checkpoint(folder / "good.ckpt", folder / "data" / "tiny.h5")
    np.savez(folder / "good.npz", **sweep())
    write_glm_checkpoint(folder / "rates.ckpt", write_config(folder / "glm.yaml", tiny(GLM)))
    write_glm_checkpoint(folder / "counts.ckpt", write_config(folder / "counts.yaml", tiny(GLM | COUNTS)))
    np.savez(folder / "bins.npz", **bins())
    return folder


# -- what is wrong ---------------------------------------------------------------------------------------------------


def config(key: str, value: Any, command: str = "train.py") -> Make:
    """The good configuration with one value changed (None: removed)."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        write(folder / "bad.yaml", {f"{SIMULATION}.n": 30, key: value})
        return [*command.split(), "--config", "bad.yaml"]

    return make


def glm(key: str, value: Any, command: str = "train.py") -> Make:
    """The good configuration of GLM neurons with one value changed (None: removed)."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        write(folder / "bad.yaml", GLM | {key: value})
        return [*command.split(), "--config", "bad.yaml"]

    return make


def binned(network: str = "rates.ckpt", **changes: Any) -> Make:
    """A recording in bins with other arrays, for a network of rates or counts."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        np.savez(folder / "bad.npz", **bins(**changes))
        return ["neuroinf", "infer", network, "bad.npz", "--output", "out"]

    return make


def text(content: str | bytes, *command: str, name: str = "bad.yaml") -> Make:
    """A file of this content, and a command that reads it."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return list(command) or ["train.py", "--config", name]

    return make


def call(*command: str) -> Make:
    """A command on the good files."""
    return lambda folder, write: list(command)


def truncated(name: str, *command: str, kept: float = 0.6) -> Make:
    """The beginning of a good file."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        return list(command)

    return make


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def flipped_dataset(*command: str) -> Make:
    """One bit of the stored voltage is another."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        path = folder / "data" / "tiny.h5"
        with h5py.File(path) as file:
            info = file["response/voltage"].id.get_chunk_info(0)  # type: ignore[union-attr]
        flip(path, info.byte_offset + info.size // 2)
        return list(command)

    return make


def flipped_checkpoint(*command: str) -> Make:
    """One bit of the weights is another."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        path = folder / "good.ckpt"
        with zipfile.ZipFile(path) as archive:
            weights = [record for record in archive.infolist() if "/data/" in record.filename]
            largest = max(weights, key=lambda record: record.file_size)
            content = archive.read(largest)
        flip(path, path.read_bytes().index(content) + len(content) // 2)
        return list(command)

    return make


def attribute(name: str, value: Any, *command: str) -> Make:
    """A dataset with another attribute."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        with h5py.File(folder / "data" / "tiny.h5", "a") as file:
            file.attrs[name] = value
        return list(command)

    return make


def other_dataset(*command: str) -> Make:
    """A dataset of a simulator with other free parameters, at other.h5."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        fixed = {"spike_cut_length": 3.8, "th_inf": 25.0}
        initial = {"level": 1, "frame": "absolute", "fixed": fixed}
        changes = {f"{SIMULATION}.n": 4, f"{SIMULATOR}.init_args": initial, f"{PRIOR}.th_inf": None}
        write_dataset(folder / "other.h5", write(folder / "other.yaml", changes))
        return list(command)

    return make


def recording(*command: str, suffix: str = ".npz", **changes: Any) -> Make:
    """A recording with other arrays; command, or `neuroinf infer` into a folder."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        arrays = {key: value for key, value in sweep(**changes).items() if value is not None}
        if suffix == ".npz":
            np.savez(folder / "bad.npz", **arrays)
        else:
            with h5py.File(folder / f"bad{suffix}", "w") as file:
                for key, value in arrays.items():
                    file[key] = value
        return list(command) or ["neuroinf", "infer", "good.ckpt", f"bad{suffix}", "--output", "out"]

    return make


def nwb(*command: str, kept: float = 1.0) -> Make:
    """An NWB file without any sweep, or the beginning of one."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        from pynwb import NWBHDF5IO, NWBFile

        path, start = folder / "empty.nwb", datetime(2020, 1, 1, tzinfo=timezone.utc)
        file: Any = NWBFile(session_description="nothing", identifier="empty", session_start_time=start)
        writer: Any = NWBHDF5IO(path=str(path), mode="w")
        with writer:
            writer.write(file)
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        return list(command)

    return make


class Payload:
    """Runs code when it is unpickled: it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def payload(kind: str, *command: str) -> Make:
    """A good checkpoint with a payload beside the weights, a bare pickle, or an array file of objects."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        bomb = Payload(folder / "marker")
        if kind == "bare":
            (folder / "bad.ckpt").write_bytes(pickle.dumps(bomb))
        elif kind == "array":
            np.savez(folder / "bad.npz", **sweep(voltage=np.array([bomb], dtype=object)))
        else:
            content = torch.load(folder / "good.ckpt", weights_only=True)
            torch.save(content | {"callbacks": {"early": bomb}}, folder / "bad.ckpt")
        return list(command)

    return make


def checkpoint(change: Callable[[dict[str, Any]], Any], *command: str) -> Make:
    """A good checkpoint, changed."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        content = torch.load(folder / "good.ckpt", weights_only=True)
        change(content)
        torch.save(content, folder / "bad.ckpt")
        marker = folder / "marker"  # left by anyone who imports what the checkpoint names
        (folder / "foreign_nets.py").write_text(
            f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Net: ...\n"
        )
        return list(command)

    return make


def damaged_last(folder: Path, write: Callable[..., Path]) -> list[str]:
    """An interrupted run whose last checkpoint is not readable: found by training once, with the fit left out."""
    from neuroinf.experiment import TrainingCLI
    from neuroinf.training import train

    class Stopped(Exception):
        pass

    def stop(self: TrainingCLI, folder: Path) -> Any:
        raise Stopped(str(self.folder))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingCLI, "loggers", stop)
        with pytest.raises(Stopped) as stopped:
            train(["--config", "good.yaml"])
    (Path(str(stopped.value)) / "last.ckpt").write_bytes(b"half a checkpoint")
    return ["train.py", "--config", "good.yaml"]


def in_the_way(name: str, *command: str, folder_instead: bool = False) -> Make:
    """A file where a folder is to be, or the other way round."""

    def make(folder: Path, write: Callable[..., Path]) -> list[str]:
        if folder_instead:
            (folder / name).mkdir()
        else:
            (folder / name).write_text("precious")
        return list(command)

    return make


def two_hidden(folder: Path, write: Callable[..., Path]) -> list[str]:
    """Two hidden inputs with a weight each, for an encoder that tells only their sum."""
    names = ["w_1", "w_2", "w_3", "b", "w_hidden_1", "w_hidden_2"]
    changes = {
        SIMULATOR: {"class_path": "neuroinf.simulators.GLM", "init_args": {"inputs": 3, "hidden": 2, "output": "rate"}},
        PRIOR: dict.fromkeys(names, WEIGHT),
        f"{SIMULATION}.stimulus.init_args": {"inputs": 5, "duration": 200.0},
    }
    write(folder / "bad.yaml", GLM | changes)
    return ["train.py", "--config", "bad.yaml"]


def foreign_class(content: dict[str, Any]) -> None:
    content["neuroinf"]["encoder"]["class_path"] = "foreign_nets.Net"


def foreign_simulator(content: dict[str, Any]) -> None:
    for which in ("simulation", "test_simulation"):
        content["neuroinf"]["provenance"][which]["init_args"]["simulator"] = {"class_path": "foreign_nets.Net"}


TRAIN = ("train.py", "--config", "good.yaml")
SIMULATE = ("neuroinf", "simulate", "--config", "good.yaml")
INFER = ("neuroinf", "infer", "good.ckpt", "good.npz", "--output", "out")
INFER_BAD = ("neuroinf", "infer", "bad.ckpt", "good.npz", "--output", "out")
FIT = ("neuroinf", "fit", "good.npz", "--config", "good.yaml")
EVALUATE = ("evaluate.py", "good.ckpt", "--data", "data/tiny.h5")
INFO = ("neuroinf", "info")
REGION = {"class_path": "neuroinf.datasets.HeldOutRegion", "init_args": {"region": {"C": [50.0, 60.0]}}}

# what is wrong, and words of the message: where, expected and found
CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    # keys
    "unknown section": (config("modle", {"lr": 0.1}), ("bad.yaml", "modle", "expected", "data, model")),
    "unknown key of data": (config("data.pth", "x.h5"), ("bad.yaml", "data.pth", "expected", "path")),
    "unknown key of the simulation": (
        config(f"{SIMULATION}.rows", 3),
        ("data.simulation.rows", "expected", "record_dt"),
    ),
    "unknown argument of the simulator": (
        config(f"{SIMULATOR}.init_args.levle", 3),
        ("data.simulation.simulator", "'levle'", "expected", "level, frame, fixed, record"),
    ),
    "unknown key of a parameter": (config(f"{PRIOR}.C.lower", 3.0), ("data.simulation.prior", "'lower'", "unit, low")),
    "unknown key of the trainer": (config("trainer.max_epoch", 3), ("trainer.max_epoch", "max_epochs")),
    "unknown argument of the encoder": (
        config("model.encoder.init_args.hiden", 8),
        ("model.encoder", "'hiden'", "hidden, layers"),
    ),
    "unknown flag": (call(*TRAIN, "--model.learning_rate=0.1"), ("learning_rate", "expected", "lr")),
    "unknown option of a command": (call(*INFER, "--jsn"), ("neuroinf infer", "--jsn")),
    "unknown command": (call("neuroinf", "simluate"), ("'simluate'", "expected", "simulate")),
    "key left out": (
        config(f"{SIMULATION}.n", None, "neuroinf simulate"),
        ("expected", "data.simulation.n", "found nothing"),
    ),
    # types
    "word for a whole number": (config(f"{SIMULATION}.n", "many"), ("data.simulation.n", "expected int", "found many")),
    "fraction for a whole number": (config(f"{SIMULATION}.n", 1.5), ("data.simulation.n", "expected int", "found 1.5")),
    "word for a rate": (config("model.lr", "fast"), ("model.lr", "expected float", "found fast")),
    "word for a rate on the command line": (
        call(*TRAIN, "--model.lr=fast"),
        ("model.lr", "expected float", "found fast"),
    ),
    "exponent that is no number": (call(*TRAIN, "--model.lr=1e-"), ("model.lr", "expected float", "found 1e-")),
    "word for a number of epochs": (config("trainer.max_epochs", "two"), ("trainer.max_epochs", "int", "found two")),
    "list for a stimulus": (
        config(f"{SIMULATION}.stimulus", [1]),
        ("data.simulation.stimulus", "expected a Stimulus", "[1]"),
    ),
    "word for a size of the network": (
        config("model.encoder.init_args.hidden", "big"),
        ("model.encoder", "int", "big"),
    ),
    "unknown choice": (config(f"{PRIOR}.C.scale", "logg"), ("data.simulation.prior", "'linear', 'log'", "found logg")),
    # values
    "no rows": (config(f"{SIMULATION}.n", 0), ("simulation.n", "at least 1", "found 0")),
    "unknown level": (config(f"{SIMULATOR}.init_args.level", 9), ("level", "expected 1, 2, 3, 4 or 5", "found 9")),
    "reversed range": (config(f"{PRIOR}.C.low", 300.0), ("prior range of C", "low 300", "high 200")),
    "log of a negative range": (config(f"{PRIOR}.C.low", -1.0), ("prior", "C", "log", "-1")),
    "range that is not a number": (config(f"{PRIOR}.El.high", float("nan")), ("El", "nan")),
    "parameter without a range": (config(f"{PRIOR}.El", None), ("must name", "missing ['El']")),
    "wrong unit": (config(f"{PRIOR}.C.unit", "nF"), ("takes C in pF", "in nF")),
    "step no multiple": (config(f"{SIMULATION}.dt", 0.3), ("record_dt", "whole multiple", "1.0 and 0.3")),
    "observed step no multiple": (config("data.observation.dt", 2.5), ("stimulus", "1 ms", "2.5 ms", "whole multiple")),
    "negative noise": (
        config("data.observation.noise.voltage", -0.5),
        ("observation.noise.voltage", ">= 0", "found -0.5"),
    ),
    "reversed noise": (
        config("data.observation.noise.voltage", [2.0, 0.1]),
        ("observation.noise.voltage", "increasing", "2.0"),
    ),
    "channel of no simulator": (
        config("data.observation", {"channels": ["volts", "spikes"]}),
        ("observation.channels", "['volts']", "expected", "voltage"),
    ),
    "noise on a channel not observed": (
        config("data.observation.channels", ["spikes", "stimulus"]),
        ("observation.noise", "voltage", "['spikes', 'stimulus']"),
    ),
    "no learning": (config("model.lr", -0.1), ("model.lr", "positive", "found -0.1")),
    "no epochs": (config("trainer.max_epochs", 0), ("trainer.max_epochs", "at least 1", "found 0")),
    "empty batches": (config("data.batch_size", 0), ("data.batch_size", "at least 1", "found 0")),
    "unknown accelerator": (config("trainer.accelerator", "abacus"), ("trainer", "abacus")),
    "unknown loss to watch": (
        config("early_stopping.monitor", "val/los"),
        ("early_stopping.monitor", "val/loss", "'val/los'"),
    ),
    "region of an unknown parameter": (
        config("data.split", REGION | {"init_args": {"region": {"Rm": [1.0, 2.0]}}}),
        ("split.region", "'Rm'", "R_input"),
    ),
    "reversed region": (
        config("data.split", REGION | {"init_args": {"region": {"C": [60.0, 50.0]}}}),
        ("split.region.C", "low < high", "[60.0, 50.0]"),
    ),
    "validation on everything": (config("data.split.init_args.val", 1.0), ("split.val", "[0, 1)", "found 1.0")),
    "test stimulus in another unit": (
        config(
            "data.test_stimulus",
            {"class_path": "neuroinf.stimuli.Noise2", "init_args": {"duration": 200.3, "layout": "compact"}},
        ),
        ("duration", "200.3"),
    ),
    # classes
    "misspelt class": (
        config(f"{SIMULATOR}.class_path", "neuroinf.simulators.GILF"),
        ("simulator", "neuroinf.simulators.GILF"),
    ),
    "package that is not there": (
        config(f"{SIMULATOR}.class_path", "nowhere.GLIF"),
        ("simulator", "no package nowhere"),
    ),
    "class of another kind": (
        config(f"{SIMULATION}.simulator", {"class_path": "neuroinf.stimuli.Ramp"}),
        ("data.simulation.simulator", "expected", "Simulator", "neuroinf.stimuli.Ramp"),
    ),
    "misspelt encoder": (
        config("model.encoder.class_path", "neuroinf.networks.LSTM"),
        ("model.encoder", "neuroinf.networks.LSTM"),
    ),
    "class of a package not trusted": (
        checkpoint(foreign_class, *INFER_BAD),
        ("bad.ckpt", "foreign_nets.Net", "not neuroinf's own", "--trust foreign_nets"),
    ),
    "simulator of a package not trusted": (
        checkpoint(foreign_simulator, "evaluate.py", "bad.ckpt"),
        ("foreign_nets.Net", "--trust foreign_nets"),
    ),
    "simulator of a package not trusted, to draw its response": (
        checkpoint(foreign_simulator, *INFER_BAD),
        ("foreign_nets.Net", "--trust foreign_nets"),
    ),
    # configuration files
    "no configuration": (call("neuroinf", "simulate"), ("neuroinf simulate", "expected --config", "found no")),
    "no configuration to train": (call("train.py"), ("expected", "data.simulation", "found nothing")),
    "missing configuration": (call("train.py", "--config", "absent.yaml"), ("found no file at", "absent.yaml")),
    "missing configuration to simulate": (
        call("neuroinf", "simulate", "--config", "absent.yaml"),
        ("expected a configuration", "found no file at", "absent.yaml"),
    ),
    "missing configuration to fit": (call(*FIT[:3], "--config", "absent.yaml"), ("absent.yaml", "--config")),
    "empty configuration": (text(""), ("bad.yaml", "expected sections", "found an empty file")),
    "configuration that is no YAML": (text("data: [1, 2\nmodel: }"), ("bad.yaml", "YAML", "line 2")),
    "configuration that is a list": (text("- data\n- model\n"), ("bad.yaml", "expected sections", "found - data")),
    "configuration of bytes": (text(bytes(range(128, 256))), ("bad.yaml", "expected YAML", "found bytes")),
    "unsafe YAML": (
        text("name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [marker]]\n"),
        ("bad.yaml", "python/object", "line 1"),
    ),
    "configuration of another model": (
        config(f"{SIMULATION}", None, "neuroinf fit good.npz"),
        ("expected", "data.simulation.simulator"),
    ),
    # datasets
    "dataset of another configuration": (
        call("train.py", "--config", "good.yaml", "--data.simulation.seed=7"),
        ("data/tiny.h5", "seed", "7 / 1"),
    ),
    "dataset of another simulator": (
        other_dataset("evaluate.py", "good.ckpt", "--data", "other.h5"),
        ("other.h5", "['C', 'R_input', 'El']", "good.ckpt", "th_inf", "expected"),
    ),
    "file that is no dataset": (text("precious", *TRAIN, name="data/tiny.h5"), ("data/tiny.h5", "left as it is")),
    "file in the place of the output": (
        text("precious", *SIMULATE, "--output", "precious.h5", name="precious.h5"),
        ("precious.h5", "not a finished dataset", "left as it is"),
    ),
    "truncated dataset": (truncated("data/tiny.h5", *EVALUATE), ("data/tiny.h5", "damaged", "neuroinf simulate")),
    "truncated dataset to look at": (truncated("data/tiny.h5", *INFO, "data/tiny.h5"), ("data/tiny.h5", "damaged")),
    "truncated dataset to train on": (truncated("data/tiny.h5", *TRAIN), ("data/tiny.h5",)),
    "flipped bit in a dataset": (flipped_dataset(*EVALUATE), ("data/tiny.h5", "response/voltage")),
    "flipped bit in a dataset to train on": (flipped_dataset(*TRAIN), ("data/tiny.h5", "response/voltage")),
    "dataset of another schema": (
        attribute("schema_version", 99, *EVALUATE),
        ("data/tiny.h5", "schema_version 99", "reads 1"),
    ),
    "dataset of another schema to look at": (
        attribute("schema_version", 99, *INFO, "data/tiny.h5"),
        ("data/tiny.h5", "schema_version 99", "reads 1"),
    ),
    "dataset with another attribute": (
        attribute("root_seed", 99, *INFO, "data/tiny.h5"),
        ("data/tiny.h5", "damaged or changed"),
    ),
    "dataset that is a recording": (call("evaluate.py", "good.ckpt", "--data", "good.npz"), ("good.npz", "HDF5")),
    "missing dataset": (
        call("evaluate.py", "good.ckpt", "--data", "absent.h5"),
        ("no dataset at absent.h5", "expected"),
    ),
    # checkpoints
    "missing checkpoint": (call("evaluate.py", "absent.ckpt"), ("no checkpoint at absent.ckpt", "expected")),
    "checkpoint with a payload": (payload("beside", *INFER_BAD), ("bad.ckpt", "could run code", "expected")),
    "checkpoint with a payload to evaluate": (
        payload("beside", "evaluate.py", "bad.ckpt"),
        ("bad.ckpt", "could run code"),
    ),
    "checkpoint with a payload to look at": (payload("beside", *INFO, "bad.ckpt"), ("bad.ckpt", "could run code")),
    "pickle for a checkpoint": (payload("bare", *INFO, "bad.ckpt"), ("bad.ckpt", "could run code", "expected")),
    "checkpoint of another program": (
        checkpoint(lambda content: content.pop("neuroinf"), *INFER_BAD),
        ("bad.ckpt", "another program", "expected"),
    ),
    "checkpoint without a part": (
        checkpoint(lambda content: content["neuroinf"].pop("prior"), *INFER_BAD),
        ("bad.ckpt", "expected", "prior"),
    ),
    "weights of another network": (
        checkpoint(lambda content: content["neuroinf"]["encoder"]["init_args"].update(hidden=5), *INFER_BAD),
        ("bad.ckpt", "encoder", "weights do not fit"),
    ),
    "truncated checkpoint": (truncated("good.ckpt", *INFER), ("good.ckpt", "damaged")),
    "flipped bit in a checkpoint": (flipped_checkpoint(*INFER), ("good.ckpt", "damaged", "checksum")),
    "empty checkpoint": (text("", *INFER_BAD, name="bad.ckpt"), ("bad.ckpt", "no checkpoint")),
    "text for a checkpoint": (text("hello", *INFER_BAD, name="bad.ckpt"), ("bad.ckpt", "expected")),
    "recording for a checkpoint": (call("neuroinf", "infer", "good.npz", "good.npz"), ("good.npz", "expected")),
    "damaged checkpoint of an interrupted run": (damaged_last, ("last.ckpt", "expected")),
    # recordings
    "recordings of one name": (
        call(*INFER[:3], "good.npz", "./good.npz", *INFER[4:]),
        ("good.npz", "both be written as out/good.json", "expected different names"),
    ),
    "missing recording": (call("neuroinf", "infer", "good.ckpt", "absent.nwb"), ("absent.nwb", "no such file")),
    "gap in the voltage": (
        recording(voltage=np.where(np.arange(200) == 7, np.nan, -70.0), spikes=None),
        ("voltage", "expected finite", "found 1", "sample 7"),
    ),
    "gap in the current": (
        recording(stimulus=np.where(np.arange(200) == 7, np.inf, 100.0)),
        ("stimulus", "expected finite", "found 1", "sample 7"),
    ),
    "current and voltage of different lengths": (
        recording(stimulus=np.full(150, 100.0)),
        ("one length", "200 samples of voltage", "150 of current"),
    ),
    "amperes for picoamperes": (
        recording(stimulus=np.full(200, 1e-10)),
        ("stimulus", "expected", "found 1e-10 pA", "amperes", "100 pA"),
    ),
    "picoamperes taken for amperes": (recording(stimulus=np.full(200, 1e14)), ("found 1e+14 pA", "100 pA")),
    "volts for millivolts": (recording(voltage=np.full(200, -0.07)), ("voltage", "-0.07", "volts", "-70")),
    "seconds for milliseconds": (recording(dt=np.float64(0.0001)), ("dt", "0.0001 ms", "0.1 ms")),
    "step of the recording too long": (recording(dt=np.float64(5.0)), ("at most 1 ms", "found 5 ms")),
    "one bad recording of two": (
        recording("neuroinf", "infer", "good.ckpt", "good.npz", "bad.npz", "--output", "out", dt=np.float64(5.0)),
        ("bad.npz", "at most 1 ms", "found 5 ms"),
    ),
    "unknown array": (recording(temperature=np.float64(36.0)), ("expected the arrays", "temperature")),
    "no arrays": (recording(voltage=None, stimulus=None, spikes=None), ("expected the arrays", "found dt")),
    "complex voltage": (recording(suffix=".h5", voltage=np.full(200, 1j)), ("voltage", "real numbers", "complex128")),
    "objects for a voltage": (
        payload("array", "neuroinf", "infer", "good.ckpt", "bad.npz"),
        ("bad.npz", "expected", "plain"),
    ),
    "NWB file without a sweep": (
        nwb("neuroinf", "infer", "good.ckpt", "empty.nwb"),
        ("empty.nwb", "expected at least one CurrentClampSeries", "found an empty file"),
    ),
    "truncated NWB file": (nwb(*INFO, "empty.nwb", kept=0.3), ("empty.nwb", "expected an NWB file")),
    "empty recording": (text("", "neuroinf", "infer", "good.ckpt", "bad.npz", name="bad.npz"), ("bad.npz", "expected")),
    "text for an ABF file": (text("hello", *INFO, "bad.abf", name="bad.abf"), ("bad.abf", "expected an ABF file")),
    "recording of another kind": (text("1,2", *INFO, "bad.csv", name="bad.csv"), ("bad.csv", ".nwb", "found .csv")),
    "dataset for a recording": (
        call("neuroinf", "infer", "good.ckpt", "data/tiny.h5"),
        ("data/tiny.h5", "expected a recording"),
    ),
    "folder for a recording": (call(*INFO, "data"), ("no file at data",)),
    "sweep that is not there": (call(*FIT, "--sweeps", "4"), ("--sweeps", "[4]", "0 to 0")),
    "recording without a current to fit": (
        recording(*FIT[:2], "bad.npz", *FIT[3:], stimulus=None),
        ("bad.npz", "needs voltage and stimulus", "found no stimulus"),
    ),
    # neurons in bins, with hidden inputs
    "two inputs for three": (
        binned(stimulus=np.zeros((2, 200))),
        ("bad.npz", "stimulus", "expected shape (3, T)", "found (2, 200)"),
    ),
    "inputs turned over": (binned(stimulus=np.zeros((200, 3))), ("stimulus", "(3, T)", "transposed")),
    "inputs and rate of different lengths": (
        binned(rate=np.full(150, 0.5)),
        ("as many bins of response as of stimulus", "150 and 200"),
    ),
    "rate with a gap": (binned(rate=np.full(200, np.nan)), ("rate", "finite", "nan")),
    "inputs with a gap": (binned(stimulus=np.full((3, 200), np.inf)), ("stimulus", "finite", "inf")),
    "rate above one": (binned(rate=np.full(200, 1.5)), ("rates above 0 and below 1", "found 1.5 in bin 0")),
    "spikes for a rate": (binned(rate=np.eye(200)[0]), ("rates above 0 and below 1", "found 1 in bin 0")),
    "negative rate": (binned(rate=np.full(200, -0.5)), ("rates above 0", "found -0.5")),
    "complex rate": (binned(rate=np.full(200, 0.5j)), ("rate", "real numbers", "complex")),
    "no rate": (binned(rate=None), ("reads rate (T,)", "found none")),
    "no inputs": (binned(stimulus=None), ("3 observed input(s)", "stimulus (3, T)", "found none")),
    "bins of another length": (binned(dt=np.float64(2.0)), ("bins of 1 ms", "found dt 2 ms")),
    "counts for a network of rates": (binned(rate=None, spikes=np.ones(200)), ("reads rate", "found spikes instead")),
    "rate for a network of counts": (binned("counts.ckpt"), ("reads spikes", "found rate instead")),
    "negative counts": (
        binned("counts.ckpt", rate=None, spikes=np.full(200, -1.0)),
        ("counts, whole numbers from 0 to 1", "found -1 in bin 0"),
    ),
    "fractions of counts": (
        binned("counts.ckpt", rate=None, spikes=np.full(200, 0.5)),
        ("counts, whole numbers", "found 0.5"),
    ),
    "two spikes of a Bernoulli neuron": (
        binned("counts.ckpt", rate=None, spikes=np.full(200, 2.0)),
        ("from 0 to 1", "found 2 in bin 0"),
    ),
    "voltage for a network of bins": (
        call("neuroinf", "infer", "rates.ckpt", "good.npz", "--output", "out"),
        ("good.npz", "expected the arrays rate or spikes, stimulus", "found voltage"),
    ),
    "bins for a network of voltages": (
        call("neuroinf", "infer", "good.ckpt", "bins.npz", "--output", "out"),
        ("bins.npz", "expected the arrays voltage", "found rate, stimulus"),
    ),
    "dataset of another family": (
        call("evaluate.py", "rates.ckpt", "--data", "data/tiny.h5"),
        ("data/tiny.h5", "simulators.GLIF", "rates.ckpt", "simulators.GLM", "expected a dataset of the same"),
    ),
    "GLM for the fit of another family": (
        call("neuroinf", "fit", "good.npz", "--config", "glm.yaml"),
        ("--model glif", "glm.yaml", "GLM"),
    ),
    "prior without the hidden weight": (
        glm(PRIOR, dict.fromkeys(["w_1", "w_2", "w_3", "b"], WEIGHT), "neuroinf simulate"),
        ("must name", "missing ['w_hidden']"),
    ),
    "prior of another GLM": (
        glm(PRIOR, dict.fromkeys(["w_1", "w_2", "w_3", "w_4", "b", "w_hidden"], WEIGHT), "neuroinf simulate"),
        ("must name", "w_4"),
    ),
    "too few inputs in the stimulus": (
        glm(f"{SIMULATION}.stimulus.init_args", {"inputs": 3, "duration": 200.0}, "neuroinf simulate"),
        ("bad.yaml", "observation.inputs is 3", "the stimulus has 3", "hides 1"),
    ),
    "correlations that are not possible": (
        glm(
            f"{SIMULATION}.stimulus.init_args",
            {"inputs": 4, "duration": 200.0, "correlation": -0.5},
            "neuroinf simulate",
        ),
        ("bad.yaml", "correlation -0.5", "not positive semidefinite", "nearest: true"),
    ),
    "hidden inputs that are not summed": (two_hidden, ("GLMEncoder", "one hidden weight", "summed: true")),
    # options
    "negative duration": (call(*FIT, "--duration", "-1"), ("--duration", "at least one sample", "found -1")),
    "duration that is not a number": (call(*FIT, "--duration", "nan"), ("--duration", "nan")),
    "unknown method": (call(*FIT, "--method", "magic"), ("--method", "'magic'", "gradient_descent")),
    "no neurons": (call(*EVALUATE, "--neurons", "0"), ("--neurons", "at least 1", "found 0")),
    "negative number of fits": (call(*EVALUATE, "--fits", "-1"), ("--fits", "not be negative", "found -1")),
    "negative noise to evaluate": (call(*EVALUATE, "--noise", "0.5", "-1"), ("--noise", "0 or larger", "-1")),
    "noise that is not a number": (call(*EVALUATE, "--noise", "loud"), ("--noise", "float", "'loud'")),
    # where results go
    "file for the folder of runs": (in_the_way("runs", *TRAIN), ("runs", "expected a folder", "found the file")),
    "folder for a checkpoint": (
        in_the_way("out", *TRAIN, "--output", "out", folder_instead=True),
        ("output", "expected the name of a file", "folder out"),
    ),
    "folder for a dataset": (
        in_the_way("out", *SIMULATE, "--output", "out", folder_instead=True),
        ("--output", "expected the name of a file", "folder out"),
    ),
    "file for the folder of results": (
        in_the_way("out", *INFER),
        ("--output", "expected a folder", "found the file out"),
    ),
    "file for the folder of reports": (
        in_the_way("reports", *EVALUATE),
        ("output", "expected a folder", "the file reports"),
    ),
}
# those in which the libraries' own words on stderr would come first are also run as a user runs them
PROCESSES = ("flipped bit in a dataset to train on", "unsafe YAML", "checkpoint with a payload", "truncated NWB file")


# -- the test --------------------------------------------------------------------------------------------------------


def in_its_own(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and stderr of a command line, started by a shell's rules."""
    start = ["-m", "neuroinf.cli"] if command[0] == "neuroinf" else [str(ROOT / command[0])]
    if command[0] == "neuroinf":
        start = ["-c", "from neuroinf.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *start, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("case", "process"), [(c, False) for c in CASES] + [(c, True) for c in PROCESSES])
def test_one_line_exit_2_nothing_written(
    case: str,
    process: bool,
    good: Path,
    tmp_path: Path,
    tiny: Callable[..., Any],
    write_config: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make, words = CASES[case]
    folder = tmp_path / "work"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()

    def write(path: Path, changes: dict[str, Any]) -> Path:
        return write_config(path, tiny(changes))

    command = make(folder, write)
    before = content(folder)
    code, said = in_its_own(command, folder) if process else in_this_process(command, capsys)
    assert content(folder) == before
    assert code == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1 and said.endswith("\n"), said
    missing = [word for word in words if word not in said]
    assert not missing, f"{said} lacks {missing}"
    assert len(said) < LONGEST and "Traceback" not in said and "<class" not in said, said
    assert not (folder / "marker").exists() and "foreign_nets" not in sys.modules


def test_the_good_files_are_good(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this, a case could pass for another reason than its own."""
    shutil.copytree(good, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "argv", ["neuroinf", "infer", "good.ckpt", "good.npz", "--output", "out", "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    assert set(json.loads(capsys.readouterr().out)[0]["parameters"]) == {"C", "R_input", "El", "th_inf"}
    assert {path.name for path in Path("out").iterdir()} == {"good.json", "good.png", "good_posterior.png"}
    for command in (("rates.ckpt", "bins.npz"), ("counts.ckpt", "spikes.npz")):
        np.savez("spikes.npz", **bins(rate=None, spikes=np.tile([0.0, 1.0], 100)))
        code, said = in_this_process(["neuroinf", "infer", *command], capsys)
        assert code == 0 and "error" not in said
    code, said = in_this_process(["neuroinf", "simulate", "--config", "glm.yaml"], capsys)
    assert code == 0
    for command in (SIMULATE, (*INFO, "good.ckpt"), (*INFO, "data/tiny.h5"), (*INFO, "good.npz")):
        code, said = in_this_process(list(command), capsys)
        assert code == 0 and not said


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "'1e-3'", "0.001"])
def test_numbers_that_yaml_1_1_reads_as_words(
    written: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YAML 1.1 takes 1e-3, without a point, for a string; a user means a number and gets it."""
    from neuroinf.experiment import TrainingCLI
    from neuroinf.training import train

    class Stopped(Exception):
        pass

    def stop(self: TrainingCLI, folder: Path) -> Any:
        raise Stopped(self.model.lr)

    shutil.copytree(good, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(TrainingCLI, "loggers", stop)
    path = Path("good.yaml")
    path.write_text(path.read_text().replace("lr: 0.02", f"lr: {written}"))
    with pytest.raises(Stopped) as stopped:
        train(["--config", "good.yaml"])
    assert stopped.value.args[0] == pytest.approx(1e-3)

"""What a user gets wrong with populations and sweeps: one line on stderr, exit code 2, and not a byte written."""

import pickle
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_lines import LONGEST, ROOT, content, in_this_process

# writes the bad file into the present folder; returns the command
Make = Callable[[], list[str]]
INFO = ["neuroinf", "info"]
RNG = np.random.default_rng(0)


def trains() -> Path:
    path = Path("spikes.npz")
    np.savez(path, id=np.repeat(np.arange(5), 40), t=np.sort(RNG.uniform(0, 9, 200)))
    return path


def damaged(change: Callable[[bytearray], bytes | bytearray]) -> Make:
    """Spike trains, their file changed afterwards."""

    def make() -> list[str]:
        path = trains()
        path.write_bytes(change(bytearray(path.read_bytes())))
        return [*INFO, str(path)]

    return make


def flipped(data: bytearray) -> bytearray:
    data[len(data) // 2] ^= 16
    return data


def arrays(**given: Any) -> Make:
    def make() -> list[str]:
        np.savez("spikes.npz", **given)
        return [*INFO, "spikes.npz"]

    return make


def without_units() -> list[str]:
    from pynwb import NWBHDF5IO, NWBFile

    with NWBHDF5IO("units.nwb", "w") as io:
        io.write(NWBFile("nothing", "id", datetime(2020, 1, 1, tzinfo=timezone.utc)))
    return [*INFO, "units.nwb"]


class Trap:
    """Asks whoever unpickles it to make a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("it_ran"),)


def published(**changes: Any) -> Make:
    """As the published recording, a dictionary pickled in .npy."""

    def make() -> list[str]:
        there: Any = {"sresp": np.ones((4, 9), np.float32), "xyz": np.ones((3, 4))} | changes
        np.save("published.npy", there)
        return [*INFO, "published.npy"]

    return make


def bare_pickle() -> list[str]:
    Path("published.npy").write_bytes(pickle.dumps({"sresp": Trap()}))
    return [*INFO, "published.npy"]


def population(key: str, value: Any) -> Make:
    """configs/latent_lorenz_poisson.yaml with one dotted key set to another value (None: left out)."""

    def make() -> list[str]:
        config = yaml.safe_load((ROOT / "configs" / "latent_lorenz_poisson.yaml").read_text())
        place: dict[str, Any] = config["data"]["simulation"]
        *above, last = key.split(".")
        for name in above:
            place = place[name]
        place[last] = value
        if value is None:
            del place[last]
        config["data"]["path"] = "out.h5"
        Path("bad.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return ["neuroinf", "simulate", "--config", "bad.yaml"]

    return make


def sweep(**changes: Any) -> Make:
    """A sweep of a small experiment with one key changed (None: left out)."""

    def make() -> list[str]:
        config = {
            "program": "train.py",
            "method": "random",
            "metric": {"name": "val/loss"},
            "command": ["${interpreter}", "${program}", "--config", "tiny.yaml", "${args}"],
            "parameters": {"model.lr": {"values": [1.0e-3, 2.0e-3]}},
        }
        kept = {key: value for key, value in (config | changes).items() if value is not None}
        Path("bad.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
        return ["neuroinf", "sweep", "bad.yaml", "--count", "2"]

    return make


def overwritten() -> list[str]:
    command = ["${interpreter}", "${program}", "--config", "tiny.yaml", "${args}", "--model.lr=0.01"]
    return sweep(command=command)()


SIMULATOR = "simulator.init_args"
CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    # files of populations
    "truncated spike trains": (damaged(lambda data: data[: len(data) // 2]), ("spikes.npz", "could not read")),
    "flipped bit in spike trains": (damaged(flipped), ("spikes.npz", "could not read")),
    "text for spike trains": (damaged(lambda data: b"id,t"), ("spikes.npz", "could not read")),
    "ids of other spikes": (arrays(id=[0, 1, 2], t=[0.5]), ("spikes.npz", "of each spike")),
    "spike times that are no numbers": (arrays(id=[0, 1], t=[0.5, np.nan]), ("spikes.npz", "finite", "nan")),
    "times without units": (arrays(t=[0.5, 1.0]), ("spikes.npz", "found t")),
    "pickled object in spike trains": (
        arrays(id=np.array([Trap(), 1], object), t=[0.5, 1.0]),
        ("spikes.npz", "expected"),
    ),
    "NWB without units": (without_units, ("units.nwb", "expected", "found an empty file")),
    "pickle that runs code": (published(run=Trap()), ("published.npy", "could run code", "not opened")),
    "pickle without npy": (bare_pickle, ("published.npy", "could not read it")),
    "positions of other neurons": (published(xyz=np.ones((3, 5))), ("published.npy", "xyz", "expected shape (3, 4)")),
    # configurations of populations
    "misspelt neurons": (population(f"{SIMULATOR}.neuron", 4), ("bad.yaml", "neuron")),
    "no neurons": (population(f"{SIMULATOR}.neurons", 0), ("bad.yaml", "at least 1 neuron", "found 0")),
    "ten layers": (population(f"{SIMULATOR}.layers", 10), ("bad.yaml", "1 to 9 layers", "10")),
    "no dynamics": (population(f"{SIMULATOR}.dynamics", None), ("bad.yaml", "dynamics")),
    "unknown dynamics": (
        population(f"{SIMULATOR}.dynamics", {"class_path": "neuroinf.simulators.Lorentz"}),
        ("bad.yaml", "dynamics", "Lorentz"),
    ),
    "negative period": (
        population(f"{SIMULATOR}.dynamics.init_args", {"period": -1.0}),
        ("bad.yaml", "period must be positive", "-1"),
    ),
    "ratio and gain": (
        population(f"{SIMULATOR}.observation.init_args", {"rate": 20.0, "snr": 1.0, "gain": 1.0}),
        ("bad.yaml", "either snr or gain"),
    ),
    "ratio out of reach": (
        population(f"{SIMULATOR}.observation.init_args", {"rate": 0.001, "snr": 9.0}),
        ("snr 9 cannot be reached", "higher rate"),
    ),
    # sweeps
    "unknown key of a sweep": (sweep(early_stop={}), ("bad.yaml", "unknown key 'early_stop'", "early_terminate")),
    "sweep without metric": (sweep(metric=None), ("bad.yaml", "metric.name", "val/loss", "found nothing")),
    "swept key that there is not": (
        sweep(parameters={"model.latent": {"values": [1, 2]}}),
        ("bad.yaml", "model.latent", "unknown key"),
    ),
    "swept key that is overwritten": (overwritten, ("bad.yaml", "parameters.model.lr", "no effect", "overwrites")),
    "swept key that changes nothing": (
        sweep(parameters={"data.memory_limit": {"values": [1.0, 2.0]}}),
        ("bad.yaml", "parameters.data.memory_limit", "no effect", "leave the key out"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(
    case: str,
    tmp_path: Path,
    tiny: Callable[..., Any],
    write_config: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    shutil.copy(ROOT / "train.py", tmp_path)
    write_config(tmp_path / "tiny.yaml", tiny({"data.simulation.n": 40}))
    command = make()
    before = content(tmp_path)
    code, said = in_this_process(command, capsys)
    if case == "swept key that changes nothing":  # that is seen in the data: they are made, whole
        said = said.removeprefix("checking that every swept key changes the run\n")
        shutil.rmtree("data")
    assert content(tmp_path) == before and not Path("it_ran").exists()
    assert code == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1, said
    missing = [word for word in words if word not in said]
    assert not missing, f"{said} lacks {missing}"
    assert len(said) < LONGEST and "Traceback" not in said


def test_the_good_files_are_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this, a case could pass for another reason than its own."""
    monkeypatch.chdir(tmp_path)
    small = ["--data.simulation.n=2", "--data.simulation.stimulus.init_args.duration=100.0"]
    commands = [[*INFO, str(trains())], published()(), [*population("n", 2)(), *small]]
    for command in commands:
        assert in_this_process(command, capsys) == (0, "") or command[1] == "simulate"
    assert Path("out.h5").is_file()

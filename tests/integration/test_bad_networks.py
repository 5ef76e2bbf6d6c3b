"""What a user gets wrong with circuits of hidden populations: one line on stderr, exit code 2, and not a byte written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_lines import ROOT, in_this_process, refused

# writes the bad file into the present folder; returns the command
Make = Callable[[], list[str]]
CHECKPOINT = ROOT / "checkpoints" / "neulvm.ckpt"
INFER = ["neuroinf", "infer", str(CHECKPOINT), "spikes.npz", "--output", "out"]


def spikes(**changed: Any) -> dict[str, Any]:
    """Three neurons of each population for 4 s, and no external input; None leaves an array out."""
    rng = np.random.default_rng(0)
    good = {
        "id": rng.integers(0, 9, 300), "t": rng.uniform(0, 4, 300), "population": np.repeat([0, 1, 2], 3),
        "unit": np.arange(9), "start": 0.0, "stop": 4.0, "input": np.zeros((3, 1000)), "dt": 4.0,
    }  # fmt: skip
    return {key: value for key, value in (good | changed).items() if value is not None}


def arrays(*more: str, **changed: Any) -> Make:
    """`neuroinf infer` of a recording with some arrays changed."""

    def make() -> list[str]:
        np.savez("spikes.npz", **spikes(**changed))
        return [*INFER, *more]

    return make


def damaged(change: Callable[[bytes], bytes]) -> Make:
    """`neuroinf infer` of a file that was changed afterwards."""

    def make() -> list[str]:
        arrays()()
        path = Path("spikes.npz")
        path.write_bytes(change(path.read_bytes()))
        return INFER

    return make


def without_units() -> list[str]:
    from datetime import datetime, timezone

    from pynwb import NWBHDF5IO, NWBFile

    with NWBHDF5IO("units.nwb", "w") as io:
        io.write(NWBFile("nothing", "id", datetime(2020, 1, 1, tzinfo=timezone.utc)))
    return [*INFER[:3], "units.nwb"]


def two_of_one_name() -> list[str]:
    arrays()()
    Path("more").mkdir()
    np.savez("more/spikes.npz", **spikes())
    return [*INFER[:4], "more/spikes.npz", *INFER[4:]]


def config(command: tuple[str, ...] = ("neuroinf", "simulate"), /, **changed: Any) -> Make:
    """A command with configs/neulvm.yaml, dotted keys (dots as __) set to other values; None leaves one out."""

    def make() -> list[str]:
        loaded = yaml.safe_load((ROOT / "configs" / "neulvm.yaml").read_text())
        loaded["data"]["simulation"]["n"] = loaded["data"]["test_rows"] = 4
        for key, value in changed.items():
            place: Any = loaded
            *above, last = key.split("__")
            for name in above:
                place = place[int(name) if isinstance(place, list) else name]
            place[last] = value
            if value is None:
                del place[last]
        Path("bad.yaml").write_text(yaml.safe_dump(loaded, sort_keys=False))
        return [*command, "--config", "bad.yaml"]

    return make


def training(**changed: Any) -> Make:
    """`train.py` with it, on a few rows more: a validation set must not be empty."""
    return config(("train.py",), data__simulation__n=40, **changed)


S = "data__simulation"
CIRCUIT = f"{S}__simulator__init_args__circuit__init_args"
PRIOR = f"{S}__prior__init_args__parameters"
NOISE = f"{S}__stimulus__init_args__components__1__init_args"
STEP = f"{S}__stimulus__init_args__components__3__init_args"
CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    # recordings
    "no such file": (lambda: INFER, ("spikes.npz", "no such file")),
    "truncated": (damaged(lambda data: data[: len(data) // 2]), ("spikes.npz", "could not read")),
    "text": (damaged(lambda _: b"id,t,population"), ("spikes.npz", "could not read")),
    "NWB without units": (without_units, ("units.nwb", "expected a units table")),
    "a voltage": (arrays(id=None, t=None, voltage=np.zeros(9)), ("spikes.npz", "expected the arrays id, t", "voltage")),
    "no populations": (arrays(population=None), ("spikes.npz", "population of each neuron")),
    "populations by name": (
        arrays(population=np.repeat(["E1", "E2", "I"], 3)),
        ("spikes.npz", "a whole number from 0"),
    ),
    "a fourth population": (
        arrays(population=np.repeat([1, 2, 3], 3)),
        ("expected populations 0 to 2", "found [1, 2, 3]"),
    ),
    "negative population": (arrays(population=np.repeat([-1, 0, 1], 3)), ("expected populations from 0", "found -1")),
    "populations of other neurons": (arrays(population=np.repeat([0, 1], 3)), ("each of 9 neurons", "shape (6,)")),
    "ids that are not listed": (arrays(unit=np.arange(1, 10)), ("unit", "expected every id once")),
    "ids of other spikes": (arrays(id=np.zeros(3, int)), ("spikes.npz", "id (whole numbers) and t (s) of each spike")),
    "no spikes": (arrays(id=np.zeros(0, int), t=np.zeros(0)), ("expected finite spike times", "found none")),
    "times that are no numbers": (arrays(t=np.full(300, np.nan)), ("expected finite spike times",)),
    "times in ms": (arrays(t=np.linspace(0, 4000, 300)), ("spikes.npz", "from 0 to 4 s", "found 0 to 4000 s")),
    "stop before start": (arrays(start=5.0), ("expected stop after start", "5 to 4 s")),
    "stop that is no number": (arrays(stop=np.nan), ("expected stop after start", "nan")),
    "shorter than a bin": (
        arrays(t=np.full(300, 1e-3), stop=2e-3, input=None),
        ("at least a bin of 4 ms", "found 2 ms"),
    ),
    "without end": (arrays(stop=1e9, input=None), ("spikes.npz", "at most", "1e+09 s")),
    "input of two populations": (arrays(input=np.zeros((2, 1000))), ("input", "expected 3 populations and 1000 bins")),
    "input that ends early": (arrays(input=np.zeros((3, 900))), ("input", "1000 bins of 4 ms", "(3, 900)")),
    "input that is infinite": (arrays(input=np.full((3, 1000), np.inf)), ("input", "expected finite numbers")),
    "input in words": (arrays(input=np.full((3, 1000), "none")), ("input", "expected finite numbers")),
    "steps of 3 ms": (arrays(dt=3.0), ("spikes.npz", "steps of 3 ms", "every 4 ms")),
    "steps of no length": (arrays(dt=0.0), ("spikes.npz", "dt", "above 0 ms", "found 0")),
    "steps without number": (arrays(dt=np.nan), ("spikes.npz", "dt", "above 0 ms", "found nan")),
    "two of one name": (two_of_one_name, ("two recordings have one name",)),
    "sweeps of a cell": (arrays("--sweeps", "0"), ("reads populations", "--sweeps")),
    "refinement of a recording with input": (
        arrays("--refine", input=np.ones((3, 1000))),
        ("spikes.npz", "expected no external input", "take the amortized posterior"),
    ),
    # configurations
    "misspelt key of the circuit": (config(**{f"{CIRCUIT}__synapses": 3.0}), ("bad.yaml", "synapses")),
    "sizes of two populations": (
        config(**{f"{CIRCUIT}__sizes": [400, 200]}),
        ("sizes", "3 whole numbers", "[400, 200]"),
    ),
    "wiring that is not square": (config(**{f"{CIRCUIT}__connections": [[1, 0, 1]]}), ("connections", "row of 3")),
    "a population twice": (config(**{f"{CIRCUIT}__names": ["E", "E", "I"]}), ("names", "different names")),
    "negative time constant": (config(**{f"{CIRCUIT}__synapse": -3.0}), ("synapse", "above 0")),
    "other names in the prior": (config(**{f"{CIRCUIT}__names": ["E", "F", "I"]}), ("must name", "a_F")),
    "parameter too many": (
        config(**{f"{PRIOR}__J_X": {"unit": "1", "low": 1.0, "high": 2.0}}),
        ("bad.yaml", "J_X"),
    ),
    "parameter too few": (config(**{f"{PRIOR}__mu_I": None}), ("bad.yaml", "mu_I")),
    "reversed prior": (
        config(**{f"{PRIOR}__J_I": {"unit": "1", "low": 40.0, "high": 8.0}}),
        ("J_I", "low"),
    ),
    "prior of negative leaks": (
        config(**{f"{PRIOR}__a_I": {"unit": "1/s", "low": -20.0, "high": 100.0}}),
        ("a_I", "above 0"),
    ),
    "negative couplings on a logarithm": (
        config(**{f"{PRIOR}__J_I": {"unit": "1", "low": -8.0, "high": 8.0, "scale": "log"}}),
        ("J_I", "log"),
    ),
    "more recorded than there are": (
        config(**{f"{S}__simulator__init_args__recorded": 300}),
        ("recorded", "[400, 400, 200]", "300"),
    ),
    "bins between steps": (config(**{f"{S}__simulator__init_args__step": 0.3}), ("whole multiple", "0.3 ms", "4.0")),
    "input of four populations": (config(**{f"{NOISE}__inputs": 4}), ("bad.yaml", "inputs")),
    "unknown law": (config(**{f"{NOISE}__law": "pink"}), ("bad.yaml", "law", "pink")),
    "target that there is not": (config(**{f"{STEP}__targets": [3]}), ("targets", "0 to 2", "[3]")),
    "stop before start of a step": (config(**{f"{STEP}__stop": 500.0}), ("stop must be after start",)),
    # configurations of a training
    "groups of other neurons": (training(data__observation__groups=[0, 0, 1]), ("bad.yaml", "recorded", "found 3")),
    "more observed than recorded": (training(data__observation__recorded=30), ("recorded", "1 to 8", "found 30")),
    "groups of the encoder": (
        training(model__encoder__init_args__groups=[0, 0, 1]),
        ("PopulationEncoder", "found groups [0, 0, 1]"),
    ),
    "negative stretch": (training(activity__stretch=-1.0), ("activity.stretch", "positive", "-1.0")),
    "more numbers than proposals": (training(activity__n=[1, 2, 3]), ("activity.n", "1 proposals", "[1, 2, 3]")),
    "lead that ends before it begins": (
        training(enrichment__lead=[40.0, 6.0]),
        ("enrichment.lead", "lower first", "[40.0, 6.0]"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    refused(make(), words, tmp_path, capsys)


def test_the_good_recording_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the rows above change is read as it stands, so that each is refused for its own reason."""
    monkeypatch.chdir(tmp_path)
    code, said = in_this_process(arrays()(), capsys)
    assert code == 0, said
    assert (tmp_path / "out" / "spikes.json").is_file()


def test_the_good_configuration_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = in_this_process([*config()(), "--output", "rows.h5"], capsys)
    assert code == 0, said
    assert (tmp_path / "rows.h5").is_file()

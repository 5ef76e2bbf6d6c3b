"""`neuroinf sweep` from the command line: the sweep files that come with the program, and keys that have no effect."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from neuroinf import cli
from neuroinf.errors import InputError
from neuroinf.sweeps.checks import check_sweep
from neuroinf.sweeps.runs import read_runs
from neuroinf.sweeps.storage import open_study
from neuroinf.sweeps.sweep_file import read_sweep

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["${env}", "${interpreter}", "${program}", "--config", "tiny.yaml", "${args}"]
SMALL = {"trainer.limit_train_batches": 2, "trainer.limit_val_batches": 1, "trainer.max_epochs": 2}
# an encoder that keeps what it is given, and uses some of it: the published study's mistake
WRONG_SLOT = """
from torch import nn
from neuroinf.networks import BiLSTM


class Kept(BiLSTM):
    def __init__(self, channels: int, hidden: int = 8, latent: int = 3, dropout: float = 0.0) -> None:
        super().__init__(channels, hidden)
        self.latent, self.dropout = latent, dropout
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(super().forward(x))
"""


@pytest.fixture
def place(tiny: Callable[..., Any], write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with train.py and a small experiment."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "train.py", tmp_path)
    write_config(tmp_path / "tiny.yaml", tiny(SMALL))
    return tmp_path


def sweep_file(parameters: dict[str, Any], **changes: Any) -> Path:
    config = {"program": "train.py", "method": "random", "metric": {"name": "val/loss"}, "command": COMMAND}
    path = Path("sweep.yaml")
    path.write_text(yaml.safe_dump(config | {"parameters": parameters} | changes, sort_keys=False))
    return path


def neuroinf(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["neuroinf", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glif", "glm"])
def test_the_sweep_files_that_come_with_the_program_run_unchanged(
    place: Path, name: str, tiny: Callable[..., Any], write_config: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """On a small experiment in the place of the one that they name."""
    shutil.copytree(ROOT / "configs" / "sweeps", place / "configs" / "sweeps")
    write_config(place / "configs" / f"{name}.yaml", tiny(SMALL | {"readout": {"epochs": 2, "batch_size": 64}}))
    arguments = ["sweep", f"configs/sweeps/{name}.yaml", "--count", "2", "--jobs", "2"]
    assert neuroinf(*arguments, monkeypatch=monkeypatch) == 0
    folder = place / "runs" / "sweeps" / name
    trials = open_study(folder).trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"} and len(trials) == 2
    # two epochs of each stage
    assert max(len(trial.intermediate_values) for trial in trials) == 4
    for trial in trials:
        (config,) = (folder / f"trial-{trial.number:04d}").glob("tiny-*/config.yaml")
        assert yaml.safe_load(config.read_text())["model"]["lr"] == trial.user_attrs["values"]["model.lr"]
    assert "best val/loss" in capsys.readouterr().out
    assert neuroinf(*arguments, monkeypatch=monkeypatch) == 0  # nothing left to do
    assert len(read_runs(folder, "val/loss_prior").runs) == 2


def test_every_key_that_matters_passes(place: Path) -> None:
    """Also dropout between layers, which shows only where there are two."""
    keys = {
        "model.lr": {"distribution": "log_uniform_values", "min": 3.0e-4, "max": 1.0e-2},
        "model.encoder.init_args.hidden": {"values": [4, 8]},
        "data.batch_size": {"values": [32, 64]},
        "trainer.gradient_clip_val": {"min": 0.1, "max": 1.0},
        "seed_everything": {"values": [1, 2]},
    }
    check_sweep(read_sweep(sweep_file(keys)), 0)
    assert sorted(path.name for path in place.iterdir()) == ["data", "sweep.yaml", "tiny.yaml", "train.py"]


FREE = {"min": 0.0, "max": 0.5}


@pytest.mark.parametrize(
    ("key", "of", "command", "said"),
    [
        ("model.larning_rate", FREE, COMMAND, r"model\.larning_rate: unknown key"),
        ("model.lr", {"values": [1.0e-3, 2.0e-3]}, [*COMMAND, "--model.lr=0.01"], r"model\.lr: no effect.*overwrites"),
        ("model.lr", {"values": [1.0e-3, 1.0e-3]}, COMMAND, r"model\.lr: expected different values"),
        ("name", {"values": ["a", "b"]}, COMMAND, "names the run and does not change it"),
        ("readout.lr", {"values": [1.0e-3, 2.0e-3]}, COMMAND, r"readout\.epochs is 0"),
        ("data.workers", {"values": [0, 1]}, COMMAND, r"data\.workers: no effect"),
        ("data.simulation.n", {"values": [300, 200]}, COMMAND, r"all trials would keep theirs in data/tiny\.h5"),
        ("model.lr", {"values": [1.0e-3, -1.0]}, COMMAND, r"model\.lr must be a positive number"),
    ],
)
def test_a_key_without_effect_is_refused(place: Path, key: str, of: Any, command: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_sweep(read_sweep(sweep_file({key: of}, command=command)), 0)
    assert not (place / "runs").exists()


def test_an_argument_that_lands_in_the_wrong_slot_is_refused(
    place: Path, tiny: Callable[..., Any], write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`latent` is in the configuration, in the run's name, and an attribute of the network: only its steps tell."""
    (place / "wrong_slot.py").write_text(WRONG_SLOT)
    monkeypatch.syspath_prepend(str(place))
    encoder = {"class_path": "wrong_slot.Kept", "init_args": {"hidden": 8}}
    write_config(place / "tiny.yaml", tiny(SMALL | {"model.encoder": encoder}))
    threads = torch.get_num_threads()
    with pytest.raises(InputError, match=r"init_args\.latent: no effect: 2, 5 make different configurations, but 4"):
        check_sweep(read_sweep(sweep_file({"model.encoder.init_args.latent": {"values": [2, 5]}})), 0)
    assert torch.get_num_threads() == threads
    # of the same network, what is handed on
    check_sweep(read_sweep(sweep_file({"model.encoder.init_args.dropout": {"values": [0.0, 0.5]}})), 0)


GOOD = {"model.lr": {"values": [1.0e-3, 2.0e-3]}}


def database(place: Path, content: bytes = b"no database") -> None:
    (place / "there").mkdir()
    (place / "there" / "study.db").write_bytes(content)


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (["absent.yaml", "--count", "1"], {}, "found no file at absent.yaml"),
        (["sweep.yaml"], {}, "--count"),
        (["sweep.yaml", "--count", "0"], {}, "--count must be at least 1, found 0"),
        (["sweep.yaml", "--count", "1", "--jobs", "0"], {}, "--jobs must be at least 1"),
        (["sweep.yaml", "--count", "1"], {"method": "annealing"}, "method: expected one of random, grid, bayes"),
        (["sweep.yaml", "--count", "1"], {"metric": {}}, "metric.name: expected"),
        (["sweep.yaml", "--count", "1"], {"program": "other.py"}, "program: expected train.py"),
        (["sweep.yaml", "--count", "1"], {"command": ["python", "train.py"]}, "expected ${args}"),
        (["sweep.yaml", "--count", "1"], {"parameters": {"a": {"distribution": "zipf"}}}, "found 'zipf'"),
        (["sweep.yaml", "--count", "1"], {"parameters": {"a": {"min": 1}}}, "parameters.a: a distribution categorical"),
        (["sweep.yaml", "--count", "1"], {"parameters": {"a": {"min": 2, "max": 1}}}, "min below max"),
        (["sweep.yaml", "--count", "1"], {"parameters": {"a": {"min": "1e-4", "max": 1}}}, "write 1.0e-4"),
        (["sweep.yaml", "--count", "1"], {"method": "grid", "parameters": {"a": FREE}}, "a grid needs values"),
        (["sweep.yaml", "--count", "1"], {"early_terminate": {"type": "hyperband"}}, "expected min_iter"),
        (["sweep.yaml", "--count", "1"], {"parametres": {}}, "unknown key 'parametres'"),
        (["sweep.yaml", "--count", "1", "--output", "there"], {}, "expected the database of a sweep (SQLite)"),
        (["sweep.yaml", "--count", "1", "--output", "train.py"], {}, "found the file train.py"),
        (["sweep.yaml", "--count", "1", "--output", "."], {}, "expected a new folder or one of a sweep"),
        (["report", "absent"], {}, "found nothing at absent"),
        (["report", "tiny.yaml"], {}, "found no JSON"),
        (["report", "there"], {}, "expected the database of a sweep"),
        (["report", "runs.json"], {}, "--metric: expected one of none there is"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, arguments: list[str], changes: Any, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    database(place)
    (place / "runs.json").write_text(json.dumps([{"config": {}}]))
    sweep_file(**({"parameters": GOOD} | changes))
    before = sorted(place.rglob("*"))
    assert neuroinf("sweep", *arguments, monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert sorted(place.rglob("*")) == before

"""A configuration of networks from the command line to its table."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.network_study import is_network_study, network_study, train_networks

ROOT = Path(__file__).resolve().parents[1]
MEMORIZE, HEIDELBERG = (str(ROOT / f"configs/studies/prc_{name}.yaml") for name in ("memorize", "heidelberg"))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracking; graphs are found from here."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.chdir(ROOT)


def small(runs: Path, *more: str, epochs: int = 4, replicates: int = 2) -> list[str]:
    """The memorisation task with few patterns."""
    flags = {
        "runs": runs,
        "trainer.max_epochs": epochs,
        "trainer.enable_progress_bar": "false",
        "checkpoint.every_n_epochs": 1,
        "model.replicates": replicates,
        "data.init_args.replicates": replicates,
        "data.init_args.patterns": 16,
        "data.init_args.steps": 60,
    }
    return ["--config", MEMORIZE, *(f"--{key}={value}" for key, value in flags.items()), *more]


@pytest.mark.parametrize("path", [MEMORIZE, HEIDELBERG])
def test_configuration_makes_data_networks_and_trainer(path: str) -> None:
    assert is_network_study(["--config", path]) and is_network_study([f"--config={path}"])
    cli = network_study(["--config", path])
    five = ["one_compartment", "no_bap", "bap", "parallel_no_bap", "prc"]
    neurons = [str(layers[0].neuron) for layers in cli.model.networks.values()]
    assert list(cli.model.networks) == [Path(neuron).stem for neuron in neurons] == five
    assert (cli.model.inputs, cli.model.classes) == (cli.datamodule.inputs, cli.datamodule.classes)
    assert cli.trainer.max_epochs == (600 if path == MEMORIZE else 200)
    assert not cli.folder.exists()


def test_other_configurations_are_not_networks() -> None:
    assert not is_network_study(["--config", str(ROOT / "configs/quickstart.yaml")])
    assert not is_network_study(["--config", "missing.yaml"]) and not is_network_study([])


def results(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint.parent / "results.json").read_text())


def test_a_run_leaves_tables_and_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = train_networks(small(tmp_path))
    text = capsys.readouterr().out
    assert "training accuracy at epoch 4: 16 random patterns" in text and "training accuracy at epoch 2" in text
    assert "re-run, mean @600" in text and "0.868" in text and "stuck (<0.65)" in text
    found = results(checkpoint)
    assert all(len(found["history"][f"train/{kind}"]["accuracy"]) == 4 for kind in ("bap", "prc"))
    assert len(found["history"]["train/bap"]["loss"][0]) == 2
    assert train_networks(small(tmp_path)) == checkpoint
    again = capsys.readouterr()
    assert "has been trained" in again.err and again.out == (checkpoint.parent / "table.txt").read_text()


def test_an_interrupted_run_continues_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = train_networks(small(tmp_path / "whole"))
    cli = network_study(small(tmp_path / "cut"))
    # stopped after two epochs: as an interruption would leave it
    cli.folder.mkdir(parents=True)
    part = network_study(small(tmp_path / "part", epochs=2))
    part.trainer.fit(part.model, datamodule=part.datamodule)
    (part.folder / "last.ckpt").rename(cli.folder / "last.ckpt")
    found = results(train_networks(small(tmp_path / "cut")))
    assert found["history"] == results(whole)["history"]


def test_replicates_do_not_depend_on_their_number(tmp_path: Path) -> None:
    two, three = (results(train_networks(small(tmp_path, replicates=n))) for n in (2, 3))
    for kind, history in two["history"].items():
        for few, many in zip(history["loss"], three["history"][kind]["loss"], strict=True):
            assert few == pytest.approx(many[:2], rel=1e-4)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    found = results(train_networks(small(tmp_path, "--model.lr=1.0e-2", epochs=30)))["history"]
    for kind in ("one_compartment", "no_bap", "bap"):
        losses = torch.tensor(found[f"train/{kind}"]["loss"])
        assert (losses[-1] < 0.8 * losses[0]).all(), kind


def test_heidelberg_on_synthetic_digits_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {
        "runs": tmp_path,
        "data.init_args.train": tmp_path / "train.h5",
        "data.init_args.test": tmp_path / "test.h5",
        "data.init_args.val": 0.25,
        "trainer.max_epochs": 1,
        "model.replicates": 1,
        "data.init_args.steps": 20,
        "data.init_args.synthetic.train": 80,
        "data.init_args.synthetic.test": 20,
        "data.init_args.batch_size": 30,
    }
    checkpoint = train_networks(["--config", HEIDELBERG, *(f"--{key}={value}" for key, value in flags.items())])
    printed = capsys.readouterr()
    assert "SYNTHETIC" in printed.err
    for stage in ("training", "validation", "test"):
        assert f"{stage} accuracy at epoch 1: SYNTHETIC" in printed.out
    found = results(checkpoint)
    assert "SYNTHETIC" in found["data"] and len(found["history"]["test/prc"]["accuracy"]) == 1
    # each kind has seen all 20 recordings of the test
    assert all((20 * a).is_integer() for a in (round(found["history"]["test/bap"]["accuracy"][0][0], 5),))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--model.networks.bap=[{neuron: pyramidal.yaml, units: 2, scale: 1.0}]", "found no file at pyramidal.yaml"),
        (
            "--model.networks.bap=[{neuron: configs/cascades/readout.yaml, units: 3, scale: 1.0}]",
            "model.networks.bap: expected a last layer of 2",
        ),
        ("--model.networks.bap=[]", "model.networks.bap: .* found no layer"),
        ("--model.lr=-1", "a positive lr"),
        ("--model.optimizer=sgd", "model.optimizer: expected one of 'adam', 'adamax'"),
        ("--model.reported={theirs: {gap: 0.5}}", "model.reported.theirs: expected kinds of .*found gap"),
        ("--trainer.max_epochs=0", "trainer.max_epochs: expected at least 1, found 0"),
        ("--data.init_args.patterns=0", "data.patterns: expected at least 1, found 0"),
        (
            "--model.replicates=3",
            "expected input of 100 channels in 1 or 3 sets of patterns, found 100 channels in 2 sets",
        ),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(flag: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train_networks([*small(tmp_path), flag])

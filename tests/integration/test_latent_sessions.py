"""Several sessions from a configuration to inferred latents and inputs: layers of one file, and recordings of their own."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command_lines import in_this_process
from latent_files import write_config

from neuroinf.datasets.populations import simulated
from neuroinf.latents import LatentCheckpoint, load_latents
from neuroinf.population_study import train_latents


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path


def trained(folder: Path) -> LatentCheckpoint:
    shutil.copyfile(train_latents(["--config", "tiny.yaml"]), folder / "model.ckpt")
    model = load_latents(folder / "model.ckpt")
    assert isinstance(model, LatentCheckpoint)
    return model


def test_layers_are_sessions_with_inferred_inputs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(here / "tiny.yaml", "latent_sessions")
    model = trained(here)
    assert [len(names) for names in model.sessions] == [8, 8, 8]
    assert in_this_process(["evaluate.py", "model.ckpt", "--output", "out"], capsys)[0] == 0
    metrics = json.loads((here / "out/metrics.json").read_text())
    assert [session["neurons"] for session in metrics["sessions"]] == [8, 8, 8]
    rates = [session["methods"]["network"]["rate_r2"] for session in metrics["sessions"]]
    assert metrics["methods"]["network"]["rate_r2"] == pytest.approx(np.mean(rates))
    assert metrics["sessions"][0]["latent_r2_by_first"] is None
    assert all(session["latent_r2_by_first"] <= 1 for session in metrics["sessions"][1:])
    # a file of all layers is answered layer by layer, each as if it were alone
    assert in_this_process(["neuroinf", "infer", "model.ckpt", "data/tiny.h5", "--output", "out"], capsys)[0] == 0
    data = simulated("data/tiny.h5")
    for layer in range(3):
        own = data.of_group(layer)
        found = model.infer_population(own)
        assert found[0].inputs is not None
        with np.load(here / f"out/tiny_{layer}_latents.npz") as written:
            np.testing.assert_array_equal(written["factors"], np.concatenate([each.factors for each in found]))
            assert written["inputs"].shape == (600, 1) and list(written["names"]) == list(own.names)


def test_recordings_are_sessions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is scored on its own held-out time, and another recording finds its own."""
    rng = np.random.default_rng(0)
    for number, neurons in enumerate((8, 6)):
        x = rng.standard_normal((200, 3)).cumsum(0) @ rng.standard_normal((3, neurons)) / 5
        names = [f"{'ab'[number]}{k}" for k in range(neurons)]
        for name, part in ((f"{number}.npz", x[:150]), (f"new{number}.npz", x[150:])):
            np.savez(here / name, activity=part, dt=10.0, kind="trace", names=names)
    write_config(
        here / "tiny.yaml",
        data__simulation=None,
        data__path="0.npz",
        data__sessions=["1.npz"],
        data__test_sequences=0,
        trainer__max_epochs=1,
    )
    model = trained(here)
    assert [len(names) for names in model.sessions] == [8, 6]
    assert in_this_process(["evaluate.py", "model.ckpt", "--output", "out"], capsys)[0] == 0
    assert [s["neurons"] for s in json.loads((here / "out/metrics.json").read_text())["sessions"]] == [8, 6]
    assert in_this_process(["evaluate.py", "model.ckpt", "--data", "new1.npz", "--output", "one"], capsys)[0] == 0
    assert [s["neurons"] for s in json.loads((here / "one/metrics.json").read_text())["sessions"]] == [6]
    command = ["neuroinf", "infer", "model.ckpt", "new0.npz", "new1.npz", "--output", "out"]
    assert in_this_process(command, capsys)[0] == 0
    with np.load(here / "out/new1_latents.npz") as written:
        assert written["factors"].shape == (50, 3) and written["rates"].shape == (50, 6)
    code, said = in_this_process(["evaluate.py", "model.ckpt", "--dimensions", "1", "--output", "two"], capsys)
    assert code == 2 and "expected one session, found 2" in said and not (here / "two").exists()

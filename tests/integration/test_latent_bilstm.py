"""The manifold study's network from its configuration to latents of a new recording, continued where it stopped."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import content, in_this_process
from latent_files import write_config

from neuroinf.latents import BiLSTMCheckpoint, load_latents
from neuroinf.models.bilstm import BiLSTMReconstruction
from neuroinf.population_study import train_latents


class Crash(Exception):
    """In the middle of a training."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path


def trained(folder: Path, **changes: Any) -> Path:
    write_config(folder / "tiny.yaml", "latent_bilstm", **changes)
    return train_latents(["--config", "tiny.yaml"])


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "options", [{}, {"model__rho": 0.05, "model__feedback": True}], ids=["published", "feedback, SAM"]
)
def test_continued_training_is_the_uninterrupted_one(
    options: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks, dropout and learning rates of each step are those they would have been."""
    whole = trained(here, **options)
    kept = weights(whole)
    shutil.rmtree(whole.parent)
    with monkeypatch.context() as patch:
        step = BiLSTMReconstruction.training_step

        def crashing(self: BiLSTMReconstruction, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:
            if self.current_epoch == 1 and batch_index == 2:
                raise Crash
            return step(self, batch, batch_index)

        patch.setattr(BiLSTMReconstruction, "training_step", crashing)
        with pytest.raises(Crash):
            trained(here, **options)
    assert (whole.parent / "last.ckpt").is_file() and not whole.exists()
    again = trained(here, **options)
    assert again == whole
    for name, value in weights(again).items():
        torch.testing.assert_close(value, kept[name], rtol=1e-4, atol=1e-5)


def test_a_worst_point_at_no_distance_is_the_plain_training(here: Path) -> None:
    """Both passes of a sharpness-aware step see the same masks and the same dropout."""
    plain, aware = (weights(trained(here, name=f"r{rho}", model__rho=rho)) for rho in (None, 0.0))
    for name, value in plain.items():
        torch.testing.assert_close(aware[name], value, rtol=1e-5, atol=1e-6)


def test_from_training_to_a_new_recording(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluated beside the linear references; what is inferred of a recording is that network's, without refitting."""
    shutil.copyfile(trained(here), here / "model.ckpt")
    before = content(here / "data")
    assert in_this_process(["evaluate.py", "model.ckpt", "--output", "out"], capsys)[0] == 0
    methods = json.loads((here / "out/metrics.json").read_text())["methods"]
    assert set(methods) == {"network", "PCA", "PPCA", "FA", "LDS"} and methods["network"]["coverage_90"] is None
    assert content(here / "data") == before
    model = load_latents(here / "model.ckpt")
    assert isinstance(model, BiLSTMCheckpoint) and (model.dimension, model.neurons, model.dt) == (3, 8, 10.0)
    x = 7 + 2 * np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    np.savez(here / "new.npz", activity=x, dt=10.0, kind="trace", names=[str(k) for k in range(8)])
    assert in_this_process(["neuroinf", "infer", "model.ckpt", "new.npz", "--output", "out"], capsys)[0] == 0
    assert in_this_process(["neuroinf", "infer", "model.ckpt", "new.npz", "--json"], capsys)[0] == 0
    with np.load(here / "out/new_latents.npz") as written:
        np.testing.assert_allclose(written["factors"], model.infer(x).factors, atol=1e-6)
        assert np.isnan(written["sd"]).all() and written["rates"].shape == (60, 8)
    assert in_this_process(["neuroinf", "info", "model.ckpt"], capsys)[0] == 0


def test_units_of_the_recording_do_not_matter(here: Path) -> None:
    """Standard scores are learnt from: a neuron in thousandths is the same neuron."""
    x = np.random.default_rng(1).standard_normal((200, 8)).cumsum(0) / 10
    found = []
    for scale in (np.ones(8), np.full(8, 1e-3)):
        np.savez(here / "r.npz", activity=x * scale, dt=10.0, kind="trace")
        shutil.rmtree(here / "runs", ignore_errors=True)
        model = load_latents(trained(here, data__simulation=None, data__path="r.npz", data__test_sequences=0))
        found.append(model.infer(x * scale))
    np.testing.assert_allclose(found[0].factors, found[1].factors, atol=1e-3)
    np.testing.assert_allclose(found[0].rates * 1e-3, found[1].rates, atol=1e-5)


def test_counts_have_their_own_linear_reference_and_rates_above_zero(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A squared error knows no sign: rates are held at a hundredth of the neuron's mean at least."""
    rng = np.random.default_rng(2)
    x = rng.poisson(np.exp(np.sin(np.arange(260) / 8)[:, None] * rng.normal(0, 1.5, 8) - 1))
    np.savez(here / "c.npz", activity=x, dt=10.0, kind="counts")
    changes = {"data__simulation": None, "data__path": "c.npz", "data__test_sequences": 0, "model__factors": 2}
    shutil.copyfile(trained(here, **changes), here / "model.ckpt")
    assert in_this_process(["evaluate.py", "model.ckpt", "--output", "out"], capsys)[0] == 0
    methods = json.loads((here / "out/metrics.json").read_text())["methods"]
    assert set(methods) == {"network", "PCA", "PPCA", "FA", "LDS", "PLDS"}
    assert all(np.isfinite(scores["bits_per_spike"]) for scores in methods.values())
    rates = load_latents(here / "model.ckpt").infer(x).rates
    assert (rates >= 0.0099 * x[:208].mean(0)).all()

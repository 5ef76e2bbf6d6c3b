"""From a configuration to a checkpoint and its evaluation: resumed, logged, released and compared as promised."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

import neuroinf
from neuroinf.evaluation.evaluate import evaluate
from neuroinf.evaluation.metrics import check_metrics
from neuroinf.inference import Estimator
from neuroinf.simulators import GLIF
from neuroinf.training import train

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["--config", "tiny.yaml"]
# a process that the system kills in the middle of its second epoch, as a cluster does
KILLED = """
import os, signal
from neuroinf.models.amortized import AmortizedInference

def on_train_batch_start(self, batch, index):
    if self.current_epoch == 1 and index == 3:
        os.kill(os.getpid(), signal.SIGKILL)

AmortizedInference.on_train_batch_start = on_train_batch_start
from neuroinf.cli import train_command
train_command()
"""


@dataclass(frozen=True)
class Trained:
    """A run that nothing interrupted."""

    folder: Path
    checkpoint: Path

    @property
    def content(self) -> dict[str, Any]:
        return torch.load(self.checkpoint, weights_only=True)

    @property
    def last(self) -> dict[str, Any]:
        return torch.load(self.checkpoint.with_name("last.ckpt"), weights_only=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Any], write_config: Any) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    write_config(folder / "tiny.yaml", tiny())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.chdir(folder)
        checkpoint = train(COMMAND)
    return Trained(folder, folder / checkpoint)


@pytest.fixture
def inside(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(trained.folder)
    return trained


@pytest.fixture(scope="module")
def estimator(trained: Trained) -> Estimator:
    return neuroinf.load(trained.checkpoint)


def same_weights(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    """Equal to rounding, but for the attention's bias, which the softmax ignores: its gradient is rounding alone."""
    kept = [key for key in ours if not key.endswith("attention.bias")]
    return ours.keys() == theirs.keys() and all(torch.allclose(ours[k], theirs[k], atol=1e-5) for k in kept)


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


def test_killed_and_started_again_it_ends_the_same_without_account_or_prompt(trained: Trained, tmp_path: Path) -> None:
    """Nobody to answer a prompt (stdin closed), no account (an empty home), and no word about it in the environment."""
    work, home = tmp_path / "work", tmp_path / "home"
    home.mkdir()
    shutil.copytree(trained.folder / "data", work / "data")
    shutil.copy(trained.folder / "tiny.yaml", work)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "NETRC"))}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(*program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *program, *COMMAND],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    killed = start("-c", KILLED)
    assert killed.returncode == -9, killed.stderr
    run = work / trained.checkpoint.parent.relative_to(trained.folder)
    assert not (run / "model.ckpt").exists()
    assert len(torch.load(run / "last.ckpt", weights_only=True)["neuroinf"]["history"]) == 1
    done = start(str(ROOT / "train.py"))
    assert done.returncode == 0, done.stderr
    assert "continuing after the last finished epoch" in done.stderr and "Traceback" not in done.stderr

    ours, theirs = torch.load(run / "model.ckpt", weights_only=True), trained.content
    assert same_weights(ours["state_dict"], theirs["state_dict"])
    last = torch.load(run / "last.ckpt", weights_only=True)
    assert same_weights(last["state_dict"], trained.last["state_dict"])
    histories = [content["neuroinf"]["history"] for content in (ours, theirs)]
    for one, other in zip(*histories, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            assert one[key] == pytest.approx(other[key], rel=1e-5), key
    seconds = [line["seconds"] for line in histories[0]]
    assert seconds == sorted(seconds) and ours["neuroinf"]["training_seconds"] >= seconds[-1] > 0

    offline = list(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(offline) == 2 and all(file.stat().st_size > 0 for file in offline)
    assert not (home / ".netrc").exists() and not (work / "wandb").exists()


def test_a_flag_changes_the_run_and_is_in_effect(inside: Trained) -> None:
    other = Trained(inside.folder, inside.folder / train([*COMMAND, "--model.lr=3e-3", "--trainer.max_epochs=1"]))
    assert other.checkpoint.parent != inside.checkpoint.parent
    rates = [group["max_lr"] for run in (inside, other) for group in run.last["optimizer_states"][0]["param_groups"]]
    assert rates == pytest.approx([2e-2, 2e-2, 3e-3, 3e-3])
    assert len(other.content["neuroinf"]["history"]) == 1
    assert yaml.safe_load((other.checkpoint.parent / "config.yaml").read_text())["model"]["lr"] == 3e-3
    assert not same_weights(other.content["state_dict"], inside.content["state_dict"])


def test_the_same_command_again_does_not_train_again(
    inside: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "fit", fit)
    files = {p: p.stat().st_mtime_ns for p in inside.checkpoint.parent.rglob("*")}
    assert inside.folder / train(COMMAND) == inside.checkpoint
    assert "has been trained" in capsys.readouterr().err
    copied = train([*COMMAND, f"--output={tmp_path / 'deep' / 'copy.ckpt'}"])
    assert copied.read_bytes() == inside.checkpoint.read_bytes()
    assert {p: p.stat().st_mtime_ns for p in inside.checkpoint.parent.rglob("*")} == files


def test_the_released_checkpoint_is_plain_and_small(trained: Trained) -> None:
    content = trained.content
    assert plain(content)
    assert not {"optimizer_states", "lr_schedulers", "loops", "callbacks"} & content.keys()
    assert trained.checkpoint.stat().st_size < trained.checkpoint.with_name("last.ckpt").stat().st_size
    described = content["neuroinf"]
    assert described["encoder"]["class_path"] == "neuroinf.networks.BiLSTM"
    assert described["provenance"]["simulation"]["init_args"]["n"] == 300
    weights = sum(torch.numel(v) for v in content["state_dict"].values())
    assert weights > 0 and all(torch.isfinite(v).all() for v in content["state_dict"].values())


def test_the_loss_stands_beside_its_floor_and_below_it(trained: Trained) -> None:
    """The floor is that of a standard normal in 4 dimensions: 2 ln(2 pi e) = 5.68, within the scatter of 60 rows."""
    history = trained.content["neuroinf"]["history"]
    assert [line["epoch"] for line in history] == [0, 1, 2]
    floor = history[0]["val/loss_prior"]
    # 60 rows of half a chi-squared of 4 degrees of freedom: standard error (2 * 4)^0.5 / 2 / 60^0.5 = 0.18
    assert floor == pytest.approx(2 * math.log(2 * math.pi * math.e), abs=4 * 0.18)
    assert all(line["val/loss_prior"] == floor for line in history)
    assert min(line["val/loss"] for line in history) < floor - 0.5
    logged = (trained.checkpoint.parent / "metrics.csv").read_text().splitlines()
    assert {"val/loss", "val/loss_prior", "train/loss"} <= set(logged[0].split(","))


def recorded(duration: float, seed: int) -> dict[str, Any]:
    """A simulated neuron's voltage, current and spikes at 0.1 ms."""
    neuron = GLIF(
        level=3,
        frame="absolute",
        fixed={"spike_cut_length": 3.8, "asc_tau_1": 100.0, "asc_tau_2": 10.0, "asc_amp_1": -10.0, "asc_amp_2": -50.0},
    )
    theta = np.array([[100.0, 0.2, -70.0, 25.0]])
    noise = np.random.default_rng(seed).normal(130.0, 60.0, round(duration))
    current = np.repeat(noise, 10)[None, None]
    response = neuron.simulate(theta, current, dt=0.1)
    assert len(response["spikes"][0])
    return {"voltage": response["voltage"][0], "stimulus": current[0, 0], "spikes": response["spikes"][0], "dt": 0.1}


def test_arrays_to_a_posterior_to_json(estimator: Estimator) -> None:
    posterior = estimator.infer(**recorded(200.0, seed=1))
    document = json.loads(json.dumps(posterior.to_dict(), allow_nan=False))
    assert list(document["parameters"]) == ["C", "R_input", "El", "th_inf"]
    for name, entry in document["parameters"].items():
        low, high = entry["interval_90"]
        bounds = estimator.prior.parameters[name]
        assert bounds.low <= low < entry["mean"] < high <= bounds.high and entry["unit"] == bounds.unit
        assert posterior[name].mean == entry["mean"] and entry["std"] > 0
    draws = posterior.sample(50, seed=3)
    assert np.array_equal(draws, posterior.sample(50, seed=3)) and np.isfinite(posterior.log_prob(draws)).all()


def test_a_padded_batch_equals_one_at_a_time(estimator: Estimator) -> None:
    """From raw arrays of different lengths, one with no voltage, through encoder and density to the posterior."""
    sweeps = [neuroinf.Recording(**recorded(duration, seed)) for seed, duration in enumerate((200.0, 120.0, 157.0))]
    without: dict[str, Any] = recorded(143.0, seed=9) | {"voltage": None}
    sweeps.append(neuroinf.Recording(**without))
    alone = [estimator.observe([sweep]) for sweep in sweeps]
    together = estimator.observe(sweeps)
    assert together.shape == (4, 3, 200) and np.isnan(together[1, :, 120:]).all()
    features = estimator.features(together)
    for i, (x, sweep) in enumerate(zip(alone, sweeps, strict=True)):
        exact = x[..., : round(sweep.duration)]  # without any padding at all
        assert torch.allclose(features[i], estimator.features(exact)[0], atol=1e-5)
        one, other = estimator.posterior(together[i : i + 1]).mean, estimator.infer(sweep).mean
        assert one == pytest.approx(other, rel=1e-4)


def test_evaluation_writes_what_it_promises(inside: Trained, tmp_path: Path) -> None:
    output = tmp_path / "report"
    document = evaluate(inside.checkpoint, None, output, fits=2, noise=(0.5, 0.0))
    written = json.loads((output / "metrics.json").read_text())
    check_metrics(written)
    parameters = ["C", "R_input", "El", "th_inf"]
    assert written["parameters"] == document["parameters"] == parameters and written["n_test"] == 12
    assert {"checkpoint", "dataset", "simulator", "methods", "predictive", "identifiability", "cost"} <= written.keys()
    methods = written["methods"]
    wanted = {"prior_mean", "nearest_neighbour", "amortized", "amortized_refined", "per_neuron_fit"}
    assert wanted <= methods.keys()
    for name in wanted - {"amortized_refined"}:
        assert methods[name]["r2"].keys() == methods[name]["nrmse"].keys() == set(parameters)
        assert all(value is None or math.isfinite(value) for value in methods[name]["r2"].values())
    # the prior's mean is a constant: on 12 rows it cannot explain anything
    assert all(value <= 0 for value in methods["prior_mean"]["r2"].values())
    assert methods["amortized"]["r2"]["El"] > methods["prior_mean"]["r2"]["El"]
    assert methods["per_neuron_fit"]["n"] == 2 and methods["amortized"]["n"] == 12
    assert written["cost"]["training_seconds"] == inside.content["neuroinf"]["training_seconds"]

    page = (output / "report.html").read_text()
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)|url\(\s*["']?(?!data:|#)|@import|<link""", page)
    assert not outside and "data:image" in page and all(name in page for name in parameters)
    table = (output / "table.txt").read_text()
    assert all(name in table for name in ("amortized", "prior", *parameters))
    figures = sorted(path.name for path in output.glob("*.png"))
    assert {"recovery.png", "error_against_time.png", "overlays.png", "learning_curves.png"} <= set(figures)
    example = neuroinf.read(output / "example_recording.npz")
    assert neuroinf.load(inside.checkpoint).infer(example).mean.keys() == set(parameters)

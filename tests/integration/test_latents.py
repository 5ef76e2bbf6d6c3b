"""Populations from a configuration to inferred latents: trained, continued, evaluated, inferred; and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import LONGEST, ROOT, content, in_this_process
from latent_files import write_config

import neuroinf
from neuroinf.errors import InputError
from neuroinf.latents import load_latents
from neuroinf.population_study import train_latents

KILLED = """
import os, signal
from neuroinf.models.autoencoder import LatentAutoencoder

step = LatentAutoencoder.training_step
def killed(self, batch, index):
    if self.current_epoch == 1 and index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)

LatentAutoencoder.training_step = killed
from neuroinf.cli import train_command
train_command()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, its data and its run."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "disabled")
        patch.setattr(sys, "argv", ["train.py"])
        write_config(folder / "tiny.yaml")
        checkpoint = train_latents(["--config", "tiny.yaml"])
        shutil.copyfile(checkpoint, folder / "model.ckpt")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to stand in."""
    folder = tmp_path / "here"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return folder


def test_interrupted_and_continued_training_is_the_uninterrupted_one(here: Path) -> None:
    (run,) = (here / "runs").iterdir()
    whole = torch.load(run / "model.ckpt", weights_only=True)
    shutil.rmtree(run)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, "--config", "tiny.yaml"]
    # no pipes: what the killed process has started may hold them open
    quiet = subprocess.DEVNULL
    first = subprocess.run(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, timeout=400)
    assert first.returncode == -9 and (run / "last.ckpt").is_file() and not (run / "model.ckpt").exists()
    checkpoint = train_latents(["--config", "tiny.yaml"])
    again = torch.load(checkpoint, weights_only=True)
    assert checkpoint.parent.name == run.name
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(again["state_dict"][name], value, rtol=1e-4, atol=1e-5)
    assert len(again["neuroinf"]["history"]) == 3


def test_checkpoint_is_self_contained_and_names_its_opener(here: Path) -> None:
    shutil.rmtree(here / "data")
    model = load_latents(here / "model.ckpt")
    assert (model.dimension, model.neurons, model.dt) == (3, 8, 10.0)
    found = model.infer(np.random.default_rng(0).standard_normal((50, 8)))
    assert found.factors.shape == (50, 3) and (found.sd > 0).all()
    with pytest.raises(InputError, match="load_latents"):
        neuroinf.load(here / "model.ckpt")


def test_evaluation_has_the_linear_references_beside_the_network(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = in_this_process(["evaluate.py", "model.ckpt", "--output", "out"], capsys)
    metrics = json.loads((here / "out/metrics.json").read_text())
    assert code == 0 and {"network", "PCA", "PPCA", "FA", "LDS"} == set(metrics["methods"])
    assert metrics["true_dimension"] == 3 and metrics["n_test"] == 300
    assert (here / "out/table.txt").read_text().count("\n") > 6 and (here / "out/latents.png").is_file()
    # least squares in any span of three dimensions is at most as good as the best one of these data
    assert metrics["methods"]["network"]["ev_span"] <= metrics["methods"]["PCA"]["ev"] + 0.02


def test_infer_writes_latents_of_a_new_recording(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((70, 8))
    np.savez(here / "new.npz", activity=x, dt=10.0, kind="trace", names=[str(k) for k in range(8)])
    code, _ = in_this_process(["neuroinf", "infer", "model.ckpt", "new.npz", "--output", "out"], capsys)
    assert code == 0
    with np.load(here / "out/new_latents.npz") as written:
        assert written["factors"].shape == (70, 3) and written["rates"].shape == (70, 8)
        assert (written["low"] < written["factors"]).all() and (written["factors"] < written["high"]).all()
    assert (here / "out/new_latents.png").is_file()
    assert in_this_process(["neuroinf", "info", "model.ckpt"], capsys)[0] == 0


def recording(folder: Path, neurons: int = 8, dt: float = 10.0, **more: Any) -> list[str]:
    arrays: dict[str, Any] = {"activity": np.ones((50, neurons)), "dt": dt, "kind": "trace"} | more
    np.savez(folder / "bad.npz", **arrays)
    return ["neuroinf", "infer", "model.ckpt", "bad.npz", "--output", "out"]


def config(folder: Path, **changes: Any) -> list[str]:
    write_config(folder / "bad.yaml", **changes)
    return ["train.py", "--config", "bad.yaml"]


def sessions(folder: Path, **second: Any) -> list[str]:
    """A configuration of two recordings, the second as given."""
    x = np.random.default_rng(0).standard_normal((60, 8))
    first: dict[str, Any] = {"activity": x, "dt": 10.0, "kind": "trace", "names": [f"a{k}" for k in range(8)]}
    np.savez(folder / "first.npz", **first)
    np.savez(folder / "second.npz", **first | {"names": [f"b{k}" for k in range(8)]} | second)
    return config(
        folder,
        data__simulation=None,
        data__path="first.npz",
        data__sessions=["second.npz"],
        data__test_sequences=0,
    )


def bilstm(folder: Path, **changes: Any) -> list[str]:
    write_config(folder / "bad.yaml", "latent_bilstm", **changes)
    return ["train.py", "--config", "bad.yaml"]


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Inference with the checkpoint, what it says of itself changed."""
    checkpoint = torch.load(folder / "model.ckpt", weights_only=True)
    change(checkpoint["neuroinf"])
    torch.save(checkpoint, folder / "model.ckpt")
    return recording(folder)


def cut(folder: Path) -> list[str]:
    (folder / "model.ckpt").write_bytes((folder / "model.ckpt").read_bytes()[:-3000])
    return recording(folder)


BAD: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "other number of neurons": (lambda f: recording(f, 7), "expected the 8 neurons of the training, found 7"),
    "other bins": (lambda f: recording(f, dt=20.0), "expected bins of 10 ms"),
    "other names": (lambda f: recording(f, names=list("abcdefgh")), "found 'a' in the place of '0'"),
    "counts for traces": (lambda f: recording(f, kind="counts"), "expected trace, as in the training, found counts"),
    "too many latents": (lambda f: config(f, model__factors=9), "factors: expected 1 to 8"),
    "no latents": (lambda f: config(f, model__factors=0), "factors: expected 1 to 8"),
    "hidden share": (lambda f: config(f, model__hidden=1.0), "model.hidden: expected a share between 0 and 1"),
    "learning rate": (lambda f: config(f, model__lr=-1.0), "model.lr: expected a positive number"),
    "unknown key": (lambda f: config(f, model__factor=3), "factor"),
    "no steps": (lambda f: config(f, data__steps=0), "data.steps must be at least 1"),
    "window of a bin": (lambda f: config(f, data__window=1), "data.window must be at least 2"),
    "nothing to validate on": (lambda f: config(f, data__validation=1.0), "data.validation: expected a part"),
    "all sequences kept for the test": (lambda f: config(f, data__test_sequences=2), "data.test_sequences"),
    "bin of simulations": (lambda f: config(f, data__dt=5.0), "data.dt is of recorded spike trains"),
    "no epochs": (lambda f: config(f, trainer__max_epochs=0), "trainer.max_epochs: expected at least 1"),
    "no such recording": (
        lambda f: config(f, data__simulation=None, data__path="nowhere.npz"),
        "nowhere.npz: expected a population",
    ),
    "dimension of a scan": (
        lambda f: ["evaluate.py", "model.ckpt", "--dimensions", "9", "--output", "out"],
        "--dimensions: expected 1 to 8",
    ),
    "other neurons to evaluate on": (
        lambda f: [recording(f, 7) and "evaluate.py", "model.ckpt", "--data", "bad.npz", "--output", "out"],
        "bad.npz: expected the 8 neurons of the training, found 7",
    ),
    "activity that is not finite": (
        lambda f: recording(f, activity=np.full((50, 8), np.nan)),
        "activity must be finite, found nan in sequence 0, bin 0",
    ),
    "activity of another shape": (
        lambda f: recording(f, activity=np.ones(50)),
        "expected real numbers (bins, neurons)",
    ),
    "names of other neurons": (lambda f: recording(f, names=list("abc")), "names: expected shape (8,), found (3,)"),
    "truncated checkpoint": (cut, "model.ckpt cannot be read as a checkpoint"),
    "checkpoint of other neurons": (
        lambda f: changed(f, lambda said: said["encoder"].update(neurons=[9])),
        "the weights do not fit its own description",
    ),
    "checkpoint without its population": (
        lambda f: changed(f, lambda said: said.update(population=None)),
        "the weights do not fit its own description",
    ),
    "no such session": (
        lambda f: (
            recording(f)
            and config(f, data__simulation=None, data__path="bad.npz", data__sessions=["b.npz"], data__test_sequences=0)
        ),
        "b.npz: expected a population",
    ),
    "sessions and a simulation": (lambda f: config(f, data__sessions=["b.npz"]), "expected recordings only"),
    "sessions of the same neurons": (
        lambda f: sessions(f, names=[f"a{k}" for k in range(8)]),
        "expected neurons of other names",
    ),
    "sessions of other bins": (lambda f: sessions(f, dt=20.0), "second.npz: expected bins of 10 ms"),
    "sessions of counts and traces": (
        lambda f: sessions(f, activity=np.ones((60, 8)), kind="counts"),
        "second.npz: expected trace",
    ),
    "session with fewer neurons than latents": (
        lambda f: sessions(f, activity=np.ones((60, 2)), names=["c", "d"]),
        "factors: expected 1 to 2",
    ),
    "more inputs than latents": (lambda f: config(f, model__inputs=4), "model.inputs: expected 0 to 3"),
    "unknown architecture": (lambda f: config(f, architecture="lstm"), "architecture"),
    "published network of sessions": (
        lambda f: bilstm(f, data__groups_apart=True, data__simulation__simulator__init_args__layers=2),
        "expected sequential for 2 sessions, found bilstm",
    ),
    "key of the other network": (lambda f: bilstm(f, model__channels=8), "channels"),
    "feedback of two layers": (lambda f: bilstm(f, model__feedback=True, model__layers=2), "model.layers: expected"),
    "negative rho": (lambda f: bilstm(f, model__rho=-0.1), "model.rho: expected null, 0 or a positive number"),
    "everything hidden": (lambda f: bilstm(f, model__hidden=1.0), "model.hidden: expected a share in [0, 1)"),
    "too many latents of the published network": (
        lambda f: bilstm(f, model__factors=9),
        "model.factors: expected 1 to 8",
    ),
    "fits beside latents": (
        lambda f: ["evaluate.py", "model.ckpt", "--fits", "3", "--output", "out"],
        "found --fits",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = BAD[case]
    command = make(here)
    before = content(here)
    code, said = in_this_process(command, capsys)
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1 and len(said) < LONGEST, said
    assert message in said, said
    assert content(here) == before

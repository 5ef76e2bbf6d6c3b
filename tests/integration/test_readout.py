"""The second stage of a training: density and pooling alone, on features computed once; interrupted, and compared."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuroinf
from neuroinf.datasets.features import BLOCK, Features, encode
from neuroinf.datasets.views import Views
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.sweeps import by_number_of_sweeps, sweeps_figure
from neuroinf.experiment import experiment
from neuroinf.models.readout import ReadoutTraining
from neuroinf.networks import ConvBiLSTM
from neuroinf.training import train

CHANGES = {"readout.epochs": 4, "readout.batch_size": 32, "trainer.max_epochs": 1}
SETS = {"data.simulation.sweeps": 3, "data.together": 0.5, "model.pooling.class_path": "neuroinf.networks.SweepPooling"}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("more", [{}, SETS], ids=["single sweeps", "sets"])
def test_it_moves_the_readout_alone_and_lowers_the_loss(
    inside: Path, tiny: Callable[..., Any], write_config: Any, more: dict[str, Any]
) -> None:
    write_config(inside / "tiny.yaml", tiny({**CHANGES, **more}))
    final = train(["--config", "tiny.yaml"])
    before, after = weights(final.with_name("joint.ckpt")), weights(final)
    assert before.keys() == after.keys()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    own = {k for k in before if k.startswith("density.") or k.split(".")[1] in ("value", "attention")}
    assert moved <= own and any(key.startswith("density.") for key in moved)
    assert bool(more) == any(key.startswith("encoder.") for key in moved)
    history = torch.load(final, weights_only=True)["neuroinf"]["history"]
    assert [line["epoch"] for line in history] == [0, 1, 2, 3, 4]
    assert history[-1]["val/loss"] < history[0]["val/loss"]
    assert all(b["seconds"] > a["seconds"] for a, b in pairwise(history))
    assert not list(final.parent.rglob("*.npy"))  # they can be computed again

    condition = Condition("0.5 mV", {"voltage": 0.5})
    found = by_number_of_sweeps(neuroinf.load(final), inside, 60, condition)
    assert list(found) == (["1", "2", "3"] if more else [])
    if more:
        estimator = neuroinf.load(final)
        figure = sweeps_figure(found, estimator.prior)
        drawn = dict(zip(estimator.prior.names, figure.axes[0].lines, strict=False))
        assert drawn["El"].get_ydata() == pytest.approx([found[s]["sd_over_prior"]["El"] for s in "123"])
        assert all(0 <= value <= 1 for entry in found.values() for value in entry["coverage_90"].values())


def test_interrupted_it_ends_as_it_would_have(
    inside: Path, tiny: Callable[..., Any], write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(inside / "tiny.yaml", tiny(CHANGES))
    whole = train(["--config", "tiny.yaml", "--runs", "whole"])
    step = ReadoutTraining.training_step

    def interrupted(self: ReadoutTraining, batch: Any, index: int) -> Any:
        if self.current_epoch == 2 and index == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(ReadoutTraining, "training_step", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(["--config", "tiny.yaml", "--runs", "parts"])
    monkeypatch.setattr(ReadoutTraining, "training_step", step)
    parts = train(["--config", "tiny.yaml", "--runs", "parts"])
    ours, theirs = weights(parts), weights(whole)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)
    lines = [torch.load(path, weights_only=True)["neuroinf"]["history"] for path in (parts, whole)]
    assert [line["val/loss"] for line in lines[0]] == pytest.approx([line["val/loss"] for line in lines[1]], rel=1e-5)


def test_features_are_the_encoders_and_an_interrupted_encoding_goes_on(
    inside: Path, tiny: Callable[..., Any], write_config: Any
) -> None:
    write_config(inside / "tiny.yaml", tiny({"data.simulation.n": 2 * BLOCK + 44}))
    data = experiment(["--config", "tiny.yaml"]).datamodule
    data.prepare_data()
    data.setup("fit")
    views = Views(Path(data.path), data.observation, data.prior, data.simulation.duration, 0, hold=False)
    rows = np.arange(0, 2 * BLOCK + 44, 1)
    encoder = ConvBiLSTM(3, widths=[4], kernels=[5], strides=[5], hidden=4).eval()
    assert encode(views, encoder, rows, 2, 5, inside / "features") > 0
    features = Features(inside / "features", rows, views.z)
    x, z = views[6, rows[BLOCK : 2 * BLOCK, None]]
    with torch.inference_mode():
        expected = encoder(x)
    found, truth = features[1, rows[BLOCK : 2 * BLOCK, None]]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(truth, z)
    sets, _ = features[3, rows[[[BLOCK, BLOCK + 1], [BLOCK + 4, BLOCK + 5]]]]
    torch.testing.assert_close(sets, expected[torch.tensor([[0, 1], [4, 5]])], rtol=1e-5, atol=1e-5)

    # as if the second block of the first view had not been reached
    marks = np.load(inside / "features" / "seconds.npy")
    values = np.load(inside / "features" / "features.npy")
    kept = values.copy()
    marks[0, 1], values[0, BLOCK : 2 * BLOCK], values[0, :BLOCK] = 0.0, 0.0, -1.0
    np.save(inside / "features" / "seconds.npy", marks)
    np.save(inside / "features" / "features.npy", values)
    assert encode(views, encoder, rows, 2, 5, inside / "features") > 0
    again = np.load(inside / "features" / "features.npy")
    np.testing.assert_allclose(again[0, BLOCK:], kept[0, BLOCK:], rtol=1e-5, atol=1e-5)
    assert (again[0, :BLOCK] == -1.0).all()  # what was done is not done again
    (inside / "features" / "seconds.npy").write_bytes(b"")  # as if killed while the file was made
    encode(views, encoder, rows, 2, 5, inside / "features")
    np.testing.assert_allclose(np.load(inside / "features" / "features.npy"), kept, rtol=1e-5, atol=1e-5)

"""Real recordings, grouped by their correlations, read by the released network of hidden populations.

Uses checkpoints/neulvm.ckpt, or the checkpoint that the variable NEUROINF_NETWORK_CHECKPOINT names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from neuroinf.inference import load
from neuroinf.population_inference import infer_population
from neuroinf.recordings.correlated_groups import correlated_groups
from neuroinf.recordings.network_recording import NetworkRecording

pytestmark = pytest.mark.real_data

RELEASED = Path(__file__).resolve().parents[2] / "checkpoints" / "neulvm.ckpt"
FILES = {"rat_ca1_linear_track": 31, "aplysia_pedal_ganglion": 125}
MOST = 8


@pytest.fixture(scope="module")
def model():
    path = Path(os.environ.get("NEUROINF_NETWORK_CHECKPOINT", RELEASED))
    if not path.is_file():
        pytest.skip("no checkpoint at checkpoints/neulvm.ckpt: train it (checkpoints/README.md)")
    return load(path)


@pytest.mark.parametrize("name", FILES)
def test_ten_seconds_give_parameters_and_activity_or_an_objection(real_data_dir, model, name):
    with np.load(real_data_dir / f"{name}.npz") as file:
        ids, t = file["id"], 1000 * (file["t"].astype(np.float64) - file["t"].min())
    trains = [t[ids == one] for one in np.unique(ids)]
    assert len(trains) == FILES[name]
    groups = correlated_groups(trains, float(t.max()))
    kept = np.concatenate([sorted(np.flatnonzero(groups == g), key=lambda k: -len(trains[k]))[:MOST] for g in range(3)])
    whole = NetworkRecording(tuple(trains), groups, float(t.max()), name=name).take(kept.tolist())
    posterior, activity = infer_population(model, whole.window(20_000.0, 30_000.0))
    values = np.array([posterior.mean[parameter] for parameter in model.prior.names])
    assert ((values >= model.prior.low) & (values <= model.prior.high)).all()
    assert activity.mean.shape == activity.low.shape == activity.high.shape == (3, 2500)
    assert (activity.low >= 0).all() and (activity.low <= activity.high).all() and np.isfinite(activity.mean).all()
    # an objection and its sentence come together
    assert posterior.novelty is not None
    assert posterior.novelty.outside == any("outside the training" in warning for warning in posterior.warnings)
    # the input of a real recording is not known, which is not the same as none
    known = NetworkRecording(whole.spikes, whole.groups, whole.duration, np.zeros((3, int(whole.duration / 4))))
    other, _ = infer_population(model, known.window(20_000.0, 30_000.0))
    assert list(other.mean.values()) != list(posterior.mean.values())

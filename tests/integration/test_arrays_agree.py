"""What `infer` sees of arrays is what training saw of the same simulation, and the released network's intervals then hold."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import neuroinf
from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.evaluation.metrics import r2
from neuroinf.inference import Estimator
from neuroinf.recordings import from_arrays, read

ROOT = Path(__file__).parents[2]
NEURONS = 200


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    return neuroinf.load(ROOT / "checkpoints/glif.ckpt")


@pytest.fixture(scope="module")
def file(estimator: Estimator, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """New neurons under the configured test stimulus, Noise 2, from a seed that nothing was chosen on."""
    simulation = simulation_from_spec(estimator.provenance["test_simulation"])
    simulation = simulation.with_stimulus(simulation.stimulus, n=NEURONS, seed=4242)
    return Dataset(generate(simulation, tmp_path_factory.mktemp("arrays") / "noise_2.h5", workers=1))


def test_arrays_are_observed_as_rows_are(estimator: Estimator, file: Dataset, tmp_path: Path) -> None:
    """Exactly, also through the .npz that evaluation writes, and where a spike ends a sample's window."""
    expected = observe_rows(file, np.arange(20), estimator.observation, estimator.provenance["duration"])
    rows = file.rows(np.arange(20))
    assert rows.spikes is not None
    for i in range(20):
        arrays = {
            "dt": 1.0,
            "voltage": rows.continuous["voltage"][i],
            "stimulus": rows.stimulus[i, 0],
            "spikes": rows.spikes[i],
        }
        np.savez(tmp_path / "row.npz", **arrays)
        for recording in (from_arrays(**arrays), read(tmp_path / "row.npz")[0]):
            np.testing.assert_array_equal(estimator.observe([recording])[0], expected[i])


def test_intervals_of_infer_hold(estimator: Estimator, file: Dataset) -> None:
    """90 % intervals of 100 neurons at 0.5 mV, each parameter: at least as many inside as 85 % intervals would have.

    Binomial, false-alarm rate 1e-4 at 85 %; over 1,000 neurons the released network's own worst is 88 %.
    """
    n, rng = 100, np.random.default_rng(0)
    rows = file.rows(np.arange(n))
    assert rows.spikes is not None
    inside = np.zeros(len(estimator.prior.names))
    for i in range(n):
        voltage = rows.continuous["voltage"][i] + rng.normal(0, 0.5, rows.continuous["voltage"].shape[1])
        posterior = estimator.infer(voltage=voltage, stimulus=rows.stimulus[i, 0], spikes=rows.spikes[i], dt=1.0)
        interval = posterior.interval(0.9)
        inside += [a <= value <= b for value, (a, b) in zip(rows.parameters[i], interval.values(), strict=True)]
    assert (inside >= stats.binom.ppf(1e-4, n, 0.85)).all(), dict(zip(estimator.prior.names, inside, strict=True))


def test_released_network_reaches_its_bars(estimator: Estimator, file: Dataset) -> None:
    """Noise 2 at 0.5 mV: R2 at least 0.99 for C, R_input, El, th_inf and 0.90 for the after-spike amplitudes; at most 5 MB."""
    x = observe_rows(file, np.arange(NEURONS), estimator.observation, estimator.provenance["duration"])
    x = estimator.observation.add_noise(x, np.random.default_rng(1), {"voltage": 0.5})
    with torch.inference_mode():
        unit = estimator.density.unit_mean(estimator.features(x), estimator.prior).numpy()
    scores = r2(file.parameters, estimator.prior.from_unit(unit), estimator.prior)
    assert (scores >= [0.99, 0.99, 0.99, 0.99, 0.90, 0.90]).all(), scores
    assert estimator.path.stat().st_size <= 5e6

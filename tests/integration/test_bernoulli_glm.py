"""The benchmark task "Bernoulli GLM": its networks against reference samples, trained from few simulations and released."""

import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from neuroinf.evaluation.c2st import benchmark_c2st
from neuroinf.inference import Estimator, load
from neuroinf.training import train

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 10_000
# Published mean C2ST of NPE after 10,000 simulations: 0.678 from the statistics (Lueckmann et al. 2021, table of T.5)
FEW = {"bernoulli_glm": 0.62, "bernoulli_glm_raw": 0.64}

pytestmark = pytest.mark.reference


@pytest.fixture
def task(reference_dir: Path) -> dict[str, np.ndarray]:
    return dict(np.load(reference_dir / "bernoulli_glm" / "observations_1_to_5.npz"))


def samples(estimator: Estimator, task: dict[str, np.ndarray], i: int, n: int) -> np.ndarray:
    """The task's order of parameters is the prior's."""
    assert estimator.prior.names == ("b", *(f"w_1_{j}" for j in range(1, 10)))
    if estimator.path.stem == "bernoulli_glm_raw":
        return estimator.infer(spikes=task["observation_raw"][i]).sample(n, seed=i)
    return estimator.infer(statistics=task["observation"][i]).sample(n, seed=i)


def mean_c2st(estimator: Estimator, task: dict[str, np.ndarray]) -> float:
    pairs = [
        (task["reference_posterior"][i].astype(float), samples(estimator, task, i, SAMPLES))
        for i in range(len(task["observation"]))
    ]
    with get_context("spawn").Pool(2) as pool:
        return float(np.mean(pool.starmap(partial(benchmark_c2st), pairs)))


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_ten_thousand_simulations_are_better_spent_than_by_npe(
    name: str, task: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mean C2ST over five observations, below what was measured by so much that rounding on other machines passes."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the classifiers' processes
    flags = ["--data.simulation.n=10000", f"--data.path={tmp_path / 'data.h5'}", f"--runs={tmp_path / 'runs'}"]
    output = tmp_path / f"{name}.ckpt"
    train([f"--config={ROOT / 'configs' / f'{name}.yaml'}", *flags, f"--output={output}"])
    assert mean_c2st(load(output), task) < FEW[name]


@pytest.mark.parametrize(
    "name",
    [
        "bernoulli_glm",
        pytest.param(
            "bernoulli_glm_raw", marks=pytest.mark.xfail(reason="one mean of one observation is 0.36 posterior sd off")
        ),
    ],
)
def test_released_posterior_has_the_reference_s_moments(name: str, task: dict[str, np.ndarray]) -> None:
    """Of five observations: means within 0.35 posterior sd, sds within a third; C2ST itself is the benchmark's."""
    estimator = load(ROOT / "checkpoints" / f"{name}.ckpt")
    for i, reference in enumerate(task["reference_posterior"].astype(float)):
        drawn = samples(estimator, task, i, 2000)
        assert (np.abs(drawn.mean(0) - reference.mean(0)) / reference.std(0)).max() < 0.35
        assert np.abs(np.log(drawn.std(0) / reference.std(0))).max() < np.log(4 / 3)


def test_statistics_and_bins_are_the_same_recording(task: dict[str, np.ndarray]) -> None:
    """A network that takes statistics says the same of the spike train that they were made of."""
    estimator = load(ROOT / "checkpoints" / "bernoulli_glm.ckpt")
    for i in range(5):
        ours = estimator.infer(spikes=task["observation_raw"][i]).sample(50)
        np.testing.assert_allclose(ours, estimator.infer(statistics=task["observation"][i]).sample(50), atol=1e-3)

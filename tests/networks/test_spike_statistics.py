"""Spike statistics against sums written out, and the benchmark's own; bins; what neither can read."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.networks.spike_statistics import BinEncoder, SpikeStatistics, lagged_design
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import Taps
from neuroinf.specification import specify

STIMULUS = np.random.default_rng(3).standard_normal((2, 60))
COUNTS = torch.from_numpy(np.random.default_rng(4).poisson(0.6, (5, 1, 60))).float()


def encoder() -> SpikeStatistics:
    return SpikeStatistics(1, STIMULUS.tolist(), taps=4)


def test_statistics_are_the_sums_over_spikes() -> None:
    found = encoder().statistics(COUNTS).numpy()
    for row, counts in enumerate(COUNTS[:, 0].numpy()):
        expected = [counts.sum()]
        for line in STIMULUS:
            for lag in range(4):
                expected.append(sum(counts[t] * line[t - lag] for t in range(lag, 60)))
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


def test_features_are_the_least_squares_filter() -> None:
    """f = 4 times the regression of y - 1/2 on the design; and the statistics can be had back from it."""
    made = encoder()
    design = lagged_design(STIMULUS, 4)
    expected = 4 * np.linalg.lstsq(design, COUNTS[:, 0].double().numpy().T - 0.5, rcond=None)[0].T
    features = made(COUNTS)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    s = design.T @ (design @ features.double().numpy().T / 4 + 0.5)
    np.testing.assert_allclose(s.T, made.statistics(COUNTS), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(made.from_statistics(made.statistics(COUNTS)[0].tolist())[0], features[0])


def test_the_design_is_the_simulator_s_drive() -> None:
    """Logit of the rate of a GLM with taps = design matrix times parameters, with the simulator's columns in our order."""
    neuron = GLM(inputs=2, hidden=0, filters=Taps(4), nonlinearity="logistic", output="rate")
    order = ["b", *(f"w_{i}_{j}" for i in (1, 2) for j in (1, 2, 3, 4))]
    theta = 0.3 * np.random.default_rng(5).standard_normal((3, 9))
    columns = [order.index(name) for name in neuron.parameters]
    rate = np.asarray(neuron.simulate(theta[:, columns], STIMULUS[None], 1.0)["rate"])
    np.testing.assert_allclose(np.log(rate / (1 - rate)), theta @ lagged_design(STIMULUS, 4).T, rtol=1e-9, atol=1e-9)


@pytest.mark.reference
def test_statistics_are_the_benchmark_s(reference_dir: Path) -> None:
    """To the last digit of its single precision sums."""
    task = np.load(reference_dir / "bernoulli_glm" / "observations_1_to_5.npz")
    made = SpikeStatistics(1, [task["stimulus"].astype(float).tolist()], taps=9)
    np.testing.assert_array_equal(made.design.numpy(), task["design_matrix"])
    raw = torch.from_numpy(task["observation_raw"])[:, None]
    np.testing.assert_allclose(made.statistics(raw), task["observation"], rtol=0, atol=2e-5)
    torch.testing.assert_close(made(raw), made.from_statistics(task["observation"]), rtol=0, atol=1e-5)


def test_made_again_from_its_specification() -> None:
    for made in (encoder(), BinEncoder(1, bins=60, features=3)):
        again = build(specify(made), torch.nn.Module)
        again.load_state_dict(made.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(again(COUNTS), made(COUNTS))


def test_bins_are_summed_with_weights_of_their_own() -> None:
    made = BinEncoder(1, bins=60, features=3)
    with torch.no_grad():
        base = made(torch.zeros(1, 1, 60))
        each = torch.stack([made(torch.eye(60)[t][None, None])[0] for t in range(60)]) - base
        torch.testing.assert_close(made(COUNTS), base + COUNTS[:, 0] @ each, rtol=1e-4, atol=1e-4)
        assert len(torch.unique(each[:, 0])) == 60


@pytest.mark.parametrize("made", [encoder(), BinEncoder(1, bins=60)], ids=["statistics", "bins"])
def test_other_bins_are_refused(made: torch.nn.Module) -> None:
    with pytest.raises(InputError, match="60 bins"):
        made(COUNTS[..., :59])
    missing = COUNTS.clone()
    missing[0, 0, 7] = math.nan
    with pytest.raises(InputError, match="without a count"):
        made(missing)


@pytest.mark.parametrize("given", [[1.0] * 8, [1.0] * 10, [math.nan] * 9, [[[1.0] * 9]]])
def test_other_statistics_are_refused(given: list[float]) -> None:
    with pytest.raises(InputError, match="9 finite numbers"):
        encoder().from_statistics(given)


def test_impossible_encoders_are_refused() -> None:
    with pytest.raises(InputError, match="linearly dependent"):
        SpikeStatistics(1, [[1.0] * 20], taps=2)
    with pytest.raises(InputError, match="taps"):
        SpikeStatistics(1, STIMULUS.tolist(), taps=61)
    with pytest.raises(InputError, match="stimulus"):
        SpikeStatistics(1, [[1.0, math.inf]], taps=1)
    with pytest.raises(InputError, match="counts alone"):
        SpikeStatistics(2, STIMULUS.tolist(), taps=2)
    with pytest.raises(InputError, match="features"):
        BinEncoder(1, bins=10, features=0)

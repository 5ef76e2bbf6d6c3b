"""The residual of a recording of the model is its noise, wherever the fit begins and wherever the recording begins."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spoilt_recordings import OBSERVATION, PRIOR, SIMULATION, record

from neuroinf.datasets.observation import bin_spikes
from neuroinf.models.residuals import residuals, spike_times
from neuroinf.simulators import GLIF
from neuroinf.simulators.glif_segments import segments
from neuroinf.simulators.glif_twin import GLIFTwin


def test_spike_times_survive_the_binning() -> None:
    """Any times at least three bins apart, to single precision; the half of a spike before the beginning is none."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(3.0, 20.0, 40))
    grid = bin_spikes([times], 1.0, 800)[0]
    np.testing.assert_allclose(spike_times(grid, 1.0), times[times < 800], atol=1e-4)
    first = int(times[3]) + 1
    np.testing.assert_allclose(spike_times(grid[first:], 1.0), times[4:][times[4:] < 800] - first, atol=1e-4)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_given_spikes_is_the_twin(level: int) -> None:
    """The compiled pass against torch's recurrences, for parameters that did not make the spikes."""
    simulator = GLIF(level=level, frame="absolute")
    values = {
        "C": 100,
        "R_input": 0.2,
        "El": -70,
        "th_inf": 20,
        "spike_cut_length": 3.8,
        "asc_amp_1": -20,
        "asc_amp_2": -90,
    }
    values |= {"asc_tau_1": 100, "asc_tau_2": 10, "reset_a": 0.3, "reset_b": -5, "a_spike": 3, "b_spike": 0.1}
    values |= {"a_voltage": 0.01, "b_voltage": 0.05}
    theta = np.array([[values[name] for name in simulator.parameters]], np.float64)
    rng = np.random.default_rng(level)
    current, spikes = rng.normal(100, 100, (1, 300)), [np.array([20.3, 60.0, 150.9])]
    found = simulator.given_spikes(
        theta[None], np.zeros((1, 1, len(simulator.state_scales))), current, spikes, 0.1, 1.0
    )
    twin = GLIFTwin(simulator)
    where = segments(spikes, twin.cut_steps(torch.from_numpy(theta), 0.1).numpy(), 300, 10, 0.1)
    forced = twin.forced(torch.from_numpy(theta), torch.from_numpy(current), 0.1, where)
    seen = where.observed[0] >= 0
    expected = forced.voltage[0, where.observed[0][seen]]
    np.testing.assert_allclose(found.voltage[0, 0][seen.numpy()], expected, atol=1e-9)
    assert np.isnan(found.voltage[0, 0][~seen.numpy()]).all()
    distance = (forced.voltage - forced.threshold)[0][where.spike[0]]
    np.testing.assert_allclose(found.spiking[0, 0][np.isfinite(found.spiking[0, 0])], distance, atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("first", [0, 317])
def test_what_is_left_is_the_noise(noise: float, first: int) -> None:
    """Started from answers off by a tenth of the prior's range; the rms to 3.9 standard errors less what the fit takes."""
    good = record(40, 3, noise)
    x: NDArray[np.float32] = good.x[:, :, first:]
    rng = np.random.default_rng(0)
    start = (PRIOR.to_unit(good.theta) + 0.1 * rng.uniform(-1, 1, good.theta.shape)).clip(0, 1)
    found = residuals(x, start, SIMULATION, OBSERVATION)
    n = np.isfinite(found.residual).sum(1)
    ratio = np.sqrt(np.nansum(np.square(found.residual), 1) / n) - noise
    allowed = 3.9 * noise / np.sqrt(2 * n) + 9 * noise / n + 0.03
    assert (np.abs(ratio) < allowed).mean() >= 0.95
    assert np.nanquantile(found.gap, 0.9) < 0.1 + 1.5 * noise


def test_without_a_current_there_is_no_residual() -> None:
    good = record(3, 3, 0.5)
    x = good.x.copy()
    x[0, 2] = np.nan
    x[1, 0] = np.nan
    found = residuals(x, PRIOR.to_unit(good.theta), SIMULATION, OBSERVATION)
    assert np.isnan(found.residual[:2]).all() and np.isnan(found.gap[0])
    assert np.isfinite(found.residual[2]).any()

"""The bound of a silent neuron, where it is exact: against the compiled kernel's derivatives and a posterior on a grid."""

import numpy as np
import torch
from noise_neurons import FIXED, PRIOR, SIMULATOR, observe
from numpy.typing import NDArray

from neuroinf.fits.information import bound, voltage_information
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF

NOISE = 0.5


def silent(theta: NDArray[np.float64], simulator: GLIF, stimulus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voltages (n, W) at 1 ms of neurons under a current that is too weak for spikes."""
    response = simulator.simulate(theta, np.repeat(stimulus, 10)[None, None], 0.1)
    assert all(len(train) == 0 for train in response["spikes"])
    return np.asarray(response["voltage"], np.float64)[:, 9::10]


def test_information_is_that_of_the_kernel() -> None:
    rng = np.random.default_rng(0)
    theta = PRIOR.sample(3, rng)
    stimulus = rng.normal(0, 10, 500)
    x = np.full((3, 3, 500), np.nan)
    x[:, 0], x[:, 2] = silent(theta, SIMULATOR, stimulus), stimulus
    z, step = PRIOR.to_unconstrained(torch.from_numpy(theta)), 0.02
    slopes = []
    for p in range(6):
        ends = [PRIOR.from_unconstrained(z + sign * step * torch.eye(6)[p]).numpy() for sign in (1, -1)]
        high, low = (silent(end, SIMULATOR, stimulus) for end in ends)
        slopes.append((high - low) / (2 * step))
    expected = np.einsum("pbt,qbt->bpq", slopes, slopes) / NOISE**2
    found = voltage_information(theta, x, [np.empty(0)] * 3, SIMULATOR, PRIOR, 1.0, NOISE)
    # rounding of the kernel's float32 voltages, 4e-6 mV, over the step, and the step's own square
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-3 * expected.max())
    unknown = np.isnan(bound(found))
    assert (unknown == np.array([False, False, False, True, True, True])).all()


def test_a_posterior_on_a_grid_is_as_wide_as_the_bound() -> None:
    """C and R of a silent neuron; a curved model bends the posterior by its sd, a few hundredths, in relative terms."""
    names = ("C", "R_input")
    prior = Prior({name: PRIOR.parameters[name] for name in names})  # type: ignore[misc]
    fixed = FIXED | {"El": -70.0, "th_inf": 30.0, "asc_amp_1": -10.0, "asc_amp_2": -10.0}
    simulator, rng = GLIF(3, "absolute", fixed), np.random.default_rng(1)
    theta, stimulus = np.array([[90.0, 0.25]]), rng.normal(0, 30, 500).clip(-60, 60)
    x = np.full((1, 3, 500), np.nan)
    x[0, 0] = silent(theta, simulator, stimulus)[0] + NOISE * rng.standard_normal(500)
    x[0, 2] = stimulus
    least = bound(voltage_information(theta, x, [np.empty(0)], simulator, prior, 1.0, NOISE))[0]
    centre = prior.to_unconstrained(torch.from_numpy(theta)).numpy()[0]
    axes = [c + np.linspace(-7, 7, 81) * s for c, s in zip(centre, least, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    v = silent(prior.from_unconstrained(torch.from_numpy(grid)).numpy(), simulator, stimulus)
    log_p = -np.square(v - x[0, 0]).sum(1) / (2 * NOISE**2) - np.square(grid).sum(1) / 2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ grid
    sd = np.sqrt(p @ np.square(grid - mean))
    np.testing.assert_allclose(sd, least, rtol=0.1)


def test_less_noise_and_more_samples_narrow_the_bound() -> None:
    data = observe(5, 0.5, np.random.default_rng(2), 600)
    full = bound(voltage_information(data.theta, data.x, data.spikes, SIMULATOR, PRIOR, 1.0, 0.5))
    clear = bound(voltage_information(data.theta, data.x, data.spikes, SIMULATOR, PRIOR, 1.0, 0.1))
    half = data.x.copy()
    half[:, 0, 300:] = np.nan
    fewer = bound(voltage_information(data.theta, half, data.spikes, SIMULATOR, PRIOR, 1.0, 0.5))
    known = np.isfinite(full) & np.isfinite(fewer)
    assert (clear <= full)[known].all()
    assert (full <= fewer + 1e-12)[known].all()
    assert np.isnan(full[:, PRIOR.names.index("th_inf")]).all()

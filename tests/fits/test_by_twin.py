"""A prior in another order than the simulator's: the same neurons, the same answers."""

import numpy as np
import torch
from noise_neurons import PRIOR, RANGES, SIMULATOR, observe

from neuroinf.fits import by_twin
from neuroinf.priors import Prior

NAMES = ("th_inf", "asc_amp_2", "C", "asc_amp_1", "El", "R_input")
OTHER = Prior({name: RANGES[name] for name in NAMES})
COLUMNS = [PRIOR.names.index(name) for name in NAMES]


def test_order_of_parameters_does_not_matter() -> None:
    data = observe(5, 0.5, np.random.default_rng(0), 900)
    start = PRIOR.from_unconstrained(PRIOR.to_unconstrained(torch.from_numpy(data.theta)) + 0.03).numpy()
    one, other = by_twin(SIMULATOR, PRIOR, 1.0, 0.1), by_twin(SIMULATOR, OTHER, 1.0, 0.1)
    assert one is not None and other is not None
    a = one.refine(data.x, data.spikes, start, 2000, np.random.default_rng(1))
    b = other.refine(data.x, data.spikes, start[:, COLUMNS], 2000, np.random.default_rng(1))
    np.testing.assert_allclose(b.mean, a.mean[:, COLUMNS], rtol=1e-9)
    np.testing.assert_allclose(b.samples, a.samples[:, :, COLUMNS], rtol=1e-9)
    m, n = one.mode(data.x, data.spikes, start), other.mode(data.x, data.spikes, start[:, COLUMNS])
    np.testing.assert_allclose(n.theta, b.mean, rtol=1e-9)
    np.testing.assert_allclose(n.sd, m.sd[:, COLUMNS], rtol=1e-9)
    np.testing.assert_allclose(n.covariance[:, 0, 5], m.covariance[:, COLUMNS[0], COLUMNS[5]], rtol=1e-9)
    bounds = [
        twin.bound(theta, data.x, data.spikes, 0.5)
        for twin, theta in ((one, data.theta), (other, data.theta[:, COLUMNS]))
    ]
    np.testing.assert_allclose(bounds[1], bounds[0][:, COLUMNS], rtol=1e-9)


def test_a_model_without_a_twin_has_none() -> None:
    free = type(SIMULATOR)(3, "absolute", {"asc_tau_1": 100.0, "asc_tau_2": 10.0})
    assert by_twin(free, PRIOR, 1.0, 0.1) is None

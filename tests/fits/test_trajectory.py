"""The trajectory fit: it recovers what voltage and spikes hold, says how well, and is silent where it cannot know."""

import numpy as np
import pytest
import torch
from noise_neurons import FIXED, PRIOR, RANGES, SIMULATOR, observe
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.trajectory import fit
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.glif import GLIF


def r2(theta: NDArray[np.float64], estimate: NDArray[np.float64]) -> NDArray[np.float64]:
    truth, found = PRIOR.to_unit(theta), PRIOR.to_unit(estimate)
    return 1 - np.square(found - truth).sum(0) / np.square(truth - truth.mean(0)).sum(0)


@pytest.mark.slow
def test_a_hundred_noisy_neurons() -> None:
    seen = observe(100, 0.5, np.random.default_rng(0))
    found = fit(seen.x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert (r2(seen.theta, found.theta) > 0.995).all()


def test_noisy_neurons() -> None:
    seen = observe(8, 0.5, np.random.default_rng(0), duration=1500)
    found = fit(seen.x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert (r2(seen.theta, found.theta) > 0.99).all()
    assert found.identified.all()
    np.testing.assert_allclose(found.noise, 0.5, rtol=0.1)  # sd of an sd from 1400 samples: 1.9 %
    losses = np.where(np.isnan(found.losses), np.inf, found.losses)
    assert (np.nanmin(losses[-1], axis=0, initial=np.inf) >= losses.min((0, 1)) - 1e-9).all()


def test_it_answers_in_float32_and_with_padding_as_without() -> None:
    seen = observe(2, 0.5, np.random.default_rng(3), duration=600)
    padded = np.concatenate([seen.x, np.full((2, 3, 50), np.nan)], axis=2).astype(np.float32)
    plain = fit(seen.x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    other = fit(padded, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert np.abs(PRIOR.to_unit(plain.theta) - PRIOR.to_unit(other.theta)).max() < 0.01


def test_a_silent_neuron_tells_what_its_voltage_holds() -> None:
    seen = observe(3, 0.2, np.random.default_rng(4), duration=900)
    quiet = seen.x.copy()
    quiet[:, 2] *= 0.4
    voltage = np.asarray(SIMULATOR.simulate(seen.theta, np.repeat(quiet[:, 2], 10, axis=1)[:, None], 0.1)["voltage"])
    quiet[:, 0] = voltage[:, 9::10] + 0.2 * np.random.default_rng(5).standard_normal(quiet[:, 0].shape)
    found = fit(quiet, [np.empty(0)] * 3, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert np.abs(PRIOR.to_unit(found.theta) - PRIOR.to_unit(seen.theta))[:, :3].max() < 0.05
    assert found.identified[:, :3].all() and not found.identified[:, 4:].any()
    highest = voltage.max(1) - seen.theta[:, 2]
    assert (found.theta[:, 3] > highest - 1).all()


def test_null_where_the_method_cannot() -> None:
    seen = observe(4, 0.5, np.random.default_rng(6), duration=600)
    x = seen.x.copy()
    x[0, 2] = np.nan  # no stimulus
    x[1, 0] = np.nan  # no voltage, no spike
    spikes = [seen.spikes[0], np.empty(0), None, seen.spikes[3]]
    found = fit(x, spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1), starts=1)
    assert np.isnan(found.theta[:3]).all() and np.isfinite(found.theta[3]).all()
    assert np.isnan(found.losses[:, :, :3]).all()


def test_spikes_alone_do_not_tell_the_resting_potential() -> None:
    seen = observe(2, 0.5, np.random.default_rng(7), duration=1500)
    x = seen.x.copy()
    x[:, 0] = np.nan
    found = fit(x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert np.isnan(found.theta[:, 2]).all() and np.isnan(found.noise).all()
    assert found.identified[:, 4:].all()


def test_it_recovers_reset_rules_and_moving_thresholds() -> None:
    extra = {
        "reset_a": Parameter("1", 0.05, 0.9),
        "a_spike": Parameter("mV", 0.6, 7.0, "log"),
        "a_voltage": Parameter("1/ms", 0.002, 0.03, "log"),
    }
    prior = Prior(RANGES | extra)
    simulator = GLIF(5, "absolute", FIXED | {"reset_b": 2.0, "b_spike": 0.1, "b_voltage": 0.06})
    seen = observe(6, 0.1, np.random.default_rng(8), simulator=simulator, prior=prior)
    found = fit(seen.x, seen.spikes, simulator, prior, 1.0, np.random.default_rng(1), steps=60)
    error = np.abs(prior.to_unit(found.theta) - prior.to_unit(seen.theta))
    # a_spike has decayed before most next spikes: only what the curvature calls known must be right
    known = found.sd < 0.1
    assert known.mean() > 0.7
    assert error[known].max() < 0.1


def test_the_spike_cut_has_no_gradient_and_gets_no_number() -> None:
    prior = Prior({"C": RANGES["C"], "R_input": RANGES["R_input"], "spike_cut_length": Parameter("ms", 2.0, 4.0)})
    simulator = GLIF(1, "absolute", {"El": -70.0, "th_inf": 20.0})
    theta = prior.sample(2, np.random.default_rng(0))
    prior = Prior({name: prior.parameters[name] for name in simulator.parameters})
    x = np.stack([np.full((2, 50), -65.0), np.zeros((2, 50)), np.full((2, 50), 20.0)], axis=1)
    found = fit(x, [np.empty(0)] * 2, simulator, prior, 1.0, np.random.default_rng(1))
    assert theta.shape == found.theta.shape
    assert np.isnan(found.theta[:, 2]).all() and np.isfinite(found.theta[:, :2]).all()


@pytest.mark.parametrize(
    ("shape", "dt", "message"),
    [((1, 2, 9), 0.1, "observations"), ((2, 3, 9), 0.1, "trains"), ((1, 3, 9), 0.3, "multiple")],
)
def test_bad_input(shape: tuple[int, ...], dt: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(np.zeros(shape), [np.empty(0)], SIMULATOR, PRIOR, 1.0, np.random.default_rng(0), dt)


def test_it_leaves_the_global_random_state_alone() -> None:
    seen = observe(1, 0.5, np.random.default_rng(9), duration=300)
    before = torch.random.get_rng_state()
    first = fit(seen.x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    second = fit(seen.x, seen.spikes, SIMULATOR, PRIOR, 1.0, np.random.default_rng(1))
    assert (first.theta == second.theta).all()
    assert (torch.random.get_rng_state() == before).all()

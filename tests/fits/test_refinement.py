"""Refinement: the expansion against the dense pass, one mode from any start nearby, and intervals that hold the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from noise_neurons import PRIOR, SIMULATOR, Observed, observe
from numpy.typing import NDArray
from scipy.stats import binom

from neuroinf.errors import InputError
from neuroinf.fits.refinement import observed, refine
from neuroinf.fits.resampling import resample
from neuroinf.models.crossing_fit import loss, mode
from neuroinf.models.glif_likelihood import sums
from neuroinf.models.glif_linearisation import linearise
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.glif import GLIF

FALSE_ALARM = 1e-4


def nearby(theta: NDArray[np.float64], sd: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points at a distance sd in z from theta."""
    z = PRIOR.to_unconstrained(torch.from_numpy(theta))
    return PRIOR.from_unconstrained(z + sd * torch.from_numpy(rng.standard_normal(theta.shape))).numpy()


def test_expansion_equals_the_dense_pass() -> None:
    """Sums of the voltage, and the crossings' log-likelihood for a threshold so narrow that far steps add nothing."""
    data = observe(6, 0.5, np.random.default_rng(0), 600)
    seen = observed(data.x, data.spikes, SIMULATOR, PRIOR, 1.0)
    z = PRIOR.to_unconstrained(torch.from_numpy(nearby(data.theta, 0.02, np.random.default_rng(1))))
    layout, width = seen.layout(np.arange(6)), torch.full((6,), 0.02, dtype=torch.float64)
    dense = sums(seen.twin, PRIOR, z, torch.ones(6, dtype=torch.bool), width, layout, 0.1)
    sparse = linearise(seen.twin, PRIOR, z, layout, 0.1)
    np.testing.assert_allclose(sparse.squares, dense.squares, rtol=1e-9)
    np.testing.assert_allclose(sparse.pull, dense.pull, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(sparse.stiffness, np.tril(dense.stiffness), rtol=1e-7, atol=1e-6)
    total = loss(sparse, z.numpy(), np.ones(6), width.numpy())
    expected = dense.squares / 2 + dense.crossing + z.square().sum(1) / 2 + (width.log() / 3) ** 2 / 2
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    values = linearise(seen.twin, PRIOR, z, layout, 0.1, derivatives=False)
    np.testing.assert_allclose(loss(values, z.numpy(), np.ones(6), width.numpy()), total, rtol=1e-9)


def test_one_mode_from_any_start_nearby() -> None:
    data, rng = observe(30, 0.5, np.random.default_rng(2)), np.random.default_rng(3)
    first, second = (
        refine(data.x, data.spikes, SIMULATOR, PRIOR, 1.0, nearby(data.theta, 0.05, rng), steps=8) for _ in range(2)
    )
    apart = np.abs(first.z - second.z) / first.sd
    assert (apart.max(1) < 0.2).mean() > 0.9
    start = nearby(data.theta, 0.05, rng)
    error = np.abs(
        PRIOR.to_unit(refine(data.x, data.spikes, SIMULATOR, PRIOR, 1.0, start).theta) - PRIOR.to_unit(data.theta)
    )
    assert (error.mean(1) < np.abs(PRIOR.to_unit(start) - PRIOR.to_unit(data.theta)).mean(1)).mean() >= 0.9


def test_intervals_hold_the_truth() -> None:
    """90 % intervals of 120 neurons, Laplace and weighted: coverage above the binomial quantile of 1e-4 / 12."""
    data, rng = observe(120, 0.5, np.random.default_rng(4)), np.random.default_rng(5)
    refined = refine(data.x, data.spikes, SIMULATOR, PRIOR, 1.0, nearby(data.theta, 0.03, rng), steps=4)
    weighted = resample(data.x, data.spikes, SIMULATOR, PRIOR, 1.0, refined, rng)
    assert np.median(weighted.effective) > 50
    assert weighted.doubtful.mean() < 0.1
    z = PRIOR.to_unconstrained(torch.from_numpy(data.theta)).numpy()
    least = binom.ppf(FALSE_ALARM / 12, len(z), 0.9)
    for draws in (refined.sample(400, rng), weighted.z):
        low, high = np.quantile(draws, (0.05, 0.95), axis=1)
        held = ((z >= low) & (z <= high)).sum(0)
        assert (held >= least).all(), held


def test_the_inner_mode_is_one_however_far_the_spikes_are() -> None:
    """All spikes up to several mV below threshold: Newton's steps are far too long there."""
    data = observe(20, 0.5, np.random.default_rng(7), 900)
    seen = observed(data.x, data.spikes, SIMULATOR, PRIOR, 1.0)
    theta = data.theta.copy()
    theta[:, PRIOR.names.index("th_inf")] = np.minimum(theta[:, PRIOR.names.index("th_inf")] + 4.0, 41.0)
    z = PRIOR.to_unconstrained(torch.from_numpy(theta))
    at = linearise(seen.twin, PRIOR, z, seen.layout(np.arange(20)), 0.1)
    spiking = (np.arange(at.sign.shape[1]) < at.number[:, None]) & (at.sign > 0)
    assert at.distance[spiking].min() < -2
    found = mode(at, z.numpy())
    assert (found.after <= found.before + 1e-9).all()
    # G is convex given noise and width: what a fit that starts at the mode gains is what Newton's criterion leaves
    at = replace(at, slope=np.nan_to_num(at.slope), distance=np.nan_to_num(at.distance))  # beyond `number` is anything
    moved = replace(at, distance=at.distance + np.einsum("rmq,rq->rm", at.slope, found.step))
    moved = replace(moved, pull=at.pull - np.einsum("rpq,rq->rp", at.stiffness, found.step))
    gone = np.einsum("rq,rq->r", found.step, np.einsum("rpq,rq->rp", at.stiffness, found.step) - 2 * at.pull)
    moved = replace(moved, squares=at.squares + gone)
    again = mode(moved, z.numpy() + found.step)
    assert (again.after >= found.after - 0.1).all()


def profile(data: Observed, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fit's loss with the noise and the width that suit z best, every step counted."""
    seen = observed(data.x, data.spikes, SIMULATOR, PRIOR, 1.0)
    layout, n = seen.layout(np.arange(len(z))), len(z)
    least = np.full(n, np.inf)
    for w in np.geomspace(0.006, 8.0, 30):
        width = torch.full((n,), w, dtype=torch.float64)
        found = sums(seen.twin, PRIOR, torch.from_numpy(z), torch.ones(6, dtype=torch.bool), width, layout, 0.1)
        noise = (found.squares / layout.count).sqrt()
        total = found.crossing + layout.count * (noise.log() + 0.5) + width.log().square() / 18
        least = np.minimum(least, total.numpy() + np.square(z).sum(1) / 2)
    return least


@pytest.mark.parametrize("jitter", [0.0, 5.0])
def test_never_worse_than_the_start(jitter: float) -> None:
    """Near and far starts; and neurons that do not keep to the model, their spikes moved by some ms."""
    rng = np.random.default_rng(8)
    data = observe(30, 0.5, rng, 900)
    spikes = [np.sort(np.round(s + jitter * rng.uniform(-1, 1, len(s)), 1)) for s in data.spikes]
    data = data._replace(spikes=spikes)
    start = np.concatenate([nearby(data.theta[:15], 0.03, rng), nearby(data.theta[15:], 0.4, rng)])
    found = refine(data.x, data.spikes, SIMULATOR, PRIOR, 1.0, start)
    before = profile(data, PRIOR.to_unconstrained(torch.from_numpy(start)).numpy())
    assert (profile(data, found.z) <= before + 0.1).all()
    if jitter:
        spiked = np.array([len(s) > 5 for s in spikes])
        assert found.descended[spiked].mean() > 0.8
        assert np.median(found.width[spiked]) > 0.05
        assert np.isfinite(found.sd).all()


def test_no_answer_without_voltage_stimulus_or_spike_times() -> None:
    data = observe(4, 0.5, np.random.default_rng(6), 600)
    x, spikes = data.x.copy(), [*data.spikes[:3], None]
    x[0, 0], x[1, 2, 100:120] = np.nan, np.nan
    found = refine(x, spikes, SIMULATOR, PRIOR, 1.0, data.theta)
    assert np.isfinite(found.theta).all(1).tolist() == [False, False, True, False]


def test_spike_cut_must_be_fixed() -> None:
    free = GLIF(1, "absolute", {})
    prior = Prior({name: Parameter(unit, 1.0, 2.0) for name, unit in zip(free.parameters, free.units, strict=True)})
    with pytest.raises(InputError, match="spike cut fixed"):
        observed(np.zeros((1, 3, 10)), [np.empty(0)], free, prior, 1.0)

"""Fits of cascade neurons: what they find, what is left to be known, and that nothing moves uphill."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.fits import cascade_descent, cascade_family
from neuroinf.fits.cascade import fit, refine
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.fits.evidence import Evidence, Start
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_twin import CascadeTwin
from neuroinf.stimuli import AlphaInput, BiexponentialInput

FloatArray = NDArray[np.float64]
GRAPHS = Path(__file__).parents[2] / "configs" / "cascades"
PARALLEL = Prior(
    {
        "na_loc": Parameter("1", 0.1, 2.0),
        "na_width": Parameter("1", 0.05, 1.0, "log"),
        "na_gain": Parameter("1", 0.5, 8.0, "log"),
        "nmda_loc": Parameter("1", 0.1, 2.0),
        "nmda_gain": Parameter("1", 0.5, 8.0, "log"),
    }
)
RECURRENT = Prior(
    {
        "loc": Parameter("1", 1.4, 2.3),
        "width": Parameter("1", 0.1, 0.5, "log"),
        "gain": Parameter("1", 1.0, 6.0, "log"),
        "threshold": Parameter("1", 0.15, 0.35),
        "na_tau": Parameter("ms", 1.0, 4.0, "log"),
    }
)
DT, EVERY = 0.5, 4


def simulator(name: str, prior: Prior, record: list[str]) -> Cascade:
    """With the prior's parameters free, in the graph's own order."""
    graph = str(GRAPHS / f"{name}.yaml")
    free = [parameter for parameter in Cascade(graph).parameters if parameter in prior.names]
    return Cascade(graph, free, record=record)


def parallel(
    rng: np.random.Generator, n: int = 3, noise: float = 0.02
) -> tuple[CascadePosterior, FloatArray, FloatArray]:
    """Neurons seen in two sweeps, one blocked; their parameters, and z of these."""
    cascade = simulator("parallel", PARALLEL, ["voltage"])
    wave = [BiexponentialInput(200.0, DT, amplitude).sample(rng) for amplitude in (6.0, 12.0)]
    stimulus = np.stack([np.concatenate((wave[0], 0 * wave[0])), np.concatenate((wave[1], 0 * wave[1] + 1))])
    stimulus = np.broadcast_to(stimulus, (n, *stimulus.shape))
    theta = PARALLEL.from_unit(rng.uniform(0.2, 0.8, (n, len(PARALLEL.names))))
    z = PARALLEL.to_unconstrained(torch.from_numpy(theta)).numpy()
    blank = np.zeros((n, 2, 1, stimulus.shape[-1] // EVERY))
    clean = CascadePosterior(cascade, PARALLEL, stimulus, blank, DT, EVERY).response(z, np.arange(n))
    y = clean + noise * rng.standard_normal(clean.shape)
    return CascadePosterior(cascade, PARALLEL, stimulus, y, DT, EVERY), theta, z


def test_gradient_is_that_of_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior, _, z = parallel(np.random.default_rng(1), n=1)
    at = torch.tensor(z[0] + 0.3, requires_grad=True)
    theta = PARALLEL.from_unconstrained(at)[posterior.order].expand(2, -1)
    response = CascadeTwin(posterior.simulator).response(theta, torch.tensor(posterior.stimulus[0]), DT)["voltage"]
    squares = (torch.from_numpy(posterior.y[0, :, 0]) - response[:, EVERY - 1 :: EVERY]).square().sum()
    count = int(posterior.count[0, 0])
    loss = 0.5 * count * (squares / count + float(posterior.floor[0, 0])).log() + 0.5 * at.square().sum()
    loss.backward()
    found = posterior.expand(z + 0.3, np.zeros(1, np.int64), np.full(z.shape, 1e-4))
    assert at.grad is not None
    np.testing.assert_allclose(found.loss[0], float(loss.detach()), rtol=1e-9)
    np.testing.assert_allclose(found.gradient[0], at.grad.numpy(), rtol=1e-5, atol=1e-5)
    # what the descent takes, of more points than are simulated together
    monkeypatch.setattr(cascade_descent, "AT_ONCE", posterior.stimulus.size)
    value, slope = cascade_descent.loss_and_gradient(posterior, np.repeat(z + 0.3, 3, axis=0), np.zeros(3, np.int64))
    np.testing.assert_allclose(value, found.loss[0], rtol=1e-9)
    np.testing.assert_allclose(slope, np.repeat(at.grad.numpy()[None], 3, axis=0), rtol=1e-9, atol=1e-9)


def test_fit_reaches_the_truth_and_its_sd_is_right() -> None:
    posterior, _, z = parallel(np.random.default_rng(2))
    found = fit(posterior, np.random.default_rng(3), starts=2, candidates=16)
    best = found.log_posterior.argmax(1)
    # the mode is no worse than the truth, and the truth within what five normal parameters leave: chi2(5) < 33 but for 1e-5
    assert (found.log_posterior.max(1) >= -posterior.loss(z, np.arange(3)) - 1e-3).all()
    apart = found.best() - z
    covariance = found.covariance[np.arange(3), best]
    assert (np.einsum("bp,bpq,bq->b", apart, np.linalg.inv(covariance), apart) < 40).all()
    # 200 samples: the residuals' sd is the noise's to four times 1 / sqrt(400)
    np.testing.assert_allclose(posterior.noise(found.best(), np.arange(3)), 0.02, rtol=0.2)


def test_gradient_descent_reaches_the_same_minimum() -> None:
    posterior, _, z = parallel(np.random.default_rng(2))
    by_gradient = cascade_descent.fit(posterior, np.random.default_rng(3), starts=2, candidates=16)
    best = fit(posterior, np.random.default_rng(3), starts=2, candidates=16).log_posterior.max(1)
    loss = posterior.loss(by_gradient, np.arange(len(z)))
    # both stop where a step promises less than 1e-3, which on a ridge leaves some times as much
    np.testing.assert_allclose(loss, -best, atol=0.1)


def test_no_start_moves_uphill_where_the_model_jumps() -> None:
    rng, n = np.random.default_rng(4), 4
    cascade = simulator("recurrent", RECURRENT, ["soma", "dendrite"])
    stimulus = np.stack([AlphaInput(30.0, 0.05, amplitude).sample(rng) for amplitude in (1.5, 2.5)])
    stimulus = np.broadcast_to(stimulus, (n, *stimulus.shape))
    z = np.clip(rng.standard_normal((n, 5)), -1.5, 1.5)
    blank = np.zeros((n, 2, 2, stimulus.shape[-1] // 4))
    y = CascadePosterior(cascade, RECURRENT, stimulus, blank, 0.05, 4).response(z, np.arange(n))
    posterior = CascadePosterior(cascade, RECURRENT, stimulus, y + 0.01 * rng.standard_normal(y.shape), 0.05, 4)
    start = RECURRENT.from_unconstrained(torch.from_numpy(z + 0.2 * rng.standard_normal(z.shape))).numpy()
    found = refine(posterior, start[:, None], steps=6)
    descended = cascade_descent.descend(posterior, start[:, None], steps=30)[1][:, 0]
    before = posterior.loss(RECURRENT.to_unconstrained(torch.from_numpy(start)).numpy(), np.arange(n))
    assert not posterior.smooth
    assert (-found.log_posterior[:, 0] <= before).all()
    assert (-found.log_posterior[:, 0] < before - 10).any()
    assert (descended <= before).all() and (descended < before - 10).any()


def test_ridge_at_the_foot_of_the_sigmoid() -> None:
    """Far below loc only width and gain exp(-loc / width) matter: the published subthreshold sweeps (figure 4, 5C1)."""
    names = ["loc", "width", "gain", "dendrite_tau", "na_tau"]
    true = np.array([1.9, 0.3, 3.0, 20.0, 2.0])
    prior = Prior({name: Parameter("1", 0.5 * value, 1.5 * value) for name, value in zip(names, true, strict=True)})
    cascade = simulator("recurrent", prior, ["dendrite"])
    rng = np.random.default_rng(5)
    stimulus = np.stack([AlphaInput(50.0, 0.01, amplitude).sample(rng) for amplitude in (1.0, 1.5)])[None]
    posterior = CascadePosterior(cascade, prior, stimulus, np.zeros((1, 2, 1, 250)), 0.01, 20)
    z = prior.to_unconstrained(torch.from_numpy(true[None])).numpy()
    # in the middle of the prior: theta = low + range * Phi(z)
    slope = true / math.sqrt(2 * math.pi)
    slopes = posterior.jacobian(z, np.zeros(1, np.int64), np.full((1, 5), 1e-4))[0].reshape(5, -1) / slope[:, None]
    covariance = 0.01**2 * np.linalg.inv(slopes @ slopes.T)
    sd = dict(zip(names, np.sqrt(np.diag(covariance)), strict=True))
    correlation = covariance[0, 2] / (sd["loc"] * sd["gain"])
    # an independent program found 0.6 and, where the fit stopped at gain 1.78, 3.0; to its digits
    assert sd["loc"] == pytest.approx(0.6, abs=0.05) and sd["gain"] / 3.0 == pytest.approx(3.0 / 1.78, rel=0.03)
    assert correlation > 0.99
    assert sd["dendrite_tau"] / 20 < 0.03 and sd["na_tau"] / 2 < 0.03


def evidence(posterior: CascadePosterior, dt: float = 2.0) -> Evidence:
    """The same data as a fit of a family is given them."""
    stimulus = posterior.stimulus.reshape(-1, *posterior.stimulus.shape[2:])
    y = posterior.y.reshape(-1, *posterior.y.shape[2:])
    seen = Observation(channels=["voltage", "stimulus"], dt=dt, inputs=2)
    x = np.concatenate((y, stimulus[..., EVERY - 1 :: EVERY]), axis=1)
    return Evidence(x, seen, [None] * len(x), stimulus=stimulus, sweeps=2)


def test_family_fits_all_sweeps_of_a_neuron() -> None:
    posterior, theta, _ = parallel(np.random.default_rng(6), n=2)
    given = evidence(posterior)
    cascade, rng = posterior.simulator, np.random.default_rng(7)
    for name, refinement in cascade_family.refinements(cascade, PARALLEL, DT).items():
        near = PARALLEL.from_unit(
            np.clip(PARALLEL.to_unit(theta) + 0.02 * rng.standard_normal(theta.shape), 0.01, 0.99)
        )
        answer = refinement.run(given, Start(near[:, None]), 50, rng)
        assert answer is not None and answer.samples.shape == (2, 50, 5), name
        assert np.isfinite(answer.mean).all() and answer.doubtful == 0, name
    missing = Evidence(given.x, given.observation, given.spikes, sweeps=2)
    # a sweep that was not observed takes nothing away from the other
    x = given.x.copy()
    x[2:4] = np.nan
    half = Evidence(x, given.observation, given.spikes, stimulus=given.stimulus, sweeps=2)
    for name, one in cascade_family.fits(cascade, PARALLEL, DT, rng).items():
        assert np.isnan(one.run(missing)[0]).all(), name
        found, _ = one.run(half)
        assert np.isfinite(found[0]).all() and np.isnan(found[1]).all(), name


def test_shapes_that_do_not_fit() -> None:
    cascade = simulator("parallel", PARALLEL, ["voltage"])
    stimulus, y = np.zeros((1, 1, 2, 100)), np.zeros((1, 1, 1, 25))
    with pytest.raises(InputError, match="a prior over the simulator's"):
        CascadePosterior(cascade, RECURRENT, stimulus, y, DT, EVERY)
    with pytest.raises(InputError, match="expected stimuli"):
        CascadePosterior(cascade, PARALLEL, stimulus, y[:, :, [0, 0]], DT, EVERY)
    with pytest.raises(InputError, match="as many steps of the stimulus"):
        CascadePosterior(cascade, PARALLEL, stimulus[..., :99], y, DT, EVERY)

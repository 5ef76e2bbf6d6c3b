"""The batch fit: its compiled sums against automatic differentiation through the twin, and what its steps promise."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from neuroinf.models.glif_descent import GradientDescent
from neuroinf.models.glif_likelihood import Layout, sums
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import Segments, segments
from neuroinf.simulators.glif_twin import GLIFTwin

DT, K, WINDOWS = 0.1, 5, 400
SHARED = {
    "C": Parameter("pF", 60.0, 120.0, "log"),
    "R_input": Parameter("GOhm", 0.15, 0.3, "log"),
    "El": Parameter("mV", -75.0, -65.0),
    "th_inf": Parameter("mV", 16.0, 25.0, "log"),
}
EXTRA = {
    3: {"asc_amp_1": Parameter("pA", -40.0, 0.0), "asc_amp_2": Parameter("pA", -200.0, 0.0)},
    5: {
        "reset_a": Parameter("1", 0.1, 0.6),
        "a_spike": Parameter("mV", 1.0, 4.0),
        "a_voltage": Parameter("1/ms", 0.005, 0.02),
    },
}
FIXED = {
    3: {"spike_cut_length": 3.0, "asc_tau_1": 100.0, "asc_tau_2": 10.0},
    5: {"spike_cut_length": 3.0, "asc_tau_1": 100.0, "asc_tau_2": 10.0, "asc_amp_1": -10.0, "asc_amp_2": -60.0}
    | {"reset_b": 2.0, "b_spike": 0.1, "b_voltage": 0.06},
}


def observed(level: int, n: int) -> tuple[GLIFTwin, Prior, Tensor, Tensor, Segments, Tensor]:
    rng = np.random.default_rng(level)
    simulator, prior = GLIF(level, "absolute", FIXED[level]), Prior(SHARED | EXTRA[level])
    theta = prior.sample(n, rng)
    current = simulator.rheobase(theta)[:, None] * (
        1.3 + 0.5 * np.repeat(rng.standard_normal((n, WINDOWS // 10)), 10, axis=1)
    )
    response = simulator.simulate(theta, np.repeat(current, K, axis=1)[:, None], DT)
    voltage = np.asarray(response["voltage"])[:, K - 1 :: K] + 0.3 * rng.standard_normal((n, WINDOWS))
    twin = GLIFTwin(simulator)
    cut = twin.cut_steps(torch.from_numpy(theta), DT).numpy()
    where = segments(list(response["spikes"]), cut, WINDOWS, K, DT)
    assert where.spike.sum() >= 2 * n
    return twin, prior, torch.from_numpy(voltage), torch.from_numpy(current), where, torch.from_numpy(theta)


@pytest.mark.parametrize("level", [3, 5])
def test_the_compiled_sums_are_those_of_the_twin(level: int) -> None:
    twin, prior, voltage, current, where, theta = observed(level, 3)
    z = prior.to_unconstrained(theta) + 0.2
    width = torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64)
    free = torch.ones(len(prior.names), dtype=torch.bool)
    free[1] = False
    found = sums(twin, prior, z, free, width, Layout(voltage, current, where), DT)

    seen = ~voltage.isnan() & (where.observed >= 0)
    sign = where.spike.double() - where.silent.double()

    def both(coordinates: Tensor) -> Tensor:
        out = twin.forced(prior.from_unconstrained(coordinates[:, :-1]), current, DT, where)
        residual = torch.where(seen, voltage.nan_to_num() - out.voltage.gather(1, where.observed.clamp(min=0)), 0.0)
        scaled = (out.voltage - out.threshold) / coordinates[:, -1:].exp()
        return torch.cat((residual, scaled), dim=1)

    coordinates = torch.cat((z, width.log()[:, None]), dim=1)
    every = torch.eye(coordinates.shape[1], dtype=torch.float64)
    slopes = torch.func.vmap(lambda e: torch.func.jvp(both, (coordinates,), (e.expand_as(coordinates),))[1])(every)
    slopes = slopes.movedim(0, 1)[:, torch.cat((free, torch.tensor([True])))]
    values = both(coordinates)
    residual, scaled = values[:, :WINDOWS], values[:, WINDOWS:]
    dv, ds = -slopes[:, :-1, :WINDOWS], slopes[:, :, WINDOWS:]
    p = torch.sigmoid(-sign * scaled)
    tested = sign != 0
    expected = (
        residual.square().sum(1),
        (dv @ residual[..., None])[..., 0],
        dv @ dv.mT,
        torch.where(tested, softplus(-sign * scaled), 0.0).sum(1),
        (ds @ (-sign * p)[..., None])[..., 0],
        (ds * torch.where(tested, p * (1 - p), 0.0)[:, None]) @ ds.mT,
        (torch.where(where.silent, scaled, -torch.inf) * width[:, None]).amax(1),
        (torch.where(where.spike, scaled, torch.inf) * width[:, None]).amin(1),
    )
    for name, a, b in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}")


def test_steps_never_raise_the_loss_and_starts_agree() -> None:
    twin, prior, voltage, current, where, theta = observed(3, 4)
    start = torch.from_numpy(prior.sample(12, np.random.default_rng(0))).view(3, 4, -1)
    module = GradientDescent(twin, prior, voltage, current, where, DT, start, torch.ones(6, dtype=torch.bool), race=100)
    before = module.at.loss.clone()
    for _ in range(60):
        module.training_step(None, 0)
        assert (module.at.loss <= before + 1e-9).all()
        before = module.at.loss.clone()
        if len(module.moving) == 0:
            break
    ends = module.at.z.view(3, 4, -1)
    best = module.at.loss.view(3, 4).min(0).values
    # starts that end as low end at the same place
    low = module.at.loss.view(3, 4) < best + 1.0
    assert low.sum() >= 8
    spread = (ends - ends.flatten(0, 1)[module.best()]).abs().amax(2)
    assert spread[low].max() < 0.5
    error = (prior.to_unit(prior.from_unconstrained(module.at.z[module.best()])) - prior.to_unit(theta)).abs()
    assert error.median() < 0.03


def test_errors_are_as_large_as_the_curvature_says() -> None:
    """Without spikes the sum of 3 n squared errors over predicted variances is chi-squared; false-alarm rate 1e-4."""
    from scipy.stats import chi2

    n = 30
    rng = np.random.default_rng(1)
    simulator = GLIF(1, "absolute", {"spike_cut_length": 3.0, "th_inf": 100.0})
    prior = Prior({name: SHARED[name] for name in simulator.parameters})
    truth = prior.from_unconstrained(torch.from_numpy(0.7 * rng.standard_normal((n, 3))))
    current = 60 + 30 * np.repeat(rng.standard_normal((n, WINDOWS // 10)), 10, axis=1)
    response = simulator.simulate(truth.numpy(), np.repeat(current, K, axis=1)[:, None], DT)
    voltage = torch.from_numpy(np.asarray(response["voltage"])[:, K - 1 :: K] + 0.3 * rng.standard_normal((n, WINDOWS)))
    where = segments([np.empty(0)] * n, np.full(n, 30), WINDOWS, K, DT)
    start, free = prior.from_unconstrained(torch.zeros(1, n, 3, dtype=torch.float64)), torch.ones(3, dtype=torch.bool)
    twin = GLIFTwin(simulator)
    module = GradientDescent(twin, prior, voltage, torch.from_numpy(current), where, DT, start, free, noise=0.3)
    for _ in range(30):
        if len(module.moving):
            module.training_step(None, 0)
    error = module.at.z - prior.to_unconstrained(truth)
    squares = torch.einsum("bi,bij,bj->", error, module.at.curvature[:, :3, :3], error).item()
    low, high = chi2.ppf([0.5e-4, 1 - 0.5e-4], 3 * n)
    assert low < squares < high

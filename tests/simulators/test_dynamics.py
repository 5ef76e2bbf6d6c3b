"""Latents against other integrators, exact moments and known statistics of the attractors."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import norm

from neuroinf.errors import InputError
from neuroinf.simulators import LinearDynamics, Lorenz, LowRankRNN, Roessler

FALSE_ALARMS = 1e-4


def seeds(n: int, first: int = 0) -> Any:
    return np.arange(first, first + n, dtype=np.uint64)


ALL = [Lorenz(600.0), Roessler(500.0), LinearDynamics(5), LinearDynamics(1), LowRankRNN(3, units=60)]


@pytest.mark.parametrize("dynamics", ALL, ids=lambda d: type(d).__name__)
def test_path_depends_on_its_seed_alone(dynamics: Any) -> None:
    paths = dynamics.paths(seeds(6), 40, 10.0)
    assert paths.shape == (6, dynamics.dimension, 40)
    np.testing.assert_array_equal(dynamics.paths(seeds(2, 3), 40, 10.0), paths[3:5])
    np.testing.assert_array_equal(dynamics.paths(seeds(6), 25, 10.0), paths[..., :25])
    assert len(np.unique(paths[:, 0, 0])) == 6


@pytest.mark.parametrize("dynamics", ALL, ids=lambda d: type(d).__name__)
def test_latents_have_mean_0_variance_1_and_the_stated_covariance(dynamics: Any) -> None:
    """Independent rows: of 1,600 the last of three bins. A mean is off by at most z / sqrt(n) (1e-4, Bonferroni); a product of
    two latents by z times its own sample error."""
    n = 1600
    z = dynamics.paths(seeds(n, 1000), 3, 20.0)[..., -1]
    comparisons = dynamics.dimension + dynamics.dimension**2
    most = norm.isf(FALSE_ALARMS / (2 * comparisons * len(ALL)))
    # the moments by which Lorenz, Roessler and the network are standardised are themselves estimated, to better than 1 %
    assert np.abs(z.mean(0)).max() < most / np.sqrt(n) + 0.01
    products = np.einsum("ni,nj->nij", z, z)
    error = most * products.std(0) / np.sqrt(n) + 0.02
    assert (np.abs(products.mean(0) - dynamics.covariance) < error).all()


@pytest.mark.parametrize(
    ("flow", "slope"),
    [
        (Lorenz(600.0), lambda t, u: [10 * (u[1] - u[0]), u[0] * (28 - u[2]) - u[1], u[0] * u[1] - 8 / 3 * u[2]]),
        (Roessler(500.0), lambda t, u: [-u[1] - u[2], u[0] + 0.2 * u[1], 0.2 + u[2] * (u[0] - 5.7)]),
    ],
    ids=["Lorenz", "Roessler"],
)
def test_flow_is_that_of_another_integrator(flow: Any, slope: Any) -> None:
    """A period from the same state; errors grow e-fold in a Lyapunov time, hence the short comparison."""
    dt = 10.0
    steps = int(flow.period / dt)
    paths = flow.paths(seeds(5), steps, dt) * flow.sd[:, None] + flow.mean[:, None]
    times = np.arange(steps) * dt / flow.period * flow.turn
    for path in paths:
        other = solve_ivp(slope, (0, times[-1]), path[:, 0], "DOP853", times, rtol=1e-12, atol=1e-12).y
        assert (np.abs(path - other).max(1) < 1e-5 * flow.sd).all()


def test_lorenz_attractor_has_its_known_moments() -> None:
    r"""Exact in the stationary state: <x y> = beta <z> (from dz/dt), <x^2> = <x y> (from d(x^2)/dt). Known: <z> = 23.55, and the
    largest Lyapunov exponent 0.9056. The moments are of about 80,000 turns, correlated for about one: 1 % is 3 errors of <x^2>."""
    flow = Lorenz()
    xx, xy = (
        flow.sd[0] ** 2 + flow.mean[0] ** 2,
        flow.covariance[0, 1] * flow.sd[0] * flow.sd[1] + flow.mean[0] * flow.mean[1],
    )
    assert xx == pytest.approx(xy, rel=0.01) and xy == pytest.approx(8 / 3 * flow.mean[2], rel=0.01)
    assert flow.mean[2] == pytest.approx(23.55, rel=0.005)
    assert np.abs(flow.mean[:2]).max() < 0.2 and np.abs(flow.covariance[2, :2]).max() < 0.03


def test_lorenz_diverges_at_its_lyapunov_exponent() -> None:
    """Neighbours at a distance of 1e-8, grown over 8 units of the flow's time: log growth / 8 is 0.906 on average. Over 200
    pairs the finite-time exponent spreads by about 0.2, its mean by 0.015."""
    from neuroinf.simulators.chaotic_flows import LORENZ, runge_kutta

    flow, constants, room = Lorenz(), np.array([10.0, 28.0, 8 / 3]), np.empty((5, 3))
    starts = flow.paths(seeds(200), 1, 1.0)[..., 0] * flow.sd + flow.mean
    grown = []
    for start in starts:
        a, b = start.copy(), start + 1e-8 / np.sqrt(3)
        runge_kutta(LORENZ, constants, a, 0.005, 400, room)
        runge_kutta(LORENZ, constants, b, 0.005, 400, room)
        before = np.linalg.norm(a - b)  # by now along the direction that grows
        runge_kutta(LORENZ, constants, a, 0.005, 1600, room)
        runge_kutta(LORENZ, constants, b, 0.005, 1600, room)
        grown.append(np.log(np.linalg.norm(a - b) / before) / 8)
    error = np.std(grown) / np.sqrt(len(grown))
    assert abs(np.mean(grown) - 0.9056) < 3.9 * error and error < 0.04


@pytest.mark.parametrize(
    ("flow", "turns"), [(Lorenz(1000.0), 2.0), (Roessler(1000.0), 1.0)], ids=["Lorenz", "Roessler"]
)
def test_period_is_the_stated_number_of_turns(flow: Any, turns: float) -> None:
    """Maxima of z of Lorenz (two a period, 0.75 units each), of y of Roessler. Turns of Lorenz differ: 3 %."""
    z = flow.paths(seeds(20), 4000, 10.0)[:, 2 if turns == 2 else 1]
    maxima = ((z[:, 1:-1] > z[:, :-2]) & (z[:, 1:-1] >= z[:, 2:])).sum()
    assert maxima / 20 / 40 == pytest.approx(turns, rel=0.03)


@pytest.mark.parametrize("dimension", [1, 2, 5, 8])
@pytest.mark.parametrize("dt", [5.0, 40.0])
def test_linear_dynamics_solves_the_discrete_lyapunov_equation(dimension: int, dt: float) -> None:
    """Sigma = A Sigma A^T + W with the noise W that the paths have: the residuals z_{t+1} - A z_t of 200 x 200 steps."""
    dynamics = LinearDynamics(dimension, timescale=100.0, periods=(800.0, 200.0), seed=3)
    a = dynamics.transition(dt)
    z = dynamics.paths(seeds(200), 201, dt)
    residual = (z[..., 1:] - a @ z[..., :-1]).transpose(1, 0, 2).reshape(dimension, -1)
    noise, n = residual @ residual.T / residual.shape[1], residual.shape[1]
    wanted = np.eye(dimension) - a @ a.T
    # of products of independent normal numbers: variance w_ii w_jj, twice that on the diagonal
    most = norm.isf(FALSE_ALARMS / (2 * 8 * dimension**2))
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)) * (1 + np.eye(dimension)) / n)
    assert (np.abs(noise - wanted) < most * scale).all()
    np.testing.assert_allclose(solve_discrete_lyapunov(a, wanted), dynamics.covariance, atol=1e-12)
    # two steps are one of twice the length
    np.testing.assert_allclose(dynamics.transition(2 * dt), a @ a, atol=1e-12)


def test_network_of_full_size_has_the_latents_equation() -> None:
    """Without noise to speak of: tau x' = -x + M N^T tanh(x) / H of all H units, from a state in the span of M."""
    network = LowRankRNN(2, units=80, timescale=50.0, noise=1e-9, seed=1)
    mean, sd, _ = network._moments
    path = network.paths(seeds(1), 60, 5.0)[0] * sd[:, None] + mean[:, None]
    # network._n carries the 1 / H
    m, n = network._m, network._n
    x = m @ path[:, 0]
    for t in range(60):
        np.testing.assert_allclose(x, m @ path[:, t], atol=1e-5)
        x = x + 0.1 * (-x + m @ (n.T @ np.tanh(x)))
    assert np.linalg.matrix_rank(m @ n.T) == 2


def test_network_uses_every_dimension_of_its_rank() -> None:
    for rank in (1, 2, 3, 4):
        eigenvalues = np.linalg.eigvalsh(LowRankRNN(rank, units=80, seed=rank).covariance)
        assert eigenvalues.min() > 0.3 / rank


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Lorenz(period=0), "Lorenz: period must be positive"),
        (lambda: Lorenz(rho=0.5), "comes to rest"),
        (lambda: Roessler(c=-1.0), "constants must be positive"),
        (lambda: LinearDynamics(0), "dimension at least 1"),
        (lambda: LinearDynamics(2, timescale=-1.0), "timescale and periods must be positive"),
        (lambda: LowRankRNN(5, units=4), "units at least twice the rank"),
        (lambda: LowRankRNN(noise=0.0), "noise must be positive"),
    ],
)
def test_impossible_dynamics_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()

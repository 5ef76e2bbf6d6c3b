"""Latents against other integrators, exact moments and known statistics of the attractors."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import norm
from scipy.stats import t as student

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


# samples of a row, and their distance in ms, of the run that finds the moments by which each is standardised; None: exact
MOMENT_RUNS: list[tuple[Any, int, float, bool]] = [
    (ALL[0], 400, 0.6 / 1.5008 * 600.0, True),
    (ALL[1], 400, 4.0 / 5.881 * 500.0, True),
    (ALL[2], 50, 100.0, False),
    (ALL[3], 50, 100.0, False),
    (ALL[4], 50, 150.0, True),
]


@pytest.mark.parametrize(
    ("dynamics", "samples", "dt", "estimated"),
    MOMENT_RUNS,
    ids=lambda x: type(x).__name__ if hasattr(x, "paths") else "",
)
def test_latents_have_mean_0_variance_1_and_the_stated_covariance(
    dynamics: Any, samples: int, dt: float, estimated: bool
) -> None:
    """256 independent rows; a mean over them divided by its standard error is Student's t of 255 degrees of freedom. Where the
    moments are estimated, it was on as many rows of as many samples: the variance of the difference is twice that of one. Over
    all means and products of all dynamics the false-alarm rate is 1e-4 (Bonferroni)."""
    n = 256
    z = dynamics.paths(seeds(n, 1000), samples, dt)
    comparisons = sum(d.dimension + d.dimension * (d.dimension + 1) // 2 for d in ALL)
    most = student.isf(FALSE_ALARMS / (2 * comparisons), n - 1) * np.sqrt(2 if estimated else 1)
    means = z.mean(2)
    assert (np.abs(means.mean(0)) < most * means.std(0, ddof=1) / np.sqrt(n)).all()
    products = np.einsum("nit,njt->nij", z, z) / samples
    assert (np.abs(products.mean(0) - dynamics.covariance) < most * products.std(0, ddof=1) / np.sqrt(n)).all()


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
    r"""Exact in the stationary state: <x y> = beta <z> (from dz/dt), <x^2> = <x y> (from d(x^2)/dt), and <x> = <y> = <x z> = <y z>
    = 0 (from the symmetry of x and y). Known: <z> = 23.55, to 0.005. Seven means over 256 independent rows, as long as those of
    the run that found the moments: Student's t, its false-alarm rate 1e-4 over all of them and of the two tests."""
    flow, n = Lorenz(), 256
    x, y, z = (flow.paths(seeds(n, 5000), 400, 0.6 / 1.5008 * 1000.0) * flow.sd[:, None] + flow.mean[:, None]).swapaxes(
        0, 1
    )
    zero = np.stack([x * x - x * y, x * y - 8 / 3 * z, x, y, x * z, y * z, z - 23.55], -1).mean(1)
    most = student.isf(FALSE_ALARMS / (2 * 2 * 7), n - 1) * zero.std(0, ddof=1) / np.sqrt(n)
    assert (np.abs(zero.mean(0)) < most + np.array([0, 0, 0, 0, 0, 0, 0.005])).all()
    # what the program stores is such a mean itself, of other rows
    (_, _, *middle, _, _, height) = most
    assert (np.abs(flow.mean[:2]) < middle).all() and abs(flow.mean[2] - 23.55) < height + 0.005
    xx, xy = (
        flow.sd[0] ** 2 + flow.mean[0] ** 2,
        flow.covariance[0, 1] * flow.sd[0] * flow.sd[1] + flow.mean[0] * flow.mean[1],
    )
    assert abs(xx - xy) < most[0] and abs(xy - 8 / 3 * flow.mean[2]) < most[1]
    assert (np.abs(flow.covariance[2, :2] * flow.sd[2] * flow.sd[:2] + flow.mean[2] * flow.mean[:2]) < most[4:6]).all()


def test_lorenz_diverges_at_its_lyapunov_exponent() -> None:
    """Neighbours at a distance of 1e-8, grown over 8 units of the flow's time: log growth / 8 is 0.9056 on average. Of 200
    independent pairs: Student's t at 1e-4; the exponents spread by about 0.2, so that the test sees 0.06."""
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
    assert abs(np.mean(grown) - 0.9056) < student.isf(FALSE_ALARMS / 2, 199) * error and error < 0.04


@pytest.mark.parametrize(
    ("flow", "turns"), [(Lorenz(1000.0), 2.0), (Roessler(1000.0), 1.0)], ids=["Lorenz", "Roessler"]
)
def test_period_is_the_stated_number_of_turns(flow: Any, turns: float) -> None:
    """Maxima of z of Lorenz (two a period, 0.75 units each), of y of Roessler, in 40 rows of 40 periods: Student's t at 1e-4 over
    both. The stated periods have four digits, 1.5008 a Fourier mode's: the mean turn may differ by 1 %. A maximum next to an end
    of a row is missed at most twice."""
    n, periods = 40, 40
    z = flow.paths(seeds(n), 100 * periods, 10.0)[:, 2 if turns == 2 else 1]
    maxima = ((z[:, 1:-1] > z[:, :-2]) & (z[:, 1:-1] >= z[:, 2:])).sum(1) / periods
    most = student.isf(FALSE_ALARMS / 4, n - 1) * maxima.std(ddof=1) / np.sqrt(n)
    assert abs(maxima.mean() - turns) < most + 0.01 * turns + 2 * 0.01 / periods


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

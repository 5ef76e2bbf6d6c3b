"""Fits of hierarchical neurons: derivatives of what is minimised, starts, recovery of teachers, choice of depth."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.hierarchical_glm import Penalties, explained, fit, fit_ladder, predict
from neuroinf.fits.hierarchical_minimum import least_squares
from neuroinf.fits.hierarchical_objective import Centre, Objective, gains
from neuroinf.fits.hierarchical_selection import select
from neuroinf.fits.hierarchical_start import draw, extend
from neuroinf.fits.hierarchical_threshold import fit_threshold
from neuroinf.simulators import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

Floats = NDArray[np.float64]
NAMES = ("1L", "1N", "2N", "3N")


def model(name: str, **options: object) -> HierarchicalGLM:
    return HierarchicalGLM.named(name, 6, 5, **options)  # type: ignore[arg-type]


def trains(steps: int, rng: np.random.Generator, p: float = 0.01) -> Floats:
    return (rng.random((11, steps)) < p).astype(np.float64)


@pytest.mark.parametrize("options", [{}, {"double": True}, {"synapses": "shared"}, {"spiking": True}])
@pytest.mark.parametrize("name", ["1L", "3N"])
def test_objective_derivatives(name: str, options: dict[str, object]) -> None:
    """Against central differences, penalties included; masked samples do not count."""
    simulator, rng = model(name, **options), np.random.default_rng(1)
    x = trains(500, rng)
    theta = draw(simulator, x, 1.0, rng)
    spikes = rng.random(500) < 0.02 if simulator.spiking else None
    voltage = np.where(np.arange(500) % 7 == 0, np.nan, rng.normal(size=500))
    filters = len(simulator.tree) + len(simulator.slow)
    centre = Centre(rng.normal(size=filters), rng.normal(size=len(simulator.tree)))
    objective = Objective(simulator, voltage, x, 1.0, spikes, centre)
    z = objective.to_z(theta) + 0.1 * rng.normal(size=objective.width)
    residuals, derivatives = objective(z)
    assert len(residuals) == np.isfinite(voltage).sum() + filters + len(simulator.tree)
    np.testing.assert_allclose(objective.to_z(objective.to_theta(z)), z, atol=1e-12)
    for k in range(len(z)):
        step = np.zeros(len(z))
        step[k] = 1e-6
        difference = (objective(z + step)[0] - objective(z - step)[0]) / 2e-6
        np.testing.assert_allclose(difference, derivatives[k], atol=1e-5 * max(1.0, np.abs(derivatives[k]).max()))


def test_gain_is_the_response_to_a_tiny_input() -> None:
    """The peak of the response to one spike of a weight so small that all is linear, over w / e, without delay."""
    simulator, rng = model("3N", delay=0.0), np.random.default_rng(2)
    theta = draw(simulator, trains(2000, rng), 1.0, rng)
    w, tau = simulator.columns["w"].start, simulator.columns["tau"].start
    theta[w], theta[tau] = 1e-4, 20.0  # a kernel that peaks on a step
    x = np.zeros((11, 200))
    x[0, 10] = 1.0
    voltage = predict(simulator, theta, x, 1.0)
    expected = math.exp(gains(simulator, theta).log[simulator.tree[0].subunit]) * 1e-4 / math.e
    assert voltage.max() - voltage[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("double", [False, True])
def test_drawn_neurons_are_neither_saturated_nor_idle(name: str, double: bool) -> None:
    simulator, rng = model(name, double=double), np.random.default_rng(3)
    x = trains(3000, rng)
    theta = draw(simulator, x, 1.0, rng, mean=-55.0, sd=4.0)
    voltage = predict(simulator, theta, x, 1.0)
    assert (voltage.mean(), voltage.std()) == (pytest.approx(-55.0), pytest.approx(4.0))


@pytest.mark.parametrize(("simple", "deep"), [("1L", "1N"), ("1L", "3N"), ("1N", "2N"), ("2N", "3N"), ("1N", "3N")])
@pytest.mark.parametrize("spiking", [False, True])
def test_a_nearly_linear_extension_is_the_simpler_model(simple: str, deep: str, spiking: bool) -> None:
    """The closer to linear, the closer the voltages: the sigmoid's third-order term falls as linearity^-2."""
    rng, a = np.random.default_rng(4), model(simple, synapses="shared", double=True, spiking=spiking)
    b = model(deep, double=True, spiking=spiking)
    x = trains(3000, rng)
    theta = draw(a, x, 1.0, rng)
    spikes = np.zeros(3000, np.bool_)
    before = predict(a, theta, x, 1.0, spikes)
    far, near = (
        np.abs(predict(b, extend(a, theta, b, x, 1.0, value), x, 1.0, spikes) - before).max() for value in (10.0, 100.0)
    )
    assert near < far / 50 < 1.0


def test_one_linear_unit_with_penalties_off_is_least_squares() -> None:
    """Noisy voltage, any start: at the minimum the residual is orthogonal to the constant and to each filtered input."""
    simulator, rng = model("1L"), np.random.default_rng(5)
    x = trains(4000, rng)
    voltage = predict(simulator, draw(simulator, x, 1.0, rng), x, 1.0) + rng.normal(size=4000)
    found = fit(voltage, x, simulator, 1.0, [draw(simulator, x, 1.0, rng)], tolerance=1e-14)
    twin = HierarchicalGLMTwin(simulator)
    filtered, _ = twin.filtered(found.theta, twin.summed(x), 1.0)
    design = np.concatenate((np.ones((1, 4000)), filtered))
    solution = np.linalg.lstsq(design.T, voltage, rcond=None)[0]
    np.testing.assert_allclose(np.r_[found.theta[0], found.theta[simulator.columns["w"]]], solution, atol=1e-4)


@pytest.mark.parametrize("synapses", ["individual", "shared"])
def test_a_student_finds_its_teacher(synapses: str) -> None:
    """Noise-free: voltage, weights and time constants are those of the teacher, the simpler students' are not."""
    rng = np.random.default_rng(6)
    models = [model(name, synapses=synapses) for name in NAMES]
    teacher, x, test = models[-1], trains(5000, rng), trains(5000, rng)
    theta = draw(teacher, x, 1.0, rng)
    voltage, further = predict(teacher, theta, x, 1.0), 3 if synapses == "shared" else 0
    fits = fit_ladder(voltage, x, models, 1.0, rng, released=True, random_starts=further)
    truth = predict(teacher, theta, test, 1.0)
    r2 = [explained(truth, found.voltage(test, 1.0))[0] for found in fits]
    assert r2[-1] > 1 - 1e-6
    assert max(r2[:-1]) < 0.999
    for kind in ("w", "tau"):
        part = teacher.columns[kind]
        np.testing.assert_allclose(fits[-1].theta[part], theta[part], rtol=0.02)
    picked = select(truth, [found.voltage(test, 1.0) for found in fits], 1.0)
    assert (picked.best, picked.chosen) == (3, 3)


def test_both_optimizers_reach_the_same_minimum() -> None:
    simulator, rng = model("1N"), np.random.default_rng(7)
    x = trains(3000, rng)
    voltage = predict(simulator, draw(simulator, x, 1.0, rng), x, 1.0) + rng.normal(size=3000)
    ladder = fit_ladder(voltage, x, [model("1L")], 1.0, rng)[-1]
    start = [extend(ladder.simulator, ladder.theta, simulator, x, 1.0, 1.0)]
    marquardt = fit(voltage, x, simulator, 1.0, start, tolerance=1e-12)
    bfgs = fit(voltage, x, simulator, 1.0, start, optimizer="l-bfgs", evaluations=3000, tolerance=1e-14)
    assert marquardt.settled
    assert bfgs.value == pytest.approx(marquardt.value, rel=1e-4)
    assert marquardt.evaluations < bfgs.evaluations


def test_least_squares_keeps_to_its_box() -> None:
    """Rosenbrock's valley: the free minimum is (1, 1), on the edge x = 0.5 it is (0.5, 0.25)."""

    def residuals(z: Floats) -> tuple[Floats, Floats]:
        return np.array([10 * (z[1] - z[0] ** 2), 1 - z[0]]), np.array([[-20 * z[0], -1.0], [10.0, 0.0]])

    start, low = np.array([-1.2, 1.0]), np.array([-2.0, -2.0])
    for optimizer in ("levenberg-marquardt", "l-bfgs"):
        found = least_squares(residuals, start, low, np.array([2.0, 2.0]), optimizer, 500, 1e-14, 0.0)
        np.testing.assert_allclose(found.z, 1.0, atol=1e-4)
        found = least_squares(residuals, start, low, np.array([0.5, 2.0]), optimizer, 500, 1e-14, 0.0)
        np.testing.assert_allclose(found.z, [0.5, 0.25], atol=1e-3)


def test_strong_penalties_pull_to_the_shared_synapses() -> None:
    """Excitatory synapses of one subunit then have one amplitude and one time constant."""
    simulator, rng = model("1L"), np.random.default_rng(8)
    x = trains(2000, rng)
    voltage = predict(simulator, draw(simulator, x, 1.0, rng), x, 1.0)
    spread = []
    for strength in (1.0, 1e9):
        found = fit_ladder(voltage, x, [simulator], 1.0, rng, penalties=Penalties(strength, strength))[0]
        spread.append(np.std(np.log(found.theta[simulator.columns["tau"]][:6])))
    assert spread[1] < 1e-3 < spread[0]


def test_spiking_neuron() -> None:
    """After-spike currents from the masked voltage exactly; the threshold within its standard error.

    The cloglog regression's estimate of beta has standard error 1/sqrt(information); the bound is 3.9 of them
    (false-alarm rate 1e-4), the ridge on the bumps being weak beside it.
    """
    simulator, rng = model("1N", spiking=True), np.random.default_rng(9)
    x = trains(20000, rng)
    theta, part = draw(simulator, x, 1.0, rng), simulator.columns
    theta[part["after_spike"]], theta[part["threshold"]] = np.linspace(-2, 0, 8), np.linspace(4, 0, 8)
    theta[part["soft"]] = 0.4, -60.0
    response = simulator.simulate(theta[None], x[None], 1.0, seed=[10])
    spikes = np.isin(np.arange(20000), response["spikes"][0])
    assert spikes.sum() > 50
    voltage = np.where(spikes, np.nan, np.asarray(response["voltage"])[0])
    models = [model("1L", spiking=True), simulator]
    found = fit_ladder(voltage, x, models, 1.0, rng, spikes, released=True)[-1]
    np.testing.assert_allclose(found.theta[part["after_spike"]], theta[part["after_spike"]], atol=0.02)
    predicted = found.voltage(x, 1.0, spikes)
    fitted = fit_threshold(simulator, found.theta, predicted, spikes, 1.0)
    history = HierarchicalGLMTwin(simulator).history(spikes, 1.0)[1]
    design = np.concatenate(((predicted - predicted.mean())[None], np.ones((1, 20000)), -history))
    hazard = np.exp(0.4 * (predicted + 60 - theta[part["threshold"]] @ history)) / 1000
    information = (design * hazard) @ design.T + np.diag([0, 0] + [0.1] * 8)
    error = math.sqrt(np.linalg.inv(information)[0, 0])
    assert abs(fitted[part["soft"]][0] - 0.4) < 3.9 * error < 0.4


def test_threshold_alone_is_the_rate() -> None:
    """Where nothing but a constant explains the spikes, the hazard is that of the rate: exact for this likelihood."""
    simulator, rng = model("1L", spiking=True), np.random.default_rng(11)
    spikes = np.zeros(4000, np.bool_)
    spikes[50::400] = True  # further apart than the bumps' support
    theta = draw(simulator, trains(100, rng), 1.0, rng)
    voltage = rng.normal(size=4000)
    fitted = fit_threshold(simulator, theta, voltage, spikes, 1.0)
    beta, level = fitted[simulator.columns["soft"]]
    history = HierarchicalGLMTwin(simulator).history(spikes, 1.0)[1]
    hazard = np.exp(beta * (voltage - level - fitted[simulator.columns["threshold"]] @ history)) / 1000
    assert -np.expm1(-hazard).sum() == pytest.approx(0.0, abs=11)
    # at the maximum the constant's score is 0: sum over spikes of h / (e^h - 1) equals the sum of h over silence
    assert (hazard / np.expm1(hazard))[spikes].sum() == pytest.approx(hazard[~spikes].sum(), rel=1e-6)


def test_signal_explained() -> None:
    """0.9 where 99 % of the variance is explained; masked samples do not count."""
    voltage = np.random.default_rng(12).normal(size=1000)
    predicted = voltage - 0.1 * voltage.std() * np.where(np.arange(1000) % 2, 1.0, -1.0)
    r2, signal = explained(voltage, predicted)
    assert (r2, signal) == (pytest.approx(0.99), pytest.approx(0.9))
    assert explained(np.r_[voltage, np.nan], np.r_[predicted, 7.0])[0] == pytest.approx(r2)


def test_selection_prefers_the_simpler_of_equals() -> None:
    """The simple model is worse by less than the standard error: chosen, though not the best. A bad one never is."""
    rng = np.random.default_rng(13)
    voltage = rng.normal(size=20000)
    bad, simple = voltage + 1.0 + rng.normal(size=20000), voltage + rng.normal(size=20000)
    better = simple - voltage
    deep = voltage + better * np.where(np.arange(20000) < 300, 0.99, 1.0)
    picked = select(voltage, [bad, simple, deep], 1.0)
    assert (picked.best, picked.chosen) == (2, 1)
    with pytest.raises(InputError, match="at least 1000 ms"):
        select(voltage[:900], [bad[:900]], 1.0)


def test_bad_input() -> None:
    simulator, rng = model("1L"), np.random.default_rng(14)
    x = trains(2000, rng)
    voltage = rng.normal(size=2000)
    with pytest.raises(InputError, match="inputs: expected shape"):
        fit_ladder(voltage, x[:3], [simulator], 1.0, rng)
    with pytest.raises(InputError, match="voltage: expected shape"):
        fit_ladder(voltage[:-1], x, [simulator], 1.0, rng)
    with pytest.raises(InputError, match="not nan throughout"):
        fit_ladder(np.full(2000, np.nan), x, [simulator], 1.0, rng)
    with pytest.raises(InputError, match="own spikes"):
        fit_ladder(voltage, x, [model("1L", spiking=True)], 1.0, rng)
    with pytest.raises(InputError, match="ladder"):
        fit_ladder(voltage, x, [], 1.0, rng)
    with pytest.raises(InputError, match="must begin with"):
        extend(model("3N"), draw(model("3N"), x, 1.0, rng), model("2N"), x, 1.0, 1.0)
    with pytest.raises(InputError, match="no counterpart"):
        other = HierarchicalGLM([0, 1, 1], [[], [6], [1, 2, 3, 4, 5]], [[], [7], [8, 9, 10, 11]])
        extend(model("2N"), draw(model("2N"), x, 1.0, rng), other, x, 1.0, 1.0)
    with pytest.raises(InputError, match="spiking model"):
        fit_threshold(simulator, draw(simulator, x, 1.0, rng), voltage, voltage > 2, 1.0)

"""The GLM simulator against a plain transcription, and by property: causality, streams, symmetry, ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glm_neurons import draw_theta, drive, f
from numpy.typing import NDArray

from neuroinf.construction import build
from neuroinf.datasets.simulation import Simulation
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM, Simulator
from neuroinf.simulators.bases import AlphaFunctions, RaisedCosines, Taps
from neuroinf.specification import specify

OUTPUTS: Any = ["rate", "bernoulli", "poisson"]
PARTS: Any = [
    {},
    {"filters": None},
    {"history": None},
    {"coupled": 0, "coupling": None},
    {"filters": AlphaFunctions([2.0]), "coupling": AlphaFunctions([1.0, 4.0]), "history": AlphaFunctions([3.0])},
]
SPARSE_ROWS = (0, 2)  # rows of `stimulus` with few bins that are not 0, which the kernel treats otherwise


def full(output: Any = "rate", nonlinearity: Any = "logistic", **changes: Any) -> GLM:
    """A neuron with all parts: 3 inputs, 2 coupled neurons, 2 hidden inputs, history."""
    arguments: dict[str, Any] = {
        "inputs": 3,
        "hidden": 2,
        "coupled": 2,
        "filters": RaisedCosines(4, 0.0, 10.0),
        "coupling": RaisedCosines(2, 0.0, 6.0),
        "history": Taps(7),
    }
    return GLM(**(arguments | changes), nonlinearity=nonlinearity, output=output)


def stimulus(simulator: GLM, n: int, steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian inputs, of which some rows are sparse, and coupled neurons' counts."""
    x = rng.standard_normal((n, simulator.inputs + simulator.coupled + simulator.hidden, steps))
    for row in SPARSE_ROWS:
        x[:, row] *= rng.random((n, steps)) < 0.1
    coupled = slice(simulator.inputs, simulator.inputs + simulator.coupled)
    x[:, coupled] = rng.poisson(0.1, x[:, coupled].shape)
    return x


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("parts", PARTS)
def test_rate_agrees_with_a_transcription(nonlinearity: str, parts: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    simulator = full("rate", nonlinearity, **parts)
    theta, x = draw_theta(simulator, 6, rng, 0.1), stimulus(simulator, 6, 200, rng)
    response = simulator.simulate(theta, x, 0.5)
    assert not response["terminated"].any()  # type: ignore[union-attr]
    expected = f(simulator, drive(simulator, theta, x, response["rate"], 0.5))
    np.testing.assert_allclose(response["rate"], expected, rtol=1e-12)
    np.testing.assert_array_equal(response["latent/hidden"], x[:, -2:])


@pytest.mark.parametrize("filters", [Taps(1), Taps(2), Taps(5), Taps(8), Taps(40), None])
@pytest.mark.parametrize("steps", [1, 3, 6, 30])
def test_filters_of_any_length_in_recordings_of_any_length(filters: Any, steps: int) -> None:
    rng = np.random.default_rng(2)
    simulator = full(filters=filters, history=filters)
    theta, x = draw_theta(simulator, 3, rng, 0.2), stimulus(simulator, 3, steps, rng)
    response = simulator.simulate(theta, x, 1.0)
    expected = f(simulator, drive(simulator, theta, x, response["rate"], 1.0))
    np.testing.assert_allclose(response["rate"], expected, rtol=1e-12)


def test_certain_spikes_agree_with_a_transcription() -> None:
    """Weights so large that each bin's probability is 0 or 1: the response, fed back, is then determined."""
    rng = np.random.default_rng(3)
    simulator = full("bernoulli", coupled=0, coupling=None)
    theta, x = draw_theta(simulator, 8, rng, 2000.0), stimulus(simulator, 8, 300, rng)
    response = simulator.simulate(theta, x, 1.0, seed=5)
    eta = drive(simulator, theta, x, response["count"], 1.0)
    certain = np.abs(eta) > 40
    assert certain.mean() > 0.97
    np.testing.assert_array_equal(np.asarray(response["count"])[certain], (eta > 0)[certain])


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("row", "delay"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (6, 0)])
def test_a_bin_changes_nothing_before_itself(output: Any, row: int, delay: int) -> None:
    """Bit by bit, and for coupling not in the bin itself; also where a sparse input becomes a dense one."""
    rng = np.random.default_rng(4)
    simulator = full(output)
    theta, x = draw_theta(simulator, 5, rng), stimulus(simulator, 5, 120, rng)
    changed = x.copy()
    changed[:, row, 60:] += rng.standard_normal((5, 60)) + 5.0
    channel = next(iter(simulator.channels))
    before, after = (np.asarray(simulator.simulate(theta, y, 1.0, range(5))[channel]) for y in (x, changed))
    np.testing.assert_array_equal(before[:, : 60 + delay], after[:, : 60 + delay])
    assert (before[:, 60 + delay :] != after[:, 60 + delay :]).any()
    if output == "rate":
        assert ((before != after).any(0)).argmax() == 60 + delay


@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
def test_history_acts_after_the_first_spike(output: Any) -> None:
    rng = np.random.default_rng(5)
    without, with_history = full(output, history=None), full(output)
    theta = draw_theta(with_history, 60, rng)
    theta[:, with_history.parameters.index("b")] = -2.0
    own = [i for i, name in enumerate(with_history.parameters) if name.startswith("a_")]
    theta[:, own] = 6.0 if output == "bernoulli" else -6.0
    x = stimulus(without, 60, 200, rng)
    free = np.asarray(without.simulate(np.delete(theta, own, 1), x, 1.0, range(60))["count"])
    fed = np.asarray(with_history.simulate(theta, x, 1.0, range(60))["count"])
    for one, other in zip(free, fed, strict=True):
        first = int((one > 0).argmax())
        np.testing.assert_array_equal(one[: first + 1], other[: first + 1])
    assert (free != fed).any(1).mean() > 0.9
    if output == "bernoulli":  # excited by 6 for each of the last 7 bins' spikes, it goes on
        assert fed.mean() > 2 * free.mean()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("summed", [False, True])
def test_row_depends_on_its_own_seed_alone(output: Any, summed: bool) -> None:
    rng = np.random.default_rng(6)
    simulator = full(output, hidden=3, summed=summed)
    theta, x = draw_theta(simulator, 40, rng), stimulus(simulator, 40, 3000, rng)  # enough for several threads
    seeds = [int(s) for s in rng.integers(2**63, size=40)]
    batch = simulator.simulate(theta, x, 1.0, seeds)
    for i in (0, 17, 39):
        alone = simulator.simulate(theta[[i]], x[[i]], 1.0, [seeds[i]])
        for name in (*simulator.channels, "latent/hidden", "terminated"):
            np.testing.assert_array_equal(alone[name][0], batch[name][i])
    again, fewer, other = (simulator.simulate(theta[:m], x[:m], 1.0, s) for m, s in ((40, 9), (7, 9), (40, 10)))
    channel = next(iter(simulator.channels))
    np.testing.assert_array_equal(again[channel][:7], fewer[channel])
    differ = (np.asarray(again[channel]) != np.asarray(other[channel])).any(1)
    if output != "rate":
        assert differ.all()
    elif summed:  # one hidden input of three, with share 1, is drawn twice with probability 1/9 only
        assert differ.mean() > 0.5


def test_shared_stimulus_equals_a_repeated_one() -> None:
    rng = np.random.default_rng(7)
    simulator = full("poisson", summed=True)
    theta, x = draw_theta(simulator, 12, rng), stimulus(simulator, 1, 100, rng)
    responses = [
        simulator.simulate(theta, y, 1.0, 3) for y in (x, np.repeat(x, 12, 0), np.broadcast_to(x, (12, *x.shape[1:])))
    ]
    for name in ("count", "latent/hidden"):
        np.testing.assert_array_equal(responses[0][name], responses[1][name])
        np.testing.assert_array_equal(responses[0][name], responses[2][name])


def test_float32_stimulus_gives_float32_output_of_the_same_sums() -> None:
    rng = np.random.default_rng(8)
    simulator = full(history=None)
    theta, x = draw_theta(simulator, 5, rng), stimulus(simulator, 5, 100, rng).astype(np.float32)
    single, double = simulator.simulate(theta, x, 1.0), simulator.simulate(theta, x.astype(np.float64), 1.0)
    assert single["rate"].dtype == single["latent/hidden"].dtype == np.float32  # type: ignore[union-attr]
    np.testing.assert_array_equal(single["rate"], np.asarray(double["rate"]).astype(np.float32))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("summed", [False, True])
def test_signs_of_hidden_input_and_weight_leave_no_trace(output: Any, summed: bool) -> None:
    rng = np.random.default_rng(9)
    simulator = full(output, summed=summed)
    assert simulator.sign_symmetric == (("w_hidden",) if summed else ("w_hidden_1", "w_hidden_2"))
    theta, x = draw_theta(simulator, 10, rng, 1.0), stimulus(simulator, 10, 200, rng)
    channel = next(iter(simulator.channels))
    response = simulator.simulate(theta, x, 1.0, range(10))
    for k, name in enumerate(simulator.sign_symmetric):
        turned, y = theta.copy(), x.copy()
        turned[:, simulator.parameters.index(name)] *= -1
        y[:, -2:] *= -1 if summed else np.array([[-1 if j == k else 1] for j in range(2)])
        mirrored = simulator.simulate(turned, y, 1.0, range(10))
        np.testing.assert_array_equal(response[channel], mirrored[channel])
        assert (np.asarray(response["latent/hidden"]) != np.asarray(mirrored["latent/hidden"])).any()


def test_one_summed_input_is_one_hidden_input() -> None:
    rng = np.random.default_rng(10)
    one, summed = GLM(hidden=1), GLM(hidden=1, summed=True)
    theta, x = draw_theta(one, 5, rng), stimulus(one, 5, 100, rng)
    for name in ("rate", "latent/hidden"):
        np.testing.assert_array_equal(one.simulate(theta, x, 1.0)[name], summed.simulate(theta, x, 1.0)[name])


@pytest.mark.parametrize("output", ["rate", "poisson"])
def test_runaway_history_ends_the_row_alone(output: Any) -> None:
    simulator = GLM(1, 0, history=Taps(1), nonlinearity="exponential", output=output)
    theta = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -2.0], [0.0, 30.0, 0.0], [0.0, -30.0, 0.0]])
    response = simulator.simulate(theta, np.zeros((1, 1, 500)), 1.0)
    assert response["terminated"].tolist() == [True, False, True, False]  # type: ignore[union-attr]
    shown = np.asarray(next(iter(response.values())))
    assert np.isfinite(shown[[1, 3]]).all() and np.isnan(shown[2]).all()
    end = int(np.isnan(shown[0]).argmax())
    assert 0 < end < 500 and np.isfinite(shown[0, :end]).all() and np.isnan(shown[0, end:]).all()


def test_bernoulli_history_cannot_run_away() -> None:
    simulator = GLM(1, 0, history=Taps(50), nonlinearity="exponential", output="bernoulli")
    theta = np.array([[0.0, 0.0, *[100.0] * 50], [0.0, 1e6, *[0.0] * 50]])
    response = simulator.simulate(theta, np.zeros((1, 1, 500)), 1.0)
    assert not response["terminated"].any() and (np.asarray(response["count"])[:, 10:] == 1).all()  # type: ignore[union-attr]


def test_rates_at_the_ends_of_the_logistic() -> None:
    theta = np.array([[0.0, b] for b in (-1000.0, -30.0, 30.0, 1000.0)])
    rate = np.asarray(GLM(1, 0).simulate(theta, np.zeros((1, 1, 2)), 1.0)["rate"])
    np.testing.assert_allclose(
        rate[:, 0], [0.0, np.exp(-30.0) / (1 + np.exp(-30.0)), 1 / (1 + np.exp(-30.0)), 1.0], atol=1e-300
    )


@pytest.mark.parametrize("summed", [False, True])
def test_specification_and_back(summed: bool) -> None:
    simulator = full("poisson", "exponential", summed=summed)
    made = build(specify(simulator), Simulator)
    assert isinstance(made, GLM) and specify(made) == specify(simulator) and made.parameters == simulator.parameters


@pytest.mark.reference
def test_nine_taps_are_the_benchmark_tasks_design(reference_dir: Path) -> None:
    """The Bernoulli GLM task of Lueckmann et al. (2021): an offset and nine bins of the stimulus."""
    task = np.load(reference_dir / "bernoulli_glm" / "observations_1_to_5.npz")
    offset_first = task["true_parameters"]
    theta = np.concatenate([offset_first[:, 1:], offset_first[:, :1]], axis=1)
    rate = GLM(1, 0, filters=Taps(9)).simulate(theta, task["stimulus"][None, None].astype(np.float64), 1.0)["rate"]
    expected = 1 / (1 + np.exp(-(offset_first @ task["design_matrix"].T.astype(np.float64))))
    np.testing.assert_allclose(rate, expected, rtol=1e-12)


class Inputs:
    """Independent Gaussian inputs."""

    unit, dt, duration, frozen = "1", 1.0, 50.0, False

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs

    def sample(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.standard_normal((self.inputs, 50))


@pytest.mark.parametrize("output", OUTPUTS)
def test_works_in_a_simulation(output: Any) -> None:
    simulator = GLM(9, 3, summed=True, output=output)
    assert isinstance(simulator, Simulator) and simulator.hidden_inputs == 3
    prior = Prior({name: Parameter("1", -0.3, 0.3) for name in simulator.parameters})
    simulation = Simulation(simulator, prior, Inputs(12), n=30, dt=1.0, record_dt=1.0, waveforms=8)  # type: ignore[arg-type]
    whole = simulation.rows(0, 30, *simulation.bank()).datasets()
    part = simulation.rows(10, 20, *simulation.bank()).datasets()
    assert (whole["status"] == 0).all()
    for name in (f"response/{next(iter(simulator.channels))}", "latent/hidden"):
        assert whole[name].shape == (30, 50)
        np.testing.assert_array_equal(whole[name][10:20], part[name])

"""The GLIF simulator against AllenSDK's output, a plain transcription of the published equations, and by property."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators import GLIF, HasRheobase, Simulator

Floats = NDArray[np.float64]

CASES = [f"{cell}_GLIF{level}_dt50us" for cell in (483101699, 313862134) for level in range(1, 6)]
CASES += [f"{cell}_GLIF4_dt5us" for cell in (483101699, 313862134)]

# Around the published mouse fits (Teeter et al. 2018), resets not so high that most neurons stop at once.
RANGES = {
    "C": (30.0, 220.0),
    "R_input": (0.06, 0.8),
    "El": (-5.0, 5.0),
    "th_inf": (12.0, 42.0),
    "spike_cut_length": (0.0, 10.0),
    "asc_amp_1": (-100.0, 20.0),
    "asc_amp_2": (-300.0, 100.0),
    "asc_tau_1": (30.0, 333.0),
    "asc_tau_2": (3.0, 30.0),
    "reset_a": (-0.1, 0.8),
    "reset_b": (-15.0, 3.0),
    "a_spike": (0.1, 13.0),
    "b_spike": (0.01, 2.2),
    "a_voltage": (0.0, 0.03),
    "b_voltage": (0.005, 0.8),
}


def everything(level: int) -> list[str]:
    """All that a level can record. Most tests record it all, as each choice is compiled anew, a second each."""
    return ["voltage", "threshold", "spikes_interpolated"] + (["asc_1", "asc_2"] if level >= 3 else [])


def draw(level: int, n: int, seed: int) -> tuple[GLIF, Floats]:
    """A simulator that records everything it can, and n random parameter sets."""
    rng = np.random.default_rng(seed)
    simulator = GLIF(level=level, record=everything(level))
    return simulator, np.stack([rng.uniform(*RANGES[name], n) for name in simulator.parameters], axis=1)


def noise(scale: Floats, steps: int, seed: int) -> Floats:
    """One current per entry of scale, around and above it, correlated over 100 steps."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((len(scale), steps + 99))
    smooth = np.stack([np.convolve(row, np.ones(100) / 10, mode="valid") for row in white])
    return (scale[:, None] * (1.3 + 0.5 * smooth))[:, None]


def transcription(level: int, p: dict[str, float], current: Floats, dt: float) -> dict[str, Any]:
    """The published time loop, line by line and slowly, with lists of samples; levels as in the published table."""
    after_spike, rules, exact = level >= 3, level in (2, 4, 5), level == 5
    G, C, El, th0 = 1 / p["R_input"], p["C"], p["El"], p["th_inf"]
    cut = round(p["spike_cut_length"] / dt)
    k = np.array([1 / p["asc_tau_1"], 1 / p["asc_tau_2"]]) if after_spike else np.zeros(2)
    A = np.array([p["asc_amp_1"], p["asc_amp_2"]]) if after_spike else np.zeros(2)
    N = len(current)
    V, TH, ASC = np.full(N, np.nan), np.full(N, np.nan), np.full((N, 2), np.nan)
    v, th, a, ts, tv, t = 0.0, th0, np.zeros(2), 0.0, 0.0, 0
    spikes, interpolated, terminated = [], [], False
    while t < N:
        total = current[t] + a.sum()
        a1 = a * np.exp(-k * dt) if after_spike else np.zeros(2)
        v1 = v + (total - G * (v - El)) * dt / C
        if exact:
            aV, bV = p["a_voltage"], p["b_voltage"]
            beta, phi = (total + G * El) / G, aV / (bV - G / C)
            off = aV / bV * (beta - El)
            tv = phi * (v - beta) * math.exp(-G * dt / C) + math.exp(-bV * dt) * (tv - phi * (v - beta) - off) + off
        if rules:
            ts *= math.exp(-p["b_spike"] * dt)
        th1 = tv + ts + th0
        if v1 > th1:
            spikes.append(t)
            interpolated.append(t * dt + dt * (th - v) / ((v1 - v) - (th1 - th)))
            a = A + a1 * np.exp(-k * dt * cut) if after_spike else np.zeros(2)
            v, th = 0.0, th0
            if rules:
                v = p["reset_a"] * v1 + p["reset_b"]
                ts = ts * math.exp(-p["b_spike"] * cut * dt) + p["a_spike"]
                th = ts + tv + th0
            V[t + cut : t + cut + 1], TH[t + cut : t + cut + 1], ASC[t + cut : t + cut + 1] = v, th, a
            t += cut + 1
            if v > th:
                V[t : t + 5], TH[t : t + 5], ASC[t : t + 5], terminated = v, th, a, True
                break
        else:
            V[t], TH[t], ASC[t] = v1, th1, a1
            v, th, a = v1, th1, a1
            t += 1
    channels = {"voltage": V, "threshold": TH, "asc_1": ASC[:, 0], "asc_2": ASC[:, 1]}
    return {**channels, "spikes": spikes, "spikes_interpolated": interpolated, "terminated": terminated}


@pytest.mark.reference
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_allensdk(case: str, reference_dir: Path) -> None:
    with np.load(reference_dir / "glif" / "allensdk_golden.npz") as file:
        golden = {name: file[f"{case}_{name}"] for name in ("I", "V", "th", "asc", "spikes", "ispk", "config", "dt")}
    config = json.loads(str(golden["config"]))
    level = int(case.split("GLIF")[1][0])
    asc = ["asc_1", "asc_2"] if level >= 3 else []
    simulator, theta = GLIF.from_allen(config, record=everything(level))
    dt = 1e3 * float(golden["dt"])
    # At 5 us the reference kept the number of steps of its spike cut, which shortens the time.
    theta[0, simulator.parameters.index("spike_cut_length")] = config["spike_cut_length"] * dt

    response = simulator.simulate(theta, 1e12 * golden["I"][None, None], dt)

    assert simulator.level == level and simulator.El_reference == 1e3 * config["El_reference"]
    np.testing.assert_array_equal(np.rint(response["spikes"][0] / dt).astype(int), golden["spikes"])
    np.testing.assert_allclose(response["voltage"][0], 1e3 * golden["V"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(response["threshold"][0], 1e3 * golden["th"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(response["spikes_interpolated"][0], 1e3 * golden["ispk"], rtol=0, atol=1e-9)
    for j, name in enumerate(asc):
        np.testing.assert_allclose(response[name][0], 1e12 * golden["asc"][:, j], rtol=0, atol=1e-9)


# Published model of cell 313862134 and AllenSDK's output for it (level: R_input MOhm, th_inf coefficient, spike steps,
# then voltage mV, threshold mV, after-spike currents pA at steps 500, 600, 690 of 50 us), with no current for 400
# steps, then 320 steps of pink noise, carried as its Chebyshev coefficients in pA (exact to 6e-11 pA).
STEPS = (500, 600, 690)
CARRIED = {
    1: (284.58367076946634, 1.049229849869175, [537],
        (23.827916656748148, 6.056097230029094, 20.71065653267578),
        (31.306745149020397,) * 3, None),
    2: (284.58367076946634, 1.1266567737440616, [551],
        (23.827916656748148, 14.377600914536085, 26.246617080416474),
        (33.61699678142097, 35.18448145712057, 34.514901579968836), None),
    3: (336.3227185092391, 1.0194951650350168, [526],
        (24.569399283385625, 8.00421423512482, 19.99564368294543),
        (30.419526585513548,) * 3,
        ((0.0, 0.0), (-56.93079826592781, 30.496854917109083), (-36.30067966865559, 7.906012617591291))),
    4: (336.3227185092391, 1.093394689461363, [537],
        (24.569399283385625, 16.739921635705695, 26.217936126515745),
        (32.62452826187445, 34.06187999679336, 33.44788879610663),
        ((0.0, 0.0), (-60.14970059384995, 35.967780831578104), (-38.35314241025961, 9.324296877632598))),
    5: (336.3227185092391, 0.8126064090540046, [508, 694],
        (24.569399283385625, 21.749794052413442, 29.739220254050636),
        (26.085637701607368, 28.414502844822678, 29.967255974528022),
        ((0.0, 0.0), (-52.03083193761659, 23.280673685487102), (-33.17632319572559, 6.035287914237621))),
}  # fmt: skip
PINK = [
    204.28175759524996, -21.615804285031338, -21.055624278802323, 23.788162752874303, 7.633853173526367,
    -7.571919776483292, -1.1859451599263402, 1.068395661696394, 0.10444731012767354, -0.08656980590404072,
    -0.006083444541223066, 0.0045861194124558035, 0.00025331154847179634, -0.00017201590093732428,
    -7.91907939963032e-06, 4.8223258426565445e-06, 1.9272172154549651e-07, -1.0507143517396263e-07,
    -3.755952780570714e-09, 1.844006627653982e-09, 6.006780719214674e-11,
]  # fmt: skip


def published(level: int) -> dict[str, Any]:
    """The published configuration of cell 313862134 (its entries that matter), SI units."""
    rules, exact = level in (2, 4, 5), level == 5
    spike = {"a_spike": 0.001667589660939657, "b_spike": 123.81409966421818}
    voltage = {"a_voltage": 35.80371826455145 if exact else 0, "b_voltage": 119.4455015780824 if exact else 0}
    component = "three_components_exact" if exact else "spike_component"
    reset = {"a": 0.07685960232123729, "b": 0.00981099422204228}
    after_spike = level >= 3
    return {
        "type": "GLIF",
        "El_reference": -0.07457936859130859,
        "El": 0.0,
        "C": 3.888435900781699e-11,
        "R_input": 1e6 * CARRIED[level][0],
        "th_inf": 0.029837833104847264,
        "spike_cut_length": 39,
        "dt": 5e-05,
        "asc_amp_array": [-6.781859804300791e-11, 5.155367824236049e-11],
        "asc_tau_array": [0.01, 0.0033333333333333335],
        "init_voltage": 0.0,
        "init_threshold": 0.029837833104847264,
        "init_AScurrents": [0.0, 0.0],
        "coeffs": {"a": 1, "b": 1, "C": 1, "G": 1, "th_inf": CARRIED[level][1], "asc_amp_array": [1.0, 1.0]},
        "voltage_dynamics_method": {"name": "linear_forward_euler", "params": {}},
        "voltage_reset_method": {"name": "v_before", "params": reset} if rules else {"name": "zero", "params": {}},
        "threshold_reset_method": {"name": "three_components", "params": spike}
        if rules
        else {"name": "inf", "params": {}},
        "threshold_dynamics_method": {"name": component, "params": spike | voltage}
        if rules
        else {"name": "inf", "params": {}},
        "AScurrent_dynamics_method": {"name": "exp" if after_spike else "none", "params": {}},
        "AScurrent_reset_method": {"name": "sum", "params": {"r": [1.0, 1.0]}}
        if after_spike
        else {"name": "none", "params": {}},
    }


@pytest.mark.parametrize("level", CARRIED)
def test_agrees_with_carried_allensdk_numbers(level: int) -> None:
    _, _, spikes, voltage, threshold, asc = CARRIED[level]
    names = ["asc_1", "asc_2"] if asc else []
    simulator, theta = GLIF.from_allen(published(level), record=everything(level))
    current = np.concatenate([np.zeros(400), chebyshev.chebval(np.linspace(-1, 1, 320), PINK)])

    response = simulator.simulate(theta, current[None, None], dt=0.05)

    assert np.rint(response["spikes"][0] / 0.05).astype(int).tolist() == spikes
    np.testing.assert_allclose(response["voltage"][0, STEPS], voltage, rtol=0, atol=1e-9)
    np.testing.assert_allclose(response["threshold"][0, STEPS], threshold, rtol=0, atol=1e-9)
    if asc:
        found = np.stack([response[name][0, STEPS] for name in names], axis=1)
        np.testing.assert_allclose(found, asc, rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", range(1, 6))
def test_agrees_with_transcription(level: int) -> None:
    """Also where the published cells do not go: El not 0, no spike cut, a cut past the end, resets above threshold."""
    simulator, theta = draw(level, n=30, seed=level)
    cut = simulator.parameters.index("spike_cut_length")
    theta[:3, cut] = 0.0
    theta[3:6, cut] = 60.0
    if simulator.reset_rules:
        theta[6:12, simulator.parameters.index("reset_b")] = 25.0
        theta[3, simulator.parameters.index("reset_b")] = theta[0, simulator.parameters.index("reset_b")] = 60.0
    current = noise(simulator.rheobase(theta), steps=4000, seed=level)

    response = simulator.simulate(theta, current, dt=0.1)

    terminated = response["terminated"]
    assert sum(len(times) for times in response["spikes"]) > 60
    assert terminated.any() == simulator.reset_rules
    for i, row in enumerate(theta):
        p = dict(zip(simulator.parameters, row.tolist(), strict=True))
        expected = transcription(level, p, current[i, 0], 0.1)
        np.testing.assert_allclose(response["spikes"][i], np.array(expected["spikes"]) * 0.1, rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            response["spikes_interpolated"][i], expected["spikes_interpolated"], rtol=0, atol=1e-8
        )
        assert terminated[i] == expected["terminated"]
        for name in simulator.channels:
            np.testing.assert_allclose(response[name][i], expected[name], rtol=0, atol=1e-9, err_msg=f"{name} row {i}")


@pytest.mark.parametrize("level", range(1, 6))
def test_row_does_not_depend_on_its_batch(level: int) -> None:
    simulator, theta = draw(level, n=40, seed=10 + level)
    current = noise(simulator.rheobase(theta), steps=8000, seed=level)  # enough for several threads
    batch = simulator.simulate(theta, current, dt=0.1, seed=3)
    for i in (0, 17, 39):
        alone = simulator.simulate(theta[i : i + 1], current[i : i + 1], dt=0.1, seed=[8])
        for name in (*simulator.channels, "spikes", "spikes_interpolated", "terminated"):
            np.testing.assert_array_equal(alone[name][0], batch[name][i])


@pytest.mark.parametrize("record", [[], ["threshold"]])
def test_what_is_recorded_does_not_change_the_rest(record: list[str]) -> None:
    simulator, theta = draw(5, n=40, seed=15)
    current = noise(simulator.rheobase(theta), steps=1000, seed=5)
    everything_recorded = simulator.simulate(theta, current, dt=0.1)
    response = GLIF(level=5, record=record).simulate(theta, current, dt=0.1)
    assert set(response) == {"spikes", "terminated", *record}
    for name, values in response.items():
        for some, expected in zip(values, everything_recorded[name], strict=True):
            np.testing.assert_array_equal(some, expected)


def test_shared_stimulus_equals_a_repeated_one() -> None:
    simulator, theta = draw(3, n=12, seed=1)
    current = noise(simulator.rheobase(theta)[:1], steps=2000, seed=2)
    shared = simulator.simulate(theta, current, dt=0.1)
    repeated = simulator.simulate(theta, np.repeat(current, 12, axis=0), dt=0.1)
    broadcast = simulator.simulate(theta, np.broadcast_to(current, (12, 1, 2000)), dt=0.1)
    np.testing.assert_array_equal(shared["voltage"], repeated["voltage"])
    np.testing.assert_array_equal(shared["voltage"], broadcast["voltage"])


@pytest.mark.parametrize("level", range(1, 6))
def test_absolute_frame_is_rest_frame_plus_resting_potential(level: int) -> None:
    rest, theta = draw(level, n=20, seed=20 + level)
    column = rest.parameters.index("El")
    absolute = GLIF(level=level, frame="absolute", record=rest.record)
    centred = theta.copy()
    centred[:, column] = 0.0
    theta[:, column] = np.linspace(-84.0, -60.0, 20)
    current = noise(rest.rheobase(centred), steps=2000, seed=level)
    np.testing.assert_array_equal(absolute.rheobase(theta), rest.rheobase(centred))

    relative, shifted = rest.simulate(centred, current, dt=0.1), absolute.simulate(theta, current, dt=0.1)

    for name in ("voltage", "threshold"):
        np.testing.assert_array_equal(shifted[name], relative[name] + theta[:, [column]])
    for name in ("asc_1", "asc_2") if level >= 3 else ():
        np.testing.assert_array_equal(shifted[name], relative[name])
    for times, expected in zip(shifted["spikes"], relative["spikes"], strict=True):
        np.testing.assert_array_equal(times, expected)


def test_float32_stimulus_gives_float32_output_of_the_same_trajectory() -> None:
    simulator, theta = draw(5, n=10, seed=5)
    current = noise(simulator.rheobase(theta), steps=3000, seed=5).astype(np.float32)
    single = simulator.simulate(theta, current, dt=0.1)
    double = simulator.simulate(theta, current.astype(np.float64), dt=0.1)
    for name in simulator.channels:
        assert single[name].dtype == np.float32 and double[name].dtype == np.float64
        np.testing.assert_array_equal(single[name], double[name].astype(np.float32))
    for some, others in zip(single["spikes"], double["spikes"], strict=True):
        assert some.dtype == np.float64
        np.testing.assert_array_equal(some, others)


@pytest.mark.parametrize(
    ("level", "neutral", "equal_to"),
    [
        (2, {"reset_a": 0.0, "reset_b": 0.0, "a_spike": 0.0}, 1),
        (3, {"asc_amp_1": 0.0, "asc_amp_2": 0.0}, 1),
        (4, {"asc_amp_1": 0.0, "asc_amp_2": 0.0}, 2),
        (4, {"reset_a": 0.0, "reset_b": 0.0, "a_spike": 0.0}, 3),
        (5, {"a_voltage": 0.0}, 4),
    ],
)
def test_level_without_its_part_is_the_lower_level(level: int, neutral: dict[str, float], equal_to: int) -> None:
    higher, theta = draw(level, n=20, seed=30 + level)
    for name, value in neutral.items():
        theta[:, higher.parameters.index(name)] = value
    lower = GLIF(level=equal_to, record=everything(equal_to))
    part = theta[:, [higher.parameters.index(name) for name in lower.parameters]]
    current = noise(lower.rheobase(part), steps=3000, seed=level)
    one, other = higher.simulate(theta, current, dt=0.1), lower.simulate(part, current, dt=0.1)
    np.testing.assert_array_equal(one["voltage"], other["voltage"])
    np.testing.assert_array_equal(one["threshold"], other["threshold"])
    assert sum(len(times) for times in one["spikes"]) > 20


@pytest.mark.parametrize("b_voltage", [0.0, 1 / (0.2 * 100.0)])
def test_threshold_adaptation_has_no_pole(b_voltage: float) -> None:
    """The published formula divides by b_voltage and by b_voltage - 1/(R C); the step itself is smooth there."""
    values = dict(
        zip(RANGES, (100.0, 0.2, 0.0, 25.0, 2.0, -10.0, -50.0, 100.0, 10.0, 0.5, 1.0, 2.0, 0.2, 0.02, 0.0), strict=True)
    )
    simulator = GLIF(level=5, record=everything(5))
    theta = np.array([[{**values, "b_voltage": b_voltage + shift}[name] for name in RANGES] for shift in (0.0, 1e-9)])
    current = np.full((1, 1, 500), 110.0)
    threshold = simulator.simulate(theta, current, dt=0.1)["threshold"]
    assert threshold[0, -1] > 26.0
    np.testing.assert_allclose(threshold[0], threshold[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", range(1, 6))
def test_fixed_parameters_equal_columns(level: int) -> None:
    simulator, theta = draw(level, n=1, seed=40 + level)
    values = dict(zip(simulator.parameters, theta[0].tolist(), strict=True))
    inferred = ("C", "El")
    fixed = {name: value for name, value in values.items() if name not in inferred}
    partial = GLIF(level=level, fixed=fixed, record=simulator.record)
    assert partial.parameters == inferred and partial.units == ("pF", "mV")
    current = noise(simulator.rheobase(theta), steps=1000, seed=level)
    some = partial.simulate([[values["C"], values["El"]]], current, dt=0.1)
    np.testing.assert_array_equal(some["voltage"], simulator.simulate(theta, current, dt=0.1)["voltage"])
    np.testing.assert_array_equal(partial.rheobase([[values["C"], values["El"]]]), simulator.rheobase(theta))


def test_rheobase_parts_silence_from_spiking() -> None:
    simulator, theta = draw(1, n=50, seed=50)
    rheobase = simulator.rheobase(theta)
    for factor, spikes in ((0.999, False), (1.001, True)):
        current = np.repeat(factor * rheobase[:, None, None], 30_000, axis=2)
        response = simulator.simulate(theta, current, dt=0.1)
        assert {len(times) > 0 for times in response["spikes"]} == {spikes}


def test_spike_times_are_grid_times_and_the_cut_is_nan() -> None:
    simulator, theta = draw(4, n=5, seed=60)
    theta[:, simulator.parameters.index("spike_cut_length")] = 3.84
    response = simulator.simulate(theta, noise(simulator.rheobase(theta), steps=4000, seed=6), dt=0.1)
    for times, voltage, stopped in zip(response["spikes"], response["voltage"], response["terminated"], strict=True):
        mask = np.zeros(4000, dtype=bool)
        steps = np.rint(times / 0.1).astype(int)
        np.testing.assert_array_equal(times, steps * 0.1)
        for step in steps:
            mask[step : step + 38] = True
        if not stopped:
            np.testing.assert_array_equal(np.isnan(voltage), mask)


def test_initial_state_is_where_the_first_step_starts() -> None:
    simulator = GLIF(level=3, record=everything(3))
    simulator.init_voltage, simulator.init_AScurrents = 10.0, (-20.0, 40.0)
    theta = [[100.0, 0.2, 0.0, 30.0, 2.0, -10.0, -10.0, 100.0, 10.0]]
    response = simulator.simulate(theta, np.zeros((1, 1, 1)), dt=0.1)
    np.testing.assert_allclose(response["voltage"], [[10.0 + (20.0 - 10.0 / 0.2) * 0.1 / 100.0]])
    np.testing.assert_allclose(response["asc_1"], [[-20.0 * math.exp(-0.001)]])
    np.testing.assert_allclose(response["asc_2"], [[40.0 * math.exp(-0.01)]])


def test_implements_the_protocol() -> None:
    assert isinstance(GLIF(), Simulator) and isinstance(GLIF(), HasRheobase)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coeffs": None}, "expected a published neuron_config.json"),
        (
            {"voltage_reset_method": {"name": "fixed", "params": {}}},
            "expected the rules of one of the five published levels",
        ),
        ({"voltage_dynamics_method": {"name": "quadratic", "params": {}}}, "linear_forward_euler, found quadratic"),
        ({"AScurrent_reset_method": {"name": "sum", "params": {"r": [0.5, 1.0]}}}, r"r = \[1, 1\] as published, found"),
        ({"C": -1e-10}, "must be positive"),
        ({"asc_tau_array": [0.1]}, "expected a published neuron_config.json"),
    ],
)
def test_refuses_another_configuration_file(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GLIF.from_allen({**published(5), **change})


def test_refuses_a_configuration_file_with_a_missing_entry() -> None:
    config = published(5)
    del config["R_input"]
    with pytest.raises(InputError, match="which has 'R_input'; not found"):
        GLIF.from_allen(config)

"""Model selection: sure where candidates differ, even where they are the same, and the parts that it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuroinf.construction import build
from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.evaluation.selection import Selection
from neuroinf.models.selection import ModelSelection, best_temperature
from neuroinf.networks.forced_fits import ForcedFits
from neuroinf.priors import Prior
from neuroinf.simulators import Cascade, Choice, Simulator
from neuroinf.simulators.cascade_forced import with_given_spikes
from neuroinf.specification import specify
from neuroinf.stimuli import WeightedTrains

Floats = NDArray[Any]
GRAPHS = Path(__file__).parents[2] / "configs" / "cascades"
OBSERVATION = Observation(["soma", "spike", "stimulus"], 1.0, {"soma": 0.3}, inputs=1)


def leaky(sign: float) -> dict[str, Any]:
    """A spiking leaky neuron whose spikes come back with a gain of either sign."""
    return {
        "inputs": ["current"],
        "subunits": {
            "soma": {"filter": {"leak": {"tau": "tau"}}, "nonlinearity": {"step": {"threshold": 2.0}}, "lag": 1}
        },
        "edges": [
            {"source": "current", "target": "soma"},
            {"source": "soma", "target": "soma", "gain": sign * 1.5, "steps": 1},
        ],
        "record": {"soma": "soma.filtered", "spike": "soma"},
        "spikes": "soma",
        "parameters": {"tau": {"unit": "ms", "value": 8.0}},
    }


def choice(second: float) -> Choice:
    return Choice({"resets": Cascade(leaky(-1.0)), "other": Cascade(leaky(second))})


def prior(candidates: int = 2) -> Prior:
    ranges = {
        "tau": {"unit": "ms", "low": 4.0, "high": 12.0, "scale": "log"},
        "class": {"unit": "1", "low": 0.0, "high": candidates},
    }
    return build({"class_path": "neuroinf.priors.Prior", "init_args": {"parameters": ranges}}, Prior)


def drawn(simulator: Choice, n: int, seed: int) -> tuple[Floats, Floats]:
    """Observations (n, 3, T) and theta."""
    rng = np.random.default_rng(seed)
    theta = prior().sample(n, rng)
    stimulus = np.stack([WeightedTrains(120.0, [(0.3, 3.0)], [(100.0, 300.0)]).sample(rng) for _ in range(n)])
    response = simulator.simulate(theta, stimulus, 1.0)
    noisy = np.asarray(response["soma"]) + 0.3 * rng.standard_normal((n, 120))
    return np.concatenate([noisy[:, None], np.asarray(response["spike"])[:, None], stimulus], axis=1), theta


def trained(simulator: Choice, seed: int = 0) -> ModelSelection:
    """A network on 600 rows, its temperature from 300 others."""
    torch.manual_seed(seed)
    model = ModelSelection(prior(), OBSERVATION, ForcedFits, simulator, hidden=[16])
    x, theta = drawn(simulator, 900, seed)
    features = model.encoder(torch.from_numpy(x))
    made = model.classes(prior().to_unconstrained(torch.from_numpy(theta)))
    assert (made.numpy() == np.floor(theta[:, -1])).all()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.train()(features[:600]), made[:600]).backward()
        optimizer.step()
    with torch.no_grad():
        model.calibrate(model.eval()(features[600:]), made[600:])
    return model


def judged(model: ModelSelection, simulator: Choice, n: int = 500) -> tuple[Selection, Floats]:
    """Scores on new rows, and their numbers of spikes."""
    x, theta = drawn(simulator, n, seed=1)
    p = model.probabilities(torch.from_numpy(x)).double().numpy()
    return Selection(model.names, p, np.floor(theta[:, -1]).astype(np.int64)), x[:, 1].sum(axis=1)


def test_candidates_that_differ_are_told_apart() -> None:
    simulator = choice(0.3)
    found, spikes = judged(trained(simulator), simulator)
    several, none = spikes >= 3, spikes == 0
    # a spike of the one takes 1.5 off the voltage, of the other it adds 0.3: five times the noise
    assert several.sum() > 150 and (found.chosen == found.made)[several].mean() > 0.95
    # without a spike they are the same neuron; 0.15: what a small network has learnt of 600 rows
    assert none.sum() > 20 and np.abs(found.probabilities[none] - 0.5).mean() < 0.15
    # 500 rows in 10 bins: a bin of 50 has an accuracy with an sd of at most 0.07, the mean distance of 10 one below 0.06
    assert found.reliability.error < 0.12


def test_identical_candidates_get_even_chances() -> None:
    simulator = choice(-1.0)
    found, _ = judged(trained(simulator), simulator)
    # 500 rows at chance: the sd of the accuracy is 0.0224, and 3.9 of them are left with probability 1e-4
    assert abs(found.accuracy - 0.5) < 3.9 * 0.0224
    assert np.abs(found.probabilities - 0.5).max() < 0.1


def test_given_spikes_leave_the_response_as_it_was() -> None:
    rng = np.random.default_rng(2)
    for name in ("no_bap", "bap", "parallel_no_bap", "prc"):
        free = Cascade(str(GRAPHS / f"{name}.yaml"), record=["soma", "spike"])
        given = Cascade(with_given_spikes(free.graph), list(free.parameters), record=["soma"])
        stimulus = np.stack([WeightedTrains(300.0, [0.02, 4.0], [60.0, 80.0]).sample(rng) for _ in range(5)])
        theta = np.repeat(free.reference, 5, axis=0) * rng.uniform(0.9, 1.1, (5, len(free.parameters)))
        response = free.simulate(theta, stimulus, 1.0)
        assert np.sum(response["spike"]) > 5
        both = np.concatenate([stimulus, np.asarray(response["spike"])[:, None]], axis=1)
        np.testing.assert_allclose(given.simulate(theta, both, 1.0)["soma"], response["soma"], rtol=1e-12, atol=1e-9)


def test_choice_gives_each_row_to_its_candidate() -> None:
    simulator = choice(0.3)
    _, theta = drawn(simulator, 40, seed=3)
    stimulus = np.random.default_rng(4).uniform(0, 1, (40, 1, 80))
    together = simulator.simulate(theta, stimulus, 1.0)
    for row, values in enumerate(theta):
        alone = list(simulator.candidates.values())[int(values[-1])].simulate(
            values[None, :1], stimulus[row : row + 1], 1.0
        )
        assert (np.asarray(together["soma"])[row] == np.asarray(alone["soma"])[0]).all()
        assert (together["spikes"][row] == alone["spikes"][0]).all()
    again = build(specify(simulator), Simulator)
    assert isinstance(again, Choice) and again.parameters == simulator.parameters
    assert (np.asarray(again.simulate(theta, stimulus, 1.0)["soma"]) == np.asarray(together["soma"])).all()


def test_choice_with_columns_of_its_candidates_own() -> None:
    simulator = Choice({"a": Cascade(leaky(-1.0)), "b": Cascade(leaky(-1.0))}, own=["tau"])
    assert simulator.parameters == ("a.tau", "b.tau", "class")
    theta = np.array([[5.0, 9.0, 0.5], [5.0, 9.0, 1.5]])
    response = np.asarray(simulator.simulate(theta, np.ones((1, 1, 50)), 1.0)["soma"])
    assert not np.allclose(response[0], response[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice({"one": Cascade(leaky(-1.0))}), "two or more"),
        (lambda: Choice({"a": Cascade(leaky(-1.0)), "b": Cascade(leaky(-1.0), record=["soma"])}), "channels"),
        (lambda: Choice({"a": Cascade(leaky(-1.0)), "b": Cascade(leaky(-1.0))}, own=["gain"]), "gain"),
        (lambda: choice(0.3).simulate([[5.0, 2.0]], np.ones((1, 1, 9)), 1.0), r"\[0, 2\)"),
        (lambda: with_given_spikes({"inputs": ["x"], "subunits": {}, "edges": []}), "spikes"),
        (lambda: ModelSelection(prior(3), OBSERVATION, ForcedFits, choice(0.3)), "high 2"),
        (lambda: ModelSelection(prior(), OBSERVATION, ForcedFits, Cascade(leaky(1.0))), "Choice"),
        (lambda: Selection(["a", "b"], np.array([[0.5, 0.6]]), np.array([0])), "sum to 1"),
        (lambda: WeightedTrains(10.0, [1.0, 2.0], [5.0]), "a rate for each"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        make()
    assert "\n" not in str(found.value)


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(5)
    logits = torch.from_numpy(rng.normal(0, 2, (8_000, 3)))
    made = torch.from_numpy(np.array([rng.choice(3, p=p) for p in logits.softmax(1).numpy()]))
    # the fit's relative sd at 8,000 rows is below 0.02, the grid's step 1.5 %
    assert best_temperature(5 * logits, made) == pytest.approx(5.0, rel=0.08)
    assert best_temperature(0.2 * logits, made) == pytest.approx(0.2, rel=0.08)


def test_reliability_of_known_probabilities() -> None:
    rng = np.random.default_rng(6)
    p = rng.dirichlet(np.ones(4), 40_000)
    made = (p.cumsum(1) < rng.random((len(p), 1))).sum(1)
    honest = Selection(list("abcd"), p, made)
    # a bin's accuracy has an sd of at most 0.5 / sqrt(4000) = 0.008, its mean distance is below that
    assert honest.reliability.error < 0.01
    bold = Selection(list("abcd"), np.eye(4)[p.argmax(1)], made)
    assert bold.reliability.error == pytest.approx(1 - bold.accuracy)
    assert bold.confusion.sum() == 40_000 and np.trace(bold.confusion) == round(40_000 * bold.accuracy)

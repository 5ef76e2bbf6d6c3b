"""Test neurons with hidden inputs: what is observed of them, for how long, and what they saw in truth."""

from pathlib import Path

import numpy as np
import pytest
from hidden_neurons import held_out, simulation

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.conditions import conditions_of
from neuroinf.evaluation.held_out import HeldOut


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    return held_out(simulation(20, 1000.0), tmp_path_factory.mktemp("held_out"), [40.0, 1000.0])


def test_the_stimulus_has_the_hidden_rows_and_gives_the_same_response_again(test_set: HeldOut) -> None:
    rows = np.array([3, 0, 17])
    stimulus = test_set.stimulus(rows)
    assert stimulus.shape == (3, 4, 1000)
    again = test_set.simulation.simulator.simulate(test_set.truth[rows], stimulus, 1.0, [0, 1, 2])
    x = test_set.observe(Condition("all", {}))
    np.testing.assert_allclose(again["rate"], x[rows, 0], rtol=1e-6)
    np.testing.assert_array_equal(stimulus[:, :3], x[rows, 1:])
    hidden = test_set.hidden(rows, 1000)
    assert hidden is not None
    np.testing.assert_array_equal(stimulus[:, 3], hidden.astype(np.float32))


def test_a_shorter_observation_is_the_beginning_of_a_longer_one(test_set: HeldOut) -> None:
    whole = test_set.observe(Condition("all", {}))
    part = test_set.observe(Condition("part", {}, ("stimulus",), 250.0))
    assert whole.shape == (20, 4, 1000) and part.shape == (20, 4, 250)
    np.testing.assert_array_equal(part[:, 0], whole[:, 0, :250])
    assert np.isnan(part[:, 1:]).all()
    evidence = test_set.evidence(part[:5], Condition("part", {}, ("stimulus",), 250.0))
    assert evidence.hidden is not None and evidence.hidden.shape == (5, 250)
    assert evidence.channel("stimulus") is None and evidence.channel("voltage") is None
    assert evidence.channel("rate") is not None and evidence.first(2).spikes == [None, None]


@pytest.mark.parametrize(
    ("trained", "durations"),
    [
        (None, [None]),
        ([200.0, 1000.0], [None]),
        ([10.0, 1000.0], [100.0, 10.0, 1000.0]),
        # no longer than the test neurons were simulated
        ([10.0, 9000.0], [100.0, 10.0, 1000.0]),
    ],
)
def test_durations_are_conditions_where_training_had_very_different_ones(
    trained: list[float] | None, durations: list[float | None], tmp_path: Path
) -> None:
    conditions = conditions_of(held_out(simulation(2, 1000.0), tmp_path, trained), [0.5])
    assert [c.duration for c in conditions] == durations
    assert len({c.name for c in conditions}) == len(conditions)

"""Events and steps of current: closed forms, drawing, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.specification import specify
from neuroinf.stimuli import AlphaInput, BiexponentialInput, Constant, Stack, Steps, Stimulus


def test_events_have_their_closed_form() -> None:
    rng = np.random.default_rng(0)
    event = BiexponentialInput(100.0, 0.1, 3.0, 20.0).sample(rng)[0]
    assert event.max() == pytest.approx(3.0)
    assert (event[:201] == 0).all() and event[201] > 0
    late = event[400] / event[300]  # 10 ms apart, long after the rise
    assert late == pytest.approx(np.exp(-10 / 5), rel=1e-9)
    alpha = AlphaInput(50.0, 0.01, 2.0, tau=2.0, delay=1.0).sample(rng)[0]
    assert alpha.max() == pytest.approx(2.0) and alpha.argmax() == 300


def test_amplitudes_are_drawn_from_a_list_or_a_range() -> None:
    rng = np.random.default_rng(1)
    listed = {Constant(10.0, 1.0, {"values": [0.0, 1.0]}).sample(rng).max() for _ in range(50)}
    assert listed == {0.0, 1.0}
    drawn = [AlphaInput(50.0, 0.1, (1.0, 2.0)).sample(rng).max() for _ in range(50)]
    assert 1.0 <= min(drawn) < 1.2 and 1.8 < max(drawn) <= 2.0


def test_steps_follow_their_levels() -> None:
    stimulus = Steps([1.0, 2.0], [[0.0, 5.0], [1.0, 0.0]], 0.5, scale=2.0)
    assert stimulus.duration == 3.0 and stimulus.inputs == 2 and stimulus.frozen
    assert stimulus.sample(np.random.default_rng(0)).tolist() == [[0, 0, 10, 10, 10, 10], [2, 2, 0, 0, 0, 0]]


def test_a_specification_makes_the_same_stimulus() -> None:
    stimulus = Stack(
        [BiexponentialInput(60.0, 0.1, {"values": [3.0, 5.0]}), Constant(60.0, 0.1, {"values": [0.0, 1.0]})]
    )
    again = build(specify(stimulus), Stimulus)
    for seed in range(5):
        assert (again.sample(np.random.default_rng(seed)) == stimulus.sample(np.random.default_rng(seed))).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BiexponentialInput(50.0, rise=5.0, decay=1.0), "rise must be positive and below decay"),
        (lambda: AlphaInput(10.0, tau=0.0), "tau must be above 0 ms, found 0"),
        (lambda: Constant(10.0, amplitude={"values": []}), "amplitude must be a value"),
        (lambda: Constant(10.0, amplitude={"levels": [1.0]}), "amplitude must be a value"),
        (lambda: Steps([1.0, 1.0], [[1.0]]), "expected rows of 2 levels"),
        (lambda: Steps([0.25], [[1.0]], 0.1), "whole number of steps"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()

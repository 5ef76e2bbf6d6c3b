"""The part of a box in which circuits have two states."""

import numpy as np
import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.priors import CompetingPrior, Parameter, Prior, competing
from neuroinf.simulators import Circuit

FEW = 2**15
CIRCUIT = Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])


def near(width: float = 0.03) -> dict[str, Parameter]:
    """A box around the published circuit."""
    values = zip(CIRCUIT.parameters, CIRCUIT.units, CIRCUIT.truth, strict=True)
    return {name: Parameter(unit, (1 - width) * v, (1 + width) * v) for name, unit, v in values}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough circuits for a box of which a quarter has two states, and for one that has none."""
    monkeypatch.setattr(competing, "COUNTED", FEW)


@pytest.fixture
def prior() -> CompetingPrior:
    return CompetingPrior(near(), CIRCUIT, [3.0, 40.0])


def test_draws_are_those_of_the_box_that_have_two_states(prior: CompetingPrior) -> None:
    drawn = prior.sample(300, np.random.default_rng(1))
    assert prior.competes(drawn).all() and prior.inside(torch.from_numpy(drawn)).all()
    box = Prior(near()).sample(5_000, np.random.default_rng(2))
    kept = box[prior.competes(box)]
    # the difference of two means of a uniform parameter, of 300 and of at least 300 draws, has an sd of at most 0.29 / sqrt(150) of
    # the box, if the part is no wider than it; 5 of these: 7e-7 for each of 12
    width = np.array(prior.high) - np.array(prior.low)
    assert len(kept) > 300
    assert np.abs((drawn.mean(0) - kept.mean(0)) / width).max() < 5 * 0.29 / np.sqrt(150)
    # binomial, of 5,000 and 32,768 draws
    assert abs(len(kept) / 5_000 - prior.fraction) < 4.5 * np.sqrt(prior.fraction / 5_000)


def test_the_published_circuit_is_one_and_has_the_density_of_the_box_over_the_fraction(prior: CompetingPrior) -> None:
    theta = torch.from_numpy(np.stack([CIRCUIT.truth, CIRCUIT.truth * np.where(np.arange(12) == 6, 1.03, 1.0)]))
    density = prior.log_prob(theta)
    assert density[0] == pytest.approx(float(Prior(near()).log_prob(theta)[0] - np.log(prior.fraction)))
    assert density[1] == -np.inf


def test_it_is_read_back_from_plain_types(prior: CompetingPrior) -> None:
    again = Prior.from_dict(prior.to_dict())
    assert isinstance(again, CompetingPrior) and again.lead == prior.lead and again.fraction == prior.fraction


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="lead"):
        CompetingPrior(near(), CIRCUIT, [40.0, 3.0])
    with pytest.raises(InputError, match="free parameters"):
        CompetingPrior({"a": Parameter("1", 0.0, 1.0)}, CIRCUIT)
    with pytest.raises(InputError, match="two states"):
        CompetingPrior(near(1e-6), CIRCUIT, [30.0, 40.0]).fraction  # noqa: B018

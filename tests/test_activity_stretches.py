"""Activity from overlapping stretches of a recording, and of its mirror image."""

import pytest
import torch

from neuroinf.activity_stretches import STRETCH, activity_in_stretches, mirror_image
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import Circuit

GROUPS = torch.tensor([0, 0, 1, 1, 2])


@pytest.fixture
def network() -> ActivityNetwork:
    """Of random weights, so that its answers depend on all that it is shown."""
    torch.manual_seed(0)
    made = ActivityNetwork([400, 400, 200], 4.0, widths=[4, 8])
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def spikes(seconds: float) -> tuple[torch.Tensor, torch.Tensor]:
    bins = round(250 * seconds)
    rates = torch.tensor([20.0, 20.0, 5.0, 5.0, 25.0])[:, None] * 0.004
    units = (torch.rand((5, bins), generator=torch.Generator().manual_seed(1)) < rates).float()
    return units[None], torch.zeros(1, 3, bins)


@torch.no_grad()
def test_a_short_recording_is_read_as_a_whole(network: ActivityNetwork) -> None:
    units, inputs = spikes(STRETCH / 1000)
    whole, found = network(units, inputs, GROUPS), activity_in_stretches(network, units, inputs, GROUPS)
    assert torch.equal(whole.mean, found.mean) and torch.equal(whole.sd, found.sd)


@torch.no_grad()
def test_the_beginning_and_the_end_are_of_the_first_and_last_stretch_alone(network: ActivityNetwork) -> None:
    units, inputs = spikes(10.0)
    found, length = activity_in_stretches(network, units, inputs, GROUPS), round(STRETCH / 4)
    for part, bins in ((slice(None, length), slice(None, 300)), (slice(-length, None), slice(-300, None))):
        alone = network(units[..., part], inputs[..., part], GROUPS)
        torch.testing.assert_close(found.mean[..., bins], alone.mean[..., bins])
    assert found.mean.shape == (1, 3, 2500) and (found.sd > 0).all()


@torch.no_grad()
def test_names_of_the_first_two_populations_do_not_matter_with_a_mirror_image(network: ActivityNetwork) -> None:
    units, inputs = spikes(5.0)
    inputs[:, 0] = 3.0
    places = [1, 0, 2]
    one = activity_in_stretches(network, units, inputs, GROUPS, places)
    other = activity_in_stretches(network, units, inputs[:, places], torch.tensor(places)[GROUPS], places)
    torch.testing.assert_close(one.rate, other.rate[:, places])
    plain = activity_in_stretches(network, units, inputs, GROUPS)
    assert not torch.allclose(plain.rate, one.rate)


def test_only_circuits_and_priors_that_are_symmetric_have_a_mirror_image() -> None:
    circuit = Circuit()
    values = zip(circuit.parameters, circuit.units, circuit.truth, strict=True)
    box = {name: Parameter(unit, 0.4 * value, 2 * value) for name, unit, value in values}
    assert mirror_image(circuit, Prior(box)) == [1, 0, 2]
    assert mirror_image(circuit, Prior(box | {"mu_E2": Parameter("1", 1.0, 2.0)})) is None
    assert mirror_image(Circuit(sizes=[400, 300, 200]), Prior(box)) is None
    assert mirror_image(Circuit(connections=[[1, 1, 1], [0, 1, 1], [-1, -1, -1]]), Prior(box)) is None
    assert mirror_image(Circuit(names=["E"], sizes=[9], connections=[[1]]), Prior({"a_E": box["a_E1"]})) is None

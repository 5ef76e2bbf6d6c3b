"""Networks of cascade neurons against the plain loop over time, and each by itself."""

from pathlib import Path

import numpy as np
import prc_networks as peer
import pytest
import torch
from torch import Tensor

from neuroinf.datasets.raster import Raster, raster
from neuroinf.errors import InputError
from neuroinf.models.spiking_network import Layer, SpikingNetwork, respond, scores

CASCADES = Path(__file__).resolve().parents[2] / "configs" / "cascades"

# weights of the published networks' first layers
SCALES = {"one_compartment": 140.0, "no_bap": 15.0, "bap": 15.0, "parallel_no_bap": 1.0, "prc": 1.0, "readout": 7.0}
NEURONS = [neuron for neuron in SCALES if neuron != "readout"]


def layer(neuron: str, units: int, scale: float) -> Layer:
    return Layer(str(CASCADES / f"{neuron}.yaml"), units, scale)


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def patterns(sets: int, patterns: int = 32, inputs: int = 100, steps: int = 120, seed: int = 0) -> Raster:
    """Input spikes of the memorisation task's rate."""
    rng = np.random.default_rng(seed)
    shape = (steps, sets, patterns, inputs)
    return raster(*np.nonzero(rng.random(shape) < 0.005), shape)


def network(neuron: str, networks: int, inputs: int = 100) -> SpikingNetwork:
    layers = [layer(neuron, 4, SCALES[neuron]), layer("readout", 2, 7.0)]
    return SpikingNetwork(layers, inputs, generators(networks))


def drive(neuron: str, steps: int = 150, patterns: int = 32, seed: int = 3) -> Tensor:
    """Currents (T, P, 2, B, 3) that make every kind of neuron spike, and its dendrites cross their thresholds."""
    generator = torch.Generator().manual_seed(seed)
    size, ports = SCALES[neuron] * 0.03, peer.NEURONS[neuron].ports
    noise = torch.randn(steps, ports, 2, patterns, 3, generator=generator)
    return size * (noise + 0.15 * torch.randn(1, 1, 2, patterns, 3, generator=generator).abs())


def ours(neuron: str, currents: Tensor) -> Tensor:
    """The cascade's response."""
    return respond(layer(neuron, 1, 1.0).cascade, currents)


def by_peer(neuron: str, currents: Tensor) -> Tensor:
    """The peer's response in our order: (T, N, B, U) from (T, P, N, B, U). It has a sample more, the last."""
    cells = currents.permute(2, 3, 0, 4, 1).flatten(0, 1)
    return peer.layer(neuron, cells)[:, :-1].unflatten(0, currents.shape[2:4]).permute(2, 0, 1, 3)


@pytest.mark.parametrize("neuron", list(SCALES))
def test_response_is_bit_for_bit_the_plain_recursion(neuron: str) -> None:
    """192 neurons: torch itself rounds otherwise beyond a multiple of 16."""
    currents = drive(neuron)
    found, expected = ours(neuron, currents), by_peer(neuron, currents)
    assert found.shape == expected.shape == (150, 2, 32, 3) and found.dtype == torch.float32
    assert torch.equal(found, expected)
    if neuron != "readout":  # of which there are enough for this to mean something
        assert 0.005 < expected.mean() < 0.5


@pytest.mark.parametrize("neuron", list(SCALES))
def test_gradient_is_that_of_the_plain_recursion(neuron: str) -> None:
    generator = torch.Generator().manual_seed(5)
    currents = drive(neuron).requires_grad_()
    output = by_peer(neuron, currents)
    weights = torch.randn(output.shape, generator=generator)
    expected = torch.autograd.grad(output, currents, weights)[0]
    found = torch.autograd.grad(ours(neuron, currents), currents, weights)[0]
    # float32 sums of some hundred terms, in another order
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    assert (expected != 0).float().mean() > 0.9


@pytest.mark.parametrize("neuron", NEURONS)
def test_network_and_its_gradient_are_those_of_the_plain_loop(neuron: str) -> None:
    events, nets = patterns(3), network(neuron, 3)
    labels = torch.randint(2, (3, 32), generator=torch.Generator().manual_seed(1))
    output = nets(events)
    loss, accuracy = scores(output, labels)
    loss.sum().backward()
    for n, x in enumerate(events.dense()):
        weights = [w.detach()[:, n].permute(1, 2, 0).contiguous().requires_grad_() for w in nets.weights]
        theirs = peer.forward([neuron, "readout"], weights, x)
        # the currents' sums may be rounded otherwise, and a spike need not be spared by that: but none is here
        torch.testing.assert_close(output[:, n], theirs.transpose(0, 1), rtol=1e-5, atol=1e-5)
        expected = peer.loss(theirs, labels[n])
        expected.backward()
        torch.testing.assert_close(loss[n], expected, rtol=1e-5, atol=1e-6)
        assert accuracy[n] == (theirs.amax(1).argmax(1) == labels[n]).float().mean()
        for weight, other in zip(nets.weights, weights, strict=True):
            assert weight.grad is not None and other.grad is not None
            g = weight.grad[:, n].permute(1, 2, 0)
            assert (g - other.grad).norm() <= 1e-4 * other.grad.norm()


@pytest.mark.parametrize(
    ("neuron", "port", "delay"),
    [
        ("one_compartment", 0, 3),
        ("no_bap", 1, 3),
        ("bap", 1, 3),
        ("prc", 1, 3),
        ("no_bap", 0, 5),
        ("bap", 0, 5),
        ("parallel_no_bap", 0, 7),
        ("prc", 0, 7),
    ],
)
def test_steps_from_an_input_to_the_spike(neuron: str, port: int, delay: int) -> None:
    """Soma 3, dendrite 5, parallel dendrites 7."""
    currents = torch.zeros(30, peer.NEURONS[neuron].ports, 1, 1, 1)
    currents[10, port] = 1000.0
    assert ours(neuron, currents)[:, 0, 0, 0].nonzero()[0, 0] == 10 + delay


def test_back_propagating_spike_reaches_the_dendrite_only_where_there_is_one() -> None:
    for with_spike, without in (("bap", "no_bap"), ("prc", "parallel_no_bap")):
        currents = drive(with_spike)
        found, expected = ours(with_spike, currents), ours(without, currents)
        first = expected[:, 0].flatten(1).argmax(0)
        # the same up to the first spike, not for ever
        assert torch.equal(found[:, 0].flatten(1).argmax(0), first) and not torch.equal(found, expected)


@pytest.mark.parametrize("neuron", ["bap", "prc"])
def test_a_network_is_the_same_alone_and_among_others(neuron: str) -> None:
    layers = [layer(neuron, 4, SCALES[neuron]), layer("readout", 2, 7.0)]
    events = patterns(1)
    outputs = {}
    for seeds in ((7,), (5, 7, 9)):
        nets = SpikingNetwork(layers, 100, [torch.Generator().manual_seed(s) for s in seeds])
        output = nets(events)
        output.square().sum().backward()
        i = seeds.index(7)
        outputs[seeds] = (output[:, i], *(w.grad[:, i] for w in nets.weights if w.grad is not None))
    for alone, among in zip(*outputs.values(), strict=True):
        torch.testing.assert_close(alone, among, rtol=1e-5, atol=1e-6)


def test_weights_have_the_stated_spread() -> None:
    nets = SpikingNetwork([layer("bap", 200, 15.0), layer("readout", 2, 7.0)], 100, generators(2))
    first = nets.weights[0].detach()
    n = first.numel()
    sd = 15.0 * (1 - np.exp(-0.1)) / 10
    # of n normal numbers: sd / sqrt(2 n) is the error of the sd; 4 of them, false alarms 1e-4
    assert abs(first.std().item() / sd - 1) < 4 / np.sqrt(2 * n) and first.shape == (2, 2, 100, 200)


def test_scores_are_those_of_the_largest_outputs() -> None:
    output = torch.zeros(3, 1, 2, 2)
    output[1, 0, 0, 1] = 2.0
    output[2, 0, 1, 0] = 1.0
    loss, accuracy = scores(output, torch.tensor([[1, 1]]))
    assert accuracy.tolist() == [0.5]
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(1.0))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_impossible_layers_are_errors() -> None:
    readout = str(CASCADES / "readout.yaml")
    with pytest.raises(InputError, match="units of 1 or more"):
        Layer(readout, 0, 1.0)
    for scale in (-1.0, float("nan")):
        with pytest.raises(InputError, match="a positive scale"):
            Layer(readout, 4, scale)
    with pytest.raises(InputError, match=r"found no file at pyramidal.yaml"):
        Layer("pyramidal.yaml", 4, 1.0)

"""The manifold study's networks: sizes and names, the equations by hand, what hidden entries may do, and a file as the study's."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.bilstm_autoencoder import BiLSTMAutoencoder, FeedbackAutoencoder, visible

BOTH = pytest.mark.parametrize("kind", [BiLSTMAutoencoder, FeedbackAutoencoder])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mish(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.log1p(torch.exp(x)))


def lstm_by_hand(x: Tensor, weights: dict[str, Tensor], suffix: str) -> Tensor:
    """States (T, D) of one direction, gate by gate; torch's order of the gates is input, forget, cell, output."""
    h = c = torch.zeros(weights[f"weight_hh_{suffix}"].shape[1])
    found = []
    for row in x:
        gates = weights[f"weight_ih_{suffix}"] @ row + weights[f"bias_ih_{suffix}"]
        gates = gates + weights[f"weight_hh_{suffix}"] @ h + weights[f"bias_hh_{suffix}"]
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.stack(found)


def both_by_hand(x: Tensor, rnn: nn.LSTM) -> Tensor:
    weights = dict(rnn.named_parameters())
    forwards = lstm_by_hand(x, weights, "l0")
    backwards = lstm_by_hand(x.flip(0), weights, "l0_reverse").flip(0)
    return (forwards + backwards) / 2


def mlp_by_hand(y: Tensor, mlp: nn.Sequential) -> Tensor:
    for k in (0, 2, 5):
        layer = mlp[k]
        assert isinstance(layer, nn.Linear)
        y = mish(y @ layer.weight.T + layer.bias)
    return y


def test_published_size() -> None:
    network = BiLSTMAutoencoder(1131, 75)
    assert sum(p.numel() for p in network.parameters()) == 856_131
    # LSTM 2 (300 x 1131 + 300 x 75 + 600), perceptron 75-150-150-75, read-out 75-1131
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert parts == {"rnn": 724_800, "mlp": 45_375, "fc": 85_956}


@pytest.mark.parametrize("factors", [1, 3, 50, 75, 100])
def test_dimension_is_that_of_the_latents(factors: int) -> None:
    """What the study's sweep did not do: the number that is given is the width of the bottleneck."""
    network = BiLSTMAutoencoder(12, factors)
    assert network.encode(torch.randn(2, 5, 12, generator=generator())).shape == (2, 5, factors)
    assert network.fc.in_features == factors


def published_layout(neurons: int, factors: int) -> dict[str, tuple[int, ...]]:
    layout: dict[str, tuple[int, ...]] = {}
    for suffix in ("l0", "l0_reverse"):
        layout[f"rnn.weight_ih_{suffix}"] = (4 * factors, neurons)
        layout[f"rnn.weight_hh_{suffix}"] = (4 * factors, factors)
        layout[f"rnn.bias_ih_{suffix}"] = layout[f"rnn.bias_hh_{suffix}"] = (4 * factors,)
    widths = (factors, 2 * factors, 2 * factors, factors)
    for index, (inputs, outputs) in zip((0, 2, 5), pairwise(widths), strict=True):
        layout[f"mlp.{index}.weight"], layout[f"mlp.{index}.bias"] = (outputs, inputs), (outputs,)
    layout["fc.weight"], layout["fc.bias"] = (neurons, factors), (neurons,)
    return layout


def test_file_as_the_study_wrote_it(tmp_path) -> None:
    """A plain state dict with the names and shapes of Net_Complete.pt loads without running code."""
    layout = published_layout(1131, 75)
    state = {key: torch.randn(shape, generator=generator(k)) for k, (key, shape) in enumerate(layout.items())}
    torch.save(state, tmp_path / "Net.pt")
    network = BiLSTMAutoencoder(1131, 75)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == layout
    network.load_state_dict(torch.load(tmp_path / "Net.pt", weights_only=True))
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.reference
def test_the_studys_file(reference_dir) -> None:
    path = reference_dir / "nmas" / "Net_Complete.pt"
    if not path.is_file():
        pytest.skip("the study's file is not at hand (../shared/reference/nmas/Net_Complete.pt)")
    network = BiLSTMAutoencoder(1131, 75)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))


def test_equations() -> None:
    network = BiLSTMAutoencoder(6, 3).eval()
    x = torch.randn(9, 6, generator=generator())
    factors = mlp_by_hand(both_by_hand(x, network.rnn), network.mlp)
    assert torch.allclose(network.encode(x[None])[0], factors, atol=1e-6)
    assert torch.allclose(network(x[None])[0], factors @ network.fc.weight.T + network.fc.bias, atol=1e-6)


def test_equations_with_feedback() -> None:
    network = FeedbackAutoencoder(5, 2).eval()
    x = torch.randn(8, 5, generator=generator())
    expanded = mlp_by_hand(both_by_hand(x, network.rnn), network.mlp)
    assert expanded.shape == (8, 5)
    factors = both_by_hand(torch.cat([x, expanded], 1), network.rnn_feedback)
    assert torch.allclose(network.encode(x[None])[0], factors, atol=1e-6)
    assert torch.allclose(network(x[None])[0], factors @ network.fc.weight.T + network.fc.bias, atol=1e-6)


@BOTH
def test_dropout_only_while_training(kind) -> None:
    network, x = kind(6, 3), torch.randn(1, 20, 6, generator=generator())
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@BOTH
def test_hidden_entries_are_not_read(kind) -> None:
    """Neither value nor gradient comes from an entry that is not observed, nan included; the observed ones count."""
    network = kind(6, 3).eval()
    x = torch.randn(2, 10, 6, generator=generator(1))
    observed = torch.rand(x.shape, generator=generator(2)) > 0.3
    other = torch.where(observed, x, torch.nan)
    assert torch.equal(network(x, observed), network(other, observed))
    x.requires_grad_()
    network(x, observed).sum().backward()
    assert x.grad is not None and bool((x.grad[~observed] == 0).all())
    assert bool((x.grad[observed] != 0).all())


@BOTH
def test_all_observed_is_the_studys_network(kind) -> None:
    network, x = kind(6, 3).eval(), torch.randn(1, 10, 6, generator=generator())
    assert torch.allclose(network(x), network(x, torch.ones(x.shape, dtype=torch.bool)), atol=1e-6)


def test_nothing_observed_is_the_constant() -> None:
    x, c = torch.full((1, 4, 6), torch.nan), torch.arange(6.0)
    assert torch.equal(visible(x, torch.zeros(x.shape, dtype=torch.bool), c), c.expand(1, 4, 6))


def test_hiding_keeps_the_mean_of_the_input() -> None:
    """By E[m / mean m] = 1 of exchangeable masks: over 4,000 masks the mean is x within 5 standard errors (false alarms 4e-6)."""
    x, c = torch.randn(1, 1, 6, generator=generator(3)), torch.zeros(6)
    observed = torch.rand((4000, 1, 6), generator=generator(4)) > 0.25
    observed = observed[observed.any(-1).squeeze(-1)]
    seen = visible(x.expand(len(observed), 1, 6), observed, c)[:, 0]
    error = seen.std(0) / len(seen) ** 0.5
    assert bool(((seen.mean(0) - x[0, 0]).abs() < 5 * error).all())


@BOTH
def test_every_parameter_gets_a_gradient(kind) -> None:
    network, x = kind(6, 3), torch.randn(2, 30, 6, generator=generator())
    (network(x) - x).square().mean().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())


@pytest.mark.parametrize(
    "arguments",
    [
        {"neurons": 0, "factors": 3},
        {"neurons": 5, "factors": 0},
        {"neurons": 5, "factors": 3, "dropout": 1.0},
        {"neurons": 5, "factors": 3, "layers": 0},
        # where torch only warns: the study's sweep over it changed nothing
        {"neurons": 5, "factors": 3, "layer_dropout": 0.5},
    ],
)
def test_refusals(arguments: dict) -> None:
    with pytest.raises(InputError, match="BiLSTMAutoencoder: expected"):
        BiLSTMAutoencoder(**arguments)

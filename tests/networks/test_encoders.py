"""Encoders: padding, missing channels, scale, gradients, and their statistics against direct computations."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.encoders import BiLSTM, ConvBiLSTM, Encoder
from neuroinf.networks.filters import exponential_filters, last_event, restart
from neuroinf.networks.pooling import SweepPooling
from neuroinf.networks.response import ResponseStatistics, Standardise, regress
from neuroinf.networks.scaling import scale

C, T = 3, 400


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "bilstm": lambda: BiLSTM(C, hidden=6),
    "bilstm_two_layers": lambda: BiLSTM(C, hidden=4, layers=2),
    "convolution": lambda: ConvBiLSTM(C, widths=(6, 8), hidden=6, statistics=False),
    "convolution_odd": lambda: ConvBiLSTM(C, widths=(5,), kernels=(7,), strides=(3,), hidden=4, statistics=False),
    "statistics": lambda: ConvBiLSTM(C, widths=(6, 8), hidden=6),
}


def recordings(n: int = 5, t: int = T, seed: int = 0) -> Tensor:
    """A leaky integrator with resets (n, 3, t): voltage with gaps after spikes, spikes, stimulus."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, C, t), np.float32)
    x[:, 2] = 100 + 50 * rng.standard_normal((n, t))
    v = np.zeros(n)
    for k in range(t):
        v += 0.05 * (0.2 * x[:, 2, k] - v) + 0.3 * rng.standard_normal(n)
        spike = v > 19
        x[:, 1, k], x[:, 0, k] = spike, np.where(spike, np.nan, v - 70)
        v[spike] = 0
    return torch.from_numpy(x)


def made(name: str) -> tuple[nn.Module, Encoder]:
    """An encoder with settled running moments, in evaluation mode; as module and as encoder."""
    torch.manual_seed(1)
    module = MAKERS[name]()
    with torch.no_grad():
        for seed in range(3):
            module(recordings(16, seed=10 + seed))
    module.eval()
    return module, module  # type: ignore[return-value]


@pytest.mark.parametrize("name", MAKERS)
def test_a_padded_batch_equals_one_at_a_time(name: str) -> None:
    _, encoder = made(name)
    lengths = [400, 399, 381, 203, 57]
    x = recordings()
    padded = x.clone()
    for row, length in enumerate(lengths):
        padded[row, :, length:] = torch.nan
    with torch.no_grad():
        together = encoder(padded)
        longer = encoder(torch.cat([padded, torch.full((5, C, 37), torch.nan)], 2))
        alone = torch.cat([encoder(x[row : row + 1, :, :length]) for row, length in enumerate(lengths)])
    assert together.shape == (5, encoder.features)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together, longer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_rows_do_not_see_each_other(name: str) -> None:
    _, encoder = made(name)
    x, order = recordings(), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(encoder(x[order]), encoder(x)[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_missing_channels_give_numbers(name: str, missing: tuple[int, ...]) -> None:
    module, encoder = made(name)
    module.train()
    x = recordings()
    x[2:, list(missing)] = torch.nan
    features = encoder(x)
    assert features.isfinite().all()
    features.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in module.parameters())


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [0.0, -70.0, 1e4])
def test_constant_recordings_give_numbers(name: str, value: float) -> None:
    _, encoder = made(name)
    with torch.no_grad():
        assert encoder(torch.full((2, C, T), value)).isfinite().all()
        assert encoder(torch.full((2, C, 1), value)).isfinite().all()


@pytest.mark.parametrize("name", MAKERS)
def test_every_weight_gets_a_gradient(name: str) -> None:
    module, encoder = made(name)
    module.train()
    (encoder(recordings()) * torch.randn(encoder.features)).sum().backward()
    for key, weight in module.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", MAKERS)
def test_save_and_load_agree(name: str) -> None:
    module, encoder = made(name)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = MAKERS[name]()
    other.load_state_dict(torch.load(file, weights_only=True))
    other.eval()
    with torch.no_grad():
        torch.testing.assert_close(other(recordings()), encoder(recordings()), rtol=0, atol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_scale_shows_in_the_scale_features_alone(name: str) -> None:
    """Powers of two, whose product is exact: rounding would be magnified by the least determined coefficients."""
    _, encoder = made(name)
    x = recordings()
    with torch.no_grad():
        before = encoder(x)[:, 3 * C :]
        after = encoder(x * torch.tensor([2.0, 1.0, 4.0])[:, None])[:, 3 * C :]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_filters_equal_their_recursion() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 137, generator=generator, dtype=torch.float64)
    events = torch.rand(2, 137, generator=generator) < 0.05
    tau = torch.tensor([3.0, 40.0], dtype=torch.float64)
    filtered = exponential_filters(x, tau)
    restarted, since = restart(filtered, last_event(events), tau)
    y, y_restarted = torch.zeros(2, 3, 2, dtype=x.dtype), torch.zeros(2, 3, 2, dtype=x.dtype)
    decay = torch.zeros(2, 2, dtype=x.dtype)
    for t in range(137):
        y = y * torch.exp(-1 / tau) + x[:, :, None, t] / tau
        y_restarted = y_restarted * torch.exp(-1 / tau) + x[:, :, None, t] / tau
        y_restarted[events[:, t]] = 0
        decay = decay * torch.exp(-1 / tau)
        decay[events[:, t]] = 1
        torch.testing.assert_close(filtered[..., t], y)
        torch.testing.assert_close(restarted[..., t], y_restarted)
        torch.testing.assert_close(since[..., t], decay)


def test_regression_equals_lstsq_on_augmented_rows() -> None:
    r"""Ridge is least squares with rows :math:`\sqrt{\lambda n} D` appended."""
    rng = np.random.default_rng(0)
    x, n, penalty = rng.standard_normal((200, 4)) * [1, 10, 0.1, 3], 200, 1e-2
    y = x @ [1.0, -0.2, 4.0, 0.5] + rng.standard_normal(200)
    y /= np.sqrt(np.mean(y**2))
    d = np.sqrt(np.mean(x**2, 0))
    expected = np.linalg.lstsq(np.vstack([x, np.diag(np.sqrt(penalty * n) * d)]), np.r_[y, np.zeros(4)])[0]
    b, unexplained = regress(torch.from_numpy(x.T @ x / n), torch.from_numpy(x.T @ y / n), penalty)
    np.testing.assert_allclose(b, expected, rtol=1e-5)
    np.testing.assert_allclose(unexplained, np.log(np.mean((y - x @ expected) ** 2)), rtol=1e-5)


def test_statistics_find_the_linear_system() -> None:
    """Noise-free leaky integration at one of the filters' time constants is explained but for rounding and the ridge."""
    rng = np.random.default_rng(1)
    i = torch.from_numpy(rng.standard_normal((3, 1, 1000)).astype(np.float32))
    y = exponential_filters(i, torch.tensor([16.0]))[:, :, 0] * torch.tensor([1.0, 3.0, -7.0])[:, None, None] - 65
    x = torch.cat([y, torch.zeros_like(y), i], 1)
    taus, memories = [4.0, 16.0, 60.0], [30.0]
    statistics = ResponseStatistics([0], [1], [2], taus, memories)
    scaled = scale(x, ["response", "events", "input"])
    index = 1 + 3 + 3 + 1  # constant, decays since event and since start, then the input's filter at 16
    coefficient = statistics(scaled)[:, index]
    rms = x[:, 2].square().mean(1).sqrt()
    expected = torch.tensor([1.0, 3.0, -7.0]) * rms / y[:, 0].std(1, correction=0)
    torch.testing.assert_close(coefficient, expected, rtol=0.02, atol=0)


def test_standardised_features_have_unit_moments_and_do_not_mix_rows() -> None:
    """500 batches of 64 normal rows: mean within 5 and variance within 5 standard errors (false alarm below 1e-5)."""
    generator = torch.Generator().manual_seed(0)
    module = Standardise(2)
    for _ in range(500):
        module(torch.sinh(3 + 0.1 * torch.randn(64, 2, generator=generator)))
    module.eval()
    n = 20_000
    out = module(torch.sinh(3 + 0.1 * torch.randn(n, 2, generator=generator)))
    error = (1 / n + 1 / 32_000) ** 0.5
    assert (out.mean(0).abs() < 5 * error).all()
    assert ((out.var(0) - 1).abs() < 5 * 2**0.5 * error + 1e-3).all()
    torch.testing.assert_close(module(torch.ones(1, 2)), module(torch.tensor([[1.0, 1.0], [9.0, 9.0]]))[:1])


def pooled() -> SweepPooling:
    module = SweepPooling(made("convolution")[1], width=16)
    return module.eval()


def test_sweeps_are_a_set() -> None:
    module = pooled()
    x = recordings(12).reshape(3, 4, C, T)
    x[0, 2:] = torch.nan
    x[1, 1:] = torch.nan
    with torch.no_grad():
        features = module(x)
        shuffled = module(x[:, [2, 0, 3, 1]])
        more_absent = module(torch.cat([x, torch.full((3, 2, C, T), torch.nan)], 1))
        alone = torch.cat([module(x[:1, :2]), module(x[1, :1]), module(x[2:])])
    assert features.shape == (3, module.features)
    for other in (shuffled, more_absent, alone):
        torch.testing.assert_close(features, other, rtol=1e-5, atol=1e-5)


def test_sweeps_of_other_lengths_and_no_sweep_at_all() -> None:
    module = pooled()
    x = recordings(4).reshape(2, 2, C, T)
    x[0, 1, :, 250:] = torch.nan
    x[1] = torch.nan
    with torch.no_grad():
        features = module(x)
        reversed_order = module(x.flip(1))
    assert features.isfinite().all()
    assert (features[1] == 0).all()
    torch.testing.assert_close(features, reversed_order, rtol=1e-5, atol=1e-5)


def test_pooling_learns_through_every_weight() -> None:
    module = pooled().train()
    features = module(recordings(6).reshape(2, 3, C, T))
    (features * torch.randn(module.features)).sum().backward()
    for key, weight in module.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: BiLSTM(2), "each of the 2 rows"),
        (lambda: BiLSTM(3, roles=["response", "events", "light"]), "light"),  # type: ignore[list-item]
        (lambda: ConvBiLSTM(3, widths=(4,)), "same length"),
        (lambda: ConvBiLSTM(3, widths=(4,), kernels=(3,), strides=(5,)), "shorter than strides"),
    ],
)
def test_impossible_networks_are_refused(make: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()

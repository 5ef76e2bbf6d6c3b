"""Encoders: padding, missing channels, scale, gradients, and their statistics against direct computations."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.encoders import BiLSTM, ConvBiLSTM, Encoder, Recurrence
from neuroinf.networks.filters import exponential_filters, last_event, restart
from neuroinf.networks.pooling import SweepPooling
from neuroinf.networks.response import TRIGGERED_LAGS, ResponseStatistics, Standardise, regress
from neuroinf.networks.response_kernel import products
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
def test_scale_does_not_show_in_the_states(name: str) -> None:
    """Powers of two, whose product is exact: amplitudes reach the network by the scale features alone."""
    module, encoder = made(name)
    states = int(module.core.features)  # type: ignore[union-attr, arg-type]
    x = recordings()
    with torch.no_grad():
        before = encoder(x)[:, -states:]
        after = encoder(x * torch.tensor([2.0, 1.0, 4.0])[:, None])[:, -states:]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_recurrence_equals_the_bidirectional_lstm_of_torch() -> None:
    ours, theirs = Recurrence(3, 4, 2), nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for layer in range(2):
            for part, suffix in ((ours.onward[layer], ""), (ours.homeward[layer], "_reverse")):
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(part, f"{kind}_l0").copy_(getattr(theirs, f"{kind}_l{layer}{suffix}"))
        x = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(0))
        features = ours(x, torch.tensor([20, 11]))
        for row, length in enumerate((20, 11)):
            states, (last, _) = theirs(x[row : row + 1, :, :length].transpose(1, 2))
            torch.testing.assert_close(features[row, :8], states[0].mean(0))
            torch.testing.assert_close(features[row, 16:], last[-2:, 0].flatten())


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
        y = y * torch.exp(-1 / tau) + x[:, :, None, t] * -torch.expm1(-1 / tau)
        y_restarted = y_restarted * torch.exp(-1 / tau) + x[:, :, None, t] * -torch.expm1(-1 / tau)
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


@pytest.mark.parametrize("tau", [5.0, 16.0, 70.0])
def test_statistics_find_the_linear_system(tau: float) -> None:
    r"""Leaky integration y_t = a y_{t-1} + (1 - a) i_t is an exact combination of F_k y and F_k i, for each k.

    With q the shift by a sample and r = exp(-1/tau_k), F_k is (1 - r) / (1 - r q). Then y = f F_k y + b F_k i means
    (1 - f (1 - r) - r q) y = b (1 - r) i; matching powers of q gives f = (1 - r / a) / (1 - r) and
    b = (1 / a - 1) r / (1 - r).
    """
    rng = np.random.default_rng(1)
    i = torch.from_numpy(rng.standard_normal((3, 1, 1000)).astype(np.float32))
    gains = torch.tensor([1.0, 3.0, -7.0])
    y = exponential_filters(i, torch.tensor([tau]))[:, :, 0] * gains[:, None, None]
    offset = y.mean(2)[:, 0]
    y = y - y.mean(2, keepdim=True)
    x = torch.cat([y - 65, torch.zeros_like(y), i], 1)
    filters = [8.0, 30.0]
    statistics = ResponseStatistics([0], [1], [2], filters, [30.0], ridges=[1e-8])
    features = statistics(scale(x, ["response", "events", "input"]))
    coefficients = features[:, 10:22].reshape(3, 2, 6)
    a, r = np.exp(-1 / tau), torch.exp(-1 / torch.tensor(filters))
    own = ((1 - r / a) / (1 - r)).expand(3, 2)
    to_scale = x[:, 2].square().mean(1).sqrt() / y[:, 0].square().mean(1).sqrt()
    drive = (gains * to_scale)[:, None] * (1 / a - 1) * r / (1 - r)
    # columns: constant, decays since event and since start, F_k y, F_k i, F_k s
    torch.testing.assert_close(coefficients[:, :, 3], own, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(coefficients[:, :, 4], drive, rtol=2e-3, atol=2e-3)
    # in the recording's units, per filter: level at rest, log rate, log slope, log gain
    rest, gain = features[:, 24:26], features[:, 30:32]
    torch.testing.assert_close(rest, (-65 - offset)[:, None].expand(3, 2), rtol=0, atol=5e-3)
    torch.testing.assert_close(gain, gains.abs().log()[:, None].expand(3, 2), rtol=0, atol=5e-3)


@pytest.mark.parametrize("inputs", [[2], []])
@pytest.mark.parametrize("events", [[1], []])
def test_compiled_sums_of_the_statistics_equal_those_of_torch(events: list[int], inputs: list[int]) -> None:
    """With gaps after spikes, a hidden stretch, padding, and a response that was not observed at all."""
    x = recordings(6)
    x[1, :, 300:], x[2, 0, 50:90], x[3, 0] = torch.nan, torch.nan, torch.nan
    scaled = scale(x, ["response", "events", "input"])
    statistics = ResponseStatistics([0], events, inputs, [3.0, 30.0, 200.0], [10.0, 100.0])
    found = products(
        scaled.values, scaled.observed, 0, events, inputs, [3.0, 30.0, 200.0], [10.0, 100.0], TRIGGERED_LAGS
    )
    for ours, expected in zip(found, statistics.products(scaled, 0), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


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
    torch.testing.assert_close(module(torch.full((1, 2), torch.nan)), torch.zeros(1, 2))
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

"""The encoder of short responses: what is missing, lengths, scale, and that it can learn a shape."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.networks import SweepPooling, TraceEncoder
from neuroinf.specification import specify

T = 60


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def decays(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Exponential decays (n, 2, T) of time constants (n,) from 5 to 50 samples, with noise, beside their input."""
    generator = torch.Generator().manual_seed(seed)
    tau = 5 * 10 ** torch.rand(n, generator=generator)
    size = 1 + torch.rand(n, generator=generator)
    x = torch.zeros(n, 2, T)
    x[:, 0] = size[:, None] * torch.exp(-torch.arange(T) / tau[:, None]) + 0.05 * torch.randn(n, T, generator=generator)
    x[:, 1, 0] = size
    return x, tau.log()


def encoder(cut: float = 0.0) -> TraceEncoder:
    torch.manual_seed(0)
    return TraceEncoder(2, T, hidden=24, blocks=1, cut=cut)


def test_padding_changes_nothing() -> None:
    """Also beyond the longest response that is read."""
    made = encoder().eval()
    x = decays(5)[0]
    assert torch.equal(made(x[:, :, :40]), made(torch.nn.functional.pad(x[:, :, :40], (0, 35), value=torch.nan)))
    assert torch.equal(made(x), made(torch.nn.functional.pad(x, (0, 9), value=7.0)))


def test_what_is_missing_is_not_the_same_as_zero() -> None:
    made = encoder().eval()
    x = decays(5)[0]
    absent, zero = x.clone(), x.clone()
    absent[:, 0], zero[:, 0] = torch.nan, 0.0
    assert torch.isfinite(made(absent)).all() and not torch.allclose(made(absent), made(zero))


def test_rows_do_not_see_each_other() -> None:
    made = encoder().eval()
    x = decays(5)[0]
    assert torch.allclose(made(x)[2:3], made(x[2:3]), atol=1e-6)


def test_size_of_a_channel_does_not_matter_once_it_is_learnt() -> None:
    x = decays(64)[0]
    features = []
    for size in (1.0, 1000.0):
        made = encoder().train()
        made(size * x)  # the first batch sets the sizes
        features.append(made.eval()(size * x))
    assert torch.allclose(*features, atol=1e-4)


def test_learns_a_time_constant_also_from_a_part_of_the_response() -> None:
    """Of 16 samples a decay is still known to a few per cent; guessing leaves the prior's sd, 0.66."""
    made = encoder(cut=0.5).train()
    head = torch.nn.Linear(made.features, 1)
    optimizer = torch.optim.Adam([*made.parameters(), *head.parameters()], 5e-3)
    for step in range(400):
        x, target = decays(128, seed=1 + step)
        optimizer.zero_grad()
        (head(made(x))[:, 0] - target).square().mean().backward()
        optimizer.step()
    x, target = decays(1000)
    made.eval()
    with torch.inference_mode():
        errors = [(head(made(part))[:, 0] - target).square().mean().sqrt() for part in (x, x[:, :, :16])]
    assert errors[0] < 0.15 and errors[1] < 0.3


def test_made_again_from_its_description_it_is_the_same() -> None:
    pooled = SweepPooling(encoder(cut=0.1)).eval()
    again = build(specify(pooled), SweepPooling)
    again.load_state_dict(pooled.state_dict())
    x = decays(6)[0].reshape(2, 3, 2, T)
    assert torch.equal(pooled(x), again.eval()(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "encoder.samples must be at least 1, found 0"),
        ({"samples": 5, "blocks": -1}, "encoder.blocks must be at least 0, found -1"),
        ({"samples": 5, "cut": 1.0}, "encoder.cut must be a fraction"),
        ({"samples": 5, "roles": ["response"]}, "encoder.roles must name one of"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TraceEncoder(2, **arguments)  # pyright: ignore[reportArgumentType]

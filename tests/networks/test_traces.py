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


def steep(n: int, seed: int = 0) -> torch.Tensor:
    """Responses (n, 2, T) of two shapes, one a hundred times the other's size, with noise, beside an input of one shape."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(T) / T
    shapes = torch.stack([torch.exp(-3 * t), 0.01 * torch.sin(6.3 * t)])
    x = torch.zeros(n, 2, T)
    x[:, 0] = 2 + torch.randn(n, 2, generator=generator) @ shapes + 1e-4 * torch.randn(n, T, generator=generator)
    x[:, 1] = torch.randn(n, 1, generator=generator) * t
    return x


def test_components_have_unit_size_and_no_correlation() -> None:
    """Of 4,000 rows the covariance of independent unit variables is off by less than 4 / sqrt(4000), in all but 1e-4 of entries."""
    made = TraceEncoder(2, T, components=2)
    assert not made.ready
    made.shown([steep(2000, 1), steep(2000, 2)])
    assert made.ready and made.projection is not None
    z = made.projection(steep(4000, 3))
    assert torch.allclose(torch.cov(z[:, 0].T), torch.eye(2), atol=2 * 4 / 4000**0.5)
    # the input has one shape: its second component is nothing, and is not blown up
    assert abs(z[:, 1, 0].std() - 1) < 0.1 and z[:, 1, 1].abs().max() < 0.1


def test_components_of_shorter_responses_and_of_missing_channels() -> None:
    made = TraceEncoder(2, T, hidden=8, components=2).eval()
    made.shown([steep(2000)])
    x = steep(5)
    padded = torch.nn.functional.pad(x[:, :, :40], (0, 35), value=torch.nan)
    assert torch.allclose(made(x[:, :, :40]), made(padded), atol=1e-6)
    x[:, 0] = torch.nan
    assert torch.isfinite(made(x)).all()


def test_components_from_incomplete_responses_are_those_of_complete_ones() -> None:
    """A fifth of the samples missing at random: the pairwise covariance is that of all, to sampling error."""
    whole, parts = TraceEncoder(2, T, components=1), TraceEncoder(2, T, components=1)
    x = steep(4000)
    holes = torch.rand(x.shape, generator=torch.Generator().manual_seed(5)) < 0.2
    whole.shown([x])
    parts.shown([x.masked_fill(holes, torch.nan)])
    assert whole.projection is not None and parts.projection is not None
    a, b = (made.projection.basis[0, :, 0] for made in (whole, parts))
    assert abs(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.99


def test_components_make_the_small_shape_as_easy_as_the_large_one() -> None:
    """A hundred and fifty steps read a shape that is a hundredth of the other; sample by sample most of it stays unknown."""
    sine = torch.sin(6.3 * torch.arange(T) / T)
    decay = torch.exp(-3 * torch.arange(T) / T)
    seen = sine - (sine @ decay) / (decay @ decay) * decay  # what of the small shape the large one cannot imitate

    def unexplained(components: int) -> float:
        torch.manual_seed(0)
        made = TraceEncoder(2, T, hidden=24, blocks=1, components=components).train()
        made.shown([steep(4000, 9)])
        head = torch.nn.Linear(made.features, 1)
        optimizer = torch.optim.Adam([*made.parameters(), *head.parameters()], 3e-3)
        for step in range(150):
            x = steep(128, seed=10 + step)
            optimizer.zero_grad()
            size = 100 * ((x[:, 0] - 2) @ seen) / (seen @ seen)
            (head(made(x))[:, 0] - size).square().mean().backward()
            optimizer.step()
        x = steep(1000)
        size = 100 * ((x[:, 0] - 2) @ seen) / (seen @ seen)
        with torch.inference_mode():
            return float((head(made.eval()(x))[:, 0] - size).square().mean() / size.var())

    assert unexplained(2) < 0.1 and unexplained(0) > 0.3

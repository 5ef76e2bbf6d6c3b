"""The network of the activity: its distribution, what must not change its answer, and that it learns."""

from __future__ import annotations

import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.networks import ActivityNetwork
from neuroinf.networks.activity_network import Activity, stabilised

GROUPS = torch.tensor([0, 0, 1])
SIZES = (100, 50)


def network() -> ActivityNetwork:
    torch.manual_seed(0)
    made = ActivityNetwork(SIZES, 4.0, widths=(8, 8))
    torch.nn.init.normal_(made.last.weight, std=0.1)
    return made.eval()


def recording(rows: int = 2, bins: int = 203) -> tuple[torch.Tensor, torch.Tensor]:
    return (torch.rand(rows, 3, bins) < 0.1).float(), torch.full((rows, 2, bins), torch.nan)


def test_any_number_of_bins_and_order_of_neurons() -> None:
    made, (units, inputs) = network(), recording()
    answer = made(units, inputs, GROUPS)
    assert answer.mean.shape == (2, 2, 203)
    order = torch.tensor([2, 1, 0])
    again = made(units[:, order], inputs, GROUPS[order])
    torch.testing.assert_close(again.mean, answer.mean, rtol=1e-4, atol=1e-4)


def test_absent_neurons_are_as_if_they_were_not_there() -> None:
    made, (units, inputs) = network(), recording()
    more = torch.cat([units, torch.full((2, 2, 203), torch.nan)], 1)
    answer = made(more, inputs, torch.tensor([0, 0, 1, 0, 1]))
    torch.testing.assert_close(answer.mean, made(units, inputs, GROUPS).mean, rtol=1e-4, atol=1e-4)


def test_quantiles_hold_their_probability() -> None:
    """Of 200,000 draws, the fraction below each quantile is right to 4 binomial standard errors, 0.0045."""
    scale = 1000 / (4.0 * torch.tensor([400.0]))
    activity = Activity(torch.full((1, 1, 1), 12.0), torch.full((1, 1, 1), 1.5), scale)
    y = 12.0 + 1.5 * torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    rate = (y.square() / 4 - 3 / 8).clamp(min=0) * scale
    for level in (0.05, 0.5, 0.95):
        assert float((rate < activity.quantile(level)).float().mean()) == pytest.approx(level, abs=0.0045)
    assert float(activity.rate) == pytest.approx(float(rate.mean()), rel=5e-3)


def test_stabilised_poisson_counts_have_variance_one() -> None:
    scale = 1000 / (4.0 * torch.tensor([400.0]))
    counts = torch.poisson(torch.full((1, 1, 100_000), 30.0), generator=torch.Generator().manual_seed(2))
    assert float(stabilised(counts * scale, scale).var()) == pytest.approx(1.0, abs=0.03)


def test_widening_is_of_each_population() -> None:
    made, (units, inputs) = network(), recording()
    before = made(units, inputs, GROUPS).sd
    made.widen(torch.tensor([0.0, 0.5]))
    wider = made(units, inputs, GROUPS).sd / before
    torch.testing.assert_close(wider[0, :, 0], torch.tensor([0.0, 0.5]).exp())


def test_training_lowers_the_loss_below_the_smoothed_trains() -> None:
    made, (units, inputs) = network().train(), recording(4)
    rates = torch.full((4, 2, 203), 40.0)
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = made(units, inputs, GROUPS).loss(rates).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1.0


@pytest.mark.parametrize(("key", "value"), [("stride", 1), ("kernel", 4), ("widths", ())])
def test_impossible_values_are_refused(key: str, value: object) -> None:
    arguments = {"sizes": SIZES, "dt": 4.0, key: value}
    with pytest.raises(InputError, match="activity"):
        ActivityNetwork(**arguments)  # pyright: ignore[reportArgumentType]

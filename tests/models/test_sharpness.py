"""Sharpness-aware minimisation: hand calculations, its base at rho = 0, schedulers, checkpoints and Lightning."""

import copy
import math
from collections.abc import Callable

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.models.sharpness import SharpnessAware
from neuroinf.networks.bilstm_autoencoder import BiLSTMAutoencoder


def quadratic(w: Tensor, h: Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    """L = w h w / 2, of gradient h w."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (h * w.square()).sum() / 2
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("adaptive", [False, True])
def test_step_by_hand(adaptive: bool) -> None:
    """L = (w1^2 + 4 w2^2) / 2 at (3, 1): g = (3, 4)."""
    h, w = torch.tensor([1.0, 4.0], dtype=torch.float64), nn.Parameter(torch.tensor([3.0, 1.0], dtype=torch.float64))
    optimizer = SharpnessAware(torch.optim.SGD([w], lr=0.1), rho=0.5, adaptive=adaptive)
    loss = optimizer.step(quadratic(w, h, optimizer))
    assert float(loss) == (9 + 4) / 2
    # |g| = 5; adaptive: w^2 g = (27, 4), |w| g = (9, 4), of norm sqrt(97)
    offset = (27 / math.sqrt(97), 4 / math.sqrt(97)) if adaptive else (3 / 5, 4 / 5)
    there = (3 + 0.5 * offset[0], 1 + 0.5 * offset[1])
    expected = torch.tensor([3 - 0.1 * there[0], 1 - 0.1 * 4 * there[1]], dtype=torch.float64)
    assert torch.allclose(w.detach(), expected, rtol=0, atol=1e-12)


def test_one_norm_over_all_parameters_and_groups() -> None:
    """The same as one vector with all parameters in it."""
    h = torch.tensor([1.0, 4.0, 2.0])
    whole = nn.Parameter(torch.tensor([3.0, 1.0, -2.0]))
    parts = [nn.Parameter(whole.detach()[k : k + 1].clone()) for k in range(3)]
    together = SharpnessAware(torch.optim.SGD([whole], lr=0.1), rho=0.5)
    apart = SharpnessAware(torch.optim.SGD([{"params": parts[:1]}, {"params": parts[1:]}], lr=0.1), rho=0.5)

    def closure() -> Tensor:
        apart.zero_grad()
        loss = (h * torch.cat(parts).square()).sum() / 2
        loss.backward()
        return loss

    for _ in range(3):
        together.step(quadratic(whole, h, together))
        apart.step(closure)
    assert torch.allclose(whole.detach(), torch.cat(parts).detach())


def test_manual_steps_are_those_of_the_closure() -> None:
    h, values = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0])
    one, two = nn.Parameter(values.clone()), nn.Parameter(values.clone())
    closed = SharpnessAware(torch.optim.Adam([one], lr=0.1), rho=0.5)
    manual = SharpnessAware(torch.optim.Adam([two], lr=0.1), rho=0.5)
    for _ in range(3):
        closed.step(quadratic(one, h, closed))
        evaluate = quadratic(two, h, manual)
        evaluate()
        manual.ascend()
        evaluate()
        manual.step()
    assert torch.equal(one, two)


def test_no_step_without_two_gradients() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SharpnessAware(torch.optim.SGD([w], lr=0.1))
    with pytest.raises(InputError, match="expected a closure, or ascend"):
        optimizer.step()
    w.square().sum().backward()
    optimizer.ascend()
    with pytest.raises(InputError, match="ascend\\(\\) twice"):
        optimizer.ascend()


def test_a_gradient_of_zero_moves_nothing() -> None:
    w = nn.Parameter(torch.zeros(2))
    optimizer = SharpnessAware(torch.optim.SGD([w], lr=0.1), rho=0.5)
    optimizer.step(quadratic(w, torch.ones(2), optimizer))
    assert torch.equal(w, torch.zeros(2))


@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_rho_of_zero_is_the_base(base: type[torch.optim.Optimizer]) -> None:
    """Of the study's network without dropout, to 1e-6 after 20 steps."""
    x = torch.randn(2, 15, 8, generator=torch.Generator().manual_seed(0))
    plain = BiLSTMAutoencoder(8, 3, dropout=0.0)
    sharp = BiLSTMAutoencoder(8, 3, dropout=0.0)
    sharp.load_state_dict(plain.state_dict())
    begun = {key: value.clone() for key, value in plain.state_dict().items()}
    for network, wrapped in ((plain, False), (sharp, True)):
        inner = base(network.parameters(), lr=1e-2)  # pyright: ignore[reportCallIssue]
        optimizer = SharpnessAware(inner, rho=0.0) if wrapped else inner

        def closure(network: BiLSTMAutoencoder = network, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (network(x) - x).square().mean()
            loss.backward()
            return loss

        for _ in range(20):
            optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, sharp.state_dict()[key], rtol=0, atol=1e-6)
        assert not torch.equal(value, begun[key])


def test_schedulers_and_checkpoints_reach_the_base() -> None:
    h, w = torch.tensor([1.0, 4.0]), nn.Parameter(torch.tensor([3.0, 1.0]))
    optimizer = SharpnessAware(torch.optim.Adam([w], lr=0.1), rho=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    for _ in range(3):
        optimizer.step(quadratic(w, h, optimizer))
        scheduler.step()
    assert optimizer.base.param_groups[0]["lr"] == 0.1 * 0.5**3

    again = nn.Parameter(w.detach().clone())
    other = SharpnessAware(torch.optim.Adam([again], lr=0.7), rho=0.1)
    other.load_state_dict(
        copy.deepcopy(optimizer.state_dict())
    )  # as from a file; in memory the tensors would be shared
    assert other.param_groups[0]["lr"] == other.base.param_groups[0]["lr"] == 0.1 * 0.5**3
    optimizer.step(quadratic(w, h, optimizer))
    other.step(quadratic(again, h, other))
    assert torch.allclose(w.detach(), again.detach(), rtol=1e-6)


class Reconstruction(L.LightningModule):
    def __init__(self, rho: float, manual: bool) -> None:
        super().__init__()
        self.network = BiLSTMAutoencoder(6, 2, dropout=0.0)
        self.rho, self.automatic_optimization = rho, not manual

    def configure_optimizers(self) -> SharpnessAware:
        return SharpnessAware(torch.optim.Adam(self.parameters(), lr=1e-2), self.rho)

    def training_step(self, batch: tuple[Tensor], index: int) -> Tensor:
        (x,) = batch
        loss = (self.network(x) - x).square().mean()
        if not self.automatic_optimization:
            optimizer = self.optimizers().optimizer  # pyright: ignore[reportAttributeAccessIssue]
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.ascend()
            self.manual_backward((self.network(x) - x).square().mean())
            optimizer.step()
        return loss


def test_lightning_automatic_and_manual() -> None:
    """Both ways of Lightning give the weights of the plain loop."""
    x = torch.randn(4, 12, 6, generator=torch.Generator().manual_seed(1))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=4)
    first = Reconstruction(0.05, manual=False)
    begun = {key: value.clone() for key, value in first.state_dict().items()}
    ends = []
    for manual in (False, True):
        module = Reconstruction(0.05, manual)
        module.load_state_dict(begun)
        trainer = L.Trainer(
            max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, barebones=False,
        )  # fmt: skip
        trainer.fit(module, loader)
        ends.append(module.state_dict())
    plain = Reconstruction(0.05, manual=False)
    plain.load_state_dict(begun)
    optimizer = plain.configure_optimizers()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (plain.network(x) - x).square().mean()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    for key, value in plain.state_dict().items():
        assert all(torch.allclose(value, end[key], rtol=0, atol=1e-6) for end in ends), key
        assert not torch.equal(value, begun[key])


@pytest.mark.parametrize("rho", [-0.1, math.nan, math.inf])
def test_refused_rho(rho: float) -> None:
    with pytest.raises(InputError, match="expected rho of at least 0"):
        SharpnessAware(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), rho)

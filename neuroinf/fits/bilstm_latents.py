"""The manifold study's autoencoder fitted to one population, answering as every model of latents does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.models.sharpness import SharpnessAware
from neuroinf.networks.bilstm_autoencoder import BiLSTMAutoencoder, FeedbackAutoencoder

Network = BiLSTMAutoencoder | FeedbackAutoencoder

# of the windows in which something is hidden, those in which it is whole neurons
WHOLE_NEURONS = 0.5


@dataclass(frozen=True)
class BiLSTMTraining:
    """How the study's network is trained; the defaults suit tens of neurons and thousands of bins.

    Attributes:
        iterations: Steps.
        lr: Of Adam, at the start; it falls to 0 along half a cosine.
        weight_decay: Of Adam.
        rho: Of sharpness-aware minimisation; None: Adam alone, as in the study's sweeps.
        hidden: Share of the entries that the encoder does not see, and which alone are scored; 0: as in the study, all are seen
            and all are scored.
        window: Bins of a window; None: whole sequences.
        batch: Windows in a step; None: all.
        dropout: Before the perceptron's last layer.
        layers: Of the LSTM.
        feedback: The study's second network.
        seed: Of weights, masks and batches.

    Raises:
        InputError: if a number is out of its range.
    """

    iterations: int = 1000
    lr: float = 1e-2
    weight_decay: float = 0.0
    rho: float | None = None
    hidden: float = 0.0
    window: int | None = None
    batch: int | None = None
    dropout: float = 0.25
    layers: int = 1
    feedback: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fine, wanted in (
            ("iterations", self.iterations >= 1, "at least 1"),
            ("lr", self.lr > 0, "a positive number"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("hidden", 0 <= self.hidden < 1, "a share in [0, 1)"),
            ("window", self.window is None or self.window >= 2, "at least 2 bins"),
            ("batch", self.batch is None or self.batch >= 1, "at least 1 window"),
            ("layers", self.layers == 1 or not self.feedback, "1 for the network with feedback"),
        ):
            if not fine:
                raise InputError(f"bilstm.{name}: expected {wanted}, found {getattr(self, name)}")

    def network(self, neurons: int, factors: int) -> Network:
        """The network, with weights drawn by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # torch draws initial weights from its own generator alone
            network: Network = (
                FeedbackAutoencoder(neurons, factors, self.dropout)
                if self.feedback
                else BiLSTMAutoencoder(neurons, factors, self.layers, self.dropout)
            )
            _unsaturate(network)
        return network


@dataclass(frozen=True)
class BiLSTMLatents:
    """The study's network as a model of latents.

    It has neither a noise model nor dynamics: the latents' standard deviations are nan, and forecasts are those of a linear
    regression of each bin's latents on the last bin's.

    Attributes:
        network: Trained.
        transition: A (D, D) of the regression.
        drift: b (D,) of the regression.
        losses: Mean squared error of each training step.
    """

    network: Network
    transition: NDArray[np.float64]
    drift: NDArray[np.float64]
    losses: tuple[float, ...] = field(default=(), repr=False)

    @property
    def dimension(self) -> int:
        """D."""
        return self.network.factors

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """Latents and reconstruction of one sequence (T, K); entries that are not observed are not read."""
        x, seen = sequence_and_mask(activity, observed, self.network.neurons)
        mask = None if seen.all() else torch.tensor(seen)[None]
        with torch.no_grad():
            factors = self.network.encode(torch.from_numpy(x.astype(np.float32))[None], mask)[0]
            rates = self.network.decode(factors)
        return LatentEstimate(factors.numpy(), np.full(factors.shape, np.nan, np.float32), rates.numpy())

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """Mean latents (n, steps, D) after each of n states (n, D), by the linear regression."""
        state, found = np.asarray(factors, np.float64), []
        for _ in range(steps):
            state = state @ self.transition.T + self.drift
            found.append(state)
        return np.stack(found, 1).astype(np.float32)

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """W q + c (..., K)."""
        with torch.no_grad():
            return self.network.decode(torch.as_tensor(np.asarray(factors, np.float32))).numpy()


def fit_bilstm(data: PopulationData, dimension: int, training: BiLSTMTraining | None = None) -> BiLSTMLatents:
    """Train the study's network on a population's activity by the squared error.

    Args:
        data: To learn from.
        dimension: D.
        training: How; None: the defaults.

    Raises:
        InputError: if windows are longer than a sequence.
    """
    how = BiLSTMTraining() if training is None else training
    network = how.network(data.neurons, dimension)
    with torch.no_grad():
        # to begin as the predictor of the mean
        network.fc.bias.copy_(torch.from_numpy(data.mean))
    network.train()
    optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), how.lr, weight_decay=how.weight_decay)
    if how.rho is not None:
        optimizer = SharpnessAware(optimizer, how.rho)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.iterations)
    generator = torch.Generator().manual_seed(how.seed)
    cut = windows(data, how.window)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)  # of dropout
        for _ in range(how.iterations):
            x, padding = _batch(cut, how.batch, generator)
            hidden = hide(x, how.hidden, generator) if how.hidden else None

            def closure(x: Tensor = x, padding: Tensor = padding, hidden: Tensor | None = hidden) -> Tensor:
                optimizer.zero_grad()
                # a backward LSTM reads what fills up a shorter sequence first: it must not be there to read
                unseen = padding if hidden is None else hidden | padding
                observed = ~unseen if unseen.any() else None
                scored = ~padding if hidden is None else hidden & ~padding
                loss = masked_error(network(x, observed), x, scored)
                loss.backward()
                return loss

            loss: Any = optimizer.step(closure)  # pyright: ignore[reportArgumentType]
            schedule.step()
            losses.append(loss.item())
    network.eval()
    model = BiLSTMLatents(network, np.eye(dimension), np.zeros(dimension), tuple(losses))
    return BiLSTMLatents(network, *_regression([model.infer(x).factors for x in data.activity]), tuple(losses))


def _unsaturate(network: Network) -> None:
    """Make the first LSTM's input weights of the size that K inputs need.

    torch draws them by the number of states, D: with 1,131 inputs of variance 1 and 8 states the gates would begin at +-7, where
    their gradient is nearly 0.
    """
    with torch.no_grad():
        for name, weights in network.rnn.named_parameters():
            if name.startswith("weight_ih_l0"):
                weights.mul_(min(1.0, (network.factors / network.neurons) ** 0.5))


def windows(data: PopulationData, length: int | None) -> list[Tensor]:
    """Windows (W, K) of equal length that cover every sequence, the last of each ending with it; or the sequences."""
    if length is None:
        return [torch.from_numpy(x) for x in data.activity]
    shortest = min(len(x) for x in data.activity)
    if length > shortest:
        raise InputError(
            f"bilstm.window: expected at most the {shortest} bins of the shortest sequence, found {length}"
        )
    found = []
    for x in data.activity:
        starts = sorted({*range(0, len(x) - length + 1, length), len(x) - length})
        found.extend(torch.from_numpy(x[start : start + length]) for start in starts)
    return found


def hide(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Which entries (B, T, K) to hide: single ones in some windows, all bins of some neurons in the others."""
    entries = torch.rand(x.shape, generator=generator) < share
    neurons = torch.rand((len(x), 1, x.shape[2]), generator=generator) < share
    whole = torch.rand((len(x), 1, 1), generator=generator) < WHOLE_NEURONS
    return torch.where(whole, neurons, entries)


def masked_error(predicted: Tensor, x: Tensor, scored: Tensor) -> Tensor:
    """Mean squared error over the scored entries."""
    return torch.where(scored, predicted - x, 0.0).square().sum() / scored.sum().clamp_min(1)


def _batch(cut: list[Tensor], batch: int | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Windows side by side (B, T, K), and which entries only fill up the shorter ones."""
    chosen = cut
    if batch is not None and batch < len(cut):
        chosen = [cut[i] for i in torch.randperm(len(cut), generator=generator)[:batch].tolist()]
    x = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
    lengths = torch.tensor([len(part) for part in chosen])
    padding = torch.arange(x.shape[1])[None, :, None] >= lengths[:, None, None]
    return x, padding.expand(x.shape)


def _regression(factors: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A and b of the least-squares regression of latents on those a bin before."""
    before = np.concatenate([x[:-1] for x in factors]).astype(np.float64)
    after = np.concatenate([x[1:] for x in factors]).astype(np.float64)
    design = np.column_stack([before, np.ones(len(before))])
    solution = np.linalg.lstsq(design, after, rcond=None)[0]
    return solution[:-1].T, solution[-1]

"""The manifold study's autoencoder fitted to one population, answering as every model of latents does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.datasets.population_module import tensors
from neuroinf.datasets.populations import Kind, PopulationData
from neuroinf.errors import InputError, expect
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.fits.session_of import session_of
from neuroinf.models.bilstm import BiLSTMReconstruction, Network, bilstm, hide, masked_error
from neuroinf.models.sharpness import SharpnessAware

AnyBiLSTM = TypeVar("AnyBiLSTM", bound="BiLSTMLatents")

LEAST_RATE = 0.01  # expected counts, of the neuron's mean


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
        expect(
            "bilstm.",
            ("iterations", self.iterations, self.iterations >= 1, "at least 1"),
            ("lr", self.lr, self.lr > 0, "a positive number"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0"),
            ("hidden", self.hidden, 0 <= self.hidden < 1, "a share in [0, 1)"),
            ("window", self.window, self.window is None or self.window >= 2, "at least 2 bins"),
            ("batch", self.batch, self.batch is None or self.batch >= 1, "at least 1 window"),
            ("layers", self.layers, self.layers == 1 or not self.feedback, "1 for the network with feedback"),
        )

    def network(self, neurons: int, factors: int) -> Network:
        """The network, with weights drawn by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # torch draws initial weights from its own generator alone
            return bilstm(neurons, factors, self.feedback, self.layers, self.dropout)


@dataclass(frozen=True)
class BiLSTMLatents:
    """The study's network as a model of latents.

    It has neither a noise model nor dynamics: the latents' standard deviations are nan, and forecasts are those of a linear
    regression of each bin's latents on the last bin's.

    Expected counts are at least a hundredth of the neuron's mean: the squared error does not know that there are none below 0.

    Attributes:
        network: Trained.
        transition: A (D, D) of the regression.
        drift: b (D,) of the regression.
        dt: Bin of its training data, ms.
        sessions: Names of the neurons, in order: of one session.
        kind: Of the activity.
        mean: Of each neuron in training (K,).
        units: Where 0 is and what 1 is for the network, of each neuron (2, K).
        losses: Mean squared error of each training step.
    """

    network: Network
    transition: NDArray[np.float64]
    drift: NDArray[np.float64]
    dt: float
    sessions: tuple[tuple[str, ...], ...]
    kind: Kind
    mean: NDArray[np.float64] = field(repr=False)
    units: Matrix = field(repr=False)
    losses: tuple[float, ...] = field(default=(), repr=False)

    @property
    def dimension(self) -> int:
        """D."""
        return self.network.factors

    @property
    def neurons(self) -> int:
        """K."""
        return self.network.neurons

    def of(self: AnyBiLSTM, data: PopulationData) -> AnyBiLSTM:
        """The same model, if a recording is of its neurons.

        Raises:
            InputError: if neurons, kind or bins are not those of the training.
        """
        session_of(data, self.sessions, self.kind, self.dt)
        return self

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """Latents and reconstruction of one sequence (T, K); entries that are not observed are not read.

        Raises:
            InputError: if the shapes are not those of the network's neurons, or an observed entry is not finite.
        """
        x, seen = sequence_and_mask(activity, observed, self.network.neurons)
        mask = None if seen.all() else torch.tensor(seen)[None]
        scores = (x.astype(np.float32) - self.units[0]) / self.units[1]
        with torch.no_grad():
            factors = self.network.encode(torch.from_numpy(scores)[None], mask)[0].numpy()
        return LatentEstimate(factors, np.full(factors.shape, np.nan, np.float32), self.rates_of(factors))

    def infer_population(self, data: PopulationData) -> list[LatentEstimate]:
        """Of each sequence of a new recording of the same neurons.

        Raises:
            InputError: as :meth:`of`.
        """
        return [self.of(data).infer(x) for x in data.activity]

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """Mean latents (n, steps, D) after each of n states (n, D), by the linear regression."""
        state, found = np.asarray(factors, np.float64), []
        for _ in range(steps):
            state = state @ self.transition.T + self.drift
            found.append(state)
        return np.stack(found, 1).astype(np.float32)

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """W q + c (..., K), in the activity's own unit."""
        with torch.no_grad():
            found = self.network.decode(torch.as_tensor(np.asarray(factors, np.float32))).numpy()
        rates = self.units[0] + self.units[1] * found
        return rates if self.kind == "trace" else np.maximum(rates, (LEAST_RATE * self.mean).astype(np.float32))


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
    units = np.stack([np.zeros(data.neurons), np.ones(data.neurons)]).astype(np.float32)
    return _latents(network.eval(), data, units, tuple(losses))


def finished_bilstm(model: BiLSTMReconstruction, sessions: Sequence[PopulationData], seed: int) -> BiLSTMLatents:
    """Leave the regression of its latents in a trained model, and hand out its network; nothing is drawn by the seed."""
    model.cpu().eval()
    found = _latents(model.network, sessions[0], torch.stack([model.mean, model.scale]).numpy(), ())
    model.transition.copy_(torch.from_numpy(found.transition))
    model.drift.copy_(torch.from_numpy(found.drift))
    return found


def _latents(network: Network, data: PopulationData, units: Matrix, losses: tuple[float, ...]) -> BiLSTMLatents:
    size = network.factors
    model = BiLSTMLatents(
        network, np.eye(size), np.zeros(size), data.dt, (data.names,), data.kind, data.mean, units, losses
    )
    transition, drift = _regression([model.infer(x).factors for x in data.activity])
    return replace(model, transition=transition, drift=drift)


def windows(data: PopulationData, length: int | None) -> list[Tensor]:
    """Windows (W, K) of equal length that cover every sequence, the last of each ending with it; or the sequences."""
    if length is None:
        return tensors(data)
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

r"""How many latents a population has: models of every dimension scored on activity that was hidden from them.

Reconstruction cannot choose: a model with more latents copies more of the noise it sees. Hidden are the neurons of one fold
of four in all held-out time ("neurons"), or random entries of it ("entries"); whatever is scored, the model saw other neurons in
the same bins, and learnt from other time. Scores are per block of held-out time: for traces

.. math:: s_b = 1 - \frac{\sum_{t \in b, k} (x_{tk} - \hat x_{tk})^2}{\tfrac{1}{B} \sum_{t, k} (x_{tk} - \bar x_k)^2}

and for counts bits per spike, both against the training's mean of each neuron; the denominator is one for all blocks, so that the
mean over blocks is the score of the whole.

The rule: the smallest dimension whose score is within one standard error of the best. The standard error is that of the
*difference* from the best over blocks. Blocks differ in how much there is to explain, and all dimensions share that: an unpaired
standard error measures the blocks, not the doubt about the dimension, and grows with the variability of the signal.

A latent that adds less than 0.5 % of the best score is not counted either, however sure the difference is. A network that
smooths over time keeps gaining parts in a thousand from latents beyond the population's, which serve it as memory. The price:
a latent that does carry less than that is not found.

Source:
    Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees, section 3.4.3 (the rule).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.evaluation.latents import LEAST_RATE, poisson_gain
from neuroinf.fits.latent_model import LatentFit, LatentModel

FloatArray = NDArray[np.float64]

FOLDS, BLOCKS, HIDDEN = 4, 10, 0.25
RESAMPLES = 1000
MARGIN = 0.005  # of the best score


@dataclass(frozen=True)
class DimensionScore:
    """What one fitted model scores on held-out time.

    Attributes:
        dimension: D.
        neurons: With a fold of neurons hidden, per block.
        entries: With random entries hidden, per block.
        reconstruction: Explained variance of activity that is all seen, per block: it misleads.
        rates: The same of the noise-free rates, where they are known.
    """

    dimension: int
    neurons: tuple[float, ...]
    entries: tuple[float, ...]
    reconstruction: tuple[float, ...]
    rates: tuple[float, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Of plain types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DimensionScore:
        """From :meth:`to_dict`."""
        neurons, entries, seen = (tuple(content[key]) for key in ("neurons", "entries", "reconstruction"))
        rates = content["rates"]
        return cls(content["dimension"], neurons, entries, seen, None if rates is None else tuple(rates))


def score_dimension(
    model: LatentModel,
    mean: NDArray[Any],
    test: PopulationData,
    *,
    folds: int = FOLDS,
    blocks: int = BLOCKS,
    hidden: float = HIDDEN,
    seed: int = 0,
) -> DimensionScore:
    """One model's scores.

    Args:
        model: It.
        mean: Mean activity of each neuron in training (K,).
        test: Held-out time of the same neurons.
        folds: Of neurons; a fold has every `folds`-th neuron of each group, so that no group is hidden as a whole.
        blocks: Of the held-out time.
        hidden: Share of entries.
        seed: Of which entries.

    Raises:
        InputError: if there are fewer neurons than folds or fewer bins than blocks.
    """
    if not 2 <= folds <= test.neurons or not 2 <= blocks <= test.bins or not 0 < hidden < 1:
        raise InputError(
            f"{test.name}: expected 2 to {test.neurons} folds of neurons, 2 to {test.bins} blocks of time and a hidden "
            f"share between 0 and 1, found {folds}, {blocks} and {hidden}"
        )
    rng = np.random.default_rng(seed)
    fold = _folds(test.group, folds)
    apart, mixed, seen, masks = [], [], [], []
    for x in test.activity:
        rates = np.empty(x.shape, np.float32)
        for f in range(folds):
            rates[:, fold == f] = model.infer(x, np.broadcast_to(fold != f, x.shape)).rates[:, fold == f]
        apart.append(rates)
        masks.append(rng.random(x.shape) < hidden)
        mixed.append(model.infer(x, ~masks[-1]).rates)
        seen.append(model.infer(x).rates)
    x, every = np.concatenate(test.activity), np.ones((test.bins, test.neurons), bool)
    whole = np.concatenate(seen)
    return DimensionScore(
        model.dimension,
        _block_scores(x, np.concatenate(apart), mean, every, test.kind, blocks),
        _block_scores(x, np.concatenate(mixed), mean, np.concatenate(masks), test.kind, blocks),
        _block_scores(x, whole, mean, every, "trace", blocks),
        None if test.rates is None else _block_scores(np.concatenate(test.rates), whole, mean, every, "trace", blocks),
    )


def score_dimensions(
    fit: LatentFit,
    train: PopulationData,
    test: PopulationData,
    dimensions: Sequence[int],
    on_each: Callable[[DimensionScore], None] = lambda score: None,
) -> list[DimensionScore]:
    """Fit and score every dimension; `on_each` is called after each."""
    found = []
    for d in sorted(set(dimensions)):
        found.append(score_dimension(fit(train, d), train.mean, test))
        on_each(found[-1])
    return found


@dataclass(frozen=True)
class Choice:
    """The rule's choice.

    Attributes:
        dimension: The smallest within one standard error, or the margin, of the best.
        best: The dimension of the highest score.
        error: Standard error that each dimension's deficit was held against.
        deficit: Best score minus each dimension's.
    """

    dimension: int
    best: int
    error: tuple[float, ...]
    deficit: tuple[float, ...]


def choose(
    dimensions: Sequence[int],
    scores: NDArray[Any] | Sequence[Sequence[float]],
    paired: bool = True,
    margin: float = MARGIN,
) -> Choice:
    """The one-standard-error rule on scores (dimensions, blocks).

    Args:
        dimensions: Ascending.
        scores: Higher is better.
        paired: Standard error of the difference from the best over blocks; else of the best's own score.
        margin: Part of the best score that is not worth a latent.

    Raises:
        InputError: if the shapes differ or a score is not finite.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or len(values) != len(dimensions) or values.shape[1] < 2 or not np.isfinite(values).all():
        raise InputError(
            f"scores: expected finite ones for {len(dimensions)} dimensions in at least 2 blocks, found shape {values.shape}"
        )
    best = int(values.mean(1).argmax())
    difference = values[best] - values
    spread = difference if paired else np.broadcast_to(values[best], values.shape)
    error = spread.std(1, ddof=1) / np.sqrt(values.shape[1])
    deficit = difference.mean(1)
    within = deficit <= np.maximum(error, margin * max(float(values[best].mean()), 0.0))
    within[best] = True
    return Choice(
        int(dimensions[int(within.argmax())]),
        int(dimensions[best]),
        tuple(map(float, error)),
        tuple(map(float, deficit)),
    )


def choice_interval(
    dimensions: Sequence[int], scores: NDArray[Any] | Sequence[Sequence[float]], rng: np.random.Generator
) -> tuple[int, int]:
    """5 and 95 % quantiles of the rule's choice over resampled blocks.

    Args:
        dimensions: Ascending.
        scores: (dimensions, blocks).
        rng: Of the blocks drawn.
    """
    values = np.asarray(scores, np.float64)
    blocks = values.shape[1]
    again = [choose(dimensions, values[:, rng.integers(0, blocks, blocks)]).dimension for _ in range(RESAMPLES)]
    low, high = np.quantile(again, [0.05, 0.95], method="nearest")
    return int(low), int(high)


def _folds(group: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    fold = np.empty(len(group), np.int64)
    fold[np.argsort(group, kind="stable")] = np.arange(len(group)) % folds
    return fold


def _block_scores(
    x: NDArray[np.float32],
    rates: NDArray[np.float32],
    mean: NDArray[Any],
    scored: NDArray[np.bool_],
    kind: str,
    blocks: int,
) -> tuple[float, ...]:
    if kind == "counts":
        gain = poisson_gain(x.astype(np.float64), rates, mean)
        worth = np.log(2) * np.where(scored, x, 0).sum(1, dtype=np.float64)
    else:
        deviation = (x.astype(np.float64) - mean) ** 2
        gain = deviation - (x.astype(np.float64) - rates) ** 2
        worth = np.where(scored, deviation, 0).sum(1)
    gained = np.where(scored, gain, 0).sum(1)
    # blocks of equal length but for a bin: their mean is the score of the whole
    scale = max(float(worth.mean()), LEAST_RATE)
    return tuple(float(part.mean() / scale) for part in np.array_split(gained, blocks))

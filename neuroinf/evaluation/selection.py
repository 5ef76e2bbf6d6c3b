"""How good and how honest the probabilities of candidates are: accuracy, confusions, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.figures import BASELINE

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, in bins of equal numbers of rows.

    Attributes:
        confidence: Mean probability of the candidate chosen (b,).
        accuracy: Part of rows on which it was right (b,).
        number: Rows in each bin (b,).
    """

    confidence: Floats
    accuracy: Floats
    number: Labels

    @property
    def error(self) -> float:
        r"""Expected calibration error :math:`\sum_b n_b |a_b - c_b| / n`."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.number))


@dataclass(frozen=True)
class Selection:
    """Scores of probabilities (n, K) of rows whose candidate is known (n,).

    Args:
        names: Of the K candidates.
        probabilities: (n, K), rows sum to 1.
        made: Which candidate made each row.

    Raises:
        InputError: if shapes do not fit, or a row's probabilities do not sum to 1.
    """

    names: Sequence[str]
    probabilities: Floats
    made: Labels

    def __post_init__(self) -> None:
        p = self.probabilities
        if p.shape != (len(self.made), len(self.names)) or not len(p):
            raise InputError(
                f"selection: expected ({len(self.made)}, {len(self.names)}) probabilities, found {p.shape}"
            )
        off = ~(np.abs(p.sum(axis=1) - 1) < 1e-4)
        if off.any():
            row = int(np.argmax(off))
            raise InputError(f"selection: probabilities must sum to 1, found {p[row].sum():g} in row {row}")

    @property
    def chosen(self) -> Labels:
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        return float((self.chosen == self.made).mean())

    @property
    def standard_error(self) -> float:
        """Of the accuracy."""
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / len(self.made)))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats."""
        return float(-np.log(self.probabilities[np.arange(len(self.made)), self.made].clip(1e-12)).mean())

    @property
    def confusion(self) -> Labels:
        """Rows (K, K): made by i, taken for j."""
        found = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(found, (self.made, self.chosen), 1)
        return found

    @property
    def reliability(self) -> Reliability:
        """Of the candidate chosen."""
        confidence = self.probabilities.max(axis=1)
        right = self.chosen == self.made
        parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), BINS) if len(part)]
        return Reliability(
            np.array([confidence[part].mean() for part in parts]),
            np.array([right[part].mean() for part in parts]),
            np.array([len(part) for part in parts]),
        )

    def table(self) -> str:
        """Confusion matrix as text."""
        wide = max(9, *(len(name) for name in self.names))
        lines = [
            " " * (wide + 9) + "taken for",
            " ".join(f"{name:>{wide}}" for name in ("made by", *self.names, "right")),
        ]
        for name, row in zip(self.names, self.confusion, strict=True):
            right = row[list(self.names).index(name)] / max(1, row.sum())
            lines.append(" ".join(f"{value:>{wide}}" for value in (name, *row, f"{right:.3f}")))
        return "\n".join(lines)

    def summary(self) -> str:
        """Accuracy, loss and calibration, each beside what knowing nothing gives."""
        number = len(self.names)
        return "\n".join(
            [
                f"{len(self.made):,} neurons: accuracy {self.accuracy:.3f} +- {self.standard_error:.3f} "
                f"(even chances {1 / number:.3f})",
                f"cross-entropy {self.loss:.3f} nats (even chances {np.log(number):.3f})",
                f"expected calibration error {self.reliability.error:.3f}",
            ]
        )

    def figure(self, title: str) -> Figure:
        """Confusion matrix beside the reliability diagram."""
        figure = Figure(figsize=(8.4, 3.6), dpi=120, layout="constrained")
        left, right = figure.subplots(1, 2)
        share = self.confusion / self.confusion.sum(axis=1, keepdims=True).clip(1)
        left.imshow(share, cmap="Greys", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(share):
            left.text(
                j, i, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if value > 0.5 else "black"
            )
        left.set_xticks(range(len(self.names)), self.names, fontsize=8)
        left.set_yticks(range(len(self.names)), self.names, fontsize=8)
        left.set(xlabel="taken for", ylabel="made by", title=f"{title}\naccuracy {self.accuracy:.3f}")
        found = self.reliability
        # twice the standard error of a bin's part that is right
        band = 2 * np.sqrt(found.confidence * (1 - found.confidence) / found.number)
        right.plot([0, 1], [0, 1], **BASELINE, label="honest")
        right.errorbar(
            found.confidence, found.accuracy, band, fmt="o", color="black", markersize=4, capsize=2, label="network"
        )
        chance = 1 / len(self.names)
        right.axhline(chance, color="0.7", linestyle=":", label="chance")
        right.set(xlabel="probability of the candidate chosen", ylabel="part that is right", ylim=(0, 1.03))
        right.set(xlim=(min(chance, found.confidence.min()) - 0.03, 1.03))
        right.set_title(f"expected calibration error {found.error:.3f},\n{len(self.made):,} held-out rows", fontsize=10)
        right.legend(frameon=False, fontsize=8, loc="upper left")
        for side in ("top", "right"):
            right.spines[side].set_visible(False)
        return figure

"""How well are a GLM neuron's next bins predicted? Bins after the observed stretch, whose hidden inputs nobody has seen.

The hidden inputs of the predicted bins are drawn anew from their law, or integrated out: no hidden state of the observed
stretch, true or inferred, is carried over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.metrics import PREDICTIVE
from neuroinf.fits.glm_design import design
from neuroinf.fits.glm_likelihood import (
    GLMLikelihood,
    HiddenLaw,
    averaged,
    bits_per_bin,
    bits_per_spike,
    constant_rate,
)
from neuroinf.fits.hidden_law import moments
from neuroinf.simulators import GLM

FloatArray = NDArray[np.float64]
# posterior samples that a prediction is averaged over
SAMPLES = 50
# neurons predicted together
_TOGETHER = 16


@dataclass(frozen=True)
class Continued:
    """n neurons observed for T bins, and the bins after that.

    Args:
        simulator: What they are.
        laws: Of each one's hidden inputs.
        x: Observed inputs of all bins (n, I, T + M).
        y: Rates or counts (n, T + M).
        seen: T.
        dt: Bin, ms.
    """

    simulator: GLM
    laws: Sequence[HiddenLaw]
    x: FloatArray
    y: FloatArray
    seen: int
    dt: float

    def scores(self, theta: FloatArray) -> dict[str, FloatArray]:
        """Scores (n,) of parameters (n, S, P), in the simulator's order, averaged over the S; nan rows have none.

        For counts `held_out_bits_per_bin`, the mean log2-probability of a bin, and `held_out_bits_per_spike`, the gain over
        the observed stretch's constant rate. For rates `held_out_rmse`, of the rate expected with the hidden inputs at their
        mean; it is not 0 for the true parameters.
        """
        keys = (
            ("held_out_rmse",)
            if self.simulator.output == "rate"
            else ("held_out_bits_per_bin", "held_out_bits_per_spike")
        )
        found = {key: np.full(len(self.y), math.nan) for key in keys}
        known = np.flatnonzero(np.isfinite(theta).all(axis=(1, 2)))
        for rows in np.array_split(known, -(-len(known) // _TOGETHER)) if len(known) else []:
            for key, values in self._some(rows, theta[rows]).items():
                found[key][rows] = values
        return found

    def constant(self) -> dict[str, FloatArray]:
        """As :meth:`scores`, of a rate that is the observed stretch's mean."""
        train, test = torch.from_numpy(self.y[:, : self.seen]), torch.from_numpy(self.y[:, self.seen :])
        if self.simulator.output == "rate":
            return {"held_out_rmse": (test - train.mean(1, keepdim=True)).square().mean(1).sqrt().numpy()}
        log = constant_rate(train, test, self.simulator.output)
        return {
            "held_out_bits_per_bin": bits_per_bin(log, test).numpy(),
            "held_out_bits_per_spike": bits_per_spike(log, log, test).numpy(),
        }

    def _some(self, rows: NDArray[np.int64], theta: FloatArray) -> dict[str, FloatArray]:
        matrix = torch.from_numpy(design(self.simulator, self.x[rows], self.y[rows], self.dt)[..., self.seen :])
        y, point = torch.from_numpy(self.y[rows]), torch.from_numpy(theta)
        test = y[:, self.seen :]
        if self.simulator.output == "rate":
            laws = [self.laws[row] for row in rows]
            return {"held_out_rmse": (self._expected(point, matrix, laws) - test).square().mean(1).sqrt().numpy()}
        log = torch.cat([
            averaged(
                GLMLikelihood(self.simulator.output, self.simulator.nonlinearity, self.laws[row]).log_prob(
                    point[i, None], matrix[i, None], test[i, None]
                )
            )
            for i, row in enumerate(rows)
        ])  # fmt: skip
        constant = constant_rate(y[:, : self.seen], test, self.simulator.output)
        return {
            "held_out_bits_per_bin": bits_per_bin(log, test).numpy(),
            "held_out_bits_per_spike": bits_per_spike(log, constant, test).numpy(),
        }

    def expected(self, theta: FloatArray) -> FloatArray:
        """Rate (n, T + M) of parameters (n, S, P) with the hidden inputs at their mean, averaged over the S."""
        matrix = torch.from_numpy(design(self.simulator, self.x, self.y, self.dt))
        return self._expected(torch.from_numpy(theta), matrix, self.laws).numpy()

    def _expected(self, theta: torch.Tensor, matrix: torch.Tensor, laws: Sequence[HiddenLaw]) -> torch.Tensor:
        d = matrix.shape[1]
        mean = torch.tensor([moments(law)[0] for law in laws], dtype=torch.float64)
        eta = theta[..., :d] @ matrix + mean[:, None, None] * theta[..., d:].sum(-1, keepdim=True)
        return (torch.sigmoid(eta) if self.simulator.nonlinearity == "logistic" else eta.exp()).mean(1)


def predicted_bins(
    neurons: Continued, truth: FloatArray, answers: Sequence[Estimates], columns: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """The entry "predictive" of metrics.json: medians over neurons of :meth:`Continued.scores`, by method.

    Beside the methods stand `true_parameters`, which no method comes below but by chance, and `constant_rate`. A method may have
    answered fewer neurons than another: what it loses against the true parameters of the same neurons is `rmse_over_true`, the
    median ratio, or `bits_per_bin_below_true`, the median difference. Of counts, `amortized_above` is the mean over neurons of what
    the network's bits per bin are above the method's, with its standard error `amortized_above_se`.

    Args:
        neurons: n of them.
        truth: True parameters (n, P).
        answers: Not folded; of n or more neurons.
        columns: Columns of the parameters in the simulator's order.
    """
    n, order = len(neurons.y), list(columns)
    points = {"true_parameters": truth[:, None]}
    for answer in answers:
        points[answer.method] = answer.mean[:n, None] if answer.samples is None else answer.samples[:n, :SAMPLES]
    found = {method: neurons.scores(theta[..., order]) for method, theta in points.items()}
    found["constant_rate"] = neurons.constant()
    best = found["true_parameters"]
    entries: dict[str, dict[str, float | None]] = {}
    for method, scores in found.items():
        n_scored = int(np.isfinite(next(iter(scores.values()))).sum())
        if "held_out_rmse" in scores:
            loss = {"rmse_over_true": scores["held_out_rmse"] / best["held_out_rmse"]}
        else:
            loss = {"bits_per_bin_below_true": best["held_out_bits_per_bin"] - scores["held_out_bits_per_bin"]}
        medians = {key: _median(values) for key, values in (scores | loss).items()}
        entries[method] = {**dict.fromkeys(PREDICTIVE), **medians, **_above(found, method), "n": n_scored}
    return entries


def _above(found: dict[str, dict[str, FloatArray]], method: str) -> dict[str, float | None]:
    """Mean and standard error, over neurons, of how many bits the network is above a method; empty for rates."""
    if "amortized" not in found or "held_out_bits_per_bin" not in found[method]:
        return {}
    difference = found["amortized"]["held_out_bits_per_bin"] - found[method]["held_out_bits_per_bin"]
    known = difference[np.isfinite(difference)]
    keys = ("amortized_above", "amortized_above_se")
    if method == "amortized" or len(known) < 2:
        return dict.fromkeys(keys)
    return dict(zip(keys, (float(known.mean()), float(known.std(ddof=1) / math.sqrt(len(known)))), strict=True))


def _median(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None

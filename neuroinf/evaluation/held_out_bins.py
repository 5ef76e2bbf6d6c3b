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
        law: Of their hidden inputs.
        x: Observed inputs of all bins (n, I, T + M).
        y: Rates or counts (n, T + M).
        seen: T.
        dt: Bin, ms.
    """

    simulator: GLM
    law: HiddenLaw
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
            return {"held_out_rmse": (self._expected(point, matrix) - test).square().mean(1).sqrt().numpy()}
        likelihood = GLMLikelihood(self.simulator.output, self.simulator.nonlinearity, self.law)
        log = averaged(likelihood.log_prob(point, matrix, test))
        constant = constant_rate(y[:, : self.seen], test, self.simulator.output)
        return {
            "held_out_bits_per_bin": bits_per_bin(log, test).numpy(),
            "held_out_bits_per_spike": bits_per_spike(log, constant, test).numpy(),
        }

    def expected(self, theta: FloatArray) -> FloatArray:
        """Rate (n, T + M) of parameters (n, S, P) with the hidden inputs at their mean, averaged over the S."""
        matrix = torch.from_numpy(design(self.simulator, self.x, self.y, self.dt))
        return self._expected(torch.from_numpy(theta), matrix).numpy()

    def _expected(self, theta: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        d = matrix.shape[1]
        mean = float((self.law.atoms * self.law.weights).sum())
        eta = theta[..., :d] @ matrix + mean * theta[..., d:].sum(-1, keepdim=True)
        return (torch.sigmoid(eta) if self.simulator.nonlinearity == "logistic" else eta.exp()).mean(1)


def predicted_bins(
    neurons: Continued, truth: FloatArray, answers: Sequence[Estimates], columns: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """The entry "predictive" of metrics.json: medians over neurons of :meth:`Continued.scores`, by method.

    Beside the methods stand `true_parameters`, which no method comes below but by chance, and `constant_rate`.

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
    return {method: {**dict.fromkeys(PREDICTIVE), **_medians(scores)} for method, scores in found.items()}


def _medians(scores: dict[str, FloatArray]) -> dict[str, float | None]:
    entry: dict[str, float | None] = {}
    for key, values in scores.items():
        known = values[np.isfinite(values)]
        entry[key] = float(np.median(known)) if len(known) else None
    first = next(iter(scores.values()))
    return entry | {"n": int(np.isfinite(first).sum())}

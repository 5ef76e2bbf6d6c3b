r"""Draws near a posterior's mode, weighted by the twin's own likelihood: where the Laplace approximation is not enough.

.. math:: w_s \propto \frac{L(z_s)\, \mathcal N(z_s; 0, I)}{q(z_s)}, \qquad n_e = \frac{(\sum_s w_s)^2}{\sum_s w_s^2}

The proposal q is a multivariate t about the mode; it is fitted to its own weighted draws, then a last set is drawn from
it, weighted and resampled. The noise and the threshold's width are those of the fit, the width at least 0.006 mV, so that
a parameter that spike times tell most about (asc_amp_1) keeps an interval that is somewhat too wide.

Source:
    Cappe, Guillin, Marin & Robert 2004, Population Monte Carlo, J. Comput. Graph. Stat. 13:907.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.fits.refinement import Observed, Refined, observed
from neuroinf.models.crossing_fit import WIDTHS, loss
from neuroinf.models.glif_likelihood import Layout
from neuroinf.models.glif_linearisation import linearise
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF

FloatArray = NDArray[np.float64]
ROUNDS = 1  # fits of the proposal before the last draw
DEGREES = 5  # of freedom: tails heavier than a normal posterior's
ENOUGH = 30  # effective draws: below, a weighted sample says less than the Laplace approximation
AT_ONCE = 10  # neurons


@dataclass(frozen=True)
class Resampled:
    """Posterior samples of B neurons.

    Attributes:
        z: :math:`(B, S, P)`; draws of the Laplace approximation where `effective` is below 30, nan without an answer.
        mean: Of the weighted draws, :math:`(B, P)` in z.
        effective: Effective number of the S draws, :math:`(B,)`; 0 where the threshold is wider than 0.4 mV, as it is
            of neurons that do not keep to the model.
    """

    z: FloatArray
    mean: FloatArray
    effective: FloatArray

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """Where so few draws had weight that the Laplace approximation stands in, :math:`(B,)`."""
        return np.isfinite(self.effective) & (self.effective < ENOUGH)


def resample(
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    refined: Refined,
    rng: np.random.Generator,
    samples: int = 200,
    dt: float = 0.1,
) -> Resampled:
    """Samples of each neuron's posterior by the twin's likelihood.

    Args:
        x: Observations, as for :func:`refinement.observed`.
        spikes: Spike times, likewise.
        simulator: The model, its spike cut fixed.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms.
        refined: The modes.
        rng: For the draws.
        samples: S.
        dt: Step of the simulation, ms.
    """
    data = observed(x, spikes, simulator, prior, observation_dt, dt)
    z, mean, effective = refined.sample(samples, rng), refined.z.copy(), np.full(len(x), np.nan)
    for rows in np.split(np.arange(len(data.index)), range(AT_ONCE, len(data.index), AT_ONCE)):
        into = data.index[rows]
        centre, covariance = refined.z[into], refined.covariance[into]
        layout = data.layout(rows)
        for _ in range(ROUNDS):
            drawn, weight, number, average = _weighted(data, layout, centre, covariance, refined, into, samples, rng)
            apart = drawn - average[:, None]
            fitted = np.einsum("bs,bsp,bsq->bpq", weight, apart, apart)
            # few draws have a covariance of few directions: as much of the last one is kept
            trust = (number / (number + ENOUGH))[:, None, None]
            covariance = trust * fitted + (1 - trust) * covariance
            centre = average
        drawn, weight, number, average = _weighted(data, layout, centre, covariance, refined, into, samples, rng)
        # of a wider threshold the expansion lacks silent steps that count: no weights
        number = np.where(refined.width[into] > WIDTHS[0], 0.0, number)
        effective[into] = number
        for i, b in enumerate(into):
            if number[i] >= ENOUGH:
                mean[b] = average[i]
                z[b] = drawn[i, _systematic(weight[i], rng)]
    return Resampled(z, mean, effective)


def _weighted(
    data: Observed,
    layout: Layout,
    centre: FloatArray,
    covariance: FloatArray,
    refined: Refined,
    rows: NDArray[np.int64],
    samples: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Draws (B, S, P) about a centre, their weights (B, S), the effective number (B,) and the mean (B, P)."""
    drawn, log_q = _draw(centre, covariance, samples, rng)
    flat = torch.from_numpy(drawn.transpose(1, 0, 2).reshape(-1, drawn.shape[2]).copy())
    at = linearise(data.twin, data.prior, flat, layout, data.dt, derivatives=False)
    noise, width = (np.tile(part[rows], samples) for part in (refined.noise, refined.width))
    log_weight = -loss(at, flat.numpy(), noise, width).reshape(samples, -1).T - log_q
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    return drawn, weight, 1 / np.square(weight).sum(1), np.einsum("bs,bsp->bp", weight, drawn)


def _draw(
    centre: FloatArray, covariance: FloatArray, samples: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draws (B, S, P) of a multivariate t, and their log densities (B, S) but for a constant."""
    p = centre.shape[1]
    factor = np.linalg.cholesky(covariance)
    e = rng.standard_normal((len(centre), samples, p))
    e /= np.sqrt(rng.chisquare(DEGREES, (len(centre), samples, 1)) / DEGREES)
    log_q = -0.5 * (DEGREES + p) * np.log1p((e**2).sum(2) / DEGREES)
    return centre[:, None] + e @ factor.transpose(0, 2, 1), log_q


def _systematic(weight: FloatArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many indices as weights, each as often as its weight says to within one."""
    edges = np.cumsum(weight)
    index = np.searchsorted(edges / edges[-1], (rng.random() + np.arange(len(weight))) / len(weight))
    return rng.permutation(np.minimum(index, len(weight) - 1))

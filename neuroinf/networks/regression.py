r"""A GLM's regression for a batch of recordings: of a rate by least squares on its link, of counts by Fisher scoring."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from neuroinf.simulators.bases import Basis
from neuroinf.simulators.glm import GLM

STEPS = 12  # of Fisher scoring: from the mean rate it converges in five or six
LONGEST = 3.0  # change of the drive in one step: further out the quadratic is no guide
SETTLED = 1e-4  # change of the drive after which a further step changes nothing
SATURATED = 1e-7  # a rate this close to 0 or 1 in float32 says no more about its drive
FARTHEST = 30.0  # of a drive


@dataclass(frozen=True)
class Regression:
    """Of B recordings on D columns.

    Attributes:
        weights: (B, D).
        covariance: Of their error (B, D, D).
        residual: Standardised (B, T), 0 where not observed.
        variance: Of a rate's residual on its link (B,); 1 for counts.
        skewness: Of the residual (B,).
        kurtosis: Excess kurtosis (B,).
        excess: Variance of the drive that counts show beyond their own (B,); 0 for rates.
        excess_test: The same, in units of its error without a hidden input.
        bins: Number of observed bins (B,).
    """

    weights: Tensor
    covariance: Tensor
    residual: Tensor
    variance: Tensor
    skewness: Tensor
    kurtosis: Tensor
    excess: Tensor
    excess_test: Tensor
    bins: Tensor


def drive_columns(simulator: GLM, x: Tensor, y: Tensor, dt: float) -> Tensor:
    """What the drive is linear in (B, D, T), in the order of the simulator's parameters before the hidden ones.

    Args:
        simulator: The model.
        x: Inputs, then coupled neurons' counts (B, n + m, T).
        y: The neuron's own response (B, T).
        dt: Bin, ms.
    """
    inputs, counts = x[:, : simulator.inputs], x[:, simulator.inputs :]
    columns = [_filtered(inputs, simulator.filters, dt), torch.ones_like(y[:, None])]
    if simulator.coupled:
        columns.append(_past(_filtered(counts, simulator.coupling, dt)))
    if simulator.history is not None:
        columns.append(_past(_filtered(y[:, None], simulator.history, dt)))
    return torch.cat(columns, 1)


def _filtered(rows: Tensor, basis: Basis | None, dt: float) -> Tensor:
    """Rows (B, n, T) through each filter of a basis: (B, n J, T)."""
    if basis is None:
        return rows
    kernels = torch.as_tensor(basis.kernels(dt), dtype=rows.dtype, device=rows.device)
    b, n, t = rows.shape
    through = conv1d(pad(rows.reshape(b * n, 1, t), (kernels.shape[1] - 1, 0)), kernels.flip(-1)[:, None])
    return through.reshape(b, -1, t)


def _past(rows: Tensor) -> Tensor:
    """One bin later: a bin's own count is no part of its drive."""
    return pad(rows[..., :-1], (1, 0))


def regress(simulator: GLM, columns: Tensor, y: Tensor, seen: Tensor, ridge: Tensor) -> Regression:
    """Regress responses on columns.

    Args:
        simulator: Says output and nonlinearity.
        columns: (B, D, T).
        y: Rates or counts (B, T).
        seen: Where they were observed (B, T).
        ridge: Weak prior precision (D,), so that few bins have an answer.
    """
    columns = columns * seen[:, None]
    bins = seen.sum(-1).to(y)
    if simulator.output == "rate":
        return _least_squares(simulator, columns, y, seen, bins, ridge)
    return _scoring(simulator, columns, y, seen, bins, ridge)


def _least_squares(simulator: GLM, columns: Tensor, y: Tensor, seen: Tensor, bins: Tensor, ridge: Tensor) -> Regression:
    drive = torch.where(seen, drive_of(simulator, y), 0.0)
    gram = columns @ columns.mT
    scale = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * 1e-10
    inverse = torch.linalg.inv(gram + scale * torch.eye(len(ridge), dtype=y.dtype, device=y.device))
    weights = (inverse @ (columns @ drive[..., None]))[..., 0]
    error = torch.where(seen, drive - (weights[:, None] @ columns)[:, 0], 0.0)
    freedom = (bins - columns.shape[1]).clamp(min=1)
    variance = (error.square().sum(-1) / freedom).clamp(min=1e-12)
    residual = error / variance.sqrt()[:, None]
    nothing = torch.zeros_like(bins)
    third, fourth = (residual**3).sum(-1) / bins, (residual**4).sum(-1) / bins - 3
    covariance = variance[:, None, None] * inverse
    return Regression(weights, covariance, residual, variance, third, fourth, nothing, nothing, bins)


def drive_of(simulator: GLM, rate: Tensor) -> Tensor:
    """The drive of a rate: the nonlinearity's inverse."""
    if simulator.nonlinearity == "logistic":
        return torch.logit(rate.clamp(SATURATED, 1 - SATURATED))
    return rate.clamp(min=1e-30).log()


def _scoring(simulator: GLM, columns: Tensor, y: Tensor, seen: Tensor, bins: Tensor, ridge: Tensor) -> Regression:
    prior = torch.diag(ridge)
    weights = torch.zeros(columns.shape[:2], dtype=y.dtype, device=y.device)
    bias = simulator.parameters.index("b")
    weights[:, bias] = _link(simulator, ((y.sum(-1) + 0.5) / (bins + 1)))
    information = prior.expand(len(y), -1, -1)
    for _ in range(STEPS):
        drive = (weights[:, None] @ columns)[:, 0].clamp(-FARTHEST, FARTHEST)
        mean, slope, variance = moments(simulator, drive)
        gain = torch.where(seen, slope / variance, 0.0)
        score = (columns @ (gain * (y - mean))[..., None])[..., 0] - ridge * _about(weights, bias)
        information = (columns * (gain * slope)[:, None]) @ columns.mT + prior
        step = torch.linalg.solve(information, score)
        largest = (step[:, None] @ columns)[:, 0].abs().amax(-1)
        weights = weights + step * (LONGEST / largest.clamp(min=LONGEST))[:, None]
        if largest.max() < SETTLED:
            break
    drive = (weights[:, None] @ columns)[:, 0].clamp(-FARTHEST, FARTHEST)
    mean, slope, variance = moments(simulator, drive)
    apart = torch.where(seen, y - mean, 0.0)
    residual = apart / variance.sqrt()
    beyond = torch.where(seen, apart.square() - variance, 0.0).sum(-1)
    power = torch.where(seen, slope.square(), 0.0).sum(-1).clamp(min=1e-12)
    noise = torch.where(seen, 2 * variance.square() + variance, 0.0).sum(-1).clamp(min=1e-12).sqrt()
    one = torch.ones_like(bins)
    third, fourth = (residual**3).sum(-1) / bins, (residual**4).sum(-1) / bins - 3
    return Regression(
        weights, torch.linalg.inv(information), residual, one, third, fourth, beyond / power, beyond / noise, bins
    )


def _about(weights: Tensor, bias: int) -> Tensor:
    """The weights, as the weak prior sees them: the bias is free."""
    held = weights.clone()
    held[:, bias] = 0.0
    return held


def _link(simulator: GLM, mean: Tensor) -> Tensor:
    if simulator.nonlinearity == "logistic":
        return torch.logit(mean.clamp(1e-6, 1 - 1e-6))
    if simulator.output == "bernoulli":
        return (-torch.log1p(-mean.clamp(1e-6, 1 - 1e-6))).log()
    return mean.clamp(min=1e-6).log()


def moments(simulator: GLM, drive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, its slope in the drive, and variance of a bin's count, each of the drive's shape."""
    if simulator.nonlinearity == "logistic":
        rate = torch.sigmoid(drive)
        slope = rate * (1 - rate)
    else:
        rate = drive.exp()
        slope = rate
    if simulator.output == "poisson":
        return rate, slope, rate.clamp(min=1e-12)
    if simulator.nonlinearity == "exponential":
        slope = rate * (-rate).exp()
        rate = -torch.expm1(-rate)
    return rate, slope.clamp(min=1e-12), (rate * (1 - rate)).clamp(min=1e-12)

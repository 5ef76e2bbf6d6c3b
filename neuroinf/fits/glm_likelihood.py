r"""The likelihood of a GLM neuron's response with its hidden inputs integrated out, bin by bin.

.. math:: p(y_t \mid \theta) = \int p\bigl(y_t \mid \beta \cdot X_t + w_h \cdot h\bigr)\, p(h)\, dh
    \approx \sum_a \omega_a\, p\bigl(y_t \mid \beta \cdot X_t + w_h \cdot h_a\bigr)

with :math:`h` independent from bin to bin. A law is given by its atoms and weights, or by a sample; those of a Gaussian
one are Gauss's and Hermite's. With an exponential nonlinearity and one such input they are put for each bin where the
integrand is: about the likeliest :math:`h`, as far apart as it is wide. The log-likelihood of 20 atoms is then exact to
1e-7 up to :math:`|w_h| \sigma_h = 1`, at any count; that of a logistic neuron to 1e-10. Everything is float64 and
differentiable, batched over neurons, parameters and bins.

Source:
    The atoms of each bin: Liu & Pierce 1994, A note on Gauss-Hermite quadrature, Biometrika 81:624.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import poisson
from torch import Tensor
from torch.nn.functional import logsigmoid

from neuroinf.errors import InputError

NEWTON = 4  # steps towards the likeliest hidden input of a bin
AT_ONCE = 2**16  # elements of an array over samples, bins and atoms: they stay in the cache
RATE_ALONE = "a rate of a hidden input with atoms has no density without noise; give noise above 0"


@dataclass(frozen=True)
class HiddenLaw:
    """The law of each hidden input in a bin: independent of the other bins and inputs.

    Attributes:
        atoms: :math:`(A,)`.
        weights: :math:`(A,)`, which sum to 1.
        moments: Mean and sd where the law is Gaussian and the atoms stand for it, else None.
    """

    atoms: Tensor
    weights: Tensor
    moments: tuple[float, float] | None = None

    @staticmethod
    def gaussian(mean: float = 0.0, sd: float = 1.0, order: int = 20) -> HiddenLaw:
        """Gauss-Hermite quadrature of a normal law, exact for polynomials of degree 2 `order` - 1."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
        return HiddenLaw(torch.from_numpy(mean + sd * nodes), torch.from_numpy(weights / weights.sum()), (mean, sd))

    @staticmethod
    def poisson(rate: float = 1.0) -> HiddenLaw:
        """Poisson counts, all but 1e-12 of their probability."""
        counts = np.arange(int(poisson.isf(1e-12, rate)) + 1)
        weights = poisson.pmf(counts, rate)
        return HiddenLaw(torch.from_numpy(counts.astype(np.float64)), torch.from_numpy(weights / weights.sum()))

    @staticmethod
    def bernoulli(p: float) -> HiddenLaw:
        """0 or 1, 1 with probability p."""
        return HiddenLaw(torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([1 - p, p], dtype=torch.float64))

    @staticmethod
    def sample(values: NDArray[np.floating[Any]], atoms: int = 64) -> HiddenLaw:
        """A sample's law: its values where few differ, else the means of as many equally large parts of it."""
        values = np.sort(np.asarray(values, np.float64).ravel())
        distinct, counts = np.unique(values, return_counts=True)
        if len(distinct) <= atoms:
            return HiddenLaw(torch.from_numpy(distinct), torch.from_numpy(counts / counts.sum()))
        parts = np.array_split(values, atoms)
        weights = torch.tensor([len(part) / len(values) for part in parts], dtype=torch.float64)
        return HiddenLaw(torch.tensor([part.mean() for part in parts], dtype=torch.float64), weights)

    def product(self, k: int) -> tuple[Tensor, Tensor]:
        """The joint law of k hidden inputs: atoms :math:`(A^k, k)` and their weights; a single empty one for k = 0."""
        atoms, weights = self.atoms.new_zeros(1, 0), self.weights.new_ones(1)
        for _ in range(k):
            atoms = torch.cat(
                (atoms.repeat_interleave(len(self.atoms), 0), self.atoms.repeat(len(atoms))[:, None]), dim=1
            )
            weights = (weights[:, None] * self.weights).flatten()
        return atoms, weights


@dataclass(frozen=True)
class GLMLikelihood:
    """p(y | theta) of a GLM neuron.

    Args:
        output: Of the neuron. A rate is compared on the scale of the drive, and its density is that of the rate itself.
        nonlinearity: f.
        law: Of the hidden inputs.
        noise: Sd of the observed drive :math:`f^{-1}(y)` about the model's; for rates only, which have none otherwise.
    """

    output: Literal["rate", "bernoulli", "poisson"]
    nonlinearity: Literal["logistic", "exponential"]
    law: HiddenLaw
    noise: float = 0.0

    def log_prob(self, theta: Tensor, design: Tensor, y: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Log-probability of each bin given the observed past, :math:`(B, S, T)`.

        Args:
            theta: :math:`(B, S, D + K)`: D coefficients, K hidden weights (K = 0: without hidden input).
            design: :math:`(B, D, T)`, see `glm_design.design`.
            y: :math:`(B, T)`; a bin that is nan was not observed and counts 0.
            hidden: The hidden inputs :math:`(B, K, T)` if they are known; None: integrated out.

        Raises:
            InputError: if shapes do not fit together, or the rate has no density.
        """
        d = design.shape[1]
        if theta.ndim != 3 or theta.shape[2] < d or y.shape != (len(theta), design.shape[2]) or len(design) != len(y):
            raise InputError(
                f"expected parameters (B, S, D + K), designs (B, D, T) and responses (B, T), found shapes "
                f"{tuple(theta.shape)}, {tuple(design.shape)} and {tuple(y.shape)}"
            )
        drive, weight = theta[..., :d] @ design, theta[..., d:]
        seen = ~y.isnan()
        data = torch.where(seen, self.data(y), 0.0)[:, None]
        if hidden is not None:
            out = self.given(data, drive + weight @ hidden)
        elif self.output == "rate" and (self.law.moments is not None or weight.shape[2] == 0):
            out = self._gaussian_rate(data, drive, weight)
        else:
            out = self._mixture(data, drive, weight)
        if self.output == "rate":
            out = out + torch.where(seen, self._log_slope(y), 0.0)[:, None]
        return torch.where(seen[:, None], out, 0.0)

    def data(self, y: Tensor) -> Tensor:
        """What is compared with the drive: counts as they are, rates through the link."""
        if self.output != "rate":
            return y
        return torch.logit(y) if self.nonlinearity == "logistic" else y.log()

    def given(self, data: Tensor, eta: Tensor) -> Tensor:
        """log p(y | eta) of a known drive, elementwise with broadcasting.

        Args:
            data: See :meth:`data`.
            eta: Drive, hidden inputs included.

        Raises:
            InputError: for rates without noise, which have no density.
        """
        if self.output == "rate":
            if self.noise <= 0:
                raise InputError(RATE_ALONE)
            return -0.5 * ((data - eta) / self.noise).square() - math.log(self.noise) - 0.5 * math.log(2 * math.pi)
        if self.output == "bernoulli" and self.nonlinearity == "logistic":
            return logsigmoid(eta * (2 * data - 1))
        if self.output == "bernoulli":
            rate = eta.exp()
            # expm1 keeps its digits where the rate is small
            return torch.where(data > 0.5, torch.log(-torch.expm1(-rate.clamp(min=1e-300))), -rate)
        log_rate = logsigmoid(eta) if self.nonlinearity == "logistic" else eta
        return data * log_rate - log_rate.exp() - torch.lgamma(data + 1)

    def slopes(self, data: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
        """The first two derivatives of :meth:`given` by the drive."""
        if self.output == "rate":
            return (data - eta) / self.noise**2, torch.full_like(data - eta, -(self.noise**-2))
        if self.nonlinearity == "logistic":
            p = torch.sigmoid(eta)
            slope = p * (1 - p)
            if self.output == "bernoulli":
                return data - p, -slope
            return data * (1 - p) - slope, -slope * (data + 1 - 2 * p)
        rate = eta.exp()
        if self.output == "poisson":
            return data - rate, -rate
        odds = rate / torch.expm1(rate.clamp(1e-300, 700.0))
        # d log odds / d eta = 1 - rate / (1 - exp(-rate)) = 1 - rate - odds
        return torch.where(data > 0.5, odds, -rate), torch.where(data > 0.5, odds * (1 - rate - odds), -rate)

    def nodes(self, data: Tensor, drive: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms :math:`(..., A, K)` and log weights :math:`(..., A)` of the sum over hidden inputs.

        Args:
            data: See :meth:`data`; broadcasts with `drive`.
            drive: Of the observed inputs :math:`(..., T)`.
            weight: Hidden weights :math:`(..., K)`.
        """
        if self.law.moments is None or weight.shape[-1] != 1 or self.nonlinearity == "logistic":
            atoms, omega = self.law.product(weight.shape[-1])
            return atoms, omega.log()
        mean, sd = self.law.moments
        with torch.no_grad():  # where the atoms are does not change the integral
            h = torch.full_like(drive, mean)
            if self.output == "poisson":
                # Newton's first step would overshoot a high count: the one on the logarithm of the count does not
                information = weight.square() * (data + 0.5) * sd**2
                apart = torch.log(data + 0.5) - drive - weight * mean
                h = mean + sd**2 * weight * (data + 0.5) * apart / (1 + information)
            precision = torch.full_like(h, sd**-2)
            for _ in range(NEWTON):
                first, second = self.slopes(data, drive + weight * h)
                precision = sd**-2 + weight.square() * (-second).clamp(min=0)
                h = h + (weight * first - (h - mean) / sd**2) / precision
            width = precision.rsqrt()
            standard = (self.law.atoms - mean) / sd
            h = h[..., None] + width[..., None] * standard
            prior = 0.5 * standard.square() - 0.5 * ((h - mean) / sd).square()
        return h[..., None], self.law.weights.log() + (width / sd).log()[..., None] + prior

    def _mixture(self, data: Tensor, drive: Tensor, weight: Tensor) -> Tensor:
        """log sum_a omega_a p(y | drive + w h_a), in pieces of bins."""
        if self.law.moments is not None and weight.shape[2] > 1:
            # several Gaussian inputs are one of their joint size
            mean, sd = self.law.moments
            drive = drive + mean * weight.sum(2, keepdim=True)
            weight = weight.square().sum(2, keepdim=True).sqrt()
            return replace(self, law=HiddenLaw.gaussian(0.0, sd, len(self.law.atoms)))._mixture(data, drive, weight)
        per_bin = drive.shape[0] * drive.shape[1] * len(self.law.atoms) ** weight.shape[2]
        pieces = []
        for e, part in zip(*(a.split(max(1, AT_ONCE // per_bin), dim=2) for a in (drive, data)), strict=True):
            atoms, log_omega = self.nodes(part, e, weight)
            shift = (atoms * weight[:, :, None, None]).sum(4) if atoms.ndim == 5 else (weight @ atoms.T)[:, :, None]
            pieces.append(torch.logsumexp(self.given(part[..., None], e[..., None] + shift) + log_omega, dim=-1))
        return torch.cat(pieces, dim=2)

    def _gaussian_rate(self, data: Tensor, drive: Tensor, weight: Tensor) -> Tensor:
        """Density of the link of the rate: normal about the drive."""
        mean, sd = self.law.moments or (0.0, 1.0)
        variance = sd**2 * weight.square().sum(2, keepdim=True) + self.noise**2
        if (variance <= 0).any():
            raise InputError("a rate without hidden input and without noise has no density; give noise above 0")
        apart = data - drive - mean * weight.sum(2, keepdim=True)
        return -0.5 * apart.square() / variance - 0.5 * (2 * math.pi * variance).log()

    def _log_slope(self, y: Tensor) -> Tensor:
        """log of the link's derivative by the rate."""
        return -y.log() - (torch.log1p(-y) if self.nonlinearity == "logistic" else 0.0)


def averaged(log_prob: Tensor) -> Tensor:
    r"""Predictive log-probability of each bin, :math:`(B, T)`: the average over samples, bin by bin.

    .. math:: \log \frac1S \sum_s p(y_t \mid \theta_s)

    Each bin is predicted by the posterior of the training data alone. The joint, :math:`\log \frac1S \sum_s \prod_t`,
    would let the held-out bins choose among the samples, which no point estimate can do.
    """
    return torch.logsumexp(log_prob, dim=1) - math.log(log_prob.shape[1])


def constant_rate(train: Tensor, test: Tensor, output: Literal["bernoulli", "poisson"]) -> Tensor:
    """Log-probability :math:`(B, T')` of test counts by the training counts' mean :math:`(B, T)`, one half added so
    that a neuron that was silent may spike."""
    seen = ~train.isnan()
    count, bins = torch.where(seen, train, 0.0).sum(1, keepdim=True), seen.sum(1, keepdim=True)
    rate = (count + 0.5) / (bins + 1)
    if output == "poisson":
        log = test * rate.log() - rate - torch.lgamma(test + 1)
    else:
        log = torch.where(test > 0.5, rate.log(), torch.log1p(-rate))
    return torch.where(test.isnan(), 0.0, log)


def bits_per_bin(log_prob: Tensor, y: Tensor) -> Tensor:
    """Mean log2-probability of the observed bins, :math:`(B,)`, from :math:`(B, T)`; for counts at most 0."""
    return log_prob.sum(1) / (~y.isnan()).sum(1) / math.log(2)


def bits_per_spike(log_prob: Tensor, constant: Tensor, y: Tensor) -> Tensor:
    """Gain over the constant rate in bits for each spike, :math:`(B,)`; nan without a spike.

    Args:
        log_prob: Of each bin by the model, :math:`(B, T)`.
        constant: Likewise by the constant rate.
        y: Counts :math:`(B, T)`.

    Source:
        Pillow et al. 2008, Nature 454:995, methods.
    """
    spikes = torch.where(y.isnan(), 0.0, y).sum(1)
    return torch.where(spikes > 0, (log_prob - constant).sum(1) / spikes / math.log(2), torch.nan)

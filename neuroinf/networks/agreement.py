r"""Several pieces of one neuron's recording to one posterior, no surer than the pieces' agreement allows.

Piece s has the posterior :math:`\mathcal N(\mu_s, \Lambda_s^{-1})` in the space where the prior is
:math:`\mathcal N(0, I)`; what it adds to the prior is the likelihood :math:`L_s = \Lambda_s - I`,
:math:`\eta_s = \Lambda_s \mu_s`. Were the neuron the model, and the pieces independent, the posterior would be their
product. A real neuron is not the model: its pieces scatter more than their posteriors allow, which is measured and taken
into account as one does with measurements of a constant that contradict one another:

.. math:: \chi^2 = \sum_s (\eta_s - L_s \hat z)^\top L_s^{-1} (\eta_s - L_s \hat z), \qquad
    \varphi = \max(1, \chi^2 / \nu), \qquad
    \Lambda = I + \sum_s L_s / \varphi, \quad \mu = \Lambda^{-1} \sum_s \eta_s / \varphi

with :math:`\hat z` the product's mean and :math:`\nu` the number of terms less those that it was fitted to. What all
pieces have wrong in the same way cannot be seen like this.

A direction in which a piece says less than the prior is left out: a Gaussian there stands for a bound ("the threshold
is higher than this"), which does not sharpen by being repeated, while a small bias of the network would add up.

Source: Birge 1932, Phys. Rev. 40:207 and the scale factor of the Particle Data Group's reviews; the quasi-likelihood of
McCullagh & Nelder, Generalized Linear Models, section 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

LEAST_INFORMATION = 1.0  # of a direction of L: as much as the prior's own


@dataclass(frozen=True)
class Pooled:
    """One posterior from S pieces.

    Args:
        distribution: Over z (1, P).
        scatter: sqrt(chi2 / nu): how far the pieces lie apart, in units of what their posteriors allow; nan if nothing
            can contradict anything.
        p: Probability of such a scatter, or a larger one, if the neuron were the model; 1 where scatter is nan.
    """

    distribution: MultivariateNormal
    scatter: float
    p: float


def pool(mean: Tensor, precision: Tensor) -> Pooled:
    """The posterior of all pieces.

    Args:
        mean: (S, P).
        precision: (S, P, P).

    Returns:
        The product of what the pieces say, widened by their scatter.
    """
    mean, precision = mean.double(), precision.double()
    values, vectors = torch.linalg.eigh(precision)
    # along each piece's own axes: what it adds to the prior, (S, P)
    added = values - 1
    counts = added >= LEAST_INFORMATION
    information = torch.where(counts, added, 0.0)
    score = torch.where(counts, values * (vectors.mT @ mean[..., None])[..., 0], 0.0)
    total = (vectors * information[:, None, :] @ vectors.mT).sum(0)
    pull = (vectors @ score[..., None]).sum(0)[:, 0]
    one = torch.eye(mean.shape[-1], dtype=torch.float64, device=mean.device)
    centre = torch.linalg.solve(one + total, pull)
    # information that is not counted is 0 on both sides of the fraction
    residual = torch.where(counts, score - information * (vectors.mT @ centre[:, None])[..., 0], 0.0)
    chi2 = float((residual.square() / torch.where(counts, information, 1.0)).sum())
    fitted = int((torch.linalg.eigvalsh(total) >= LEAST_INFORMATION).sum())
    freedom = int(counts.sum()) - fitted
    dispersion = chi2 / freedom if freedom > 0 else float("nan")
    p = float(stats.chi2.sf(chi2, freedom)) if freedom > 0 else 1.0
    widening = max(1.0, dispersion) if freedom > 0 else 1.0
    final = one + total / widening
    centre = torch.linalg.solve(final, pull / widening)
    distribution = MultivariateNormal(centre[None], precision_matrix=final[None], validate_args=False)
    return Pooled(distribution, dispersion**0.5, p)

r"""Gradient and curvature of a GLM neuron's marginal log-likelihood, in closed form.

With :math:`r_a \propto \omega_a p(y_t \mid \eta_t + w_h \cdot h_a)` the posterior over the hidden input's atoms and
:math:`\varphi_a = (X_t, h_a)` what the drive is linear in, Louis' identity gives each bin's derivatives from those of
:math:`\ell(\eta) = \log p(y_t \mid \eta)`:

.. math:: \nabla = \sum_a r_a \ell'_a \varphi_a, \qquad
    \nabla^2 = \sum_a r_a (\ell''_a + \ell'^2_a)\, \varphi_a \varphi_a^\top - \nabla \nabla^\top .

A rate with a Gaussian hidden input is a linear regression with a variance that the hidden weights make: there the
second moments of the data are enough, whatever the number of bins.

Source:
    Louis 1982, Journal of the Royal Statistical Society B 44:226.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from neuroinf.fits.glm_likelihood import AT_ONCE, GLMLikelihood


class Expansion(NamedTuple):
    """Log-likelihood :math:`(R,)`, gradient :math:`(R, P)` and Hessian :math:`(R, P, P)` in natural units."""

    value: Tensor
    gradient: Tensor
    hessian: Tensor


class Data:
    """Designs and responses of B neurons, prepared for many evaluations.

    Args:
        likelihood: Of all of them.
        design: :math:`(B, D, T)`.
        y: :math:`(B, T)`; nan: not observed.
        hidden: Number K of hidden weights.
    """

    def __init__(self, likelihood: GLMLikelihood, design: Tensor, y: Tensor, hidden: int) -> None:
        self.likelihood, self.design, self.y, self.hidden = likelihood, design, y, hidden
        self.moments = self.count = design.new_zeros(len(design))
        self.by_moments = likelihood.output == "rate" and likelihood.law.moments is not None
        seen = ~y.isnan()
        self.seen = seen.double()
        self.values = torch.where(seen, likelihood.data(y), 0.0)
        if self.by_moments:
            mean = (likelihood.law.moments or (0.0, 1.0))[0]
            columns = torch.cat((design, torch.full_like(design[:, :1], mean).expand(-1, hidden, -1)), dim=1)
            columns = torch.cat((columns, self.values[:, None]), dim=1) * self.seen[:, None]
            self.moments, self.count = columns @ columns.mT, self.seen.sum(1)

    def rows(self, index: Tensor) -> Data:
        """Those of the neurons at `index`."""
        some = copy(self)
        for name in ("moments", "count") if self.by_moments else ("design", "y", "seen", "values"):
            setattr(some, name, getattr(self, name)[index])
        return some

    def value(self, theta: Tensor) -> Tensor:
        """Log-likelihood :math:`(B, S)` of parameters :math:`(B, S, P)` in the simulator's order, without the constant
        that a rate's density has from its link."""
        if self.by_moments:
            each = torch.func.vmap(torch.func.vmap(self._regression, in_dims=(0, None, None)))
            return each(theta, self.moments, self.count)
        return self.likelihood.log_prob(theta, self.design, self.y).sum(2)

    def expand(self, theta: Tensor) -> Expansion:
        """Derivatives at one point of each neuron, :math:`(B, P)`."""
        if self.by_moments:
            arguments = (theta, self.moments, self.count)
            return Expansion(
                torch.func.vmap(self._regression)(*arguments),
                torch.func.vmap(torch.func.grad(self._regression))(*arguments),
                torch.func.vmap(torch.func.hessian(self._regression))(*arguments),
            )
        d, k = self.design.shape[1], self.hidden
        value = theta.new_zeros(len(theta))
        gradient = torch.zeros_like(theta)
        hessian = theta.new_zeros(*theta.shape, theta.shape[1])
        per_bin = max(1, len(theta) * len(self.likelihood.law.atoms) ** k)
        for piece in torch.arange(self.design.shape[2]).split(max(1, AT_ONCE // per_bin)):
            x, seen, data = self.design[..., piece], self.seen[:, piece], self.values[:, piece]
            drive = torch.einsum("bd,bdt->bt", theta[:, :d], x)
            atoms, log_omega = self.likelihood.nodes(data, drive, theta[:, d:])
            if atoms.ndim == 2:
                atoms = atoms[None, None]
            eta = drive[..., None] + (atoms * theta[:, None, None, d:]).sum(3)
            log = self.likelihood.given(data[..., None], eta) + log_omega
            first, second = self.likelihood.slopes(data[..., None], eta)
            total = torch.logsumexp(log, dim=2)
            r = (log - total[..., None]).exp() * seen[..., None]
            value += (total * seen).sum(1)
            slope, bend = r * first, r * (second + first.square())
            # the gradient of each bin by drive and hidden weights, and what is left of the second derivatives
            g0, g = slope.sum(2), (slope[..., None] * atoms).sum(2)
            h0, h1 = bend.sum(2) - g0.square(), (bend[..., None] * atoms).sum(2) - g0[..., None] * g
            h2 = ((bend[..., None] * atoms)[..., None] * atoms[..., None, :]).sum((1, 2)) - g.mT @ g
            cross = x @ h1
            gradient += torch.cat(((x @ g0[..., None])[..., 0], g.sum(1)), dim=1)
            hessian[:, :d, :d] += (x * h0[:, None]) @ x.mT
            hessian[:, :d, d:] += cross
            hessian[:, d:, :d] += cross.mT
            hessian[:, d:, d:] += h2
        return Expansion(value, gradient, hessian)

    def _regression(self, theta: Tensor, moments: Tensor, count: Tensor) -> Tensor:
        """Of one neuron: theta (P,), second moments (P + 1, P + 1) of columns and data, number of bins ()."""
        sd = (self.likelihood.law.moments or (0.0, 1.0))[1]
        weight = theta[len(theta) - self.hidden :]
        variance = sd**2 * weight.square().sum() + self.likelihood.noise**2
        apart = torch.cat((-theta, theta.new_ones(1)))
        return -0.5 * (apart @ moments @ apart) / variance - 0.5 * count * (2 * torch.pi * variance).log()

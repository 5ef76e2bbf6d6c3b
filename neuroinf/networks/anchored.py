"""A flow around an estimate that an encoder brings with its features: the network learns what the estimate gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from neuroinf.errors import InputError
from neuroinf.networks.agreement import Pooled, pool
from neuroinf.networks.anchoring import half, half_log_slope, whole
from neuroinf.networks.densities import perceptron, prior_loss
from neuroinf.networks.flow import MEAN_DRAWS, MOMENT_DRAWS, Flow, FlowPosterior, normal_points
from neuroinf.priors import Prior


def anchor_width(parameters: int, signed: bool) -> int:
    """Number of features that the anchor takes: mean and factor, for either sign if there are two, and then two of the sign."""
    each = parameters + parameters * (parameters + 1) // 2
    return 2 * each + 2 if signed else each


class AnchoredFlow(nn.Module):
    r"""A spline flow over the distance from an estimate, in units of the estimate's error.

    .. math:: \zeta = m + L\, r, \qquad r \sim q(r \mid h)

    with m and L, in the space where the prior is the standard normal, the first features, and h the others. How
    precise a recording is, which differs a hundredfold between short and long ones, is then the anchor's affair, and
    what is left to learn differs little.

    With `signed`, the last parameter's sign has a probability of its own, and the flow is over its size:

    .. math:: q(z) = P(s \mid h)\; q(\zeta \mid h, s) \; |d\zeta_P / dz_P|, \qquad s = \operatorname{sign} z_P,
        \quad \zeta_P = \Phi^{-1}(2 \Phi(|z_P|) - 1)

    so that a parameter known but for its sign has two modes, each as narrow as it is. There is an anchor for either, and
    after the factors follow two features of the sign, the log odds o that the anchors themselves give it and how far
    anything else can tell it, g of [0, 1]:

    .. math:: \log \frac{P(+ \mid h)}{P(- \mid h)} = e^c\, o + g\, n(h)

    The network n learns noise as any network does. A sign that is not in the data, g = 0, it cannot invent.

    Args:
        inputs: Number of features F: the anchor's, see :func:`anchor_width`, and then h.
        outputs: Number of parameters P.
        hidden: Widths of the hidden layers.
        signed: Whether the sign of the last parameter is apart.
        context: Number of features of the shape.
        transforms: Number of splines.
        bins: Number of bins of each spline.
        spline_hidden: Widths of the hidden layers of each spline's network.
    """

    base: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (128, 128),
        signed: bool = False,
        context: int = 32,
        transforms: int = 2,
        bins: int = 8,
        spline_hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.signed = inputs, outputs, list(hidden), signed
        self.context, self.transforms, self.bins, self.spline_hidden = context, transforms, bins, list(spline_hidden)
        self.others = inputs - anchor_width(outputs, signed)
        if self.others < 1:
            raise InputError(
                f"density: expected an encoder whose first {anchor_width(outputs, signed)} features are an anchor of {outputs} "
                f"parameters, such as GLMEncoder, and more features after them; found {inputs} features in all"
            )
        self.flow = Flow(self.others + signed, outputs, hidden, context, transforms, bins, spline_hidden)
        self.sign = perceptron(self.others, (64,), 1) if signed else None
        self.odds = nn.Parameter(torch.zeros(())) if signed else None
        self.register_buffer("base", normal_points(MEAN_DRAWS, outputs), persistent=False)

    def _anchor(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Means (A, B, P), factors (A, B, P, P) for A signs, + first, logit (B,) of +, and the other features (B, F')."""
        p, signs = self.outputs, 2 if self.signed else 1
        row, column = torch.tril_indices(p, p, device=features.device)
        sizes = [signs * p, signs * len(row), 2 * self.signed, self.others]
        mean, lower, sign, others = features.split(sizes, -1)
        factor = torch.zeros(signs, len(features), p, p, dtype=features.dtype, device=features.device)
        factor[..., row, column] = lower.reshape(len(features), signs, -1).transpose(0, 1)
        logit = None
        if self.sign is not None and self.odds is not None:
            logit = self.odds.exp() * sign[:, 0] + sign[:, 1] * self.sign(others)[:, 0]
        return mean.reshape(len(features), signs, p).transpose(0, 1), factor, logit, others

    def _distances(self, others: Tensor, sign: float | Tensor) -> FlowPosterior:
        """q(r | h, s); `sign` is 1, -1 or (B,)."""
        if not self.signed:
            return self.flow.posterior(others)
        column = torch.as_tensor(sign, dtype=others.dtype, device=others.device).expand(len(others))
        return self.flow.posterior(torch.cat([others, column[:, None]], -1))

    def embedding(self, features: Tensor) -> Tensor:
        """See Density."""
        others = self._anchor(features)[-1]
        return self.flow.embedding(nn.functional.pad(others, (0, int(self.signed))))

    def posterior(self, features: Tensor) -> AnchoredPosterior:
        """See Density."""
        mean, factor, logit, others = self._anchor(features)
        if logit is None:
            return AnchoredPosterior(mean, factor, [self._distances(others, 1.0)], None)
        return AnchoredPosterior(mean, factor, [self._distances(others, s) for s in (1.0, -1.0)], logit)

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """Negative log density of z; only the flow of the true sign is computed."""
        mean, factor, logit, others = self._anchor(features)
        if logit is None:
            return -_log_density(mean[0], factor[0], self._distances(others, 1.0), z)
        positive = z[:, -1] >= 0
        zeta, slope = _halved(z)
        chosen = torch.where(positive[:, None], mean[0], mean[1])
        width = torch.where(positive[:, None, None], factor[0], factor[1])
        signs = torch.where(positive, 1.0, -1.0)
        log_density = _log_density(chosen, width, self._distances(others, signs), zeta)
        return -log_density - slope - nn.functional.logsigmoid(signs * logit)

    def floor(self, z: Tensor) -> Tensor:
        """Negative log density under the prior."""
        return prior_loss(z)

    def pooled(self, features: Tensor) -> Pooled:
        """See Density; each piece is taken as the Gaussian of its mean and covariance."""
        draws = self.posterior(features).push(normal_points(MOMENT_DRAWS, self.outputs).to(features.device)).double()
        apart = draws - draws.mean(0)
        covariance = torch.einsum("sbi,sbj->bij", apart, apart) / (len(draws) - 1)
        return pool(draws.mean(0), torch.linalg.inv(covariance))

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        """See Density; mean of 32 quasi-random draws for either sign, always the same ones."""
        posterior = self.posterior(features)
        parts = [prior.to_unit(prior.from_unconstrained(d.double())).mean(0) for d in posterior.pushed(self.base)]
        if posterior.logit is None:
            return parts[0]
        weight = torch.sigmoid(posterior.logit.double())[:, None]
        return weight * parts[0] + (1 - weight) * parts[1]


class AnchoredPosterior(Distribution):
    """The distribution of :class:`AnchoredFlow` for B recordings, batch shape (B,), event shape (P,).

    Args:
        mean: Anchors (A, B, P) for A signs, + first.
        factor: Their Cholesky factors (A, B, P, P).
        distances: q(r | h, s) for each of the A signs.
        logit: Of the probability (B,) that the last parameter is positive; None if its sign is not apart.
    """

    def __init__(self, mean: Tensor, factor: Tensor, distances: list[FlowPosterior], logit: Tensor | None) -> None:
        super().__init__(mean.shape[1:-1], mean.shape[-1:], validate_args=False)
        self.location, self.factor, self.distances, self.logit = mean, factor, distances, logit

    @property
    def positive(self) -> Tensor | None:
        """Probability (B,) that the last parameter is positive; None if its sign is not apart."""
        return None if self.logit is None else torch.sigmoid(self.logit)

    def pushed(self, e: Tensor) -> list[Tensor]:
        """Standard normal draws e (S, P) or (S, B, P) to draws of z (S, B, P), for each sign."""
        return [self._pushed(e, sign) for sign in range(len(self.distances))]

    def _pushed(self, e: Tensor, sign: int) -> Tensor:
        zeta = self.location[sign] + (self.factor[sign] @ self.distances[sign].push(e)[..., None])[..., 0]
        if self.logit is None:
            return zeta
        size = whole(zeta[..., -1:]).to(zeta)
        return torch.cat([zeta[..., :-1], size if sign == 0 else -size], -1)

    def push(self, e: Tensor) -> Tensor:
        """As :meth:`pushed`, with the first draws of each recording positive and the others negative, as many as it says."""
        drawn = self.pushed(e)
        if self.logit is None:
            return drawn[0]
        part = (torch.arange(len(e), device=e.device)[:, None] + 0.5) / len(e)
        return torch.where((part < torch.sigmoid(self.logit))[..., None], drawn[0], drawn[1])

    def rsample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Draws (*sample_shape, B, P)."""
        shape = torch.Size(sample_shape)
        e = torch.randn(shape.numel(), *self.batch_shape, *self.event_shape, device=self.location.device)
        if self.logit is None:
            z = self._pushed(e, 0)
        else:
            positive = torch.rand(e.shape[:-1], device=e.device) < torch.sigmoid(self.logit)
            if self.batch_shape.numel() == 1:  # each draw is pushed for its own sign only
                z = torch.empty_like(e)
                for sign, rows in enumerate((positive[:, 0], ~positive[:, 0])):
                    z[rows] = self._pushed(e[rows], sign)
            else:
                z = torch.where(positive[..., None], *self.pushed(e))
        return z.reshape(*shape, *self.batch_shape, *self.event_shape)

    def sample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Draws (*sample_shape, B, P), without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of z (..., B, P)."""
        if self.logit is None:
            return _log_density(self.location[0], self.factor[0], self.distances[0], value)
        zeta, slope = _halved(value)
        each = [
            _log_density(self.location[k], self.factor[k], self.distances[k], zeta)
            + nn.functional.logsigmoid(self.logit if k == 0 else -self.logit)
            for k in (0, 1)
        ]
        return torch.where(value[..., -1] >= 0, each[0], each[1]) + slope


def _halved(z: Tensor) -> tuple[Tensor, Tensor]:
    """z (..., P) with its last parameter's size in place of it, and the log slope (...)."""
    zeta = half(z[..., -1])
    return torch.cat([z[..., :-1], zeta[..., None].to(z)], -1), half_log_slope(z[..., -1], zeta).to(z)


def _log_density(mean: Tensor, factor: Tensor, distances: FlowPosterior, zeta: Tensor) -> Tensor:
    r = torch.linalg.solve_triangular(factor, (zeta - mean)[..., None], upper=False)[..., 0]
    return distances.log_prob(r) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

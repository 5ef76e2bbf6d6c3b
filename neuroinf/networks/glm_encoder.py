"""What a GLM neuron's recording says in closed form: a regression's estimate as an anchor, and what it cannot know beside it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.anchored import anchor_width
from neuroinf.networks.anchoring import anchor
from neuroinf.networks.regression import Regression, drive_columns, regress
from neuroinf.networks.response import Standardise
from neuroinf.priors import Prior
from neuroinf.simulators.glm import GLM
from neuroinf.simulators.protocol import Simulator

LAGS = (1, 2, 5, 10, 20, 50)  # bins, at which the residual's autocorrelation is a feature
LARGEST_EVIDENCE = 20.0
ENOUGH, SHARP = 4.0, 6.0  # standard errors from which a moment of the inputs is taken for real, and how sharply


@runtime_checkable
class NeedsModel(Protocol):
    """An encoder that is made for one model: it is told which before it is used."""

    def told(self, prior: Prior, simulator: Simulator | None, dt: float) -> None:
        """The prior whose parameters are inferred, the simulator, and the step of the observations, ms."""
        ...


class GLMEncoder(nn.Module):
    r"""Features of a GLM neuron's response y and inputs x: channels are y, then the observed inputs.

    The anchor is a regression without the hidden input: least squares of the link of a rate, Fisher scoring on counts.
    For a hidden input of the same law as the observed ones, the residual of a rate says its weight's size a,

    .. math:: a^2 = \frac{\operatorname{var} e}{v - I c g}, \qquad g = \frac{c}{v + (I - 1) c}

    (I observed inputs of mean variance v and mean covariance c), and what correlated inputs and their mean take over
    from it is given back, for either of its signs s: :math:`w_s = w - s\, a\, g`, :math:`b_s = b - s\, a\, \mu\,
    (1 - I g)`. Where the hidden
    input is another, and for counts, that is only where the density starts from. Further features are the moments
    of residual and inputs that tell laws, signs and sizes apart, the evidence of the prior's range for either sign, the
    residual's autocorrelation and the number of bins.

    The sign is told by that evidence, and where the inputs are skewed by the response too. Where they are not, the
    hidden input and its mirror image give the same response.

    Args:
        channels: C.
        prior: Of the model's parameters: a box; its weights on a linear scale. It and the next two are told by the
            model that the encoder becomes a part of.
        simulator: The model.
        dt: Step of the observations, ms.
    """

    def __init__(
        self, channels: int, prior: Prior | None = None, simulator: GLM | None = None, dt: float = 1.0
    ) -> None:
        super().__init__()
        self.channels, self.prior, self.simulator, self.dt = channels, prior, simulator, dt
        self.features = 0
        if prior is not None and simulator is not None:
            self._build(prior, simulator)

    def told(self, prior: Prior, simulator: Simulator | None, dt: float) -> None:
        """See NeedsModel."""
        if not isinstance(simulator, GLM):
            raise InputError(f"GLMEncoder reads neurons of the simulator GLM, found {type(simulator).__name__}")
        self.prior, self.simulator, self.dt = prior, simulator, dt
        self._build(prior, simulator)

    def _build(self, prior: Prior, simulator: GLM) -> None:
        rows = 1 + simulator.inputs + simulator.coupled
        if self.channels != rows:
            raise InputError(
                f"GLMEncoder: expected {rows} channels (response, {simulator.inputs} inputs, {simulator.coupled} coupled neurons), "
                f"found {self.channels}: give observation.channels [{next(iter(simulator.channels))}, stimulus] and "
                f"observation.inputs {rows - 1}"
            )
        if type(prior) is not Prior or prior.is_log.any():
            raise InputError("GLMEncoder: expected a prior of independent ranges on linear scales")
        if set(prior.names) != set(simulator.parameters):
            raise InputError(
                f"GLMEncoder: prior and model name other parameters: {prior.names}, {simulator.parameters}"
            )
        linear = [name for name in simulator.parameters if not name.startswith("w_hidden")]
        self.signed = len(linear) < len(prior.names)
        if len(prior.names) - len(linear) > 1 or (self.signed and prior.names[-1] != "w_hidden"):
            raise InputError(
                f"GLMEncoder reads one hidden weight, w_hidden, the prior's last parameter; found {prior.names[len(linear) :]}: "
                f"give the simulator `summed: true`"
            )
        place = [prior.names.index(name) for name in linear]
        self.register_buffer("low", torch.from_numpy(prior.low[place]), persistent=False)
        self.register_buffer("high", torch.from_numpy(prior.high[place]), persistent=False)
        self.register_buffer("place", torch.tensor(place), persistent=False)
        self.bias = linear.index("b")
        self.count = len(prior.names)
        self.largest = float(prior.high[-1]) if self.signed else 0.0
        if self.signed and abs(prior.low[-1] + prior.high[-1]) > 1e-9:
            raise InputError(
                f"GLMEncoder: the range of w_hidden must be symmetric, found [{prior.low[-1]:g}, {prior.high[-1]:g}]"
            )
        signs = 2 if self.signed else 1
        self.others = 2 * signs * self.count + signs + 10 + len(LAGS)
        self.standardise = Standardise(self.others)
        self.features = anchor_width(self.count, self.signed) + self.others

    low: Tensor
    high: Tensor
    place: Tensor

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, C, T); bins at the end that were not observed are left out."""
        assert self.simulator is not None
        x = x.double()
        seen = torch.isfinite(x).all(1)
        x = torch.where(seen[:, None], x, 0.0)
        columns = drive_columns(self.simulator, x[:, 1:], x[:, 0], self.dt)
        ridge = (3 * (self.high - self.low) / 2) ** -2
        found = regress(self.simulator, columns, x[:, 0], seen, ridge)
        observed = x[:, 1 : 1 + self.simulator.inputs]
        inputs = Moments(observed, seen)
        size, size_error = self._hidden_size(found, inputs)
        means, log_sds, factors, evidence = [], [], [], []
        for sign in (1.0, -1.0) if self.signed else (0.0,):
            m, covariance = self._corrected(found, inputs, sign, size, size_error)
            sd = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-18).sqrt()
            median, width, inside = anchor(m, sd)
            correlation = covariance / (sd[:, :, None] * sd[:, None])
            jitter = 1e-6 * torch.eye(self.count, dtype=x.dtype, device=x.device)
            factor = width[..., None] * torch.linalg.cholesky(correlation + jitter)
            row, column = torch.tril_indices(self.count, self.count, device=x.device)
            means.append(median)
            factors.append(factor[:, row, column])
            log_sds.append(width.log())
            evidence.append(inside.sum(-1, keepdim=True).clamp(min=-LARGEST_EVIDENCE))
        known = torch.cat([*means, *log_sds, *evidence, self._tests(found, inputs), _autocorrelation(found, seen)], 1)
        anchors = torch.cat([*means, *factors], 1)
        if self.signed:
            # the anchors differ by what the inputs' mean and covariance do: estimates, whose scatter about 0 tells no sign
            apart = torch.maximum(surely(inputs.mean, inputs.mean_error), surely(inputs.shared, inputs.shared_error))
            odds = (evidence[0] - evidence[1]) * apart[:, None]
            anchors = torch.cat([anchors, odds, surely(inputs.skewness, inputs.skewness_error)[:, None]], 1)
        return torch.cat([anchors.float(), self.standardise(known.float())], 1)

    def _hidden_size(self, found: Regression, inputs: Moments) -> tuple[Tensor, Tensor]:
        """|w_hidden| (B,) and its error, from a rate's residual; of counts nothing is claimed."""
        assert self.simulator is not None
        if self.simulator.output != "rate":
            nothing = torch.full_like(found.variance, self.largest / 2)
            return nothing, 30 * self.largest * torch.ones_like(nothing)
        left = (inputs.variance - inputs.shared * inputs.pull * inputs.count).clamp(min=1e-3 * inputs.variance)
        size = (found.variance / left).sqrt()
        freedom = (found.bins - found.weights.shape[1]).clamp(min=2)
        return size, size * ((found.kurtosis.clamp(min=-1.5) + 2) / (4 * freedom)).sqrt()

    def _corrected(
        self, found: Regression, inputs: Moments, sign: float, size: Tensor, size_error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimates (B, P) of u for a sign of the hidden weight, its size last, and their covariance (B, P, P)."""
        assert self.simulator is not None
        weights, covariance = found.weights, found.covariance
        last, cross = weights.shape[1], torch.zeros_like(weights)
        if self.signed:
            moved = torch.zeros_like(weights)
            if self.simulator.output == "rate" and self.simulator.filters is None:
                moved[:, : self.simulator.inputs] = inputs.pull[:, None]
                moved[:, self.bias] = inputs.mean * (1 - inputs.count * inputs.pull)
            weights = weights - sign * size[:, None] * moved
            cross = -sign * size_error.square()[:, None] * moved
            covariance = covariance + cross[:, :, None] * cross[:, None] / size_error.square()[:, None, None]
        span = self.high - self.low
        m = torch.zeros(len(weights), self.count, dtype=weights.dtype, device=weights.device)
        c = torch.zeros(len(m), self.count, self.count, dtype=m.dtype, device=m.device)
        m[:, self.place] = (weights - self.low) / span
        c[:, self.place[:, None], self.place[None]] = covariance / (span[:, None] * span[None])
        if self.signed:
            m[:, last], c[:, last, last] = size / self.largest, (size_error / self.largest).square()
            joint = cross / span / self.largest
            c[:, self.place, last] = joint
            c[:, last, self.place] = joint
        return m, c

    def _tests(self, found: Regression, inputs: Moments) -> Tensor:
        """Ten numbers on law, size and sign (B, 10)."""
        bins = found.bins
        skew_test = found.skewness * (bins / 6).sqrt()
        return torch.stack(
            [
                bins.log(),
                skew_test * inputs.skewness.sign(),
                found.skewness,
                found.kurtosis,
                inputs.skewness,
                inputs.variance.log(),
                inputs.mean,
                inputs.shared / inputs.variance,
                found.excess,
                found.excess_test,
            ],
            1,
        )


def surely(estimate: Tensor, error: Tensor) -> Tensor:
    """How surely a number is not 0, of [0, 1]: 0 for an estimate of up to three standard errors, 1 from five on."""
    return torch.sigmoid(SHARP * (estimate.abs() / error - ENOUGH))


class Moments:
    """Of the observed inputs (B, I, T): what a hidden input of the same law would have.

    Attributes:
        mean: Mean over the inputs (B,).
        variance: Mean variance (B,).
        shared: Mean covariance of two inputs (B,); 0 for a single one.
        skewness: Mean skewness (B,).
        mean_error, shared_error, skewness_error: Their standard errors if the inputs are normal (B,), with their correlations
            in time and (mean and skewness) among them.
        pull: What regressing without the hidden input adds to each weight, per unit of its weight (B,).
        count: I.
    """

    def __init__(self, x: Tensor, seen: Tensor) -> None:
        bins, count = seen.sum(-1).to(x), x.shape[1]
        means = x.sum(-1) / bins[:, None]
        apart = torch.where(seen[:, None], x - means[..., None], 0.0)
        covariance = apart @ apart.mT / bins[:, None, None]
        variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12)
        self.mean, self.variance, self.count = means.mean(-1), variance.mean(-1), count
        pairs = count * (count - 1)
        self.shared = (covariance.sum((-2, -1)) - variance.sum(-1)) / pairs if pairs else torch.zeros_like(self.mean)
        self.skewness = ((apart**3).sum(-1) / bins[:, None] / variance**1.5).mean(-1)
        next_to = (apart[..., 1:] * apart[..., :-1]).sum((-2, -1)) / apart.square().sum((-2, -1)).clamp(min=1e-12)
        among = (self.shared / self.variance).clamp(0.0, 1.0)
        # Hermite polynomials of degree n of normal variables with correlation r have correlation r^n
        number = [bins * (1 - r) / (1 + r) for r in (next_to.clamp(0.0, 0.999) ** n for n in (1, 2, 3))]
        alike = [(1 + (count - 1) * among**n) / count for n in (1, 3)]
        self.mean_error = (self.variance * alike[0] / number[0]).sqrt()
        self.shared_error = self.variance / (number[1] * max(pairs / 2, 1.0)).sqrt()
        self.skewness_error = (6 * alike[1] / number[2]).sqrt()
        # inputs of one law: their own covariances, which scatter, would add their errors to the weights'
        self.pull = self.shared / (self.variance + (count - 1) * self.shared).clamp(min=1e-3 * self.variance)


def _autocorrelation(found: Regression, seen: Tensor) -> Tensor:
    """Of the standardised residual at LAGS, in units of its error under independence (B, 6)."""
    e, bins = found.residual, seen.shape[-1]
    columns = [
        (e[:, lag:] * e[:, :-lag]).sum(-1) / (seen[:, lag:] & seen[:, :-lag]).sum(-1).clamp(min=1).sqrt()
        if lag < bins
        else torch.zeros_like(found.variance)
        for lag in LAGS
    ]
    return torch.stack(columns, 1)

"""How one channel of a recording follows the others: linear system identification as features, for any simulator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from neuroinf.networks.filters import exponential_filters, last_event, restart
from neuroinf.networks.response_kernel import products
from neuroinf.networks.scaling import Scaled

TRIGGERED_LAGS = (1, 2, 3, 5, 9)  # samples before an event
ROWS = 4  # rows computed at once: larger arrays are fresh from the system each time, which costs as much again
SMALLEST_RATE = 1e-2  # of 1 - f and of b, beyond which the noise decides their sign and their logarithm
SMALLEST_SLOPE = 1e-3
LARGEST = 5.0  # standardised statistics are cut off here: a regression without information can give any number


class ResponseStatistics(nn.Module):
    r"""Regressions of a response on its own, its inputs' and its events' filtered past, as features.

    Between events many neuron models are nearly linear: :math:`\dot y` is a sum of y, of its inputs and of the currents
    that past events left behind, and y starts anew after each event. Filtering both sides of such an equation with an
    exponential :math:`F_k` that is restarted at each event makes derivatives disappear and averages noise away:

    .. math:: y \approx a + f F_k y + b F_k i + \textstyle\sum_j e_j F_k s_j + c\, d_k + c_0 d^0_k,

    with i the inputs, :math:`s_j` the events filtered with memory :math:`m_j`, :math:`d_k` and :math:`d^0_k` the decay
    since the last event and (before the first) since the start. It is solved by ridge regression for each k. One k
    would do without noise; with noise each k is biased in its own way (short filters most), and a network that sees all
    of them, with their unexplained variances, can correct that.

    The features are the coefficients; the log unexplained variances; what follows from the coefficients in the
    recording's units (level at rest a / (1 - f), rate 1 - f, slope b, gain b / (1 - f), current per event e / b); and
    the averages of y and i shortly before an event. No weights are learnt here.

    Args:
        responses: Rows of x that are regressed, each with its own features.
        events: Rows of x that hold events.
        inputs: Rows of x that drive the response.
        time_constants: K filters, samples.
        memories: J filters of the events, samples.
        ridges: Penalties, relative to each regressor's power: a weak one, and one that noise disturbs less.

    Source:
        State-variable filters: Young, Automatica 17 (1981) 23-39.
    """

    def __init__(
        self,
        responses: Sequence[int],
        events: Sequence[int],
        inputs: Sequence[int],
        time_constants: Sequence[float],
        memories: Sequence[float],
        ridges: Sequence[float] = (1e-5, 1e-3),
    ) -> None:
        super().__init__()
        self.responses, self.events, self.inputs = list(responses), list(events), list(inputs)
        self.time_constants, self.memories, self.ridges = list(time_constants), list(memories), list(ridges)
        regressors = 4 + len(self.inputs) + len(self.events) * len(self.memories)
        derived = 2 + 2 * len(self.inputs) + (regressors - 4 - len(self.inputs) if self.inputs else 0)
        per_filter = len(self.ridges) * (regressors + 1 + derived)
        triggered = len(TRIGGERED_LAGS) * (1 + len(self.inputs)) if self.events else 0
        self.features = len(self.responses) * (len(self.time_constants) * per_filter + triggered)

    def forward(self, scaled: Scaled) -> Tensor:
        """Features (B, F) of scaled recordings (B, C, T); nan where the response was not observed."""
        if not self.responses:
            return scaled.values.new_zeros(len(scaled.values), 0)
        with torch.autocast(scaled.values.device.type, enabled=False):
            return torch.cat([self._one(scaled, response) for response in self.responses], 1)

    def _one(self, scaled: Scaled, response: int) -> Tensor:
        """Features of one response."""
        if scaled.values.device.type == "cpu" and not scaled.values.requires_grad:
            rows = (response, self.events, self.inputs)
            gram, before = products(
                scaled.values, scaled.observed, *rows, self.time_constants, self.memories, TRIGGERED_LAGS
            )
        else:
            gram, before = self.products(scaled, response)
        features = [before]
        for penalty in self.ridges:
            coefficients, unexplained = regress(gram[..., 1:, 1:], gram[..., 1:, 0], penalty)
            features += [coefficients.flatten(1), unexplained.flatten(1)]
            features += [part.flatten(1) for part in self._derived(coefficients, scaled, response)]
        return torch.cat(features, 1).masked_fill(scaled.mean[:, response, None].isnan(), torch.nan)

    def products(self, scaled: Scaled, response: int) -> tuple[Tensor, Tensor]:
        """As :func:`response_kernel.products`, on any device, and differentiable."""
        parts: list[tuple[Tensor, Tensor]] = []
        for values, observed in zip(scaled.values.split(ROWS), scaled.observed.split(ROWS), strict=True):
            y, seen = values[:, response], observed[:, response]
            gap = self._events_and_their_gaps(values, seen)
            parts.append((self._gram(values, y, seen, last_event(gap)), self._before_events(values, y, seen, gap)))
        gram, before = (torch.cat(part) for part in zip(*parts, strict=True))
        return gram, before

    def _derived(self, coefficients: Tensor, scaled: Scaled, response: int) -> list[Tensor]:
        """Level at rest, log rate, log slope and log gain per input, current per event; in the recording's units."""
        number = len(self.inputs)
        constant, _, _, own, inputs, events = coefficients.split(
            [1, 1, 1, 1, number, coefficients.shape[-1] - 4 - number], -1
        )
        mean, size = scaled.mean[:, response, None, None], scaled.size[:, response, None, None]
        rate = (1 - own).clamp(min=SMALLEST_RATE)
        found = [mean + size * (constant / rate).clamp(-10, 10), rate.log()]
        if number:
            inputs = inputs.abs().clamp(min=SMALLEST_SLOPE)
            unit = scaled.size[:, self.inputs][:, None]
            slope = (inputs * size / unit).log()
            found += [slope, slope - rate.log(), events / inputs[..., :1] * unit[..., :1]]
        return found

    def _events_and_their_gaps(self, values: Tensor, seen: Tensor) -> Tensor:
        """Where (B, T) an event is, or the response is hidden since an event, as it is during a spike cut."""
        if not self.events:
            return torch.zeros_like(seen)
        events = (values[:, self.events] > 0).any(1)
        last = last_event(events)
        hidden = ~seen & (last >= 0) & (last_event(seen) <= last)
        return events | (hidden & seen.any(1, keepdim=True))

    def _gram(self, values: Tensor, y: Tensor, seen: Tensor, last: Tensor) -> Tensor:
        """Mean products (B, K, M, M) of y and its regressors, over the samples at which y was observed."""
        t = y.shape[-1]
        tau = y.new_tensor(self.time_constants)
        drives = [y[:, None], values[:, self.inputs]]
        if self.events:
            drives.append(exponential_filters(values[:, self.events], y.new_tensor(self.memories)).flatten(1, 2))
        filtered, since_event = restart(exponential_filters(torch.cat(drives, 1), tau), last, tau)
        since_start = torch.exp(-torch.arange(t, device=y.device) / tau[:, None]) * (last < 0)[:, None]
        shared = torch.stack([y, torch.ones_like(y)], 1)[:, :, None].expand(-1, -1, len(tau), -1)
        terms = torch.cat([shared, since_event[:, None], since_start[:, None], filtered], 1) * seen[:, None, None]
        # double precision: ill-conditioned regressions would magnify the order of the sums, which padding changes
        terms = terms.transpose(1, 2).double()
        return terms @ terms.transpose(-1, -2) / seen.sum(1).clamp(min=1)[:, None, None, None]

    def _before_events(self, values: Tensor, y: Tensor, seen: Tensor, gap: Tensor) -> Tensor:
        """Mean of the response and of each input a few samples before an event begins."""
        if not self.events:
            return y.new_zeros(len(y), 0)
        begins = gap & ~pad(gap, (1, 0))[:, :-1]
        means: list[Tensor] = []
        for lag in TRIGGERED_LAGS:
            weight = (pad(begins, (0, lag))[:, lag:] & seen).to(y.dtype)
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
            means.append(torch.einsum("bct,bt->bc", torch.cat([y[:, None], values[:, self.inputs]], 1), weight))
        return torch.cat(means, 1)


def regress(gram: Tensor, cross: Tensor, penalty: float) -> list[Tensor]:
    r"""Ridge regression from mean products, of a target with unit power.

    .. math:: b = D^{-1} (D^{-1} G D^{-1} + \lambda 1)^{-1} D^{-1} g, \quad D^2 = \operatorname{diag} G

    Args:
        gram: G (..., M, M), regressors with regressors.
        cross: g (..., M), regressors with the target.
        penalty: :math:`\lambda`.

    Returns:
        b (..., M), and the log of the fraction of power left unexplained (..., 1); zeros where there was no data.
    """
    gram, cross = gram.double(), cross.double()
    power = gram.diagonal(dim1=-2, dim2=-1)
    inverse = torch.where(power > 1e-12, power.clamp(min=1e-12).rsqrt(), 0.0)
    gram, cross = gram * inverse[..., None] * inverse[..., None, :], cross * inverse
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    b = torch.linalg.solve(gram + penalty * identity, cross)
    explained = (b * (2 * cross - (gram @ b[..., None])[..., 0])).sum(-1, keepdim=True)
    return [(b * inverse).float(), (1 - explained).clamp(min=1e-4).log().float()]


class Standardise(nn.Module):
    """Heavy-tailed features compressed by asinh, then brought to mean 0 and variance 1 by running moments.

    A nan, that is a feature the recording does not have, does not count and becomes 0. In training too it is the
    running moments that are used, so that rows never see each other.

    Args:
        features: F.
        horizon: Number of batches over which the moments are averaged.
    """

    number: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, horizon: int = 1000) -> None:
        super().__init__()
        self.features, self.horizon = features, horizon
        self.register_buffer("number", torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, F)."""
        x = x.asinh()
        known = torch.isfinite(x)
        if self.training:
            with torch.no_grad():
                self._update(torch.where(known, x, 0.0), known)
        standard = (x - self.mean) / self.variance.clamp(min=1e-8).sqrt()
        return torch.where(known, standard.clamp(-LARGEST, LARGEST), 0.0)

    def _update(self, x: Tensor, known: Tensor) -> None:
        """Move the moments towards those of a batch, by its part in all batches that had the feature."""
        count = known.sum(0)
        self.number += count > 0
        weight = torch.where(count > 0, 1 / self.number.clamp(1, self.horizon), 0.0)
        step = x.sum(0) / count.clamp(min=1) - self.mean
        spread = (known * (x - self.mean).square()).sum(0) / count.clamp(min=1)
        self.mean += weight * step
        # spread was about the old mean; what the mean moved is taken off again
        self.variance.copy_((1 - weight) * self.variance + weight * spread - weight.square() * step.square())

"""How one channel of a recording follows the others: the statistics of a linear system identification, for any simulator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from neuroinf.networks.filters import exponential_filters, last_event, restart
from neuroinf.networks.scaling import Scaled

TRIGGERED_LAGS = (1, 2, 3, 5, 9)  # samples before an event
ROWS = 8  # rows computed at once: their filter bank then stays in the cache (measured: 1.3 ms a row, 2.9 with 64)
STRETCH = 250  # samples whose products are added in single precision
LARGEST = 5.0  # standardised statistics are cut off here: a regression without information can give any number


class ResponseStatistics(nn.Module):
    r"""Regressions of a response on filtered inputs and events, as features.

    Between events, many neuron models are nearly linear: the response follows exponential averages of its input, and of
    the currents that past events left behind, and starts anew at each event. With F_k an exponential filter restarted
    at each event, :math:`i` the inputs, :math:`s_j` the events filtered at memory :math:`m_j`, and :math:`d_k` the decay
    since the last event (and since the start, before the first), two kinds of ridge regressions are solved per row:

    .. math::
        y \approx a + \textstyle\sum_k (b_k F_k i + c_k d_k + \sum_j e_{jk} F_k s_j), \qquad
        y \approx a + b F_k i + c\, d_k + \sum_j e_j F_k s_j + f F_k y \quad \text{for each } k

    The first (output error) is unbiased by observation noise but ill-conditioned, the second (equation error) the other
    way round. Their coefficients, unexplained variances, and the averages of y and i before an event are the features:
    everything else is left to a network. No weights are learnt here but running means and variances.

    Args:
        responses: R rows of x that are regressed, each with its own features.
        events: E rows of x that hold events.
        inputs: I rows of x that drive the response.
        time_constants: K filters, samples.
        memories: J filters of the events, samples.
        ridges: Penalties of the output-error regression, relative to each regressor's power.
        ridge: Penalty of the equation-error regressions.
    """

    def __init__(
        self,
        responses: Sequence[int],
        events: Sequence[int],
        inputs: Sequence[int],
        time_constants: Sequence[float],
        memories: Sequence[float],
        ridges: Sequence[float] = (1e-5, 1e-3),
        ridge: float = 1e-6,
    ) -> None:
        super().__init__()
        self.responses, self.events, self.inputs = list(responses), list(events), list(inputs)
        self.time_constants, self.memories = list(time_constants), list(memories)
        self.ridges, self.ridge = list(ridges), ridge
        k, drives = len(self.time_constants), len(self.inputs) + len(self.events) * len(self.memories)
        # rows of the Gram matrix: y, 1, then per filter: decay since event, since start, each drive, y itself
        rows = torch.arange(2, 2 + k * (drives + 3)).reshape(drives + 3, k)
        one = torch.ones(k, 1, dtype=torch.long)
        self._output_error = torch.cat([one[0], rows[:-1].flatten()])
        self._equation_error = torch.cat([one, rows.T], 1)
        triggered = len(TRIGGERED_LAGS) * (1 + len(self.inputs)) if self.events else 0
        self.features = len(self.responses) * (
            len(self.ridges) * (len(self._output_error) + 1) + k * (self._equation_error.shape[1] + 1) + triggered
        )

    def forward(self, scaled: Scaled) -> Tensor:
        """Features (B, F) of scaled recordings (B, C, T)."""
        parts = zip(scaled.values.split(ROWS), scaled.observed.split(ROWS), strict=True)
        with torch.autocast(scaled.values.device.type, enabled=False):
            return torch.cat([torch.cat([self._one(v, o, r) for r in self.responses], 1) for v, o in parts])

    def _one(self, values: Tensor, observed: Tensor, response: int) -> Tensor:
        """Features of one response; values are 0 where not observed."""
        y, seen = values[:, response], observed[:, response]
        gap = self._events_and_their_gaps(values, seen)
        grams = self._gram(values, y, seen, last_event(gap))
        features: list[Tensor] = []
        index = self._output_error
        for penalty in self.ridges:
            features += regress(grams[:, index[:, None], index], grams[:, index, 0], penalty)
        index = self._equation_error
        coefficients, unexplained = regress(
            grams[:, index[:, :, None], index[:, None, :]], grams[:, index, 0], self.ridge
        )
        features += [coefficients.flatten(1), unexplained.flatten(1)]
        if self.events:
            features.append(self._before_events(values, y, seen, gap))
        return torch.cat(features, 1)

    def _events_and_their_gaps(self, values: Tensor, seen: Tensor) -> Tensor:
        """Where (B, T) an event is, or the response is hidden since an event, as it is during a spike cut."""
        if not self.events:
            return torch.zeros_like(seen)
        events = (values[:, self.events] > 0).any(1)
        hidden = ~seen & (last_event(seen) <= last_event(events)) & (last_event(events) >= 0)
        return events | (hidden & seen.any(1, keepdim=True))

    def _gram(self, values: Tensor, y: Tensor, seen: Tensor, last: Tensor) -> Tensor:
        """Mean products (B, M, M) of y, 1 and all regressors, over the samples at which y was observed."""
        b, t = y.shape
        tau = y.new_tensor(self.time_constants)
        drives = [values[:, self.inputs]]
        if self.events:
            memory = exponential_filters(values[:, self.events], y.new_tensor(self.memories))
            drives.append(memory.flatten(1, 2))
        filtered, since_event = restart(exponential_filters(torch.cat([*drives, y[:, None]], 1), tau), last, tau)
        sample = torch.arange(t, device=y.device)
        since_start = torch.exp(-sample / tau[:, None]) * (last < 0)[:, None]
        one = torch.ones_like(y)[:, None]
        regressors = torch.cat([y[:, None], one, since_event, since_start, filtered.flatten(1, 2)], 1)
        # stretches of fixed length, added in double precision: exact to what ill-conditioned regressions need, and
        # padding adds exact zeros
        stretches = pad(regressors * seen[:, None], (0, -t % STRETCH)).unflatten(2, (-1, STRETCH)).transpose(1, 2)
        products = stretches @ stretches.transpose(2, 3)
        return products.sum(1, dtype=torch.float64) / seen.sum(1).clamp(min=1)[:, None, None]

    def _before_events(self, values: Tensor, y: Tensor, seen: Tensor, gap: Tensor) -> Tensor:
        """Mean of the response and of each input a few samples before an event begins."""
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

    In training too it is the running moments that count, so that rows never see each other.

    Args:
        features: F.
        horizon: Number of batches over which the moments are averaged.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, features: int, horizon: int = 1000) -> None:
        super().__init__()
        self.features, self.horizon = features, horizon
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("square", torch.ones(features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, F)."""
        x = x.asinh()
        if self.training:
            with torch.no_grad():
                self.batches += 1
                weight = 1 / self.batches.clamp(max=self.horizon)
                self.mean.lerp_(x.mean(0), weight)
                self.square.lerp_(x.square().mean(0), weight)
        deviation = (self.square - self.mean.square()).clamp(min=1e-8).sqrt()
        return ((x - self.mean) / deviation).clamp(-LARGEST, LARGEST)

r"""What spikes of a few neurons of each population say by counting: the same for any order, number and duration.

With :math:`y_{kt}` the count of neuron k in bin t, :math:`p_m` the sum over the recorded neurons of population m and T bins:

============ =============================================================================================================
rates        spikes per neuron and second
hazards      spikes over bins, by the age since the neuron's own last spike; in all bins, and where the population is above
             and below its mean
correlograms :math:`\sum_t p_a(t)\, p_b(t + l)` over what independent trains of these rates would have, a neuron with itself,
             with others of its population, and populations with one another, over ranges of lags l
levels       quantiles of the population rates, smoothed; for each pair which of the two is ahead and how often that changes,
             and the rates of all populations while either is ahead
inputs       mean and variance of each external input and its correlogram with each population, a regression's slope
size         duration, and number of recorded neurons of each population
============ =============================================================================================================

What cannot be said (a population without a recorded neuron, an input that is not known) is nan.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import pad

# bins: the first of each range; finest where membranes, synapses and refractory times act
LAGS = (0, 1, 2, 3, 4, 5, 7, 10, 15, 23, 36, 61, 111, 257)
AGES = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 100, 250)
SMOOTHING = (100.0, 400.0)  # ms, standard deviations
QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
AHEAD = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)
EVERY = 5  # bins: smoothed rates hold no more
PRIOR_RATE = 1.0  # Hz, so that a difference of two small rates does not count as one being ahead


@dataclass(frozen=True)
class Pooled:
    """Spikes of B recordings.

    Attributes:
        counts: (B, K, T), 0 where absent.
        member: Which population a recorded neuron is of (K, M), 0 or 1.
        number: Neurons present in each population (B, M).
        seen: Whether a bin was recorded (B, T).
        rate: Mean rates (B, M), Hz; nan without a neuron.
        dt: Bin, s.
    """

    counts: Tensor
    member: Tensor
    number: Tensor
    seen: Tensor
    rate: Tensor
    dt: float

    @property
    def pooled(self) -> Tensor:
        """Sums over the recorded neurons (B, M, T)."""
        return torch.einsum("bkt,km->bmt", self.counts, self.member)

    @property
    def bins(self) -> Tensor:
        """Number of recorded bins (B,)."""
        return self.seen.sum(-1).clamp(min=1).to(self.counts.dtype)


def pool_units(units: Tensor, groups: Tensor, populations: int, dt: float) -> Pooled:
    """Counts (B, K, T), nan where a neuron is absent, of neurons of populations `groups` (K,); dt in ms."""
    known = torch.isfinite(units)
    counts = torch.where(known, units, 0.0)
    member = torch.nn.functional.one_hot(groups, populations).to(counts.dtype)
    number = known.any(-1).to(counts.dtype) @ member
    seen = known.any(1)
    bins = seen.sum(-1).clamp(min=1)[:, None]
    rate = torch.einsum("bk,km->bm", counts.sum(-1), member) / (number * bins * dt / 1000)
    return Pooled(counts, member, number, seen, rate, dt / 1000)


def statistics(units: Tensor, inputs: Tensor, groups: Tensor, populations: int, dt: float) -> Tensor:
    """All of them (B, F).

    Args:
        units: Counts of recorded neurons (B, K, T), nan where absent.
        inputs: External input of each population (B, M, T), 1/s, nan where not known.
        groups: Population of each recorded neuron (K,).
        populations: M.
        dt: Bin, ms.
    """
    data = pool_units(units, groups, populations, dt)
    smooth = [smoothed(data, width / dt)[..., ::EVERY] for width in SMOOTHING]
    seen = data.seen[:, ::EVERY]
    parts = [
        (data.rate + 0.1).log(),
        data.rate.sqrt(),
        data.number,
        torch.where(data.number > 0, 1 / data.number.clamp(min=1), torch.nan),
        (data.bins * data.dt).log()[:, None],
        hazards(data),
        correlograms(data),
        *[levels(rates, seen) for rates in smooth],
        responses(data, inputs),
    ]
    absent = (data.number == 0).any(-1, keepdim=True)
    found = torch.cat([part.flatten(1) for part in parts], 1)
    return torch.where(torch.isinf(found) & absent, torch.nan, found)


def smoothed(data: Pooled, width: float) -> Tensor:
    """Rates (B, M, T), Hz, smoothed by a Gaussian of standard deviation `width` bins, over no more than was seen."""
    bins = data.counts.shape[-1]
    size = _fast(bins + 4 * int(width))
    kernel = torch.exp(-0.5 * (2 * torch.pi * width * torch.fft.rfftfreq(size)) ** 2).to(data.counts)
    both = torch.cat([data.pooled, data.seen[:, None].to(data.counts.dtype)], 1)
    blurred = torch.fft.irfft(torch.fft.rfft(both, size) * kernel, size)[..., :bins]
    rate = blurred[:, :-1].clamp(min=0) / blurred[:, -1:].clamp(min=1e-3)
    return rate / data.number.clamp(min=1)[..., None] / data.dt


def hazards(data: Pooled) -> Tensor:
    """Log hazard and log exposure (B, 3, 2, M, A) by age, in all bins, where the population is above its mean, and below."""
    counts, bins = data.counts, data.counts.shape[-1]
    time = torch.arange(bins, device=counts.device)
    last = torch.where(counts > 0, time, -bins).cummax(-1).values
    age = time - pad(last, (1, 0), value=-bins)[..., :-1]
    place = torch.bucketize(age, torch.tensor(AGES, device=counts.device), right=True) - 1
    known = (age <= time + 1) & data.seen[:, None]  # bins before a neuron's first spike have no age
    place = torch.where(known, place, len(AGES))
    rates = smoothed(data, SMOOTHING[0] / 1000 / data.dt)
    mean = (rates * data.seen[:, None]).sum(-1, keepdim=True) / data.bins[:, None, None]
    above = torch.einsum("bmt,km->bkt", (rates > mean).to(counts.dtype), data.member)
    spikes = (counts > 0).to(counts.dtype)
    found = []
    for weight in (torch.ones_like(counts), above, 1 - above):
        sums = []
        for values in (weight * spikes, weight):
            table = counts.new_zeros(*counts.shape[:2], len(AGES) + 1).scatter_add_(-1, place, values)
            sums.append(torch.einsum("bka,km->bma", table[..., :-1], data.member))
        fired, exposed = sums
        found.append(torch.stack([((fired + 0.5) / (exposed + 5.0)).log(), (exposed + 1).log()], 1))
    return torch.stack(found, 1)


def correlograms(data: Pooled) -> Tensor:
    """Log ratio to the expectation and deviation in standard errors (B, 2, C) of every correlogram over ranges of lags."""
    size = _fast(data.counts.shape[-1] + LAGS[-1])
    single = torch.fft.rfft(data.counts, size)
    member, total = data.member, data.counts.sum(-1)
    whole = torch.einsum("bkf,km->bmf", single, member.to(single.dtype))
    own = torch.einsum("bkf,km->bmf", single.abs().square(), member)
    pooled = torch.einsum("bk,km->bm", total, member)
    alone = torch.einsum("bk,km->bm", total.square(), member)
    pairs = list(combinations(range(member.shape[1]), 2))
    products = [own, whole.abs().square() - own]
    expected = [alone, pooled.square() - alone]
    for a, b in pairs:
        both = whole[:, a].conj() * whole[:, b]
        products += [both[:, None], both.conj()[:, None]]
        expected += [(pooled[:, a] * pooled[:, b])[:, None]] * 2
    power = torch.cat([part.to(single.dtype) for part in products], 1)
    found = torch.fft.irfft(power, size)[..., : LAGS[-1]].clamp(min=0)
    lags = torch.arange(LAGS[-1], device=found.device)
    left = (data.bins[:, None] - lags).clamp(min=0)[:, None] / data.bins[:, None, None].square()
    chance = torch.cat(expected, 1)[..., None] * left
    found, chance = _ranges(found), _ranges(chance)
    return torch.stack([((found + 1) / (chance + 1)).log(), (found - chance) / (chance + 1).sqrt()], 1)


def levels(rates: Tensor, seen: Tensor) -> Tensor:
    """Of smoothed rates (B, M, T), where `seen` (B, T): (B, F)."""
    weight = seen.to(rates.dtype)
    bins = weight.sum(-1).clamp(min=1)
    known = torch.where(seen[:, None], rates, torch.nan)
    at = torch.tensor(QUANTILES, dtype=rates.dtype, device=rates.device)
    found = [torch.nanquantile(known, at, -1).sqrt().movedim(0, 1).flatten(1)]
    centred = (rates - (rates * weight[:, None]).sum(-1, keepdim=True) / bins[:, None, None]) * weight[:, None]
    covariance = centred @ centred.mT / bins[:, None, None]
    sd = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-6).sqrt()
    found.append(sd.log())
    edges = torch.tensor(AHEAD, dtype=rates.dtype, device=rates.device)
    for a, b in combinations(range(rates.shape[1]), 2):
        found.append((covariance[:, a, b] / (sd[:, a] * sd[:, b] + 1e-3))[:, None])
        ahead = (rates[:, a] - rates[:, b]) / (rates[:, a] + rates[:, b] + 2 * PRIOR_RATE)
        below = (ahead[:, None] < edges[:, None]) * weight[:, None]
        found.append(below.sum(-1) / bins[:, None])
        first = (ahead > 0).to(rates.dtype)
        changes = ((first[:, 1:] != first[:, :-1]) * weight[:, 1:]).sum(-1) / bins
        found.append(changes[:, None].sqrt())
        for side in (first, 1 - first):
            side = side * weight
            during = (rates * side[:, None]).sum(-1) / side.sum(-1).clamp(min=1)[:, None]
            found.append(torch.where(side.sum(-1, keepdim=True) > 0, (during + 0.1).log(), torch.nan))
    return torch.cat(found, 1)


def responses(data: Pooled, inputs: Tensor) -> Tensor:
    """Mean and variance of each input, and slopes and standardised covariances with each population by lag (B, F)."""
    known = torch.isfinite(inputs).any(-1)
    weight = data.seen[:, None].to(data.counts.dtype)
    values = torch.where(torch.isfinite(inputs), inputs, 0.0) * weight
    mean = values.sum(-1) / data.bins[:, None]
    centred = (values - mean[..., None]) * weight
    variance = centred.square().sum(-1) / data.bins[:, None]
    pooled = data.pooled
    apart = (pooled - pooled.sum(-1, keepdim=True) / data.bins[:, None, None]) * weight
    size = _fast(pooled.shape[-1] + LAGS[-1])
    product = torch.fft.rfft(centred, size).conj()[:, :, None] * torch.fft.rfft(apart, size)[:, None]
    covariance = _ranges(torch.fft.irfft(product, size)[..., : LAGS[-1]]) / data.bins[:, None, None, None]
    widths = torch.diff(torch.tensor(LAGS, device=covariance.device))
    covariance = covariance / widths / data.number.clamp(min=1)[:, None, :, None] / data.dt
    power, rate = variance[:, :, None, None], torch.nan_to_num(data.rate)[:, None, :, None]
    error = (
        power * rate / data.dt / data.bins[:, None, None, None] / data.number.clamp(min=1)[:, None, :, None]
    ).sqrt()
    slope = covariance / (power + 1.0) / (rate + 1.0) * 100
    standard = covariance / (error / widths.sqrt() + 1e-3)
    told = torch.cat([mean, (variance + 1).log(), slope.flatten(1), standard.flatten(1)], 1)
    none = ~known.all(-1, keepdim=True)
    return torch.cat([torch.where(none, torch.nan, told), known.all(-1, keepdim=True).to(told.dtype)], 1)


def _ranges(values: Tensor) -> Tensor:
    """Sums (..., L) over the ranges of lags of values (..., lags)."""
    total = pad(values.cumsum(-1), (1, 0))
    return total[..., LAGS[1:]] - total[..., LAGS[:-1]]


def _fast(least: int) -> int:
    """A length at least so large whose Fourier transform is fast: 2^a, 3 * 2^a or 5 * 2^a."""
    return min(factor << max(0, (-(-least // factor) - 1).bit_length()) for factor in (1, 3, 5, 9, 15))

"""The GLM's loop over bins; the equations are in :mod:`neuroinf.simulators.glm`.

A part that a model does not have is an array of no weights. The sum for a bin is taken in one order, part after part
and in each filter from the largest lag to the smallest, whichever way it is computed, in float64 and without fused
multiply-adds: a row's result is the same in every batch, and no bin can change an earlier one even by rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.exponential import exponentials
from neuroinf.simulators.glm_draws import normal, poisson, start_stream, uniform
from neuroinf.simulators.glm_filter import add_filtered, combine, extent, spread, weigh

Floats = NDArray[np.float64]
Samples = NDArray[Any]  # of the precision chosen for the stimulus and the outputs
Words = NDArray[np.uint64]

RATE, BERNOULLI, POISSON = 0, 1, 2
# A larger rate, 2^24, ends the row: float32 no longer tells counts above it apart.
LARGEST_DRIVE = 24.0 * math.log(2.0)
FULL, ENDED, NOT_A_NUMBER = 0, 1, 2


@njit(nogil=True, cache=True)
def _shares(stream: Words, shares: Floats) -> None:
    """Draw a number 1 to K and, of so many, the direction with positive sum; the others are 0."""
    k = 1 + int(uniform(stream) * shares.size)
    shares[:] = 0.0
    length = total = 0.0
    for i in range(k):
        shares[i] = normal(stream)
        length += shares[i] * shares[i]
        total += shares[i]
    length = math.sqrt(length)
    for i in range(k):
        shares[i] /= length if total > 0 else -length


@njit(nogil=True, cache=True, error_model="numpy")
def _respond(eta: Floats, logistic: bool, output: int, stream: Words, response: Samples, room: Floats) -> int:
    """From the drive of each bin, which is overwritten, to its output. Returns how it ended."""
    largest = np.inf if logistic or output == BERNOULLI else LARGEST_DRIVE
    end, how, inside = eta.size, FULL, True
    for t in range(end):
        inside &= (eta[t] <= largest) & (abs(eta[t]) < np.inf)
    if not inside:
        end = 0
        while eta[end] <= largest and abs(eta[end]) < np.inf:
            end += 1
        how = ENDED if abs(eta[end]) < np.inf else NOT_A_NUMBER
        response[end:] = np.nan
    rate = eta[:end]
    if logistic:
        for t in range(end):
            rate[t] = -rate[t]
        exponentials(rate, room)
        for t in range(end):
            rate[t] = 1.0 / (1.0 + rate[t])
    else:
        exponentials(rate, room)
    if output == RATE:
        for t in range(end):
            response[t] = rate[t]
    elif output == BERNOULLI:
        for t in range(end):
            probability = rate[t] if logistic else -math.expm1(-rate[t])
            response[t] = 1.0 if uniform(stream) < probability else 0.0
    else:
        none, second = room[eta.size : eta.size + end], room[2 * eta.size :]
        for t in range(end):
            none[t] = -rate[t]
        exponentials(none, second)
        for t in range(end):
            response[t] = poisson(rate[t], none[t], stream)
    return how


@njit(nogil=True, cache=True, error_model="numpy")
def _respond_to_itself(
    eta: Floats, history: Floats, logistic: bool, output: int, stream: Words, response: Samples
) -> int:
    """The same with history (L,), which each bin's output adds to the drive of later ones."""
    largest = np.inf if logistic or output == BERNOULLI else LARGEST_DRIVE
    for t in range(eta.size):
        if not (eta[t] <= largest and abs(eta[t]) < np.inf):
            response[t:] = np.nan
            return ENDED if abs(eta[t]) < np.inf else NOT_A_NUMBER
        rate = 1.0 / (1.0 + math.exp(-eta[t])) if logistic else math.exp(eta[t])
        if output == RATE:
            response[t] = rate
        elif output == BERNOULLI:
            probability = rate if logistic else -math.expm1(-rate)
            response[t] = 1.0 if uniform(stream) < probability else 0.0
        else:
            response[t] = poisson(rate, math.exp(-rate), stream)
        if response[t] != 0.0 and t + 1 < eta.size:
            spread(eta, t + 1, float(response[t]), history)  # the response as stored, so that it can be refiltered
    return FULL


@njit(nogil=True, cache=True, error_model="numpy")
def glm_rows(
    first: int,
    last: int,
    stimulus: Samples,
    bias: Floats,
    weights: Floats,
    filters: Floats,
    coupling_weights: Floats,
    coupling: Floats,
    history_weights: Floats,
    history: Floats,
    hidden_weights: Floats,
    summed: bool,
    logistic: bool,
    output: int,
    seeds: Words,
    response: Samples,
    hidden: Samples,
    ended: NDArray[np.int8],
) -> None:
    r"""Simulate rows first to last.

    Args:
        first, last: The range of rows, last excluded.
        stimulus: :math:`(n, I + m + K, T)` or :math:`(1, I + m + K, T)`: inputs, coupled neurons, hidden inputs.
        bias: :math:`(n,)`.
        weights: Of the inputs :math:`(n, I, J)`.
        filters: Their basis :math:`(J, L)`; ones :math:`(1, 1)`: in the same bin.
        coupling_weights, coupling: :math:`(n, m, J)` and the basis :math:`(J, L)`; lag 0 is the bin before.
        history_weights, history: :math:`(n, J)` and the basis :math:`(J, L)`; lag 0 is the bin before.
        hidden_weights: :math:`(n, K)`, or :math:`(n, 1)` of the sum.
        summed: Whether the hidden inputs are summed with shares drawn from the row's stream.
        logistic: The nonlinearity; else exponential.
        output: RATE, BERNOULLI or POISSON.
        seeds: Of each row :math:`(n,)`.
        response: Output :math:`(n, T)`; nan from where a row ended.
        hidden: Output :math:`(n, T)` if summed: the hidden inputs times their shares; else unused.
        ended: Output :math:`(n,)`: FULL, ENDED (a drive above LARGEST_DRIVE) or NOT_A_NUMBER (in the drive).
    """
    steps, inputs, coupled = stimulus.shape[2], weights.shape[1], coupling_weights.shape[1]
    own = history_weights.shape[1] > 0
    eta, stream = np.empty(steps), np.empty(4, np.uint64)
    room = np.empty(max(3 * steps, filters.shape[1], coupling.shape[1]))
    filter_lags, coupling_lags = np.empty((len(filters), 2), np.int64), np.empty((len(coupling), 2), np.int64)
    extent(filters, filter_lags)
    extent(coupling, coupling_lags)
    history_kernel, gains = np.empty(history.shape[1]), np.empty(inputs)
    shares = np.empty(stimulus.shape[1] - inputs - coupled if summed else 0)
    for i in range(first, last):
        x = stimulus[i if stimulus.shape[0] > 1 else 0]
        start_stream(seeds[i], stream)
        eta[:] = bias[i]
        if filters.size == 1:
            for j in range(inputs):
                gains[j] = weights[i, j, 0] * filters[0, 0]
            weigh(eta, x, gains)
        else:
            add_filtered(eta, x[:inputs], weights[i], filters, filter_lags, 0, room)
        if coupled:
            add_filtered(eta, x[inputs : inputs + coupled], coupling_weights[i], coupling, coupling_lags, 1, room)
        if summed:
            _shares(stream, shares)
            h = hidden[i]
            for t in range(steps):
                total = 0.0
                for k in range(shares.size):
                    total += shares[k] * x[inputs + coupled + k, t]
                h[t] = total
                eta[t] += hidden_weights[i, 0] * h[t]
        else:
            weigh(eta, x[inputs + coupled :], hidden_weights[i])
        if own:
            combine(history_weights[i], history, history_kernel)
            ended[i] = _respond_to_itself(eta, history_kernel, logistic, output, stream, response[i])
        else:
            ended[i] = _respond(eta, logistic, output, stream, response[i], room)

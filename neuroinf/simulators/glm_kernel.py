"""The GLM's loop over bins; the equations are in :mod:`neuroinf.simulators.glm`.

A part that a model does not have is an array of no weights. The sum for a bin is taken in one order, input after input
and for each from the largest lag to the smallest, whichever way it is computed, in float64 and without fused
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

Floats = NDArray[np.float64]
Samples = NDArray[Any]  # of the precision chosen for the stimulus and the outputs
Words = NDArray[np.uint64]

RATE, BERNOULLI, POISSON = 0, 1, 2
# A larger rate, 2^24, ends the row: float32 no longer tells counts above it apart.
LARGEST_DRIVE = 24.0 * math.log(2.0)
# A long filter is spread out from each bin that is not 0 where those are fewer than one in SPARSE; else it is gathered
# for each bin, which skips none but is faster for each: 4.6 times with 9 lags, 3.9 with 30, 1.6 with 200.
SPARSE, LONG = 4, 9
FULL, ENDED, NOT_A_NUMBER = 0, 1, 2


@njit(nogil=True, cache=True)
def _combine(weights: Floats, basis: Floats, kernel: Floats) -> None:
    """The filter that the weights (J,) make of the basis (J, L)."""
    kernel[:] = 0.0
    for j in range(weights.size):
        for lag in range(kernel.size):
            kernel[lag] += weights[j] * basis[j, lag]


@njit(nogil=True, cache=True)
def _filter(eta: Floats, x: Samples, kernel: Floats, delay: int) -> None:
    """Add the input x, filtered, to eta: kernel[l] times bin t - delay - l to bin t."""
    steps, lags = eta.size - delay, kernel.size
    if lags * steps <= 0:
        return
    some = 0
    if lags >= LONG:
        for t in range(steps):
            some += x[t] != 0.0
    if lags >= LONG and some * SPARSE < steps:
        for t in range(steps):
            if x[t] != 0.0:
                _spread(eta, t + delay, float(x[t]), kernel)
        return
    lag = min(lags, steps) - 1
    while lag >= 3:  # four lags at a time, each from the first bin that all of them reach
        k_3, k_2, k_1, k_0 = kernel[lag], kernel[lag - 1], kernel[lag - 2], kernel[lag - 3]
        for t in range(lag - 3, lag):
            for back in range(t, lag - 4, -1):
                eta[t + delay] += kernel[back] * x[t - back]
        out, in_3, in_2 = eta[lag + delay :], x[: steps - lag], x[1 : steps - lag + 1]
        in_1, in_0 = x[2 : steps - lag + 2], x[3 : steps - lag + 3]
        for t in range(out.size):
            out[t] = (((out[t] + k_3 * in_3[t]) + k_2 * in_2[t]) + k_1 * in_1[t]) + k_0 * in_0[t]
        lag -= 4
    while lag >= 0:
        out, k_0 = eta[lag + delay :], kernel[lag]
        for t in range(out.size):
            out[t] += k_0 * x[t]
        lag -= 1


@njit(nogil=True, cache=True)
def _spread(eta: Floats, first: int, x: float, kernel: Floats) -> None:
    """Add x times the kernel to the bins from `first` on."""
    out = eta[first : first + kernel.size]
    for lag in range(out.size):
        out[lag] += x * kernel[lag]


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


@njit(nogil=True, cache=True)
def _weigh(eta: Floats, x: Samples, weights: Floats) -> None:
    """Add the inputs x (I, T), each times its weight, to eta: four at a time, so that eta is loaded less often."""
    i = 0
    while i + 4 <= weights.size:
        x_0, x_1, x_2, x_3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        w_0, w_1, w_2, w_3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for t in range(eta.size):
            eta[t] = (((eta[t] + w_0 * x_0[t]) + w_1 * x_1[t]) + w_2 * x_2[t]) + w_3 * x_3[t]
        i += 4
    while i < weights.size:
        x_0, w_0 = x[i], weights[i]
        for t in range(eta.size):
            eta[t] += w_0 * x_0[t]
        i += 1


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
            _spread(eta, t + 1, float(response[t]), history)  # the response as stored, so that it can be refiltered
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
    eta, room, stream = np.empty(steps), np.empty(3 * steps), np.empty(4, np.uint64)
    filter_kernel, coupling_kernel = np.empty(filters.shape[1]), np.empty(coupling.shape[1])
    history_kernel, gains = np.empty(history.shape[1]), np.empty(inputs)
    shares = np.empty(stimulus.shape[1] - inputs - coupled if summed else 0)
    for i in range(first, last):
        x = stimulus[i if stimulus.shape[0] > 1 else 0]
        start_stream(seeds[i], stream)
        eta[:] = bias[i]
        if filters.size == 1:
            for j in range(inputs):
                gains[j] = weights[i, j, 0] * filters[0, 0]
            _weigh(eta, x, gains)
        else:
            for j in range(inputs):
                _combine(weights[i, j], filters, filter_kernel)
                _filter(eta, x[j], filter_kernel, 0)
        for j in range(coupled):
            _combine(coupling_weights[i, j], coupling, coupling_kernel)
            _filter(eta, x[inputs + j], coupling_kernel, 1)
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
            _weigh(eta, x[inputs + coupled :], hidden_weights[i])
        if own:
            _combine(history_weights[i], history, history_kernel)
            ended[i] = _respond_to_itself(eta, history_kernel, logistic, output, stream, response[i])
        else:
            ended[i] = _respond(eta, logistic, output, stream, response[i], room)

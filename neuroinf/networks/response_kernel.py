"""The sums over time of the response statistics in one compiled pass per recording, for tensors on the CPU.

The same numbers as :class:`neuroinf.networks.response.ResponseStatistics` computes with torch, which serves other
devices: a filter is here one multiplication per sample, and nothing of the size of filters times samples is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]
BLOCK = 256  # samples whose products are summed at once: what fits the fastest memory


def products(
    values: Tensor,
    observed: Tensor,
    response: int,
    events: Sequence[int],
    inputs: Sequence[int],
    time_constants: Sequence[float],
    memories: Sequence[float],
    lags: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Mean products of a response and its regressors, and the averages before events.

    Args:
        values: Scaled recordings (B, C, T), float32, 0 where not observed.
        observed: (B, C, T) bool.
        response: Row that is regressed.
        events: Rows that hold events.
        inputs: Rows that drive the response.
        time_constants: K filters, samples.
        memories: J filters of the events, samples.
        lags: L numbers of samples before an event.

    Returns:
        Products (B, K, M, M) float64, and averages (B, L (1 + inputs)) float32; the latter empty without events.
    """
    b, k = len(values), len(time_constants)
    m = 5 + len(inputs) + len(events) * len(memories)
    gram = np.zeros((b, k, m, m))
    before = np.zeros((b, len(lags), 1 + len(inputs)) if events else (b, 0, 0))
    rows = [np.array(x, np.int64) for x in (events, inputs, lags)]
    decays = [np.exp(-1 / np.asarray(x, np.float64)) for x in (time_constants, memories)]
    x, seen = values.detach().contiguous().numpy(), observed.contiguous().numpy()
    parts = max(1, min(torch.get_num_threads(), b))
    edges = [b * i // parts for i in range(parts + 1)]

    def run(i: int) -> None:
        part = slice(edges[i], edges[i + 1])
        _pass(*[x[part], seen[part], response, *rows, *decays, gram[part], before[part]])

    if parts == 1:
        run(0)
    else:
        # threads of our own rather than numba's, whose pools must not be entered from two threads at once
        with ThreadPoolExecutor(parts) as pool:
            list(pool.map(run, range(parts)))
    return torch.from_numpy(gram), torch.from_numpy(before.astype(np.float32)).flatten(1)


@numba.njit(cache=True, nogil=True)
def _pass(
    x: NDArray[np.float32],
    observed: NDArray[np.bool_],
    response: int,
    events: NDArray[np.int64],
    inputs: NDArray[np.int64],
    lags: NDArray[np.int64],
    decay: FloatArray,
    memory: FloatArray,
    gram: FloatArray,
    before: FloatArray,
) -> None:
    count, _, steps = x.shape
    filters, drives = len(decay), 3 + len(inputs) + len(events) * len(memory)
    gap = np.zeros(steps, np.bool_)
    remembered = np.zeros((len(events), len(memory)))
    # one long vector of states, a filter's beside each other: decay since an event, since the start, filtered drives
    size = filters * drives
    drive, state, anew, start = np.zeros(drives), np.zeros(size), np.zeros(size), np.zeros(size)
    source, own, gain = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    for f in range(filters):
        for c in range(drives):
            source[f * drives + c], own[f * drives + c], gain[f * drives + c] = c, decay[f], 1 - decay[f]
        anew[f * drives] = 1.0
        start[f * drives + 1] = 1 / decay[f]
    stored, response_stored = np.zeros((BLOCK, size)), np.zeros(BLOCK)
    terms = np.ones((filters, 2 + drives, BLOCK))
    for b in range(count):
        row, seen = x[b], observed[b, response]
        _gaps(row, seen, events, gap)
        if len(events):
            _averages(row, seen, response, inputs, lags, gap, before[b])
        remembered[:] = 0.0
        state[:] = start
        filled = number = 0
        for t in range(steps):
            drive[2] = row[response, t]
            n = 3
            for i in inputs:
                drive[n] = row[i, t]
                n += 1
            for j in range(len(events)):
                for q in range(len(memory)):
                    remembered[j, q] = memory[q] * remembered[j, q] + (1 - memory[q]) * row[events[j], t]
                    drive[n] = remembered[j, q]
                    n += 1
            if gap[t]:
                state[:] = anew
            else:
                for s in range(size):
                    state[s] = own[s] * state[s] + gain[s] * drive[source[s]]
            # only observed samples are stored, so that no sum depends on the padding behind them
            if seen[t]:
                stored[filled] = state
                response_stored[filled] = drive[2]
                filled += 1
                number += 1
                if filled == BLOCK:
                    _add(stored, response_stored, filled, terms, gram[b])
                    filled = 0
        _add(stored, response_stored, filled, terms, gram[b])
        _finish(gram[b], max(number, 1))


@numba.njit(cache=True, nogil=True, inline="never")
def _gaps(row: NDArray[np.float32], seen: NDArray[np.bool_], events: NDArray[np.int64], gap: NDArray[np.bool_]) -> None:
    """Where an event is, or the response is hidden since an event, as it is during a spike cut."""
    gap[:] = False
    if len(events) == 0:
        return
    any_seen, since = seen.any(), False
    for t in range(len(gap)):
        event = False
        for j in events:
            event |= row[j, t] > 0
        # an event outweighs a sample seen at the same time
        since = event or (since and not seen[t])
        gap[t] = event or (any_seen and since)


@numba.njit(cache=True, nogil=True, inline="never")
def _averages(
    row: NDArray[np.float32],
    seen: NDArray[np.bool_],
    response: int,
    inputs: NDArray[np.int64],
    lags: NDArray[np.int64],
    gap: NDArray[np.bool_],
    before: FloatArray,
) -> None:
    """Mean of the response and of each input a few samples before a gap begins."""
    for n in range(len(lags)):
        count = 0
        for t in range(lags[n], len(gap)):
            s = t - lags[n]
            if gap[t] and not gap[t - 1] and seen[s]:
                count += 1
                before[n, 0] += row[response, s]
                for i in range(len(inputs)):
                    before[n, 1 + i] += row[inputs[i], s]
        for i in range(before.shape[1]):
            before[n, i] /= max(count, 1)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, inline="never")
def _add(stored: FloatArray, response: FloatArray, filled: int, terms: FloatArray, gram: FloatArray) -> None:
    """Adds products of the first samples of a block to the lower triangle."""
    drives = terms.shape[1] - 2
    for f in range(terms.shape[0]):
        terms[f, 0] = response
        for c in range(drives):
            for t in range(filled):
                terms[f, 2 + c, t] = stored[t, f * drives + c]
    for f in range(terms.shape[0]):
        for i in range(terms.shape[1]):
            a = terms[f, i]
            for j in range(i + 1):
                b = terms[f, j]
                total = 0.0
                for t in range(filled):
                    total += a[t] * b[t]
                gram[f, i, j] += total


@numba.njit(cache=True, nogil=True, inline="never")
def _finish(gram: FloatArray, number: int) -> None:
    for f in range(gram.shape[0]):
        for i in range(gram.shape[1]):
            for j in range(i + 1):
                gram[f, i, j] /= number
                gram[f, j, i] = gram[f, i, j]

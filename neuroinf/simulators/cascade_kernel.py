"""The time loop of a cascade: every operation of a step over a block of rows, several rows in one instruction.

A block's signals lie in rings as long as they are looked back at, or, for gradients, in a tape that keeps all steps;
see :mod:`neuroinf.simulators.cascade_program` for the tables. The order of operations is part of the result in single
precision: a drive is summed edge by edge, a leak is a y + x, resets come after it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.cascade_logistic import logistic
from neuroinf.simulators.cascade_nonlinearities import SURROGATE
from neuroinf.simulators.cascade_program import (
    BLOCK,
    DELAY,
    DRIVE,
    FILTER,
    FILTERED,
    FIRST_EDGE,
    FIRST_RESET,
    GAIN_AT,
    KIND,
    LAST_EDGE,
    LEAK,
    LEFT,
    LINEAR,
    LINEAR_AT,
    LINEAR_FILTER,
    LINEAR_TAPS_AT,
    LINEAR_WINDOW,
    NONE,
    NONLINEAR,
    OUTPUT,
    PULSE,
    SIGMOID,
    SOURCE,
    STRICT_STEP,
    TAPS_AT,
    TERMS_AT,
    WINDOW,
)

Samples = NDArray[Any]
Integers = NDArray[np.int64]  # an element of one is `Any` below: not an int, to the type checker

STEPS = 128  # fetched and written at once
# a pulse of w / dt steps less rounding is one of w / dt steps
ROUNDING = 1e-3


# places in the table of constants
TINY, ZERO, ONE, STEEP = range(4)


@njit(nogil=True, cache=True)
def constants(values: Samples) -> Samples:
    """Numbers in the precision of `values`: others would make the compiler compute in double precision.

    Below the first a state is set to 0 before it becomes subnormal: those are a hundred times slower.
    """
    found = np.zeros(4, values.dtype)
    found[TINY] = 1e-37 if values.itemsize == 4 else 1e-290
    found[ONE], found[STEEP] = 1.0, SURROGATE
    return found


@njit(nogil=True, cache=True, inline="always")
def filter_step(
    s: Samples, c: Samples, kind: int, y: Any, y1: Any, x: Any, x1: Any, old: Any, at: int, of_type: Samples
) -> None:
    """One step of a filter: places of y, y before, x, x before, x at the window's end (-1: none), first coefficient."""
    rows = s.shape[1]
    tiny, zero = of_type[TINY], of_type[ZERO]
    if kind == LEAK:
        for r in range(rows):
            v = c[at, r] * s[y1, r] + s[x, r]
            s[y, r] = zero if -tiny < v < tiny else v
        return
    for r in range(rows):
        v = c[at, r] * s[y1, r] + c[at + 1, r] * s[x, r] + c[at + 2, r] * s[x1, r]
        s[y, r] = zero if -tiny < v < tiny else v
    if old >= 0:
        for r in range(rows):
            s[y, r] -= c[at + 3, r] * s[old, r]


@njit(nogil=True, cache=True, inline="always")
def nonlinear_step(
    s: Samples,
    c: Samples,
    kind: int,
    z: Any,
    y: Any,
    y1: Any,
    left: Any,
    left1: Any,
    at: int,
    scratch: Samples,
    of_type: Samples,
) -> None:
    """One step of a nonlinearity: places of z, y, y before, and the steps that a pulse has left, now and before."""
    rows = s.shape[1]
    zero, one = of_type[ZERO], of_type[ONE]
    if kind == SIGMOID:
        u = scratch[0]
        for r in range(rows):
            u[r] = c[at + 1, r] * (s[y, r] - c[at, r])
        logistic(u, scratch[1])
        for r in range(rows):
            s[z, r] = c[at + 2, r] * u[r]
    elif kind == PULSE:
        for r in range(rows):
            crossed = s[y1, r] <= c[at, r] and s[y, r] > c[at, r]
            s[left, r] = math.floor(c[at + 2, r] + ROUNDING) + one if crossed else max(s[left1, r] - one, zero)
            s[z, r] = c[at + 1, r] if s[left, r] > zero else zero
    elif kind == STRICT_STEP:
        for r in range(rows):
            s[z, r] = c[at + 1, r] if s[y, r] > c[at, r] else zero
    else:
        for r in range(rows):
            s[z, r] = c[at + 1, r] if s[y, r] >= c[at, r] else zero


@njit(nogil=True, cache=True)
def take_in(came: Samples, stimulus: Samples, first: int, last: int, begin: int, m: int) -> None:
    """Fetch steps `first` to `last` - 1 of m rows: one by one, each would wait for a distant part of the memory."""
    rows = came.shape[2]
    for t in range(first, last):
        for k in range(stimulus.shape[1]):
            if stimulus.shape[2] == 1:
                for r in range(rows):
                    came[t - first, k, r] = stimulus[t, k, 0]
            else:
                for r in range(m):
                    came[t - first, k, r] = stimulus[t, k, begin + r]


@njit(nogil=True, cache=True)
def give_out(gone: Samples, response: Samples, first: int, last: int, begin: int, m: int) -> None:
    """Write steps `first` to `last` - 1 of m rows."""
    for j in range(response.shape[0]):
        for t in range(first, last):
            for r in range(m):
                response[j, t, begin + r] = gone[t - first, j, r]


@njit(nogil=True, cache=True, error_model="numpy")
def cascade_blocks(
    first: int,
    last: int,
    rows: int,
    subunits: Integers,
    edges: Integers,
    record: Integers,
    spikes: int,
    starts: Integers,
    masks: Integers,
    places: int,
    coefficients: Samples,
    stimulus: Samples,
    tape: Samples,
    response: Samples,
) -> tuple[Integers, Integers]:
    """Simulate blocks `first` to `last` - 1 of the rows.

    Args:
        first, last: The range of blocks.
        rows: R of a block.
        subunits, edges, record, spikes: See :class:`neuroinf.simulators.cascade_program.Program`.
        starts, masks, places: Where step t of signal i lies, at ``starts[i] + (t & masks[i])``, and their number.
        coefficients: :math:`(K, n)`, or :math:`(K, 1)` for all rows, of the precision to compute in.
        stimulus: :math:`(T, I, n)`, or :math:`(T, I, 1)` for all rows.
        tape: All signals :math:`(B, places, R)`, filled in; (0, 0, 0) to forget them.
        response: Output :math:`(C, T, n)`.

    Returns:
        Row and step of each onset where the spikes' nonlinearity rises from 0, in order of block and step.
    """
    steps, inputs, n = stimulus.shape[0], stimulus.shape[1], response.shape[2]
    begins = np.zeros_like(starts)  # of what is 0 before the first step, up to `ends`
    ends = np.where(masks < 0, starts, starts + masks + 1)
    for i in range(1, starts.size):
        begins[i] = ends[i - 1] + (steps if masks[i - 1] < 0 else 0)
    c = np.zeros((coefficients.shape[0], rows), coefficients.dtype)
    scratch = np.zeros((2, rows), coefficients.dtype)
    of_type, alike = constants(coefficients), coefficients.shape[1] == 1
    came = np.zeros((STEPS, inputs, rows), coefficients.dtype)
    gone = np.zeros((STEPS, record.shape[0], rows), coefficients.dtype)
    ring = np.zeros((places if tape.shape[0] == 0 else 0, rows), coefficients.dtype)
    onset_rows, onset_steps, onsets = np.empty(64, np.int64), np.empty(64, np.int64), 0
    for block in range(first, last):
        begin = block * rows
        m = min(rows, n - begin)
        c[:, m:] = 0
        for k in range(c.shape[0]):
            for r in range(m):
                c[k, r] = coefficients[k, 0 if alike else begin + r]
        if tape.shape[0] == 0:
            s = ring
            s[:] = 0
        else:
            s = tape[block]
            for i in range(starts.size):
                s[begins[i] : ends[i]] = 0
        for t in range(steps):
            u = t % STEPS
            if u == 0:
                take_in(came, stimulus, t, min(t + STEPS, steps), begin, m)
            for k in range(inputs):
                p = starts[k] + (t & masks[k])
                for r in range(rows):
                    s[p, r] = came[u, k, r]
            for i in range(subunits.shape[0]):
                drive = subunits[i, DRIVE]
                x = starts[drive] + (t & masks[drive])
                x1 = starts[drive] + ((t - 1) & masks[drive])
                if subunits[i, FIRST_EDGE] == subunits[i, FIRST_RESET]:
                    for r in range(rows):
                        s[x, r] = 0
                for e in range(subunits[i, FIRST_EDGE], subunits[i, FIRST_RESET]):
                    source, g = edges[e, SOURCE], edges[e, GAIN_AT]
                    p = starts[source] + ((t - edges[e, DELAY]) & masks[source])
                    if e == subunits[i, FIRST_EDGE]:
                        for r in range(rows):
                            s[x, r] = c[g, r] * s[p, r]
                    else:
                        for r in range(rows):
                            s[x, r] += c[g, r] * s[p, r]
                signal = subunits[i, FILTERED]
                y = starts[signal] + (t & masks[signal])
                y1 = starts[signal] + ((t - 1) & masks[signal])
                if subunits[i, FILTER] != NONE:
                    window = subunits[i, WINDOW]
                    old = starts[drive] + ((t - window) & masks[drive]) if window else -1
                    filter_step(s, c, subunits[i, FILTER], y, y1, x, x1, old, subunits[i, TAPS_AT], of_type)
                for e in range(subunits[i, FIRST_RESET], subunits[i, LAST_EDGE]):
                    source, g = edges[e, SOURCE], edges[e, GAIN_AT]
                    p = starts[source] + ((t - edges[e, DELAY]) & masks[source])
                    for r in range(rows):
                        s[y, r] += c[g, r] * s[p, r]
                signal = subunits[i, LINEAR]
                lin = starts[signal] + (t & masks[signal])
                if subunits[i, LINEAR_FILTER] != NONE:
                    lin1 = starts[signal] + ((t - 1) & masks[signal])
                    window = subunits[i, LINEAR_WINDOW]
                    old = starts[drive] + ((t - window) & masks[drive]) if window else -1
                    filter_step(
                        s, c, subunits[i, LINEAR_FILTER], lin, lin1, x, x1, old, subunits[i, LINEAR_TAPS_AT], of_type
                    )
                signal = subunits[i, NONLINEAR]
                z = starts[signal] + (t & masks[signal])
                if subunits[i, KIND] != NONE:
                    left = left1 = -1
                    if subunits[i, KIND] == PULSE:
                        count = subunits[i, LEFT]
                        left, left1 = starts[count] + (t & masks[count]), starts[count] + ((t - 1) & masks[count])
                    nonlinear_step(
                        s, c, subunits[i, KIND], z, y, y1, left, left1, subunits[i, TERMS_AT], scratch, of_type
                    )
                    if subunits[i, BLOCK] >= 0:
                        signal = subunits[i, BLOCK]
                        p = starts[signal] + (t & masks[signal])
                        for r in range(rows):
                            s[z, r] -= s[z, r] * s[p, r]
                if subunits[i, LINEAR_AT] >= 0:
                    signal, k = subunits[i, OUTPUT], subunits[i, LINEAR_AT]
                    o = starts[signal] + (t & masks[signal])
                    for r in range(rows):
                        s[o, r] = s[z, r] + c[k, r] * s[lin, r]
            for j in range(record.shape[0]):
                p = starts[record[j, 0]] + ((t - record[j, 1]) & masks[record[j, 0]])
                for r in range(rows):
                    gone[u, j, r] = s[p, r]
            if u == STEPS - 1 or t == steps - 1:
                give_out(gone, response, t - u, t + 1, begin, m)
            if spikes >= 0:
                z = starts[spikes] + (t & masks[spikes])
                before = starts[spikes] + ((t - 1) & masks[spikes])
                new = 0
                for r in range(rows):
                    new += s[z, r] != 0 and s[before, r] == 0
                if new:
                    if onsets + rows > onset_rows.size:
                        onset_rows = np.concatenate((onset_rows, np.empty_like(onset_rows)))
                        onset_steps = np.concatenate((onset_steps, np.empty_like(onset_steps)))
                    for r in range(m):
                        if s[z, r] != 0 and s[before, r] == 0:
                            onset_rows[onsets], onset_steps[onsets] = begin + r, t
                            onsets += 1
    return onset_rows[:onsets], onset_steps[:onsets]

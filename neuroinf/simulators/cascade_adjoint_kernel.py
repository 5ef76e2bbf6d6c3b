r"""The time loop of a cascade backwards: gradients of its coefficients and stimulus from those of its response.

With :math:`\bar v` the gradient of a signal, a step of the filter :math:`y_t = a y_{t-1} + b_0 x_t + b_1 x_{t-1} - b_N x_{t-N}`
gives :math:`\bar y_{t-1} += a \bar y_t`, :math:`\bar x_{t-k} += b_k \bar y_t`, :math:`\bar a += \bar y_t y_{t-1}` and so on; every
other operation likewise, from the last one of the last step to the first. Signals come from the tape of the way forth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.cascade_kernel import ONE, ROWS, STEEP, TINY, ZERO, constants
from neuroinf.simulators.cascade_logistic import logistic
from neuroinf.simulators.cascade_program import (
    BLOCK,
    DELAY,
    DETACHED,
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
Integers = NDArray[np.int64]


@njit(nogil=True, cache=True, inline="always")
def filter_back(
    s: Samples,
    a: Samples,
    c: Samples,
    grad: Samples,
    kind: int,
    at: int,
    window: int,
    t: int,
    y: Integers,
    x: Integers,
    of_type: Samples,
    wanted: bool,
) -> None:
    """One step of a filter backwards; `y` and `x` hold a signal's place on the tape, in the rings, and the rings' mask."""
    now, before = y[1] + (t & y[2]), y[1] + ((t - 1) & y[2])
    x0, x1 = x[1] + (t & x[2]), x[1] + ((t - 1) & x[2])
    tiny, zero = of_type[TINY], of_type[ZERO]
    for r in range(ROWS):
        v = a[before, r] + c[at, r] * a[now, r]
        a[before, r] = zero if -tiny < v < tiny else v
    if wanted:
        for r in range(ROWS):
            grad[at, r] += a[now, r] * s[y[0] + t - 1, r]
    if kind == LEAK:
        for r in range(ROWS):
            a[x0, r] += a[now, r]
        return
    for r in range(ROWS):
        a[x0, r] += c[at + 1, r] * a[now, r]
    for r in range(ROWS):
        a[x1, r] += c[at + 2, r] * a[now, r]
    if wanted:
        for r in range(ROWS):
            grad[at + 1, r] += a[now, r] * s[x[0] + t, r]
            grad[at + 2, r] += a[now, r] * s[x[0] + t - 1, r]
    if window:
        old = x[1] + ((t - window) & x[2])
        for r in range(ROWS):
            a[old, r] -= c[at + 3, r] * a[now, r]
        if wanted:
            for r in range(ROWS):
                grad[at + 3, r] -= a[now, r] * s[x[0] + t - window, r]


@njit(nogil=True, cache=True, inline="always")
def nonlinear_back(
    s: Samples,
    c: Samples,
    grad: Samples,
    kind: int,
    at: int,
    y: Any,
    left: Any,
    z_bar: Samples,
    y_bar: Samples,
    f: Samples,
    pending: Samples,
    scratch: Samples,
    of_type: Samples,
) -> None:
    """One step of a nonlinearity backwards: from `z_bar` the gradient `y_bar` and the value `f` itself.

    `y` and `left` are places on the tape, `pending` what a pulse that is not yet traced to its onset has gathered.
    """
    zero, one, steep = of_type[ZERO], of_type[ONE], of_type[STEEP]
    if kind == SIGMOID:
        u = scratch[0]
        for r in range(ROWS):
            u[r] = c[at + 1, r] * (s[y, r] - c[at, r])
        logistic(u, scratch[1])
        # a loop for each result: with more arrays in one, the compiler does not see that rows can be done together
        for r in range(ROWS):
            f[r] = c[at + 2, r] * u[r]
        steepness = scratch[1]
        for r in range(ROWS):
            steepness[r] = z_bar[r] * f[r]
        for r in range(ROWS):
            steepness[r] *= one - u[r]
        for r in range(ROWS):
            y_bar[r] = steepness[r] * c[at + 1, r]
        for r in range(ROWS):
            grad[at, r] -= y_bar[r]
        for r in range(ROWS):
            grad[at + 1, r] += steepness[r] * (s[y, r] - c[at, r])
        for r in range(ROWS):
            grad[at + 2, r] += z_bar[r] * u[r]
        return
    if kind == PULSE:
        for r in range(ROWS):
            u = s[y, r] - c[at, r]
            near = one / ((steep * abs(u) + one) * (steep * abs(u) + one))
            on = s[left, r] > zero
            began = u > zero and s[y - 1, r] <= c[at, r]
            pending[r] += z_bar[r] * c[at + 1, r] if on else zero
            y_bar[r] = pending[r] * near if began else zero
            pending[r] = zero if began else pending[r]
            f[r] = c[at + 1, r] if on else zero
            grad[at + 1, r] += z_bar[r] if on else zero
    else:
        u, near = scratch[0], scratch[1]
        for r in range(ROWS):
            u[r] = s[y, r] - c[at, r]
        for r in range(ROWS):
            near[r] = steep * abs(u[r]) + one
        for r in range(ROWS):
            near[r] = c[at + 1, r] / (near[r] * near[r])
        for r in range(ROWS):
            y_bar[r] = z_bar[r] * near[r]
        if kind == STRICT_STEP:
            for r in range(ROWS):
                u[r] = one if u[r] > zero else zero
        else:
            for r in range(ROWS):
                u[r] = one if u[r] >= zero else zero
        for r in range(ROWS):
            f[r] = c[at + 1, r] * u[r]
        for r in range(ROWS):
            grad[at + 1, r] += z_bar[r] * u[r]
    for r in range(ROWS):
        grad[at, r] -= y_bar[r]


@njit(nogil=True, cache=True, inline="always")
def edges_back(
    s: Samples,
    a: Samples,
    c: Samples,
    grad: Samples,
    edges: Integers,
    first: int,
    last: int,
    t: int,
    into: Any,
    tape: Integers,
    starts: Integers,
    masks: Integers,
    wanted: bool,
) -> None:
    """Edges backwards: from the gradient at `into` to their sources and gains."""
    for e in range(first, last):
        source, g, then = edges[e, SOURCE], edges[e, GAIN_AT], t - edges[e, DELAY]
        if not edges[e, DETACHED]:
            p = starts[source] + (then & masks[source])
            for r in range(ROWS):
                a[p, r] += c[g, r] * a[into, r]
        if wanted:
            for r in range(ROWS):
                grad[g, r] += a[into, r] * s[tape[source] + then, r]


@njit(nogil=True, cache=True, error_model="numpy")
def cascade_blocks_back(
    first: int,
    last: int,
    subunits: Integers,
    edges: Integers,
    record: Integers,
    tape_starts: Integers,
    starts: Integers,
    masks: Integers,
    places: int,
    coefficients: Samples,
    tape: Samples,
    response_bar: Samples,
    wanted: bool,
    coefficients_bar: Samples,
    stimulus_bar: Samples,
) -> None:
    """Gradients for blocks `first` to `last` - 1.

    Args:
        first, last, subunits, edges, record, coefficients, tape: As on the way forth; see
            :func:`neuroinf.simulators.cascade_kernel.cascade_blocks`.
        tape_starts: Where each signal's step 0 lies on the tape.
        starts, masks, places: Rings of the gradients.
        response_bar: Gradient of the response :math:`(C, T, n)`.
        wanted: Whether gradients of gains and filters are; those of nonlinearities cost nothing.
        coefficients_bar: Output :math:`(K, n)`.
        stimulus_bar: Output :math:`(T, I, n)`.
    """
    steps, inputs, n = stimulus_bar.shape[0], stimulus_bar.shape[1], coefficients.shape[1]
    number = subunits.shape[0]
    c = np.zeros((coefficients.shape[0], ROWS), coefficients.dtype)
    grad, a = np.zeros_like(c), np.zeros((places, ROWS), coefficients.dtype)
    scratch = np.zeros((2, ROWS), coefficients.dtype)
    z_bar, y_bar, f = np.zeros((3, ROWS), coefficients.dtype)
    pending = np.zeros((number, ROWS), coefficients.dtype)
    given = np.zeros((record.shape[0], steps, ROWS), coefficients.dtype)
    back = np.zeros((steps, inputs, ROWS), coefficients.dtype)
    of_type = constants(coefficients)
    at_x, at_y = np.empty(3, np.int64), np.empty(3, np.int64)
    for block in range(first, last):
        begin = block * ROWS
        m = min(ROWS, n - begin)
        s = tape[block]
        grad[:], a[:], pending[:] = 0, 0, 0
        for k in range(c.shape[0]):
            for r in range(m):
                c[k, r] = coefficients[k, begin + r]
            for r in range(m, ROWS):
                c[k, r] = 0
        # of all steps at once: one by one each would wait for a distant part of the memory
        for j in range(record.shape[0]):
            for t in range(steps):
                for r in range(m):
                    given[j, t, r] = response_bar[j, t, begin + r]
        for t in range(steps - 1, -1, -1):
            for j in range(record.shape[0]):
                signal, then = record[j, 0], t - record[j, 1]
                p = starts[signal] + (then & masks[signal])
                for r in range(ROWS):
                    a[p, r] += given[j, t, r]
            for i in range(number - 1, -1, -1):
                drive, filtered, linear = subunits[i, DRIVE], subunits[i, FILTERED], subunits[i, LINEAR]
                x, y = starts[drive] + (t & masks[drive]), starts[filtered] + (t & masks[filtered])
                lin = starts[linear] + (t & masks[linear])
                signal = subunits[i, NONLINEAR]
                z = starts[signal] + (t & masks[signal])
                if subunits[i, LINEAR_AT] >= 0:
                    k, signal = subunits[i, LINEAR_AT], subunits[i, OUTPUT]
                    o = starts[signal] + (t & masks[signal])
                    for r in range(ROWS):
                        a[z, r] += a[o, r]
                        grad[k, r] += a[o, r] * s[tape_starts[linear] + t, r]
                    for r in range(ROWS):
                        a[lin, r] += c[k, r] * a[o, r]
                        a[o, r] = 0
                if subunits[i, KIND] != NONE:
                    block_input = subunits[i, BLOCK]
                    q, p = 0, 0
                    if block_input >= 0:
                        q, p = tape_starts[block_input] + t, starts[block_input] + (t & masks[block_input])
                    for r in range(ROWS):
                        z_bar[r] = a[z, r] - a[z, r] * s[q, r] if block_input >= 0 else a[z, r]
                    left = tape_starts[subunits[i, LEFT]] + t if subunits[i, KIND] == PULSE else -1
                    at = subunits[i, TERMS_AT]
                    now, kind = tape_starts[filtered] + t, subunits[i, KIND]
                    nonlinear_back(s, c, grad, kind, at, now, left, z_bar, y_bar, f, pending[i], scratch, of_type)
                    for r in range(ROWS):
                        a[y, r] += y_bar[r]
                    if block_input >= 0:
                        for r in range(ROWS):
                            a[p, r] -= a[z, r] * f[r]
                    for r in range(ROWS):
                        a[z, r] = 0
                at_x[0], at_x[1], at_x[2] = tape_starts[drive], starts[drive], masks[drive]
                if subunits[i, LINEAR_FILTER] != NONE:
                    at_y[0], at_y[1], at_y[2] = tape_starts[linear], starts[linear], masks[linear]
                    kind, at, window = (
                        subunits[i, LINEAR_FILTER],
                        subunits[i, LINEAR_TAPS_AT],
                        subunits[i, LINEAR_WINDOW],
                    )
                    filter_back(s, a, c, grad, kind, at, window, t, at_y, at_x, of_type, wanted)
                    for r in range(ROWS):
                        a[lin, r] = 0
                middle = subunits[i, FIRST_RESET]
                edges_back(
                    s, a, c, grad, edges, middle, subunits[i, LAST_EDGE], t, y, tape_starts, starts, masks, wanted
                )
                if subunits[i, FILTER] != NONE:
                    at_y[0], at_y[1], at_y[2] = tape_starts[filtered], starts[filtered], masks[filtered]
                    kind, at, window = subunits[i, FILTER], subunits[i, TAPS_AT], subunits[i, WINDOW]
                    filter_back(s, a, c, grad, kind, at, window, t, at_y, at_x, of_type, wanted)
                    for r in range(ROWS):
                        a[y, r] = 0
                edges_back(
                    s, a, c, grad, edges, subunits[i, FIRST_EDGE], middle, t, x, tape_starts, starts, masks, wanted
                )
                for r in range(ROWS):
                    a[x, r] = 0
            for k in range(inputs):
                p = starts[k] + (t & masks[k])
                for r in range(ROWS):
                    back[t, k, r] = a[p, r]
                for r in range(ROWS):
                    a[p, r] = 0
        for t in range(steps):
            for k in range(inputs):
                for r in range(m):
                    stimulus_bar[t, k, begin + r] = back[t, k, r]
        for k in range(c.shape[0]):
            for r in range(m):
                coefficients_bar[k, begin + r] = grad[k, r]

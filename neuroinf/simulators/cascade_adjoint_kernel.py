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

from neuroinf.simulators.cascade_adjoint_steps import edges_back, filter_back, nonlinear_back
from neuroinf.simulators.cascade_kernel import STEPS, constants
from neuroinf.simulators.cascade_program import (
    BLOCK,
    DRIVE,
    FILTER,
    FILTERED,
    FIRST_EDGE,
    FIRST_RESET,
    KIND,
    LAST_EDGE,
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
    TAPS_AT,
    TERMS_AT,
    WINDOW,
)

Samples = NDArray[Any]
Integers = NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def cascade_blocks_back(
    first: int,
    last: int,
    rows: int,
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
        first, last, rows, subunits, edges, record, coefficients, tape: As on the way forth; see
            :func:`neuroinf.simulators.cascade_kernel.cascade_blocks`.
        tape_starts: Where each signal's step 0 lies on the tape.
        starts, masks, places: Rings of the gradients.
        response_bar: Gradient of the response :math:`(C, T, n)`.
        wanted: Whether gradients of coefficients are; those of nonlinearities cost little.
        coefficients_bar: Output :math:`(K, n)`, if wanted.
        stimulus_bar: Output :math:`(T, I, n)`.
    """
    steps, inputs, n = stimulus_bar.shape
    number = subunits.shape[0]
    c = np.zeros((coefficients.shape[0], rows), coefficients.dtype)
    grad, a = np.zeros_like(c), np.zeros((places, rows), coefficients.dtype)
    scratch = np.zeros((2, rows), coefficients.dtype)
    z_bar, y_bar, f = np.zeros((3, rows), coefficients.dtype)
    pending = np.zeros((number, rows), coefficients.dtype)
    given = np.zeros((STEPS, record.shape[0], rows), coefficients.dtype)
    back = np.zeros((STEPS, inputs, rows), coefficients.dtype)
    of_type, alike = constants(coefficients), coefficients.shape[1] == 1
    at_x, at_y = np.empty(3, np.int64), np.empty(3, np.int64)
    for block in range(first, last):
        begin = block * rows
        m = min(rows, n - begin)
        s = tape[block]
        grad[:], a[:], pending[:] = 0, 0, 0
        for k in range(c.shape[0]):
            for r in range(m):
                c[k, r] = coefficients[k, 0 if alike else begin + r]
            for r in range(m, rows):
                c[k, r] = 0
        for t in range(steps - 1, -1, -1):
            u = t % STEPS
            if u == STEPS - 1 or t == steps - 1:
                for j in range(record.shape[0]):
                    for v in range(u + 1):
                        for r in range(m):
                            given[v, j, r] = response_bar[j, t - u + v, begin + r]
            for j in range(record.shape[0]):
                signal, then = record[j, 0], t - record[j, 1]
                p = starts[signal] + (then & masks[signal])
                for r in range(rows):
                    a[p, r] += given[u, j, r]
            for i in range(number - 1, -1, -1):
                drive, filtered, linear = subunits[i, DRIVE], subunits[i, FILTERED], subunits[i, LINEAR]
                x, y = starts[drive] + (t & masks[drive]), starts[filtered] + (t & masks[filtered])
                lin = starts[linear] + (t & masks[linear])
                signal = subunits[i, NONLINEAR]
                z = starts[signal] + (t & masks[signal])
                if subunits[i, LINEAR_AT] >= 0:
                    k, signal = subunits[i, LINEAR_AT], subunits[i, OUTPUT]
                    o = starts[signal] + (t & masks[signal])
                    for r in range(rows):
                        a[z, r] += a[o, r]
                    if wanted:
                        for r in range(rows):
                            grad[k, r] += a[o, r] * s[tape_starts[linear] + t, r]
                    for r in range(rows):
                        a[lin, r] += c[k, r] * a[o, r]
                        a[o, r] = 0
                if subunits[i, KIND] != NONE:
                    block_input = subunits[i, BLOCK]
                    q, p = 0, 0
                    if block_input >= 0:
                        q, p = tape_starts[block_input] + t, starts[block_input] + (t & masks[block_input])
                    for r in range(rows):
                        z_bar[r] = a[z, r] - a[z, r] * s[q, r] if block_input >= 0 else a[z, r]
                    left = tape_starts[subunits[i, LEFT]] + t if subunits[i, KIND] == PULSE else -1
                    at = subunits[i, TERMS_AT]
                    now, kind = tape_starts[filtered] + t, subunits[i, KIND]
                    nonlinear_back(s, c, grad, kind, at, now, left, z_bar, y_bar, f, pending[i], scratch, of_type)
                    for r in range(rows):
                        a[y, r] += y_bar[r]
                    if block_input >= 0:
                        for r in range(rows):
                            a[p, r] -= a[z, r] * f[r]
                    for r in range(rows):
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
                    for r in range(rows):
                        a[lin, r] = 0
                middle = subunits[i, FIRST_RESET]
                edges_back(
                    s, a, c, grad, edges, middle, subunits[i, LAST_EDGE], t, y, tape_starts, starts, masks, wanted
                )
                if subunits[i, FILTER] != NONE:
                    at_y[0], at_y[1], at_y[2] = tape_starts[filtered], starts[filtered], masks[filtered]
                    kind, at, window = subunits[i, FILTER], subunits[i, TAPS_AT], subunits[i, WINDOW]
                    filter_back(s, a, c, grad, kind, at, window, t, at_y, at_x, of_type, wanted)
                    for r in range(rows):
                        a[y, r] = 0
                edges_back(
                    s, a, c, grad, edges, subunits[i, FIRST_EDGE], middle, t, x, tape_starts, starts, masks, wanted
                )
                for r in range(rows):
                    a[x, r] = 0
            for k in range(inputs):
                p = starts[k] + (t & masks[k])
                for r in range(rows):
                    back[u, k, r] = a[p, r]
                for r in range(rows):
                    a[p, r] = 0
            if u == 0:
                for v in range(min(STEPS, steps - t)):
                    for k in range(inputs):
                        for r in range(m):
                            stimulus_bar[t + v, k, begin + r] = back[v, k, r]
        for k in range(coefficients_bar.shape[0] if wanted else 0):
            for r in range(m):
                coefficients_bar[k, begin + r] = grad[k, r]

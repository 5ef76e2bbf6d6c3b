"""Operations of a cascade's step backwards: filter, nonlinearity and edges of a block of rows.

They are compiled into the loop that calls them: a call with so many arrays would take longer than most of them do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.cascade_kernel import ONE, STEEP, TINY, ZERO
from neuroinf.simulators.cascade_logistic import logistic
from neuroinf.simulators.cascade_program import (
    DELAY,
    DETACHED,
    GAIN_AT,
    LEAK,
    PULSE,
    SIGMOID,
    SOURCE,
    STRICT_STEP,
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
    rows = a.shape[1]
    now, before = y[1] + (t & y[2]), y[1] + ((t - 1) & y[2])
    x0, x1 = x[1] + (t & x[2]), x[1] + ((t - 1) & x[2])
    tiny, zero = of_type[TINY], of_type[ZERO]
    for r in range(rows):
        v = a[before, r] + c[at, r] * a[now, r]
        a[before, r] = zero if -tiny < v < tiny else v
    if wanted:
        for r in range(rows):
            grad[at, r] += a[now, r] * s[y[0] + t - 1, r]
    if kind == LEAK:
        for r in range(rows):
            a[x0, r] += a[now, r]
        return
    for r in range(rows):
        a[x0, r] += c[at + 1, r] * a[now, r]
    for r in range(rows):
        a[x1, r] += c[at + 2, r] * a[now, r]
    if wanted:
        for r in range(rows):
            grad[at + 1, r] += a[now, r] * s[x[0] + t, r]
            grad[at + 2, r] += a[now, r] * s[x[0] + t - 1, r]
    if window:
        old = x[1] + ((t - window) & x[2])
        for r in range(rows):
            a[old, r] -= c[at + 3, r] * a[now, r]
        if wanted:
            for r in range(rows):
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
    rows = c.shape[1]
    zero, one, steep = of_type[ZERO], of_type[ONE], of_type[STEEP]
    if kind == SIGMOID:
        u = scratch[0]
        for r in range(rows):
            u[r] = c[at + 1, r] * (s[y, r] - c[at, r])
        logistic(u, scratch[1])
        # a loop for each result: with more arrays in one, the compiler does not see that rows can be done together
        for r in range(rows):
            f[r] = c[at + 2, r] * u[r]
        steepness = scratch[1]
        for r in range(rows):
            steepness[r] = z_bar[r] * f[r]
        for r in range(rows):
            steepness[r] *= one - u[r]
        for r in range(rows):
            y_bar[r] = steepness[r] * c[at + 1, r]
        for r in range(rows):
            grad[at, r] -= y_bar[r]
        for r in range(rows):
            grad[at + 1, r] += steepness[r] * (s[y, r] - c[at, r])
        for r in range(rows):
            grad[at + 2, r] += z_bar[r] * u[r]
        return
    if kind == PULSE:
        for r in range(rows):
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
        for r in range(rows):
            u[r] = s[y, r] - c[at, r]
        for r in range(rows):
            near[r] = steep * abs(u[r]) + one
        for r in range(rows):
            near[r] = c[at + 1, r] / (near[r] * near[r])
        for r in range(rows):
            y_bar[r] = z_bar[r] * near[r]
        if kind == STRICT_STEP:
            for r in range(rows):
                u[r] = one if u[r] > zero else zero
        else:
            for r in range(rows):
                u[r] = one if u[r] >= zero else zero
        for r in range(rows):
            f[r] = c[at + 1, r] * u[r]
        for r in range(rows):
            grad[at + 1, r] += z_bar[r] * u[r]
    for r in range(rows):
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
    rows = a.shape[1]
    for e in range(first, last):
        source, g, then = edges[e, SOURCE], edges[e, GAIN_AT], t - edges[e, DELAY]
        if not edges[e, DETACHED]:
            p = starts[source] + (then & masks[source])
            for r in range(rows):
                a[p, r] += c[g, r] * a[into, r]
        if wanted:
            for r in range(rows):
                grad[g, r] += a[into, r] * s[tape[source] + then, r]

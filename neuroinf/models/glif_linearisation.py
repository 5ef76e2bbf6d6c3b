r"""A GLIF neuron's voltage and its distance from threshold as linear functions of the parameters, in one compiled pass.

Near an answer, voltage and threshold of the forced twin are nearly linear in z. One pass through the recording then
holds all that a fit needs: of the voltage, residuals and derivatives summed over time; of the crossings, the distance
from threshold and its derivatives, one by one at the few steps that are spikes or come near one. The derivatives that
are zero by the model's structure (most: an after-spike current depends on its own amplitude alone) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from neuroinf.models.glif_likelihood import SILENT, SPIKE, Layout
from neuroinf.priors import Prior
from neuroinf.simulators.glif_twin import TS, TV, GLIFTwin, V

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
NEAR = 1.5  # mV below threshold, from where a silent step says something about it
MOST = 1000  # near silent steps of a neuron that are kept, or more where rows are few
ROOM = 1_000_000  # of all rows together, 64 MB


@dataclass(frozen=True)
class Linearised:
    r"""R rows expanded at z in Q = P directions, float64 (Q = 0: values alone).

    Attributes:
        squares: Squared voltage residuals, :math:`(R,)`, mV^2.
        pull: :math:`\sum r\,dv`, :math:`(R, Q)`.
        stiffness: :math:`\sum dv\,dv^T`, lower triangle, :math:`(R, Q, Q)`.
        count: Voltage samples, :math:`(R,)`.
        number: Crossings M_r that follow, :math:`(R,)`.
        distance: Above threshold, :math:`(R, M)`, mV.
        slope: Its derivatives, :math:`(R, M, Q)`.
        sign: 1 for a spike, -1 for a silent step, :math:`(R, M)`.
    """

    squares: FloatArray
    pull: FloatArray
    stiffness: FloatArray
    count: FloatArray
    number: IntArray
    distance: FloatArray
    slope: FloatArray
    sign: FloatArray


def linearise(
    twin: GLIFTwin, prior: Prior, z: Tensor, layout: Layout, dt: float, derivatives: bool = True
) -> Linearised:
    """The expansion at z.

    Args:
        twin: The model.
        prior: Of its parameters, all with a gradient.
        z: Unconstrained coordinates :math:`(R, P)`.
        layout: The observation of the R rows; or of B neurons of which R is a multiple: row r is of neuron r mod B.
        dt: Step of the simulation, ms.
        derivatives: Whether to compute any.
    """
    rows = len(z)
    row_of, column_of = (x.numpy() for x in torch.tensor(twin.pattern()).unbind(1))
    values, slopes = _constants(twin, prior, z, dt, derivatives)
    (step, reset, offset, base), (d_step, d_reset, d_offset, d_base) = values, slopes
    maps = np.empty((rows, 1 + layout.longest, len(row_of)))
    d_maps = np.empty((*maps.shape, d_offset.shape[1]))
    _powers(step, reset, d_step, d_reset, row_of, column_of, maps, d_maps)
    state = torch.stack(twin.initial_state(z), dim=1).numpy()
    spikes, silent = (int((layout.role == role).sum(1).max(initial=0)) for role in (SPIKE, SILENT))
    near = min(silent, max(MOST, ROOM // max(rows, 1)))
    q, most = d_offset.shape[1], spikes + near
    found = Linearised(
        *(np.zeros(rows), np.zeros((rows, q)), np.zeros((rows, q, q)), np.zeros(rows), np.zeros(rows, np.int64)),
        *(np.empty((rows, most)), np.empty((rows, most, q)), np.empty((rows, most))),
    )
    moved = (d_maps != 0).any((0, 1))
    chain, source, moving = _structure(row_of, column_of, moved, (d_offset != 0).any(0))
    _pass(
        *(
            row_of,
            column_of,
            maps,
            d_maps.reshape(*maps.shape[:2], d_maps.shape[2] * d_maps.shape[3]),  # -1 is no shape of no rows
            offset,
            d_offset,
            base,
            d_base,
            state,
            chain,
            source,
            moving,
        ),
        *(layout.kind, layout.window, layout.sample, layout.role, layout.voltage, layout.stimulus, near),
        *vars(found).values(),
    )
    return found


def _constants(
    twin: GLIFTwin, prior: Prior, z: Tensor, dt: float, derivatives: bool
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Maps of one step and of a reset :math:`(R, 7, 7)`, offset of the voltage and threshold :math:`(R,)`, and their
    derivatives in z along a last axis."""
    rows, width = z.shape

    def constants(z: Tensor) -> tuple[Tensor, ...]:
        theta = prior.from_unconstrained(z)
        p = twin.columns(theta)
        offset = p["El"] if twin.frame == "absolute" else torch.zeros_like(p["El"])
        return *twin.step_and_reset(theta, dt), offset, p["th_inf"]

    with torch.no_grad():
        if not derivatives:
            values = [x.contiguous().numpy() for x in constants(z)]
            return values, [np.zeros((*x.shape, 0)) for x in values]
        with forward_ad.dual_level():
            tangent = torch.eye(width, dtype=z.dtype)[:, None].repeat(1, rows, 1)
            dual = forward_ad.make_dual(z.repeat(width, 1), tangent.flatten(0, 1))
            pairs = [forward_ad.unpack_dual(x) for x in constants(dual)]
        values = [pair.primal[:rows].contiguous().numpy() for pair in pairs]
        slopes = []
        for pair in pairs:
            slope = torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
            slopes.append(slope.unflatten(0, (width, rows)).movedim(0, -1).contiguous().numpy())
    return values, slopes


@numba.njit(cache=True, nogil=True)
def _powers(
    step: FloatArray,
    reset: FloatArray,
    d_step: FloatArray,
    d_reset: FloatArray,
    row_of: IntArray,
    column_of: IntArray,
    maps: FloatArray,
    d_maps: FloatArray,
) -> None:
    """The entries of the maps of a reset and of 1 to N steps, :math:`(R, 1 + N, E)`, and their derivatives."""
    directions = d_step.shape[3]
    for r in range(len(step)):
        power, d_power = step[r].copy(), d_step[r].copy()
        for e in range(len(row_of)):
            maps[r, 0, e] = reset[r, row_of[e], column_of[e]]
            for q in range(directions):
                d_maps[r, 0, e, q] = d_reset[r, row_of[e], column_of[e], q]
        for n in range(1, maps.shape[1]):
            if n > 1:
                last, d_last = power, d_power
                power, d_power = np.zeros((7, 7)), np.zeros((7, 7, directions))
                for k in range(7):
                    for j in range(7):
                        if step[r, k, j] == 0.0:
                            continue
                        for i in range(7):
                            power[i, j] += last[i, k] * step[r, k, j]
                            for q in range(directions):
                                d_power[i, j, q] += d_last[i, k, q] * step[r, k, j] + last[i, k] * d_step[r, k, j, q]
            for e in range(len(row_of)):
                maps[r, n, e] = power[row_of[e], column_of[e]]
                for q in range(directions):
                    d_maps[r, n, e, q] = d_power[row_of[e], column_of[e], q]


def _structure(
    row_of: IntArray, column_of: IntArray, moved: NDArray[np.bool_], shifted: NDArray[np.bool_]
) -> tuple[IntArray, IntArray, IntArray]:
    """Which derivatives there are: those handed on from state to state and those that begin at a map's entry, each as
    entry, state, source and direction :math:`(4, N)`, and the directions that move the voltage."""
    directions = moved.shape[1]
    active = np.zeros((7, directions), bool)
    for _ in range(len(row_of)):
        for e, (i, j) in enumerate(zip(row_of, column_of, strict=True)):
            active[i] |= moved[e] | active[j]
    entries = list(enumerate(zip(row_of, column_of, strict=True)))
    chain = [(e, i, j, q) for e, (i, j) in entries for q in range(directions) if active[j, q]]
    source = [(e, i, j, q) for e, (i, j) in entries for q in range(directions) if moved[e, q]]
    moving = np.flatnonzero(active[V] | shifted)
    handed, begun = (np.ascontiguousarray(np.array(x, np.int64).reshape(-1, 4).T) for x in (chain, source))
    return handed, begun, moving


@numba.njit(cache=True, nogil=True)
def _pass(
    row_of: IntArray,
    column_of: IntArray,
    maps: FloatArray,
    d_maps: FloatArray,
    offset: FloatArray,
    d_offset: FloatArray,
    base: FloatArray,
    d_base: FloatArray,
    state: FloatArray,
    chain: IntArray,
    source: IntArray,
    moving: IntArray,
    kind: IntArray,
    window: IntArray,
    sample: IntArray,
    role: IntArray,
    voltage: FloatArray,
    stimulus: FloatArray,
    most_near: int,
    squares: FloatArray,
    pull: FloatArray,
    stiffness: FloatArray,
    count: FloatArray,
    number: IntArray,
    distance: FloatArray,
    slope: FloatArray,
    sign: FloatArray,
) -> None:
    entries, directions, width = len(row_of), d_offset.shape[1], len(moving)
    old, new, dv = np.zeros(7), np.zeros(7), np.zeros(width)
    pulled, stiff = np.zeros(width), np.zeros((width, width))
    # states' derivatives as one vector each, of which a few entries are in use
    d_old, d_new = np.zeros(7 * directions), np.zeros(7 * directions)
    # unsigned, so that no index is tested for being negative
    chain_of, chain_to = chain[0].astype(np.uint64), (chain[1] * directions + chain[3]).astype(np.uint64)
    chain_from = (chain[2] * directions + chain[3]).astype(np.uint64)
    source_of, source_to = (
        (source[0] * directions + source[3]).astype(np.uint64),
        (source[1] * directions + source[3]).astype(np.uint64),
    )
    source_from, row, column = source[2].astype(np.uint64), row_of.astype(np.uint64), column_of.astype(np.uint64)
    used, at_voltage = np.unique(np.concatenate((chain_to, source_to))), (V * directions + moving).astype(np.uint64)
    for r in range(len(maps)):
        b = r % len(kind)
        near = 0
        old[:5] = state[r]
        old[6] = 1.0
        d_old[:], d_new[:], pulled[:], stiff[:] = 0.0, 0.0, 0.0, 0.0
        shift = d_offset[r, moving]
        for s in range(kind.shape[1]):
            n = kind[b, s]
            if n < 0:
                break
            old[5] = stimulus[b, window[b, s]]
            new[:5] = 0.0
            for i in used:
                d_new[i] = 0.0
            now, d_now = maps[r, n], d_maps[r, n]
            for e in range(entries):
                new[row[e]] += now[e] * old[column[e]]
            for c in range(len(chain_of)):
                d_new[chain_to[c]] += now[chain_of[c]] * d_old[chain_from[c]]
            for c in range(len(source_of)):
                d_new[source_to[c]] += d_now[source_of[c]] * old[source_from[c]]
            old[:5] = new[:5]
            d_old, d_new = d_new, d_old
            if sample[b, s] >= 0:
                residual = voltage[b, sample[b, s]] - old[V] - offset[r]
                squares[r] += residual * residual
                count[r] += 1
                for i in range(width):
                    dv[i] = d_old[at_voltage[i]] + shift[i]
                for i in range(width):
                    pulled[i] += residual * dv[i]
                    for j in range(i + 1):
                        stiff[i, j] += dv[i] * dv[j]
            if role[b, s] > 0:
                above = old[V] - old[TS] - old[TV] - base[r]
                spike = role[b, s] == 2
                if not spike:
                    if above < -NEAR or near == most_near:
                        continue
                    near += 1
                k = number[r]
                distance[r, k], sign[r, k] = above, 1.0 if spike else -1.0
                for q in range(directions):
                    below = d_old[TS * directions + q] + d_old[TV * directions + q] + d_base[r, q]
                    slope[r, k, q] = d_old[V * directions + q] - below
                number[r] += 1
        for i in range(width):
            pull[r, moving[i]] = pulled[i]
            for j in range(i + 1):
                stiffness[r, moving[i], moving[j]] = stiff[i, j]

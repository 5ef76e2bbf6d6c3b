r"""Likelihood of a GLIF neuron's voltage and spikes, its gradient and Gauss-Newton curvature, in one compiled pass.

The recurrences of :meth:`GLIFTwin.forced`, carried along with their derivatives in z: torch differentiates the small
map of one segment, the pass does the chain rule through time and adds up what a Gauss-Newton step needs, so that
nothing of the size of the recording is stored.
"""

from copy import copy
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from neuroinf.priors import Prior
from neuroinf.simulators.glif_segments import Segments
from neuroinf.simulators.glif_twin import ONE, GLIFTwin, V

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
NOT_SEEN, SILENT, SPIKE = -1, 1, 2


class Sums(NamedTuple):
    r"""Sums over time for R rows and Q free directions, float64.

    Attributes:
        squares: Squared voltage residuals, :math:`(R,)`, mV^2.
        pull: :math:`\sum r \, dv`, :math:`(R, Q)`, with r the residual y - v.
        stiffness: :math:`\sum dv \, dv^T`, :math:`(R, Q, Q)`.
        crossing: Negative log-likelihood of spikes and silences, :math:`(R,)`.
        slope: Its gradient in (z, log w), :math:`(R, Q + 1)`.
        bend: Its curvature, :math:`(R, Q + 1, Q + 1)`.
        down, up: Largest distance above threshold of a silent step and smallest of a spike, :math:`(R,)`, mV: how far
            the threshold may move either way.
    """

    squares: Tensor
    pull: Tensor
    stiffness: Tensor
    crossing: Tensor
    slope: Tensor
    bend: Tensor
    down: Tensor
    up: Tensor


class Layout:
    """The observation of R rows as the pass reads it.

    Args:
        voltage: :math:`(R, W)`, mV; nan: not observed.
        stimulus: :math:`(R, W)`, pA.
        where: Windows and spikes.
    """

    def __init__(self, voltage: Tensor, stimulus: Tensor, where: Segments) -> None:
        self.kind, self.window = where.kind.numpy(), where.window.numpy()
        self.voltage, self.stimulus = voltage.numpy(), stimulus.numpy()
        self.sample, count = _samples(where.observed.numpy(), self.voltage, self.kind.shape[1])
        self.count = torch.from_numpy(count)
        self.role = where.silent.numpy() * np.int8(SILENT) + where.spike.numpy() * np.int8(SPIKE)
        self.longest = where.longest

    def rows(self, index: IntArray) -> "Layout":
        """The rows at `index`, in that order."""
        if len(index) == len(self.kind) and (index == np.arange(len(index))).all():
            return self
        part = copy(self)
        for name in ("kind", "window", "sample", "role", "voltage", "stimulus"):
            setattr(part, name, getattr(self, name)[index])
        part.count = self.count[torch.from_numpy(index)]
        return part


@numba.njit(cache=True, nogil=True)
def _samples(observed: IntArray, voltage: FloatArray, length: int) -> tuple[IntArray, IntArray]:
    """The window that each segment's end was observed in, and the number of such samples."""
    sample, count = np.full((len(observed), length), NOT_SEEN), np.zeros(len(observed), np.int64)
    for b in range(len(observed)):
        for w in range(observed.shape[1]):
            if observed[b, w] >= 0 and not np.isnan(voltage[b, w]):
                sample[b, observed[b, w]] = w
                count[b] += 1
    return sample, count


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
    width: FloatArray,
    kind: IntArray,
    window: IntArray,
    sample: IntArray,
    role: IntArray,
    voltage: FloatArray,
    stimulus: FloatArray,
    squares: FloatArray,
    pull: FloatArray,
    stiffness: FloatArray,
    crossing: FloatArray,
    slope: FloatArray,
    bend: FloatArray,
    down: FloatArray,
    up: FloatArray,
) -> None:
    entries, directions = maps.shape[2], d_maps.shape[3]
    old, new = np.zeros(7), np.zeros(7)
    d_old, d_new = np.zeros((7, directions)), np.zeros((7, directions))
    d_scaled = np.zeros(directions + 1)
    for b in range(kind.shape[0]):
        old[:] = 0.0
        old[:5] = state[b]
        old[6] = 1.0
        d_old[:] = 0.0
        down[b], up[b] = -np.inf, np.inf
        for s in range(kind.shape[1]):
            n = kind[b, s]
            if n < 0:
                break
            old[5] = stimulus[b, window[b, s]]
            new[:5] = 0.0
            d_new[:] = 0.0
            for e in range(entries):
                i, j, m = row_of[e], column_of[e], maps[b, n, e]
                new[i] += m * old[j]
                for q in range(directions):
                    d_new[i, q] += m * d_old[j, q] + d_maps[b, n, e, q] * old[j]
            old[:5] = new[:5]
            d_old[:5] = d_new[:5]
            if sample[b, s] >= 0:
                r = voltage[b, sample[b, s]] - old[2] - offset[b]
                squares[b] += r * r
                for q in range(directions):
                    dv = d_old[2, q] + d_offset[b, q]
                    pull[b, q] += r * dv
                    for o in range(q + 1):
                        stiffness[b, q, o] += dv * (d_old[2, o] + d_offset[b, o])
            if role[b, s] > 0:
                distance = old[2] - old[3] - old[4] - base[b]
                sign = 1.0 if role[b, s] == 2 else -1.0
                if sign > 0:
                    up[b] = min(up[b], distance)
                else:
                    down[b] = max(down[b], distance)
                scaled = distance / width[b]
                x = sign * scaled
                if x > 40.0:  # beyond it nothing is added in double precision
                    continue
                p = 1.0 / (1.0 + np.exp(x))
                crossing[b] += np.log1p(np.exp(-x)) if x > 0 else -x + np.log1p(np.exp(x))
                for q in range(directions):
                    d_scaled[q] = (d_old[2, q] - d_old[3, q] - d_old[4, q] - d_base[b, q]) / width[b]
                d_scaled[directions] = -scaled
                for q in range(directions + 1):
                    slope[b, q] -= sign * p * d_scaled[q]
                    for o in range(q + 1):
                        bend[b, q, o] += p * (1.0 - p) * d_scaled[q] * d_scaled[o]


def sums(twin: GLIFTwin, prior: Prior, z: Tensor, free: Tensor, width: Tensor, layout: Layout, dt: float) -> Sums:
    """The sums at z, for rows of a layout.

    Args:
        twin: The model.
        prior: Of its parameters.
        z: Unconstrained coordinates :math:`(R, P)`.
        free: :math:`(P,)` bool, the Q directions of the derivatives.
        width: Of the threshold, :math:`(R,)`, mV.
        layout: The observation.
        dt: Step of the simulation, ms.
    """
    index = free.nonzero()[:, 0]
    rows, directions = len(z), len(index)
    pattern = twin.pattern()
    row_of, column_of = torch.tensor(pattern).unbind(1)

    def constants(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        theta = prior.from_unconstrained(z)
        p = twin.columns(theta)
        offset = p["El"] if twin.frame == "absolute" else torch.zeros_like(p["El"])
        return twin.maps(theta, dt, layout.longest)[:, :, row_of, column_of], offset, p["th_inf"]

    with torch.no_grad(), forward_ad.dual_level():
        tangent = torch.zeros(directions, rows, z.shape[1], dtype=z.dtype)
        tangent[torch.arange(directions), :, index] = 1.0
        dual = forward_ad.make_dual(z.repeat(directions, 1), tangent.flatten(0, 1))
        pairs = [forward_ad.unpack_dual(x) for x in constants(dual)]
        values = [pair.primal[:rows].contiguous().numpy() for pair in pairs]
        slopes = []
        for pair in pairs:
            slope = torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
            slopes.append(slope.unflatten(0, (directions, rows)).movedim(0, -1).contiguous().numpy())
    state = torch.stack(twin.initial_state(z), dim=1).numpy()
    q = directions
    shapes = ((), (q,), (q, q), (), (q + 1,), (q + 1, q + 1), (), ())
    out = Sums(*(torch.zeros(rows, *shape, dtype=torch.float64) for shape in shapes))
    (maps, offset, base), (d_maps, d_offset, d_base) = values, slopes
    _pass(
        *(row_of.numpy(), column_of.numpy(), maps, d_maps, offset, d_offset, base, d_base, state, width.numpy()),
        *(layout.kind, layout.window, layout.sample, layout.role, layout.voltage, layout.stimulus),
        *(x.numpy() for x in out),
    )
    return out._replace(stiffness=_mirrored(out.stiffness), bend=_mirrored(out.bend))


def _mirrored(lower: Tensor) -> Tensor:
    return lower + lower.tril(-1).mT


assert V == 2 and ONE == 6  # as _pass counts them

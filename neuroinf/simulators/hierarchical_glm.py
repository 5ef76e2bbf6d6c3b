r"""Hierarchical linear-nonlinear neurons (hLN), and their spiking version (hGLM).

A tree of subunits, subunit 1 the root (the soma). Inputs :math:`s_i` (0 or 1 per step) reach subunits by synapses with
alpha kernels; each subunit passes the sum of its own input and its children's outputs through a sigmoid:

.. math::
    u_m(t) &= \sum_{i \in m} w_i\, (k_{\tau_i} * s_i)(t - \delta_m), \qquad
        k_\tau(t) = \tfrac{t}{\tau}\, e^{-t/\tau} \quad (t \ge 0) \\
    r_m &= \sigma\Bigl(u_m + \sum_{c} J_c r_c - \theta_m\Bigr), \qquad \sigma(x) = \frac{1}{1 + e^{-x}} \\
    v &= v_0 + J_1 r_1 \quad\text{or, with a linear soma,}\quad v = v_0 + u_1 + \sum_{c} J_c r_c

with c the children of a subunit. "Double" synapses add to each excitatory input a slow kernel of its own weight,
:math:`w_{2,i}\, k_{\tau'_i}` with :math:`\tau' = 10.4\,\text{ms} + 2.8\,\tau`. The spiking version has after-spike
currents in the root's drive and a soft threshold that moves with past spikes:

.. math::
    u_1(t) &\leftarrow u_1(t) + \sum_b A_b \sum_{t_s < t} \phi_b(t - t_s) \\
    \lambda &= e^{\beta (v - v_{th}(t))}\ \text{Hz}, \qquad
        v_{th}(t) = v_{th} + \sum_b h_b \sum_{t_s < t} \phi_b(t - t_s), \qquad
        P(\text{spike}) = 1 - e^{-\lambda\, dt / 1000}

with the bumps :math:`\phi_b` of :mod:`.hierarchical_glm_bumps`. A spike in a step acts from the next step on.

What the voltage does not tell:

- J of a linear subunit is redundant with its weights: a linear soma has none.
- :math:`(w_i, J_c, \theta)` of a subunit trade off where it is nearly linear: scaling its drive by s and J by 1/s, with
  thresholds moved along, changes v by third-order terms in s only.
- A constant may move between :math:`v_0`, :math:`\theta` and the children's mean output.
- Subtrees of the same shape with the same inputs may be swapped, where inputs are multiplexed.

Differences from the authors' program: the kernel is exact and has no end, theirs stops at :math:`10\,\tau` (0.05 % of
its area is beyond); :math:`\tau` is refused outside (0, 500] ms, as there.

Source:
    Ujfalussy, Makara, Lengyel & Branco (2018), Neuron 100:579.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.hierarchical_glm_bumps import BUMPS, cosine_bumps
from neuroinf.simulators.hierarchical_glm_kernel import SLOW_FACTOR, SLOW_OFFSET, hierarchical_rows
from neuroinf.simulators.hierarchical_glm_tree import (
    ARCHITECTURES,
    Sharing,
    arrange,
    attached_to_leaves,
    check_parents,
    connect,
)
from neuroinf.simulators.protocol import Response

FloatArray = NDArray[np.float64]

LONGEST = 500.0  # ms


class HierarchicalGLM:
    """A tree of linear-nonlinear subunits; see the module for the equations.

    ========================== ======================= ============================================================
    parameter                  unit                    number
    ========================== ======================= ============================================================
    v0                         mV                      1
    J_m                        mV at the root and its  M, without a linear soma's
                               children if it is
                               linear, else 1
    theta_m                    1                       M, without a linear soma's
    w_*, w2_*                  mV at a linear soma,    one for each synapse; w2 for each excitatory one if double
                               else 1
    tau_*                      ms                      one for each synapse
    after_spike_1..8           as w at the root        if spiking
    beta                       1/mV                    if spiking
    v_th, threshold_1..8       mV                      if spiking
    ========================== ======================= ============================================================

    with ``*`` = ``<input>_<subunit>``, both from 1, for individual synapses, ``e_<subunit>`` and ``i_<subunit>`` for
    shared ones.

    Args:
        parents: Parent of each subunit, from 1; 0 for the root, which is the first. Parents come before children.
        excitatory: For each subunit, the inputs (rows of the stimulus, from 1) that excite it.
        inhibitory: For each subunit, the inputs that inhibit it: one more kind to share parameters in; weights may
            have either sign.
        synapses: "individual": weight and time constant for each synapse; "shared": for each kind and subunit.
        double: Whether excitatory inputs have a slow kernel too.
        linear_soma: Whether the root is linear.
        delay: Of all synapses, or of each subunit's, ms; not a parameter.
        spiking: Whether the neuron spikes.

    Attributes:
        tree: The synapses, in the parameters' order.
        columns: The columns of theta of each kind of parameter; J and theta lack a linear soma's.
        inputs: Number N of rows of the stimulus.

    Raises:
        InputError: for a tree that is none, inputs at missing subunits, or an impossible delay.

    Example:
        >>> neuron = HierarchicalGLM.named("2N", excitatory=1, inhibitory=1)
        >>> neuron.parameters
        ('v0', 'J_1', 'J_2', 'J_3', 'theta_1', 'theta_2', 'theta_3', 'w_1_2', 'w_2_2', 'tau_1_2', 'tau_2_2')
    """

    stimulus_unit = "1"

    def __init__(
        self,
        parents: Sequence[int],
        excitatory: Sequence[Sequence[int]],
        inhibitory: Sequence[Sequence[int]],
        synapses: Sharing = "individual",
        double: bool = False,
        linear_soma: bool = False,
        delay: float | Sequence[float] = 0.1,
        spiking: bool = False,
    ) -> None:
        self.parents = check_parents(parents)
        self.excitatory, self.inhibitory = [list(x) for x in excitatory], [list(x) for x in inhibitory]
        self.synapses, self.double = synapses, double
        self.linear_soma, self.delay, self.spiking = linear_soma, delay, spiking
        if synapses not in get_args(Sharing):
            raise InputError(f"synapses: expected one of {', '.join(get_args(Sharing))}, found {synapses!r}")
        self.subunits = len(self.parents)
        self.tree = connect(self.subunits, self.excitatory, self.inhibitory, synapses)
        self.inputs = 1 + max(i for synapse in self.tree for i in synapse.inputs)
        delays = np.asarray(delay, np.float64)
        if delays.shape not in ((), (self.subunits,)) or not (np.isfinite(delays) & (delays >= 0)).all():
            raise InputError(
                f"delay: expected ms, not negative, one or one for each of {self.subunits} subunits, found {delay!r}"
            )
        self.delays = np.broadcast_to(delays, self.subunits)
        self.channels: dict[str, str] = {"voltage": "mV"}
        arranged = arrange(self.tree, self.parents, linear_soma, double, BUMPS if spiking else 0)
        self.parameters, self.units, self.columns = arranged.names, arranged.units, arranged.kinds

    @classmethod
    def named(
        cls,
        architecture: str,
        excitatory: int,
        inhibitory: int,
        synapses: Sharing = "individual",
        double: bool = False,
        delay: float = 0.1,
        spiking: bool = False,
    ) -> HierarchicalGLM:
        """One of 1L, 1N, 2N, 3N, 4N, its inputs in equal shares at the leaves.

        Excitatory inputs come first in the stimulus. The inputs of a leaf are those of its two children in the next
        deeper architecture.

        Args:
            architecture: The name; 1L alone has a linear soma.
            excitatory, inhibitory: Numbers of inputs.
            synapses, double, delay, spiking: As for the class.

        Raises:
            InputError: for an unknown name.
        """
        if architecture not in ARCHITECTURES:
            raise InputError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, found {architecture!r}")
        parents = ARCHITECTURES[architecture]
        return cls(
            parents,
            attached_to_leaves(parents, 1, excitatory),
            attached_to_leaves(parents, 1 + excitatory, inhibitory),
            synapses,
            double,
            linear_soma=architecture.endswith("L"),
            delay=delay,
            spiking=spiking,
        )

    @property
    def slow(self) -> tuple[int, ...]:
        """The synapses (indices into `tree`) that have a slow kernel as well."""
        return tuple(k for k, synapse in enumerate(self.tree) if self.double and synapse.excitatory)

    def late(self, dt: float) -> tuple[NDArray[np.int64], FloatArray]:
        """Whole steps until each subunit's delay is over :math:`(M,)`, and by how much it then is, ms."""
        late = np.ceil(self.delays / dt - 1e-9).astype(np.int64)
        return late, np.maximum(late * dt - self.delays, 0.0)

    def check(self, theta: ArrayLike) -> FloatArray:
        """theta :math:`(n, P)` as float64.

        Raises:
            InputError: for a wrong shape, a number that is not finite, J that is not positive, tau outside (0, 500].
        """
        values = np.asarray(theta, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.parameters):
            raise InputError(
                f"theta: expected shape (n, {len(self.parameters)}) with columns {', '.join(self.parameters)}, "
                f"found shape {values.shape}"
            )
        wrong, expected = ~np.isfinite(values), np.full(len(self.parameters), "finite", dtype=object)
        for kind, ceiling in (("J", math.inf), ("tau", LONGEST)):
            part = self.columns[kind]
            wrong[:, part] |= (values[:, part] <= 0) | (values[:, part] > ceiling)
            expected[part] = "positive" if kind == "J" else f"above 0 and at most {LONGEST:g} ms"
        if wrong.any():
            row, j = (int(k) for k in np.argwhere(wrong)[0])
            raise InputError(
                f"theta row {row}: {self.parameters[j]} ({self.units[j]}) must be {expected[j]}, found {values[row, j]}"
            )
        return values

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n neurons.

        Args:
            theta: Parameters :math:`(n, P)`.
            stimulus: Input spikes per step :math:`(n, N, T)`, or :math:`(1, N, T)` for all rows.
            dt: Step, ms; the time constants' unit, and that in which the model is discrete.
            seed: One integer, or one for each row; of the output spikes.

        Returns:
            ``"voltage"`` :math:`(n, T)`, in the stimulus' precision (the state is always float64); if spiking also
            ``"spikes"``, n arrays of the beginnings of the steps with a spike, ms. The voltage has no spikes in it.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        values = self.check(theta)
        n, part = len(values), self.columns
        inputs = self._stimulus(stimulus, n)
        if not (isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0):
            raise InputError(f"dt: expected a positive number of ms, found {dt!r}")
        steps, slow = inputs.shape[2], [self.tree[k] for k in self.slow]
        tau = values[:, part["tau"]]
        tau = np.concatenate((tau, SLOW_OFFSET + SLOW_FACTOR * tau[:, self.slow]), axis=1)
        filters = [*self.tree, *slow]
        own = np.ones((n, 1)) if self.linear_soma else np.empty((n, 0))
        gain, shift = (np.concatenate((own, values[:, part[kind]]), axis=1) for kind in ("J", "theta"))
        voltage = np.empty((n, steps), inputs.dtype if inputs.dtype == np.float32 else np.float64)
        after = threshold = soft = uniform = spiked = None
        if self.spiking:
            # not a matrix product, whose rounding depends on the number of rows
            after = (values[:, part["after_spike"], None] * cosine_bumps(dt)).sum(axis=1)
            threshold = (values[:, part["threshold"], None] * cosine_bumps(dt, flat=True)).sum(axis=1)
            soft = np.ascontiguousarray(values[:, part["soft"]])
            seeds = [[seed, i] for i in range(n)] if isinstance(seed, int | np.integer) else list(seed)
            uniform = np.stack([np.random.default_rng(s).random(steps) for s in seeds]) if n else np.empty((0, steps))
            spiked = np.empty((n, steps), np.bool_)
        hierarchical_rows(
            inputs,
            float(dt),
            np.cumsum([0] + [len(f.inputs) for f in filters]),
            np.array([i for f in filters for i in f.inputs]),
            np.array([f.subunit for f in filters]),
            np.concatenate((values[:, part["w"]], values[:, part["w2"]]), axis=1),
            tau,
            *self.late(float(dt)),
            np.maximum(np.array(self.parents) - 1, 0),
            gain,
            shift,
            self.linear_soma,
            values[:, 0].copy(),
            after,
            threshold,
            soft,
            uniform,
            voltage,
            spiked,
        )
        response: Response = {"voltage": voltage}
        if spiked is not None:
            response["spikes"] = [np.flatnonzero(row) * float(dt) for row in spiked]
        return response

    def _stimulus(self, stimulus: ArrayLike, n: int) -> NDArray[np.floating]:
        x = np.asarray(stimulus)
        if x.ndim != 3 or x.shape[0] not in (1, n) or x.shape[1] != self.inputs:
            raise InputError(
                f"stimulus: expected shape ({n}, {self.inputs}, T) or (1, {self.inputs}, T), one row for each input, "
                f"found {x.shape}"
            )
        if x.dtype.kind not in "fiub":
            raise InputError(f"stimulus: expected numbers, spikes per step, found dtype {x.dtype}")
        x = x if x.dtype == np.float32 else x.astype(np.float64, copy=False)
        if x.strides[0] == 0:
            x = x[:1]
        return np.require(x, requirements=("C", "W"))  # writable, as numba compiles anew for what is not

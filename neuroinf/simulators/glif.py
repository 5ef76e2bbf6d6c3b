r"""Generalized leaky integrate-and-fire neurons, the five published levels, in discrete time.

State: voltage v (mV), after-spike currents a_1, a_2 (pA), the spike-driven and the voltage-driven part s, u of the
threshold (mV). A step of length dt (ms) from a current I(t) (pA) computes, all from the old state,

.. math::
    J    &= I + a_1 + a_2 \\
    v'   &= v + \frac{dt}{C} \left( J - \frac{v - E_l}{R} \right) \\
    a_j' &= a_j e^{-dt / \tau_j} \\
    s'   &= s\, e^{-b_s dt} \\
    u'   &= u\, e^{-b_v dt} + \int_0^{dt} e^{-b_v (dt - x)}\, a_v (V(x) - E_l)\, dx \\
    \theta' &= th_\infty + s' + u'

with V(x) the membrane equation's exact solution from v for constant J, and records a spike at t, the step's beginning,
where :math:`v' > \theta'`. Then, with the spike cut of n steps (``spike_cut_length``), during which the input is
ignored and every channel is nan,

.. math::
    a_j &\leftarrow A_j + a_j' e^{-n\,dt / \tau_j} \\
    v   &\leftarrow 0 \text{ (levels 1, 3)}, \quad reset_a\, v' + reset_b \text{ (levels 2, 4, 5)} \\
    s   &\leftarrow a_s + s' e^{-b_s n\,dt}, \quad u \leftarrow u'

is the state at sample t + n, and the next step is t + n + 1. A reset that ends above threshold stops the neuron
(``terminated``): its reset state is repeated for five more samples and nan follows, as in the reference. ``voltage[t]``
is the state after the step that began at t dt.

===== ============================ ======================================================
level name                         parts
===== ============================ ======================================================
1     leaky integrate-and-fire     v
2     with reset rules             v, reset_a, reset_b, s (a_spike, b_spike)
3     with after-spike currents    v, a_1, a_2 (asc_amp_j = A_j, asc_tau_j = tau_j)
4     both                         v, reset rules, s, a_1, a_2
5     and an adapting threshold    v, reset rules, s, a_1, a_2, u (a_voltage, b_voltage)
===== ============================ ======================================================

Differences from the published configurations: th_inf is the effective threshold (their coefficient included) and the
spike cut is a time, rounded to whole steps. The forward Euler step of v is theirs; it is unstable for dt > 2 R C, which
is not an error here.

Source:
    Teeter et al. (2018), Nature Communications 9:709; AllenSDK, allensdk/model/glif (agreement to 1e-9 mV is tested).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators import glif_forced
from neuroinf.simulators.glif_allen import read_allen
from neuroinf.simulators.glif_kernel import glif_rows
from neuroinf.simulators.glif_parameters import CHANNELS, UNITS, check, parameters_of, parts
from neuroinf.simulators.protocol import GivenSpikes, Response
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Frame = Literal["rest", "absolute"]

# Fewer neuron-steps than this (about 0.2 ms of work) are not worth waking another thread for.
STEPS_PER_THREAD = 50_000


class GLIF:
    """A batch of GLIF neurons of one level; see the module for the equations.

    Args:
        level: 1 to 5.
        frame: ``"rest"``: voltages are relative to rest, El enters the leak, as published (where El is 0).
            ``"absolute"``: the same with El = 0 in the equations and El, the resting potential of the recording, added
            to the recorded voltage and threshold; th_inf and reset_b stay relative to rest.
        fixed: Values of the parameters that are not columns of theta.
        record: Any of voltage, threshold, asc_1, asc_2, spikes_interpolated.

    Attributes:
        parameters, units: The columns of theta: the level's parameters without the fixed ones.
        channels: The recorded continuous channels and their units.
        init_voltage, init_AScurrents: Initial state, mV and pA, relative to rest.
        init_threshold: Used by the interpolation of a spike at the very first step only, mV; None for th_inf.
        El_reference: Resting potential of the recorded neuron, mV; nan if not made by :meth:`from_allen`.

    Raises:
        InputError: for an unknown level, frame, parameter or channel, or an impossible value.

    Example:
        >>> neuron = GLIF(level=1, fixed={"El": 0.0, "spike_cut_length": 2.0})
        >>> neuron.parameters
        ('C', 'R_input', 'th_inf')
        >>> response = neuron.simulate([[100.0, 0.2, 25.0]], np.full((1, 1, 1000), 150.0), dt=0.1)
        >>> len(response["spikes"][0])
        2
    """

    stimulus_unit = "pA"

    def __init__(
        self,
        level: int = 3,
        frame: Frame = "rest",
        fixed: dict[str, float] | None = None,
        record: Sequence[str] = ("voltage",),
    ) -> None:
        if level not in range(1, 6):
            raise InputError(f"GLIF level: expected 1, 2, 3, 4 or 5, found {level!r}")
        if frame not in get_args(Frame):
            raise InputError(f"GLIF frame: expected one of {', '.join(get_args(Frame))}, found {frame!r}")
        self.level, self.frame = int(level), frame
        self.after_spike, self.reset_rules, self.voltage_threshold = parts(self.level)
        self.fixed = dict(fixed or {})
        unknown = [name for name in self.fixed if name not in self.level_parameters]
        if unknown:
            raise InputError(
                f"GLIF fixed: level {level} has no parameter {unknown[0]!r}; it has {', '.join(self.level_parameters)}"
            )
        for name, value in self.fixed.items():
            check(name, np.atleast_1d(np.asarray(value)), "GLIF fixed")
        available = [name for name in CHANNELS if self.after_spike or not name.startswith("asc_")] + [
            "spikes_interpolated"
        ]
        unknown = [name for name in record if name not in available]
        if isinstance(record, str) or unknown:
            found = record if isinstance(record, str) else unknown[0]
            raise InputError(
                f"GLIF record: expected a list of any of {', '.join(available)} at level {level}, found {found!r}"
            )
        self.record = tuple(record)
        self.parameters = tuple(name for name in self.level_parameters if name not in self.fixed)
        self.units = tuple(UNITS[name] for name in self.parameters)
        self.channels = {name: unit for name, unit in CHANNELS.items() if name in self.record}
        self.init_voltage = 0.0
        self.init_threshold: float | None = None
        self.init_AScurrents = (0.0, 0.0)
        self.El_reference = math.nan

    @property
    def spike_cut(self) -> float | None:
        """How long after a spike nothing is observed, ms; None where that is a parameter."""
        return self.fixed.get("spike_cut_length")

    @property
    def state_scales(self) -> tuple[float, ...]:
        """See :class:`neuroinf.simulators.protocol.FollowsSpikes`."""
        return glif_forced.state_scales(self)

    def given_spikes(
        self,
        theta: FloatArray,
        state: FloatArray,
        stimulus: FloatArray,
        spikes: Sequence[FloatArray],
        dt: float,
        record_dt: float,
    ) -> GivenSpikes:
        """See :class:`neuroinf.simulators.protocol.FollowsSpikes`."""
        return glif_forced.given_spikes(self, theta, state, stimulus, spikes, dt, record_dt)

    @property
    def level_parameters(self) -> tuple[str, ...]:
        """All parameters of the level, fixed ones included, in canonical order."""
        return parameters_of(self.level)

    def complete(self, theta: ArrayLike) -> dict[str, FloatArray]:
        """All parameters of the level by name, each :math:`(n,)`, the fixed ones filled in.

        Raises:
            InputError: if theta is not :math:`(n, P)`, or holds an impossible value.
        """
        try:
            theta = np.asarray(theta, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise InputError(f"theta: expected numbers, one row per neuron: {problem}") from None
        width = len(self.parameters)
        if theta.ndim != 2 or theta.shape[1] != width:
            raise InputError(
                f"theta: expected shape (n, {width}) with columns {', '.join(self.parameters)}, "
                f"found shape {theta.shape}"
            )
        values = {
            name: theta[:, self.parameters.index(name)]
            if name in self.parameters
            else np.full(len(theta), float(self.fixed[name]))
            for name in self.level_parameters
        }
        for name in self.parameters:
            check(name, values[name], "theta")
        return values

    def rheobase(self, theta: ArrayLike) -> FloatArray:
        r"""The smallest constant current that reaches the resting threshold, :math:`(th_\infty - E_l) / R_{input}`.

        E_l is 0 in the absolute frame, where th_inf is relative to it. After-spike currents and threshold adaptation to
        voltage play no part in it (the published definition, that of level 1).

        Args:
            theta: Parameters :math:`(n, P)`.

        Returns:
            Rheobase :math:`(n,)`, pA.
        """
        values = self.complete(theta)
        rest = values["El"] if self.frame == "rest" else 0.0
        return (values["th_inf"] - rest) / values["R_input"]

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n neurons; the rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: Parameters :math:`(n, P)`.
            stimulus: Current :math:`(n, 1, T)`, or :math:`(1, 1, T)` for all rows, pA.
            dt: Step, ms.
            seed: Without effect: the model is deterministic.

        Returns:
            The recorded channels :math:`(n, T)`, in the stimulus' precision (the state is always float64);
            ``"spikes"``, and if recorded ``"spikes_interpolated"`` (crossing of the lines through v and threshold), as
            n arrays of times in ms; ``"terminated"`` :math:`(n,)`, the rows stopped by a reset above threshold.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        values = self.complete(theta)
        n = len(values["C"])
        current = _current(stimulus, n)
        if not (isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0):
            raise InputError(f"dt: expected a positive number of ms, found {dt!r}")
        dt = float(dt)

        def columns(present: bool, first: str, last: str) -> FloatArray | None:
            names = list(UNITS)
            group = names[names.index(first) : names.index(last) + 1]
            return np.stack([values[name] for name in group], axis=1) if present else None

        membrane = np.stack([values[name] for name in ("C", "R_input", "El", "th_inf")], axis=1)
        offset = np.zeros(n)
        if self.frame == "absolute":
            offset, membrane[:, 2] = values["El"].copy(), 0.0
        after_spike = columns(self.after_spike, "asc_amp_1", "asc_tau_2")
        reset = columns(self.reset_rules, "reset_a", "b_spike")
        adaptation = columns(self.voltage_threshold, "a_voltage", "b_voltage")
        steps = current.shape[1]
        # A cut beyond the end of the stimulus is the same as one to its end, and does not overflow.
        cuts = np.minimum(np.rint(values["spike_cut_length"] / dt), steps).astype(np.int64)
        initial = np.empty((n, 4))
        initial[:, 0] = self.init_voltage
        initial[:, 1] = values["th_inf"] if self.init_threshold is None else self.init_threshold
        initial[:, 2:] = self.init_AScurrents

        channels = {name: np.empty((n, steps), current.dtype) for name in self.channels}
        terminated, counts = np.zeros(n, np.bool_), np.zeros(n, np.int64)
        interpolate = True if "spikes_interpolated" in self.record else None

        def rows(first: int, last: int) -> tuple[NDArray[np.int64], FloatArray]:
            return glif_rows(
                first,
                last,
                current,
                dt,
                membrane,
                after_spike,
                reset,
                adaptation,
                cuts,
                offset,
                initial,
                channels.get("voltage"),
                channels.get("threshold"),
                channels.get("asc_1"),
                channels.get("asc_2"),
                interpolate,
                counts,
                terminated,
            )

        pieces = in_threads(rows, n, n * steps // STEPS_PER_THREAD)
        ends = np.cumsum(counts)[:-1]
        response: Response = dict(channels)
        response["spikes"] = np.split(np.concatenate([piece[0] for piece in pieces]) * dt, ends) if n else []
        if interpolate:
            response["spikes_interpolated"] = (
                np.split(np.concatenate([piece[1] for piece in pieces]), ends) if n else []
            )
        response["terminated"] = terminated
        return response

    @classmethod
    def from_allen(cls, config: Mapping[str, Any], record: Sequence[str] = ("voltage",)) -> tuple[GLIF, FloatArray]:
        """Read a published ``neuron_config.json``.

        Its spike cut counts steps of its own dt (50 us), which makes it a time; voltages stay relative to rest (frame
        "rest").

        Args:
            config: The configuration of one neuron, SI units.
            record: As for the class.

        Returns:
            The simulator and theta :math:`(1, P)` with all parameters of its level.

        Raises:
            InputError: if an entry is missing, or names a rule that the five published levels do not have.
        """
        return read_allen(cls, config, record)


def _current(stimulus: ArrayLike, n: int) -> NDArray[Any]:
    """The stimulus as a contiguous :math:`(n, T)` or :math:`(1, T)`; a repeated single row is not copied n times."""
    stimulus = np.asarray(stimulus)
    if stimulus.ndim != 3 or stimulus.shape[0] not in (1, n) or stimulus.shape[1] != 1:
        raise InputError(f"stimulus: expected shape ({n}, 1, T) or (1, 1, T), found {stimulus.shape}")
    if stimulus.dtype.kind not in "fiu":
        raise InputError(f"stimulus: expected real numbers in pA, found dtype {stimulus.dtype}")
    if stimulus.dtype != np.float32:
        stimulus = stimulus.astype(np.float64, copy=False)
    if stimulus.strides[0] == 0:
        stimulus = stimulus[:1]
    return np.require(stimulus[:, 0], requirements=("C", "W"))  # writable, as numba compiles anew for what is not

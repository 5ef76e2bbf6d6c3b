r"""Joint likelihood of the spikes of recorded neurons and the activity of the populations they belong to.

Z_m(t) is the fraction of population m that fires in bin t, of width dt. Given the past of Z, voltages of all neurons follow,
by the bin in which they last fired, and with them what is expected:

.. math::
    I_m(t) &= e^{-dt / \tau_m} I_m(t-1) + (1 - e^{-dt / \tau_m}) Z_m(t-1) / dt, \qquad
    h_m(t) = \sum_k W_{km} I_k(t) + I_{ext,m}(t) \\
    V_m(a, t) &= d_m V_m(a-1, t-1) + p_m + dt\, h_m(t), \quad 0 \text{ during refractoriness}; \qquad
    \lambda = e^{V - \vartheta_m}, \quad P = 1 - e^{-\lambda dt} \\
    \bar Z_m(t) &= \sum_a m P + \Lambda \Big(1 - \sum_a m\Big), \quad
    m = S_m(a, t) Z_m(t-1-a), \quad v = (1 - S) m, \quad \Lambda = \sum v P \Big/ \sum v \\
    -\log p(Z, y) &= \sum_{m,t} \frac{(Z - \bar Z)^2}{2 \sigma^2} + \frac12 \log 2\pi\sigma^2
        - \sum_{i,t} y_i \log P_i + (1 - y_i) \log(1 - P_i), \qquad
    \sigma^2 = \frac{\bar Z + 0.1 \text{ Hz } dt}{N_m}

with S the part of a cohort that has not fired again, and a = 0 .. A - 1. Euler: d = 1 - a dt, p = a mu dt; exponential: d =
exp(-a dt), p = (1 - d) mu, the step of the microscopic network.

Source:
    Wang, Schmutz, Bellec and Gerstner 2022, NeurIPS (neuLVM); Schwalger, Deger and Gerstner 2017, PLoS Comput Biol
    13(4):e1005507, for the mesoscopic equations.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuroinf.errors import InputError
from neuroinf.fits.mesoscopic_gradients import Storage, Window, terms_and_gradients
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
Scheme = Literal["euler", "exponential"]
FLOOR = 0.1  # activity that is added to the variance, Hz
# The published code's: hazard of a refractory neuron, Hz, and hazard x dt below which it is the probability to fire.
PUBLISHED_HAZARD, PUBLISHED_SMALL = 1e-8, 0.01
SURVIVAL_STEP = 1.0  # of the integral of the hazard before the first bin, ms


class Terms(NamedTuple):
    """The objective, -log p(y, Z) / (M T), nats per bin and population: of the recorded neurons, and of the populations."""

    spikes: Tensor
    activity: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.spikes + self.activity


class MesoscopicLikelihood:
    r"""The joint likelihood of one recording, differentiable in the parameters and in the activity of the populations.

    The first A bins are history: what the populations did before them is not known, and they are taken to have fired at the
    mean rate of their recorded neurons in these bins. The T bins after that are scored.

    Args:
        circuit: Populations, sizes, wiring and all that is not free.
        spikes: Of the recorded neurons in each bin, :math:`(Q, A + T)`; more than one counts as one.
        population: Of each recorded neuron, its place in ``circuit.names``, :math:`(Q,)`.
        dt: Bin, ms.
        external: Known input to each population, :math:`(M, A + T)`; without, none.
        scheme: Of the membrane.
        memory: Longest age that is followed, ms; A = memory / dt.
        rates: Of the populations before the first scored bin, Hz, :math:`(M,)`; a population of which no neuron is recorded
            has the mean of the others.
        published: The published code's probabilities: a hazard of 1e-8 Hz in refractoriness, but for a recorded spike that of
            V = 0 (two spikes can be as near as t_ref and in neighbouring bins); P = lambda dt below 0.01; no survivors of
            the last bin before the first. Otherwise, populations are silent in refractoriness, recorded neurons have the hazard of
            V = 0, and P is as above.

    Attributes:
        shape: M and T, of Z.

    Raises:
        InputError: for shapes, labels or values that do not fit.

    Example:
        >>> likelihood = MesoscopicLikelihood(Circuit(names=["E"], sizes=[400], connections=[[1]]), np.eye(3, 300), [0, 0, 0])
        >>> likelihood.shape
        (1, 50)
    """

    def __init__(
        self,
        circuit: Circuit,
        spikes: ArrayLike,
        population: ArrayLike,
        dt: float = 4.0,
        external: ArrayLike | None = None,
        scheme: Scheme = "euler",
        memory: float = 1000.0,
        rates: ArrayLike | None = None,
        published: bool = True,
    ) -> None:
        if not (0 < dt < memory < math.inf):
            raise InputError(f"dt: expected a bin above 0 and below the memory, ms, found {dt} and {memory}")
        if scheme not in ("euler", "exponential"):
            raise InputError(f"scheme: expected euler or exponential, found {scheme!r}")
        self.circuit, self.scheme, self.published, self.dt = circuit, scheme, published, dt / 1000.0
        ages, populations = round(memory / dt), len(circuit.names)
        counts, labels = _recording(spikes, population, ages, populations)
        fired, steps = counts > 0, counts.shape[1] - ages
        self.fired, self.population, self.ages, self.shape = fired, labels, ages, (populations, steps)
        self.rates = _rates(rates, fired[:, :ages], labels, populations, self.dt)
        given = np.zeros((populations, ages + steps)) if external is None else np.asarray(external, np.float64)
        if given.shape != (populations, ages + steps) or not np.isfinite(given).all():
            raise InputError(
                f"external: expected finite numbers of shape {(populations, ages + steps)}, found shape {given.shape}"
            )
        self.external = given
        recent = np.argmax(fired[:, :ages][:, ::-1], axis=1)
        since = np.where(fired[:, :ages].any(1), recent, 0 if published else ages - 1)
        self._window = Window(
            fired=tuple(np.ascontiguousarray(fired[labels == m, ages:]) for m in range(populations)),
            since=tuple(since[labels == m].astype(np.int64) for m in range(populations)),
            external=np.ascontiguousarray(given[:, ages:]),
            rates=self.rates,
            keep=np.exp(-dt / np.asarray(circuit.synapse)),
            sizes=np.asarray(circuit.sizes, np.float64),
            refractory=np.floor(np.asarray(circuit.refractory) / dt + 1e-9).astype(np.int64),
            dt=self.dt,
            floor=FLOOR,
            published_load=PUBLISHED_HAZARD * self.dt if published else -1.0,
            small=PUBLISHED_SMALL if published else 0.0,
            storage=Storage(),
        )
        if (self._window.refractory >= ages).any():
            raise InputError(f"memory: expected more than the refractory time, found {memory} ms")
        self._connections = torch.tensor(circuit.connections, dtype=torch.float64)
        every = np.concatenate([circuit.a, circuit.J, circuit.mu, circuit.theta])
        names = [f"{symbol}_{name}" for symbol in ("a", "J", "mu", "theta") for name in circuit.names]
        self._own = torch.from_numpy(every)
        self._places = torch.tensor([names.index(name) for name in circuit.parameters])

    def at(self, values: Tensor, z: Tensor) -> Terms:
        """The terms at values of the circuit's free parameters :math:`(P,)`, one J per source, and activity Z :math:`(M, T)`."""
        return self(*self.tied(values), z)

    def tied(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a, W, mu and theta of the circuit with these free parameters :math:`(P,)`."""
        if values.shape != self._places.shape:
            names = ", ".join(self.circuit.parameters)
            raise InputError(f"values: expected one number for each of {names}, found shape {tuple(values.shape)}")
        every = self._own.index_put((self._places,), values.double())
        a, coupling, mu, theta = every.reshape(4, -1)
        return a, coupling[:, None] * self._connections, mu, theta

    def __call__(self, a: Tensor, weights: Tensor, mu: Tensor, theta: Tensor, z: Tensor) -> Terms:
        """The terms at any weights.

        Args:
            a: Inverse membrane time constants, 1/s, :math:`(M,)`.
            weights: W of source and target with their signs, :math:`(M, M)`.
            mu: Resting voltages, :math:`(M,)`.
            theta: Thresholds, :math:`(M,)`.
            z: Fraction that fires in each scored bin, :math:`(M, T)`.

        Raises:
            InputError: for shapes that do not fit.
        """
        return self._terms(a, weights, mu, theta, z, self._window)

    def expected(self, values: Tensor, z: Tensor) -> FloatArray:
        """Zbar :math:`(M, T)`, the activity that is expected of each bin given Z before it; arguments as for `at`."""
        kept = np.empty(self.shape)
        with torch.no_grad():
            self._terms(*self.tied(values), z, self._window._replace(expected=kept))
        return kept

    def _terms(self, a: Tensor, weights: Tensor, mu: Tensor, theta: Tensor, z: Tensor, window: Window) -> Terms:
        for name, value, shape in (
            ("a", a, self.shape[:1]),
            ("weights", weights, (self.shape[0],) * 2),
            ("z", z, self.shape),
        ):
            if tuple(value.shape) != shape:
                raise InputError(f"{name}: expected shape {shape}, found {tuple(value.shape)}")
        a, weights, mu, theta = (value.double() for value in (a, weights, mu, theta))
        voltage, survivors = self._before(a, weights, mu, theta)
        if self.scheme == "euler":
            decay, drive = 1.0 - self.dt * a, self.dt * a * mu
        else:
            decay = torch.exp(-self.dt * a)
            drive = (1.0 - decay) * mu
        given = (decay, drive, weights, theta, voltage, survivors, z.double())
        wanted = torch.is_grad_enabled() and any(value.requires_grad for value in given)
        losses = _Joint.apply(*given, window, wanted)
        assert isinstance(losses, Tensor)
        return Terms(losses[0], losses[1])

    def _before(self, a: Tensor, weights: Tensor, mu: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Voltage and survivors by age :math:`(M, A)` in the stationary state of the rates before the first bin."""
        finer = max(1, math.ceil(1000 * self.dt / SURVIVAL_STEP - 1e-9))
        step = self.dt / finer
        age = step * torch.arange((self.ages - 1) * finer + 1, dtype=torch.float64)
        level = mu + torch.from_numpy(self.rates) @ weights / a
        refractory = torch.tensor(self._window.refractory, dtype=torch.float64)[:, None] * self.dt
        clamped = age < refractory - 1e-9
        voltage = torch.where(clamped, 0.0, -level[:, None] * torch.expm1(-a[:, None] * age))
        hazard = torch.exp((voltage - theta[:, None]).clamp(max=500.0))
        hazard = torch.where(clamped, PUBLISHED_HAZARD if self.published else 0.0, hazard)
        survivors = torch.exp(-step * hazard.cumsum(1))[:, ::finer]
        if self.published:
            survivors = torch.cat([torch.zeros_like(survivors[:, :1]), survivors[:, 1:]], 1)
        return voltage[:, ::finer], survivors


class _Joint(torch.autograd.Function):
    """The two sums by the compiled loops; their derivatives are worked out along with them."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        decay: Tensor,
        drive: Tensor,
        weights: Tensor,
        theta: Tensor,
        voltage: Tensor,
        survivors: Tensor,
        z: Tensor,
        window: Window,
        wanted: bool,
    ) -> Tensor:
        given = tuple(
            np.ascontiguousarray(value.detach().numpy())
            for value in (decay, drive, weights, theta, voltage, survivors, z)
        )
        losses, gradients = terms_and_gradients(window, *given, wanted=wanted)
        ctx.gradients = gradients
        return torch.from_numpy(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, losses_bar: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight = losses_bar.numpy()
        return (*(torch.from_numpy(np.tensordot(weight, both, 1)) for both in ctx.gradients), None, None)


def _recording(
    spikes: ArrayLike, population: ArrayLike, ages: int, populations: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    counts, labels = np.asarray(spikes), np.asarray(population)
    if counts.ndim != 2 or counts.dtype.kind not in "biuf" or not len(counts):
        raise InputError(f"spikes: expected numbers of shape (neurons, bins), found {counts.dtype} of {counts.shape}")
    if counts.shape[1] <= ages:
        raise InputError(
            f"spikes: expected more than {ages} bins, which are history, found {counts.shape[1]}; take a longer recording"
        )
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise InputError("spikes: expected counts from 0, found negative or missing ones")
    if labels.shape != (len(counts),) or labels.dtype.kind not in "iu":
        raise InputError(f"population: expected a whole number for each of {len(counts)} neurons, found {population}")
    if (labels < 0).any() or (labels >= populations).any():
        raise InputError(f"population: expected 0 to {populations - 1}, found {sorted(set(labels.tolist()))}")
    return counts.astype(np.float64), labels.astype(np.int64)


def _rates(
    given: ArrayLike | None, fired: NDArray[np.bool_], labels: NDArray[np.int64], populations: int, dt: float
) -> FloatArray:
    if given is None:
        found = [fired[labels == m].mean() / dt if (labels == m).any() else np.nan for m in range(populations)]
        return np.where(np.isnan(found), np.nanmean(found), found)
    rates = np.asarray(given, np.float64)
    if rates.shape != (populations,) or not np.isfinite(rates).all() or (rates < 0).any():
        raise InputError(f"rates: expected {populations} numbers from 0, Hz, found {given}")
    return rates

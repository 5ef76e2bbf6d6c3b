"""How well each of several cascades explains a recording, given its spikes: a few steps of a fit, for all rows at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.cascade import Cascade
from neuroinf.simulators.cascade_forced import with_given_spikes
from neuroinf.simulators.choice import Choice
from neuroinf.simulators.protocol import Simulator

Floats = NDArray[np.float64]
PRECISION = 3 / np.pi**2  # of logit(u), u uniform: what the prior is in these coordinates
STEP = 0.02  # of a difference quotient, in logit(u): a hundredth of the prior's sd
FURTHEST = 6.0  # logit(u) beyond which only a four-hundredth of the prior lies
ABSENT = -4.0  # logit(u) of a column that the candidate next to it lacks
LEAST, MOST = 1e-6, 1e8  # damping
ROWS = 64  # fitted at once: the stimulus of their variants stays below 20 MB


class Fit(NamedTuple):
    """n fits of one candidate with P parameters.

    Attributes:
        z: Parameters in logit of the prior's unit cube (n, P).
        misfit: Mean squared residual (n,).
        evidence: Log evidence up to a constant of the recording (n,).
        roughness: Correlation of neighbouring residuals (n,): 0 if only the noise is left.
        spread: Posterior sd of z (n, P), by Laplace.
    """

    z: Floats
    misfit: Floats
    evidence: Floats
    roughness: Floats
    spread: Floats


class ForcedFits(nn.Module):
    r"""Features: for each candidate of a :class:`~neuroinf.simulators.Choice`, the evidence of a fit made on the spot.

    The observed spikes take the place of the model's own (`simulators.cascade_forced`), so that the voltage v is smooth in
    the parameters, and a Levenberg-Marquardt iteration minimises

    .. math:: F(z) = \tfrac T2 \log \sum_t (v_t - \hat v_t(z))^2 + \tfrac12 \tfrac{3}{\pi^2} |z|^2

    from the middle of the prior, z being the logit of the prior's unit cube; the noise's level need not be known. Half-way
    and at the end, where the candidate most alike has come to is tried too. With H the Gauss-Newton Hessian of F, Laplace's
    log evidence is

    .. math:: -F - \tfrac12 \log\det H + \tfrac P2 \log \tfrac{3}{\pi^2}

    All candidates' differences to the best one are features, whole and cut off at -20, beside misfits, roughness,
    estimates, their spreads and the number of spikes. There are no weights to learn.

    Args:
        channels: C. The rows of x are the voltage, 1 at each spike, and the K inputs.
        iterations: Of each fit.
        response: The candidates' channel that the voltage is.
        prior: Of the choice's parameters; it and the next two are told by the model that the encoder becomes a part of.
        simulator: The choice.
        dt: Step of the observations, ms; also the models'.
    """

    def __init__(
        self,
        channels: int,
        iterations: int = 8,
        response: str = "soma",
        prior: Prior | None = None,
        simulator: Simulator | None = None,
        dt: float = 1.0,
    ) -> None:
        super().__init__()
        self.channels, self.iterations, self.response = channels, iterations, response
        self.prior, self.simulator, self.dt = prior, simulator, dt
        self.candidates: list[tuple[Cascade, Prior]] = []
        self.features = 0
        if iterations < 1:
            raise InputError(f"ForcedFits needs at least one iteration, found {iterations}")
        if prior is not None and simulator is not None:
            self._build(prior, simulator)

    def told(self, prior: Prior, simulator: Simulator | None, dt: float) -> None:
        """See `glm_encoder.NeedsModel`."""
        if simulator is None:
            raise InputError("ForcedFits is made for candidates: give the model the simulator")
        self.prior, self.simulator, self.dt = prior, simulator, dt
        self._build(prior, simulator)

    def _build(self, prior: Prior, simulator: Simulator) -> None:
        if not isinstance(simulator, Choice) or not all(isinstance(c, Cascade) for c in simulator.candidates.values()):
            raise InputError(f"ForcedFits compares a Choice of cascades, found {type(simulator).__name__}")
        for label, cascade in simulator.candidates.items():
            assert isinstance(cascade, Cascade)
            if len(cascade.inputs) + 2 != self.channels:
                raise InputError(
                    f"ForcedFits: expected {len(cascade.inputs) + 2} rows (voltage, spikes, {', '.join(cascade.inputs)}), "
                    f"found {self.channels}"
                )
            given = Cascade(with_given_spikes(cascade.graph), list(cascade.parameters), cascade.fixed, [self.response])
            ranges = {column: prior.parameters[column] for column in simulator.columns(label)}
            own = Prior({column: Parameter(r.unit, r.low, r.high, r.scale) for column, r in ranges.items()})
            self.candidates.append((given, own))
        self.features = sum(5 + 2 * len(own.names) for _, own in self.candidates) + 2

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, C, T)."""
        values = x.detach().cpu().double().numpy()
        found = np.concatenate([self._rows(values[i : i + ROWS]) for i in range(0, len(values), ROWS)])
        return torch.from_numpy(found).to(x.device, torch.float32)

    def fits(self, x: Floats) -> list[Fit]:
        """A fit of each candidate to each of the recordings (n, C, T)."""
        voltage, known = x[:, 0], np.isfinite(x[:, 0])
        stimulus = np.nan_to_num(np.concatenate([x[:, 2:], x[:, 1:2]], axis=1))
        states = [_State(len(own.names), voltage) for _, own in self.candidates]
        for iteration in range(self.iterations + 1):
            for (cascade, own), state in zip(self.candidates, states, strict=True):
                state.take(*self._linearise(cascade, own, state.tried, voltage, known, stimulus), known.sum(axis=1))
            if iteration in (self.iterations // 2, self.iterations - 2):
                self._exchange(states)
        return [state.fit(known.sum(axis=1)) for state in states]

    def _exchange(self, states: list[_State]) -> None:
        """Where the candidate most alike has the better fit, its estimates are tried next.

        Columns that the other lacks are tried near their lower edge: a gain is 0 there, and the two candidates are the same.
        """
        best = [state.best for state in states]
        for i, ((_, own), state) in enumerate(zip(self.candidates, states, strict=True)):
            other = max((j for j in range(len(states)) if j != i), key=lambda j: self._likeness(i, j))
            theirs = self.candidates[other][1].names
            mapped = np.full_like(state.z, ABSENT)
            for column, name in enumerate(own.names):
                if name in theirs:
                    mapped[:, column] = states[other].z[:, theirs.index(name)]
            state.tried = np.where((best[other] < best[i])[:, None], mapped, state.tried)

    def _likeness(self, i: int, j: int) -> float:
        ours, theirs = set(self.candidates[i][1].names), set(self.candidates[j][1].names)
        return len(ours & theirs) / len(ours | theirs)

    def _rows(self, x: Floats) -> Floats:
        fits = self.fits(x)
        evidence = np.stack([fit.evidence for fit in fits], axis=1)
        below = evidence - evidence.max(axis=1, keepdims=True)
        least = np.min([fit.misfit for fit in fits], axis=0)
        spikes, known = np.nan_to_num(x[:, 1]).sum(axis=1), np.isfinite(x[:, 0]).sum(axis=1)
        parts = [np.maximum(below, -20.0), below, np.log(least)[:, None], np.log1p(spikes)[:, None]]
        for fit in fits:
            worse = np.log(fit.misfit / least) * known
            parts += [
                worse[:, None],
                np.log(fit.misfit / least)[:, None],
                fit.roughness[:, None],
                fit.z,
                np.log(fit.spread),
            ]
        return np.concatenate(parts, axis=1)

    def _linearise(
        self, cascade: Cascade, own: Prior, z: Floats, voltage: Floats, known: NDArray[np.bool_], stimulus: Floats
    ) -> tuple[Floats, Floats]:
        """Residual (n, T), 0 where nothing was observed, and the response's slope (n, P, T) by difference quotients."""
        n, p = z.shape
        # away from the nearer edge of what is tried
        ahead = np.where(z > 0, -STEP, STEP)
        points = np.concatenate([z[:, None], z[:, None] + ahead[:, :, None] * np.eye(p)], axis=1)
        theta = own.from_unit(1 / (1 + np.exp(-points.reshape(n * (p + 1), p))))
        response = cascade.simulate(theta, np.repeat(stimulus, p + 1, axis=0), self.dt)[self.response]
        found = np.asarray(response).reshape(n, p + 1, -1)
        slope = (found[:, 1:] - found[:, :1]) / ahead[:, :, None]
        return np.where(known, voltage - found[:, 0], 0.0), np.where(known[:, None], slope, 0.0)


class _State:
    """Where the n fits of a candidate with P parameters have come to; see `Fit`."""

    def __init__(self, p: int, voltage: Floats) -> None:
        n = len(voltage)
        self.z, self.tried, self.best = np.zeros((n, p)), np.zeros((n, p)), np.full(n, np.inf)
        self.residual, self.slope = np.zeros_like(voltage), np.zeros((n, p, voltage.shape[1]))
        self.damping = np.full(n, 1e-2)

    def take(self, residual: Floats, slope: Floats, count: NDArray[np.int64]) -> None:
        """Keep what was tried where it is better, and say what to try next."""
        value = 0.5 * count * np.log((residual**2).sum(axis=1) + 1e-12) + 0.5 * PRECISION * (self.tried**2).sum(axis=1)
        better = value < self.best
        self.z, self.best = np.where(better[:, None], self.tried, self.z), np.where(better, value, self.best)
        self.residual[better], self.slope[better] = residual[better], slope[better]
        self.damping = np.clip(np.where(better, self.damping / 5, self.damping * 8), LEAST, MOST)
        gradient, hessian = _quadratic(self.residual, self.slope, self.z, count)
        diagonal = np.einsum("nii->ni", hessian)[:, :, None] * np.eye(self.z.shape[1])
        step = np.linalg.solve(hessian + self.damping[:, None, None] * diagonal, gradient[:, :, None])[:, :, 0]
        self.tried = np.clip(self.z + np.clip(step, -1.5, 1.5), -FURTHEST, FURTHEST)

    def fit(self, count: NDArray[np.int64]) -> Fit:
        """The fits as they are."""
        p = self.z.shape[1]
        _, hessian = _quadratic(self.residual, self.slope, self.z, count)
        evidence = -self.best - 0.5 * np.linalg.slogdet(hessian)[1] + 0.5 * p * np.log(PRECISION)
        misfit = (self.residual**2).sum(axis=1) / count + 1e-12
        rough = (self.residual[:, 1:] * self.residual[:, :-1]).sum(axis=1) / (misfit * count)
        spread = np.sqrt(np.einsum("nii->ni", np.linalg.inv(hessian)))
        return Fit(self.z, misfit, evidence, rough, spread)


def _quadratic(residual: Floats, slope: Floats, z: Floats, count: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The step's right side (n, P) and the Gauss-Newton Hessian (n, P, P) of F."""
    precision = count / ((residual**2).sum(axis=1) + 1e-12)
    gradient = precision[:, None] * np.einsum("npt,nt->np", slope, residual) - PRECISION * z
    hessian = precision[:, None, None] * (slope @ slope.transpose(0, 2, 1)) + PRECISION * np.eye(z.shape[1])
    return gradient, hessian

r"""A generalized linear neuron with one hidden drive that has memory: the drive is integrated out, bin after bin.

.. math::
    \eta_t = X_t \beta + w\, h_t, \qquad h_t = \rho\, h_{t-1} + \sqrt{1 - \rho^2}\, \xi_t, \qquad \rho = e^{-1/\tau}

with h of variance 1 and tau in bins: an Ornstein-Uhlenbeck drive, or a white one as tau goes to 0. h lives on a chain of
G states (`drive_chain`), so that the likelihood, its gradient and the prediction of a bin from those before it are sums
over states without further approximation. (beta, w, h) and (beta, -w, -h) are the same neuron: w is given as positive.
A bin whose count is nan is not observed; the drive goes on through it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from neuroinf.errors import InputError
from neuroinf.fits.latent_drive_kernel import FAMILIES, backward, drive_chain, forward

FloatArray = NDArray[np.float64]
Nonlinearity = Literal["logistic", "exponential"]
Output = Literal["bernoulli", "poisson"]
STATES = 31  # up to 5.5 sd; the drive's kurtosis is then 3 - 2/30
TAU = (0.1, 0.25)  # shortest tau in bins (white: rho = 5e-5), and longest as a share of the recording
STARTS = (0.3, 3.0, 30.0, 300.0)  # tau in bins: the likelihood can have a maximum at a short and one at a long memory
START_WEIGHT = 0.5
STEPS = 200
NEGLIGIBLE = 1e-4  # nats that a step of the optimiser still gains


@dataclass(frozen=True)
class LatentDrive:
    """A fitted neuron with a hidden drive.

    Attributes:
        coefficients: beta, :math:`(P,)`.
        weight: w >= 0.
        tau: Time constant of the drive, in bins.
        log_likelihood: Of the observed bins, without the penalty, nats.
        covariance: :math:`(P + 2, P + 2)` of (beta, w, log tau) by the curvature of the penalised likelihood at its
            maximum; nan where that is not positive definite (a weight of 0, a tau at its limit) or was not asked for.
        converged: Whether the optimiser came to rest.
        seconds: Wall time.
    """

    coefficients: FloatArray
    weight: float
    tau: float
    log_likelihood: float
    covariance: FloatArray
    converged: bool
    seconds: float


@dataclass(frozen=True)
class HiddenDrive:
    """The drive given all observed bins, in units of its own sd: mean and sd, each :math:`(T,)`."""

    mean: FloatArray
    sd: FloatArray


def predictive_log_likelihood(
    eta: ArrayLike,
    count: ArrayLike,
    weight: float,
    tau: float,
    nonlinearity: Nonlinearity = "logistic",
    output: Output = "bernoulli",
    states: int = STATES,
) -> FloatArray:
    r"""One step ahead, :math:`\log p(y_t \mid y_1 .. y_{t-1})`; their sum over t is the marginal log-likelihood.

    Args:
        eta: What is known of the drive, X beta, :math:`(T,)`. Where it contains the neuron's history, that is the
            observed one.
        count: y, :math:`(T,)`; nan: not observed.
        weight: w.
        tau: Of the hidden drive, in bins.
        nonlinearity: f.
        output: "bernoulli" of probability f (logistic) or 1 - exp(-f) (exponential); "poisson" of mean f.
        states: G.

    Returns:
        :math:`(T,)`, nats; 0 where the count is nan.

    Raises:
        InputError: counts that the output cannot give, an eta that is not finite, or shapes that differ.
    """
    eta, count = _checked(eta, count, output)
    steady = np.zeros(len(eta), np.int64)
    log_likelihood, _ = forward(
        eta, count, float(weight), *_chains(tau, states, np.ones(1)), steady, FAMILIES[output, nonlinearity]
    )
    return log_likelihood


def hidden_drive(
    eta: ArrayLike,
    count: ArrayLike,
    weight: float,
    tau: float,
    nonlinearity: Nonlinearity = "logistic",
    output: Output = "bernoulli",
    states: int = STATES,
) -> HiddenDrive:
    """The hidden drive given all bins; arguments as in `predictive_log_likelihood`."""
    eta, count = _checked(eta, count, output)
    chain, steady = _chains(tau, states, np.ones(1)), np.zeros(len(eta), np.int64)
    family = FAMILIES[output, nonlinearity]
    _, filtered = forward(eta, count, float(weight), *chain, steady, family)
    _, _, posterior, _ = backward(eta, count, float(weight), *chain, steady, family, filtered)
    values = chain[0]
    mean = posterior @ values
    return HiddenDrive(mean, np.sqrt(np.maximum(posterior @ values**2 - mean**2, 0.0)))


def fit_latent_drive(
    design: ArrayLike,
    count: ArrayLike,
    start: ArrayLike,
    nonlinearity: Nonlinearity = "logistic",
    output: Output = "bernoulli",
    *,
    tau: float | None = None,
    ridge: ArrayLike = 0.0,
    states: int = STATES,
    starts: tuple[float, ...] = STARTS,
    intervals: bool = False,
) -> LatentDrive:
    r"""The maximum of the marginal likelihood over beta, w and tau, less :math:`\frac12 \sum_j \text{ridge}_j \beta_j^2`.

    Quasi-Newton with the exact gradient (Fisher's identity: the score of the complete data, averaged over the drive
    given the counts), in coordinates in which the likelihood without the drive is round at the start.

    Args:
        design: X with its constant column, :math:`(T, P)`; finite also where the count is nan.
        count: y, :math:`(T,)`; nan: not observed.
        start: beta without the drive, :math:`(P,)`, as a GLM fit gives it.
        nonlinearity: f.
        output: See `predictive_log_likelihood`.
        tau: If given, kept, in bins.
        ridge: Of each coefficient, or of all.
        states: G.
        starts: tau to start from, in bins, moved within the limits; the best of the ends is returned.
        intervals: Whether to work out `covariance`, P + 2 more gradients each way.

    Raises:
        InputError: as `predictive_log_likelihood`.
    """
    begin = time.perf_counter()
    x, first = np.ascontiguousarray(design, np.float64), np.asarray(start, np.float64)
    if x.ndim != 2 or first.shape != (x.shape[1],):
        raise InputError(
            f"start: expected {x.shape[-1]} coefficients, one per column of the design, found {first.shape}"
        )
    _, y = _checked(x @ first, count, output)
    if not np.isfinite(y).any():
        raise InputError("count: expected at least one observed bin, found only nan")
    problem = _Problem.of(
        x, y, np.broadcast_to(np.asarray(ridge, np.float64), first.shape), nonlinearity, output, states
    )
    limits = (np.log(TAU[0]), np.log(max(TAU[1] * len(y), 1.0)))
    ends = []
    within = np.unique(np.clip(starts, *np.exp(limits))) if tau is None else (tau,)
    for tau_start in within:
        bounds = limits if tau is None else (np.log(tau), np.log(tau))
        ends.append(_climb(problem, np.concatenate([first, [START_WEIGHT, np.log(tau_start)]]), bounds))
    best, converged = min(ends, key=lambda end: problem(end[0])[0])
    best = best * np.where(np.arange(len(best)) == len(first), np.sign(best[len(first)]) or 1.0, 1.0)
    covariance = problem.covariance(best, tau is None) if intervals else np.full((len(best), len(best)), np.nan)
    beta, weight, log_tau = best[:-2], float(best[-2]), float(best[-1])
    log_likelihood = -problem(best)[0] + 0.5 * float(problem.ridge @ beta**2)
    seconds = time.perf_counter() - begin
    return LatentDrive(beta, weight, float(np.exp(log_tau)), log_likelihood, covariance, converged, seconds)


def _chains(tau: float, states: int, gaps: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """States (G,), and for each of K distances in bins the transitions (K, G, G) and farthest jumps (K,)."""
    each = [drive_chain(tau / gap, states) for gap in gaps]
    return each[0][0], np.stack([c[1] for c in each]), np.array([c[2] for c in each])


@dataclass(frozen=True)
class _Problem:
    """The negative penalised log-likelihood and its gradient in (beta, w, log tau), over the bins that were observed.

    Args:
        x: (T', P).
        y: (T',), finite.
        gaps: Distances that occur between them, in bins (K,).
        kind: Which one lies before each (T',).
        ridge: (P,).
        nonlinearity: f.
        output: As in `predictive_log_likelihood`.
        states: G.
    """

    x: FloatArray
    y: FloatArray
    gaps: FloatArray
    kind: NDArray[np.int64]
    ridge: FloatArray
    nonlinearity: Nonlinearity
    output: Output
    states: int

    @staticmethod
    def of(
        x: FloatArray, y: FloatArray, ridge: FloatArray, nonlinearity: Nonlinearity, output: Output, states: int
    ) -> _Problem:
        """From all bins: nothing is known in the others, and the drive passes them in one step."""
        seen = np.flatnonzero(np.isfinite(y))
        gaps, kind = np.unique(np.diff(seen, prepend=seen[:1] - 1), return_inverse=True)
        return _Problem(
            np.ascontiguousarray(x[seen]), y[seen], gaps.astype(np.float64), kind, ridge, nonlinearity, output, states
        )

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        beta, weight, log_tau = theta[:-2], float(theta[-2]), float(theta[-1])
        family = FAMILIES[self.output, self.nonlinearity]
        chain = _chains(np.exp(log_tau), self.states, self.gaps)
        eta = self.x @ beta
        log_likelihood, filtered = forward(eta, self.y, weight, *chain, self.kind, family)
        score, score_weight, _, moves = backward(eta, self.y, weight, *chain, self.kind, family, filtered)
        up, down = (_chains(np.exp(log_tau + step), self.states, self.gaps)[1] for step in (1e-5, -1e-5))
        slope_tau = float((moves * (up - down)).sum() / 2e-5)
        value = -float(log_likelihood.sum()) + 0.5 * float(self.ridge @ beta**2)
        return value, -np.concatenate([self.x.T @ score - self.ridge * beta, [score_weight, slope_tau]])

    def information(self, theta: FloatArray) -> FloatArray:
        """(P, P) of beta if there were no drive, by the score's outer product: for scaling only."""
        rate = max(float(self.y.mean()), 1e-6)
        spread = np.exp(np.clip(self.x @ theta[:-2] - np.log(rate), -5.0, 3.0)) * rate
        return (self.x * np.minimum(spread, 0.25)[:, None]).T @ self.x + np.diag(self.ridge + 1e-3)

    def covariance(self, theta: FloatArray, tau_free: bool) -> FloatArray:
        """Inverse curvature, by central differences of the gradient; nan where the maximum is at a limit."""
        free = len(theta) if tau_free else len(theta) - 1
        curvature = np.empty((free, free))
        for j in range(free):
            step = np.zeros_like(theta)
            step[j] = 1e-3
            curvature[j] = (self(theta + step)[1] - self(theta - step)[1])[:free] / 2e-3
        covariance = np.full((len(theta), len(theta)), np.nan)
        curvature = (curvature + curvature.T) / 2
        if np.linalg.eigvalsh(curvature)[0] > 0:
            covariance[:free, :free] = np.linalg.inv(curvature)
        return covariance


def _climb(problem: _Problem, theta: FloatArray, log_tau: tuple[float, float]) -> tuple[FloatArray, bool]:
    """The nearest maximum, and whether it is one."""
    factor = np.linalg.inv(np.linalg.cholesky(problem.information(theta))).T
    scale = np.zeros((len(theta), len(theta)))
    scale[:-2, :-2] = factor
    # A change of 0.1 in w or log tau counts as one sd of a coefficient: right to a factor of a few for 1e3 spikes.
    scale[-2, -2] = scale[-1, -1] = 0.1

    def moved(v: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = problem(theta + scale @ v)
        return value, scale.T @ gradient

    bounds = [(None, None)] * (len(theta) - 1) + [tuple((limit - theta[-1]) / 0.1 for limit in log_tau)]
    options = {"maxiter": STEPS, "ftol": NEGLIGIBLE / max(abs(problem(theta)[0]), 1.0), "gtol": 1e-2}
    found = minimize(moved, np.zeros(len(theta)), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return theta + scale @ found.x, bool(found.success)


def _checked(eta: ArrayLike, count: ArrayLike, output: Output) -> tuple[FloatArray, FloatArray]:
    eta, count = np.ascontiguousarray(eta, np.float64), np.ascontiguousarray(count, np.float64)
    if eta.ndim != 1 or eta.shape != count.shape:
        raise InputError(f"count: expected one per bin, {eta.shape} as eta has, found {count.shape}")
    if not np.isfinite(eta).all():
        raise InputError(
            f"eta: expected finite values, found {eta[~np.isfinite(eta)][0]} at bin {_first(~np.isfinite(eta))}"
        )
    seen = np.nan_to_num(count, nan=0.0)
    wrong = (seen < 0) | (seen != np.round(seen)) | ((seen > 1) if output == "bernoulli" else False)
    if wrong.any():
        expected = "0 or 1" if output == "bernoulli" else "whole numbers from 0"
        raise InputError(
            f"count: expected {expected} for {output} output, found {seen[wrong][0]:g} at bin {_first(wrong)}"
        )
    return eta, count


def _first(where: NDArray[np.bool_]) -> int:
    return int(np.argmax(where))

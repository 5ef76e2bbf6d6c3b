"""The two steps of the published fit of a mesoscopic model: parameters at a given activity, and activity at given parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood

FloatArray = NDArray[np.float64]
Rule = Literal["both", "total"]
Z_LIMITS = (1e-5, 1.0)
PATIENCE = 3  # steps without improvement
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Adam's, as in Keras


@dataclass
class ActivityState:
    """What the steps of the activity hand on to one another, also from one M-step to the next.

    Attributes:
        z: Activity :math:`(M, T)`.
        saved: The activity at the last improvement.
        mean, square: Adam's running means of the gradient and of its square.
        updates: Number of Adam's updates.
        lowest: Least objective of spikes, of activity, and in total, so far.
    """

    z: FloatArray
    saved: FloatArray
    mean: FloatArray
    square: FloatArray
    updates: int = 0
    lowest: FloatArray = field(default_factory=lambda: np.full(3, np.inf))

    @classmethod
    def at(cls, z: FloatArray) -> ActivityState:
        """Before the first step."""
        return cls(z.copy(), z.copy(), np.zeros_like(z), np.zeros_like(z))


@dataclass(frozen=True)
class ParameterStep:
    """An M-step: values of the parameters, the terms there, and the work it took."""

    values: FloatArray
    terms: tuple[float, float]
    iterations: int
    evaluations: int


def parameter_step(
    likelihood: MesoscopicLikelihood, start: FloatArray, box: FloatArray, z: FloatArray, iterations: int = 200
) -> ParameterStep:
    """L-BFGS-B with exact gradients over the parameters, within the box, at a given activity.

    Args:
        likelihood: Of the recording.
        start: Values :math:`(P,)`.
        box: Lower and upper limits :math:`(P, 2)`.
        z: Activity :math:`(M, T)`.
        iterations: At most.
    """
    activity = torch.from_numpy(z)

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        values = torch.tensor(x, requires_grad=True)
        total = likelihood.at(values, activity).total
        total.backward()
        assert values.grad is not None
        return total.item(), np.nan_to_num(values.grad.numpy())

    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": iterations})
    values = np.clip(found.x, box[:, 0], box[:, 1])
    with torch.no_grad():
        terms = likelihood.at(torch.from_numpy(values), activity)
    return ParameterStep(values, (terms.spikes.item(), terms.activity.item()), int(found.nit), int(found.nfev))


def activity_step(
    likelihood: MesoscopicLikelihood,
    values: FloatArray,
    state: ActivityState,
    rule: Rule = "both",
    rate: float = 1e-3,
    steps: int = 200,
) -> list[tuple[float, float, bool]]:
    """Adam on the activity at given parameters, until three steps in a row were none for the better.

    Args:
        likelihood: Of the recording.
        values: Of the parameters, :math:`(P,)`.
        state: Carried on; at the end its activity is that of the last improvement, of this or an earlier call.
        rule: What an improvement is: both terms, each of them, or their total is the least so far.
        rate: Adam's learning rate, in units of Z.
        steps: At most.

    Returns:
        For each step, the two terms before it, and whether they were an improvement.
    """
    parameters, trace, worse = torch.from_numpy(values), [], 0
    for _ in range(steps):
        z = torch.tensor(state.z, requires_grad=True)
        terms = likelihood.at(parameters, z)
        terms.total.backward()
        assert z.grad is not None
        found = np.array([terms.spikes.item(), terms.activity.item(), terms.total.item()])
        better = found < state.lowest
        improved = bool(better[:2].all() if rule == "both" else better[2])
        state.lowest = np.fmin(state.lowest, found)
        trace.append((float(found[0]), float(found[1]), improved))
        if improved:
            state.saved = state.z.copy()
        worse = 0 if improved else worse + 1
        if worse == PATIENCE:
            break
        _adam(state, np.nan_to_num(z.grad.numpy(), posinf=0.0, neginf=0.0), rate)
    state.z = state.saved.copy()
    return trace


def _adam(state: ActivityState, gradient: FloatArray, rate: float) -> None:
    state.updates += 1
    state.mean = BETA_1 * state.mean + (1 - BETA_1) * gradient
    state.square = BETA_2 * state.square + (1 - BETA_2) * gradient**2
    step = rate * np.sqrt(1 - BETA_2**state.updates) / (1 - BETA_1**state.updates)
    state.z = np.clip(state.z - step * state.mean / (np.sqrt(state.square) + EPSILON), *Z_LIMITS)

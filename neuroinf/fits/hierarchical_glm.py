"""Fits of hierarchical neurons to one recorded voltage: from the simplest model up, and which model to keep.

Each model starts from the next simpler one, rearranged so that its new subunits are nearly linear, and the first from
its own version with parameters shared by the synapses of a kind. Levenberg-Marquardt is used where the published
program uses BFGS: near-linear subunits make valleys along which BFGS needs hundreds of times more work (measured in
docs/hierarchical_glm.md). The penalties, the staging and the masking of spikes are the published ones.

Source:
    Ujfalussy, Makara, Lengyel & Branco (2018), Neuron 100:579.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.hierarchical_minimum import Minimum, Optimizer, least_squares
from neuroinf.fits.hierarchical_objective import Centre, Objective
from neuroinf.fits.hierarchical_start import draw, extend
from neuroinf.simulators.hierarchical_glm import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

FloatArray = NDArray[np.float64]

AFTER_SPIKE_EVALUATIONS = 25
NEGLIGIBLE = 1e-12  # of the variance: a voltage explained to this fraction is explained
RANDOM_STARTS = 3  # of the first, shared model, which has a handful of parameters


@dataclass(frozen=True)
class Penalties:
    r"""How strongly synapses are pulled to those of the simplest model with shared parameters.

    Args:
        weight: :math:`\alpha_w` on log amplitudes, mV^2; 0: none.
        tau: :math:`\alpha_\tau` on log time constants, mV^2.
    """

    weight: float = 10.0
    tau: float = 20.0


@dataclass(frozen=True)
class Fit:
    """A fitted hierarchical neuron.

    Attributes:
        simulator: The model.
        theta: :math:`(P,)`, natural units; beta, v_th and the threshold's parameters, which the voltage does not tell,
            are those of the start.
        value: Sum of squared errors and penalties, mV^2.
        evaluations: Of the residuals and their derivatives, over all starts.
        settled: Whether the best start had converged.
        seconds: Of this fit alone.
    """

    simulator: HierarchicalGLM
    theta: FloatArray
    value: float
    evaluations: int
    settled: bool
    seconds: float

    def voltage(self, inputs: FloatArray, dt: float, spikes: NDArray[np.bool_] | None = None) -> FloatArray:
        """The predicted voltage :math:`(T,)`, mV, given the neuron's own spikes if the model has them."""
        return predict(self.simulator, self.theta, inputs, dt, spikes)


def predict(
    simulator: HierarchicalGLM,
    theta: FloatArray,
    inputs: FloatArray,
    dt: float,
    spikes: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """The voltage :math:`(T,)` of theta :math:`(P,)` under inputs :math:`(N, T)`, with own spikes :math:`(T,)` where
    they were observed, mV."""
    twin = HierarchicalGLMTwin(simulator)
    history = None if spikes is None else twin.history(spikes, dt)[0]
    return twin.jacobian(theta, twin.summed(inputs), dt, history)[0]


def explained(voltage: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    r"""Two measures of a prediction over the samples that are not nan.

    Returns:
        The explained variance :math:`R^2 = 1 - \text{MSE} / \text{Var}(v)`, and the published program's "signal
        explained" :math:`1 - \text{RMSE} / \text{SD}(v)`, which is 0.9 where :math:`R^2` is 0.99.
    """
    ratio = float(np.nanmean((voltage - predicted) ** 2) / np.nanvar(voltage))
    return 1.0 - ratio, 1.0 - float(np.sqrt(ratio))


def fit(
    voltage: FloatArray,
    inputs: FloatArray,
    simulator: HierarchicalGLM,
    dt: float,
    starts: Sequence[FloatArray],
    spikes: NDArray[np.bool_] | None = None,
    centre: Centre | None = None,
    optimizer: Optimizer = "levenberg-marquardt",
    evaluations: int = 100,
    tolerance: float = 1e-8,
) -> Fit:
    """The best of the minima found from several starts.

    With after-spike currents that are 0 at a start, these are fitted alone first.

    Args:
        voltage: :math:`(T,)`, mV; nan where it does not count, as at spikes.
        inputs: Spikes per step :math:`(N, T)`.
        simulator: The model.
        dt: Step, ms.
        starts: Parameters :math:`(P,)` to begin at, natural units.
        spikes: The neuron's own :math:`(T,)`, True in a step with one; for a spiking model.
        centre: Of the penalties; None: without.
        optimizer: How to find the minimum.
        evaluations: Most evaluations for each start.
        tolerance: Relative decrease in a step below which a fit has settled.

    Raises:
        InputError: if shapes do not fit the model, or its spikes are missing.
    """
    begin = time.perf_counter()
    check(voltage, inputs, simulator, spikes)
    objective = Objective(simulator, voltage, inputs, dt, spikes, centre)
    negligible = NEGLIGIBLE * objective.variance * objective.seen.sum()
    found: list[tuple[Minimum, FloatArray]] = []
    count = 0
    for theta in starts:
        z = objective.to_z(simulator.check(np.asarray(theta)[None])[0])
        if simulator.spiking and not z[simulator.columns["after_spike"]].any():
            z, used = _currents_alone(objective, z, optimizer, tolerance, negligible)
            count += used
        minimum = least_squares(
            objective, z, objective.low, objective.high, optimizer, evaluations, tolerance, negligible
        )
        count += minimum.evaluations
        rest = np.asarray(theta, np.float64)[objective.width :]
        found.append((minimum, np.concatenate((objective.to_theta(minimum.z), rest))))
    best, theta = min(found, key=lambda pair: pair[0].value)
    return Fit(simulator, theta, best.value, count, best.settled, time.perf_counter() - begin)


def fit_ladder(
    voltage: FloatArray,
    inputs: FloatArray,
    ladder: Sequence[HierarchicalGLM],
    dt: float,
    rng: np.random.Generator,
    spikes: NDArray[np.bool_] | None = None,
    penalties: Penalties | None = None,
    released: bool = False,
    linearity: float = 1.0,
    random_starts: int = 0,
    evaluations: int = 100,
    tolerance: float = 1e-8,
) -> list[Fit]:
    """Fits models of growing depth, each from the one before.

    Args:
        voltage: :math:`(T,)`, mV; nan where it does not count.
        inputs: Spikes per step :math:`(N, T)`.
        ladder: Models, each an extension of the one before (see :func:`.hierarchical_start.extend`).
        dt: Step, ms.
        rng: For random starts; the first model with shared parameters always has some.
        spikes: The neuron's own :math:`(T,)`; for spiking models.
        penalties: Of synapses that are not shared, towards those of the shared first model; None: the published ones.
        released: Whether each fit is repeated from its end without penalties. That finds more than no penalties at all
            (weights of 0): where a simple model fails, the time constants of weak synapses then run away to hundreds
            of ms, and the deeper models do not find back.
        linearity: How nearly linear the new subunits are at the start, see :func:`.hierarchical_start.draw`.
        random_starts: Further starts of each model, drawn. Models with shared parameters, whose simpler versions are
            poor guides, sometimes end beside the minimum without.
        evaluations: Most evaluations for each start.
        tolerance: Relative decrease in a step below which a fit has settled.

    Returns:
        One fit for each model, from the simplest.

    Raises:
        InputError: for an empty ladder, or one in which a model does not extend the one before.
    """
    if not ladder:
        raise InputError("ladder: expected at least one model, found none")
    first = _shared(ladder[0])
    check(voltage, inputs, first, spikes)
    spread = float(np.nanstd(voltage)) or 1.0
    middle = float(np.nanmean(voltage))
    starts = [draw(first, inputs, dt, rng, 1.0, middle, spread) for _ in range(RANDOM_STARTS)]
    simple = fit(voltage, inputs, first, dt, starts, spikes, evaluations=evaluations, tolerance=tolerance)
    objective = Objective(first, voltage, inputs, dt, spikes)
    log_amplitude, log_tau = objective.amplitudes(simple.theta)[0], np.log(simple.theta[first.columns["tau"]])
    strength = penalties or Penalties()
    fits: list[Fit] = []
    for simulator in ladder:
        starts = [extend(simple.simulator, simple.theta, simulator, inputs, dt, linearity)]
        starts += [draw(simulator, inputs, dt, rng, 1.0, middle, spread) for _ in range(random_starts)]
        centre = None
        if simulator.synapses == "individual":
            kinds = [[s.excitatory for s in first.tree].index(s.excitatory) for s in simulator.tree]
            slow = [len(first.tree)] * len(simulator.slow)
            centre = Centre(log_amplitude[kinds + slow], log_tau[kinds], strength.weight, strength.tau)
        simple = fit(
            voltage, inputs, simulator, dt, starts, spikes, centre, evaluations=evaluations, tolerance=tolerance
        )
        free = simple
        if released and centre is not None:
            free = fit(
                voltage, inputs, simulator, dt, [simple.theta], spikes, evaluations=evaluations, tolerance=tolerance
            )
        fits.append(free)
    return fits


def check(
    voltage: FloatArray, inputs: FloatArray, simulator: HierarchicalGLM, spikes: NDArray[np.bool_] | None
) -> None:
    """Whether a recording suits a model; InputError if not."""
    if inputs.ndim != 2 or inputs.shape[0] != simulator.inputs:
        raise InputError(f"inputs: expected shape ({simulator.inputs}, T), found {inputs.shape}")
    if voltage.shape != inputs.shape[1:]:
        raise InputError(f"voltage: expected shape {inputs.shape[1:]}, one sample for each step, found {voltage.shape}")
    if not np.isfinite(voltage).any() or not np.isfinite(inputs).all():
        raise InputError("voltage, inputs: expected a voltage that is not nan throughout, and finite inputs")
    if simulator.spiking and (spikes is None or spikes.shape != voltage.shape):
        raise InputError(
            f"spikes: a spiking model needs the neuron's own spikes, one truth value for each of {len(voltage)} steps, "
            f"found {None if spikes is None else spikes.shape}"
        )


def _currents_alone(
    objective: Objective, z: FloatArray, optimizer: Optimizer, tolerance: float, negligible: float
) -> tuple[FloatArray, int]:
    """z with after-spike currents fitted while all else stays, and the evaluations it took."""
    own = objective.simulator.columns["after_spike"]

    def residuals(part: FloatArray) -> tuple[FloatArray, FloatArray]:
        r, J = objective(np.concatenate((z[: own.start], part)))
        return r, J[own]

    edges = objective.low[own], objective.high[own]
    found = least_squares(residuals, z[own], *edges, optimizer, AFTER_SPIKE_EVALUATIONS, tolerance, negligible)
    return np.concatenate((z[: own.start], found.z)), found.evaluations


def _shared(simulator: HierarchicalGLM) -> HierarchicalGLM:
    return HierarchicalGLM(
        simulator.parents,
        simulator.excitatory,
        simulator.inhibitory,
        "shared",
        simulator.double,
        simulator.linear_soma,
        simulator.delay,
        simulator.spiking,
    )

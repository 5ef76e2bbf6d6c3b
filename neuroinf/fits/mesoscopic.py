r"""The published fit of a mesoscopic model: parameters and population activity in turn, to the maximum of their likelihood.

Starting with the smoothed spikes of the recorded neurons for the activity Z, and with parameters drawn from their box,

1. M-step: L-BFGS-B over the parameters at a given Z, from the last ones;
2. E-step: Adam over Z at given parameters, whose moments are kept, until nothing improves three times in a row, and back to
   the last Z that was an improvement;

until the M-step finds nothing more (one iteration), the E-step saves nothing, or ends within 4 steps, or after 20 rounds. Of
several restarts the one with the least objective after its last M-step that was followed by a saved Z is taken. An
improvement is that both terms of the objective are the least so far (``rule="both"``, as published), or that their total
is, which goes on for longer: 20 rounds took 106 s of one core for 10 s of nine neurons, the 4 that are its default 35 s. What
comes out is a mode of the joint law of parameters and activity, without uncertainty; the published rule stops well before it is
reached.

Source:
    Wang, Schmutz, Bellec and Gerstner 2022, NeurIPS (neuLVM).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from tqdm import tqdm

from neuroinf.errors import InputError
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.fits.mesoscopic_progress import Progress, fingerprint
from neuroinf.fits.mesoscopic_steps import Z_LIMITS, Rule, activity_step, parameter_step
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
BOX = (0.4, 2.0)  # times the circuit's own values
SMOOTHING = 400.0  # sd of the first guess, ms
# of the other rule 20 rounds take longer than a minute, and parameters and the inferred activity get worse after the first few
ROUNDS: dict[Rule, int] = {"both": 20, "total": 4}
FEW = 4


@dataclass(frozen=True)
class MesoscopicFit:
    """The end of one run.

    Attributes:
        values: Of the circuit's free parameters, :math:`(P,)`.
        z: Fraction of each population that fires in each scored bin, :math:`(M, T)`.
        loss: The objective after the last M-step that was followed by a saved activity, nats per bin and population.
        terms: Of the objective at `values` and `z`: spikes, and activity.
        trace: Rows (round, 0 for M or 1 for E, spikes, activity, improved), one after each M-step and for each step of Adam.
        evaluations: Of the objective with its gradient.
        seconds: Processor time of this process, summed over resumes.
    """

    values: FloatArray
    z: FloatArray
    loss: float
    terms: tuple[float, float]
    trace: FloatArray
    evaluations: int
    seconds: float

    @property
    def total(self) -> float:
        """The objective at the end."""
        return sum(self.terms)


def box(circuit: Circuit, low: float = BOX[0], high: float = BOX[1]) -> FloatArray:
    """Limits :math:`(P, 2)` of the circuit's free parameters: multiples of its own values, 0.4 and 2 in the published fit."""
    return np.sort(circuit.truth[:, None] * np.array([low, high]), axis=1)


def binned(times: ArrayLike, units: ArrayLike, neurons: int, bins: int, dt: float = 4.0) -> NDArray[np.int64]:
    """Spikes of each neuron in each bin :math:`(Q, bins)`, from times in ms and the neuron of each; later ones are left out.

    Raises:
        InputError: for neurons that there are not.
    """
    when, who = np.asarray(times, np.float64), np.asarray(units, np.int64)
    if when.shape != who.shape or (who < 0).any() or (who >= neurons).any():
        raise InputError(f"units: expected the neuron (0 to {neurons - 1}) of each of {when.size} spikes")
    place = np.floor(when / dt).astype(np.int64)
    kept = (place >= 0) & (place < bins)
    counts = np.zeros((neurons, bins), np.int64)
    np.add.at(counts, (who[kept], place[kept]), 1)
    return counts


def smoothed_activity(likelihood: MesoscopicLikelihood, sd: float = SMOOTHING) -> FloatArray:
    """The first guess of Z :math:`(M, T)`: mean of each population's recorded neurons, under a Gaussian window, sd in ms.

    A population of which none is recorded has the rate that the likelihood takes it to have before the first bin.
    """
    guess = np.repeat(likelihood.rates[:, None] * likelihood.dt, likelihood.shape[1], 1)
    for m in np.unique(likelihood.population):
        mean = likelihood.fired[likelihood.population == m].mean(0)
        guess[m] = gaussian_filter1d(mean, sd / 1000.0 / likelihood.dt, mode="reflect")[likelihood.ages :]
    return np.clip(guess, *Z_LIMITS)


def fit(
    likelihood: MesoscopicLikelihood,
    start: ArrayLike,
    limits: ArrayLike | None = None,
    z: ArrayLike | None = None,
    rule: Rule = "both",
    rounds: int | None = None,
    path: Path | None = None,
    progress: bool = False,
) -> MesoscopicFit:
    """One run of the published fit.

    Args:
        likelihood: Of the recording.
        start: Parameters to start from, :math:`(P,)`, such as a draw from the box or a network's answer.
        limits: Of the parameters, :math:`(P, 2)`; `box` of the circuit if not given.
        z: Activity to start from :math:`(M, T)`; `smoothed_activity` if not given.
        rule: What an improvement of the activity is.
        rounds: At most; 20 by default, or 4 if the rule is the total.
        path: Where the run is kept (.npz) after each round, and taken up again.
        progress: Whether to show a bar.

    Raises:
        InputError: for shapes or values that do not fit, or a path that holds another run.
    """
    limits = box(likelihood.circuit) if limits is None else np.asarray(limits, np.float64)
    values, activity = (
        np.asarray(start, np.float64),
        smoothed_activity(likelihood) if z is None else np.asarray(z, np.float64),
    )
    rounds = ROUNDS.get(rule, 1) if rounds is None else rounds
    _check(likelihood, values, limits, activity, rule, rounds)
    mark = fingerprint(likelihood, values, limits, activity, rule)
    run = Progress.resumed(path, mark) or Progress.new(values, np.clip(activity, *Z_LIMITS))
    with tqdm(total=rounds, initial=run.round, disable=not progress, desc="rounds") as bar:
        while run.round < rounds and not run.ended:
            begin = time.process_time()
            _round(likelihood, limits, rule, run)
            run.seconds += time.process_time() - begin
            if path is not None:
                run.save(path, mark)
            bar.update()
            bar.set_postfix(loss=f"{run.loss:.4f}")
    terms = (float(run.terms[0]), float(run.terms[1]))
    return MesoscopicFit(
        run.best, run.activity.saved, run.loss, terms, np.array(run.trace), run.evaluations, run.seconds
    )


def fit_restarts(
    likelihood: MesoscopicLikelihood,
    rng: np.random.Generator,
    restarts: int = 5,
    limits: ArrayLike | None = None,
    rule: Rule = "both",
    rounds: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
) -> list[MesoscopicFit]:
    """Runs from draws of the box, the best first.

    Args:
        likelihood: Of the recording.
        rng: For the draws.
        restarts: How many.
        limits, rule, rounds, progress: As for `fit`.
        folder: Where each run is kept, and taken up again.

    Raises:
        InputError: as `fit`.
    """
    if restarts < 1:
        raise InputError(f"restarts: expected at least 1, found {restarts}")
    limits = box(likelihood.circuit) if limits is None else np.asarray(limits, np.float64)
    starts = rng.uniform(limits[:, 0], limits[:, 1], (restarts, len(limits)))
    fits = [
        fit(
            likelihood,
            start,
            limits,
            rule=rule,
            rounds=rounds,
            path=None if folder is None else folder / f"restart{i}.npz",
            progress=progress,
        )
        for i, start in enumerate(starts)
    ]
    return ranked(fits)


def ranked(fits: Sequence[MesoscopicFit]) -> list[MesoscopicFit]:
    """By the objective after the M-step, the least first."""
    return sorted(fits, key=lambda one: one.loss)


def _round(likelihood: MesoscopicLikelihood, limits: FloatArray, rule: Rule, run: Progress) -> None:
    """An M- and an E-step, and whether the run ends with them."""
    found = parameter_step(likelihood, run.values, limits, run.activity.z)
    run.values = found.values
    run.evaluations += found.evaluations
    run.trace.append((run.round, 0, *found.terms, 1.0))
    steps = activity_step(likelihood, run.values, run.activity, rule)
    run.trace.extend((run.round, 1, *step) for step in steps)
    run.evaluations += len(steps)
    saved = [step for step in steps if step[2]]
    if saved:
        run.best, run.loss, run.terms = run.values, sum(found.terms), np.array(saved[-1][:2])
    run.ended = found.iterations <= 1 or not saved or len(steps) <= FEW
    run.round += 1


def _check(
    likelihood: MesoscopicLikelihood, start: FloatArray, limits: FloatArray, z: FloatArray, rule: str, rounds: int
) -> None:
    names = likelihood.circuit.parameters
    if limits.shape != (len(names), 2) or not (limits[:, 0] < limits[:, 1]).all():
        raise InputError(f"limits: expected lower and higher ones of {', '.join(names)}, found shape {limits.shape}")
    if start.shape != (len(names),) or not ((start >= limits[:, 0]) & (start <= limits[:, 1])).all():
        raise InputError(f"start: expected {len(names)} values within the limits, found {start.tolist()}")
    if z.shape != likelihood.shape or not np.isfinite(z).all():
        raise InputError(f"z: expected finite numbers of shape {likelihood.shape}, found shape {z.shape}")
    if rule not in ("both", "total"):
        raise InputError(f"rule: expected both or total, found {rule!r}")
    if rounds < 1:
        raise InputError(f"rounds: expected at least 1, found {rounds}")

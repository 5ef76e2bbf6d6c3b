"""Do the test neurons' estimates behave like the neurons? Every method's scores, and the network's posterior samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.evaluation.posterior_predictive import SAMPLES, PredictiveCheck, summarise_checks
from neuroinf.evaluation.predictive import Responses, compare, simulate, summarise, within
from neuroinf.evaluation.response_figure import Overlay, best_median_worst


def predicted_responses(
    test: HeldOut, answers: Sequence[Estimates], columns: Sequence[int], most: int
) -> tuple[dict[str, Any], list[Overlay]]:
    """The entry "predictive" of metrics.json, and the network's best, median and worst neuron.

    Args:
        test: Test neurons and their simulator.
        answers: Every method's.
        columns: Columns of the estimates that are the simulator's parameters, in its order.
        most: Simulate at most so many neurons, the first ones.

    Returns:
        For each method :func:`summarise`, for the network's posterior samples also :func:`summarise_checks`; and what
        `response_figure.overlays` draws. Both empty where there are no spikes to compare with.
    """
    rows = np.arange(min(len(test.rows), most))
    content = test.file.rows(test.rows[rows])
    if content.spikes is None:
        return {}, []
    simulation = test.simulation
    stimulus = test.stimulus(rows)
    trains = [np.asarray(s, np.float64) for s in content.spikes]
    observed = Responses(test.duration, simulation.record_dt, content.continuous.get("voltage"), trains)
    summary: dict[str, Any] = {}
    overlays: list[Overlay] = []
    for answer in answers:
        theta = answer.mean[rows][:, list(columns)]
        seeds = [int(row) for row in rows]
        predicted = simulate(simulation.simulator, theta, stimulus, simulation.dt, simulation.record_dt, seeds)
        scores = compare(observed, predicted)
        summary[answer.method] = summarise(scores)
        if answer.method == "amortized":
            checks = _checks(test, observed, answer, stimulus, columns)
            if checks:
                summary[answer.method] |= summarise_checks(checks)
            error = scores["voltage_rmse"]
            error = error if np.isfinite(error).any() else -scores["spike_gamma"]
            for label, row in best_median_worst(error).items():
                gamma = scores["spike_gamma"][row]
                check = checks[row] if checks else None
                title = f"{label} (test neuron {row})\nposterior mean: "
                title += f"voltage error {scores['voltage_rmse'][row]:.2f} mV, coincidence within 2 ms {gamma:.2f}"
                title += "" if check is None else f"\n{len(check.counts)} samples: {check.line()}"
                overlays.append(
                    Overlay(
                        title,
                        observed.row(row),
                        predicted.row(row),
                        content.stimulus[row, 0],
                        test.file.stimulus_dt,
                        check=check,
                    )
                )
    return summary, overlays


def _checks(
    test: HeldOut, observed: Responses, answer: Estimates, stimulus: NDArray[np.float32], columns: Sequence[int]
) -> list[PredictiveCheck]:
    """A posterior predictive check of each of the first neurons; none if the density gives no samples."""
    if answer.samples is None:
        return []
    simulation, checks = test.simulation, []
    for row in range(len(observed.spikes)):
        draws = within(test.simulation.prior, answer.samples[row, :SAMPLES])[:, list(columns)]
        seeds = range(SAMPLES * row, SAMPLES * row + len(draws))
        drawn = simulate(
            simulation.simulator, draws, stimulus[row : row + 1], simulation.dt, simulation.record_dt, seeds
        )
        checks.append(PredictiveCheck(observed.row(row), drawn))
    return checks

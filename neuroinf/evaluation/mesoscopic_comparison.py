"""Every method on the same windows, and what its parameters predict: free simulations, and the response to a step."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation import mesoscopic_predictive as predictive
from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.evaluation.mesoscopic_answers import Network, WindowAnswer, agreeing, first_guess, fitted, refined
from neuroinf.evaluation.mesoscopic_draws import Draws, NearestDraw
from neuroinf.evaluation.mesoscopic_findings import Answers, activity_scores, quartiles, window_estimates
from neuroinf.evaluation.mesoscopic_windows import Window
from neuroinf.evaluation.metrics import method_metrics
from neuroinf.evaluation.population_statistics import Levels
from neuroinf.priors import Prior
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
# whose parameters are effective ones of the published scheme, and are simulated with it
OF_THE_SCHEME = ("amortized_refined", "per_neuron_fit")
TRUE_RUNS = 4
TRUE_TRIALS, POINT_TRIALS, SAMPLE_TRIALS = 200, 100, 10
FREE_SEED, TRIAL_SEED = 31, 47


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        windows: Number of windows.
        networks: They are of so many networks.
        fits: Windows that are fitted, the first ones of each network before the second ones.
        restarts: Of a fit.
        draws: Of the prior, for calibration.
        neighbours: Draws of the prior among which the nearest is searched for.
        samples: Posterior samples that are simulated, for each window.
        seconds: Of free simulation.
        duration: Of a window and of a simulated draw, ms.
    """

    windows: int = 20
    networks: int = 4
    fits: int = 20
    restarts: int = 5
    draws: int = 200
    neighbours: int = 500
    samples: int = 20
    seconds: float = 100.0
    duration: float = 10_000.0


@dataclass(frozen=True)
class Predicted:
    """What one method's parameters predict of one window's network.

    Attributes:
        runs: Free simulations, one for each sample, or one.
        response: Mean responses to the step :math:`(S, M, T)`, Hz, one for each sample, or one.
    """

    runs: list[predictive.FreeRun]
    response: FloatArray


def fitted_windows(windows: Sequence[Window], fits: int) -> list[int]:
    """Which windows are fitted: the first of every network, then the second ones."""
    network = [window.name.split("_")[0] for window in windows]
    place = [network[:i].count(name) for i, name in enumerate(network)]
    return sorted(sorted(range(len(windows)), key=lambda i: (place[i], i))[:fits])


def answers(
    network: Network,
    windows: Sequence[Window],
    circuit: Circuit,
    prior: Prior,
    neighbours: Draws,
    plan: Plan,
    folder: Path,
) -> dict[str, list[WindowAnswer | None]]:
    """Of every method; fits are kept in the folder, and taken up again."""
    scored = [window.scored for window in windows]
    mean = prior_mean(prior, 1).mean[0]
    network(scored[0], circuit.truth)  # compiled code is loaded at its first call, which belongs to no window
    found: dict[str, list[WindowAnswer | None]] = {
        "prior_mean": [WindowAnswer(mean, seconds=0.0) for _ in windows],
        "nearest_neighbour": [WindowAnswer(values) for values in NearestDraw(neighbours)(scored)],
        "initial_guess": [first_guess(window, circuit) for window in windows],
        "amortized": [network(recording, circuit.truth) for recording in scored],
        "amortized_circuits": [None] * len(windows),
        "amortized_refined": [None] * len(windows),
        "per_neuron_fit": [None] * len(windows),
    }
    for k, i in enumerate(chosen := fitted_windows(windows, plan.fits)):
        start = found["amortized"][i]
        assert start is not None
        found["amortized_circuits"][i] = agreeing(windows[i], circuit, prior, start, folder)
        found["amortized_refined"][i] = refined(windows[i], circuit, start, folder)
        found["per_neuron_fit"][i] = fitted(windows[i], circuit, plan.restarts, folder)
        print(f"fits: {k + 1} of {len(chosen)} windows", file=sys.stderr, flush=True)
    return found


def predictions(
    given: Answers, circuit: Circuit, waveform: FloatArray, plan: Plan
) -> dict[str, list[Predicted | None]]:
    """Of every method that gives parameters: samples where it has them, else its one estimate.

    Equal parameters, such as the prior's mean, are simulated once; the nearest neighbours are not looked at.
    """
    found: dict[str, list[Predicted | None]] = {}
    for method, each in given.items():
        if method == "nearest_neighbour":
            continue
        scheme = method in OF_THE_SCHEME
        network = predictive.published_mesoscopic(circuit) if scheme else predictive.microscopic(circuit)
        known: dict[bytes, Predicted] = {}
        found[method] = []
        for i, answer in enumerate(each):
            if answer is None or not np.isfinite(answer.values).all():
                found[method].append(None)
                continue
            theta = answer.values[None] if answer.samples is None else answer.samples[: plan.samples]
            if theta.tobytes() not in known:
                trials = POINT_TRIALS if answer.samples is None else SAMPLE_TRIALS
                m = len(circuit.names)
                runs = predictive.free_runs(network, theta, m, plan.seconds * 1000, FREE_SEED + i)
                response = predictive.step_responses(network, theta, waveform, trials, TRIAL_SEED + i)
                known[theta.tobytes()] = Predicted(runs, response)
            found[method].append(known[theta.tobytes()])
    return {method: each for method, each in found.items() if any(one is not None for one in each)}


def true_behaviour(circuit: Circuit, waveform: FloatArray, plan: Plan) -> Predicted:
    """Of the microscopic network at the circuit's own parameters."""
    network, theta = predictive.microscopic(circuit), np.repeat(circuit.truth[None], TRUE_RUNS, 0)
    runs = predictive.free_runs(network, theta, len(circuit.names), plan.seconds * 1000, FREE_SEED - 1)
    response = predictive.step_responses(network, theta[:1], waveform, TRUE_TRIALS, TRIAL_SEED - 1)
    return Predicted(runs, response)


def free_scores(
    truth: Predicted, found: Mapping[str, Sequence[Predicted | None]], windows: Sequence[Window], seconds: float
) -> dict[str, Any]:
    """The entry "free_simulation"."""
    levels = predictive.pooled_levels(truth.runs)
    methods = {}
    for method, each in found.items():
        pairs = [(run, w.switches > 0) for one, w in zip(each, windows, strict=True) if one for run in one.runs]
        runs = [run for run, _ in pairs]
        like = np.array([run.like(levels) for run in runs])
        switched = np.array([switch for _, switch in pairs])
        methods[method] = {
            "like_truth": float(like.mean()),
            "like_truth_with_switch": float(like[switched].mean()) if switched.any() else None,
            "levels_right": float(np.mean([_right(run.levels, levels) for run in runs])),
            "switching": float(np.mean([run.changes > 0 for run in runs])),
            **_described(runs),
            "n": len(runs),
        }
    true = {"winner": levels.winner, "loser": levels.loser, "rest": levels.rest.tolist()}
    return {"seconds": seconds, "truth": {**_described(truth.runs), **true}, "methods": methods}


def _right(found: Levels, truth: Levels) -> bool:
    return max(abs(found.winner - truth.winner), abs(found.loser - truth.loser)) < 2.0


def _described(runs: Sequence[predictive.FreeRun]) -> dict[str, Any]:
    dwell = np.concatenate([run.dwell for run in runs]) / 1000
    return {
        "winner": quartiles([run.levels.winner for run in runs]),
        "loser": quartiles([run.levels.loser for run in runs]),
        "changes": quartiles([run.changes for run in runs]),
        "dwell_mean": float(dwell.mean()) if len(dwell) else None,
    }


def step_scores(truth: Predicted, found: Mapping[str, Sequence[Predicted | None]]) -> dict[str, Any]:
    """The entry "perturbation": of the mean prediction, and of the 90 % band of those of samples."""
    true, methods = truth.response[0], {}
    for method, each in found.items():
        r2, within = [], []
        for one in each:
            if one is None:
                continue
            r2.append(predictive.response_r2(one.response.mean(0), true))
            if len(one.response) > 1:
                low, high = np.quantile(one.response, [0.05, 0.95], axis=0)
                within.append(float(np.mean((low <= true) & (true <= high))))
        methods[method] = {"r2": quartiles(r2), "within_band": quartiles(within)}
    return {"amplitude": predictive.AMPLITUDE, "trials": TRUE_TRIALS, "methods": methods}


def draw_scores(network: Network, draws: Draws, neighbours: Draws, circuit: Circuit, prior: Prior) -> DrawScores:
    """The network, the prior's mean and the nearest neighbour on draws of the prior."""
    given = []
    for i, (recording, theta) in enumerate(zip(draws.recordings, draws.theta, strict=True)):
        given.append(network(recording, theta))
        if (i + 1) % 50 == 0:
            print(f"draws: {i + 1} of {len(draws.theta)}", file=sys.stderr, flush=True)
    estimates = {
        "prior_mean": prior_mean(prior, len(draws.theta)),
        "nearest_neighbour": Estimates("nearest_neighbour", NearestDraw(neighbours)(draws.recordings)),
        "amortized": window_estimates("amortized", given, len(prior.names)),
    }
    columns = {name: j for j, name in enumerate(prior.names) if name.startswith("J_")}
    stable = draws.stable
    error = {
        method: {
            name: quartiles(np.abs(one.mean[stable, j] / draws.theta[stable, j] - 1)) for name, j in columns.items()
        }
        for method, one in estimates.items()
    }
    kept = [(answer, i) for i, answer in enumerate(given) if stable[i]]
    windows = [Window(str(i), draws.recordings[i], draws.rates[i]) for _, i in kept]
    activity = activity_scores({"amortized": [answer for answer, _ in kept]}, windows, circuit) if kept else {}
    warned = np.array([any("outside the training" in text for text in answer.warnings) for answer in given])
    entry = {
        "n": len(draws.theta),
        "stable": int(stable.sum()),
        "methods": {method: method_metrics(one, draws.theta, prior) for method, one in estimates.items()},
        "coupling_error": error,
        "activity": activity,
        "called_outside": float(warned.mean()),
    }
    return DrawScores(entry, draws.theta, estimates["amortized"])


@dataclass(frozen=True)
class DrawScores:
    """The entry "draws", and the network's answers for figures."""

    entry: dict[str, Any]
    truth: FloatArray
    network: Estimates

"""The published fit of the winner-take-all circuit, on windows of 10 s of nine neurons of simulated microscopic networks.

    python benchmarks/mesoscopic_fit.py [--windows 5] [--restarts 5] [--folder data/mesoscopic_fit] [--output fit.json]

Windows are the first ones of each network (one seed each) in which the leading population changes; the network is three
populations of 1,000 neurons in all, the fit is told the populations of the recorded neurons and a box of 0.4 to 2 times the
true parameters. Printed for each window, for the restart with the least objective under both stopping rules ("both" is the
published one): objective, correlation of inferred and true rates of each population (both smoothed, sd 20 ms), parameters
over true ones, and processor seconds of a restart; the same of the first guess, of the true parameters, and of parameters
fitted at the true activity. A run stopped goes on where it was, with the same folder. About 2 minutes of one core per window.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from neuroinf.fits.mesoscopic import MesoscopicFit, binned, box, fit_restarts, smoothed_activity
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.fits.mesoscopic_steps import Rule, parameter_step
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
DT, HISTORY, SCORED, SECONDS = 4.0, 250, 2500, 120
RULES: tuple[Rule, ...] = ("both", "total")
SLOW, HELD = 50, 125  # sd of the smoothing that shows who leads, and the least time for which they must, bins


def windows(circuit: Circuit, number: int) -> list[tuple[int, int, MesoscopicLikelihood, FloatArray]]:
    """Seed, first bin, likelihood and true activity of one window with a switch of each of `number` networks."""
    found, seed = [], 0
    while len(found) < number:
        seed += 1
        bins = SECONDS * int(1000 / DT)
        response = MicroscopicNetwork(circuit).simulate(circuit.truth[None], np.zeros((1, 3, bins)), dt=DT, seed=seed)
        rates = response["latent/rates"][0]
        spikes = binned(response["spikes"][0], response["units"][0], 9, bins, DT)
        leads = gaussian_filter1d(rates[0] - rates[1], SLOW) > 0
        for first in range(0, bins - HISTORY - SCORED + 1, HISTORY + SCORED):
            scored = leads[first + HISTORY : first + HISTORY + SCORED]
            changes = np.flatnonzero(np.diff(scored.astype(int)))
            lasting = np.diff(np.concatenate([[0], changes, [SCORED]]))
            if len(changes) and lasting.min() >= HELD:
                window = slice(first, first + HISTORY + SCORED)
                likelihood = MesoscopicLikelihood(circuit, spikes[:, window], np.repeat(np.arange(3), 3), DT)
                found.append((seed, first, likelihood, rates[:, window][:, HISTORY:] * DT / 1000))
                break
    return found


def correlations(z: FloatArray, truth: FloatArray, sd: float = 20.0) -> list[float]:
    """Of both, smoothed with this sd in ms, for each population."""
    smooth = gaussian_filter1d(np.stack([z, truth]), sd / DT, axis=2)
    return [float(np.corrcoef(one, other)[0, 1]) for one, other in zip(*smooth, strict=True)]


def evaluation_seconds(likelihood: MesoscopicLikelihood, z: FloatArray, repeats: int = 20) -> float:
    """Processor time of one evaluation with both gradients, median."""
    values, activity = torch.tensor(likelihood.circuit.truth, requires_grad=True), torch.tensor(z, requires_grad=True)
    spent = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        likelihood.at(values, activity).total.backward()
        spent.append(time.process_time() - begin)
    return float(np.median(spent[1:]))


def summary(fits: list[MesoscopicFit], circuit: Circuit, truth: FloatArray) -> dict[str, Any]:
    """Of the restarts of a window, the best first."""
    ratio = fits[0].values / circuit.truth
    return {
        "loss": [one.loss for one in fits],
        "total": [one.total for one in fits],
        "correlation": correlations(fits[0].z, truth),
        "correlation_of_restarts": [correlations(one.z, truth) for one in fits],
        "ratio": ratio.tolist(),
        "mean_error": float(np.abs(ratio - 1).mean()),
        "seconds": [one.seconds for one in fits],
        "evaluations": [one.evaluations for one in fits],
    }


def window_result(likelihood: MesoscopicLikelihood, truth: FloatArray) -> dict[str, Any]:
    """What needs no restarts."""
    circuit, guess = likelihood.circuit, smoothed_activity(likelihood)
    known = parameter_step(likelihood, circuit.truth, box(circuit), truth)
    with torch.no_grad():
        at_truth = [
            likelihood.at(torch.tensor(circuit.truth), torch.from_numpy(z)).total.item() for z in (guess, truth)
        ]
    return {
        "guess_correlation": correlations(guess, truth),
        "total_at_truth": {"smoothed": at_truth[0], "true_activity": at_truth[1]},
        "known_activity": {"total": sum(known.terms), "ratio": (known.values / circuit.truth).tolist()},
        "evaluation_seconds": evaluation_seconds(likelihood, truth),
    }


def text(values: list[float], digits: int = 2) -> str:
    """Numbers in one cell."""
    return " ".join(f"{value:.{digits}f}" for value in values)


def print_row(name: str, rule: str, one: dict[str, Any]) -> None:
    """A window's restarts under one rule."""
    print(
        f"{name:12s} {rule:6s} loss {one['loss'][0]:.3f} (others {text(one['loss'][1:], 3)})  total {one['total'][0]:.3f}  "
        f"r {text(one['correlation'], 3)}  J {text(one['ratio'][3:6])}  |err| {one['mean_error']:.2f}  "
        f"s {np.median(one['seconds']):.1f} (max {max(one['seconds']):.1f})",
        flush=True,
    )


def main() -> None:
    """Parse, fit window after window, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "mesoscopic_fit")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    circuit = Circuit(J=(9.984, 9.984, 19.968), synapse=(3.0, 3.0, 6.0))
    results: list[dict[str, Any]] = []
    for seed, first, likelihood, truth in windows(circuit, options.windows):
        name = f"seed{seed}_{first * DT / 1000:.0f}s"
        result = {"window": name, **window_result(likelihood, truth)}
        print(
            f"{name:12s} guess  r {text(result['guess_correlation'], 3)}  total at the true parameters "
            f"{result['total_at_truth']['smoothed']:.3f} (true activity {result['total_at_truth']['true_activity']:.3f}); "
            f"fitted at the true activity {result['known_activity']['total']:.3f}, "
            f"J {text(result['known_activity']['ratio'][3:6])}; "
            f"an evaluation {result['evaluation_seconds']:.4f} s"
        )
        for rule in RULES:
            folder = options.folder / name / rule
            fits = fit_restarts(likelihood, np.random.default_rng(seed), options.restarts, rule=rule, folder=folder)
            result[rule] = summary(fits, circuit, truth)
            print_row(name, rule, result[rule])
        results.append(result)
        if options.output:
            options.output.write_text(json.dumps(results, indent=2) + "\n")
    for rule in RULES:
        found = np.array([one[rule]["correlation"] for one in results])
        error = [one[rule]["mean_error"] for one in results]
        coupling = np.array([one[rule]["ratio"][3:5] for one in results])
        spent = [seconds for one in results for seconds in one[rule]["seconds"]]
        print(
            f"{rule:6s} medians of {len(results)} windows: r {text(np.median(found, 0).tolist(), 3)} "
            f"(least {text(found.min(0).tolist(), 3)})  "
            f"|err| {np.median(error):.2f} (most {max(error):.2f})  |J_E - 1| {np.median(np.abs(coupling - 1)):.2f} "
            f"(most {np.abs(coupling - 1).max():.2f})  total {np.median([one[rule]['total'][0] for one in results]):.3f}  "
            f"s per restart {np.median(spent):.1f} (most {max(spent):.1f})"
        )


if __name__ == "__main__":
    main()

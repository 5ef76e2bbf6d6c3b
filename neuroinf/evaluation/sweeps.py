"""What more sweeps of a neuron are worth: width and calibration of the posterior from 1, 2, ... of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.evaluation.calibration import coverage, sbc_p
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.figures import BASELINE, COLOURS, panels, style
from neuroinf.evaluation.held_out import HeldOut, stated_simulation
from neuroinf.evaluation.metrics import SIGNIFICANCE, by_name, nrmse
from neuroinf.fits import Start, per_neuron_fits, refinements
from neuroinf.inference import Estimator
from neuroinf.networks.pooling import SweepPooling
from neuroinf.posterior import draw
from neuroinf.priors import GridPrior, Prior
from neuroinf.simulators import Cascade

FloatArray = NDArray[np.float64]
SAMPLES = 400
# neurons whose sweeps are fitted together: a fit of ten takes as long as ten of one
MOST_FITTED = 50
SEED_AFTER = 3  # training rows have the simulation's seed, test rows the next; the one after is the novelty score's


def by_number_of_sweeps(
    estimator: Estimator,
    folder: Path,
    neurons: int,
    condition: Condition,
    trust: tuple[str, ...] = (),
    fits: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores of new neurons under the training stimuli, from the first 1, 2, ... of their sweeps.

    Args:
        estimator: The opened checkpoint.
        folder: Where the sweeps are kept that are simulated for this.
        neurons: How many.
        condition: How they are observed.
        trust: Packages whose classes may be imported.
        fits: Of cascades, fit and refine so many of the neurons from all of their sweeps together, 50 at most.

    Returns:
        For each number of sweeps, as text: "coverage_90", "sbc_p" and "sd_over_prior" (median over neurons) by name, and
        "log_prob" in natural units; of the largest number also "nrmse" by method and name where there are fits. Empty if the
        encoder takes one sweep at a time, or the density states no uncertainty.
    """
    if not isinstance(estimator.encoder, SweepPooling) or "simulation" not in estimator.provenance:
        return {}
    trained = stated_simulation(estimator.provenance, "simulation", trust)
    if trained.sweeps == 1 or isinstance(estimator.prior, GridPrior):  # a grid's first neurons lie in one corner
        return {}
    most, prior = trained.sweeps, estimator.prior
    simulation = replace(trained, n=neurons * most, seed=trained.seed + SEED_AFTER)
    file = Dataset(generate(simulation, folder / f"sweeps_{simulation.n}.h5", progress=True))
    test = HeldOut(file, simulation, np.arange(file.n), estimator.observation)
    x = test.observe(condition)
    x = x.reshape(neurons, most, *x.shape[1:])
    truth = test.truth[::most]
    theta = torch.from_numpy(truth)
    found: dict[str, dict[str, Any]] = {}
    for number in range(1, most + 1):
        with torch.inference_mode():
            posterior = estimator.density.posterior(estimator.features(x[:, :number], batch=64))
            if posterior is None:
                return {}
            log_prob = posterior.log_prob(prior.to_unconstrained(theta).float()).double() + prior.log_abs_det(theta)
        samples = draw(posterior, prior, SAMPLES, number)
        width = np.median(prior.to_unit(samples).std(1, ddof=1), axis=0) / prior.unit_moments[1]
        found[str(number)] = {
            "coverage_90": by_name(prior, coverage(truth, samples)),
            "sbc_p": by_name(prior, sbc_p(truth, samples)),
            "sd_over_prior": by_name(prior, width),
            "log_prob": float(log_prob.mean()),
            "n": neurons,
        }
    some = min(fits, neurons, MOST_FITTED)
    if some and isinstance(simulation.simulator, Cascade):
        found[str(most)]["nrmse"] = _together(estimator, replace(test, rows=test.rows[: some * most]), condition, most)
    return found


def _together(estimator: Estimator, test: HeldOut, condition: Condition, sweeps: int) -> dict[str, dict[str, float]]:
    """Error by method and parameter of neurons that network, refinement and fit see all sweeps of."""
    prior, x, truth = estimator.prior, test.observe(condition), test.truth[::sweeps]
    evidence = replace(test.evidence(x, condition), sweeps=sweeps)
    with torch.inference_mode():
        posterior = estimator.density.posterior(estimator.features(x.reshape(-1, sweeps, *x.shape[1:]), batch=64))
    assert posterior is not None  # or nothing would have been scored
    rng, given = np.random.default_rng(0), (test.simulation, prior, test.observation.dt)
    draws = draw(posterior, prior, SAMPLES, 0)
    means = {"amortized": draws.mean(axis=1)}
    for name, refinement in refinements(*given).items():
        answer = refinement.run(evidence, Start(draws[:, : refinement.draws or 1]), SAMPLES, rng)
        if answer is not None:
            means[name] = answer.mean
    means |= {name: fit.run(evidence)[0] for name, fit in per_neuron_fits(*given, rng).items()}
    return {name: by_name(prior, nrmse(truth, mean, prior)) for name, mean in means.items()}


def sweeps_figure(found: dict[str, dict[str, Any]], prior: Prior) -> Figure:
    """Width and coverage against the number of sweeps.

    Args:
        found: From :func:`by_number_of_sweeps`.
        prior: Names the parameters.
    """
    figure, (left, right) = panels(2, width=4.4)
    number = np.array([int(key) for key in found])
    for k, name in enumerate(prior.names):
        hollow: dict[str, Any] = {"markerfacecolor": "white"} if k >= len(COLOURS) else {}  # colours begin again
        left.plot(number, [found[str(s)]["sd_over_prior"][name] for s in number], **style(k), **hollow)
        marker: dict[str, Any] = style(k) | hollow | {"linestyle": "none"}
        right.plot(number, [found[str(s)]["coverage_90"][name] for s in number], label=name, **marker)
    first = max(found["1"]["sd_over_prior"].values())
    left.plot(number, first / np.sqrt(number), label="1 / √sweeps", **BASELINE)
    n = found["1"]["n"]
    band = stats.binom.ppf([SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2], n, 0.9) / n
    right.axhspan(*band, color="0.9", label="99.99 % of honest ones")
    right.axhline(0.9, **BASELINE)
    left.set(xlabel="sweeps", ylabel="posterior sd / prior sd (median)", yscale="log", xticks=number)
    right.set(xlabel="sweeps", ylabel="coverage of 90 % intervals", xticks=number, ylim=(0.75, 1.0))
    left.legend(fontsize=7, frameon=False, loc="upper right")
    right.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

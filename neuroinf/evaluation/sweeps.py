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
from neuroinf.evaluation.figures import BASELINE, panels, style
from neuroinf.evaluation.held_out import HeldOut, stated_simulation
from neuroinf.evaluation.metrics import SIGNIFICANCE, by_name
from neuroinf.inference import Estimator
from neuroinf.networks.pooling import SweepPooling
from neuroinf.posterior import draw
from neuroinf.priors import GridPrior, Prior

FloatArray = NDArray[np.float64]
SAMPLES = 400
SEED_AFTER = 3  # training rows have the simulation's seed, test rows the next; the one after is the novelty score's


def by_number_of_sweeps(
    estimator: Estimator, folder: Path, neurons: int, condition: Condition, trust: tuple[str, ...] = ()
) -> dict[str, dict[str, Any]]:
    """Scores of new neurons under the training stimuli, from the first 1, 2, ... of their sweeps.

    Args:
        estimator: The opened checkpoint.
        folder: Where the sweeps are kept that are simulated for this.
        neurons: How many.
        condition: How they are observed.
        trust: Packages whose classes may be imported.

    Returns:
        For each number of sweeps, as text: "coverage_90", "sbc_p" and "sd_over_prior" (median over neurons) by name, and
        "log_prob" in natural units. Empty if the encoder takes one sweep at a time, or the density states no uncertainty.
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
    return found


def sweeps_figure(found: dict[str, dict[str, Any]], prior: Prior) -> Figure:
    """Width and coverage against the number of sweeps.

    Args:
        found: From :func:`by_number_of_sweeps`.
        prior: Names the parameters.
    """
    figure, (left, right) = panels(2, width=4.4)
    number = np.array([int(key) for key in found])
    for k, name in enumerate(prior.names):
        left.plot(number, [found[str(s)]["sd_over_prior"][name] for s in number], **style(k))
        marker: dict[str, Any] = style(k) | {"linestyle": "none"}
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
    right.legend(fontsize=7, frameon=False, loc="lower left", ncols=2)
    return figure

"""Networks' answers refined by the fits: which parameters respond more like the neuron, and by how much (capability 7)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from prc_answers import answer
from prc_protocols import alphas, potentials, shown, simulation_of

from neuroinf.fits.cascade import refine_draws
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.inference import Estimator
from neuroinf.simulators import Cascade
from neuroinf.stimuli import Stimulus

FloatArray = NDArray[np.float64]
NEARBY = 63  # draws of the network
AT_ONCE = 25  # neurons fitted together


def refined(estimator: Estimator, x: NDArray[np.float32], stimuli: Sequence[Stimulus], draws: FloatArray) -> FloatArray:
    """Parameters (n, P), natural units, of the higher mode near a network's draws.

    Args:
        estimator: The network.
        x: What it saw (n, S, C, T).
        stimuli: Of the S sweeps.
        draws: Some of its posterior (n, D, P).
    """
    simulation, seen, neuron = simulation_of(estimator), estimator.observation, _neuron(estimator)
    rows = [seen.rows(name).start for name in neuron.record]
    waves = np.stack([stimulus.sample(np.random.default_rng(0)) for stimulus in stimuli])
    every = round(seen.dt / simulation.dt)
    found = []
    for i in range(0, len(x), AT_ONCE):
        some = x[i : i + AT_ONCE][:, :, rows]
        wave = np.broadcast_to(waves, (len(some), *waves.shape))
        posterior = CascadePosterior(neuron, estimator.prior, wave, some, simulation.dt, every)
        found.append(refine_draws(posterior, draws[i : i + AT_ONCE]).best())
    return estimator.prior.from_unconstrained(torch.from_numpy(np.concatenate(found))).numpy()


def refinement(name: str, estimator: Estimator, cases: int) -> None:
    """Error of the response before and after refinement, of neurons that a network never saw.

    Args:
        name: parallel or recurrent.
        estimator: Its network.
        cases: Number of neurons.
    """
    banks: list[tuple[str, list[Stimulus], list[Stimulus]]] = {
        "parallel": [("parallel", potentials(), potentials((4.0, 8.0, 10.0)))],
        "recurrent": [
            ("recurrent, below threshold", alphas((0.5, 0.8, 1.0, 1.2)), alphas((0.3, 0.6, 0.9, 1.1))),
            ("recurrent, with spikes", alphas(), alphas((1.25, 1.6, 1.9, 2.5))),
        ],
    }[name]
    for label, stimuli, others in banks:
        rng, prior = np.random.default_rng(3), estimator.prior
        theta = prior.sample(4 * cases, rng)
        silent = "below" in label
        if silent:
            theta = theta[_silent(estimator, theta, [*stimuli, *others])]
        theta = theta[:cases]
        x = shown(estimator, theta, stimuli, rng)
        draws = answer(estimator, x, theta, NEARBY).draws.transpose(1, 0, 2)
        before = prior.from_unit(prior.to_unit(draws).mean(1))
        began = time.process_time()
        after = refined(estimator, x, stimuli, draws)
        seconds = (time.process_time() - began) / len(theta)
        for where, there, true in (
            ("the noisy sweeps", stimuli, _scaled(estimator, x)),
            ("the same without noise", stimuli, _responses(estimator, theta, stimuli)),
            ("other stimuli, without noise", others, _responses(estimator, theta, others)),
        ):
            a, b = (
                np.sqrt(np.square(_responses(estimator, at, there) - true).mean((1, 2, 3))) for at in (before, after)
            )
            print(
                f"refined {label}, {where}: error <= the posterior mean's in {100 * (b <= a).mean():.1f} % of {len(theta)} "
                f"(bar 90 %); median error {np.median(a):.2g} -> {np.median(b):.2g} noise sds, 95 % "
                f"{np.quantile(a, 0.95):.2g} -> {np.quantile(b, 0.95):.2g}"
            )
        own = np.sqrt(np.square(prior.to_unit(before) - prior.to_unit(theta)).mean())
        new = np.sqrt(np.square(prior.to_unit(after) - prior.to_unit(theta)).mean())
        print(
            f"refined {label}: error of the parameters over the prior's range {own:.3f} -> {new:.3f}; "
            f"{seconds:.2f} s (processor) per neuron",
            flush=True,
        )


def _neuron(estimator: Estimator) -> Cascade:
    neuron = simulation_of(estimator).simulator
    assert isinstance(neuron, Cascade)
    return neuron


def _responses(estimator: Estimator, theta: FloatArray, stimuli: Sequence[Stimulus]) -> FloatArray:
    """Noise-free (n, S, C, T) of the recorded channels, in sds of the observation noise."""
    return _scaled(estimator, shown(estimator, theta, stimuli, None))


def _scaled(estimator: Estimator, x: NDArray[np.float32]) -> FloatArray:
    seen = estimator.observation
    record = _neuron(estimator).record
    return np.concatenate(
        [x[:, :, seen.rows(name)] / np.float64(np.ravel(seen.noise[name])[0]) for name in record], axis=2
    )


def _silent(estimator: Estimator, theta: FloatArray, stimuli: Sequence[Stimulus]) -> NDArray[np.bool_]:
    """Which neurons (n,) never spike."""
    simulation = simulation_of(estimator)
    columns = theta[:, [estimator.prior.names.index(name) for name in simulation.simulator.parameters]]
    quiet = np.ones(len(theta), bool)
    for stimulus in stimuli:
        wave = stimulus.sample(np.random.default_rng(0))[None]
        quiet &= [len(train) == 0 for train in simulation.simulator.simulate(columns, wave, simulation.dt, 0)["spikes"]]
    return quiet

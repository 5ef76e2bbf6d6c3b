"""Fits of cascade neurons: the ridge below a sigmoid, how far the loss falls, refinement, and which method is quickest.

    python benchmarks/prc_fits.py [--cases 200] [--only ridge width fall refined speed]

Parallel neurons at 0.5 ms for 400 ms (five amplitudes, control and blocked, noise 0.05), recurrent ones at 0.05 ms for 50 ms from
soma and dendrite (noise 0.01), currents below the somatic threshold. Without a network the amortized answer is played by a draw
from a normal of twice the sd of the truth's Laplace posterior.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from neuroinf.fits.cascade import fit, refine
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_twin import CascadeTwin
from neuroinf.stimuli import AlphaInput, BiexponentialInput

FloatArray = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
AMPLITUDES, PEAKS = (3.0, 5.0, 7.0, 9.0, 12.0), (0.5, 0.8, 1.0, 1.2)
WIDER = 2.0


class Neurons:
    """Neurons of a configuration's prior under a bank of stimuli that all of them see.

    Args:
        name: parallel or recurrent.
        dt: Step, ms.
        every: Steps per sample.
        noise: Sd of the observation noise.
        sizes: Of the synaptic inputs; of parallel neurons each with and without the block.
        blocked: Whether the block is used.
    """

    def __init__(
        self, name: str, dt: float, every: int, noise: float, sizes: tuple[float, ...], blocked: bool = True
    ) -> None:
        said = yaml.safe_load((ROOT / "configs" / f"prc_{name}.yaml").read_text())["data"]["simulation"]
        arguments = said["simulator"]["init_args"]
        arguments["graph"] = str(ROOT / arguments["graph"])
        self.simulator, self.dt, self.every, self.noise = Cascade(**arguments), dt, every, noise
        self.prior = Prior({k: Parameter(**v) for k, v in said["prior"]["init_args"]["parameters"].items()})
        rng = np.random.default_rng(0)
        if name == "parallel":
            waves = [BiexponentialInput(400.0, dt, size).sample(rng) for size in sizes]
            self.stimulus = np.stack([np.concatenate((w, 0 * w + b)) for w in waves for b in range(1 + blocked)])
        else:
            self.stimulus = np.stack([AlphaInput(50.0, dt, size).sample(rng) for size in sizes])

    def observed(self, theta: FloatArray, rng: np.random.Generator | None) -> CascadePosterior:
        """Of neurons (B, P); without a generator no noise."""
        stimulus = np.broadcast_to(self.stimulus, (len(theta), *self.stimulus.shape))
        channels, samples = len(self.simulator.record), self.stimulus.shape[-1] // self.every
        blank = np.zeros((len(theta), len(self.stimulus), channels, samples))
        given = (self.prior, stimulus)
        z = self.prior.to_unconstrained(torch.from_numpy(theta)).numpy()
        y = CascadePosterior(self.simulator, *given, blank, self.dt, self.every).response(z, np.arange(len(theta)))
        if rng is not None:
            y = y + self.noise * rng.standard_normal(y.shape)
        return CascadePosterior(self.simulator, *given, y, self.dt, self.every)


def neurons(name: str) -> Neurons:
    """As in the module's description."""
    if name == "parallel":
        return Neurons(name, 0.5, 4, 0.05, AMPLITUDES)
    return Neurons(name, 0.05, 4, 0.01, PEAKS)


def subthreshold(bank: Neurons, number: int, rng: np.random.Generator) -> FloatArray:
    """Draws of the prior (B, P), of recurrent neurons those that do not spike."""
    order = [bank.prior.names.index(name) for name in bank.simulator.parameters]
    theta = bank.prior.sample(4 * number, rng)
    silent = np.ones(len(theta), bool)
    for stimulus in bank.stimulus:
        spikes = bank.simulator.simulate(theta[:, order], stimulus[None], bank.dt).get("spikes")
        silent &= [len(train) == 0 for train in spikes] if spikes is not None else True
    return theta[silent][:number]


def natural_slopes(bank: Neurons, theta: FloatArray, names: list[str]) -> FloatArray:
    """Derivatives (P', N) of one neuron's response in some parameters, natural units, by the twin's differences."""
    observed = bank.observed(theta[None], None)
    z = bank.prior.to_unconstrained(torch.from_numpy(theta))
    matrix = torch.autograd.functional.jacobian(bank.prior.from_unconstrained, z)
    assert isinstance(matrix, torch.Tensor)
    slope = matrix.diagonal().numpy()
    found = observed.jacobian(z.numpy()[None], np.zeros(1, np.int64), np.full((1, len(z)), 1e-4))[0]
    columns = [bank.prior.names.index(name) for name in names]
    return (found.reshape(len(z), -1) / slope[:, None])[columns]


def ridge() -> None:
    """Laplace sds, no prior, of the dendrite's five parameters from the published subthreshold sweeps.

    Of 5C1 also at the point to which a fit of noise-free data went, by the specification: sd(loc) .6, sd(gain) 3.0 there.
    """
    names = ["loc", "width", "gain", "dendrite_tau", "na_tau"]
    for label, peaks, loc, width, gain, threshold in (
        ("5C1, peaks 1 and 1.5", (1.0, 1.5), 1.9, 0.3, 3.0, 0.19),
        ("5C1, elsewhere on the ridge", (1.0, 1.5), 1.73, 0.2984, 1.78, 0.19),
        ("5C2, peaks 1.25, 1.85 and 2.1", (1.25, 1.85, 2.1), 1.8, 0.2, 3.0, 0.349),
        ("5C2, peaks 1.25 and 1.85", (1.25, 1.85), 1.8, 0.2, 3.0, 0.349),
    ):
        bank = Neurons("recurrent", 0.01, 20, 0.01, peaks)
        true = {"loc": loc, "width": width, "gain": gain, "threshold": threshold, "dendrite_tau": 20.0, "na_tau": 2.0}
        true |= {"spike_height": 2.0, "soma_tau": 40.0}
        theta = np.array([true[name] for name in bank.prior.names])
        slopes = natural_slopes(bank, theta, names)
        covariance = np.linalg.inv(slopes @ slopes.T) * bank.noise**2
        sd = np.sqrt(np.diag(covariance))
        # of log gain and loc / width, at the truth
        to_foot = np.zeros((2, len(names)))
        to_foot[0, names.index("gain")] = 1 / true["gain"]
        to_foot[1, names.index("loc")], to_foot[1, names.index("width")] = 1 / width, -loc / width**2
        foot = to_foot @ covariance @ to_foot.T
        together = np.sqrt(foot[0, 0] + foot[1, 1] - 2 * foot[0, 1])
        print(f"ridge {label}: sd " + ", ".join(f"{n} {s:.3g}" for n, s in zip(names, sd, strict=True)))
        print(
            f"  correlation of log gain with loc / width {foot[0, 1] / np.sqrt(foot[0, 0] * foot[1, 1]):.3f}; sd of log gain "
            f"{np.sqrt(foot[0, 0]):.2f}, of loc / width {np.sqrt(foot[1, 1]):.2f}, of their difference {together:.3f}"
        )


def widths(cases: int) -> None:
    """Posterior over prior sd of parallel neurons by the curvature at the truth, a prior of the same sd taken as normal."""
    rng = np.random.default_rng(1)
    for label, sizes, blocked in (
        ("one input of 7", (7.0,), False),
        ("five inputs, control and blocked", AMPLITUDES, True),
    ):
        bank = Neurons("parallel", 0.5, 4, 0.05, sizes, blocked)
        ratios = []
        for theta in bank.prior.sample(cases, rng):
            sd = (bank.prior.high - bank.prior.low) / np.sqrt(12)
            slopes = natural_slopes(bank, theta, list(bank.prior.names)) * sd[:, None]
            ratios.append(np.sqrt(np.diag(np.linalg.inv(slopes @ slopes.T / bank.noise**2 + np.eye(len(sd))))))
        found = np.median(ratios, axis=0)
        print(
            f"posterior / prior sd, {label}: "
            + ", ".join(f"{n} {v:.3f}" for n, v in zip(bank.prior.names, found, strict=True))
        )


def fall(cases: int) -> None:
    """By how much the squared error falls from the prior's centre, of data with noise, below which none can go, and without."""
    for name in ("parallel", "recurrent"):
        for noisy in (True, False):
            rng, bank = np.random.default_rng(2), neurons(name)
            theta = subthreshold(bank, cases, rng)
            observed, who = bank.observed(theta, rng if noisy else None), np.arange(len(theta))
            start = np.zeros((len(theta), len(bank.prior.names)))
            began = time.process_time()
            found = fit(observed, rng)
            seconds = (time.process_time() - began) / len(theta)
            factor = _squares(observed, start, who) / _squares(observed, found.best(), who)
            noise = observed.noise(found.best(), who) / bank.noise
            print(
                f"{name}, {'with' if noisy else 'without'} noise: squared error falls {np.median(factor):.3g}-fold (median; 5 %: "
                f"{np.quantile(factor, 0.05):.3g}), >= 10-fold in {100 * (factor >= 10).mean():.1f} % of {len(theta)}; residual sd "
                f"over the noise's {np.median(noise):.3g} (95 %: {np.quantile(noise, 0.95):.3g}); {seconds:.2f} s (processor) per "
                f"neuron"
            )


def refined(cases: int) -> None:
    """Error of the noise-free response before and after refinement, under the stimuli seen and under others."""
    for name in ("parallel", "recurrent"):
        rng, bank = np.random.default_rng(3), neurons(name)
        theta = subthreshold(bank, cases, rng)
        observed, who = bank.observed(theta, rng), np.arange(len(theta))
        z = bank.prior.to_unconstrained(torch.from_numpy(theta)).numpy()
        curvature = observed.expand(z, who, np.full(z.shape, 1e-4)).curvature
        factor = np.linalg.cholesky(np.linalg.inv(curvature))
        start = z + WIDER * np.einsum("bpq,bq->bp", factor, rng.standard_normal(z.shape))
        start = bank.prior.from_unconstrained(torch.from_numpy(start)).numpy()
        began = time.process_time()
        found = refine(observed, start[:, None])
        seconds = (time.process_time() - began) / len(theta)
        before = bank.prior.to_unconstrained(torch.from_numpy(start)).numpy()
        other = Neurons(
            name, bank.dt, bank.every, 0.0, (4.0, 8.0, 10.0) if name == "parallel" else (0.3, 0.6, 0.9, 1.1)
        )
        for label, there in (("the same stimuli", bank), ("other stimuli", other)):
            truth = there.observed(theta, None)
            a, b = (_squares(truth, at, who) for at in (before, found.best()))
            print(
                f"{name}, {label}: refined error <= the amortized in {100 * (b <= a).mean():.1f} % of {len(theta)}; "
                f"median rmse ratio {np.median(np.sqrt(b / a)):.3f}"
            )
        larger = int((_gain(observed, before, found.best()) < 0).sum())
        print(f"{name}: loss larger than at the start in {larger}; {seconds:.3f} s (processor) per neuron")


def speed(cases: int) -> None:
    """Loss reached per second from the same starts: Gauss and Newton's steps, and L-BFGS through the twin."""
    for name in ("parallel", "recurrent"):
        rng, bank = np.random.default_rng(4), neurons(name)
        theta = subthreshold(bank, cases, rng)
        observed, who = bank.observed(theta, rng), np.arange(len(theta))
        start = np.clip(rng.standard_normal(theta.shape), -2, 2)
        floor = observed.loss(bank.prior.to_unconstrained(torch.from_numpy(theta)).numpy(), who)
        begin = bank.prior.from_unconstrained(torch.from_numpy(start)).numpy()[:, None]
        for steps in (3, 10, 30):
            _report(
                f"{name}, Levenberg-Marquardt, {steps} steps",
                floor,
                observed,
                partial(_marquardt, observed, begin, steps),
            )
        for steps in (10, 30, 100):
            _report(f"{name}, L-BFGS, {steps} steps", floor, observed, partial(_each, bank, observed, start, steps))


def _report(label: str, floor: FloatArray, observed: CascadePosterior, run: Callable[[], FloatArray]) -> None:
    began = time.process_time()
    z = run()
    seconds = (time.process_time() - began) / len(floor)
    excess = observed.loss(z, np.arange(len(z))) - floor
    print(
        f"{label}: {seconds:.3f} s (processor) per neuron, loss above the truth's: median {np.median(excess):.2f}, "
        f"90 % {np.quantile(excess, 0.9):.1f}"
    )


def _marquardt(observed: CascadePosterior, begin: FloatArray, steps: int) -> FloatArray:
    return refine(observed, begin, steps).best()


def _each(bank: Neurons, observed: CascadePosterior, start: FloatArray, steps: int) -> FloatArray:
    return np.stack([_lbfgs(bank, observed, i, row, steps) for i, row in enumerate(start)])


def _lbfgs(bank: Neurons, observed: CascadePosterior, i: int, start: FloatArray, steps: int) -> FloatArray:
    """One neuron's minimum by L-BFGS through the twin's adjoint, all sweeps as rows."""
    twin = CascadeTwin(bank.simulator)
    stimulus, y = torch.from_numpy(observed.stimulus[i]), torch.from_numpy(observed.y[i])
    z = torch.tensor(start, requires_grad=True)
    search = torch.optim.LBFGS([z], max_iter=steps, max_eval=2 * steps, line_search_fn="strong_wolfe")
    order = observed.order
    count = torch.from_numpy(observed.count[i].astype(np.float64))

    def loss() -> torch.Tensor:
        search.zero_grad()
        theta = bank.prior.from_unconstrained(z)[order].expand(len(stimulus), -1)
        response = twin.response(theta, stimulus, bank.dt)
        lines = torch.stack([response[name][:, bank.every - 1 :: bank.every] for name in bank.simulator.record], dim=1)
        squares = (y - lines).square().sum(dim=(0, 2)) / count
        value = (0.5 * count * (squares + torch.from_numpy(observed.floor[i])).log()).sum() + 0.5 * z.square().sum()
        value.backward()
        return value

    search.step(loss)  # pyright: ignore[reportArgumentType]
    return z.detach().numpy()


def _squares(observed: CascadePosterior, z: FloatArray, who: NDArray[np.int64]) -> FloatArray:
    return np.square(observed.residual(z, who)).sum(axis=(1, 2, 3))


def _gain(observed: CascadePosterior, before: FloatArray, after: FloatArray) -> FloatArray:
    who = np.arange(len(before))
    return observed.loss(before, who) - observed.loss(after, who)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--only", nargs="+", default=["ridge", "width", "fall", "refined", "speed"])
    options = parser.parse_args()
    runs = {"width": (widths, 100), "fall": (fall, 200), "refined": (refined, 200), "speed": (speed, 20)}
    if "ridge" in options.only:
        ridge()
    for part, (function, most) in runs.items():
        if part in options.only:
            function(min(most, options.cases))

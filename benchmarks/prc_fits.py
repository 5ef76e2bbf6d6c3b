"""Fits of cascade neurons: the ridge below a sigmoid, how far the loss falls, refinement of networks, and which method is quickest.

    python benchmarks/prc_fits.py [--cases 200] [--only ridge width fall refined speed] [--checkpoints checkpoints]

| table | what is printed |
|---|---|
| ridge | sds that least squares leave of the dendrite's parameters, at two sampling intervals; fits of noise-free sweeps |
| width | posterior over prior sd of parallel neurons by the curvature at the truth, two intervals, two laws of the truths |
| fall | squared error at the prior's centre over that of the fit, and the part of it that is not noise |
| refined | error of the response of a network's answer before and after refinement |
| speed | loss above the truth's against processor time: steps by differences, steps by the twin's gradient |

Parallel neurons of `fall` and `speed` run at 0.5 ms for 400 ms (five amplitudes, control and blocked, noise 0.05), recurrent ones
at 0.05 ms for 50 ms from soma and dendrite (noise 0.01), currents below the somatic threshold. `refined` runs at each network's
own step.
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
from prc_refinement import refinement
from scipy.optimize import least_squares

from neuroinf.fits import cascade_descent
from neuroinf.fits.cascade import fit, refine
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.inference import load
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import Cascade
from neuroinf.stimuli import AlphaInput, BiexponentialInput

FloatArray = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
AMPLITUDES, PEAKS, SPIKING = (3.0, 5.0, 7.0, 9.0, 12.0), (0.5, 0.8, 1.0, 1.2), (1.0, 1.5, 1.75, 2.1, 3.0)
# the published simulations without a somatic spike (figure 4): peaks; loc, width, gain, dendrite_tau and na_tau
PUBLISHED = {
    "5C1": ((1.0, 1.5), (1.9, 0.3, 3.0, 20.0, 2.0)),
    "5C2": ((1.25, 1.85, 2.1), (1.8, 0.2, 3.0, 20.0, 2.0)),
}
FAR = np.array([0.95, 0.9, 1.2, 0.9, 1.25])  # a start, over the truth
DENDRITE = ["loc", "width", "gain", "dendrite_tau", "na_tau"]


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


def natural_slopes(bank: Neurons, theta: FloatArray) -> FloatArray:
    """Derivatives (P, N) of one neuron's response, natural units, by differences."""
    observed = bank.observed(theta[None], None)
    z = bank.prior.to_unconstrained(torch.from_numpy(theta))
    matrix = torch.autograd.functional.jacobian(bank.prior.from_unconstrained, z)
    assert isinstance(matrix, torch.Tensor)
    slope = matrix.diagonal().numpy()
    found = observed.jacobian(z.numpy()[None], np.zeros(1, np.int64), np.full((1, len(z)), 1e-4))[0]
    return found.reshape(len(z), -1) / slope[:, None]


def ridge() -> None:
    """What least squares say of the dendrite's five parameters where the soma does not spike, noise 0.01, no prior.

    At the truth, and where a fit at one step arrives that is given noise-free sweeps of another: sweeps of 0.002 ms fitted at
    0.02 ms, because a ridge turns a small error of the model into a large one of the parameters.
    """
    for label, (peaks, published) in PUBLISHED.items():
        truth = np.array(published)
        for keep in (0.2, 0.5):
            data = dendrite(truth, peaks, 0.002, keep)
            for where, dt, start in (("at the truth", 0.002, np.ones(5)), ("fitted at 0.02 ms", 0.02, FAR)):
                misfit = partial(_misfit, truth=truth, peaks=peaks, dt=dt, keep=keep, data=data)
                found = least_squares(
                    misfit, start, bounds=(0.05, 10.0), xtol=1e-12, ftol=1e-12, gtol=1e-12, diff_step=1e-5
                )
                covariance = np.linalg.inv(found.jac.T @ found.jac) * 0.01**2 * np.outer(truth, truth)
                theta, sd = found.x * truth, np.sqrt(np.diag(covariance))
                to_foot = np.zeros((2, 5))  # log gain; loc / width
                to_foot[0, 2], to_foot[1, 0], to_foot[1, 1] = 1 / theta[2], 1 / theta[1], -theta[0] / theta[1] ** 2
                foot = to_foot @ covariance @ to_foot.T
                print(
                    f"ridge {label}, a sample every {keep} ms, {where}: "
                    + ", ".join(f"{n} {v:.3g} +- {s:.2g}" for n, v, s in zip(DENDRITE, theta, sd, strict=True))
                    + f"; correlation of log gain and loc / width {foot[0, 1] / np.sqrt(foot[0, 0] * foot[1, 1]):.3f}"
                )


def dendrite(theta: FloatArray, peaks: tuple[float, ...], dt: float, keep: float) -> FloatArray:
    """The dendrite's samples every `keep` ms, all sweeps one after the other, of a soma that does not spike."""
    graph = str(ROOT / "configs" / "cascades" / "recurrent.yaml")
    neuron = Cascade(graph, DENDRITE, {"threshold": 9.0}, ["dendrite"])
    waves = np.stack([AlphaInput(50.0, dt, peak).sample(np.random.default_rng(0)) for peak in peaks])
    found = neuron.simulate(np.broadcast_to(theta, (len(peaks), len(theta))), waves, dt)["dendrite"]
    every = round(keep / dt)
    return np.asarray(found)[:, every - 1 :: every].ravel()


def _misfit(
    scale: FloatArray, truth: FloatArray, peaks: tuple[float, ...], dt: float, keep: float, data: FloatArray
) -> FloatArray:
    return dendrite(scale * truth, peaks, dt, keep) - data


def widths(cases: int) -> None:
    """Posterior over prior sd of parallel neurons by the curvature at the truth, a prior of the same sd taken as normal."""
    for label, sizes, blocked in (
        ("one input of 7", (7.0,), False),
        ("five inputs, control and blocked", AMPLITUDES, True),
    ):
        for every, uniform in ((4, False), (8, True)):
            bank = Neurons("parallel", 0.5, every, 0.05, sizes, blocked)
            low, high, rng = bank.prior.low, bank.prior.high, np.random.default_rng(1)
            truths = rng.uniform(low, high, (cases, len(low))) if uniform else bank.prior.sample(cases, rng)
            sd, ratios = (high - low) / np.sqrt(12), []
            for theta in truths:
                slopes = natural_slopes(bank, theta) * sd[:, None]
                ratios.append(np.sqrt(np.diag(np.linalg.inv(slopes @ slopes.T / bank.noise**2 + np.eye(len(sd))))))
            found = zip(bank.prior.names, np.median(ratios, axis=0), strict=True)
            law = "uniform in natural units" if uniform else "of the prior"
            print(
                f"posterior / prior sd, {label}, a sample every {0.5 * every:g} ms, truths {law}: "
                + ", ".join(f"{n} {v:.3f}" for n, v in found)
            )


def fall(cases: int) -> None:
    """By how much the squared error falls from the prior's centre; with noise also the part of it that is not noise."""
    for name in ("parallel", "recurrent"):
        for noisy in (True, False):
            bank = neurons(name)
            theta = subthreshold(bank, cases, np.random.default_rng(2))
            clean, who = bank.observed(theta, None), np.arange(len(theta))
            observed = bank.observed(theta, np.random.default_rng(3)) if noisy else clean
            start = np.zeros((len(theta), len(bank.prior.names)))
            ways: dict[str, Callable[[], FloatArray]] = {
                "differences": partial(_fitted, observed),
                "twin's gradient": partial(cascade_descent.fit, observed, np.random.default_rng(4)),
            }
            for way, run in ways.items():
                began = time.process_time()
                z = run()
                seconds = (time.process_time() - began) / len(theta)
                factor = _squares(observed, start, who) / _squares(observed, z, who)
                text = f"squared error falls {_spread(factor)}"
                if noisy:
                    noise = bank.noise**2 * observed.count.sum(1)
                    text += f" (to the noise itself: {np.median(_squares(clean, start, who) / noise + 1):.3g})"
                    text += (
                        f", its excess above the noise {_spread(_squares(clean, start, who) / _squares(clean, z, who))}"
                    )
                kind = "with" if noisy else "without"
                print(f"fall {name}, {kind} noise, {way}: {text}; {seconds:.2f} s (processor) per neuron", flush=True)


def _spread(factor: FloatArray) -> str:
    return (
        f"{np.median(factor):.3g}-fold (5 %: {np.quantile(factor, 0.05):.3g}), >= 10-fold in {100 * (factor >= 10).mean():.1f} % "
        f"of {len(factor)}"
    )


def _fitted(observed: CascadePosterior) -> FloatArray:
    return fit(observed, np.random.default_rng(4)).best()


def speed(cases: int) -> None:
    """Loss reached per second from the same starts by Levenberg and Marquardt's steps, and by the gradient through the twin; then
    by whole fits from several starts. With spikes the model jumps, and the twin's gradient is a surrogate.
    """
    spiking = Neurons("recurrent", 0.05, 4, 0.01, SPIKING)
    for name, bank in (("parallel", neurons("parallel")), ("recurrent", neurons("recurrent")), ("spiking", spiking)):
        rng = np.random.default_rng(4)
        theta = bank.prior.sample(cases, rng) if bank is spiking else subthreshold(bank, cases, rng)
        observed, who = bank.observed(theta, rng), np.arange(len(theta))
        start = np.clip(rng.standard_normal(theta.shape), -2, 2)
        floor = observed.loss(bank.prior.to_unconstrained(torch.from_numpy(theta)).numpy(), who)
        begin = bank.prior.from_unconstrained(torch.from_numpy(start)).numpy()[:, None]
        refine(observed, begin, 1)  # compiles
        cascade_descent.descend(observed, begin, 1)
        ways: list[tuple[str, Callable[[], FloatArray]]] = [
            (f"differences, {steps} steps", partial(_marquardt, observed, begin, steps)) for steps in (3, 10, 30, 100)
        ]
        ways += [(f"twin's gradient, {n} losses", partial(_descent, observed, begin, n)) for n in (30, 100, 300)]
        ways += [
            ("differences, several starts", partial(_fitted, observed)),
            ("twin's gradient, several starts", partial(cascade_descent.fit, observed, np.random.default_rng(4))),
        ]
        for way, run in ways:
            began = time.process_time()
            z = run()
            seconds = (time.process_time() - began) / len(floor)
            excess = observed.loss(z, who) - floor
            print(
                f"speed {name}, {way}: {seconds:.3f} s (processor) per neuron, loss above the truth's: median "
                f"{np.median(excess):.2f}, 90 % {np.quantile(excess, 0.9):.1f}, below 5 in {100 * (excess < 5).mean():.0f} %",
                flush=True,
            )


def _marquardt(observed: CascadePosterior, begin: FloatArray, steps: int) -> FloatArray:
    return refine(observed, begin, steps).best()


def _descent(observed: CascadePosterior, begin: FloatArray, steps: int) -> FloatArray:
    return cascade_descent.descend(observed, begin, steps)[0][:, 0]


def _squares(observed: CascadePosterior, z: FloatArray, who: NDArray[np.int64]) -> FloatArray:
    return observed.squares(z, who).sum(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "checkpoints", help="folder of the networks")
    parser.add_argument("--only", nargs="+", default=["ridge", "width", "fall", "refined", "speed"])
    options = parser.parse_args()
    if "ridge" in options.only:
        ridge()
    if "width" in options.only:
        widths(min(100, options.cases))
    if "fall" in options.only:
        fall(min(50, options.cases))
    if "refined" in options.only:
        for system in ("recurrent", "parallel"):
            refinement(system, load(options.checkpoints / f"prc_{system}.ckpt"), options.cases)
    if "speed" in options.only:
        speed(min(20, options.cases))

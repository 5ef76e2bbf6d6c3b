"""What each method says of one window of a network: parameters, activity of the populations, and what it cost."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.estimator import Estimator
from neuroinf.evaluation.mesoscopic_windows import DT, Window
from neuroinf.fits.competing_posterior import competing_posterior
from neuroinf.fits.mesoscopic import MesoscopicFit, box, fit, fit_restarts, smoothed_activity
from neuroinf.fits.state_rates import state_rates
from neuroinf.population_inference import infer_population
from neuroinf.priors import Prior
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
SAMPLES = 1000
HZ = 1000.0 / DT  # of a fraction that fires in a bin


@dataclass(frozen=True)
class WindowAnswer:
    """One method's answer.

    Attributes:
        values: Point estimate of the parameters :math:`(P,)`; nan where there is none.
        samples: Of the posterior :math:`(S, P)`; None for a point estimate.
        rates: Of the populations :math:`(M, T)`, Hz; None where there are none.
        low, high: Ends of the 90 % interval of each bin :math:`(M, T)`, Hz; None where none are stated.
        seconds: Processor time.
        log_prob: Log density of the true parameters; nan where there is none.
        warnings: What speaks against the answer.
        restarts: Parameters of all restarts of a fit, the best first :math:`(R, P)`.
        loss: Objective of a fit, nats per bin and population.
    """

    values: FloatArray
    samples: FloatArray | None = None
    rates: FloatArray | None = None
    low: FloatArray | None = None
    high: FloatArray | None = None
    seconds: float = float("nan")
    log_prob: float = float("nan")
    warnings: tuple[str, ...] = ()
    restarts: FloatArray | None = None
    loss: float = float("nan")


# how a checkpoint answers: from a recording and its true parameters (P,), which are for their log density alone
Network = Callable[[NetworkRecording, FloatArray], WindowAnswer]


def amortized(model: Estimator) -> Network:
    """A checkpoint's answers."""

    def answer(recording: NetworkRecording, truth: FloatArray) -> WindowAnswer:
        begin = time.process_time()
        posterior, activity = infer_population(model, recording)
        values = np.array([posterior.mean[name] for name in model.prior.names])
        seconds = time.process_time() - begin
        return WindowAnswer(
            values,
            posterior.sample(SAMPLES),
            activity.mean,
            activity.low,
            activity.high,
            seconds,
            float(np.squeeze(posterior.log_prob(truth))),
            tuple(posterior.warnings),
        )

    return answer


def agreeing(window: Window, circuit: Circuit, prior: Prior, start: WindowAnswer, folder: Path) -> WindowAnswer | None:
    """Circuits that agree with a window in which both populations lead, found by simulation from another answer's samples and
    activity; None where one hardly leads, or no such circuit is found. Kept in a folder of the window.
    """
    assert start.rates is not None and start.samples is not None
    try:
        observed = state_rates(window.scored, start.rates, DT)
        mark = hashlib.sha256(np.concatenate([observed.rates, observed.sd]).tobytes() + start.samples.tobytes())
        path = folder / window.name / f"circuits_{mark.hexdigest()[:12]}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                samples, seconds = kept["samples"], float(kept["seconds"])
        else:
            seed = int.from_bytes(mark.digest()[:6], "little")
            found = competing_posterior(circuit, prior, observed, start.samples, window.scored.duration, seed)
            samples, seconds = found.samples, found.seconds
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part.npz")
            np.savez(aside, samples=samples, seconds=np.float64(seconds))
            os.replace(aside, path)
    except InputError as error:
        print(f"{window.name}: {error}", file=sys.stderr, flush=True)
        return None
    return WindowAnswer(samples.mean(0), samples, seconds=seconds + start.seconds)


def first_guess(window: Window, circuit: Circuit) -> WindowAnswer:
    """What the published fit starts from: smoothed spikes, and no parameters."""
    begin = time.process_time()
    rates = smoothed_activity(window.likelihood(circuit)) * HZ
    return WindowAnswer(np.full(len(circuit.parameters), np.nan), rates=rates, seconds=time.process_time() - begin)


def fitted(window: Window, circuit: Circuit, restarts: int, folder: Path, progress: bool = False) -> WindowAnswer:
    """The published fit; kept in a folder of the window, and taken up again.

    Args:
        window: The window.
        circuit: The circuit, whose own parameters are the middle of the box.
        restarts: How many; the draws are the window's, so that more can be added.
        folder: Of all windows.
        progress: Whether to show a bar.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(window.name.encode()).digest()[:8], "little"))
    fits = fit_restarts(window.likelihood(circuit), rng, restarts, folder=folder / window.name, progress=progress)
    return _of_fits(fits)


def refined(window: Window, circuit: Circuit, start: WindowAnswer, folder: Path) -> WindowAnswer:
    """One run of the published fit from another answer's parameters and activity; kept in a folder, and taken up again."""
    limits = box(circuit)
    values = np.clip(start.values, limits[:, 0], limits[:, 1])
    assert start.rates is not None
    z = start.rates / HZ
    mark = hashlib.sha256(values.tobytes() + np.ascontiguousarray(z).tobytes()).hexdigest()[:12]
    found = _of_fits([fit(window.likelihood(circuit), values, z=z, path=folder / window.name / f"refined_{mark}.npz")])
    return WindowAnswer(
        found.values,
        rates=found.rates,
        seconds=found.seconds + start.seconds,
        restarts=found.restarts,
        loss=found.loss,
    )


def _of_fits(fits: list[MesoscopicFit]) -> WindowAnswer:
    return WindowAnswer(
        fits[0].values,
        rates=fits[0].z * HZ,
        seconds=sum(one.seconds for one in fits),
        restarts=np.array([one.values for one in fits]),
        loss=fits[0].loss,
    )

"""The trajectory fit as one call: observations in, parameters out; `models/glif_descent.py` does the work."""

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.windows import steps_per_window
from neuroinf.models.glif_descent import GradientDescent, Quadratic
from neuroinf.priors import Prior
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import segments
from neuroinf.simulators.glif_twin import GLIFTwin

FloatArray = NDArray[np.float64]
VOLTAGE, SPIKES, STIMULUS = range(3)
IDENTIFIED_BELOW = (
    0.75  # posterior over prior sd in z: data that explain less than half of the variance are not an answer
)


@dataclass(frozen=True)
class Fit:
    """What the fits of B neurons found.

    Attributes:
        theta: :math:`(B, P)`, natural units; nan where the method cannot say (see :func:`fit`).
        sd: :math:`(B, P)`, posterior sd on the scale of z by the curvature at the mode (the prior's is 1).
        identified: :math:`(B, P)`, sd below 0.75: the data, not the prior, chose the number.
        noise: :math:`(B,)`, sd of the voltage residual, mV.
        width: :math:`(B,)`, width of the threshold, mV.
        losses: :math:`(steps, starts, B)`, nan where a start had been given up.
        seconds_per_neuron: Wall time over B.
    """

    theta: FloatArray
    sd: FloatArray
    identified: NDArray[np.bool_]
    noise: FloatArray
    width: FloatArray
    losses: FloatArray
    seconds_per_neuron: float


def fit(
    x: NDArray[np.floating[Any]],
    spikes: Sequence[FloatArray | None],
    simulator: GLIF,
    prior: Prior,
    observation_dt: float,
    rng: np.random.Generator,
    dt: float = 0.1,
    starts: int = 3,
    steps: int = 40,
    noise: float | None = None,
) -> Fit:
    """Fits each neuron by itself, all at once.

    A row of theta is nan where the method has nothing to go on: the stimulus is not known at all times, or neither
    voltage nor a spike was observed, or the spike times are unknown (None). Without a voltage the crossings alone
    decide, and a number they do not identify is nan. With a voltage an unidentified number is the prior's mode given
    the rest, and marked as such. spike_cut_length, if it is to be inferred, has no gradient: nan, the rest being
    fitted at its prior median.

    Args:
        x: Observations :math:`(B, 3, W)`, channels voltage (mV), spikes (not used: `spikes` is exact), stimulus (pA);
            nan: not
            observed; trailing steps that are nan in all channels are padding.
        spikes: The spike times of each neuron, ms.
        simulator: The model.
        prior: Of the simulator's parameters, in their order.
        observation_dt: Step of x, ms: a sample is the state at the end of its step, a stimulus is held during it.
        rng: For the starts, drawn from the prior.
        dt: Step of the simulation, ms.
        starts: Number of starts for each neuron; the best is chosen after 5 steps.
        steps: Most Levenberg-Marquardt steps.
        noise: Sd of the voltage noise, mV; None: estimated for each neuron.

    Raises:
        InputError: if shapes, parameters or steps do not fit together.
    """
    begin = time.perf_counter()
    k = steps_per_window(x, spikes, observation_dt, dt)
    if prior.names != simulator.parameters:
        raise InputError(f"the prior's parameters must be the simulator's {simulator.parameters}, found {prior.names}")

    x = x.astype(np.float64)
    last = x.shape[2] - np.argmax(np.asarray(np.isfinite(x).any(1))[:, ::-1], axis=1)
    inside = np.arange(x.shape[2]) < last[:, None]
    known = np.logical_not((np.isnan(x[:, STIMULUS]) & inside).any(1)) & np.isfinite(x).any((1, 2))
    trains = [np.empty(0) if s is None else np.asarray(s, np.float64) for s in spikes]
    has_voltage = np.asarray(np.isfinite(x[:, VOLTAGE]).any(1))
    usable = known & np.array([s is not None for s in spikes]) & (has_voltage | np.array([len(s) > 0 for s in trains]))
    index = np.flatnonzero(usable)
    count, width = len(x), len(prior.names)
    theta, sd = np.full((count, width), np.nan), np.full((count, width), np.nan)
    found_noise, found_width, losses = (
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full((0, starts, count), np.nan),
    )
    if len(index):
        twin, free = GLIFTwin(simulator), torch.tensor([name != "spike_cut_length" for name in prior.names])
        start = torch.from_numpy(prior.sample(starts * len(index), rng)).view(starts, len(index), width)
        start = torch.where(free, start, prior.from_unconstrained(torch.zeros(width, dtype=torch.float64)))
        where = segments([trains[b] for b in index], twin.cut_steps(start[0], dt).numpy(), x.shape[2], k, dt)
        where = where.until(torch.from_numpy(last[index]))
        voltage, stimulus = torch.from_numpy(x[index, VOLTAGE]), torch.from_numpy(np.nan_to_num(x[index, STIMULUS]))
        module = GradientDescent(twin, prior, voltage, stimulus, where, dt, start, free, noise)
        _run(module, steps)
        at = module.at.rows(module.best())
        theta[index] = _centred(at, prior, simulator).numpy()
        sd[index] = torch.linalg.inv(at.curvature).diagonal(dim1=1, dim2=2)[:, :-1].sqrt().numpy()
        found_noise[index] = np.where(has_voltage[index], at.noise.numpy(), np.nan)
        found_width[index] = at.width.numpy()
        losses = np.full((len(module.losses), starts, count), np.nan)
        losses[:, :, index] = torch.stack(module.losses).numpy()
        theta[:, ~free.numpy()], sd[:, ~free.numpy()] = np.nan, np.nan
    identified = np.asarray(sd < IDENTIFIED_BELOW)
    theta[~has_voltage] = np.where(identified, theta, np.nan)[~has_voltage]
    return Fit(theta, sd, identified, found_noise, found_width, losses, (time.perf_counter() - begin) / count)


def _run(module: GradientDescent, steps: int) -> None:
    """Trains on a loader of one empty batch, since the module holds its observation."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)  # announcements about hardware would be repeated for every batch of neurons
    try:
        with warnings.catch_warnings():  # Lightning's: that there is no optimizer, that the loader is a list
            warnings.simplefilter("ignore")
            trainer = L.Trainer(accelerator="cpu", devices=1, max_epochs=steps, barebones=True)
            trainer.fit(module, [0])
    finally:
        logger.setLevel(level)


def _centred(at: Quadratic, prior: Prior, simulator: GLIF) -> Tensor:
    """theta :math:`(B, P)`, with th_inf in the middle, on its own scale, of where the spikes and silences allow it to
    be.

    Given all else, every value between the highest silent voltage and the lowest spiking one has the same likelihood.
    Where the threshold moves (levels 2, 4, 5), or no value suits all, th_inf stays.
    """
    theta = prior.from_unconstrained(at.z)
    if simulator.reset_rules or "th_inf" not in prior.names:
        return theta
    j = prior.names.index("th_inf")
    low, high = theta.clone(), theta.clone()
    low[:, j] = (theta[:, j] + at.down).clamp(prior.low[j], prior.high[j])
    high[:, j] = (theta[:, j] + at.up).clamp(prior.low[j], prior.high[j])
    middle = prior.from_unit((prior.to_unit(low) + prior.to_unit(high)) / 2)
    return torch.where((at.down < at.up)[:, None], middle, theta)

r"""What a neuron's hidden input was doing, bin by bin, from posterior samples of the neuron's parameters.

Given the parameters :math:`\theta` the bins are independent. A rate says its hidden input exactly,

.. math:: h_t = (f^{-1}(y_t) - \beta^\top X_t) / w_h,

and all uncertainty is that of the parameters. A count says it up to its own chance: with atoms :math:`h_j` of equal
weight for the hidden input's law,

.. math:: p(h_j \mid y_t, \theta) \propto p(y_t \mid \beta^\top X_t + w_h h_j),

averaged over the samples of :math:`\theta`. With the weight's sign not known, h is known but for its sign too: answers
are given for one sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.networks.regression import drive_columns, drive_of
from neuroinf.simulators.glm import GLM

FloatArray = NDArray[np.float64]
ATOMS = 61  # quantiles of the hidden input's law
LIKE = 8  # training waveforms, of those drawn the most like the recording's inputs, that say the law
DRAWN = 64
AT_ONCE = 2**22  # numbers of one intermediate array


@dataclass(frozen=True)
class HiddenActivity:
    """The hidden input in each of T bins, given the sign of its weight.

    Attributes:
        mean: Posterior mean (T,), in the hidden input's own unit.
        sd: Posterior standard deviation (T,).
        low: Lower end of the central interval (T,).
        high: Upper end (T,).
        level: What the interval holds.
        sign: The sign of the weight for which this is: 1 or -1.
        positive: Probability that the weight is positive.
    """

    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    sign: int
    positive: float


def hidden_activity(
    theta: FloatArray,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    simulator: GLM,
    names: Sequence[str],
    atoms: FloatArray | None = None,
    sign: int | None = None,
    level: float = 0.9,
    dt: float = 1.0,
) -> HiddenActivity:
    """The hidden input of one neuron.

    Args:
        theta: Posterior samples (S, P), natural units.
        x: Observed inputs, and coupled neurons' counts (n + m, T).
        y: Rates or counts (T,).
        simulator: The model; one hidden input, or several as their sum.
        names: Names of the P columns.
        atoms: Equally likely values of the hidden input (J,), for counts; see :func:`hidden_atoms`.
        sign: Of the weight: 1, -1; None: the more probable.
        level: Of the interval.
        dt: Bin, ms.

    Raises:
        InputError: if the model has no hidden input, no sample has that sign, or atoms are missing.
    """
    if "w_hidden" not in names:
        raise InputError(f"no hidden input with the weight w_hidden in this model, found the parameters {list(names)}")
    weight = theta[:, list(names).index("w_hidden")]
    positive = float((weight > 0).mean())
    chosen = (1 if positive >= 0.5 else -1) if sign is None else sign
    theta = theta[weight * chosen > 0]
    if not len(theta):
        raise InputError(f"no posterior sample has the sign {chosen:+d} of w_hidden: it is {-chosen:+d} with certainty")
    linear = [list(names).index(name) for name in simulator.parameters if name != "w_hidden"]
    w = torch.from_numpy(theta[:, list(names).index("w_hidden")])
    seen = np.isfinite(y) & np.isfinite(x).all(0)
    rows, response = torch.from_numpy(np.where(seen, x, 0.0)), torch.from_numpy(np.where(seen, y, 0.0))
    columns = drive_columns(simulator, rows[None].double(), response[None].double(), dt)[0]
    known = torch.from_numpy(theta[:, linear]) @ columns  # (S, T)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    if simulator.output == "rate":
        h = (drive_of(simulator, response.double()) - known) / w[:, None]
        low, high = torch.quantile(h, tails, 0)
        parts = [h.mean(0), h.std(0, correction=0), low, high]
    else:
        if atoms is None:
            raise InputError("counts say their hidden input only with its law: expected atoms of it, found none")
        parts = _from_counts(simulator, known, w, response.double(), torch.from_numpy(np.sort(atoms)), tails)
    mean, sd, low, high = (np.where(seen, part.numpy(), np.nan) for part in parts)
    return HiddenActivity(mean, sd, low, high, level, chosen, positive)


def _from_counts(simulator: GLM, known: Tensor, w: Tensor, y: Tensor, atoms: Tensor, tails: Tensor) -> list[Tensor]:
    """Mean, sd and interval (T,) from drives (S, T) without the hidden input."""
    samples, bins = known.shape
    chance = torch.empty(bins, len(atoms), dtype=torch.float64)
    width = max(1, AT_ONCE // (samples * len(atoms)))
    for start in range(0, bins, width):
        part = slice(start, start + width)
        drive = known[:, part, None] + w[:, None, None] * atoms
        log_p = log_probability(simulator, y[part, None], drive)
        chance[part] = torch.softmax(log_p, -1).mean(0)
    mean = chance @ atoms
    sd = (chance @ atoms.square() - mean.square()).clamp(min=0).sqrt()
    reached = chance.cumsum(-1)
    ends = [atoms[(reached < q - 1e-12).sum(-1).clamp(max=len(atoms) - 1)] for q in tails]
    return [mean, sd, *ends]


def log_probability(simulator: GLM, count: Tensor, drive: Tensor) -> Tensor:
    """Log probability of a bin's count, but for what does not depend on the drive."""
    if simulator.nonlinearity == "logistic":
        if simulator.output == "bernoulli":
            return torch.nn.functional.logsigmoid(torch.where(count > 0, drive, -drive))
        return count * torch.nn.functional.logsigmoid(drive) - torch.sigmoid(drive)
    rate = drive.exp()
    if simulator.output == "bernoulli":
        return torch.where(count > 0, torch.log(-torch.expm1(-rate)), -rate)
    return count * drive - rate


def hidden_atoms(simulation: Simulation, x: NDArray[np.floating], rng: np.random.Generator) -> FloatArray:
    """Quantiles (J,) of the hidden input's law, from the training stimuli whose observed inputs are most like x (n + m, T).

    Where several hidden inputs are summed, so are the stimuli's, with shares drawn as in the simulations.
    """
    simulator = simulation.simulator
    assert isinstance(simulator, GLM)
    observed = simulation.observed_inputs
    target = _law(np.where(np.isfinite(x), x, 0.0))
    laws, hidden = [], []
    for _ in range(1 if simulation.stimulus.frozen else DRAWN):
        waveform = simulation.stimulus.sample(rng)
        laws.append(_law(waveform[:observed, : x.shape[1]]))
        count = int(rng.integers(1, simulator.hidden + 1)) if simulator.summed else simulator.hidden
        shares = rng.standard_normal(count)
        shares *= (1.0 if shares.sum() > 0 else -1.0) / np.linalg.norm(shares)
        hidden.append(shares @ waveform[observed : observed + count])
    spread = np.std(laws, axis=0)
    distance = (((np.array(laws) - target) / np.where(spread > 0, spread, 1.0)) ** 2).sum(1)
    nearest = np.argsort(distance, kind="stable")[:LIKE]
    values = np.concatenate([hidden[i] for i in nearest])
    return np.quantile(values, (np.arange(ATOMS) + 0.5) / ATOMS)


def _law(x: FloatArray) -> FloatArray:
    """Mean, log sd, skewness and mean correlation of inputs (n, T), averaged over the inputs."""
    mean, sd = x.mean(1), x.std(1)
    z = (x - mean[:, None]) / np.where(sd > 0, sd, 1.0)[:, None]
    shared = z.mean(0).var() * len(x) - 1 if len(x) > 1 else 0.0
    return np.array([mean.mean(), np.log(sd.mean() + 1e-9), (z**3).mean(), shared])

"""A network's answers for many neurons at once, and the loss of each parameter's own posterior."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.inference import Estimator
from neuroinf.networks.densities import prior_loss
from neuroinf.networks.pooling import SweepPooling

FloatArray = NDArray[np.float64]

DRAWS = 499


@dataclass(frozen=True)
class Answer:
    """Posteriors of n neurons: draws (S, n, P) in natural units, the truth's loss (n,), the prior's (n,), seconds."""

    draws: FloatArray
    loss: FloatArray
    floor: FloatArray
    z: FloatArray
    seconds: float


@torch.inference_mode()
def answer(estimator: Estimator, x: NDArray[np.float32], theta: FloatArray, draws: int = DRAWS) -> Answer:
    """Ask the network; the time is that of features and 100 draws of all neurons."""
    if not isinstance(estimator.encoder, SweepPooling):  # it reads the only sweep
        x = x[:, 0]
    estimator.features(x[:2])
    begin = time.perf_counter()
    posterior = estimator.density.posterior(estimator.features(x, batch=250))
    assert posterior is not None
    torch.manual_seed(0)
    posterior.sample(torch.Size([100]))
    seconds = time.perf_counter() - begin
    z = posterior.sample(torch.Size([draws]))
    truth = estimator.prior.to_unconstrained(torch.from_numpy(theta)).float()
    values = estimator.prior.from_unconstrained(z.double()).numpy()
    floor = prior_loss(truth).numpy()
    return Answer(values, -posterior.log_prob(truth).numpy(), floor, z.double().numpy(), seconds)


def marginal_losses(found: Answer, truth: FloatArray) -> FloatArray:
    """Mean -log density of each parameter's own posterior at the truth (P,), from a kernel estimate in z."""
    spread = found.z.std(0, ddof=1)
    width = 1.06 * spread * len(found.z) ** -0.2
    apart = (found.z - truth) / width
    density = (np.exp(-0.5 * apart**2) / (np.sqrt(2 * np.pi) * width)).mean(0)
    # no kernel reaches a truth far out: there the normal tail of mean and sd stands in
    tail = -0.5 * ((truth - found.z.mean(0)) / (2 * spread)) ** 2 - np.log(2 * spread * np.sqrt(2 * np.pi))
    return -np.logaddexp(np.log(density.clip(1e-300)), tail + np.log(1e-3)).mean(0)

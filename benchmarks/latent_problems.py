"""Populations with known latents, and the methods that look for them, for benchmarks/latents.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import split_time
from neuroinf.fits.autoencoder_latents import fit_autoencoder
from neuroinf.fits.bilstm_latents import BiLSTMTraining, fit_bilstm
from neuroinf.fits.latent_model import LatentFit, LatentModel
from neuroinf.fits.linear_dynamics import fit_lds
from neuroinf.fits.linear_latents import fit_fa, fit_pca, fit_ppca
from neuroinf.fits.poisson_dynamics import fit_poisson_lds
from neuroinf.simulators import (
    Dynamics,
    GaussianObservation,
    LinearDynamics,
    Lorenz,
    LowRankRNN,
    PoissonObservation,
    Population,
)

DT, LYAPUNOV_PERIODS = 10.0, 0.736  # bin, ms; Lyapunov time of Lorenz' attractor


@dataclass(frozen=True)
class Problem:
    """A population, and how much of it is recorded.

    Attributes:
        dynamics: Of the latents, by a seed.
        counts: Spike counts instead of traces.
        neurons: K.
        bins: Of a sequence.
        sequences: More than one are split into learnt and held-out ones, one is split in time, 80 to 20.
        lyapunov: Lyapunov time in bins, of chaotic dynamics.
    """

    dynamics: Callable[[int], Dynamics]
    counts: bool = False
    neurons: int = 40
    bins: int = 2500
    sequences: int = 1
    lyapunov: float | None = None

    def make(self, seed: int) -> tuple[PopulationData, PopulationData]:
        """What is learnt from and what is held out; the seed makes dynamics, loadings, latents and noise."""
        if not self.counts:
            observation = GaussianObservation(snr=1.5)
        elif self.sequences > 1:
            observation = PoissonObservation(rate=100.0, gain=1.0)
        else:
            observation = PoissonObservation(rate=50.0, snr=1.5)
        source = Population(self.dynamics(seed), observation, neurons=self.neurons, seed=seed)
        found = source.simulate(np.empty((self.sequences, 0)), np.zeros((1, 1, self.bins)), DT, seed=seed)
        factors, rates = (
            tuple(np.ascontiguousarray(x.T, dtype=np.float32) for x in found[name])
            for name in ("latent/factors", "latent/rates")
        )
        data = population(
            [x.T for x in found["activity"]], DT, "counts" if self.counts else "trace", name=f"seed {seed}"
        )
        data = replace(data, factors=factors, rates=rates)
        if self.sequences > 1:
            cut = round(0.8 * self.sequences)
            return data.take(range(cut)), data.take(range(cut, self.sequences))
        train, test = split_time(data)
        return train, test


PROBLEMS: dict[str, Problem] = {
    "lds2": Problem(lambda seed: LinearDynamics(2, seed=seed)),
    "lds5": Problem(lambda seed: LinearDynamics(5, seed=seed)),
    "lds8": Problem(lambda seed: LinearDynamics(8, seed=seed)),
    "lorenz": Problem(lambda seed: Lorenz(period=600.0), lyapunov=LYAPUNOV_PERIODS * 60),
    "rnn2": Problem(lambda seed: LowRankRNN(2, seed=seed)),
    "rnn3": Problem(lambda seed: LowRankRNN(3, seed=seed)),
    "lds5-counts": Problem(lambda seed: LinearDynamics(5, seed=seed), counts=True),
    "lorenz-counts": Problem(lambda seed: Lorenz(period=600.0), counts=True, lyapunov=LYAPUNOV_PERIODS * 60),
    "anchor": Problem(
        lambda seed: Lorenz(period=1000.0),
        counts=True,
        neurons=10,
        bins=70,
        sequences=2000,
        lyapunov=LYAPUNOV_PERIODS * 100,
    ),
}


# steps of the network's training in a scan: scores of hidden activity no longer change (LDS of 5: .556 after 150, 300 and 600)
SCAN_STEPS = 200


def published(data: PopulationData, dimension: int) -> LatentModel:
    """The manifold study's autoencoder, with its training's defaults."""
    return fit_bilstm(data, dimension, BiLSTMTraining())


METHODS: dict[str, LatentFit] = {
    "pca": fit_pca,
    "ppca": fit_ppca,
    "fa": fit_fa,
    "lds": fit_lds,
    "plds": fit_poisson_lds,
    "ae": published,
    "network": fit_autoencoder,
}
# of counts alone
OF_COUNTS = ("plds",)
SCANNED: dict[str, LatentFit] = {**METHODS, "network": partial(fit_autoencoder, steps=SCAN_STEPS)}

"""Small linear dynamical systems, and latents drawn from them."""

import numpy as np

from neuroinf.fits.linear_dynamics import LinearSystem

K, D = 6, 2


def system(seed: int = 0, neurons: int = K, dimension: int = D) -> LinearSystem:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    root = rng.standard_normal((dimension, dimension))
    return LinearSystem(
        0.9 * q,
        0.3 * np.eye(dimension) + 0.1 * root @ root.T,
        np.eye(dimension) + 0.2 * root @ root.T,
        rng.standard_normal((neurons, dimension)),
        rng.standard_normal(neurons),
        rng.uniform(0.3, 1.0, neurons),
    )


def latents(s: LinearSystem, bins: int, rng: np.random.Generator) -> np.ndarray:
    """Latents (bins, D)."""
    z = np.empty((bins, len(s.transition)))
    z[0] = rng.multivariate_normal(np.zeros(len(s.transition)), s.initial)
    for t in range(1, bins):
        z[t] = s.transition @ z[t - 1] + rng.multivariate_normal(np.zeros(len(s.transition)), s.noise)
    return z

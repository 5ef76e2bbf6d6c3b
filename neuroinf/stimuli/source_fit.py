r"""Independent sources that give targets a wanted covariance: a nonnegative factorisation with bounded rates.

Looked for are probabilities P :math:`(K, M)` and rates :math:`\nu` (M,) with

.. math:: \sum_m P_{im} P_{jm} \nu_m = G_{ij} \; (i \ne j), \qquad \sum_m P_{im} \nu_m \le r_i, \qquad
    0 \le P \le 1, \; \nu \ge 0

What a target lacks to its rate :math:`r_i`, a private source adds, which no other target hears. With
:math:`B_{im} = P_{im} \sqrt{\nu_m}` the first condition is a factorisation :math:`B B^T = G` off the diagonal, found by
least squares with a penalty on the rates, by L-BFGS within the bounds, from several starts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]

STARTS, ITERATIONS = 6, 1500
ENOUGH = 1e-3  # a start whose largest error is below is taken at once


def fit_sources(rates: FloatArray, shared: FloatArray, sources: int) -> tuple[FloatArray, FloatArray]:
    r"""Probabilities P :math:`(K, M)` and rates :math:`\nu` (M,), whose targets hear at most their rates.

    Args:
        rates: r :math:`(K,)`.
        shared: The wanted :math:`G / \sqrt{r_i r_j}` :math:`(K, K)`, nonnegative; the diagonal is not used.
        sources: M.

    Returns:
        The best of the starts: exact to 1e-3 of `shared` if there is such a solution nearby, else the nearest found.
    """
    k = len(rates)
    mean = float(rates.mean())
    r = rates / mean
    wanted = shared * np.sqrt(np.outer(r, r))
    weight = 1 / np.outer(r, r)
    np.fill_diagonal(weight, 0)

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        p, nu = flat[: k * sources].reshape(k, sources), flat[k * sources :]
        heard = p * nu
        residual = heard @ p.T - wanted
        excess = np.maximum(heard.sum(1) / r - 1, 0)
        pull = weight * residual
        push = excess / r
        gradient_p = (4 * (pull @ p) + 2 * push[:, None]) * nu
        gradient_nu = 2 * ((pull @ p) * p).sum(0) + 2 * push @ p
        return float((pull * residual).sum() + (excess**2).sum()), np.concatenate([gradient_p.ravel(), gradient_nu])

    bounds = [(0.0, 1.0)] * (k * sources) + [(0.0, None)] * sources
    best: tuple[float, FloatArray, FloatArray] | None = None
    for start in range(STARTS):
        # a design is a function of its arguments: its starts are fixed, and no draw of the stimulus
        initial = _start(wanted, r, sources, np.random.default_rng(start))
        options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": 1e-15, "gtol": 1e-9}
        found = minimize(loss, initial, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        p, nu = found[: k * sources].reshape(k, sources), found[k * sources :] * mean
        p = p * np.minimum(1, rates / np.maximum((p * nu).sum(1), 1e-300))[:, None]
        errors = np.abs((p * nu) @ p.T / np.sqrt(np.outer(rates, rates)) - shared)
        np.fill_diagonal(errors, 0)
        if best is None or errors.max() < best[0]:
            best = (float(errors.max()), p, nu)
        if best[0] < ENOUGH:
            break
    assert best is not None
    return best[1], best[2]


def _start(wanted: FloatArray, r: FloatArray, sources: int, rng: np.random.Generator) -> FloatArray:
    """One source for all, the others for the covariance above its least, in random parts."""
    k = len(r)
    p = rng.uniform(0.0, 1.0, (k, sources)) ** 3
    p[:, 0] = rng.uniform(0.5, 0.7, k)
    pairs = wanted[~np.eye(k, dtype=bool)]
    typical = float(pairs.mean()) if len(pairs) else 0.0
    nu = np.full(sources, max(typical, 0.01))
    nu[1:] /= max(1.0, 0.25 * (sources - 1))
    return np.concatenate([p.ravel(), nu])

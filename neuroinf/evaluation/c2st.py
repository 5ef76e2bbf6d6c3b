"""The classifier two-sample test of the simulation-based inference benchmark, setting for setting, and its upper limit.

`calibration.c2st` is the everyday one: the same idea, a tenth of the time, from samples by the hundred. This one is for
comparing with published numbers, which depend on the classifier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]
SEED = 1  # the benchmark's
MAX_ITERATIONS = 10_000  # never reached: training stops after 10 epochs without progress
UNITS_PER_DIMENSION = 10  # of each of two hidden layers


def benchmark_c2st(reference: FloatArray, samples: FloatArray, folds: int = 5) -> float:
    r"""How well a perceptron tells samples from reference samples: its accuracy on what it was not trained on.

    Both sets are z-scored by the reference's mean and standard deviation. A perceptron with two hidden layers of 10 P
    rectified units (scikit-learn's, Adam) is trained on all folds but one and tested on that one, each in turn.

    .. math:: \tfrac12 \le \mathrm{C2ST} \le \tfrac12 + \tfrac12 \mathrm{TV}(p, q) \text{ in expectation}

    Args:
        reference: Samples (n, P) of the posterior that is right; n = 10,000 in the benchmark.
        samples: Samples (n, P) of the one that is judged.
        folds: Number of folds.

    Returns:
        Mean accuracy over the folds: 0.5 for the same distribution, 1 for two that do not overlap.

    Raises:
        InputError: if the sets differ in shape, or are too small or not finite, or the reference does not vary.

    Source:
        Lueckmann, Boelts, Greenberg, Gonçalves & Macke 2021, Benchmarking simulation-based inference, AISTATS 130
        (program sbibm, MIT); Lopez-Paz & Oquab 2017, arXiv 1610.06545.
    """
    # scikit-learn takes a second to import, and only this function needs it
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    if reference.ndim != 2 or reference.shape != samples.shape or len(reference) < 2 * folds:
        raise InputError(
            f"c2st: expected two sets of as many samples (n, P), n at least {2 * folds}, found {reference.shape} and "
            f"{samples.shape}: draw as many samples as the reference has"
        )
    if not (np.isfinite(reference).all() and np.isfinite(samples).all()):
        raise InputError("c2st: expected finite samples, found nan or infinity: leave those rows out of both sets")
    # single precision, as in the benchmark's tensors
    first, second = np.asarray(reference, np.float32), np.asarray(samples, np.float32)
    mean, std = first.mean(axis=0), first.std(axis=0, ddof=1)
    if not (std > 0).all():
        raise InputError(
            f"c2st: expected a reference that varies in every column, found a constant one in {np.flatnonzero(std == 0)}: "
            f"leave it out"
        )
    both = np.concatenate([(first - mean) / std, (second - mean) / std])
    width = UNITS_PER_DIMENSION * reference.shape[1]
    network = MLPClassifier(
        (width, width), activation="relu", solver="adam", max_iter=MAX_ITERATIONS, random_state=SEED
    )
    split = KFold(folds, shuffle=True, random_state=SEED)
    labels = np.repeat([0.0, 1.0], len(reference))
    return float(np.mean(cross_val_score(network, both, labels, cv=split, scoring="accuracy")))


def best_accuracy(
    reference_target: FloatArray, reference_density: FloatArray, target: FloatArray, density: FloatArray
) -> float:
    r"""What the best of all classifiers would reach, where the true posterior p is known but for its constant.

    .. math:: \tfrac12 + \tfrac12 \mathrm{TV}(p, q), \qquad \mathrm{TV}(p, q) = \mathbb E_p [\max(0, 1 - q / p)],
        \qquad p = \tilde p / Z, \quad Z = \mathbb E_q [\tilde p / q]

    No classifier's expected accuracy on what it was not trained on is higher: this is an upper limit of the C2ST,
    in seconds, and sees what a small perceptron misses.

    Args:
        reference_target: :math:`\log \tilde p` (n,), log-likelihood plus log prior, at samples of p.
        reference_density: :math:`\log q` (n,) there, in the same units.
        target: :math:`\log \tilde p` (m,) at samples of q.
        density: :math:`\log q` (m,) there.

    Returns:
        From 0.5 for the same distribution to 1 for two that do not overlap.
    """
    evidence = np.logaddexp.reduce(target - density) - np.log(len(target))
    ratio = np.exp(np.minimum(reference_density - (reference_target - evidence), 0.0))
    return float(0.5 + 0.5 * np.mean(1 - ratio))

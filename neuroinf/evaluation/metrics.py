"""How good are the answers? Scores on the prior's own scale, and the metrics.json that keeps them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.calibration import contraction, coverage, expected_coverage, sbc_p, tarp, z_score
from neuroinf.evaluation.estimates import Estimates
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
Document = dict[str, Any]

# The evidence on which the report calls a parameter recovered; its false-alarm rate.
SIGNIFICANCE = 1e-4
# the reference points of TARP are drawn once, from this seed: all methods are judged from the same ones
REFERENCE_SEED = 20_260_102


def r2(truth: FloatArray, estimate: FloatArray, prior: Prior) -> FloatArray:
    r"""Coefficient of determination per parameter, on the prior's own scale.

    .. math:: R^2_p = 1 - \sum_i (\hat u_{ip} - u_{ip})^2 \Big/ \sum_i (u_{ip} - \bar u_p)^2

    with u the prior's own scale (log where it is log) mapped to [0, 1].

    Args:
        truth: True parameters (n, P), natural units.
        estimate: Point estimates (n, P), natural units; rows with a nan are left out.

    Returns:
        (P,); nan where fewer than two rows are left or the truth does not vary.
    """
    u, v = _units(truth, estimate, prior)
    if len(u) < 2:
        return np.full(truth.shape[1], math.nan)
    total = ((u - u.mean(axis=0)) ** 2).sum(axis=0)
    residual = ((v - u) ** 2).sum(axis=0)
    constant = np.ptp(u, axis=0) == 0
    return np.where(constant, math.nan, 1 - residual / np.where(constant, 1.0, total))


def nrmse(truth: FloatArray, estimate: FloatArray, prior: Prior) -> FloatArray:
    r"""Root-mean-square error per parameter on the prior's own scale, as a fraction of the prior's range there.

    .. math:: E_p = \sqrt{\frac{1}{n} \sum_i (\hat u_{ip} - u_{ip})^2}

    Predicting the mean of a box prior gives :math:`1/\sqrt{12} = 0.289`.

    Returns:
        (P,); nan without rows. Arguments as for :func:`r2`.
    """
    u, v = _units(truth, estimate, prior)
    return np.sqrt(((v - u) ** 2).mean(axis=0)) if len(u) else np.full(truth.shape[1], math.nan)


def not_above(truth: FloatArray, estimate: FloatArray, other: FloatArray, prior: Prior) -> float:
    """Fraction of neurons that an estimate misses by no more than another does, root mean square over the parameters.

    Args:
        truth: True parameters (n, P).
        estimate: Estimates (n, P), nan rows where there is none.
        other: What it is compared with (n, P).
        prior: On whose own scale errors are measured.

    Returns:
        Over the neurons that both answered; nan if there are none.
    """
    known = np.isfinite(estimate).all(axis=1) & np.isfinite(other).all(axis=1)
    if not known.any():
        return math.nan
    u, *others = (prior.to_unit(part[known]) for part in (truth, estimate, other))
    error, limit = (np.square(part - u).mean(axis=1) for part in others)
    return float(np.mean(error <= limit))


def scaled_mse(truth: FloatArray, estimate: FloatArray, scale: Sequence[float]) -> float:
    r"""Mean squared error over parameters multiplied by `scale`, natural units: the loss that studies report.

    .. math:: L = \frac{1}{nP} \sum_{ip} \left(s_p (\hat\theta_{ip} - \theta_{ip})\right)^2
    """
    s = np.asarray(scale, dtype=np.float64)
    known = np.isfinite(estimate).all(axis=1)
    return float(np.mean(((estimate - truth)[known] * s) ** 2)) if known.any() else math.nan


def scaled_mse_floor(truth: FloatArray, scale: Sequence[float], ineffective: Sequence[int] = ()) -> float:
    """The :func:`scaled_mse` of predicting each parameter's mean; of the `ineffective` columns alone if they are given.

    The second is what no method can go below: it may know everything else, yet not what leaves no trace in the data.
    """
    variances = np.var(truth * np.asarray(scale, dtype=np.float64), axis=0)
    kept = list(ineffective) if len(ineffective) else list(range(truth.shape[1]))
    return float(variances[kept].sum() / truth.shape[1])


def information_p(
    truth: FloatArray, estimate: FloatArray, prior: Prior, rng: np.random.Generator, permutations: int = 19_999
) -> FloatArray:
    r"""p-value per parameter of the hypothesis that the estimates know nothing of the truth.

    The squared error is compared with that of the same estimates dealt out to the wrong neurons:

    .. math:: p = \frac{1 + \#\{\pi : E(\pi) \le E\}}{1 + \text{permutations}}

    exact whatever the distributions; estimates that do not vary give 1.

    Returns:
        (P,); nan for fewer than two answered rows.
    """
    u, v = _units(truth, estimate, prior)
    n, width = len(u), truth.shape[1]
    if n < 2:
        return np.full(width, math.nan)
    # With the same values permuted, a smaller squared error is a larger sum of products, and nothing else.
    u, v = u - u.mean(axis=0), v - v.mean(axis=0)
    seen = (u * v).sum(axis=0)
    tolerance = 1e-12 * (np.abs(u) * np.abs(v)).sum(axis=0)
    as_good = np.zeros(width, dtype=np.int64)
    for _ in range(permutations):
        as_good += (u[rng.permutation(n)] * v).sum(axis=0) >= seen - tolerance
    return (1 + as_good) / (1 + permutations)


def method_metrics(estimates: Estimates, truth: FloatArray, prior: Prior) -> Document:
    """The entry M of one method in metrics.json: plain numbers, None wherever there is none.

    `n` counts the rows that the method answered; its scores are over those.
    """
    if estimates.mean.shape != truth.shape:
        raise ValueError(f"{estimates.method}: estimates {estimates.mean.shape} are not those of truth {truth.shape}")
    samples, width = estimates.samples, truth.shape[1]
    nothing = np.full(width, math.nan)
    log_prob = math.nan
    if estimates.log_prob is not None and estimates.answered.any():
        log_prob = float(np.mean(estimates.log_prob[estimates.answered]))
    return plain(
        {
            "r2": by_name(prior, r2(truth, estimates.mean, prior)),
            "nrmse": by_name(prior, nrmse(truth, estimates.mean, prior)),
            "coverage_90": by_name(prior, nothing if samples is None else coverage(truth, samples, 0.9)),
            "sbc_p": by_name(prior, nothing if samples is None else sbc_p(truth, samples)),
            **_calibration(estimates, truth, prior),
            "log_prob": log_prob,
            "seconds_per_neuron": estimates.seconds_per_neuron,
            "n": len(_units(truth, estimates.mean, prior)[0]),
        }
    )


def _calibration(estimates: Estimates, truth: FloatArray, prior: Prior) -> Document:
    """Joint calibration, and how much was learnt: on the prior's own scale; nan for a method without samples."""
    samples, log_prob, of_samples = estimates.samples, estimates.log_prob, estimates.sample_log_prob
    density_p = math.nan
    if log_prob is not None and of_samples is not None:
        density_p = expected_coverage(log_prob, of_samples)[2]
    if samples is None:
        nothing = by_name(prior, np.full(truth.shape[1], math.nan))
        return {"expected_coverage_p": density_p, "tarp_p": math.nan, "contraction": nothing, "z_score": nothing}
    known = np.isfinite(samples).all(axis=(1, 2))
    u, drawn = prior.to_unit(truth[known]), prior.to_unit(samples[known])
    enough = len(u) > 0
    learnt = contraction(u, drawn, prior.unit_moments[1] ** 2).mean(axis=0) if enough else u.sum(axis=0) * math.nan
    off = np.sqrt(np.mean(z_score(u, drawn) ** 2, axis=0)) if enough else u.sum(axis=0) * math.nan
    return {
        "expected_coverage_p": density_p,
        "tarp_p": tarp(u, drawn, np.random.default_rng(REFERENCE_SEED))[2],
        "contraction": by_name(prior, learnt),
        "z_score": by_name(prior, off),
    }


def by_name(prior: Prior, values: FloatArray) -> dict[str, float]:
    """Values (P,) under their parameters' names."""
    return {name: float(value) for name, value in zip(prior.names, values, strict=True)}


def plain(value: Any) -> Any:
    """The same with JSON's types only; a number that is not finite is None, for JSON has no other word for it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_metrics(path: Path, document: Mapping[str, Any]) -> Path:
    """Write metrics.json, checked, strict JSON (no NaN), whole or not at all.

    Raises:
        ValueError: if the document is not what :func:`check_metrics` expects.
    """
    content = plain(document)
    check_metrics(content)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, path)
    return path


_SCORES_BY_PARAMETER = ("r2", "nrmse", "coverage_90", "sbc_p")
_SCORES = ("log_prob", "seconds_per_neuron", "n")
PREDICTIVE = ("voltage_rmse", "spike_gamma", "explained_variance_ratio")
_COSTS = (
    "simulation_seconds",
    "training_seconds",
    "per_neuron_fit_seconds",
    "amortized_seconds",
    "break_even_neurons",
)


def check_metrics(document: Mapping[str, Any]) -> None:
    """Check a metrics.json against the contract that its readers rely on. More keys than these are welcome.

    Raises:
        ValueError: naming the key that is missing or not what it should be.
    """
    names = _entry(document, "parameters", list)
    for key in ("checkpoint", "dataset", "simulator"):
        if key not in document:
            raise ValueError(f"metrics.json lacks {key!r}")
    _number(document, "n_test", "", optional=False)
    methods = _entry(document, "methods", dict)
    if "prior_mean" not in methods:
        raise ValueError("metrics.json lacks methods.prior_mean: without it no score can be judged")
    for method, entry in methods.items():
        where = f"methods.{method}"
        for key in _SCORES_BY_PARAMETER:
            scores = _entry(entry, key, dict, where)
            if list(scores) != names:
                raise ValueError(f"{where}.{key} must have the keys {names}, found {list(scores)}")
            for name in names:
                _number(scores, name, f"{where}.{key}")
        for key in _SCORES:
            _number(entry, key, where, optional=key != "n")
    for method, scores in _entry(document, "predictive", dict).items():
        for key in {*PREDICTIVE, *scores}:
            _number(scores, key, f"predictive.{method}")
    for name in names:
        _number(_entry(_entry(document, "identifiability", dict), name, dict), "posterior_over_prior_sd", name)
    for key in _COSTS:
        _number(_entry(document, "cost", dict), key, "cost")


def _entry(document: Mapping[str, Any], key: str, kind: type, where: str = "") -> Any:
    if not isinstance(document.get(key), kind):
        raise ValueError(f"metrics.json: {where}{'.' if where else ''}{key} must be a {kind.__name__}")
    return document[key]


def _number(document: Mapping[str, Any], key: str, where: str, optional: bool = True) -> None:
    if key not in document:
        raise ValueError(f"metrics.json lacks {where}.{key}")
    value = document[key]
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"metrics.json: {where}.{key} must be a finite number or null, found {value!r}")


def _units(truth: FloatArray, estimate: FloatArray, prior: Prior) -> tuple[FloatArray, FloatArray]:
    """Truth and estimate on the prior's own scale, answered rows only.

    A value that a log scale does not have (zero, negative) is no answer either.
    """
    if truth.shape != estimate.shape or truth.ndim != 2:
        raise ValueError(f"expected truth and estimate (n, P), found {truth.shape} and {estimate.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        v = prior.to_unit(estimate)
    known = np.isfinite(v).all(axis=1)
    return prior.to_unit(truth[known]), v[known]

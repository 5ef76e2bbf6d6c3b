"""What the numbers mean, in words: whether the network beats the prior mean, what cannot be known, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neuroinf.evaluation.calibration import coverage_p
from neuroinf.evaluation.metrics import SIGNIFICANCE
from neuroinf.evaluation.paired import FEWEST
from neuroinf.evaluation.symmetry import GUESSING
from neuroinf.evaluation.wording import duration, listed

Document = Mapping[str, Any]

# A posterior as wide as this fraction of the prior has explained less than a tenth of the parameter's variance.
_BARELY = 0.95
# Pairs of parameters that a sentence can name.
_PAIRS = 10
# A fraction of test neurons worth a sentence.
_NOTICED = 0.01


@dataclass(frozen=True)
class Loss:
    """One loss to be set beside others of the same kind.

    Args:
        name: What it is the loss of.
        value: The loss.
        role: "method": a method's own, to be judged; "predict_mean": of predicting the mean, the floor that a method
            must come below to have learnt anything; "attainable": what none can come below; "published": quoted.
    """

    name: str
    value: float
    role: Literal["method", "predict_mean", "attainable", "published"]


def verdict(metrics: Document, losses: Sequence[Loss] = (), network: str = "amortized") -> list[str]:
    """Sentences for the report and the terminal.

    Args:
        metrics: The content of metrics.json, with None where there is no number.
        losses: Losses to be judged against that of predicting the mean.
        network: The method that is the network's.

    Returns:
        Plain sentences, the most important first.
    """
    sentences = [
        *_against_prior_mean(metrics, network),
        *not_identified(metrics),
        *known_signs(metrics, network),
        *_losses(losses),
        *_against_others(metrics, network),
        *_calibration(metrics),
        *_unanswered(metrics),
        *_cost(metrics),
    ]
    return sentences


def beaten(metrics: Document, method: str) -> list[str]:
    """Parameters for which a method beats the prior mean.

    By the permutation test of `identifiability` where there is one, else by the sign of the difference in error.
    """
    entry, floor = metrics["methods"][method], metrics["methods"]["prior_mean"]
    names = []
    for name in metrics["parameters"]:
        error, reference = entry["nrmse"][name], floor["nrmse"][name]
        recovered = metrics["identifiability"][name].get("recovered_by")
        tested = method in metrics["identifiability"][name].get("information_p", {})
        smaller = error is not None and reference is not None and error < reference
        if (method in recovered) if tested and recovered is not None else smaller:
            names.append(name)
    return names


def _against_prior_mean(metrics: Document, network: str) -> list[str]:
    if network not in metrics["methods"]:
        return []
    better, names = beaten(metrics, network), metrics["parameters"]
    worse = [name for name in names if name not in better]
    if not better:
        return [
            "The network does not beat the prior mean for any parameter: "
            f"it has learnt nothing about {listed(names)} that was not known before looking."
        ]
    if not worse:
        return [f"The network beats the prior mean for every parameter: {listed(names)}."]
    return [
        f"The network beats the prior mean for {listed(better)}. It does not beat the prior mean for {listed(worse)}."
    ]


def not_identified(metrics: Document) -> list[str]:
    """Sentences on parameters that cannot be known, by anyone or from some recordings, and on pairs that trade off."""
    sentences = []
    silent: list[str] = []
    for name in metrics["parameters"]:
        entry = metrics["identifiability"][name]
        ratio = entry["posterior_over_prior_sd"]
        if entry.get("moves_response") is False:
            sentences.append(
                f"{name} has no effect on the response ({entry['evidence']}): it is not identified, and no method can "
                "identify it."
            )
        elif entry.get("recovered_by") == [] and entry.get("information_p"):
            silent.append(name)
        elif ratio is not None and ratio > _BARELY:
            sentences.append(f"{name} is barely identified: its posterior is {ratio:.2f} times as wide as the prior.")
    partly = [(n, metrics["identifiability"][n].get("unidentified") or 0.0) for n in metrics["parameters"]]
    some = [f"{name} ({100 * fraction:.0f} %)" for name, fraction in partly if fraction >= _NOTICED]
    if some:
        sentences.append(
            f"Some neurons' recordings leave a parameter as the prior has it (sd above 0.9 of the prior's): {listed(some)}."
        )
    pairs = [
        f"{a} and {b} ({100 * fraction:.0f} %)"
        for k, a in enumerate(metrics["parameters"])
        for b, fraction in (metrics["identifiability"][a].get("trades_off") or {}).items()
        if b in metrics["parameters"][:k] and fraction >= _NOTICED
    ]
    if pairs:
        shown = pairs if len(pairs) <= _PAIRS else [*pairs[:_PAIRS], f"{len(pairs) - _PAIRS} more pairs"]
        sentences.append(
            f"Pairs that trade off, to know one would more than halve the other's posterior sd, in % of neurons: {listed(shown)}."
        )
    if silent:
        sentences.append(
            f"No method recovers {listed(silent)} better than the prior mean: not identified by these data."
        )
    return sentences


def known_signs(metrics: Document, network: str) -> list[str]:
    """What the network knows of signs that a symmetry may hide: at least, that it does not pretend."""
    sentences = []
    for name, methods in metrics.get("symmetries", {}).items():
        entry = methods.get(network)
        if entry is None or entry["brier"] is None:
            continue
        right = f"the likelier sign is the true one for {100 * entry['right']:.0f} % of neurons"
        # of probabilities p of the true sign: mean of (p - 1/2)^2, which the Brier score is made of
        told = entry["probability"] - 0.5
        stated = max(entry["brier"] - GUESSING + told, 0.0)
        # the sd of `told`, whatever the truth, is no more; one case in 1e4 is four of them off
        margin = 4 * np.sqrt(stated / max(1, entry["n"]))
        score = f"Brier score {entry['brier']:.3f}, always saying one half has {GUESSING}"
        if (
            told < 2 * stated - margin
        ):  # an honest p is right as often as it says: the mean of p - 1/2 is twice `stated`
            sentences.append(f"The network is too sure of the sign of {name}: {right} ({score}).")
        elif told > margin:
            sentences.append(f"The sign of {name} is known in part: {right} ({score}).")
        else:
            sentences.append(
                f"The sign of {name} is not known, and the network says so: its probability is from 0.4 to 0.6 for "
                f"{100 * entry['undecided']:.0f} % of neurons, its posterior has two modes for {100 * entry['bimodal']:.0f} %."
            )
    return sentences


def _losses(losses: Sequence[Loss]) -> list[str]:
    floor = next((loss for loss in losses if loss.role == "predict_mean"), None)
    attainable = next((loss for loss in losses if loss.role == "attainable"), None)
    sentences = []
    for loss in losses:
        if floor is None or loss.role not in ("method", "published"):
            continue
        judged = (
            f"{100 * (1 - loss.value / floor.value):.1f} % below it"
            if loss.value < floor.value
            else "not below it: this loss shows no learning"
        )
        sentences.append(f"{loss.name}: loss {loss.value:.4f} against {floor.value:.4f} ({floor.name}), {judged}.")
    if attainable is not None:
        sentences.append(f"No method can come below {attainable.value:.4f} ({attainable.name}).")
    return sentences


def _against_others(metrics: Document, network: str) -> list[str]:
    """On the neurons that both answered, and only what they are enough to decide; see `paired`."""
    sentences = []
    for other, entry in metrics["methods"].items():
        found = entry.get(f"beside_{network}")
        if not found or other == "prior_mean" or not found["n"]:
            continue
        n = found["n"]
        if n < FEWEST:
            few = f"only {n} neuron was" if n == 1 else f"only {n} neurons were"
            sentences.append(
                f"Against {other} nothing can be said of the errors: {few} answered by both, and {FEWEST} are needed."
            )
            continue
        smaller, larger, alike = [], [], []
        for name in metrics["parameters"]:
            if found["p"][name] >= SIGNIFICANCE:
                alike.append(name)
            else:
                (smaller if found["nrmse_other"][name] < found["nrmse"][name] else larger).append(name)
        parts = [f"smaller error for {listed(smaller)}"] if smaller else []
        parts += [f"larger error for {listed(larger)}"] if larger else []
        parts += [f"no difference that {n} neurons show for {listed(alike)}"] if alike else []
        sentences.append(
            f"Against {other} the network has {'; '.join(parts)} ({n} neurons that both answered, paired test, p < "
            f"{SIGNIFICANCE:g})."
        )
    return sentences


def _calibration(metrics: Document) -> list[str]:
    sentences = []
    for method, entry in metrics["methods"].items():
        known = {name: value for name, value in entry["coverage_90"].items() if value is not None}
        if not known:
            continue
        if entry["n"] < FEWEST:
            sentences.append(
                f"Too few answers to judge the intervals of {method}: {entry['n']}, and {FEWEST} are needed."
            )
            continue
        p = coverage_p(np.array(list(known.values())), entry["n"], 0.9)
        off = [(name, known[name]) for name, value in zip(known, p, strict=True) if value < SIGNIFICANCE]
        narrow = [f"{name} ({100 * value:.0f} %)" for name, value in off if value < 0.9]
        wide = [f"{name} ({100 * value:.0f} %)" for name, value in off if value > 0.9]
        if narrow:
            sentences.append(f"The 90 % intervals of {method} are too narrow for {listed(narrow)}: too sure.")
        if wide:
            sentences.append(f"The 90 % intervals of {method} are too wide for {listed(wide)}: too cautious.")
        if not off:
            sentences.append(
                f"The 90 % intervals of {method} hold the truth as often as they say, for {listed(known)}."
            )
        skewed = [name for name, p in entry["sbc_p"].items() if p is not None and p < SIGNIFICANCE]
        if skewed:
            sentences.append(
                f"The posterior of {method} is miscalibrated for {listed(skewed)}: the truth's ranks among its samples are not "
                f"uniform (simulation-based calibration, p < {SIGNIFICANCE:g})."
            )
        joint = {"expected_coverage_p": "expected coverage of highest-density regions", "tarp_p": "TARP"}
        found = [text for key, text in joint.items() if (p := entry.get(key)) is not None and p < SIGNIFICANCE]
        if found:
            sentences.append(
                f"The joint posterior of {method} is miscalibrated: its regions hold the truth more or less often than they say "
                f"({listed(found)}, p < {SIGNIFICANCE:g})."
            )
    return sentences


def _unanswered(metrics: Document) -> list[str]:
    n = metrics["n_test"]
    return [
        _answered(method, entry, n) if entry["n"] else f"{method} has no answer here."
        for method, entry in metrics["methods"].items()
        if entry["n"] < n
    ]


def _answered(method: str, entry: Document, n: int) -> str:
    """With the reason: it was not asked about the others, or has no answer for neurons like some of these."""
    asked = entry.get("asked")
    of = f"{n} neurons" if asked is None or asked >= n else f"the {asked} neurons (of {n}) that it was asked about"
    why = (
        f": it has an answer only for {entry['answers']}" if entry["n"] < (asked or n) and entry.get("answers") else ""
    )
    return f"{method} answered {entry['n']} of {of}{why}; its scores are over those."


def _cost(metrics: Document) -> list[str]:
    cost = metrics["cost"]
    fit, amortized, even = cost["per_neuron_fit_seconds"], cost["amortized_seconds"], cost["break_even_neurons"]
    if fit is None or amortized is None:
        return []
    each = f"{duration(amortized)} for one neuron against {duration(fit)} for a fit"
    if even is not None:
        return [f"Simulating and training pay from {np.ceil(even):,.0f} neurons on ({each})."]
    if fit <= amortized:
        return [f"Simulating and training never pay in time: a fit is as quick as the network ({each})."]
    return [f"From how many neurons on the network pays is not known: a cost was not recorded ({each})."]

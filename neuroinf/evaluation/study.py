"""Losses as a published study stated them, where a simulator says how its study scaled the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.identifiability import Effect
from neuroinf.evaluation.metrics import scaled_mse, scaled_mse_floor
from neuroinf.evaluation.verdict import Loss
from neuroinf.simulators import Simulator


@runtime_checkable
class Study(Protocol):
    """A simulator of a published study: by what each label was multiplied, and the losses that were published."""

    label_scale: tuple[float, ...]
    published_losses: Mapping[str, float]


def study_losses(
    simulator: Simulator,
    truth: NDArray[np.float64],
    answers: Sequence[Estimates],
    effects: Mapping[str, Effect],
) -> list[Loss]:
    """Scaled mean squared error of each method, beside predicting the mean, the attainable floor and the published one.

    Empty for a simulator that is no study's.
    """
    if not isinstance(simulator, Study):
        return []
    scale = simulator.label_scale
    names = list(simulator.parameters)
    dead = [names.index(e.parameter) for e in effects.values() if e.moves_response is False]
    losses = [
        Loss(f"{answer.method}, scaled MSE", scaled_mse(truth, answer.mean, scale), "method")
        for answer in answers
        if answer.method != "prior_mean"
    ]
    losses.append(Loss("predicting the mean", scaled_mse_floor(truth, scale), "predict_mean"))
    if dead:
        labels = ", ".join(names[j] for j in dead)
        losses.append(Loss(f"knowing all but {labels}", scaled_mse_floor(truth, scale, dead), "attainable"))
    losses += [Loss(name, value, "published") for name, value in simulator.published_losses.items()]
    return losses

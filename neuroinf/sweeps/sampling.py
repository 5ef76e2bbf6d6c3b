"""How trials get their values and when they are stopped: Optuna's samplers and pruners, as a sweep file says."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from neuroinf.sweeps.distributions import Distribution
from neuroinf.sweeps.sweep_file import Sweep

# what Optuna keeps of each key: the quantile of a distribution, or the place in a list
_QUANTILE = FloatDistribution(0.0, 1.0)


class Numbered(BaseSampler):
    """Values that depend on the seed, the trial's number and the key alone: not on other trials, processes or restarts.

    Args:
        value: Of seed, number, key and what Optuna keeps of it.
        seed: Root seed.
    """

    def __init__(self, value: Callable[[int, int, str, BaseDistribution], Any], seed: int) -> None:
        self.value, self.seed = value, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """No key depends on another."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """No key depends on another."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The key's value in this trial."""
        return self.value(self.seed, trial.number, param_name, param_distribution)


def _random(seed: int, number: int, key: str, kept: BaseDistribution) -> Any:
    rng = np.random.default_rng([seed, number, zlib.crc32(key.encode())])
    if isinstance(kept, CategoricalDistribution):
        return int(rng.integers(len(kept.choices)))
    return float(rng.random())


def _in_order(sweep: Sweep) -> Callable[[int, int, str, BaseDistribution], Any]:
    """Point after point of the grid, the last key running fastest."""
    sizes = {key: len(of.values or ()) for key, of in sweep.parameters.items()}
    shape, keys = tuple(sizes.values()), list(sizes)

    def value(seed: int, number: int, key: str, kept: BaseDistribution) -> int:
        return int(np.unravel_index(number % sweep.cells, shape)[keys.index(key)])

    return value


def sampler(sweep: Sweep, seed: int, existing: int) -> BaseSampler:
    """Of the sweep's method.

    Args:
        sweep: With its method.
        seed: Root seed.
        existing: Number of trials there are: a continued Bayesian search must not repeat its first draws.
    """
    if sweep.method == "grid":
        return Numbered(_in_order(sweep), seed)
    if sweep.method == "random":
        return Numbered(_random, seed)
    stream = int(np.random.SeedSequence([seed, existing]).generate_state(1)[0])
    return TPESampler(seed=stream, constant_liar=True)


def pruner(sweep: Sweep) -> BasePruner:
    """W&B's hyperband: one ladder of epochs first, first eta, first eta^2, ... on each of which the best 1 / eta go on.

    That is successive halving (Optuna's HyperbandPruner runs several ladders, which the file has no numbers for).
    """
    if sweep.hyperband is None:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=sweep.hyperband.first, reduction_factor=sweep.hyperband.eta, min_early_stopping_rate=0
    )


def draw(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """The trial's values by dotted key; those that it has already got stay."""
    found: dict[str, Any] = {}
    for key, of in sweep.parameters.items():
        if of.kind == "constant" and sweep.method != "grid":
            found[key] = of.quantile(0.0)
        elif listed(sweep, of):
            values = of.values or []
            found[key] = values[trial.suggest_categorical(key, range(len(values)))]
        else:
            found[key] = of.quantile(trial.suggest_float(key, _QUANTILE.low, _QUANTILE.high))
    return found


def listed(sweep: Sweep, of: Distribution) -> bool:
    """Whether Optuna keeps the place in the list; else the quantile, which keeps order and probabilities."""
    return sweep.method == "grid" or of.kind == "categorical"


__all__ = ["draw", "pruner", "sampler"]

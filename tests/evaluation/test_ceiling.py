"""Posterior sd over its bound: 1 for a posterior as wide as the bound, and nothing where there is no bound."""

import numpy as np
import pytest
import torch

from neuroinf.evaluation.ceiling import sd_over_bound
from neuroinf.evaluation.estimates import Estimates
from neuroinf.priors import Parameter, Prior

PRIOR = Prior({"a": Parameter("mV", -1.0, 1.0), "b": Parameter("pF", 1.0, 100.0, "log")})


def estimates(sd: float, n: int = 40, draws: int = 4000) -> Estimates:
    """Normal posteriors in z, of n neurons."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, 1, 2)) + sd * rng.standard_normal((n, draws, 2))
    samples = PRIOR.from_unconstrained(torch.from_numpy(z)).numpy()
    return Estimates("one", samples.mean(1), samples)


def test_ratio_of_sds() -> None:
    """sd 0.2 against bounds of 0.2 and 0.1: 1 and 2, to 6 standard errors of 4000 draws' sd (1.1 % each)."""
    found = sd_over_bound([estimates(0.2)], np.tile([0.2, 0.1], (40, 1)), PRIOR)
    for name, ratio in (("a", 1.0), ("b", 2.0)):
        entry = found[name]
        assert entry is not None
        one = entry["one"]
        assert one["median"] == pytest.approx(ratio, rel=0.07)
        assert ratio * 0.93 < one["low"] <= one["median"] <= one["high"] < ratio * 1.07


def test_only_neurons_and_parameters_with_a_bound_count() -> None:
    bound = np.tile([0.2, np.nan], (10, 1))  # of the first ten neurons
    bound[:5, 0] = np.nan
    found = sd_over_bound([estimates(0.2), Estimates("point", np.zeros((40, 2)))], bound, PRIOR)
    assert found["b"] is None
    assert found["a"] is not None and list(found["a"]) == ["one"]
    assert sd_over_bound([estimates(0.2)], None, PRIOR) == {"a": None, "b": None}

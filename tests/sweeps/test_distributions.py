"""Each of W&B's distributions against scipy's, and against its own bounds."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from neuroinf.errors import InputError
from neuroinf.sweeps.distributions import read_distribution

U = np.linspace(0.001, 0.999, 999)


@pytest.mark.parametrize(
    ("given", "law"),
    [
        ({"min": 0.5, "max": 2.5}, stats.uniform(0.5, 2.0)),
        ({"distribution": "log_uniform", "min": -9.9, "max": -5.3}, stats.loguniform(math.exp(-9.9), math.exp(-5.3))),
        ({"distribution": "log_uniform_values", "min": 5.0e-5, "max": 5.0e-3}, stats.loguniform(5e-5, 5e-3)),
        # its reciprocal is log-uniform between e and e^3; the reciprocal of such a one is one itself
        ({"distribution": "inv_log_uniform", "min": 1.0, "max": 3.0}, stats.loguniform(math.exp(-3), math.exp(-1))),
        ({"distribution": "normal", "mu": 1.0, "sigma": 2.0}, stats.norm(1, 2)),
        ({"distribution": "log_normal", "mu": 1.0, "sigma": 0.5}, stats.lognorm(0.5, scale=math.e)),
        ({"distribution": "beta", "a": 2.0, "b": 3.0}, stats.beta(2, 3)),
    ],
)
def test_quantiles_of_continuous_ones(given: dict[str, Any], law: Any) -> None:
    of = read_distribution("key", given)
    assert [of.quantile(u) for u in U] == pytest.approx(law.ppf(U).tolist(), rel=1e-9)


@pytest.mark.parametrize("kind", ["uniform", "log_uniform", "log_uniform_values"])
@pytest.mark.parametrize("q", [1, 3, 0.1])
def test_rounded_ones_are_multiples_of_q(kind: str, q: float) -> None:
    bounds = {"min": 1.0, "max": 5.0}
    plain = read_distribution("key", bounds | {"distribution": kind})
    of = read_distribution("key", bounds | {"distribution": f"q_{kind}", "q": q})
    for u in U[::50]:
        value = of.quantile(u)
        assert value / q == pytest.approx(round(value / q)) and abs(value - plain.quantile(u)) <= q / 2 + 1e-9
        assert isinstance(value, type(q))


def test_whole_numbers_and_lists_are_equally_likely() -> None:
    for given in ({"min": 2, "max": 6}, {"values": [2, 3, 4, 5, 6]}):
        of = read_distribution("key", given)
        counts = np.unique([of.quantile((i + 0.5) / 1000) for i in range(1000)], return_counts=True)
        assert counts[0].tolist() == [2, 3, 4, 5, 6] and counts[1].tolist() == [200] * 5
        assert of.quantile(1.0) == 6 and of.quantile(0.0) == 2


def test_probabilities() -> None:
    of = read_distribution("key", {"values": ["a", "b", "c"], "probabilities": [0.2, 0.0, 0.8]})
    drawn = [of.quantile((i + 0.5) / 1000) for i in range(1000)]
    assert (drawn.count("a"), drawn.count("b"), drawn.count("c")) == (200, 0, 800)
    assert of.quantile(1.0) == "c" and of.values == ["a", "c"]


def test_bounds_that_were_meant_as_values() -> None:
    with pytest.raises(InputError, match="did you mean log_uniform_values"):
        read_distribution("lr", {"distribution": "log_uniform", "min": 1.0, "max": 1000.0})

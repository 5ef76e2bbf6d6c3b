"""What is known of one neuron's parameters after its recording: named, with units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Distribution

from neuroinf.errors import InputError
from neuroinf.networks.densities import Density
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
# enough that a summary's Monte Carlo error is a hundredth of the posterior's own spread
SUMMARY_SAMPLES = 10_000


@dataclass(frozen=True)
class Marginal:
    """One parameter's mean and standard deviation, in its unit; std is None where the density states none."""

    name: str
    unit: str
    mean: float
    std: float | None


@dataclass(frozen=True)
class Posterior:
    """Distribution over P parameters of one neuron.

    Args:
        prior: Names, units and bijection.
        density: The trained density.
        features: The encoder's, one row (S, F) for each independent sweep of this neuron.
        warnings: What speaks against believing it.
    """

    prior: Prior
    density: Density
    features: Tensor
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def distribution(self) -> Distribution | None:
        """Over the prior's unconstrained space; None for a point estimate."""
        with torch.inference_mode():
            one = len(self.features) == 1
            return self.density.posterior(self.features) if one else self.density.pooled(self.features)

    def _require(self, what: str) -> Distribution:
        if self.distribution is None:
            raise InputError(f"a point estimate has no {what}: train with a density such as neuroinf.networks.Gaussian")
        return self.distribution

    @torch.inference_mode()
    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """n draws (n, P) in the parameters' units; the same for the same seed."""
        distribution = self._require("samples")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # torch's distributions take no generator; the state outside is left as it was
            z = distribution.sample(torch.Size([n]))[:, 0]
        return self.prior.from_unconstrained(z.double()).numpy()

    @torch.inference_mode()
    def log_prob(self, theta: ArrayLike) -> FloatArray:
        """Log density at theta (..., P), per product of the parameters' units; -inf outside the prior."""
        distribution = self._require("density")
        values = torch.as_tensor(np.asarray(theta, np.float64))
        if values.shape[-1] != len(self.prior.names):
            raise InputError(f"expected parameters (..., {len(self.prior.names)}) {self.prior.names}, found {tuple(values.shape)}")
        flat = values.reshape(-1, values.shape[-1])
        z = self.prior.to_unconstrained(flat)
        density = distribution.log_prob(z.to(distribution.mean.dtype)[:, None])[:, 0].double() + self.prior.log_abs_det(flat)
        density = torch.where(torch.isfinite(self.prior.log_prob(flat)), density, -torch.inf)
        return density.reshape(values.shape[:-1]).numpy()

    @cached_property
    def _summary(self) -> FloatArray | None:
        return None if self.distribution is None else self.sample(SUMMARY_SAMPLES)

    @cached_property
    def mean(self) -> dict[str, float]:
        """Posterior mean by name; for a point estimate, the point."""
        if self._summary is None:
            with torch.inference_mode():
                point = self.prior.from_unit(self.density.unit_mean(self.features, self.prior).mean(0).clamp(0, 1)).numpy()
        else:
            point = self._summary.mean(0)
        return dict(zip(self.prior.names, point.tolist(), strict=True))

    @cached_property
    def std(self) -> dict[str, float | None]:
        """Posterior standard deviation by name; None where the density states none."""
        sds = [None] * len(self.prior.names) if self._summary is None else self._summary.std(0).tolist()
        return dict(zip(self.prior.names, sds, strict=True))

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central interval holding `level` of the posterior, by name."""
        if not 0 < level < 1:
            raise InputError(f"the level of an interval lies between 0 and 1, found {level}")
        self._require("intervals")
        assert self._summary is not None
        low, high = np.quantile(self._summary, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.prior.names, low, high, strict=True)}

    def __getitem__(self, name: str) -> Marginal:
        if name not in self.prior.names:
            raise InputError(f"no parameter {name!r} was inferred; there are {list(self.prior.names)}")
        unit = self.prior.units[self.prior.names.index(name)]
        return Marginal(name, unit, self.mean[name], self.std[name])

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        marginals = [self[name] for name in self.prior.names]
        intervals = {} if self.distribution is None else self.interval(0.9)
        return {
            "parameters": {
                m.name: {"unit": m.unit, "mean": m.mean, "std": m.std, "interval_90": list(intervals.get(m.name, ())) or None}
                for m in marginals
            },
            "warnings": list(self.warnings),
        }

    def table(self, others: Sequence[tuple[str, dict[str, float]]] = ()) -> str:
        """Lines for a terminal: each parameter with its interval, and other estimates beside it."""
        header = f"{'parameter':<18}{'mean':>12}{'std':>12}   {'90 % interval':<26}" + "".join(f"{n:>16}" for n, _ in others)
        lines = [header]
        intervals = {} if self.distribution is None else self.interval(0.9)
        for name in self.prior.names:
            m = self[name]
            low_high = "{:.4g} to {:.4g}".format(*intervals[name]) if name in intervals else "-"
            std = "-" if m.std is None else f"{m.std:.3g}"
            line = f"{name + ' (' + m.unit + ')':<18}{m.mean:>12.4g}{std:>12}   {low_high:<26}"
            lines.append(line + "".join(f"{e.get(name, np.nan):>16.4g}" for _, e in others))
        return "\n".join(lines)

"""What is known of one neuron's parameters after its recording: named, with units."""

from __future__ import annotations

import math
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
from neuroinf.networks.agreement import Pooled
from neuroinf.networks.densities import Density
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
# enough that a summary's Monte Carlo error is a hundredth of the posterior's own spread
SUMMARY_SAMPLES = 10_000
# pieces that scatter more than this many times what their posteriors allow contradict one another: less is within
# what a trained network's own uncertainty is off by
CONTRADICTION = 1.5
SIGNIFICANCE = 1e-4
# a 90 % interval wholly within this fraction of the prior's range next to one of its ends
EDGE = 0.005


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
        features: The encoder's, one row (S, F) for each independent piece of this neuron's recording.
        warnings: What speaks against believing it.
    """

    prior: Prior
    density: Density
    features: Tensor
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def distribution(self) -> Distribution | None:
        """Over the prior's unconstrained space; None for a point estimate."""
        if self.pooled is not None:
            return self.pooled.distribution
        with torch.inference_mode():
            return self.density.posterior(self.features) if len(self.features) == 1 else None

    @cached_property
    def pooled(self) -> Pooled | None:
        """The pieces' posteriors put together, and how well they agree; None for a single one, or point estimates."""
        with torch.inference_mode():
            return self.density.pooled(self.features) if len(self.features) > 1 else None

    @cached_property
    def spread(self) -> dict[str, float] | None:
        """Standard deviation between the estimates of the single pieces, by name; None for a single one."""
        if len(self.features) < 2:
            return None
        with torch.inference_mode():
            each = self.prior.from_unit(self.density.unit_mean(self.features, self.prior).clamp(0, 1)).numpy()
        return dict(zip(self.prior.names, each.std(0, ddof=1).tolist(), strict=True))

    def doubts(self) -> list[str]:
        """What in this posterior itself speaks against it: pieces that contradict one another, ends of the prior."""
        found: list[str] = []
        pooled, spread = self.pooled, self.spread
        if pooled is not None and spread is not None and pooled.scatter > CONTRADICTION and pooled.p < SIGNIFICANCE:
            units = dict(zip(self.prior.names, self.prior.units, strict=True))
            values = ", ".join(f"{name} {spread[name]:.3g} {units[name]}" for name in self.prior.names)
            found.append(
                f"the {len(self.features)} pieces of this recording contradict one another: they scatter "
                f"{pooled.scatter:.1f} times as much as their posteriors allow, and the posterior was widened by as much; "
                f"sd between pieces: {values}"
            )
        if self.distribution is not None:
            at = self.prior.to_unit(np.array([[ends[k] for ends in self.interval(0.9).values()] for k in (0, 1)]))
            ends = [
                name for name, low, high in zip(self.prior.names, *at, strict=True) if high < EDGE or low > 1 - EDGE
            ]
            if ends:
                found.append(f"{', '.join(ends)} at the end of the prior's range: the neuron may lie outside it")
        return found

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
            raise InputError(
                f"expected parameters (..., {len(self.prior.names)}) {self.prior.names}, found {tuple(values.shape)}"
            )
        flat = values.reshape(-1, values.shape[-1])
        z = self.prior.to_unconstrained(flat)
        density = distribution.log_prob(z.to(distribution.mean.dtype)[:, None])[:, 0].double() + self.prior.log_abs_det(
            flat
        )
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
                point = self.prior.from_unit(
                    self.density.unit_mean(self.features, self.prior).mean(0).clamp(0, 1)
                ).numpy()
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
                m.name: {
                    "unit": m.unit,
                    "mean": m.mean,
                    "std": m.std,
                    "interval_90": list(intervals.get(m.name, ())) or None,
                }
                for m in marginals
            },
            "pieces": len(self.features),
            "std_between_pieces": self.spread,
            "scatter": None if self.pooled is None or math.isnan(self.pooled.scatter) else self.pooled.scatter,
            "warnings": list(self.warnings),
        }

    def table(self, others: Sequence[tuple[str, dict[str, float]]] = ()) -> str:
        """Lines for a terminal: each parameter with its interval, and other estimates beside it."""
        header = f"{'parameter':<18}{'mean':>12}{'std':>12}   {'90 % interval':<26}" + "".join(
            f"{n:>16}" for n, _ in others
        )
        lines = [header]
        intervals = {} if self.distribution is None else self.interval(0.9)
        for name in self.prior.names:
            m = self[name]
            low_high = "{:.4g} to {:.4g}".format(*intervals[name]) if name in intervals else "-"
            std = "-" if m.std is None else f"{m.std:.3g}"
            line = f"{name + ' (' + m.unit + ')':<18}{m.mean:>12.4g}{std:>12}   {low_high:<26}"
            lines.append(line + "".join(f"{e.get(name, np.nan):>16.4g}" for _, e in others))
        return "\n".join(lines)

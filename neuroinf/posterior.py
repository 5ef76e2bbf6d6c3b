"""What is known of one neuron's parameters after its recording: named, with units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Distribution

from neuroinf.corner_plot import corner_plot
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.hidden_activity import HiddenActivity, hidden_activity, hidden_atoms
from neuroinf.identification import TRADE_OFF, UNIDENTIFIED, correlation, sd_over_prior
from neuroinf.models.novelty import Score
from neuroinf.networks.agreement import Pooled
from neuroinf.networks.densities import Density
from neuroinf.priors import Prior
from neuroinf.simulators.glm import GLM
from neuroinf.symmetry import SignSymmetry

FloatArray = NDArray[np.float64]
# the Monte Carlo error of a mean is then a sixtieth of the posterior's own sd; more would take longer than the network
SUMMARY_SAMPLES = 4_000
# pieces that scatter more than this many times what their posteriors allow contradict one another: less is within
# what a trained network's own uncertainty is off by
CONTRADICTION = 1.5
SIGNIFICANCE = 1e-4


@dataclass(frozen=True)
class Marginal:
    """One parameter's mean and standard deviation, in its unit; std is None where the density states none."""

    name: str
    unit: str
    mean: float
    std: float | None


@dataclass(frozen=True)
class Sign:
    """What is known of a parameter whose sign may mean nothing: the probability that it is positive, and its size."""

    positive: float
    size: float
    std: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Posterior:
    """Distribution over P parameters of one neuron.

    Args:
        prior: Names, units and bijection.
        density: The trained density.
        features: The encoder's, one row (S, F) for each independent piece of this neuron's recording.
        warnings: What speaks against believing it.
        pieces: The features (S, F) of each piece by itself, where `features` are of several together.
        novelty: How unlike the training distribution the recording is; None if the checkpoint cannot tell.
        bins: Response and observed inputs (1 + I, T) of a neuron that was read in bins.
        simulation: What the network was trained on, for its hidden input.
    """

    prior: Prior
    density: Density
    features: Tensor
    warnings: list[str] = field(default_factory=list)
    pieces: Tensor | None = None
    novelty: Score | None = None
    bins: FloatArray | None = None
    simulation: Simulation | None = None

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
        pieces = self.features if self.pieces is None else self.pieces
        if len(pieces) < 2:
            return None
        with torch.inference_mode():
            each = self.prior.from_unit(self.density.unit_mean(pieces, self.prior).clamp(0, 1)).numpy()
        return dict(zip(self.prior.names, each.std(0, ddof=1).tolist(), strict=True))

    @property
    def contradictory(self) -> bool:
        """Whether the pieces scatter more than their posteriors allow."""
        pooled = self.pooled
        return pooled is not None and pooled.scatter > CONTRADICTION and pooled.p < SIGNIFICANCE

    def _require(self, what: str) -> Distribution:
        if self.distribution is None:
            raise InputError(f"a point estimate has no {what}: train with a density such as neuroinf.networks.Gaussian")
        return self.distribution

    @torch.inference_mode()
    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """n draws (n, P) in the parameters' units; the same for the same seed. Neurons tested together need a seed each."""
        distribution = self._require("samples")
        return draw(distribution, self.prior, n, seed)[0]

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
        own = torch.float32 if self.pooled is None else torch.float64  # precision of the distribution
        density = distribution.log_prob(z.to(own)[:, None])[:, 0].double() + self.prior.log_abs_det(flat)
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

    @cached_property
    def sd_over_prior(self) -> dict[str, float | None]:
        """Posterior standard deviation over the prior's, on the prior's own scale, by name; None for a point estimate.

        Of a parameter whose sign a symmetry may hide it is that of its size.
        """
        if self._summary is None:
            return dict.fromkeys(self.prior.names)
        known = self._symmetry.fold(self._summary)
        return dict(zip(self.prior.names, sd_over_prior(known, self._symmetry.folded).tolist(), strict=True))

    @cached_property
    def _symmetry(self) -> SignSymmetry:
        return SignSymmetry.of(None if self.simulation is None else self.simulation.simulator, self.prior)

    @cached_property
    def signs(self) -> dict[str, Sign]:
        """The parameters whose sign a symmetry of the model may hide, by name; none for a point estimate."""
        if self._summary is None:
            return {}
        found = {}
        for name, column in zip(self._symmetry.names, self._symmetry.columns, strict=True):
            values = self._summary[:, column]
            size = np.abs(values)
            low, high = np.quantile(size, [0.05, 0.95])
            positive = float((values > 0).mean())
            found[name] = Sign(positive, float(size.mean()), float(size.std()), (float(low), float(high)))
        return found

    @property
    def unidentified(self) -> dict[str, float]:
        """Parameters of which the recording says next to nothing, with `sd_over_prior`: those where it is above 0.9."""
        ratios = self.sd_over_prior.items()
        return {name: ratio for name, ratio in ratios if ratio is not None and ratio > UNIDENTIFIED}

    @cached_property
    def correlation(self) -> dict[str, dict[str, float]]:
        """Posterior correlation by name and name, in the space where the prior is the standard normal."""
        self._require("correlations")
        assert self._summary is not None
        rows = correlation(self._summary, self.prior).tolist()
        return {a: dict(zip(self.prior.names, row, strict=True)) for a, row in zip(self.prior.names, rows, strict=True)}

    @property
    def trade_offs(self) -> dict[tuple[str, str], float]:
        """Pairs so correlated that to know one would more than halve the other's sd (|r| > 0.87), strongest first."""
        if self.distribution is None:
            return {}
        pairs = {(a, b): self.correlation[a][b] for a, b in combinations(self.prior.names, 2)}
        strongest = sorted(pairs.items(), key=lambda pair: -abs(pair[1]))
        return {pair: r for pair, r in strongest if abs(r) > TRADE_OFF}

    def hidden(self, level: float = 0.9, sign: int | None = None, samples: int = 200, seed: int = 0) -> HiddenActivity:
        """The neuron's hidden input in each bin, from samples of this posterior; see `neuroinf.hidden_activity`.

        Args:
            level: Of the interval.
            sign: Of the hidden input's weight for which it is told: 1, -1; None: the more probable.
            samples: Number of posterior samples.
            seed: Of the samples.

        Raises:
            InputError: if the model has no hidden input, or no sample has that sign.
        """
        model = None if self.simulation is None else self.simulation.simulator
        if self.bins is None or self.simulation is None or not isinstance(model, GLM):
            raise InputError("no hidden input: the recording was not read in bins by a network for GLM neurons")
        rng = np.random.default_rng(seed)
        y, x = self.bins[0], self.bins[1:]
        atoms = None if model.output == "rate" or not model.hidden else hidden_atoms(self.simulation, x, rng)
        names, dt = self.prior.names, self.simulation.dt
        return hidden_activity(self.sample(samples, seed), x, y, model, names, atoms, sign, level, dt)

    def plot(self, truth: Mapping[str, float] | ArrayLike | None = None, title: str = "") -> Figure:
        """Corner plot: each parameter's and each pair's posterior, the prior, and the truth where it is known.

        Args:
            truth: True values (P,) in the parameters' order, or by name; those not named are not drawn.
            title: Above the figure.

        Raises:
            InputError: for a point estimate, or if the truth has another length or other names than the parameters.
        """
        self._require("distribution to plot")
        assert self._summary is not None
        return corner_plot(self.prior, self._summary, self._truth(truth), title)

    def _truth(self, truth: Mapping[str, float] | ArrayLike | None) -> list[float | None]:
        names = self.prior.names
        if truth is None:
            return [None] * len(names)
        if isinstance(truth, Mapping):
            unknown = [name for name in truth if name not in names]
            if unknown:
                raise InputError(f"truth: expected the parameters {list(names)}, found {unknown[0]!r}")
            known = [None if truth.get(name) is None else float(truth[name]) for name in names]
        elif np.shape(truth) == (len(names),):
            known = np.asarray(truth, np.float64).tolist()
        else:
            raise InputError(f"truth: expected {len(names)} values {list(names)}, found the shape {np.shape(truth)}")
        for name, value, log in zip(names, known, self.prior.is_log, strict=True):
            if value is not None and not (math.isfinite(value) and (value > 0 or not log)):
                raise InputError(f"truth of {name}: expected a {'positive ' if log else ''}number, found {value}")
        return known

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
                    "posterior_over_prior_sd": self.sd_over_prior[m.name],
                }
                for m in marginals
            },
            "signs": {
                name: {"positive": s.positive, "size": s.size, "std": s.std, "interval_90": list(s.interval)}
                for name, s in self.signs.items()
            },
            "unidentified": list(self.unidentified),
            "trade_offs": [{"parameters": list(pair), "correlation": r} for pair, r in self.trade_offs.items()],
            "pieces": len(self.features if self.pieces is None else self.pieces),
            "std_between_pieces": self.spread,
            "scatter": None if self.pooled is None or math.isnan(self.pooled.scatter) else self.pooled.scatter,
            "novelty": None if self.novelty is None else self.novelty.to_dict(),
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
        for name, s in self.signs.items():
            sizes = "{:.4g} to {:.4g}".format(*s.interval)
            lines.append(f"{'|' + name + '|':<18}{s.size:>12.4g}{s.std:>12.3g}   {sizes:<26}positive: {s.positive:.2f}")
        pairs = ", ".join(f"{a} and {b} (correlation {r:.2f})" for (a, b), r in self.trade_offs.items())
        if pairs:
            lines.append(f"trade off: {pairs}")
        return "\n".join(lines)


@torch.inference_mode()
def draw(distribution: Distribution, prior: Prior, n: int, seed: int) -> FloatArray:
    """n samples (B, n, P), natural units, of each of the B neurons of a density's posterior; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's distributions take no generator; the state outside is left as it was
        z = distribution.sample(torch.Size([n]))
    return prior.from_unconstrained(z.transpose(0, 1).double()).numpy()

"""The part of a box in which circuits have two states: what a study of switching needs more of than the box gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from neuroinf.errors import InputError
from neuroinf.priors.box import FloatArray, Prior
from neuroinf.priors.ranges import Parameter
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.circuit_states import competing_states

TRIED = 512  # circuits of the box at once
MOST = 2**18  # tried for one draw
COUNTED, COUNTED_TOGETHER = 2**19, 2**15  # circuits by which the part's size is known


class CompetingPrior(Prior):
    r"""A box's prior, restricted to circuits in which either of two populations can lead.

    .. math:: p(\theta \mid R) = \frac{p(\theta)\, 1[\theta \in R]}{Z}, \qquad
        R = \{\theta : l \le A_1 - A_2 \le h \text{ from one start}, \; l \le A_2 - A_1 \le h \text{ from the other}\}

    with A the stationary rates of infinite populations (:mod:`neuroinf.simulators.circuit_states`). Coordinates are
    the box's. Z, the part of the box's mass, is known to about 2 % (of 0.35 %) from 524,288 fixed draws.

    Args:
        parameters: Of the box; as :class:`Prior`.
        circuit: Whose free parameters they are.
        lead: l and h, Hz.

    Raises:
        InputError: if the names are not the circuit's, or the lead is impossible.
    """

    kind: ClassVar[str] = "competing"

    def __init__(
        self, parameters: Mapping[str, Parameter], circuit: Circuit, lead: Sequence[float] = (6.0, 40.0)
    ) -> None:
        super().__init__(parameters)
        if set(self.names) != set(circuit.parameters) or len(circuit.names) < 2:
            raise InputError(
                f"CompetingPrior: expected the free parameters {list(circuit.parameters)} of a circuit of two populations or more, "
                f"found {list(self.names)}"
            )
        if len(lead) != 2 or not 0 < lead[0] < lead[1]:
            raise InputError(f"CompetingPrior.lead: expected two rates above 0 Hz, the lower first, found {list(lead)}")
        self.circuit, self.lead = circuit, list(lead)
        self._columns = [self.names.index(name) for name in circuit.parameters]

    def competes(self, theta: FloatArray) -> NDArray[np.bool_]:
        """Whether each circuit (n, P) lies in R."""
        low, high = self.lead
        one, other = competing_states(self.circuit, theta[:, self._columns])
        ahead = np.stack([one[:, 0] - one[:, 1], other[:, 1] - other[:, 0]])
        return np.asarray(((ahead >= low) & (ahead <= high)).all(0))

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """See Prior; from the box, until so many lie in R.

        Raises:
            InputError: if the box has hardly any.
        """
        found: list[FloatArray] = []
        kept = tried = 0
        while kept < n:
            drawn = self._of_box(TRIED, rng)
            found.append(drawn[self.competes(drawn)])
            kept, tried = kept + len(found[-1]), tried + TRIED
            if tried >= MOST * (kept + 1):
                raise InputError(
                    f"CompetingPrior: none of {tried} circuits of the box has two states of this lead: widen either"
                )
        return np.concatenate([*found, np.empty((0, len(self.names)))])[:n]

    def _of_box(self, n: int, rng: np.random.Generator) -> FloatArray:
        return super().quantile(rng.random((n, len(self.names))))

    @cached_property
    def fraction(self) -> float:
        """Z."""
        rng, inside = np.random.default_rng(0), 0
        for _ in range(COUNTED // COUNTED_TOGETHER):
            inside += int(self.competes(self._of_box(COUNTED_TOGETHER, rng)).sum())
        if not inside:
            raise InputError(
                f"CompetingPrior: none of {COUNTED} circuits of the box has two states of this lead: widen either"
            )
        return inside / COUNTED

    def log_prob(self, theta: Tensor) -> Tensor:
        """See Prior."""
        flat = theta.detach().reshape(-1, theta.shape[-1]).double().cpu().numpy()
        inside = torch.from_numpy(self.competes(flat)).reshape(theta.shape[:-1]).to(theta.device)
        return (super().log_prob(theta) - math.log(self.fraction)).masked_fill(~inside, -math.inf)

    def quantile(self, v: FloatArray) -> FloatArray:
        """Not to be had: R is no box."""
        raise InputError("CompetingPrior: has draws alone, no quantiles: give simulation.design random")

    @property
    def distribution(self) -> Distribution:
        """Not to be had: R is no box."""
        raise InputError("CompetingPrior: has draws and a density alone: see sample and log_prob")

    def to_dict(self) -> dict[str, Any]:
        """See Prior."""
        from neuroinf.specification import specify

        return {**super().to_dict(), "circuit": specify(self.circuit)["init_args"], "lead": self.lead}

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls({name: Parameter(**p) for name, p in d["parameters"].items()}, Circuit(**d["circuit"]), d["lead"])


__all__ = ["CompetingPrior"]

r"""More simulations where the prior has few, without changing the posterior.

Of :math:`n_0` rows of the prior p and :math:`n_1` of its part R, of mass Z, a row at :math:`\theta` has the importance

.. math:: w(\theta) = \frac{n_0}{n_0 + n_1\, 1[\theta \in R] / Z}

so that all rows together, weighted, are draws of p. A further weight that depends on the recording x alone,

.. math:: g(x) = \frac{1}{1 - r(x)\, (1 - w_R)}, \qquad r(x) = P(\theta \in R \mid x) \text{ among all rows}

with :math:`w_R` the importance in R, leaves every :math:`p(\theta \mid x)` as it is, and gives recordings that only R shows
the share in the loss that they have among the rows: without it, what R shows would count as little as it is rare. r need not be
right; it is a logistic regression on the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.priors import CompetingPrior

SEED_AFTER = 20  # of the further simulations, after the training's own
PENALTY = 1e-3  # of the regression's squared weights
STEPS = 60  # of its optimiser, at most


@dataclass(frozen=True)
class EnrichmentStage:
    """How many circuits in which either population can lead are simulated beside the draws of the prior, for the stages that follow
    the encoder's; see :class:`neuroinf.priors.CompetingPrior`.

    Args:
        n: Number of simulations; 0: none.
        lead: By how much the one and the other lead, Hz: from, to.

    Raises:
        InputError: on an impossible value.
    """

    n: int = 0
    lead: Sequence[float] = (6.0, 40.0)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise InputError(f"enrichment.n must be at least 0, found {self.n}")
        if len(self.lead) != 2 or not 0 < self.lead[0] < self.lead[1]:
            raise InputError(
                f"enrichment.lead: expected two rates above 0 Hz, the lower first, found {list(self.lead)}"
            )

    def simulation(self, training: Simulation) -> Simulation:
        """Of the further rows.

        Raises:
            InputError: if the training's simulator has no circuit of the prior's parameters.
        """
        circuit = getattr(training.simulator, "circuit", None)
        if circuit is None or training.prior.kind != "box":
            raise InputError(
                f"enrichment.n: expected a simulator of a circuit and a box for a prior, found {type(training.simulator).__name__} "
                f"and {type(training.prior).__name__}: leave enrichment.n at 0"
            )
        parameters: Any = training.prior.parameters
        part = CompetingPrior(parameters, circuit, self.lead)
        return replace(training, prior=part, n=self.n, seed=training.seed + SEED_AFTER, design="random")

    @staticmethod
    def path(training: Path) -> Path:
        """Of the further rows' file, beside the training's."""
        return training.with_name(f"{training.stem}_competing.h5")


def importance(inside: NDArray[np.bool_], of_prior: int, of_part: int, fraction: float) -> NDArray[np.float32]:
    """w (n,).

    Args:
        inside: Whether each row lies in R (n,).
        of_prior: n0.
        of_part: n1.
        fraction: Z.
    """
    return np.where(inside, of_prior / (of_prior + of_part / fraction), 1.0).astype(np.float32)


class Share(nn.Module):
    """g of features, from features (n, F) of rows in and out of R.

    Args:
        features: (n, F).
        inside: Whether each row lies in R (n,).
        least: w in R.
    """

    def __init__(self, features: Tensor, inside: Tensor, least: float) -> None:
        super().__init__()
        self.least = least
        self.line = nn.Linear(features.shape[1], 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)
        known, target = features.float(), inside.float()
        optimizer = torch.optim.LBFGS(self.line.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = binary_cross_entropy_with_logits(self.line(known)[:, 0], target)
            loss = loss + PENALTY * self.line.weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """g (n,) of features (n, F)."""
        return 1 / (1 - torch.sigmoid(self.line(features)[:, 0]) * (1 - self.least))

"""Spike statistics with the best Gaussian approximation of the posterior, the anchor of an `AnchoredFlow`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.networks.anchored import anchor_width
from neuroinf.networks.spike_statistics import SpikeStatistics
from neuroinf.priors import GaussianPrior, Prior
from neuroinf.simulators import GLM
from neuroinf.simulators.protocol import Simulator

STEPS = 20  # between 16, which leave the worst of 3,000 recordings 0.3 posterior sd away, and 24, which leave it 0.005
NODES = 5  # of Gauss-Hermite quadrature; the mean KL is the same with 9 to four digits


class VariationalStatistics(SpikeStatistics):
    r"""Of spike count and spike-triggered sum s, the Gaussian nearest to the posterior of a Bernoulli GLM, as features.

    It knows the likelihood. In the prior's unconstrained space, where the drive is :math:`X (\mu_0 + L_0 z) = c + A z`
    and the prior the standard normal, the Gaussian :math:`\mathcal N(m, \Sigma)` of least
    :math:`\mathrm{KL}(q \| p(z \mid s))` solves

    .. math:: m = L_0^\top s - A^\top \mathbb E_q[\sigma(c + A z)], \qquad
        \Sigma^{-1} = I + A^\top \operatorname{diag}(\mathbb E_q[\sigma'(c + A z)]) A

    which damped Newton steps find. Features are m, the lower triangle of the
    Cholesky factor of :math:`\Sigma`, and, for what the Gaussian gets wrong, m again with the factor's log diagonal. s
    is sufficient, and a function of m: nothing is lost. No weights are learnt.

    Args:
        channels: Rows of x: 1, the counts.
        stimulus: The K inputs in T bins.
        taps: J.
        prior: Of b and w_1_1 to w_K_J, Gaussian; told by the model that the encoder becomes a part of.

    Raises:
        InputError: as :class:`SpikeStatistics`; if the prior is not Gaussian or names others; if the simulator is no GLM
            of Bernoulli spikes through the logistic function.

    Source:
        Opper & Archambeau 2009, The variational Gaussian approximation revisited, Neural Computation 21; length of a
        step: Sun & Tran-Dinh 2019, Generalized self-concordant functions, Mathematical Programming 178.
    """

    drive: Tensor
    constant: Tensor
    scale: Tensor
    nodes: Tensor
    weights: Tensor
    place: Tensor

    def __init__(self, channels: int, stimulus: list[list[float]], taps: int, prior: Prior | None = None) -> None:
        super().__init__(channels, stimulus, taps)
        self.prior = prior
        if prior is not None:
            self._build(prior)

    def told(self, prior: Prior, simulator: Simulator | None, dt: float) -> None:
        """See NeedsModel."""
        if not (
            isinstance(simulator, GLM) and simulator.output == "bernoulli" and simulator.nonlinearity == "logistic"
        ):
            raise InputError(
                f"encoder VariationalStatistics: expected the simulator GLM with output bernoulli and nonlinearity "
                f"logistic, found {simulator}: for others take SpikeStatistics"
            )
        self._build(prior)

    def _build(self, prior: Prior) -> None:
        names = ["b", *(f"w_{k + 1}_{j + 1}" for k in range(len(self.stimulus)) for j in range(self.taps))]
        if not isinstance(prior, GaussianPrior) or set(prior.names) != set(names):
            raise InputError(
                f"encoder VariationalStatistics: expected a Gaussian prior of {names[0]} and {names[1]} to {names[-1]}, found "
                f"{prior}: for others take SpikeStatistics"
            )
        self.prior, self.count = prior, len(names)
        columns = torch.tensor([names.index(name) for name in prior.names])
        factor, mean = torch.from_numpy(prior.factor), torch.from_numpy(prior.mean)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        buffers = {
            "place": columns,
            "scale": factor,
            "drive": self.design[:, columns] @ factor,
            "constant": self.design[:, columns] @ mean,
            "nodes": torch.from_numpy(nodes),
            "weights": torch.from_numpy(weights / weights.sum()),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)  # follow from stimulus and prior
        self.features = anchor_width(self.count, False) + 2 * self.count

    def from_statistics(self, statistics: ArrayLike | Tensor) -> Tensor:
        """Features (B, F) of statistics (B, P), or (P,) of one recording.

        Raises:
            InputError: if there are not P of them, all finite.
        """
        mean, covariance = self.nearest_gaussian(self._checked(statistics))
        factor = torch.linalg.cholesky(covariance)
        row, column = torch.tril_indices(self.count, self.count, device=factor.device)
        log_diagonal = factor.diagonal(dim1=-2, dim2=-1).log()
        return torch.cat([mean, factor[:, row, column], mean, log_diagonal], -1).float()

    def nearest_gaussian(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, P) and covariance (B, P, P) in z, of statistics (B, P), float64."""
        a, identity = self.drive, torch.eye(self.count, dtype=s.dtype, device=s.device)
        spikes = s[:, self.place] @ self.scale
        mean, covariance = torch.zeros_like(spikes), identity.expand(len(s), -1, -1)
        for _ in range(STEPS):
            sd = ((a @ covariance) * a).sum(-1).clamp(min=0).sqrt()
            rate = torch.sigmoid((self.constant + mean @ a.T)[..., None] + sd[..., None] * self.nodes)
            slope = (rate * (1 - rate)) @ self.weights
            factor = torch.linalg.cholesky((slope[:, None] * a.T) @ a + identity)
            gradient = spikes - (rate @ self.weights) @ a - mean
            covariance = torch.cholesky_inverse(factor)
            step = (covariance @ gradient[..., None])[..., 0]
            change = (step @ a.T).abs().amax(-1, keepdim=True).clamp(min=1e-12)
            mean = mean + step * torch.log1p(change) / change
        return mean, covariance

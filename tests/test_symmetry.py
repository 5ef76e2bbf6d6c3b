"""Folding away a sign: what is folded, and that densities stay densities."""

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.distributions import Independent, Normal

from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM
from neuroinf.symmetry import SignSymmetry

PRIOR = Prior({"w_1": Parameter("1", -1.0, 1.0), "b": Parameter("1", -1.0, 1.0), "w_hidden": Parameter("1", -0.5, 0.5)})
NEURON = GLM(inputs=1, hidden=1)


@pytest.fixture(scope="module")
def symmetry() -> SignSymmetry:
    return SignSymmetry.of(NEURON, PRIOR)


def test_only_what_the_simulator_and_an_even_prior_leave_open_is_folded(symmetry: SignSymmetry) -> None:
    assert symmetry.names == ("w_hidden",)
    assert symmetry.folded.names == ("w_1", "b", "|w_hidden|")
    assert symmetry.folded.low.tolist() == [-1, -1, 0] and symmetry.folded.high.tolist() == [1, 1, 0.5]
    one_sided = Prior({**PRIOR.parameters, "w_hidden": Parameter("1", 0.0, 0.5)})  # type: ignore[dict-item]
    assert SignSymmetry.of(NEURON, one_sided).names == ()
    observed = Prior({"w_1": Parameter("1", -1.0, 1.0), "b": Parameter("1", -1.0, 1.0)})
    none = SignSymmetry.of(GLM(inputs=1, hidden=0), observed)
    theta = observed.sample(3, np.random.default_rng(0))
    assert none.names == () and none.folded is observed and none.fold(theta) is theta
    several = SignSymmetry.of(
        GLM(inputs=1, hidden=2), Prior({k: Parameter("1", -1.0, 1.0) for k in ("w_1", "b", "w_hidden_1", "w_hidden_2")})
    )
    points = [p.tolist() for p in several.reflections(torch.tensor([1.0, 2.0, 3.0, 4.0]))]
    assert points == [[1, 2, 3, 4], [1, 2, 3, -4], [1, 2, -3, 4], [1, 2, -3, -4]]


def test_the_density_of_the_fold_integrates_to_one_and_is_that_of_the_folded_samples(symmetry: SignSymmetry) -> None:
    """Over |w| in [0, 0.5] with the other parameters held: a density in z, not even, moved to natural units."""
    posterior = Independent(Normal(torch.tensor([0.0, 0.0, 0.7]).double(), torch.tensor([1.0, 1.0, 0.4]).double()), 1)
    rest = torch.zeros(2, dtype=torch.float64)

    def density(w: float) -> float:
        theta = torch.cat([rest, torch.tensor([w], dtype=torch.float64)])
        each = [
            posterior.log_prob(PRIOR.to_unconstrained(p)) + PRIOR.log_abs_det(p) for p in symmetry.reflections(theta)
        ]
        # the other two are as under the prior, uniform on [-1, 1] with the density 1/2
        return float(torch.stack(each).logsumexp(0).exp()) * 4

    whole, _ = integrate.quad(density, 0.0, 0.5, limit=200)
    assert whole == pytest.approx(1.0, abs=1e-6)
    z = torch.zeros(40_000, 3, dtype=torch.float64)
    z[:, 2] = 0.7 + 0.4 * torch.from_numpy(np.random.default_rng(1).standard_normal(40_000))
    folded = symmetry.fold(PRIOR.from_unconstrained(z).numpy())[:, 2]
    below, _ = integrate.quad(density, 0.0, 0.2, limit=200)
    # a binomial fraction of 40,000: sd at most 0.0025; four of them
    assert (folded < 0.2).mean() == pytest.approx(below, abs=0.01)

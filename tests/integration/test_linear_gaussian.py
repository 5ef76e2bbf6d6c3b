"""Trained on a linear-Gaussian model, whose posterior is known: the amortized one is told from it hardly better than by
guessing.

In the prior's unconstrained space, z ~ N(0, I), the observation is x = A z + noise, so that z given x is normal with
precision I + A'A / s^2. Everything between is the real path: simulator, file, batches, Lightning, density.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from neuroinf.datasets import Observation, RandomRows, Simulation, SimulationDataModule
from neuroinf.evaluation.calibration import c2st, ecdf_p, sbc_ranks
from neuroinf.models.amortized import AmortizedInference
from neuroinf.networks.densities import Density, Gaussian
from neuroinf.networks.flow import Flow
from neuroinf.networks.mixture import Mixture
from neuroinf.priors import Parameter, Prior

# not orthogonal: the two parameters trade off
MIXING = np.array([[1.0, 0.5], [0.3, 1.0], [-0.5, 0.5], [0.8, 0.8]])
NOISE = 0.6
PRECISION = np.eye(2) + MIXING.T @ MIXING / NOISE**2
DENSITIES = {
    "Gaussian": functools.partial(Gaussian, hidden=[32]),
    "Mixture": functools.partial(Mixture, components=2, hidden=[32]),
    "Flow": functools.partial(Flow, transforms=2, hidden=[32, 32], bins=4),
}
NAMES = ["Gaussian", "Flow", pytest.param("Mixture", marks=pytest.mark.slow)]


class Linear:
    """One sample for each row of A, with white noise from each row's own seed."""

    parameters = ("a", "b")
    units = ("1", "mV")
    channels = {"voltage": "mV"}  # noqa: RUF012
    stimulus_unit = "pA"

    def simulate(self, theta, stimulus, dt, seed=0):
        z = stats.norm.ppf(prior().to_unit(theta))
        noise = np.stack([np.random.default_rng(s).standard_normal(len(MIXING)) for s in seed])
        return {"voltage": z @ MIXING.T + NOISE * noise}


class Silence:
    """No stimulus, for as many steps as A has rows."""

    unit, inputs, frozen, dt, duration = "pA", 1, True, 1.0, float(len(MIXING))

    def sample(self, rng):
        return np.zeros((1, len(MIXING)))


class Flat(nn.Module):
    """The samples themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = channels * len(MIXING)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def prior() -> Prior:
    return Prior({"a": Parameter("1", 0.1, 10.0, "log"), "b": Parameter("mV", -5.0, 3.0)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulations are kept: made once for all densities."""
    return tmp_path_factory.mktemp("linear")


@functools.cache
def trained(name: str, folder: Path) -> Density:
    """A density trained on 4,000 simulations."""
    simulation = Simulation(Linear(), prior(), Silence(), n=4000, dt=1.0, record_dt=1.0)
    data = SimulationDataModule(
        simulation,
        Observation(channels=["voltage"]),
        str(folder / "linear.h5"),
        RandomRows(val=0.1),
        batch_size=128,
        simulation_workers=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AmortizedInference(data.prior, data.observation, Flat, DENSITIES[name], lr=1e-2)
        Trainer(
            max_epochs=6,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        ).fit(model, datamodule=data)
    model.eval()
    return model.density


@torch.inference_mode()
def draw(density: Density, x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Samples (B, n, P) of z given x (B, T)."""
    posterior = density.posterior(torch.from_numpy(x).float())
    assert posterior is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return posterior.sample(torch.Size([n])).double().numpy().transpose(1, 0, 2)


@pytest.mark.parametrize("name", NAMES)
def test_c2st_against_the_analytic_posterior(name: str, folder: Path) -> None:
    """For each of three new observations within 0.4 to 0.6, 1,000 samples each.

    Guessing alone stays there but once in 10^17 (8.9 standard deviations of 0.0112); a shift of 0.5 posterior standard
    deviations would give 0.60, one of 1 would give 0.69.
    """
    rng = np.random.default_rng(11)
    density, covariance = trained(name, folder), np.linalg.inv(PRECISION)
    z = rng.standard_normal((3, 2))
    x = z @ MIXING.T + NOISE * rng.standard_normal((3, len(MIXING)))
    mean = x @ MIXING @ covariance / NOISE**2
    found = draw(density, x, 1000)
    exact = [rng.multivariate_normal(row, covariance, 1000) for row in mean]
    for row in range(len(x)):
        assert 0.4 <= c2st(found[row], exact[row], rng) <= 0.6
    # the bounds have teeth: one posterior standard deviation off is told apart
    assert c2st(found[0] + np.sqrt(np.diag(covariance)), exact[0], rng) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_ranks_over_the_prior_are_uniform_but_for_what_is_not_learnt(name: str, folder: Path) -> None:
    """SBC over 300 new observations accepts at 1e-4: what is left unlearnt is below what 300 rows can show."""
    rng = np.random.default_rng(12)
    z = rng.standard_normal((300, 2))
    x = z @ MIXING.T + NOISE * rng.standard_normal((300, len(MIXING)))
    assert (ecdf_p(sbc_ranks(z, draw(trained(name, folder), x, 199)), 199) >= 1e-4).all()

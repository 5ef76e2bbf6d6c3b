"""A neuron's sweeps together, from the configuration to the posterior, against a model whose posterior is known."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

import neuroinf
from neuroinf.construction import build
from neuroinf.datasets import Observation, Simulation, SimulationDataModule, generate
from neuroinf.datasets.views import Views
from neuroinf.errors import InputError
from neuroinf.experiment import experiment
from neuroinf.models.amortized import AmortizedInference
from neuroinf.networks import BiLSTM, Gaussian, SweepPooling
from neuroinf.priors import Parameter, Prior
from neuroinf.specification import specify
from neuroinf.stimuli import LongSquare
from neuroinf.training import train

SWEEPS, SAMPLES, NEURONS = 5, 20, 500
NOISE = (SAMPLES / 10) ** 0.5  # the mean of a sweep has variance 1/10 around the truth


class NoisyLevel:
    """A membrane that rests at a level, which is normal under the prior, in white noise."""

    parameters, units, stimulus_unit = ("level",), ("1",), "pA"

    def __init__(self) -> None:
        self.channels = {"voltage": "mV"}

    def simulate(self, theta: NDArray[Any], stimulus: NDArray[Any], dt: float, seed: Any = 0) -> dict[str, Any]:
        noise = np.stack([np.random.default_rng(s).standard_normal(stimulus.shape[-1]) for s in seed])
        return {"voltage": stats.norm.ppf(theta) + NOISE * noise}


def level(n: int, seed: int) -> Simulation:
    stimulus = LongSquare(duration=float(SAMPLES), dt=1.0, amplitude=1.0, start=2.0, stop=10.0, unit="pA")
    prior = Prior({"level": Parameter("1", 0.0, 1.0)})
    return Simulation(NoisyLevel(), prior, stimulus, n=n, dt=1.0, record_dt=1.0, seed=seed, waveforms=1, sweeps=SWEEPS)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[AmortizedInference, torch.Tensor, torch.Tensor]:
    """A network trained on 2,400 neurons; sweeps (N, S, 1, T) and truth (N, 1) of new ones."""
    folder = tmp_path_factory.mktemp("level")
    observation = Observation(channels=("voltage",))
    data = SimulationDataModule(
        level(2400 * SWEEPS, 1),
        observation,
        str(folder / "train.h5"),
        batch_size=250,
        together=0.5,
        simulation_workers=1,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AmortizedInference(
            data.prior,
            observation,
            encoder=partial(BiLSTM, hidden=4, roles=["response"]),
            density=partial(Gaussian, hidden=[32]),
            pooling=partial(SweepPooling, width=16),
            lr=1e-2,
        )
        trainer = L.Trainer(
            max_epochs=6,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            accelerator="cpu",
            gradient_clip_val=1.0,
        )
        trainer.fit(model, data)
    path = generate(level(NEURONS * SWEEPS, 2), folder / "test.h5", workers=1)
    views = Views(path, observation, data.prior, float(SAMPLES), 0, hold=True)
    x, z = views[(0, np.arange(NEURONS * SWEEPS).reshape(NEURONS, SWEEPS))]
    torch.set_num_threads(threads)
    return model.eval(), x, z


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4, 5])
def test_more_sweeps_are_surer_and_right(
    learnt: tuple[AmortizedInference, torch.Tensor, torch.Tensor], sweeps: int
) -> None:
    r"""Against the exact posterior :math:`\mathcal N(10 S \bar y, 1) / (1 + 10 S)`, and coverage of the truth.

    500 neurons, 90 % intervals: two-sided binomial bounds with a false-alarm rate of 1e-4.
    """
    model, x, z = learnt
    with torch.no_grad():
        found: Any = model.density.posterior(model(x[:, :sweeps]))
    mean, sd = found.mean[:, 0], found.stddev[:, 0]
    precision = 1 + 10 * sweeps
    exact = 10 * sweeps * x[:, :sweeps].mean((1, 2, 3)) / precision
    assert sd.mean() == pytest.approx(precision**-0.5, rel=0.1)
    # what the network adds to the error is small against the posterior's own width
    assert ((mean - exact).square().mean() * precision) ** 0.5 < 0.5
    inside = int(((z[:, 0] - mean).abs() < stats.norm.ppf(0.95) * sd).sum())
    assert stats.binom.ppf(0.5e-4, NEURONS, 0.9) <= inside <= stats.binom.isf(0.5e-4, NEURONS, 0.9)


def test_any_number_and_order_and_an_absent_sweep(
    learnt: tuple[AmortizedInference, torch.Tensor, torch.Tensor],
) -> None:
    """A batch of neurons with 1 to 5 sweeps, the missing ones nan, in any order, equals each neuron alone."""
    model, x, _ = learnt
    x = x[:SWEEPS].clone()
    for neuron in range(SWEEPS):
        x[neuron, neuron + 1 :] = torch.nan
    with torch.no_grad():
        together, reverse = model(x), model(x.flip(1))
        alone = torch.cat([model(x[n : n + 1, : n + 1]) for n in range(SWEEPS)])
        bare = model(x[:1, 0])
    for other in (reverse, alone):
        torch.testing.assert_close(together, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[:1], bare, rtol=1e-5, atol=1e-5)


POOLING = {"class_path": "neuroinf.networks.SweepPooling", "init_args": {"width": 16}}


def test_from_a_configuration_to_a_checkpoint_and_a_posterior(
    tiny: Callable[..., Any], write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    changes = {"data.simulation.sweeps": 5, "data.together": 0.5, "model.pooling": POOLING, "trainer.max_epochs": 1}
    write_config(tmp_path / "tiny.yaml", tiny(changes))
    estimator = neuroinf.load(train(["--config", "tiny.yaml", "--model.pooling.width=24"]))
    assert isinstance(estimator.encoder, SweepPooling) and estimator.encoder.width == 24
    again = build(specify(estimator.encoder), torch.nn.Module)
    assert specify(again) == specify(estimator.encoder)
    x = np.random.default_rng(0).normal(size=(7, 3, 200)).astype(np.float32)
    five, order = estimator.posterior(x[:5]), estimator.posterior(x[[3, 0, 4, 1, 2]])
    assert five.mean == pytest.approx(order.mean, rel=1e-4)
    # more than the network was trained on are put together afterwards
    assert all(np.isfinite(value) for value in estimator.posterior(x).mean.values())


def test_sets_need_a_pooling(tiny: Callable[..., Any], write_config: Any, tmp_path: Path) -> None:
    path = write_config(tmp_path / "tiny.yaml", tiny({"data.simulation.sweeps": 5, "data.together": 0.5}))
    with pytest.raises(InputError, match=r"give model\.pooling"):
        experiment(["--config", str(path)])

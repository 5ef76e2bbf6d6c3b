"""Each row once per epoch, in an order and with noise that depend on seed and epoch alone, from memory or from disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from neuroinf.datasets import HeldOutWaveforms, Observation, Simulation, SimulationDataModule, generate
from neuroinf.datasets.batches import EpochBatches
from neuroinf.datasets.views import Views
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLIF
from neuroinf.stimuli import LongSquare, Noise1, Noise2, OrnsteinUhlenbeck


def small(n: int = 120, **changes: object) -> Simulation:
    prior = Prior({"C": Parameter("pF", 50.0, 150.0), "El": Parameter("mV", -80.0, -60.0)})
    neuron = GLIF(level=1, frame="absolute", fixed={"R_input": 0.2, "th_inf": 20.0, "spike_cut_length": 3.0})
    stimulus = OrnsteinUhlenbeck(duration=200.0, mean=[0.5, 1.2])
    arguments = {"simulator": neuron, "prior": prior, "stimulus": stimulus, "n": n, "dt": 0.1, "record_dt": 0.5}
    return Simulation(**{**arguments, "waveforms": 16, "seed": 3, **changes})


OBSERVATION = Observation(dt=1.0, noise={"voltage": [0.1, 1.0]}, duration=[50.0, 200.0], spike_cut=3.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(small(), tmp_path_factory.mktemp("data") / "small.h5", workers=1)


def module(path: Path, **changes: object) -> SimulationDataModule:
    arguments = {"simulation": small(), "observation": OBSERVATION, "path": str(path), "batch_size": 16}
    data = SimulationDataModule(**{**arguments, **changes})
    data.prepare_data()
    data.setup("fit")
    return data


def epoch_of(data: SimulationDataModule, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    padded = [pad(x, (0, 200 - x.shape[-1]), value=torch.nan) for x, _ in batches]
    return torch.cat(padded), torch.cat([z for _, z in batches])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("memory_limit", [0.0, 4.0])
def test_each_row_once_and_the_same_whatever_reads(path: Path, workers: int, memory_limit: float) -> None:
    reference = module(path)
    data = module(path, workers=workers, memory_limit=memory_limit)
    x, z = epoch_of(data, 1)
    expected_x, expected_z = epoch_of(reference, 1)
    assert torch.equal(z, expected_z) and torch.equal(x.nan_to_num(-999), expected_x.nan_to_num(-999))
    rows = reference.partition.train
    assert len(z) == len(rows) == len(torch.unique(z, dim=0))


def test_epochs_differ_in_order_and_noise(path: Path) -> None:
    data = module(path)
    (x0, z0), (x1, z1) = epoch_of(data, 0), epoch_of(data, 1)
    assert not torch.equal(z0, z1)
    assert torch.equal(z0[z0[:, 0].argsort()], z1[z1[:, 0].argsort()])
    a, b = x0[z0[:, 0].argsort()], x1[z1[:, 0].argsort()]
    assert not torch.equal(a.nan_to_num(), b.nan_to_num())


def test_shuffles_well() -> None:
    """Rank correlation of position and row within 4 standard errors (1/sqrt(n)): false-alarm rate 6e-5."""
    order = np.concatenate([rows[:, 0] for _, rows in EpochBatches(np.arange(5000)[:, None], 64, seed=0, shuffle=True)])
    assert abs(np.corrcoef(order, np.arange(5000))[0, 1]) < 4 / np.sqrt(5000)


def test_validation_is_always_the_same(path: Path) -> None:
    first, second = (list(module(path).val_dataloader()) for _ in range(2))
    for (x, z), (x2, z2) in zip(first, second, strict=True):
        assert torch.equal(x.nan_to_num(-999), x2.nan_to_num(-999)) and torch.equal(z, z2)


def test_view_is_the_file_at_the_observed_step(path: Path) -> None:
    """Noise-free, the view is every second stored sample, and the truth is the file's."""
    simulation = small()
    clean = Observation(dt=1.0, spike_cut=3.0)
    views = Views(path, clean, simulation.prior, simulation.duration, seed=0, hold=False)
    x, z = (part[0] for part in views[(0, np.array([[5]]))])
    content = views.file.rows(np.array([5]))
    np.testing.assert_array_equal(x[0].numpy(), content.continuous["voltage"][0, 1::2])
    np.testing.assert_allclose(
        simulation.prior.from_unconstrained(z.double()).numpy(), views.file.parameters[5], rtol=1e-5
    )
    assert float(x[1].sum()) == pytest.approx(len(content.spikes[0]), abs=1)


def test_test_stimulus(tmp_path: Path) -> None:
    """Train on Noise 1, test on Noise 2: other waveform, other seed, same prior."""
    train = small(stimulus=Noise1(duration=200.0, layout="compact"))
    test = Noise2(duration=200.0, layout="compact")
    data = module(tmp_path / "a.h5", simulation=train, test_stimulus=test, test_rows=10)
    simulation = data.test_simulation()
    assert simulation.n == 10 and simulation.seed != train.seed
    assert isinstance(simulation.stimulus, Noise2) and isinstance(data.simulation.stimulus, Noise1)


def test_held_out_waveforms(path: Path) -> None:
    data = module(path, split=HeldOutWaveforms(test=0.25))
    assert len(data.partition.test) > 0


def test_other_simulation_is_refused(path: Path) -> None:
    from neuroinf.errors import InputError

    with pytest.raises(InputError, match="stimulus"):
        module(path, simulation=small(stimulus=LongSquare(duration=200.0, start=20.0, stop=150.0)))

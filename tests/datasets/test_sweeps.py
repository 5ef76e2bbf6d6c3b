"""Several sweeps of a neuron: the same parameters, each its own waveform and noise; together in a split and a batch."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

from neuroinf.datasets import Observation, Simulation, SimulationDataModule, generate
from neuroinf.datasets.batches import EpochBatches
from neuroinf.datasets.layout import datasets
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.shards import Shards
from neuroinf.datasets.views import Views
from neuroinf.errors import InputError
from neuroinf.priors import GridPrior, Parameter, Prior
from neuroinf.priors.grid import GridParameter
from neuroinf.simulators import GLIF
from neuroinf.specification import specify
from neuroinf.stimuli import OrnsteinUhlenbeck

Make = Callable[..., Simulation]
S = 5


def contents(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: d[...].tobytes() for name, d in datasets(file).items()}


# -- the file --------------------------------------------------------------------------------------------------------


def test_one_sweep_each_is_the_file_of_before(simulation: Make, tmp_path: Path) -> None:
    """Checksums of the file that the program wrote when a neuron could only have one sweep."""
    path = generate(simulation(), tmp_path / "f.h5", workers=1)
    found = {name: zlib.crc32(content) for name, content in contents(path).items()}
    assert found["parameters"] == 3808532899 and found["stimulus/index"] == 3530859812
    assert found["response/voltage"] == 3488120151 and "neuron" not in found
    file = Dataset(path)
    assert file.sweeps == 1 and np.array_equal(file.neuron, np.arange(60))


def test_a_file_from_before_the_argument_is_the_file_of_one_sweep(simulation: Make, tmp_path: Path) -> None:
    without: Any = specify(simulation())
    del without["init_args"]["sweeps"]
    path = generate(simulation(), tmp_path / "f.h5", spec=without, workers=1)
    before = path.stat().st_mtime_ns
    assert generate(simulation(), path) == path and path.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"sweeps .* 5 / 1"):
        generate(simulation(sweeps=S), path)


def test_sweeps_share_parameters_and_nothing_else(simulation: Make, tmp_path: Path) -> None:
    single = Dataset(generate(simulation(waveforms=1000), tmp_path / "single.h5", workers=1))
    file = Dataset(generate(simulation(waveforms=1000, sweeps=S), tmp_path / "f.h5", workers=1))
    assert file.sweeps == S and np.array_equal(file.neuron, np.arange(60) // S)
    theta = file.parameters.reshape(12, S, 2)
    assert (theta == theta[:, :1]).all() and len(np.unique(theta[:, 0, 0])) == 12
    # seed and waveform are the row's, the parameters those of the neuron's first row
    assert np.array_equal(theta[:, 0], single.parameters[::S])
    assert np.array_equal(file.waveform_index, single.waveform_index) and len(np.unique(file.waveform_index)) > 50
    voltage = file.rows(range(60)).continuous["voltage"]
    assert len(np.unique(voltage[:, 0])) > 50
    assert "neurons: 12, 5 sweeps each" in file.describe()
    file.verify()


@pytest.mark.parametrize("shard_rows", [7, 13])
def test_shards_may_divide_a_neuron(simulation: Make, tmp_path: Path, shard_rows: int) -> None:
    whole = generate(simulation(sweeps=S), tmp_path / "whole.h5", workers=1, shard_rows=1000)
    path = tmp_path / "parts.h5"
    shards = Shards(path, specify(simulation(sweeps=S)), shard_rows)  # begun, and left after one shard
    shards.write_bank(*simulation(sweeps=S).bank())
    rows = simulation(sweeps=S).rows(shard_rows, 2 * shard_rows, *shards.read_bank())
    shards.write(shard_rows, rows.datasets(), 0.0)
    assert contents(generate(simulation(sweeps=S), path, workers=1, shard_rows=shard_rows)) == contents(whole)


def test_an_enumerated_grid_goes_through_neurons(simulation: Make, toy: Any, tmp_path: Path) -> None:
    grid = GridPrior(
        {"leak": GridParameter("1/ms", [0.1, 0.2]), "gain": GridParameter("1", [0.4, 0.5, 0.6])}, enumerate=True
    )
    file = Dataset(generate(simulation(prior=grid, n=18, sweeps=3), tmp_path / "f.h5", workers=1))
    np.testing.assert_array_equal(file.parameters, np.repeat(grid.grid(), 3, axis=0))


def test_a_grouping_that_is_none_is_refused(simulation: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"multiple of simulation\.sweeps, found 60 and 7"):
        simulation(sweeps=7)
    with pytest.raises(InputError, match="sweeps must be at least 1"):
        simulation(sweeps=0)
    path = generate(simulation(sweeps=S), tmp_path / "f.h5", workers=1)
    with h5py.File(path, "r+") as file:
        file["neuron"][4] = 1  # type: ignore[index]
    with pytest.raises(InputError, match="neuron does not number"):
        Dataset(path).verify()


# -- batches ---------------------------------------------------------------------------------------------------------

NEURONS = np.arange(100 * S).reshape(100, S)


def epoch(number: int = 0, **changes: Any) -> list[np.ndarray]:
    batches = EpochBatches(
        **({"neurons": NEURONS, "batch_size": 16, "seed": 4, "shuffle": True, "together": 0.5} | changes)
    )
    batches.set_epoch(number)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert all(e == (number if batches.shuffle else 0) for e, _ in drawn)
    return [rows for _, rows in drawn]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_each_sweep_once_in_sets_of_one_neuron(shuffle: bool, together: float) -> None:
    batches = epoch(shuffle=shuffle, together=together)
    assert np.array_equal(np.sort(np.concatenate([rows.ravel() for rows in batches])), np.arange(100 * S))
    for rows in batches:
        assert (rows // S == rows[:, :1] // S).all() and rows.size <= 16
    sizes = {rows.shape[1] for rows in batches}
    assert sizes == ({1} if together == 0 else {1, 2, 3, 4, 5})
    # singles: the sweeps of the other neurons, and what cutting 5 into twos and fours leaves over
    singles = sum(rows.size for rows in batches if rows.shape[1] == 1)
    assert singles == S * round(100 * (1 - together)) + {0.0: 0, 0.5: 25, 1.0: 50}[together]


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    ours, again, next_epoch, other = epoch(3), epoch(3), epoch(4), epoch(3, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(ours, again, strict=True))
    assert len(ours) == len(next_epoch)
    for different in (next_epoch, other):
        assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(ours, different, strict=True))


def test_the_sweeps_of_a_set_are_drawn_anew_each_epoch() -> None:
    """Over 40 epochs, the pairs of sweeps that come together are of every kind: 200 draws miss one of 10 with 1e-8."""
    pairs = {
        tuple(sorted(row % S))
        for e in range(40)
        for rows in epoch(e)
        if rows.shape[1] == 2
        for row in rows.tolist()
        for row in [np.array(row)]
    }
    assert len(pairs) == 10


@pytest.mark.parametrize("together", [0.0, 0.5])
def test_processes_share_an_epoch(together: float) -> None:
    whole = epoch(2, together=together)
    shares = [epoch(2, together=together, process=p, processes=3) for p in range(3)]
    assert len({len(share) for share in shares}) == 1
    together_again = [shares[i % 3][i // 3] for i in range(len(whole))]
    assert all(np.array_equal(a, b) for a, b in zip(whole, together_again, strict=True))


# -- views -----------------------------------------------------------------------------------------------------------

OBSERVATION = Observation(dt=1.0, noise={"voltage": [0.1, 1.0]}, duration=[50.0, 200.0], spike_cut=3.0)


def spiking() -> Simulation:
    prior = Prior({"C": Parameter("pF", 50.0, 150.0), "El": Parameter("mV", -80.0, -60.0)})
    neuron = GLIF(level=1, frame="absolute", fixed={"R_input": 0.2, "th_inf": 20.0, "spike_cut_length": 3.0})
    stimulus = OrnsteinUhlenbeck(duration=200.0, mean=(0.5, 1.2))
    return Simulation(neuron, prior, stimulus, n=150, dt=0.1, record_dt=0.5, waveforms=64, seed=3, sweeps=S)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(spiking(), tmp_path_factory.mktemp("data") / "sweeps.h5", workers=1)


def module(path: Path, **changes: Any) -> SimulationDataModule:
    data = SimulationDataModule(
        spiking(), OBSERVATION, str(path), **({"batch_size": 16, "together": 0.5, "simulation_workers": 1} | changes)
    )
    data.prepare_data()
    data.setup("fit")
    return data


def seen(data: SimulationDataModule, number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader: Any = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def test_the_same_batches_whatever_reads_them(path: Path) -> None:
    ours, theirs = seen(module(path), 1), seen(module(path, workers=2, memory_limit=0.0), 1)
    assert {x.ndim for x, _ in ours} == {3, 4}
    for (x, z), (other_x, other_z) in zip(ours, theirs, strict=True):
        assert torch.equal(x.nan_to_num(-999), other_x.nan_to_num(-999)) and torch.equal(z, other_z)


def test_a_set_is_its_sweeps_each_with_its_own_noise(path: Path) -> None:
    loader: Any = module(path).train_dataloader()
    epoch_number, rows = next(draw for draw in loader.sampler if draw[1].shape[1] == 3)
    whole = replace(OBSERVATION, duration=None)  # not cut: the noise is then what differs from the file
    views = Views(path, whole, spiking().prior, spiking().duration, seed=0, hold=True)
    x, z = views[(epoch_number, rows)]
    clean = views.observe(rows.ravel()).reshape(*rows.shape, 3, 200)
    assert x.shape == (len(rows), 3, 3, 200) and z.shape == (len(rows), 2)
    for neuron in range(len(rows)):
        assert torch.equal(z[neuron], views.z[rows[neuron, 2]])
    noise = (x[:, :, 0].numpy() - clean[:, :, 0]).reshape(rows.size, 200)
    seen = np.isfinite(noise)
    for i, j in combinations(range(rows.size), 2):
        both = seen[i] & seen[j]
        # of white noises the correlation has the standard deviation 1 / sqrt(number of samples)
        r = np.corrcoef(noise[i, both], noise[j, both])[0, 1]
        assert both.sum() > 50 and abs(r) < stats.norm.isf(0.5e-4 / rows.size**2) / np.sqrt(both.sum())


def test_validation_is_always_the_same_and_holds_both(path: Path) -> None:
    data = module(path, split=None)
    first, second = list(data.val_dataloader()), list(module(path).val_dataloader())
    assert data.partition is not None and len(data.partition.val) % S == 0
    assert not set(data.partition.val // S) & set(data.partition.train // S)
    for (x, z), (other_x, other_z) in zip(first, second, strict=True):
        assert torch.equal(x.nan_to_num(-999), other_x.nan_to_num(-999)) and torch.equal(z, other_z)
    assert {x.ndim for x, _ in first} == {3, 4}


def test_sets_of_single_sweeps_are_refused(path: Path) -> None:
    single = replace(spiking(), sweeps=1)
    with pytest.raises(InputError, match="every neuron has one sweep"):
        SimulationDataModule(single, OBSERVATION, str(path), together=0.5)
    with pytest.raises(InputError, match="fraction"):
        SimulationDataModule(spiking(), OBSERVATION, str(path), together=1.5)

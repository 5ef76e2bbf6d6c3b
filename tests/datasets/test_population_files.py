"""Populations in the HDF5 contract: made, resumed, read back, described."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from neuroinf.commands.info import info
from neuroinf.commands.simulate import simulate
from neuroinf.construction import simulation_from_spec
from neuroinf.datasets import generation
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.layout import datasets
from neuroinf.datasets.populations import simulated
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.shards import Shards
from neuroinf.errors import InputError
from neuroinf.priors import NoParameters, Prior
from neuroinf.simulators import LinearDynamics, PoissonObservation, Population
from neuroinf.stimuli import Constant

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("configs/latent_*.yaml"))


def simulation(**changes: Any) -> Simulation:
    population = Population(
        LinearDynamics(2), PoissonObservation(50.0, gain=0.5), 4, layers=2, private=LinearDynamics(1)
    )
    given: dict[str, Any] = {"n": 13, "dt": 10.0, "record_dt": 10.0, "seed": 2}
    return Simulation(population, NoParameters(), Constant(300.0, 10.0), **(given | changes))


def contents(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: d[...].tobytes() for name, d in datasets(file).items()}


def test_file_is_what_the_simulator_says(tmp_path: Path) -> None:
    file = Dataset(generate(simulation(), tmp_path / "f.h5"))
    file.verify()
    assert file.n == 13 and file.names == () and file.parameters.shape == (13, 0)
    assert isinstance(file.prior, NoParameters) and isinstance(Prior.from_dict(file.prior.to_dict()), NoParameters)
    assert file.channels == {"activity": "count"} and file.groups["activity"].tolist() == [0] * 4 + [1] * 4
    rows = file.rows([3, 3, 0])
    assert rows.continuous["activity"].shape == (3, 8, 30) and rows.parameters.shape == (3, 0)
    again = simulation_from_spec(file.specification)
    found = again.rows(0, 13, *again.bank()).datasets()
    np.testing.assert_array_equal(rows.continuous["activity"], found["response/activity"][[3, 3, 0]])
    for name in ("factors", "rates"):
        np.testing.assert_array_equal(file.latent(name, [3, 3, 0]), found[f"latent/{name}"][[3, 3, 0]])


def test_file_does_not_depend_on_shards_nor_on_when_it_was_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(generate(simulation(), tmp_path / "whole.h5", workers=1))
    assert contents(generate(simulation(), tmp_path / "parts.h5", workers=1, shard_rows=3)) == whole
    write, written = Shards.write, []

    def breaking(self: Shards, start: int, *rest: Any) -> float:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(start)
        return write(self, start, *rest)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt, match="6 of 13 rows are kept"):
        broken.setattr(Shards, "write", breaking)
        generate(simulation(), tmp_path / "broken.h5", workers=1, shard_rows=3)
    assert contents(generate(simulation(), tmp_path / "broken.h5", workers=1)) == whole


def test_shards_of_large_rows_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory must not grow with N: two channels' worth of 8 neurons x 30 bins and the rates are 1,920 bytes a row."""
    sizes: list[int] = []
    make = Shards.__init__

    def noting(self: Shards, path: Path, specification: Any, shard_rows: int) -> None:
        sizes.append(shard_rows)
        make(self, path, specification, shard_rows)

    monkeypatch.setattr(Shards, "__init__", noting)
    monkeypatch.setattr(generation, "SHARD_BYTES", 3 * simulation().row_bytes)
    generate(simulation(), tmp_path / "f.h5", workers=1)
    assert sizes == [3]


def test_many_neurons_have_their_groups_in_the_file(tmp_path: Path) -> None:
    """The published recording's 10,179: attributes beyond 64 kB."""
    population = Population(LinearDynamics(2), PoissonObservation(50.0, gain=0.5), 1131, layers=9)
    wide = Simulation(population, NoParameters(), Constant(30.0, 10.0), n=2, dt=10.0, record_dt=10.0)
    data = simulated(generate(wide, tmp_path / "wide.h5", workers=1))
    assert np.bincount(data.group).tolist() == [1131] * 9


def test_population_of_a_file(tmp_path: Path) -> None:
    path = generate(simulation(), tmp_path / "f.h5")
    file, data = Dataset(path), simulated(path, [4, 2])
    assert (data.kind, data.dt, data.neurons, data.bins) == ("counts", 10.0, 8, 60)
    assert data.factors is not None and data.rates is not None and data.group.tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(data.activity[0], file.rows([4]).continuous["activity"][0].T)
    np.testing.assert_array_equal(data.factors[1], file.latent("factors", [2])[0].T)
    np.testing.assert_array_equal(data.rates[1], file.latent("rates", [2])[0].T)


def test_file_of_single_neurons_is_refused(simulation: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected simulations of a population"):
        simulated(generate(simulation(), tmp_path / "toy.h5"))


def test_a_channel_without_the_neurons_axis_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    respond = Population.simulate

    def flat(self: Population, *arguments: Any) -> Any:
        found = respond(self, *arguments)
        return found | {"activity": np.asarray(found["activity"])[:, 0]}

    monkeypatch.setattr(Population, "simulate", flat)
    with pytest.raises(InputError, match=r"of shape \(\d+, 30\); expected .* of shape \(\d+, 8, 30\)"):
        generate(simulation(), tmp_path / "f.h5", workers=1)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configuration_is_simulated_and_described(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stimulus = "--data.simulation.stimulus.init_args.duration=200.0"
    neurons = "--data.simulation.simulator.init_args.neurons=5"
    target = tmp_path / "f.h5"
    simulate(["--config", str(config), "--output", str(target), stimulus, neurons, "--data.simulation.n=2"])
    info([str(target)])
    said = capsys.readouterr().out
    given = yaml.safe_load(config.read_text())["data"]["simulation"]["simulator"]["init_args"]
    dynamics, layers = given["dynamics"], given.get("layers", 1)
    dimension = dynamics["init_args"].get("dimension", 3)
    assert f"of {5 * layers} neurons in {layers} group(s), 20 samples a row" in said
    assert f"latent/factors: {dimension} x 20 a row, unit 1" in said


def test_keys_of_the_training_are_passed_over_and_misspelt_ones_of_the_simulation_are_not(tmp_path: Path) -> None:
    written = yaml.safe_load(CONFIGS[0].read_text())
    made = {"class_path": "pathlib.Path.touch", "init_args": {"self": str(tmp_path / "it_ran")}}
    written["data"] |= {"batch_size": 3, "hidden": {"entries": 0.2}, "split": made, "parts": [1, made]}
    written["data"]["simulation"] |= {"n": 1}
    written["model"] = {"lr": 1.0}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(written))
    simulate(["--config", str(config), "--output", str(tmp_path / "f.h5"), "--data.batch_size=4"])
    assert Dataset(tmp_path / "f.h5").n == 1 and not (tmp_path / "it_ran").exists()
    with pytest.raises(InputError, match="nn"):
        simulate(["--config", str(config), "--output", str(tmp_path / "g.h5"), "--data.simulation.nn=4"])
    assert not (tmp_path / "g.h5").exists()

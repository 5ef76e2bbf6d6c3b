"""Files of networks: which neuron each spike is of, and the rates, as simulated, whatever way the file came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import STATUS, Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.priors.ranges import Parameter
from neuroinf.simulators import Circuit, MesoscopicNetwork, MicroscopicNetwork
from neuroinf.stimuli import CurrentStep


def simulation(simulator: Any, n: int = 7) -> Simulation:
    prior = Prior({"mu_E": Parameter("1", 0.0, 12.0), "mu_I": Parameter("1", 5.0, 9.0)})
    stimulus = CurrentStep(2, [0], 400.0, amplitude=(0.0, 300.0), start=100.0, stop=200.0)
    return Simulation(simulator, prior, stimulus, n, 4.0, 4.0, seed=3, waveforms=3)


def circuit(size: int = 60) -> Circuit:
    return Circuit(names=["E", "I"], sizes=[size, 20], connections=[[1, 1], [-1, -1]], J=3.0, free=["mu_E", "mu_I"])


@pytest.mark.parametrize("kind", [MicroscopicNetwork, MesoscopicNetwork])
def test_file_holds_what_was_simulated(kind: type, tmp_path: Path) -> None:
    simulator = kind(circuit(), recorded=[3, 2])
    made = simulation(simulator)
    data = Dataset(generate(made, tmp_path / "a.h5", workers=1, shard_rows=3, progress=False))
    data.verify()
    other = generate(made, tmp_path / "b.h5", workers=2, shard_rows=7, progress=False)
    rows, again = data.rows([5, 0, 5]), Dataset(other).rows(range(7))
    assert rows.units is not None and rows.spikes is not None and again.units is not None and again.spikes is not None
    for i, row in enumerate([5, 0, 5]):
        assert len(rows.units[i]) == len(rows.spikes[i])
        np.testing.assert_array_equal(rows.units[i], again.units[row])
        np.testing.assert_array_equal(rows.spikes[i], again.spikes[row])
    np.testing.assert_array_equal(data.groups["spikes"], [0, 0, 0, 1, 1])
    assert data.latent("rates", [0, 1]).shape == (2, 2, 100) and rows.units[0].dtype == np.int16
    assert "of 5 neurons in 2 group(s)" in data.describe()
    # the same rows, straight from the simulator
    numbers, bank = made.bank()
    direct = made.rows(5, 6, numbers, bank)
    np.testing.assert_array_equal(direct.units[0], rows.units[0])
    np.testing.assert_array_equal(direct.arrays["latent/rates"][0][0], data.latent("rates", [5])[0])


def test_silent_and_saturated_rows_are_kept_and_counted(tmp_path: Path) -> None:
    simulator = MicroscopicNetwork(Circuit(names=["E"], sizes=[5], connections=[[0]], free=["mu_E"]), recorded=1)
    prior = Prior({"mu_E": Parameter("1", -10.0, 800.0)})
    stimulus = CurrentStep(1, [0], 400.0, amplitude=0.0, start=100.0, stop=200.0)
    made = Simulation(simulator, prior, stimulus, 200, 4.0, 4.0, seed=1)
    data = Dataset(generate(made, tmp_path / "a.h5", workers=1, progress=False))
    names = np.array(STATUS)[data.status]
    assert (names[data.parameters[:, 0] > 300.0] == "saturated").all() and (
        names[data.parameters[:, 0] < 0] == "silent"
    ).all()
    assert data.n == 200 and {"silent", "saturated"} < set(names)


@pytest.mark.parametrize("damage", ["shape", "range"])
def test_units_that_do_not_go_with_the_spikes(damage: str, tmp_path: Path) -> None:
    path = generate(simulation(MicroscopicNetwork(circuit())), tmp_path / "a.h5", workers=1, progress=False)
    with h5py.File(path, "r+") as file:
        units = np.asarray(file["response/spikes/unit"])
        if damage == "shape":
            group = dict(file["response/spikes/unit"].attrs)
            del file["response/spikes/unit"]
            file.create_dataset("response/spikes/unit", data=units[:-1]).attrs.update(group)
        else:
            units[0] = 77
            stored = file["response/spikes/unit"]
            assert isinstance(stored, h5py.Dataset)
            stored[...] = units
    with pytest.raises(InputError, match="response/spikes/unit"):
        Dataset(path).verify()


class Wrong(MicroscopicNetwork):
    """Forgets a unit."""

    def simulate(self, theta: Any, stimulus: Any, dt: float, seed: Any = 0) -> Any:
        response = super().simulate(theta, stimulus, dt, seed)
        response["units"] = [row[:-1] for row in response["units"]]
        return response


def test_simulator_whose_units_do_not_go_with_its_spikes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="units"):
        generate(simulation(Wrong(circuit())), tmp_path / "a.h5", workers=1, progress=False)

"""For benchmarks/novelty.py: a network trained on level 1, and neurons of level 5 that it has never seen the like of."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from neuroinf.inference import Estimator
from neuroinf.simulators import GLIF
from neuroinf.training import train

FloatArray = NDArray[np.float64]
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "glif.yaml"
PUBLISHED = "allen_glif_params.csv.gz"
SEED = 20_260_103
CHANGE = 0.3  # of the spike count, by adaptation
FEWEST_SPIKES = 5  # without adaptation: of fewer, 30 % is chance
NOISE = 0.5  # mV
ADAPTATION = ("asc_amp_1", "asc_amp_2", "a_spike", "a_voltage")
# 5th to 95th percentile of the published mouse fits (Teeter et al. 2018), where the fits themselves are not at hand
RANGES = {
    "C": (44.7, 160.6),
    "R_input": (0.098, 0.457),
    "El": (-81.3, -64.2),
    "th_inf": (16.0, 36.0),
    "asc_amp_1": (-75.0, 0.0),
    "asc_amp_2": (-470.0, 20.0),
    "asc_tau_1": (100.0, 100.0),
    "asc_tau_2": (10.0, 10.0),
    "reset_a": (0.05, 1.14),
    "reset_b": (-14.7, 5.0),
    "a_spike": (0.6, 7.3),
    "b_spike": (0.0165, 0.934),
    "a_voltage": (0.0014, 0.063),
    "b_voltage": (0.0147, 0.243),
}


def level_one(folder: Path, rows: int) -> Path:
    """A checkpoint trained on level 1, otherwise as the released one but for fewer simulations."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    data = config["data"]
    simulation = data["simulation"]
    simulation["simulator"]["init_args"] |= {
        "level": 1,
        "fixed": {"spike_cut_length": data["observation"]["spike_cut"]},
    }
    for name in ("asc_amp_1", "asc_amp_2"):
        del simulation["prior"]["init_args"]["parameters"][name]
    simulation |= {"n": rows, "waveforms": min(rows, 4096), "sweeps": 1}
    data |= {"path": str(folder / "level_1.h5"), "split": {"class_path": "neuroinf.datasets.RandomRows"}}
    data["split"]["init_args"] = {"val": 0.15}
    data.pop("together", None)
    config["model"]["encoder"] = {"class_path": "neuroinf.networks.ConvBiLSTM"}
    config["model"]["density"] = {"class_path": "neuroinf.networks.Gaussian"}
    config |= {"name": "level_1", "runs": str(folder / "runs")}
    config["trainer"] |= {"max_epochs": 3}
    path = folder / "level_1.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return train(["--config", str(path)])


def published(folder: Path | None, rng: np.random.Generator, n: int) -> dict[str, FloatArray]:
    """Parameters of n neurons of level 5: published fits in random order, or drawn from their ranges."""
    path = None if folder is None else folder / PUBLISHED
    if path is None or not path.is_file():
        return {name: rng.uniform(low, high, n) for name, (low, high) in RANGES.items()}
    with gzip.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["glif"] == "5" and row["species"] == "mouse"]
    chosen = [rows[i] for i in rng.integers(0, len(rows), n)]

    def column(name: str, factor: float = 1.0) -> FloatArray:
        return factor * np.array([float(row[name]) for row in chosen])

    # SI to the coherent set
    return {
        "C": column("C", 1e12),
        "R_input": column("R_input", 1e-9),
        "El": column("El_reference", 1e3),
        "th_inf": column("th_inf", 1e3) * column("coeff_th_inf"),
        "asc_amp_1": column("asc_amp1", 1e12),
        "asc_amp_2": column("asc_amp2", 1e12),
        "asc_tau_1": column("asc_tau1", 1e3),
        "asc_tau_2": column("asc_tau2", 1e3),
        "reset_a": column("reset_a"),
        "reset_b": column("reset_b", 1e3),
        "a_spike": column("a_spike", 1e3),
        "b_spike": column("b_spike", 1e-3),
        "a_voltage": column("a_voltage", 1e-3),
        "b_voltage": column("b_voltage", 1e-3),
    }


def adapting_neurons(
    estimator: Estimator, n: int, folder: Path | None
) -> dict[str, tuple[tuple[FloatArray, FloatArray, list[FloatArray]], float]]:
    """Up to n recordings (voltage, stimulus, spikes) of level-5 neurons whose adaptation changes the spike count by CHANGE
    or more, and their step; and as many of the estimator's own level. Those that adaptation keeps from spiking at all
    stand apart: without a spike no adaptation shows, and level 5 is level 1 with a higher threshold.
    """
    simulation, seen = estimator.simulation, estimator.observation
    assert simulation is not None and isinstance(simulation.simulator, GLIF)
    rng = np.random.default_rng(SEED)
    found: dict[str, tuple[tuple[FloatArray, FloatArray, list[FloatArray]], float]] = {}
    theta = published(folder, rng, 4 * n)
    prior = dict(
        zip(simulation.prior.names, zip(simulation.prior.low, simulation.prior.high, strict=True), strict=True)
    )
    inside = np.all([(theta[k] >= low) & (theta[k] <= high) for k, (low, high) in prior.items()], axis=0)
    theta = {k: v[inside] for k, v in theta.items()}
    five = GLIF(level=5, frame="absolute", fixed={"spike_cut_length": seen.spike_cut})
    adapting = np.stack([theta[k] for k in five.parameters], 1)
    not_adapting = np.stack([theta[k] * (k not in ADAPTATION) for k in five.parameters], 1)
    cases = {
        "level 5, adapting": (five, adapting, not_adapting),
        "level 1 (false alarms)": (
            simulation.simulator,
            *[np.stack([theta[k] for k in simulation.simulator.parameters], 1)] * 2,
        ),
    }
    current = np.stack([simulation.stimulus.sample(rng)[0] for _ in range(len(adapting))])
    current = current * np.asarray(five.rheobase(adapting))[:, None]
    fine = np.repeat(current, round(simulation.stimulus.dt / simulation.dt), axis=-1)[:, None]
    for name, (simulator, columns, reference) in cases.items():
        response, without = (simulator.simulate(c, fine, simulation.dt) for c in (columns, reference))
        count, plain = (np.array([len(s) for s in r["spikes"]]) for r in (response, without))
        different = (plain >= FEWEST_SPIKES) & (np.abs(count - plain) >= CHANGE * plain)
        groups = {name: np.full(len(count), True)}
        if simulator is five:
            groups = {name: different & (count > 0), f"{name}, silent": different & (count == 0)}
        every = round(seen.dt / simulation.dt)
        for group, chosen in groups.items():
            rows = np.flatnonzero(chosen)[:n]
            voltage = np.asarray(response["voltage"])[rows, every - 1 :: every]
            voltage = voltage + NOISE * rng.standard_normal(voltage.shape)
            spikes = [np.asarray(response["spikes"][i], np.float64) for i in rows]
            if len(rows):
                found[group] = ((voltage, current[rows], spikes), seen.dt)
    return found

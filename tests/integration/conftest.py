"""A small experiment, which every integration test changes to its needs."""

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out: for command_lines

Config = dict[str, Any]

TINY = """
name: tiny
data:
  path: data/tiny.h5
  simulation:
    simulator:
      class_path: neuroinf.simulators.GLIF
      init_args:
        level: 3
        frame: absolute
        fixed: {spike_cut_length: 3.8, asc_tau_1: 100.0, asc_tau_2: 10.0, asc_amp_1: -10.0, asc_amp_2: -50.0}
    prior:
      class_path: neuroinf.priors.Prior
      init_args:
        parameters:
          C: {unit: pF, low: 40.0, high: 200.0, scale: log}
          R_input: {unit: GOhm, low: 0.07, high: 0.7, scale: log}
          El: {unit: mV, low: -84.0, high: -60.0}
          th_inf: {unit: mV, low: 16.0, high: 41.0, scale: log}
    stimulus:
      class_path: neuroinf.stimuli.OrnsteinUhlenbeck
      init_args: {duration: 200.0, dt: 1.0, mean: [0.3, 1.2], sd: [0.1, 0.6], tau: [1.0, 20.0]}
    n: 300
    dt: 0.1
    record_dt: 1.0
    seed: 1
  observation:
    channels: [voltage, spikes, stimulus]
    dt: 1.0
    noise: {voltage: [0.05, 2.0]}
    missing: {voltage: 0.05}
    spike_cut: 3.8
  test_rows: 12
  split:
    class_path: neuroinf.datasets.RandomRows
    init_args: {val: 0.2}
  batch_size: 32
  simulation_workers: 1
model:
  encoder:
    class_path: neuroinf.networks.BiLSTM
    init_args: {hidden: 8}
  density:
    class_path: neuroinf.networks.Gaussian
    init_args: {hidden: [16]}
  lr: 2.0e-2
trainer:
  max_epochs: 3
  enable_progress_bar: false
"""


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Config]:
    """Makes the experiment's configuration, some dotted keys set to other values (None removes the key)."""

    def make(changes: dict[str, Any] | None = None) -> Config:
        config = deepcopy(yaml.safe_load(TINY))
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            place = config
            for parent in parents:
                place = place.setdefault(parent, {})
            if value is None:
                del place[last]
            else:
                place[last] = value
        return config

    return make


@pytest.fixture(scope="session")
def write_config() -> Callable[[Path, Config], Path]:
    """Writes a configuration as YAML, in the order of its keys."""

    def write(path: Path, config: Config) -> Path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    return write

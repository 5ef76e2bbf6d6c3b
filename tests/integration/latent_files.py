"""A small configuration of a population, as the configurations that come with the program."""

from pathlib import Path
from typing import Any

import yaml
from command_lines import ROOT


def write_config(path: Path, base: str = "latent_lorenz", **changes: Any) -> Path:
    """One of the configurations, of 8 neurons and a short training; part__key=value changes what stands there."""
    config = yaml.safe_load((ROOT / f"configs/{base}.yaml").read_text())
    config["data"] |= {"path": "data/tiny.h5", "steps": 4, "window": 40, "batch_size": 4, "simulation_workers": 1}
    config["data"]["simulation"]["simulator"]["init_args"]["neurons"] = 8
    config["data"]["simulation"]["stimulus"]["init_args"]["duration"] = 3000.0
    if base != "latent_bilstm":
        config["model"] |= {"channels": 8, "generator": [8]}
    config["trainer"] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
    for key, value in changes.items():
        part, names = config, key.split("__")
        for name in names[:-1]:
            part = part[name]
        part[names[-1]] = value
    path.write_text(yaml.safe_dump(config))
    return path

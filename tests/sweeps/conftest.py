"""A sweep of a program that takes milliseconds."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroinf.sweeps.sweep_file import Sweep, read_sweep

FAKE = {
    "program": str(Path(__file__).parent / "fake_trial.py"),
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-1},
        "width": {"values": [4, 8, 16]},
    },
}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Sweep]:
    """Makes the sweep, some of its keys set to other values."""

    def make(parameters: dict[str, Any] | None = None, **changes: Any) -> Sweep:
        config = deepcopy(FAKE) | changes
        config["parameters"] = config["parameters"] | (parameters or {})
        path = tmp_path / "fake.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return read_sweep(path)

    return make

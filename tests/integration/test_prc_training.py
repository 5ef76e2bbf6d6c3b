"""What a training adds to a network of responses: components before the first step, widths after the last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_prc_evaluation import LNL

from neuroinf.training import train

COMPONENTS = {"model.encoder.class_path": "neuroinf.networks.TraceEncoder"} | {
    f"model.encoder.init_args.{key}": value for key, value in {"samples": 150, "hidden": 8, "components": 3}.items()
}


def test_components_are_found_before_training_and_widths_after_it(
    tmp_path: Path, tiny: Callable[..., Any], write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 of the rows validate: the factors differ from 1 after one epoch, and are all that the release changes."""
    changes = LNL | COMPONENTS | {"data.simulation.n": 800, "trainer.max_epochs": 1}
    changes["data.split.init_args"] = {"val": 0.5}
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    final = train(["--config", str(write_config(tmp_path / "lnl.yaml", tiny(changes)))])
    trained, released = (
        torch.load(path, map_location="cpu", weights_only=True) for path in (final.with_name("joint.ckpt"), final)
    )
    before, after = trained["state_dict"], released["state_dict"]
    assert before["encoder.encoder.projection.basis"].any()
    factors = torch.tensor(released["neuroinf"]["width_factors"])
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(moved) == 1 and moved[0].startswith("density.") and moved[0].endswith("bias")
    change, p = after[moved[0]] - before[moved[0]], len(factors)
    assert torch.allclose(change[p : 2 * p].exp(), factors, atol=1e-4)
    assert not change[:p].any() and not change[2 * p :].any() and (factors - 1).abs().max() > 0.01

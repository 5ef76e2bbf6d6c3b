"""A trained checkpoint, opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import nn

from neuroinf.checkpoints import read_checkpoint
from neuroinf.construction import build
from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.estimator import Estimator
from neuroinf.models.novelty import Novelty
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.networks.densities import Density
from neuroinf.networks.encoders import Encoder
from neuroinf.priors import Prior


def load(path: str | Path, trust: Sequence[str] = ()) -> Estimator:
    """Open a checkpoint for inference.

    Args:
        path: The checkpoint. It is opened without running any code that it might hold.
        trust: Packages beside neuroinf whose classes the checkpoint may name, such as your own simulator's.

    Raises:
        InputError: if it is no such checkpoint, or names a class of a package that is not trusted.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path, "amortized")
    content = checkpoint["neuroinf"]
    try:
        encoder, density = (build(content[part], nn.Module, trust) for part in ("encoder", "density"))
        activity = build(content["activity"], ActivityNetwork, trust) if content.get("activity") else None
        prior, observation = build(content["prior"], Prior, trust), build(content["observation"], Observation, trust)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    weights = checkpoint["state_dict"]
    parts = {"encoder": encoder, "density": density} | ({} if activity is None else {"activity": activity})
    for name, module in parts.items():
        part = {k.removeprefix(name + "."): v for k, v in weights.items() if k.startswith(name + ".")}
        try:
            module.load_state_dict(part)
        except RuntimeError as error:
            raise InputError(
                f"{path}: the weights do not fit its own description of the {name}: the file is damaged"
            ) from error
        module.eval()
    return Estimator(
        path=path,
        prior=prior,
        observation=observation,
        encoder=cast(Encoder, encoder),
        density=cast(Density, density),
        novelty=Novelty.from_plain(content.get("novelty")),
        history=content["history"],
        training_seconds=content["training_seconds"],
        provenance=content["provenance"],
        trust=tuple(trust),
        activity=activity,
    )


__all__ = ["Estimator", "load"]

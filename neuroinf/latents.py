"""A trained model of a population's latents, opened: `load_latents(checkpoint).infer(activity)`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroinf.checkpoints import read_checkpoint
from neuroinf.errors import InputError
from neuroinf.fits.autoencoder_latents import AutoencoderLatents
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder


@dataclass(frozen=True)
class LatentCheckpoint(AutoencoderLatents):
    """A network of a checkpoint, and what the checkpoint says of its training.

    Attributes:
        path: The checkpoint.
        history: Losses after each epoch.
        training_seconds: All epochs together.
        provenance: What its data were: `data`, the arguments of the data module; `simulation`, of the simulated ones.
    """

    path: Path = Path()
    history: list[dict[str, float]] = field(default_factory=list)
    training_seconds: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """A few lines on what it holds."""
        network, weights = self.network, sum(p.numel() for p in self.network.parameters())
        what = "spike counts" if network.kind == "counts" else "traces"
        counts = [len(names) for names in self.sessions]
        neurons = f"{counts[0]:,} neurons" if len(counts) == 1 else f"{len(counts)} sessions of {counts} neurons"
        lines = [
            f"{self.path}: {network.factors} latents of a population, {weights:,} weights",
            f"  observes  {what} of {neurons} in bins of {self.dt:g} ms",
            f"  trained   {len(self.history)} epochs, {self.training_seconds:.0f} s, on {self.provenance['data']['path']}",
        ]
        if network.inputs is not None:
            lines.append(f"  infers    {network.inputs.inputs} inputs to the latents")
        if self.history:
            last = self.history[-1]
            lines.append(
                f"  val/loss  {last['val/loss']:.4f} nats an entry of hidden neurons (their mean alone: "
                f"{last['val/loss_prior']:.4f})"
            )
        return "\n".join([*lines, f"  test it   python evaluate.py {self.path}"])


def load_latents(path: str | Path) -> LatentCheckpoint:
    """The model of a checkpoint that `train.py` wrote for a population; no code in the file is run.

    Raises:
        InputError: if it is no checkpoint of latents, or damaged.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path, "latents")
    content = checkpoint["neuroinf"]
    design, population = content["encoder"], content.get("population") or {}
    weights = {k.removeprefix("network."): v for k, v in checkpoint["state_dict"].items() if k.startswith("network.")}
    try:
        network = SequentialAutoencoder(**design | {"generator": tuple(design["generator"])})
        network.load_state_dict(weights)
        dt, sessions = float(population["dt"]), tuple(tuple(map(str, names)) for names in population["sessions"])
    except (InputError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit its own description: the file is damaged") from error
    return LatentCheckpoint(
        network.eval(),
        dt,
        sessions,
        0,
        path,
        list(content["history"]),
        float(content["training_seconds"]),
        dict(content["provenance"]),
    )


__all__ = ["LatentCheckpoint", "load_latents"]

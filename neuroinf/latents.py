"""A trained model of a population's latents, opened: `load_latents(checkpoint).infer(activity)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.populations import Kind
from neuroinf.errors import InputError
from neuroinf.fits.autoencoder_latents import AutoencoderLatents
from neuroinf.fits.bilstm_latents import BiLSTMLatents
from neuroinf.models.bilstm import bilstm
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a checkpoint says of its training.

    Attributes:
        path: The checkpoint.
        history: Losses after each epoch.
        training_seconds: All epochs together.
        provenance: What its data were: `data`, the arguments of the data module; `simulation`, of the simulated ones.
    """

    path: Path
    history: list[dict[str, float]]
    training_seconds: float
    provenance: dict[str, Any]


@dataclass(frozen=True)
class LatentCheckpoint(AutoencoderLatents, TrainingRecord):
    """A sequential network of a checkpoint, and what the checkpoint says of its training."""

    def describe(self) -> str:
        """A few lines on what it holds."""
        inputs = self.network.inputs
        inferred = [] if inputs is None else [f"  infers    {inputs.inputs} inputs to the latents"]
        return _description(self, self.network.kind, inferred, "nats an entry of hidden neurons")


@dataclass(frozen=True)
class BiLSTMCheckpoint(BiLSTMLatents, TrainingRecord):
    """The manifold study's network of a checkpoint, and what the checkpoint says of its training."""

    def describe(self) -> str:
        """A few lines on what it holds."""
        network = [f"  network   {type(self.network).__name__}: latents without intervals"]
        return _description(self, self.kind, network, "of the variance of hidden neurons")


AnyLatentCheckpoint = LatentCheckpoint | BiLSTMCheckpoint


def _description(model: AnyLatentCheckpoint, kind: Kind, more: list[str], unit: str) -> str:
    weights = sum(p.numel() for p in model.network.parameters())
    what = "spike counts" if kind == "counts" else "traces"
    counts = [len(names) for names in model.sessions]
    neurons = f"{counts[0]:,} neurons" if len(counts) == 1 else f"{len(counts)} sessions of {counts} neurons"
    lines = [
        f"{model.path}: {model.dimension} latents of a population, {weights:,} weights",
        f"  observes  {what} of {neurons} in bins of {model.dt:g} ms",
        f"  trained   {len(model.history)} epochs, {model.training_seconds:.0f} s, on {model.provenance['data']['path']}",
        *more,
    ]
    if model.history:
        last = model.history[-1]
        lines.append(f"  val/loss  {last['val/loss']:.4f} {unit} (their mean alone: {last['val/loss_prior']:.4f})")
    return "\n".join([*lines, f"  test it   python evaluate.py {model.path}"])


def load_latents(path: str | Path) -> AnyLatentCheckpoint:
    """The model of a checkpoint that `train.py` wrote for a population; no code in the file is run.

    Raises:
        InputError: if it is no checkpoint of latents, or damaged.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path, "latents")
    content = checkpoint["neuroinf"]
    state, population = checkpoint["state_dict"], content.get("population") or {}
    try:
        dt, sessions = float(population["dt"]), tuple(tuple(map(str, names)) for names in population["sessions"])
        record: dict[str, Any] = {
            "path": path,
            "history": list(content["history"]),
            "training_seconds": float(content["training_seconds"]),
            "provenance": dict(content["provenance"]),
        }
        # checkpoints of before there were two have no name of theirs
        if content.get("architecture", "sequential") == "bilstm":
            return _bilstm(content["encoder"], state, dt, sessions, record)
        network = _sequential(content["encoder"], state)
    except (InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit its own description: the file is damaged") from error
    return LatentCheckpoint(network, dt, sessions, **record)


def _sequential(design: dict[str, Any], state: dict[str, Tensor]) -> SequentialAutoencoder:
    rest = {key: value for key, value in design.items() if key != "generator"}
    network = SequentialAutoencoder(**rest, generator=tuple(design["generator"]))
    network.load_state_dict(_of_network(state))
    return network.eval()


def _bilstm(
    design: dict[str, Any],
    state: dict[str, Tensor],
    dt: float,
    sessions: tuple[tuple[str, ...], ...],
    record: dict[str, Any],
) -> BiLSTMCheckpoint:
    network = bilstm(**{key: value for key, value in design.items() if key != "kind"})
    network.load_state_dict(_of_network(state))
    mean, scale, transition, drift = (state[key] for key in ("mean", "scale", "transition", "drift"))
    if design["kind"] not in ("counts", "trace") or len(mean) != network.neurons or len(sessions[0]) != network.neurons:
        raise InputError("expected one mean and one name for each neuron")
    units = torch.stack([mean, scale]).numpy()
    regression = transition.double().numpy(), drift.double().numpy()
    return BiLSTMCheckpoint(
        network.eval(), *regression, dt, sessions, design["kind"], mean.double().numpy(), units, **record
    )


def _of_network(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}


__all__ = ["AnyLatentCheckpoint", "BiLSTMCheckpoint", "LatentCheckpoint", "load_latents"]

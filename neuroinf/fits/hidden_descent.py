"""The published study's fit of one neuron's hidden activity, run to its end by Lightning's trainer."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.models.gradient_descent import GradientDescent, OptimizerName, Truth

FloatArray = NDArray[np.float64]
LINE_EVERY = 15.0  # seconds


@dataclass(frozen=True)
class Descent:
    """Where gradient descent ended, for R neurons.

    Attributes:
        weights: :math:`(R, I)`.
        bias: :math:`(R,)`.
        hidden_weight: :math:`(R,)`; nearly always of the sign it started with, whatever the truth.
        hidden: Activity :math:`(R, T)`.
        history: By score, see `GradientDescent.scores`: :math:`(\\text{entries}, R)`.
        seconds: Wall time of all rows together.
    """

    weights: FloatArray
    bias: FloatArray
    hidden_weight: FloatArray
    hidden: FloatArray
    history: dict[str, FloatArray]
    seconds: float

    @property
    def theta(self) -> FloatArray:
        """Parameters :math:`(R, I + 2)` in the order of `GLM`."""
        return np.column_stack((self.weights, self.bias, self.hidden_weight))


def descend(
    y: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    hidden_variance: float | NDArray[np.floating[Any]],
    seed: int,
    epochs: int = 20_000,
    nonlinearity: Literal["logistic", "exponential"] = "logistic",
    batch_size: int = 256,
    lr: float = 1e-4,
    optimizer: OptimizerName = "adam",
    init_sd: float | NDArray[np.floating[Any]] = 1.0,
    variance_penalty: float | NDArray[np.floating[Any]] = 1.0,
    norm_penalty: float | NDArray[np.floating[Any]] = 0.0,
    norm: float = 2.0,
    free_hidden: bool = True,
    blocks: int = 1,
    record_every: int = 100,
    held_out: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]] | None = None,
    truth: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: str | None = None,
) -> Descent:
    """Fits R neurons side by side, in single precision as the study did.

    Args:
        y: Rates :math:`(R, T)`.
        x: Observed inputs :math:`(R, I, T)`.
        hidden_variance: The true variance of the hidden input, or of each row's: oracle knowledge.
        seed: Of the start and of the order of bins.
        epochs: Passes through the data; a multiple of `record_every`.
        nonlinearity, batch_size, lr, optimizer, init_sd, variance_penalty, norm_penalty, norm, free_hidden, blocks:
            See `GradientDescent`.
        record_every: Passes between two entries of the history.
        held_out: Rates :math:`(R, T')` and inputs :math:`(R, I, T')` for validation.
        truth: True weights :math:`(R, I)` and hidden activity :math:`(R, T)`, for scores.
        callbacks: Called by the trainer after each `record_every` passes (`on_train_batch_end`).
        progress: What the run is called in lines on stderr, now and then, with the time left; None: silent.

    Raises:
        InputError: if shapes or settings do not fit together.
    """
    begin = time.perf_counter()
    if epochs < record_every or epochs % record_every:
        raise InputError(f"expected epochs to be a multiple of record_every = {record_every}, found {epochs}")
    variance = np.broadcast_to(np.asarray(hidden_variance, np.float32), len(y))
    module = GradientDescent(
        _single(y),
        _single(x),
        _single(variance),
        torch.Generator().manual_seed(seed),
        nonlinearity,
        batch_size,
        lr,
        optimizer,
        _single(init_sd),
        _single(variance_penalty),
        _single(norm_penalty),
        norm,
        free_hidden,
        blocks,
        record_every,
        None if held_out is None else (_single(held_out[0]), _single(held_out[1])),
        None if truth is None else Truth(_single(truth[0]), _single(truth[1])),
    )
    _run(module, epochs // record_every, [*callbacks, *([] if progress is None else [_Lines(progress, epochs)])])
    weights, bias, hidden_weight, hidden = (
        p.detach().double().numpy() for p in (module.weights, module.bias, module.hidden_weight, module.hidden)
    )
    history = {key: torch.stack([entry[key] for entry in module.history]).double().numpy() for key in module.history[0]}
    return Descent(weights, bias, hidden_weight, hidden, history, time.perf_counter() - begin)


class _Lines(Callback):
    """A line every now and then: where the run is and how long it will still take."""

    def __init__(self, name: str, epochs: int) -> None:
        self.name, self.epochs, self.begin = name, epochs, time.perf_counter()
        self.last = self.begin

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each step of several passes."""
        assert isinstance(pl_module, GradientDescent)
        now = time.perf_counter()
        if now - self.last > LINE_EVERY:
            self.last, done = now, pl_module.epochs
            left = (now - self.begin) / done * (self.epochs - done)
            print(f"{self.name}: {done:,} of {self.epochs:,} passes, {left:.0f} s left", file=sys.stderr, flush=True)


def _run(module: GradientDescent, steps: int, callbacks: list[Callback]) -> None:
    """Trains on a loader of one empty batch, since the module holds its data."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)  # announcements about hardware
    try:
        with warnings.catch_warnings():  # Lightning's: that the loader is a list
            warnings.simplefilter("ignore")
            trainer = L.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=steps,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=callbacks,
            )
            trainer.fit(module, [0])
    finally:
        logger.setLevel(level)


def _single(values: float | NDArray[np.floating[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))

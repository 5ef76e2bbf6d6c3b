"""A latent autoencoder as a model of latents: what it infers and forecasts, and its fit to data in memory."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray

from neuroinf.datasets.population_module import training_loader
from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.models.autoencoder import LatentAutoencoder
from neuroinf.models.latent_calibration import calibrate
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder


@dataclass(frozen=True)
class AutoencoderLatents:
    """A trained network, answering as every model of latents does.

    Attributes:
        network: Trained and calibrated.
        dt: Bin of its training data, ms.
        names: Of its neurons, in order.
    """

    network: SequentialAutoencoder
    dt: float
    names: tuple[str, ...]

    @property
    def dimension(self) -> int:
        """D."""
        return self.network.factors

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """Latents and expected activity of one sequence (T, K); entries that are not observed are not read.

        Rates are posterior means: those of counts contain half the log rate's variance.

        Raises:
            InputError: if the shapes are not those of the network's neurons, an observed entry is not finite, or no count.
        """
        x, seen = sequence_and_mask(activity, observed, self.network.neurons)
        if self.network.kind == "counts" and ((x < 0) | (x != np.round(x))).any():
            raise InputError("activity: expected counts, whole numbers from 0, as the network was trained on")
        network, readout = self.network, self.network.readout
        with torch.no_grad():
            mask = torch.from_numpy(seen.astype(np.float32))[None]
            mean, log_sd = network.encode(readout.normalised(torch.from_numpy(x.astype(np.float32)))[None] * mask, mask)
            sd = log_sd.exp() * network.widths
            drive = readout.drive(mean)
            spread = sd.square() @ readout.loadings.T.square()
            rates = readout.rates(drive, spread)
            relative = rates * spread.clamp(max=6.0).expm1().sqrt()  # of a log-normal rate
            rate_sd = relative if network.kind == "counts" else readout.scale * spread.sqrt()
        return LatentEstimate(mean[0].numpy(), sd[0].numpy(), rates[0].numpy(), rate_sd[0].numpy())

    def infer_population(self, data: PopulationData) -> list[LatentEstimate]:
        """Of each sequence of a new recording of the same neurons.

        Raises:
            InputError: if neurons, kind or bins are not those of the training.
        """
        self.check(data)
        return [self.infer(x) for x in data.activity]

    def check(self, data: PopulationData) -> None:
        """Refuse a recording of other neurons, another kind of activity or other bins.

        Raises:
            InputError: saying which.
        """
        if data.neurons != self.network.neurons:
            raise InputError(
                f"{data.name}: expected the {self.network.neurons} neurons of the training, found {data.neurons}: a network "
                f"reads no other neurons; train one on these"
            )
        if data.names != self.names:
            ours, theirs = next((a, b) for a, b in zip(self.names, data.names, strict=True) if a != b)
            raise InputError(
                f"{data.name}: expected the neurons of the training, in its order, found {theirs!r} in the place of {ours!r}"
            )
        if data.kind != self.network.kind:
            raise InputError(f"{data.name}: expected {self.network.kind}, as in the training, found {data.kind}")
        if abs(data.dt - self.dt) > 1e-6 * self.dt:
            raise InputError(f"{data.name}: expected bins of {self.dt:g} ms, as in the training, found {data.dt:g} ms")

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """Mean latents (n, steps, D) after each of n states (n, D), by the generator."""
        with torch.no_grad():
            return self.network.generator.roll(torch.as_tensor(np.asarray(factors, np.float32)), steps).numpy()

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K) of latents (..., D)."""
        with torch.no_grad():
            readout = self.network.readout
            return readout.rates(readout.drive(torch.as_tensor(np.asarray(factors, np.float32)))).numpy()

    def projected(self, activity: NDArray[Any]) -> Matrix:
        """The least-squares reconstruction (T, K) of traces in the span of the loadings, noise included: what PCA does.

        Raises:
            InputError: for counts, whose read-out has no such span.
        """
        if self.network.kind == "counts":
            raise InputError("projected: expected traces, found counts")
        readout = self.network.readout
        with torch.no_grad():
            loadings = (readout.scale[:, None] * readout.loadings).double().numpy()
            offset = (readout.mean + readout.scale * readout.offset).double().numpy()
        x = np.asarray(activity, np.float64) - offset
        return (np.linalg.lstsq(loadings, x.T, rcond=None)[0].T @ loadings.T + offset).astype(np.float32)


def fit_autoencoder(
    data: PopulationData,
    dimension: int,
    seed: int = 0,
    *,
    steps: int = 600,
    window: int = 100,
    batch_size: int = 16,
    channels: int = 48,
    generator: tuple[int, ...] = (64, 64),
    emphasis: float = 0.2,
    rollout: int = 10,
    lr: float = 4e-3,
) -> AutoencoderLatents:
    """Train a latent autoencoder on a population in memory; nothing is written.

    Args:
        data: To learn from.
        dimension: D.
        seed: Of weights, windows, hidden entries and samples.
        steps: Of the optimizer.
        window: Bins of a window, at most.
        batch_size: Windows in a step.
        channels: Of the encoder.
        generator: Widths of the generator's hidden layers; none: linear dynamics.
        emphasis: On hidden entries.
        rollout: Steps of the forecasts that are trained.
        lr: Largest learning rate.

    Raises:
        InputError: if the dimension is not between 1 and the number of neurons.
    """
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = LatentAutoencoder(
            data.neurons,
            data.kind,
            dimension,
            channels=channels,
            generator=generator,
            emphasis=emphasis,
            rollout=rollout,
            lr=lr,
        )
        began = time.perf_counter()
        model.begin([torch.from_numpy(x) for x in data.activity])
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(model, train_dataloaders=training_loader(data, window, batch_size, steps, seed))
        model.seconds = time.perf_counter() - began
    return finished(model, data, seed)


def finished(model: LatentAutoencoder, data: PopulationData, seed: int) -> AutoencoderLatents:
    """Calibrate a trained model's intervals on its training data, and hand out its network."""
    network = model.network.cpu().eval()
    calibrate(network, [torch.from_numpy(x) for x in data.activity], torch.Generator().manual_seed(seed))
    return AutoencoderLatents(network, data.dt, data.names)

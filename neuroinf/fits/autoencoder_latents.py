"""A latent autoencoder as a model of latents: what it infers and forecasts, and its fit to data in memory."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from neuroinf.datasets.population_module import check_sessions, tensors, training_loader
from neuroinf.datasets.populations import PopulationData
from neuroinf.datasets.preprocessing import split_time
from neuroinf.errors import InputError
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.fits.network_readout import estimate_rates
from neuroinf.fits.session_of import session_of
from neuroinf.models.autoencoder import LatentAutoencoder
from neuroinf.models.latent_calibration import calibrate
from neuroinf.networks.evidence import PopulationReadout
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder

# how counts are parted to choose their training: share to learn from, and what is too little
FIRST, FEWEST_SEQUENCES, FEWEST_BINS = 0.8, 5, 100
LEAST_RATE = 1e-4

AnyLatents = TypeVar("AnyLatents", bound="AutoencoderLatents")


@dataclass(frozen=True)
class AutoencoderLatents:
    """A trained network, answering as every model of latents does, for one of its sessions.

    Attributes:
        network: Trained and calibrated.
        dt: Bin of its training data, ms.
        sessions: Names of the neurons of each session, in order.
        session: The one that arrays are of; recordings find theirs by their neurons' names.
    """

    network: SequentialAutoencoder
    dt: float
    sessions: tuple[tuple[str, ...], ...]
    session: int = 0

    @property
    def dimension(self) -> int:
        """D."""
        return self.network.factors

    @property
    def readout(self) -> PopulationReadout:
        """Of the session."""
        return self.network.readout(self.session)

    @property
    def neurons(self) -> int:
        """K, of the session."""
        return self.readout.neurons

    def of(self: AnyLatents, data: PopulationData) -> AnyLatents:
        """The same model for the session that a recording's neurons are of.

        Raises:
            InputError: if neurons, kind or bins are not those of any session of the training.
        """
        return replace(self, session=session_of(data, self.sessions, self.network.kind, self.dt))

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """Latents and expected activity of one sequence (T, K) of the session; entries that are not observed are not read.

        Rates are posterior means: those of counts contain half the log rate's variance.

        Raises:
            InputError: if the shapes are not those of the network's neurons, an observed entry is not finite, or no count.
        """
        x, seen = sequence_and_mask(activity, observed, self.neurons)
        if self.network.kind == "counts" and ((x < 0) | (x != np.round(x))).any():
            raise InputError("activity: expected counts, whole numbers from 0, as the network was trained on")
        network, readout = self.network, self.readout
        with torch.no_grad():
            mask = torch.from_numpy(seen.astype(np.float32))[None]
            scores = readout.normalised(torch.from_numpy(x.astype(np.float32)))[None] * mask
            posterior = network.encode(scores, mask, self.session)
            mean, sd = posterior.mean, posterior.log_sd.exp() * network.widths[self.session]
            rates, rate_sd = readout.rates(mean, sd.square())
            if network.kind == "counts":
                # a mean of rates needs the posterior that the read-out was estimated with
                rates = readout.rates(mean, (2 * posterior.log_sd).exp())[0]
            inputs, input_sd = None, None
            found = network.encode_inputs(posterior)
            if found is not None:
                inputs = found.mean[0].numpy()
                input_sd = (found.log_sd.exp() * network.input_widths[self.session])[0].numpy()
        return LatentEstimate(mean[0].numpy(), sd[0].numpy(), rates[0].numpy(), rate_sd[0].numpy(), inputs, input_sd)

    def infer_population(self, data: PopulationData) -> list[LatentEstimate]:
        """Of each sequence of a new recording of the neurons of any session.

        Raises:
            InputError: as :meth:`of`.
        """
        model = self.of(data)
        return [model.infer(x) for x in data.activity]

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """Mean latents (n, steps, D) after each of n states (n, D), by the generator."""
        with torch.no_grad():
            return self.network.generator.roll(torch.as_tensor(np.asarray(factors, np.float32)), steps).numpy()

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K) of latents (..., D)."""
        with torch.no_grad():
            readout = self.readout
            return readout.rates(torch.as_tensor(np.asarray(factors, np.float32)))[0].numpy()

    def projected(self, activity: NDArray[Any]) -> Matrix:
        """The least-squares reconstruction (T, K) of traces in the span of the loadings, noise included: what PCA does.

        Raises:
            InputError: for counts, whose read-out has no such span.
        """
        if self.network.kind == "counts":
            raise InputError("projected: expected traces, found counts")
        readout = self.readout
        with torch.no_grad():
            loadings = (readout.scale[:, None] * readout.loadings).double().numpy()
            offset = (readout.mean + readout.scale * readout.offset).double().numpy()
        x = np.asarray(activity, np.float64) - offset
        return (np.linalg.lstsq(loadings, x.T, rcond=None)[0].T @ loadings.T + offset).astype(np.float32)


def fit_autoencoder(
    data: PopulationData | Sequence[PopulationData],
    dimension: int,
    seed: int = 0,
    *,
    steps: int = 600,
    window: int = 100,
    batch_size: int = 16,
    channels: int = 48,
    generator: tuple[int, ...] = (64, 64),
    inputs: int = 0,
    emphasis: float = 0.2,
    rollout: int = 10,
    lr: float = 4e-3,
    sparse: bool | None = None,
) -> AutoencoderLatents:
    """Train a latent autoencoder on a population in memory; nothing is written.

    Args:
        data: To learn from; or recordings of different neurons that share latents and dynamics, of the same kind and bins.
        dimension: D.
        seed: Of weights, windows, hidden entries and samples.
        steps: Of the optimizer.
        window: Bins of a window, at most.
        batch_size: Windows in a step.
        channels: Of the encoder.
        generator: Widths of the generator's hidden layers; none: linear dynamics.
        inputs: Number of inputs to the latents that are inferred; 0: none.
        emphasis: On hidden entries.
        rollout: Steps of the forecasts that are trained.
        lr: Largest learning rate.
        sparse: See :class:`~neuroinf.models.autoencoder.LatentAutoencoder`; none: of counts whichever, after half of the steps on
            the first four fifths of the data, predicts hidden neurons better in the rest.

    Raises:
        InputError: if the dimension is not between 1 and the number of neurons, or the sessions do not fit each other.
    """
    sessions = [data] if isinstance(data, PopulationData) else list(data)
    check_sessions(sessions)

    def trained(on: Sequence[PopulationData], sparse: bool, steps: int) -> AutoencoderLatents:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            model = LatentAutoencoder(
                [each.neurons for each in on],
                on[0].kind,
                dimension,
                channels=channels,
                generator=generator,
                inputs=inputs,
                emphasis=emphasis,
                rollout=rollout,
                lr=lr,
                sparse=sparse,
            )
            _train(model, on, training_loader(on, window, batch_size, steps, seed))
        return finished(model, on, seed)

    if sparse is None:
        sparse = False
        parts = [split_last(each) for each in sessions]
        if sessions[0].kind == "counts" and all(part is not None for part in parts):
            first, rest = zip(*(part for part in parts if part is not None), strict=True)
            dense, thin = (hidden_gain(trained(first, s, max(steps // 2, 1)), first, rest) for s in (False, True))
            sparse = thin > dense
    return trained(sessions, sparse, steps)


def _train(
    model: LatentAutoencoder, sessions: Sequence[PopulationData], loader: DataLoader[list[torch.Tensor]]
) -> None:
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    began = time.perf_counter()
    model.begin([tensors(each) for each in sessions])
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
    trainer.fit(model, train_dataloaders=loader)
    model.seconds = time.perf_counter() - began


def split_last(data: PopulationData) -> tuple[PopulationData, PopulationData] | None:
    """The first four fifths and the rest, of sequences, or of the time of one; None if too little is left to judge by."""
    if len(data.activity) >= FEWEST_SEQUENCES:
        cut = round(FIRST * len(data.activity))
        return data.take(range(cut)), data.take(range(cut, len(data.activity)))
    if min(map(len, data.activity)) < FEWEST_BINS:
        return None
    first, rest = split_time(data, (FIRST, 1 - FIRST))
    return first, rest


def hidden_gain(
    model: AutoencoderLatents, train: Sequence[PopulationData], test: Sequence[PopulationData], folds: int = 4
) -> float:
    """Log-likelihood of counts in held-out time, each neuron hidden in one fold, above that of its mean rate in training: mean over
    entries.
    """
    gain, entries = 0.0, 0
    for session, (learnt, new) in enumerate(zip(train, test, strict=True)):
        own, fold = replace(model, session=session), np.arange(new.neurons) % folds
        floor = np.maximum(learnt.mean, LEAST_RATE)
        for x in new.activity:
            rates = np.empty(x.shape)
            for f in range(folds):
                rates[:, fold == f] = own.infer(x, np.broadcast_to(fold != f, x.shape)).rates[:, fold == f]
            rates = np.maximum(rates, LEAST_RATE)
            gain += float((x * np.log(rates / floor) - rates + floor).sum())
            entries += x.size
    return gain / entries


def finished(model: LatentAutoencoder, sessions: Sequence[PopulationData], seed: int) -> AutoencoderLatents:
    """Calibrate a trained model's intervals on its training data, estimate what it predicts of counts, and hand out its network."""
    network, draws = model.network.cpu().eval(), torch.Generator().manual_seed(seed)
    calibrate(network, [tensors(data) for data in sessions], draws)
    if network.kind == "counts":
        for session, data in enumerate(sessions):
            estimate_rates(network, session, data, draws)
    return AutoencoderLatents(network, sessions[0].dt, tuple(data.names for data in sessions))

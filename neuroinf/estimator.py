"""What a trained network knows: recordings in, posteriors out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.simulation import Simulation
from neuroinf.doubts import doubts
from neuroinf.errors import InputError
from neuroinf.models.examination import examine
from neuroinf.models.novelty import FIT_ALONE, Novelty, Score
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.networks.densities import Density
from neuroinf.networks.encoders import Encoder, ReadsStatistics
from neuroinf.networks.glm_encoder import GLMEncoder
from neuroinf.networks.pooling import SweepPooling
from neuroinf.pieces import assembled, pieces, seen_by, unseen_length
from neuroinf.population_inference import observed, population_posterior
from neuroinf.posterior import Posterior
from neuroinf.priors import Prior
from neuroinf.recordings import BinnedRecording, Recording, binned, concerns, from_arrays
from neuroinf.recordings.channels import observed_channels
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators.glm import GLM

FloatArray = NDArray[np.floating]
# what needs no network, of a neuron that was read in bins
FIT_OF_CHANNELS = "the fit made for this neuron alone, neuroinf.fits.per_neuron_fits"
FIT_OF_BINS = "the fits made for this neuron alone, neuroinf.fits.logit_regression of rates, glm_likelihood of counts"


@dataclass(frozen=True)
class Estimator:
    """What a checkpoint knows: from observations to posteriors over the parameters of its prior.

    Args:
        path: Where it was read.
        prior: Of the parameters.
        observation: What the network sees.
        encoder: Observations to features.
        density: Features to a statement about the parameters.
        novelty: How recordings outside the training distribution are told; None if the checkpoint has no such thing.
        history: The learning curve.
        training_seconds: What it cost.
        provenance: What it was trained on, as plain types.
        trust: Packages beside neuroinf whose classes it may name.
        activity: Of populations, from spikes and parameters to rates; None if it was not trained.
    """

    path: Path
    prior: Prior
    observation: Observation
    encoder: Encoder
    density: Density
    novelty: Novelty | None
    history: list[dict[str, float]]
    training_seconds: float
    provenance: dict[str, Any]
    trust: tuple[str, ...] = ()
    activity: ActivityNetwork | None = None

    @cached_property
    def simulation(self) -> Simulation | None:
        """What it was trained on; None if it does not say, or names classes of a package that is not trusted."""
        try:
            return simulation_from_spec(self.provenance["simulation"], self.trust)
        except (KeyError, InputError):
            return None

    @torch.inference_mode()
    def features(self, x: FloatArray | Tensor, batch: int = 64) -> Tensor:
        """Features (n, F) of observations (n, C, T) or, of several sweeps each, (n, S, C, T); nan = not observed."""
        x = torch.as_tensor(x, dtype=torch.float32)
        if x.ndim not in (3, 4) or x.shape[-2] != self.observation.width:
            raise InputError(
                f"expected observations (n, {self.observation.width}, T) or (n, S, {self.observation.width}, T), "
                f"found {tuple(x.shape)}"
            )
        return torch.cat([self.encoder(part) for part in x.split(batch)])

    def infer(
        self,
        recording: Recording | BinnedRecording | NetworkRecording | Sequence[Recording] | None = None,
        *,
        voltage: FloatArray | None = None,
        stimulus: FloatArray | None = None,
        spikes: FloatArray | None = None,
        dt: float | None = None,
        rate: FloatArray | None = None,
        statistics: FloatArray | None = None,
    ) -> Posterior:
        """Posterior of one neuron.

        Args:
            recording: A recording, or the sweeps of one neuron; of a network that reads bins a BinnedRecording, of one that reads
                populations a NetworkRecording (with their activity: :func:`neuroinf.population_inference.infer_population`).
            voltage: Instead of a recording: membrane potential (T,), mV.
            stimulus: Injected current (T,), pA; for a network that reads bins, its inputs (I, T) in each bin.
            spikes: Spike times, ms, on the stimulus' clock (its sample k acts from k dt to (k + 1) dt); by default they
                are detected on the voltage. For a network that reads bins, and without dt: counts per bin (T,).
            dt: Sampling step of voltage and stimulus, ms.
            rate: For a network that reads rates: the neuron's rate in each bin (T,).
            statistics: For a network that reads fixed statistics of a recording: those (F,).

        Returns:
            The posterior; what speaks against it stands in its `warnings`.

        Raises:
            InputError: if nothing that the network reads is given, or lengths or units cannot be right.
        """
        if statistics is not None:
            others = (recording, voltage, stimulus, spikes, dt, rate)
            if any(other is not None for other in others):
                raise InputError("infer: statistics stand for a whole recording: expected nothing beside them")
            return self._from_statistics(statistics)
        if isinstance(recording, NetworkRecording):
            return population_posterior(self, recording, *observed(self, recording))
        if self.reads_populations:
            raise InputError(f"{self.path} reads the spikes of populations: expected a NetworkRecording")
        if self.reads_bins:
            if isinstance(recording, BinnedRecording):
                return self._from_bins(recording)
            if recording is not None or voltage is not None:
                raise InputError(
                    f"{self.path} reads {self.observation.channels[0]}s in bins, found a voltage recording"
                )
            channel, inputs = self.observation.channels[0], self.observation.width - 1
            given = binned(
                channel, inputs, self.observation.dt, rate, spikes, stimulus, dt, largest=self.largest_response
            )
            return self._from_bins(given)
        if rate is not None or isinstance(recording, BinnedRecording):
            raise InputError(f"{self.path} reads {', '.join(self.observation.channels)}, found a response in bins")
        if self.reads_channels:
            raise InputError(f"{self.path} reads {', '.join(self.observation.channels)}: give them to infer_channels")
        if recording is None:
            if dt is None:
                raise InputError("infer needs a recording, or voltage and stimulus with their sampling step dt in ms")
            recording = from_arrays(dt=dt, voltage=voltage, stimulus=stimulus, spikes=spikes, name="arrays")
        sweeps = [recording] if isinstance(recording, Recording) else list(recording)
        if not sweeps:
            raise InputError("infer needs at least one sweep, found an empty list")
        seen = [self._seen(sweep) for sweep in sweeps]
        posterior = self.posterior(self._pieces(seen))
        remarks = list(dict.fromkeys(remark for sweep in seen for remark in concerns(sweep)))
        posterior.warnings.extend(remarks[:1])
        if len(remarks) > 1:
            posterior.warnings.append(f"{len(remarks) - 1} more such remarks on other sweeps")
        return posterior

    @property
    def reads_populations(self) -> bool:
        """Whether it reads the spikes of neurons of several populations."""
        return "units" in self.observation.channels

    @property
    def reads_bins(self) -> bool:
        """Whether it reads a rate or counts in bins, rather than a voltage."""
        return self.observation.channels[0] in ("rate", "count")

    @property
    def largest_response(self) -> float:
        """The largest value of a bin that its model can show: 1 for spikes or none, and for a logistic rate, which stays below."""
        simulator = None if self.simulation is None else self.simulation.simulator
        if not isinstance(simulator, GLM):
            return math.inf
        limited = simulator.output == "bernoulli" or (
            simulator.output == "rate" and simulator.nonlinearity == "logistic"
        )
        return 1.0 if limited else math.inf

    @property
    def reads_channels(self) -> bool:
        """Whether it reads a model's channels in their own units, or several inputs: not a membrane voltage under a current."""
        if self.reads_bins or self.reads_populations:
            return False
        model = None if self.simulation is None else self.simulation.simulator
        others = [name for name in self.observation.channels if name not in ("voltage", "spikes", "stimulus")]
        unit = "mV" if model is None else model.channels.get("voltage", "mV")
        return bool(others) or self.observation.inputs > 1 or unit != "mV"

    def infer_channels(self, arrays: Mapping[str, ArrayLike], dt: float, name: str = "arrays") -> Posterior:
        """Posterior of one neuron from sweeps in the channels that the network reads, each from the beginning of its protocol.

        Args:
            arrays: Each continuous channel (T,), or (S, T) of several sweeps; "stimulus" (K, T) or (S, K, T), and of one input
                also (T,) or (S, T); "spikes", times in ms from the sweep's beginning, of a single sweep.
            dt: Their sampling step, ms.
            name: What to call it in messages.

        Raises:
            InputError: if a channel is missing or unknown, shapes or steps do not fit, or a number is not finite.
        """
        samples = None if self.observation.duration is not None else self.longest
        x = observed_channels(self.observation, arrays, dt, samples, name)
        return self.posterior(x)

    def _from_bins(self, recording: BinnedRecording) -> Posterior:
        """Posterior of one neuron from its bins, which it keeps, so that its hidden input can be asked for."""
        steps, dt = len(recording.response), self.observation.dt
        inputs = None if recording.inputs is None else (recording.inputs[None], dt)
        continuous = {recording.channel: (recording.response[None], dt)}
        x = self.observation.assemble(1, steps * dt, continuous, None, inputs)[0]
        given = x[None] if isinstance(self.encoder, GLMEncoder) else pieces([x], self.longest)
        posterior = self.posterior(given, x.astype(np.float64))
        shortest = 1 if self.observation.duration is None else round(self.observation.duration[0] / self.observation.dt)
        posterior.warnings.extend(unseen_length(steps, shortest, self.longest))
        return posterior

    @torch.inference_mode()
    def _from_statistics(self, statistics: FloatArray) -> Posterior:
        if not isinstance(self.encoder, ReadsStatistics):
            raise InputError(f"{self.path} does not read statistics: it reads {', '.join(self.observation.channels)}")
        posterior = Posterior(self.prior, self.density, self.encoder.from_statistics(statistics))
        posterior.warnings.extend(doubts(posterior))
        return posterior

    def observe(self, sweeps: Sequence[Recording]) -> NDArray[np.float32]:
        """The network's input (S, C, T) for the sweeps of one neuron, cut into pieces no longer than a training row.

        Spikes are detected and cut from the voltage, and voltage and current brought to the training step, exactly
        as they were in training.
        """
        return self._pieces([self._seen(sweep) for sweep in sweeps])

    def _seen(self, sweep: Recording) -> Recording:
        return seen_by(self.observation, sweep, self.provenance.get("dt"))

    def _pieces(self, seen: Sequence[Recording]) -> NDArray[np.float32]:
        return pieces([assembled(self.observation, sweep) for sweep in seen], self.longest)

    @property
    def longest(self) -> int | None:
        """Bins of the longest simulation in training; None if it does not say."""
        duration = self.provenance.get("duration")
        return None if duration is None else round(float(duration) / self.observation.dt)

    @torch.inference_mode()
    def posterior(self, sweeps: FloatArray, bins: NDArray[np.float64] | None = None) -> Posterior:
        """Posterior of one neuron from its sweeps (S, C, T).

        An encoder of sets takes as many at once as it was trained on at most, in the order given. With any other, each
        sweep has its own posterior. What groups, or sweeps, say is put together as far as it agrees (see
        `networks.agreement`). Sweeps that contradict one another are put together one by one, which widens the
        posterior by as much: a set of them is nothing that the network was trained on.
        """
        x = np.asarray(sweeps, np.float32)
        features = self.features(x)
        score = self._novelty(x, features)
        warnings = [] if score is None else score.warnings(self._alternative)
        model = self.simulation
        posterior = Posterior(self.prior, self.density, features, warnings, None, score, bins, model)
        if isinstance(self.encoder, SweepPooling) and len(x) > 1 and not posterior.contradictory:
            groups = torch.cat(
                [self.features(part[None]) for part in np.split(x, range(self._most, len(x), self._most))]
            )
            posterior = Posterior(
                self.prior, self.density, groups, warnings, pieces=features, novelty=score, simulation=model
            )
        warnings.extend(doubts(posterior))
        return posterior

    @property
    def _alternative(self) -> str:
        return FIT_OF_BINS if self.reads_bins else FIT_OF_CHANNELS if self.reads_channels else FIT_ALONE

    @property
    def _most(self) -> int:
        """How many sweeps of a neuron the encoder saw at once in training, at most."""
        return int(self.provenance.get("simulation", {}).get("init_args", {}).get("sweeps", 1))

    def _novelty(self, x: NDArray[np.float32], features: Tensor) -> Score | None:
        """The score of a recording from its pieces (S, C, T) and their features (S, F)."""
        if self.novelty is None:
            return None
        found = examine(x, features, self.density, self.prior, self.simulation, self.observation)
        return self.novelty.score(found.channels, found.embedding, found.found)

    @torch.inference_mode()
    def scores(self, x: FloatArray) -> list[Score | None]:
        """The novelty of each of n recordings of one piece, x (n, C, T): as `posterior` has it, many at a time."""
        if self.novelty is None or not len(x):
            return [None] * len(x)
        x = np.asarray(x, np.float32)
        found = examine(x, self.features(x), self.density, self.prior, self.simulation, self.observation)
        return [
            self.novelty.score(found.channels[i : i + 1], found.embedding[i : i + 1], found.found.rows([i]))
            for i in range(len(x))
        ]

"""From spikes of a few neurons of each population to the circuit's parameters and what the populations did, bin by bin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.activity_stretches import activity_in_stretches, mirror_image
from neuroinf.datasets.observation import count_spikes, hold_or_average
from neuroinf.doubts import doubts
from neuroinf.errors import InputError
from neuroinf.models.examination import examine
from neuroinf.networks.activity_network import Activity
from neuroinf.networks.population_encoder import PopulationEncoder
from neuroinf.pieces import pieces
from neuroinf.posterior import Posterior
from neuroinf.recordings.network_recording import NetworkRecording

if TYPE_CHECKING:  # which itself infers from such recordings
    from neuroinf.estimator import Estimator

FloatArray = NDArray[np.float64]
# whose activity can be inferred as a whole in a few GB, ms
LONGEST = 3.6e6
FIT_OF_NETWORKS = "the fit made for this recording alone, neuroinf.fits.mesoscopic"


@dataclass(frozen=True)
class ActivityEstimate:
    """Rates of M populations in T bins, Hz.

    Attributes:
        names: Of the populations.
        dt: Bin, ms.
        mean: Posterior mean (M, T).
        low: Lower end of the central interval of each bin (M, T).
        high: Upper end (M, T).
        level: What the interval holds.
        activity: The distribution that these are of.
    """

    names: tuple[str, ...]
    dt: float
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    activity: Activity

    @property
    def time(self) -> FloatArray:
        """Middle of each bin (T,), ms."""
        return (np.arange(self.mean.shape[1]) + 0.5) * self.dt

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Both ends (M, T) of the central interval of another level."""
        if not 0 < level < 1:
            raise InputError(f"expected a level between 0 and 1, found {level}")
        ends = (self.activity.quantile((1 - level) / 2), self.activity.quantile((1 + level) / 2))
        return ends[0][0].double().numpy(), ends[1][0].double().numpy()


def infer_population(
    model: Estimator, recording: NetworkRecording, level: float = 0.9
) -> tuple[Posterior, ActivityEstimate]:
    """Parameters and population activity from one recording.

    A recording longer than the training's rows is cut into pieces of equal length, whose posteriors are put together; its activity
    is inferred in overlapping stretches.

    Args:
        model: A checkpoint that reads the spikes of networks, see :func:`neuroinf.load`.
        recording: Any number of neurons of the network's populations.
        level: Of the activity's intervals.

    Returns:
        The posterior, with what speaks against it in its `warnings`, and the activity.

    Raises:
        InputError: if the network reads something else, was trained without activity, or populations do not fit.
    """
    x, groups = observed(model, recording)
    posterior = population_posterior(model, recording, x, groups)
    return posterior, population_activity(model, x, groups, level)


def observed(model: Estimator, recording: NetworkRecording) -> tuple[NDArray[np.float32], Tensor]:
    """The network's input (K + M, T) of a recording, and its neurons' populations (K,)."""
    encoder, seen = model.encoder, model.observation
    if not isinstance(encoder, PopulationEncoder):
        raise InputError(
            f"{model.path}: expected a network that reads the spikes of populations, found one of {list(seen.channels)}"
        )
    populations = encoder.populations
    if recording.groups.max() >= populations:
        raise InputError(
            f"{recording.name}: expected populations 0 to {populations - 1}, as the network was trained on, found "
            f"{np.unique(recording.groups).tolist()}"
        )
    steps = int(recording.duration / seen.dt + 1e-6)
    if steps < 1:
        raise InputError(
            f"{recording.name}: expected at least a bin of {seen.dt:g} ms, found {recording.duration:g} ms"
        )
    if recording.duration > LONGEST:
        raise InputError(
            f"{recording.name}: expected at most {LONGEST / 1000:g} s, found {recording.duration / 1000:g} s: take a part of it"
        )
    spikes = np.concatenate(recording.spikes)
    units = np.repeat(np.arange(recording.neurons), [len(train) for train in recording.spikes])
    counts = count_spikes([spikes], [units], recording.neurons, seen.dt, steps)[0]
    inputs = np.full((populations, steps), np.nan, np.float32)
    if recording.inputs is not None:
        try:
            held = hold_or_average(recording.inputs, recording.dt, seen.dt, steps)
        except InputError as error:
            raise InputError(f"{recording.name}: input: {error}") from None
        if held.shape != inputs.shape:
            raise InputError(
                f"{recording.name}: input: expected {populations} populations and {steps} bins of {seen.dt:g} ms, "
                f"found {held.shape}"
            )
        inputs = held.astype(np.float32)
    return np.concatenate([counts, inputs]), torch.from_numpy(recording.groups)


@torch.inference_mode()
def population_posterior(
    model: Estimator, recording: NetworkRecording, x: NDArray[np.float32], groups: Tensor
) -> Posterior:
    """Posterior from what :func:`observed` gives."""
    cut = pieces([x], model.longest)
    features = _features(model, cut, groups)
    score = None
    if model.novelty is not None:
        channels = _as_trained(model, cut)
        found = examine(channels, features, model.density, model.prior, None, model.observation)
        score = model.novelty.score(found.channels, found.embedding, found.found)
    warnings = [] if score is None else score.warnings(FIT_OF_NETWORKS)
    posterior = Posterior(model.prior, model.density, features, warnings, None, score, None, model.simulation)
    warnings += doubts(posterior) + _unseen(model, recording)
    return posterior


@torch.inference_mode()
def population_activity(
    model: Estimator, x: NDArray[np.float32], groups: Tensor, level: float = 0.9
) -> ActivityEstimate:
    """Activity from what :func:`observed` gives."""
    network, encoder = model.activity, model.encoder
    if network is None:
        raise InputError(
            f"{model.path}: expected a network trained with activity.epochs, found one of parameters alone"
        )
    if not 0 < level < 1:
        raise InputError(f"expected a level between 0 and 1, found {level}")
    assert isinstance(encoder, PopulationEncoder)
    units, inputs = torch.from_numpy(x)[None].split([len(groups), encoder.populations], 1)
    circuit = getattr(getattr(model.simulation, "simulator", None), "circuit", None)
    places = mirror_image(circuit, model.prior) if circuit is not None else None
    activity = activity_in_stretches(network, units, inputs, groups, places)
    names = getattr(circuit, "names", tuple(str(m) for m in range(encoder.populations)))
    nothing = np.empty((0, 0))
    estimate = ActivityEstimate(
        tuple(names), network.dt, activity.rate[0].double().numpy(), nothing, nothing, level, activity
    )
    low, high = estimate.interval(level)
    return replace(estimate, low=low, high=high)


def _features(model: Estimator, cut: NDArray[np.float32], groups: Tensor) -> Tensor:
    assert isinstance(model.encoder, PopulationEncoder)
    return model.encoder.read(torch.from_numpy(np.ascontiguousarray(cut)), groups)


def _as_trained(model: Estimator, cut: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pieces with as many rows of neurons as in training, for what looks at which channels there are."""
    rows = model.observation.rows("units")
    units = np.zeros((len(cut), rows.stop - rows.start, cut.shape[2]), np.float32)
    return np.concatenate([units, cut[:, cut.shape[1] - _populations(model) :]], 1)


def _populations(model: Estimator) -> int:
    assert isinstance(model.encoder, PopulationEncoder)
    return model.encoder.populations


def _unseen(model: Estimator, recording: NetworkRecording) -> list[str]:
    """What no training row was: shorter, or with other numbers of neurons."""
    remarks, seen = [], model.observation
    shortest = seen.duration[0] if seen.duration is not None else (model.longest or 0) * seen.dt
    if recording.duration < shortest - seen.dt:
        remarks.append(f"{recording.duration / 1000:g} s, shorter than the {shortest / 1000:g} s of training")
    most = np.bincount(np.asarray(seen.groups), minlength=_populations(model))
    number = np.bincount(recording.groups, minlength=_populations(model))
    for population in np.flatnonzero(number == 0):
        remarks.append(f"no neuron of population {population}: training had one at least")
    for population in np.flatnonzero(number > most):
        remarks.append(
            f"{number[population]} neurons of population {population}, training had {most[population]} at most"
        )
    return remarks

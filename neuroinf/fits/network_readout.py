r"""The read-out from a trained network's latents to expected counts, estimated for neurons that the encoder did not see.

Training chooses the read-out that explains entries the encoder mostly sees, and a neuron's own spikes are part of what its latents
were inferred from. So each neuron's weights and offset are estimated once more, by Poisson regression on latents inferred without
it, in folds of neurons (:mod:`neuroinf.fits.latent_readout`). No expected count is beyond the largest that the neuron had.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.datasets.population_module import tensors
from neuroinf.datasets.populations import PopulationData
from neuroinf.fits.latent_model import Mask
from neuroinf.fits.latent_readout import FloatArray, poisson_readout
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder

# bins that suffice: sequences are drawn until there are so many
ENOUGH = 40_000


@torch.no_grad()
def estimate_rates(network: SequentialAutoencoder, session: int, data: PopulationData, draws: torch.Generator) -> None:
    """Set what a session's read-out of counts predicts.

    Args:
        network: Trained.
        session: Its number.
        data: Training data of that session.
        draws: Of the sequences, if there are more than enough.
    """
    order = torch.randperm(len(data.activity), generator=draws).tolist()
    ends = np.cumsum([len(data.activity[s]) for s in order])
    part = data.take(sorted(order[: int(np.searchsorted(ends, ENOUGH)) + 1]))
    whole = [network.encode(x[None], torch.ones_like(x)[None], session).mean[0] for x in tensors(part)]
    # the regression's prior is of latents of variance 1
    scale = torch.cat(whole).std(0).clamp_min(1e-6).numpy().astype(np.float64)

    def infer(activity: NDArray[Any], seen: Mask) -> tuple[FloatArray, FloatArray]:
        mask = torch.from_numpy(np.asarray(seen, np.float32))[None]
        mean, log_sd = network.encode(torch.from_numpy(np.asarray(activity, np.float32))[None], mask, session)
        variance = (2 * log_sd[0]).exp().numpy().astype(np.float64) / scale**2
        return mean[0].numpy().astype(np.float64) / scale, variance[:, :, None] * np.eye(network.factors)

    found = poisson_readout(part, infer, network.factors)
    readout = network.readout(session)
    readout.rate_loadings.copy_(torch.from_numpy(found.weights / scale))
    readout.rate_offset.copy_(torch.from_numpy(found.offsets))
    most = np.max([x.max(0) for x in data.activity], axis=0)
    readout.rate_limit.copy_(torch.from_numpy(np.log(np.maximum(most, 1.0))))

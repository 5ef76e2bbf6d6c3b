r"""How wide the intervals of inferred latents must be, by simulations from the learned model itself.

A posterior that is independent from bin to bin is too narrow where latents are smooth, and the generator's noise is learnt too
large with it. So the generator is rolled from inferred states with its noise variance times a number, activity is drawn from the
read-out, and latents are inferred from it. The number is the one with which inferred latents depart from the generator as those of
the data do; there the factor of each latent is

.. math:: w = \sqrt{\langle (z - \hat z)^2 / s^2 \rangle}

with z simulated, and :math:`\hat z` and s what is inferred; of inputs likewise. Each session has factors of its own.

Source:
    The number: indirect inference, Gourieroux, Monfort and Renault (1993), J Appl Econometrics 8:S85.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuroinf.networks.sequential_autoencoder import Latents, SequentialAutoencoder

# numbers that are tried, simulated windows and their bins
NOISE = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
WINDOWS, BINS = 64, 100
# inferred latents have variance near 1: what goes beyond is an instability of the generator
LARGEST = 6.0


@torch.no_grad()
def calibrate(network: SequentialAutoencoder, sessions: Sequence[list[Tensor]], draws: torch.Generator) -> None:
    """Set the network's widths.

    Args:
        network: Trained.
        sessions: Its training data, sequences (T, K) of each session.
        draws: Of the simulations.
    """
    for session, sequences in enumerate(sessions):
        readout = network.readout(session)
        chosen = torch.randperm(len(sequences), generator=draws)[:WINDOWS].tolist()
        inferred = [_inferred(network, readout.normalised(sequences[s])[None], session).mean for s in chosen]
        starts = torch.cat([found[0] for found in inferred])
        wanted = torch.cat([network.departures(found)[0, 1:] for found in inferred]).square().mean(0)
        best = torch.inf
        for scale in NOISE:
            states = starts[torch.randint(len(starts), (WINDOWS,), generator=draws)]
            bins = min(BINS, max(len(x) for x in sequences))
            truth, inputs = simulated_latents(network, states, bins, scale, draws)
            found = _inferred(network, readout.draw(truth, draws), session)
            ratio = network.departures(found.mean)[:, 1:].square().mean((0, 1)) / wanted.clamp_min(1e-12)
            distance = float(ratio.clamp_min(1e-12).log().abs().mean())
            if distance < best:
                best = distance
                network.widths[session] = _errors(truth, found.mean, found.log_sd)
                posterior = network.encode_inputs(found)
                if posterior is not None:
                    network.input_widths[session] = _errors(inputs, posterior.mean, posterior.log_sd)


def simulated_latents(
    network: SequentialAutoencoder, start: Tensor, bins: int, scale: float, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Latents (B, T, D) from the generator with `scale` times its noise variance, from states (B, D), and inputs (B, T, n)."""
    z, found, inputs = start, [], []
    sd = (0.5 * network.generator.log_noise).exp() * scale**0.5
    for _ in range(bins):
        z = network.generator(z) + sd * torch.randn(z.shape, generator=draws)
        if network.inputs is not None:
            inputs.append(network.inputs.draw(len(z), draws))
            z = z + inputs[-1] @ network.inputs.weights.T
        z = z.clamp(-LARGEST, LARGEST)
        found.append(z)
    return torch.stack(found, 1), torch.stack(inputs, 1) if inputs else torch.zeros(len(z), bins, 0)


def _inferred(network: SequentialAutoencoder, x: Tensor, session: int) -> Latents:
    return network.encode(x, torch.ones_like(x), session)


def _errors(truth: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
    return ((truth - mean) / log_sd.exp()).square().mean((0, 1)).sqrt().clamp_min(1e-2)

"""One recording's posterior, refined: the network's answer taken to the mode of the differentiable twin's likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch.distributions import Distribution, MultivariateNormal

from neuroinf.doubts import doubts
from neuroinf.errors import InputError
from neuroinf.fits import by_twin
from neuroinf.fits.refinement import Refined
from neuroinf.inference import Estimator
from neuroinf.posterior import Posterior
from neuroinf.recordings import Recording, observe

FAR = 3.0  # the network's posterior sds: a move beyond says that network and data disagree
DRAWS = 1000  # of the network's posterior, for its mean and sd in z


@dataclass(frozen=True)
class RefinedPosterior(Posterior):
    """Laplace approximation of the posterior about its mode, in the prior's unconstrained space.

    For neurons that keep to the model it is an approximation on the safe side: whether each spike came in time is a hard
    limit on the parameters, of which the curvature at one point holds only a part. See `docs/refining.md`.

    Args:
        refined: Of this one neuron, in the order of the prior; the covariance widened where recording and
            model may not fit.
    """

    refined: Refined = field(kw_only=True)

    @cached_property
    def distribution(self) -> Distribution:
        """Over the prior's unconstrained space, about theta."""
        centre = self.prior.to_unconstrained(torch.from_numpy(self.refined.theta))
        return MultivariateNormal(centre, torch.from_numpy(self.refined.covariance))

    @cached_property
    def pooled(self) -> None:
        """None: the recording was fitted as one piece."""
        return None


def refined_posterior(
    estimator: Estimator, recording: Recording | Sequence[Recording], posterior: Posterior | None = None
) -> RefinedPosterior:
    r"""The network's posterior of one neuron, refined by the twin of its simulator, from one sweep.

    Noise and width of the threshold are estimated from the recording. A neuron that the model does not fit has residuals
    that are not independent, and intervals from them would be too narrow. If the recording is outside the training
    distribution, or the step :math:`\delta` from network to mode is longer than 3 of the network's sds in any parameter,
    the covariance is therefore widened to :math:`\Sigma + \delta \delta^\top` in z.

    Args:
        estimator: The opened checkpoint; of a GLIF simulator whose spike cut is fixed.
        recording: One sweep, with voltage and stimulus.
        posterior: The network's answer to it; by default it is asked.

    Returns:
        With the network's warnings about the recording, and what refinement itself found, in its `warnings`.

    Raises:
        InputError: for several sweeps, without voltage or stimulus, or if the simulator has no differentiable twin.
    """
    sweeps = [recording] if isinstance(recording, Recording) else list(recording)
    if len(sweeps) != 1:
        raise InputError(f"refinement takes one sweep, found {len(sweeps)}: choose one (--sweeps N), or do not refine")
    simulation, prior = estimator.simulation, estimator.prior
    step = estimator.observation.dt
    twin = None if simulation is None else by_twin(simulation.simulator, prior, step, simulation.dt)
    if twin is None:
        raise InputError(
            f"{estimator.path}: refinement needs a checkpoint of a GLIF simulator whose spike_cut_length is fixed and "
            f"whose prior is a box: do not refine"
        )
    seen = observe(sweeps[0], step, estimator.observation.spike_cut, estimator.provenance.get("dt"))
    if seen.voltage is None or seen.stimulus is None or not np.isfinite(seen.stimulus).all():
        raise InputError(f"{seen.name}: refinement needs a voltage, and the stimulus at all times: do not refine")
    start = estimator.infer(sweeps) if posterior is None else posterior
    x = np.full((1, 3, seen.samples), np.nan)
    x[0, 0], x[0, 2] = seen.voltage, seen.stimulus
    found = twin.mode(x, [seen.spikes], np.array([[start.mean[name] for name in prior.names]]))
    if not np.isfinite(found.covariance).all():
        raise InputError(f"{seen.name}: refinement needs at least one observed sample of the voltage: do not refine")

    z = prior.to_unconstrained(torch.from_numpy(found.theta)).numpy()[0]
    # what the network's own posterior has against itself does not hold for this one
    before = doubts(start)
    warnings = [warning for warning in start.warnings if warning not in before]
    outside = start.novelty is not None and start.novelty.outside
    if start.distribution is not None:
        draws = prior.to_unconstrained(torch.from_numpy(start.sample(DRAWS))).numpy()
        centre, sd = draws.mean(0), draws.std(0)
    else:
        centre = prior.to_unconstrained(torch.tensor([[start.mean[n] for n in prior.names]], dtype=torch.float64))[0]
        centre, sd = centre.numpy(), np.full(len(z), np.nan)
    moved = z - centre
    far = [f"{name} by {abs(m / s):.1f}" for name, m, s in zip(prior.names, moved, sd, strict=True) if abs(m) > FAR * s]
    if far:
        warnings.append(
            f"network and recording disagree: refinement moved {', '.join(far)} sds of the network's posterior"
        )
    if outside or far:
        found = replace(found, covariance=found.covariance + np.outer(moved, moved))
        warnings.append(
            f"the refined intervals were widened by how far refinement moved, since model and recording may not fit: "
            f"{found.noise[0]:.2g} mV of the voltage are left unexplained, the threshold is uncertain by "
            f"{found.width[0]:.2g} mV; they may still be too narrow"
        )
    result = RefinedPosterior(
        prior, start.density, start.features, warnings, start.pieces, start.novelty, refined=found
    )
    warnings.extend(doubts(result))
    return result

"""What in a posterior itself speaks against it: contradiction, ends of the prior, parameters left as before, unknown signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neuroinf.posterior import Posterior

# a 90 % interval wholly within this fraction of the prior's range next to one of its ends
EDGE = 0.005
# a sign with a probability below this is open
DECIDED = 0.95


def doubts(posterior: Posterior) -> list[str]:
    """Sentences, most serious first."""
    found: list[str] = []
    prior, pooled, spread = posterior.prior, posterior.pooled, posterior.spread
    if posterior.contradictory and pooled is not None and spread is not None:
        units = dict(zip(prior.names, prior.units, strict=True))
        values = ", ".join(f"{name} {spread[name]:.3g} {units[name]}" for name in prior.names)
        found.append(
            f"the {len(posterior.features)} pieces of this recording contradict one another: they scatter "
            f"{pooled.scatter:.1f} times as much as their posteriors allow, and the posterior was widened by as much; "
            f"sd between pieces: {values}"
        )
    if posterior.distribution is not None:
        at = prior.to_unit(np.array([[ends[k] for ends in posterior.interval(0.9).values()] for k in (0, 1)]))
        ends = [name for name, low, high in zip(prior.names, *at, strict=True) if high < EDGE or low > 1 - EDGE]
        if ends:
            found.append(f"{', '.join(ends)} at the end of the prior's range: the neuron may lie outside it")
    for name, known in posterior.signs.items():
        likely = max(known.positive, 1 - known.positive)
        if likely < DECIDED:
            found.append(
                f"the sign of {name} is not told by this recording (positive with probability {known.positive:.2f}): "
                f"its size is {known.size:.3g} +- {known.std:.2g}"
            )
    if posterior.unidentified:
        ratios = ", ".join(f"{name} (sd {ratio:.2f} of the prior's)" for name, ratio in posterior.unidentified.items())
        found.append(
            f"not identified by this recording: {ratios}; mean and interval there are those assumed beforehand, not measured"
        )
    return found

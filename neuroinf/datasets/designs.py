"""Where in the prior the neurons of a file lie: drawn one by one, or spread evenly by a Sobol sequence."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import qmc

from neuroinf.errors import InputError
from neuroinf.priors import GridPrior, Prior
from neuroinf.priors.box import FloatArray

Design = Literal["random", "sobol"]
BITS = 30
# beside the root seed in the generator of the scrambling
SCRAMBLING = 0


def check_design(design: Design, prior: Prior, neurons: int) -> None:
    """Refuse a design that does not exist or that the prior cannot have."""
    if design not in ("random", "sobol"):
        raise InputError(f"simulation.design: expected random or sobol, found {design!r}")
    if design == "random":
        return
    if isinstance(prior, GridPrior) and prior.enumerate:
        raise InputError(
            "simulation.design: an enumerated grid (prior enumerate: true) has an order of its own; expected design random"
        )
    if len(prior.names) > qmc.Sobol.MAXDIM or neurons > 2**BITS:
        raise InputError(
            f"simulation.design: a Sobol sequence has at most {qmc.Sobol.MAXDIM} parameters and {2**BITS} neurons, found "
            f"{len(prior.names)} and {neurons}"
        )


def in_words(design: Design, prior: Prior) -> str:
    """How the neurons of a file were chosen."""
    if design == "sobol":
        return "spread over the prior by a scrambled Sobol sequence"
    if isinstance(prior, GridPrior):
        return f"{'all points in order' if prior.enumerate else 'draws'} of a grid of {prior.size:,}"
    return "draws from the prior"


def sobol(prior: Prior, seed: int, start: int, stop: int) -> FloatArray:
    r"""Parameters (stop - start, P) of neurons start to stop - 1, spread over the prior by a scrambled Sobol sequence.

    Point i depends on the root seed and on i alone. Each by itself is a draw from the prior, but together they are more even
    than draws: of the first :math:`2^m` points each :math:`2^{-m}`-th part of any one parameter's range has exactly one.

    Args:
        prior: Over which they are spread.
        seed: Root seed: it makes the scrambling.
        start: First neuron.
        stop: One past the last neuron.

    Source:
        Owen, Scrambling Sobol' and Niederreiter-Xing points (J. Complexity 14, 1998); Matousek's linear scrambling and a
        digital shift, as scipy has them.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SCRAMBLING,)))
    sequence = qmc.Sobol(len(prior.names), scramble=True, bits=BITS, rng=rng)
    if start:
        sequence.fast_forward(start)
        points = sequence.random(stop - start)
    else:  # scipy warns of a first draw whose number is no power of two; what follows the first point is no first draw
        points = np.concatenate([sequence.random(1), sequence.random(stop - 1)])
    # to the middle of the sequence's cells: 0, where a normal prior has no point, is the edge of one
    return prior.quantile(points + 0.5 ** (BITS + 1))


__all__ = ["Design", "check_design", "in_words", "sobol"]

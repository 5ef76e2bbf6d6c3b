"""The seeds of rows, and of the several things that are drawn within one row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError


def row_seeds(seed: int | Sequence[int], n: int) -> NDArray[np.uint64]:
    """Seeds (n,) of rows: as given, or made from one number, row i's the same whatever n is.

    Raises:
        InputError: if there are neither one nor n of them, or one is no whole number from 0 to 2^64 - 1.
    """
    one = isinstance(seed, int | np.integer)
    given = [seed] if one else list(seed)
    for number in given:
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= int(number) < 2**64:
            raise InputError(f"seed: expected whole numbers from 0 to 2^64 - 1, found {number!r}")
    if one:
        return np.random.SeedSequence(int(given[0])).generate_state(n, np.uint64).astype(np.uint64)
    if len(given) != n:
        raise InputError(f"seed: expected one number or {n}, one for each row, found {len(given)}")
    return np.array([int(number) for number in given], np.uint64)


def purpose_seeds(seeds: NDArray[np.uint64], purpose: int) -> NDArray[np.uint64]:
    """Seeds (n,) of one purpose within each row, independent of those of another purpose.

    By hashing: a sum or an exclusive-or of row and purpose would make one row's stream that of another row's other purpose.
    """
    states = [np.random.SeedSequence([int(seed), purpose]).generate_state(1, np.uint64)[0] for seed in seeds]
    return np.array(states, np.uint64)

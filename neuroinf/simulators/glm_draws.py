"""Random numbers for compiled loops: a stream for each row, from the row's seed alone.

The generator is xoshiro256++, its four words filled by SplitMix64 from the seed. Of the :math:`2^{256}` states two
streams of any length that can be computed have no part in common, but for a chance of less than 1 in :math:`10^{50}`.

Source:
    Blackman and Vigna (2021), Scrambled linear pseudorandom number generators, ACM TOMS 47:36 (public domain).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# From this mean on rejection is faster than adding up probabilities; it is also what its constants are made for.
LARGE_MEAN = 10.0


@njit(nogil=True, cache=True)
def start_stream(seed: np.uint64, stream: Words) -> None:
    """Put the stream (4,) at its beginning."""
    z = np.uint64(seed)
    for i in range(4):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        word = z
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        stream[i] = word ^ (word >> np.uint64(31))


@njit(nogil=True, cache=True)
def uniform(stream: Words) -> float:
    """Uniform on [0, 1), a multiple of 2^-53."""
    a, b, c, d = stream[0], stream[1], stream[2], stream[3]
    total = a + d
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + a
    c ^= a
    d ^= b
    stream[1] = b ^ c
    stream[0] = a ^ d
    stream[2] = c ^ (b << np.uint64(17))
    stream[3] = (d << np.uint64(45)) | (d >> np.uint64(19))
    return float(word >> np.uint64(11)) * 2.0**-53


@njit(nogil=True, cache=True)
def normal(stream: Words) -> float:
    """Standard normal, by the polar method; the second number of the pair is not kept."""
    while True:
        x, y = 2.0 * uniform(stream) - 1.0, 2.0 * uniform(stream) - 1.0
        square = x * x + y * y
        if 0.0 < square < 1.0:
            return x * math.sqrt(-2.0 * math.log(square) / square)


@njit(nogil=True, cache=True, error_model="numpy")
def poisson(mean: float, none: float, stream: Words) -> float:
    """A Poisson count, in a bounded expected number of draws for any finite mean; none is exp(-mean).

    Inversion below LARGE_MEAN, above it the transformed rejection of Hoermann (1993), Insurance: Mathematics and
    Economics 12:39, algorithm PTRS: 1.1 to 1.3 pairs of uniforms for each count.
    """
    if mean < LARGE_MEAN:
        u = uniform(stream)
        count, term = 0.0, none
        total = term
        while u >= total:
            count += 1.0
            term *= mean / count
            if total + term == total:  # the sum has stopped short of u, by rounding
                break
            total += term
        return count
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = math.log(mean)
    while True:
        u, v = uniform(stream) - 0.5, uniform(stream)
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        count = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return count
        if count < 0.0 or (us < 0.013 and v > us) or v <= 0.0:
            continue
        log_density = count * log_mean - mean - math.lgamma(count + 1.0)
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= log_density:
            return count

"""The random stream of each simulation, from the root seed and the row's index alone."""

from __future__ import annotations

import numpy as np

ROW, WAVEFORM = 0, 1


class Streams:
    r"""Independent random streams, one for each index.

    Stream i is Philox4x64 with the root seed's key and the counter started at :math:`(0, 0, i, \text{purpose})`: two
    streams would overlap after :math:`2^{128}` draws. To put one generator elsewhere takes 1 microsecond, to make a
    new one from its own ``SeedSequence`` 15: as long as simulating a fifth of a second of a neuron.

    Args:
        seed: Root seed, not negative.
        purpose: Separates streams of the same index: ROW or WAVEFORM.

    Source:
        Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
    """

    def __init__(self, seed: int, purpose: int) -> None:
        self._bits = np.random.Philox(key=np.random.SeedSequence(seed).generate_state(2, np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._start = self._bits.state
        self._start["state"]["counter"][3] = purpose

    def __call__(self, index: int) -> np.random.Generator:
        """The generator at the start of stream `index`; the same object each time, so be done with the last stream."""
        self._start["state"]["counter"][2] = index
        self._bits.state = self._start
        return self._generator

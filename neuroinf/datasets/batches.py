"""Which rows each step of a training reads: single sweeps, or several of a neuron together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Rows = NDArray[np.int64]
Draw = tuple[int, Rows]


class EpochBatches(Sampler[Draw]):
    """Every row once per epoch, in batches (epoch, rows (B, S)): in a new order each epoch, the same for the same seed.

    The epoch goes with the rows to the reader, which draws each view's noise from it: a resumed run sees what the
    uninterrupted one would have seen, whatever the number of workers.

    Each epoch some of the neurons show their sweeps together, the others one at a time. The sweeps of the former, M
    each, are cut into sets of S = 2, 3, ... or M, in equal parts of these neurons; what is left over of a neuron is a
    smaller set. A batch has sets of one size, and about as many sweeps as any other, so that all steps cost the same.
    As the numbers of sets do not depend on the epoch, neither does the number of batches.

    Args:
        neurons: The rows (N, M) of an epoch: the M sweeps of N neurons.
        batch_size: Sweeps per batch, about: B is batch_size // S.
        seed: Of the order.
        shuffle: False: always in order, and as in epoch 0.
        together: Part of the neurons that show their sweeps together.
        process: Which of the training processes this is.
        processes: How many there are; each takes its share of every epoch's batches.
    """

    def __init__(
        self,
        neurons: Rows,
        batch_size: int,
        seed: int,
        shuffle: bool,
        together: float = 0.0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.neurons, self.batch_size, self.seed, self.shuffle = neurons, batch_size, seed, shuffle
        self.together, self.process, self.processes, self.epoch = together, process, processes, 0
        self._length = -(-sum(len(self._starts(sets)) for sets in self._sets(neurons)) // processes)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Draw]:
        # a generator: on resuming, Lightning makes the iterator before it says which epoch it is
        epoch, neurons, several = 0, self.neurons, self.neurons.shape[1] > 1
        stream = np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(2, self.epoch))))
        if self.shuffle:
            epoch, neurons = self.epoch, stream.permutation(neurons)
            if several:
                neurons = stream.permuted(neurons, axis=1)
        batches: list[Rows] = []
        for sets in self._sets(neurons):
            # the pieces of one neuron lie side by side
            mixed = stream.permutation(sets) if self.shuffle and several else sets
            batches += np.array_split(mixed, self._starts(mixed)[1:])
        order = stream.permutation(len(batches)) if self.shuffle and several else np.arange(len(batches))
        # every training process takes its share; the last ones begin again, so that all shares are of one size
        share = np.resize(order, len(self) * self.processes)[self.process :: self.processes]
        yield from ((epoch, batches[i]) for i in share)

    def _sets(self, neurons: Rows) -> list[Rows]:
        """The sets of each size S, one to M, as far as there are any: (number, S)."""
        sweeps = neurons.shape[1]
        many = round(self.together * len(neurons)) if sweeps > 1 else 0
        found: dict[int, list[Rows]] = {1: [neurons[many:].reshape(-1, 1)]}
        for size in range(2, sweeps + 1):
            part = neurons[:many][size - 2 :: sweeps - 1]
            for start in range(0, sweeps, size):
                piece = part[:, start : start + size]
                found.setdefault(piece.shape[1], []).append(piece)
        return [sets for parts in found.values() if len(sets := np.concatenate(parts))]

    def _starts(self, sets: Rows) -> list[int]:
        """Where each batch of these sets begins."""
        return list(range(0, len(sets), max(1, self.batch_size // sets.shape[1])))

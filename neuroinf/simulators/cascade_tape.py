"""Memory for what a cascade's gradient must remember: given out again, as fresh memory costs more than filling it."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

# buffers kept for the next call: a layer and a readout of a network
SPARE = 2
# a buffer serves what needs at least an eighth of it
WASTE = 8


class Tape:
    """An array that goes back to a small store when nobody refers to it any more.

    The first touch of new memory, 20 MB for a thousand neurons and 200 steps, takes as long as the simulation itself.

    Args:
        shape: Of the array.
        dtype: Of the array.

    Attributes:
        values: The array, with what was in it before.
    """

    _spare: ClassVar[list[NDArray[np.uint8]]] = []
    _returned: ClassVar[deque[NDArray[np.uint8]]] = deque()
    _lock = Lock()

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self._lock:
            while self._returned:
                self._spare.append(self._returned.popleft())
            self._spare.sort(key=len)
            # the largest can serve the smaller
            del self._spare[:-SPARE]
            fitting = [i for i, buffer in enumerate(self._spare) if size <= len(buffer) <= WASTE * size]
            self._buffer = self._spare.pop(fitting[0]) if fitting else np.empty(size, np.uint8)
        self.values: NDArray[Any] = self._buffer[:size].view(dtype).reshape(shape)

    def __del__(self) -> None:
        # may be called at any moment, even while the lock is held
        self._returned.append(self._buffer)
